"""Transformer and MLP on real demonstrations: trained, stopped, continued, driven, each by what the first one uses."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from foreact.vla.checkpoint import load_policy
from foreact.vla.evaluate import EvalConfig, EvalError, evaluate
from foreact.vla.mlp import MLPConfig
from foreact.vla.train import TrainConfig, train
from foreact.vla.trainer import OptimisationConfig
from foreact.vla.transformer import TransformerConfig

UPDATES = 3
SMALL = TransformerConfig(
    width=16, head_width=8, heads=(2,), hidden=(16,), action_heads=(2,), context_heads=(1,), action_hidden=(16,),
    stem=4, prefix=4,
)  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "transformer": {"policy": SMALL},
    "mlp": {"policy": MLPConfig(widths=(16,)), "streams": (), "language": False},
}


def config(kind: str, data: Path, out: Path) -> TrainConfig:
    optimisation = OptimisationConfig(updates=UPDATES, batch=4, warmup=1)
    return TrainConfig(
        data, out, optimisation=optimisation, processes=1, checkpoint_every=1, log_every=1, **KINDS[kind]
    )


@pytest.fixture(scope="module", params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def trained(kind: str, demonstrations: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp(kind) / "run"
    train(config(kind, demonstrations, out))
    return out


def test_a_run_stopped_after_two_updates_ends_with_the_same_bits(
    kind: str, trained: Path, demonstrations: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    train(config(kind, demonstrations, out))
    shutil.rmtree(out / "policy")
    shutil.rmtree(out / "checkpoints" / f"step-{UPDATES:07d}")
    train(config(kind, demonstrations, out))
    expected, got = (load_file(run / "policy" / "model.safetensors") for run in (trained, out))
    assert expected.keys() == got.keys()
    assert all((expected[name] == got[name]).all() for name in expected)
    assert load_policy(trained).config == KINDS[kind]["policy"]


def test_it_drives_with_late_chunks(kind: str, trained: Path, tmp_path: Path) -> None:
    driven = {
        delay: evaluate(
            EvalConfig(
                tmp_path / str(delay), ("reach",), trained, episodes=1, horizon=20, delay=delay, videos=0, workers=1
            )
        ).figures
        for delay in (0, 4)
    }
    assert all(each["episodes"] == 1 for each in driven.values())
    assert driven[0]["protocol_hash"] != driven[4]["protocol_hash"], (
        "late and punctual are not to be compared unnoticed"
    )


def test_delays_that_cannot_be_bridged_are_refused(kind: str, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="delay=9 but with execute=8 of chunks of 16 actions at most 8"):
        evaluate(EvalConfig(tmp_path / "x", ("reach",), trained, delay=9))
    if kind == "transformer":
        with pytest.raises(EvalError, match="delay=5 but the policy was trained for at most 4; type told=false"):
            evaluate(EvalConfig(tmp_path / "x", ("reach",), trained, delay=5))
    assert not (tmp_path / "x").exists()


def test_a_policy_that_does_not_fit_leaves_no_folder(demonstrations: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"an mlp takes the state alone"):
        train(TrainConfig(demonstrations, tmp_path / "run", MLPConfig(), processes=1))
    assert not (tmp_path / "run").exists()
