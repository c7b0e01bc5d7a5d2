import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from foreact.deploy_edge.export import onnx_model, onnx_policy
from foreact.deploy_edge.export.stages import StagesConfig, export_stages
from foreact.deploy_edge.model_file import load_sealed, properties
from foreact.deploy_edge.observations import Inputs, draw_observations, only
from foreact.deploy_edge.parity import ParityError
from foreact.deploy_edge.runtime.refusal import EngineError
from foreact.deploy_edge.runtime.sealed_json import sealed_json
from foreact.deploy_edge.runtime.stages import StagedPolicy
from foreact.episodes.contract import ContractError, PolicyContract

LONGEST = 3


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory, contract: PolicyContract) -> Path:
    """An untrained policy that samples and can be told a prefix."""
    import torch

    from foreact.vla.checkpoint import save_policy
    from foreact.vla.heads import HeadConfig
    from foreact.vla.policy import PolicyConfig

    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("policy") / "flow"
    save_policy(path, PolicyConfig(head=HeadConfig(kind="flow", steps=3, prefix=LONGEST)).build(contract))
    return path


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory, flow: Path, store: Path) -> Path:
    path = tmp_path_factory.mktemp("staged") / "stages"
    export_stages(StagesConfig(flow, path, store, observations=4, rounds=1))
    return path


@pytest.fixture(scope="module")
def drawn(store: Path, contract: PolicyContract) -> list[Inputs]:
    names = (*contract.input_names, "noise", "prefix", "delay")
    return [only(each, names) for each in draw_observations(store, contract, 5, 1, "held out", LONGEST)]


def test_the_stages_answer_as_the_fused_graph_does(flow: Path, staged: Path, drawn: list[Inputs]) -> None:
    from foreact.vla.checkpoint import load_policy

    fused = onnx_policy(onnx_model(load_policy(flow)).SerializeToString())
    policy = StagedPolicy(staged / "stages.json")
    assert {int(inputs["delay"][0]) for inputs in drawn} == {0, 1, 2, 3}
    for inputs in drawn:
        np.testing.assert_allclose(policy.chunk(inputs), fused(inputs), rtol=0, atol=1e-5)
    report = json.loads((staged / "stages.report.json").read_text())
    assert report["fused_max_abs"] <= 1e-5 and [row["repeats"] for row in report["stages"]] == [1, 1, 3, 1]
    assert set(report["latency_ms"]) == {"torch", "fused", "new_instruction", "same_instruction"}


def test_nothing_is_computed_twice(staged: Path, drawn: list[Inputs]) -> None:
    policy = StagedPolicy(staged / "stages.json")
    policy.forget()
    before = policy.runs()

    def spent() -> list[int]:
        return [policy.runs()[name] - before[name] for name in ("context", "vision", "action_step", "finish")]

    first, second = dict(drawn[0]), {**drawn[1], "tokens": drawn[0]["tokens"]}
    policy.chunk(first)
    assert spent() == [1, 1, 3, 1]
    again = policy.chunk(first)
    assert spent() == [1, 1, 6, 2]
    policy.chunk(second)  # another frame, the same instruction
    assert spent() == [1, 2, 9, 3]
    first["tokens"][:] = (first["tokens"] + 1) % 1000  # in the caller's own array
    assert np.abs(policy.chunk(first) - again).max() > 0
    assert spent() == [2, 3, 12, 4]


def test_the_entry_point_answers_as_torch_does(
    flow: Path, staged: Path, drawn: list[Inputs], contract: PolicyContract
) -> None:
    from foreact.deploy_edge.staged_actor import StagedActor
    from foreact.vla.actors import longest_prefix, open_actor

    actor = open_actor(staged / "stages.json")
    assert isinstance(actor, StagedActor) and longest_prefix(actor) == LONGEST
    batch = {name: np.concatenate([inputs[name] for inputs in drawn]) for name in drawn[0]}
    observation = only(batch, contract.input_names)
    wanted = open_actor(flow)
    np.testing.assert_allclose(
        actor.act(observation, batch["noise"]), wanted.act(observation, batch["noise"]), atol=1e-4
    )
    told = (batch["noise"], batch["prefix"], batch["delay"])
    chunks = actor.act(observation, *told)
    for row, delay in enumerate(batch["delay"]):
        np.testing.assert_array_equal(chunks[row, :delay], batch["prefix"][row, :delay])


def test_what_the_contract_does_not_allow_is_refused(
    staged: Path, drawn: list[Inputs], contract: PolicyContract
) -> None:
    policy = StagedPolicy(staged / "stages.json")
    one = {name: drawn[0][name][0] for name in contract.input_names}
    noise = drawn[0]["noise"][0]
    with pytest.raises(ContractError, match="noise: this policy needs"):
        policy.infer(one)
    with pytest.raises(ContractError, match="delay=4 with 3 at most"):
        policy.infer(one, noise, noise, 4)
    with pytest.raises(ContractError, match="delay=1 .* and a prefix"):
        policy.infer(one, noise, None, 1)
    with pytest.raises(ContractError, match="dtype"):
        policy.infer({**one, "state": one["state"].astype(np.float64)}, noise)


def test_every_stage_carries_contract_and_description(staged: Path, contract: PolicyContract) -> None:
    for name in ("context", "vision", "action_step", "finish"):
        model, found = load_sealed(staged / f"{name}.onnx")
        stage = json.loads(properties(model)["foreact.stage"])
        assert found == contract and stage["name"] == name
        assert [each.name for each in model.graph.input] == stage["inputs"]


@pytest.mark.parametrize("file", ["stages.json", "vision.onnx", "stages.golden.npz"])
def test_damage_is_refused(staged: Path, tmp_path: Path, file: str) -> None:
    folder = Path(shutil.copytree(staged, tmp_path / "stages"))
    whole = (folder / file).read_bytes()
    for content in (whole[: len(whole) // 2], b"", whole.replace(b"4", b"5", 1)):
        (folder / file).write_bytes(content)
        with pytest.raises(ValueError, match="altered|truncated|missing|golden file"):
            StagedPolicy(folder / "stages.json")
    (folder / file).unlink()
    with pytest.raises(ValueError, match="missing"):
        StagedPolicy(folder / "stages.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "../vision.onnx"}, "no name of a file in this folder"),
        ({"inputs": ["state"]}, "which the manifest says otherwise"),
        ({"repeats": 0}, "must run once at least"),
        ({"file": "finish.onnx"}, "is not the file that stages.json names"),
        ({"loop": [["features", "state"]]}, "state: expected"),
        ({"extra": 1}, "unknown keys"),
    ],
)
def test_a_manifest_that_lies_is_refused(staged: Path, tmp_path: Path, change: dict[str, object], message: str) -> None:
    folder = Path(shutil.copytree(staged, tmp_path / "stages"))
    manifest = json.loads((folder / "stages.json").read_text())
    del manifest["sha256"]
    manifest["stages"][1] |= change
    (folder / "stages.json").write_text(json.dumps(sealed_json(manifest.pop("kind"), manifest)))
    with pytest.raises(EngineError, match=message):
        StagedPolicy(folder / "stages.json")


def test_stages_of_another_export_are_refused_by_golden_or_name(staged: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(staged, tmp_path / "stages"))
    manifest = json.loads((folder / "stages.json").read_text())
    del manifest["sha256"]
    manifest["stages"][2]["repeats"] = 2  # one Euler step less
    (folder / "stages.json").write_text(json.dumps(sealed_json(manifest.pop("kind"), manifest)))
    with pytest.raises(ValueError, match="does not compute on this machine what was exported"):
        StagedPolicy(folder / "stages.json")


def test_below_the_gate_no_folder_appears(policy: Path, store: Path, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="nothing was written"):
        export_stages(StagesConfig(policy, tmp_path / "out", store, observations=2, min_cosine=1.1, rounds=1))
    assert not list(tmp_path.iterdir())
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="name another folder"):
        export_stages(StagesConfig(policy, tmp_path / "out", store))
    with pytest.raises(ValueError, match="into a folder; type out="):
        StagesConfig(policy, tmp_path / "p.onnx", store)
