"""Recipes from an exported policy to a file: steps run, are kept, are continued, and what comes out is a policy."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from foreact.deploy_edge.compress import CompressConfig, chain, compress
from foreact.deploy_edge.compress.chain import run_steps
from foreact.deploy_edge.compress.distil import Task, distil
from foreact.deploy_edge.compress.prune import prune
from foreact.deploy_edge.compress.recipe import (
    DepthConfig,
    DistilConfig,
    PruneConfig,
    QatConfig,
    Recipe,
    RecoverConfig,
    SolverConfig,
    SparsityConfig,
    TrialConfig,
)
from foreact.deploy_edge.compress.recover import recover
from foreact.deploy_edge.compress.samples import batches, calibration_samples
from foreact.deploy_edge.compress.solver import shorten_flow
from foreact.deploy_edge.compress.sparsity import is_two_of_four, sparsify
from foreact.deploy_edge.compress.workbench import Workbench
from foreact.deploy_edge.export import policy_hash
from foreact.deploy_edge.model_file import load_sealed, properties
from foreact.deploy_edge.runtime.engine import open_policy
from foreact.deploy_edge.runtime.golden import golden_path
from foreact.episodes.contract import PolicyContract
from foreact.episodes.outcome import ProgressFn, quiet
from foreact.episodes.store import StoreError
from foreact.vla.checkpoint import load_policy
from foreact.vla.mlp import MLPConfig
from foreact.vla.policy import Policy
from foreact.vla.transformer import TransformerConfig

Make = Callable[..., CompressConfig]
PRUNE = PruneConfig(keep=0.5, samples=8)
DISTIL = DistilConfig(updates=4, batch=4, checkpoint_every=1, landmarks=0.0, precision="fp32")


@pytest.fixture
def make(exported: Path, policy: Path, store: Path, tmp_path: Path) -> Make:
    def config(name: str, train: Path | None = store, **steps: Any) -> CompressConfig:
        recipe = Recipe(**{"name": name, "quantise": None, "min_cosine": 0.9, **steps})
        out = tmp_path / f"{name}.onnx"
        trial = TrialConfig(episodes=0)
        return CompressConfig(
            exported, policy, out, store, recipe, train, calibration=4, observations=4, rounds=1, trial=trial
        )

    return config


def test_a_pruned_policy_is_a_smaller_policy_that_exports_and_runs(make: Make, policy: Path) -> None:
    config = make("pruned", train=None, prune=PRUNE, recover=RecoverConfig(rank=2, samples=4))
    figures: Any = compress(config).figures
    smaller, whole = load_policy(config.out.with_name("pruned.policy")), load_policy(policy)
    assert isinstance(smaller, Policy) and isinstance(whole, Policy)
    assert smaller.config.head.width == whole.config.head.width // 2 and smaller.config.head.hidden == 256
    assert [row["step"] for row in figures["steps"]] == ["prune", "recover"]
    assert figures["steps"][0]["parameters"] == sum(each.numel() for each in smaller.parameters())
    assert figures["size_ratio"] > 2.5 and figures["parity_min_cosine"] > 0.9999
    assert figures["steps"][0]["units"]["width"] == [512, 256]
    assert open_policy(config.out).contract == open_policy(config.model).contract
    assert golden_path(config.out).exists()
    described = properties(load_sealed(config.out)[0])
    assert described["foreact.policy_sha256"] == figures["policy_sha256"]
    report = json.loads(config.out.with_suffix(".report.json").read_text())
    assert report["config"]["recipe"]["prune"]["keep"] == 0.5 and report["steps"] == figures["steps"]


def after_steps(config: CompressConfig, progress: ProgressFn = quiet) -> tuple[Any, list[Any]]:
    """The policy after the steps before quantisation, and their rows."""
    made, rows = run_steps(Workbench(config, progress))
    return made.policy, rows


def test_a_killed_training_ends_with_the_weights_of_an_unbroken_one(make: Make) -> None:
    unbroken, _ = after_steps(make("unbroken", prune=PRUNE, distil=DISTIL))
    broken = make("broken", prune=PRUNE, distil=DISTIL)

    def stop(done: int, total: int, text: str) -> None:
        if text.startswith("distil") and done == total == DISTIL.updates:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        after_steps(broken, stop)
    (training,) = broken.out.with_name("broken.work").glob("2-distil-*/training/checkpoints")
    assert [each.name for each in sorted(training.iterdir())] == ["step-0000002", "step-0000003"]
    shutil.rmtree(training / "step-0000003")
    resumed, _ = after_steps(broken)
    ours, theirs = resumed.state_dict(), unbroken.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not list(broken.out.with_name("broken.work").glob("*/training"))


def test_finished_steps_are_not_done_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first, rows = after_steps(make("kept", prune=PRUNE))
    monkeypatch.setattr(chain, "STEPS", {})
    second, again = after_steps(make("kept", prune=PRUNE))
    assert policy_hash(first) == policy_hash(second) and again[0].figures == rows[0].figures
    with pytest.raises(KeyError, match="prune"):  # another setting is another step
        after_steps(make("kept", prune=PruneConfig(keep=0.25, samples=8)))


def test_a_recipe_that_trains_says_what_it_needs_before_it_works(make: Make) -> None:
    config = make("needs", train=None, prune=PRUNE, distil=DISTIL)
    with pytest.raises(StoreError, match=r"the recipe trains \(distil\).*type train=data/train"):
        compress(config)
    assert not list(config.out.parent.glob("needs*"))


def test_fewer_blocks_and_rounding_in_training(make: Make) -> None:
    qat = QatConfig(distil=DistilConfig(updates=2, batch=4, landmarks=0.0, precision="fp32"))
    shallow, rows = after_steps(make("shallow", depth=DepthConfig(2), distil=DISTIL, qat=qat))
    assert [row.name for row in rows] == ["depth", "distil", "qat"]
    assert rows[0].figures["blocks"] == {"head.blocks": [2, 1]} and shallow.config.head.depth == 1


def test_a_flow_takes_one_step(make: Make, make_policy: Callable[..., Path], store: Path, tmp_path: Path) -> None:
    flow = load_policy(make_policy("flow"))
    samples = calibration_samples(store, flow.contract, 8, 0)
    config = SolverConfig(1, DISTIL)
    short, figures = shorten_flow(flow, config, samples, tmp_path / "states", 0, quiet)
    assert figures["flow_steps"] == [5, 1] and isinstance(short, Policy) and short.config.head.steps == 1
    with pytest.raises(ValueError, match="its flow has 1"):
        shorten_flow(short, config, samples, tmp_path / "states", 0, quiet)
    with pytest.raises(ValueError, match="it has no flow"):
        after_steps(make("l1", solver=SolverConfig(1, None)))


def test_sparse_weights_have_two_zeros_in_four_and_say_so(make: Make) -> None:
    from onnx import numpy_helper

    config = make("sparse", train=None, sparsity=SparsityConfig("magnitude", rank=4))
    figures: Any = compress(config).figures
    model, _ = load_sealed(config.out)
    declared = json.loads(properties(model)["foreact.sparsity"])
    assert declared["pattern"] == "2:4" and "head.enter" in declared["layers"]
    arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    matrix = torch.from_numpy(arrays["head.enter.sparse.weight"].copy())
    assert (is_two_of_four(matrix) or is_two_of_four(matrix.T)) and "head.enter.up.weight" in arrays
    assert figures["steps"][0]["pattern"] == "2:4" and figures["parity_min_cosine"] > 0.9999


def test_sparsegpt_makes_up_for_zeros_better_than_magnitude_alone(store: Path, policy: Path) -> None:
    dense = load_policy(policy)
    samples = calibration_samples(store, dense.contract, 16, 0)
    (batch,) = batches(samples)
    chunk = dense.act(batch)

    def error(method: Any) -> float:
        sparse, _, figures = sparsify(dense, SparsityConfig(method), samples)
        assert all(is_two_of_four(sparse.get_submodule(name).weight) for name in figures["layers"])  # pyright: ignore
        return float((sparse.act(batch) - chunk).abs().mean())

    assert error("sparsegpt") < error("magnitude")


@pytest.mark.parametrize("architecture", ["transformer", "mlp"])
def test_other_architectures_go_the_same_way(
    architecture: str, contract: PolicyContract, store: Path, tmp_path: Path
) -> None:
    seen = contract if architecture == "transformer" else dataclasses.replace(contract, cameras=(), language=None)
    sizes: Any = {
        "transformer": TransformerConfig(
            width=16, head_width=4, heads=(4, 4), hidden=(32, 32), action_heads=(4, 4), context_heads=(4, 4),
            action_hidden=(32, 32), patch=16, stem=8, steps=3,
        ),
        "mlp": MLPConfig(widths=(32, 16)),
    }  # fmt: skip
    torch.manual_seed(0)
    whole = sizes[architecture].build(seen).eval()
    samples = calibration_samples(store, seen, 8, 0)
    # what a recipe knows of another architecture does not matter to this one
    shares = PruneConfig(keep=0.5, multiple=2, keep_of={"keypoints": {"summary": 0.1}})
    pruned, kept, _ = prune(whole, shares, samples, 0)
    recovered, _ = recover(pruned, whole, kept, RecoverConfig(samples=8), samples)
    task = Task(dataclasses.replace(DISTIL, updates=2, attention=1.0), samples, tmp_path / "states", 0, "distil")
    taught, figures = distil(recovered, whole, task, quiet)
    assert figures["updates"] == 2 and type(taught) is type(whole)
    assert sum(each.numel() for each in taught.parameters()) < 0.8 * sum(each.numel() for each in whole.parameters())
    noise = torch.zeros(1, seen.chunk_length, 4)
    (batch,) = batches(samples)
    one = {name: batch[name][:1] for name in seen.input_names}
    wanted, after = whole.act(one, noise), taught.act(one, noise)
    assert after.shape == wanted.shape and torch.isfinite(after).all()
