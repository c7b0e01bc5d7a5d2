"""World models from data to figures: processes, kills, resumed runs, and a task with a known answer."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foreact.episodes.runfolder import RunFolder
from foreact.worldmodels.checkpoint import load_model
from foreact.worldmodels.models.codes import CodesConfig
from foreact.worldmodels.models.predictor import PredictorConfig
from foreact.worldmodels.models.regression import DeterministicConfig
from foreact.worldmodels.points import GAINS, STEP, make_points
from foreact.worldmodels.scores import energy_score
from foreact.worldmodels.train import WorldModelConfig, train_worldmodel
from foreact.worldmodels.trainer import OptimisationConfig

TOLERANCE = 1e-4  # of the loss of n processes against one, relative
SMALL = CodesConfig(predictor=PredictorConfig(width=64, depth=1, codes=4, code_width=32), latent=16, encoder_width=32)
SHORT = OptimisationConfig(updates=8, batch=32, warmup=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("points") / "train"
    make_points(600, 8, seed=1000).save(path)
    return path


def losses(run: Path) -> np.ndarray:
    return np.array([row["loss"] for row in RunFolder.open(run).read_metrics()])


def short(data: Path, out: Path, **changed: Any) -> WorldModelConfig:
    return WorldModelConfig(data, out, SMALL, SHORT, log_every=1, checkpoint_every=4, **changed)


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process."""
    run = tmp_path_factory.mktemp("alone") / "run"
    train_worldmodel(short(data, run))
    return run


@pytest.mark.parametrize("shard", [False, True], ids=["ddp", "fsdp2"])
def test_two_processes_have_the_losses_of_one(shard: bool, data: Path, alone: Path, tmp_path: Path) -> None:
    train_worldmodel(short(data, tmp_path / "run", processes=2, shard=shard))
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(alone), rtol=TOLERANCE)
    ours, theirs = load_model(tmp_path / "run"), load_model(alone)
    for (name, first), second in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-2, atol=1e-3, msg=name)


SCRIPT = """
import sys
from pathlib import Path
from foreact.worldmodels.train import WorldModelConfig, train_worldmodel
from foreact.worldmodels.trainer import OptimisationConfig
from foreact.worldmodels.models.codes import CodesConfig
from foreact.worldmodels.models.predictor import PredictorConfig

small = CodesConfig(predictor=PredictorConfig(width=64, depth=1, codes=4, code_width=32), latent=16, encoder_width=32)
updates, processes = int(sys.argv[3]), int(sys.argv[4])
train_worldmodel(WorldModelConfig(
    Path(sys.argv[1]), Path(sys.argv[2]), small, OptimisationConfig(updates=updates, batch=32, warmup=2),
    log_every=1, checkpoint_every=4, processes=processes,
))
"""


def test_torchrun_gives_the_losses_of_one_process(data: Path, alone: Path, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--standalone", str(script), str(data), str(tmp_path / "run"), "8", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(alone), rtol=TOLERANCE)


def test_a_killed_run_continues_bit_for_bit(data: Path, tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    command = [sys.executable, "-c", SCRIPT, str(data), str(run), "80", "1"]
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + 60
        while not list((run / "checkpoints").glob("step-*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert not (run / "model").exists(), "the run was over before it was killed"
    optimisation = dataclasses.replace(SHORT, updates=80)
    for path in (run, whole):
        train_worldmodel(dataclasses.replace(short(data, path), optimisation=optimisation))
    assert losses(run).tolist() == losses(whole).tolist()
    assert (run / "model" / "model.safetensors").read_bytes() == (whole / "model" / "model.safetensors").read_bytes()


def test_another_configuration_does_not_continue_a_run(data: Path, alone: Path) -> None:
    with pytest.raises(ValueError, match="seed: the folder has 0, asked for 3"):
        train_worldmodel(short(data, alone, seed=3))
    assert json.loads((alone / "run.json").read_text())["kind"] == "train-worldmodel"


def test_codes_find_the_gains_that_one_future_cannot(data: Path, tmp_path: Path) -> None:
    test = make_points(200, 32, seed=1000, purpose="test")
    optimisation = OptimisationConfig(updates=200, batch=64, warmup=20, ema=0.98)
    one = DeterministicConfig(predictor=dataclasses.replace(SMALL.predictor, codes=1), latent=16, encoder_width=32)
    scores, forecasts = {}, {}
    for name, model in (("codes", SMALL), ("one", one)):
        config = WorldModelConfig(data, tmp_path / name, model, optimisation)
        train_worldmodel(config)
        with torch.inference_mode():
            futures = load_model(tmp_path / name).imagine(torch.tensor(test.context), torch.tensor(test.actions))
        values, weights = futures.values[..., :2].numpy(), futures.log_weights.exp().numpy()
        forecasts[name] = values, weights
        scores[name] = energy_score(values, weights, test.positions).mean()
    half = np.full((200, 16), 1 / 16)
    floor = energy_score(test.positions[:, :16], half, test.positions[:, 16:]).mean()
    assert (scores["one"] - scores["codes"]) / (scores["one"] - floor) > 0.6
    # both gains are among the codes, each with about half of the probability
    values, weights = forecasts["codes"]
    way = STEP * test.actions.sum(1)
    moved = values[:, :, -1] - test.context[:, None, :2]
    gains = (moved * way[:, None]).sum(-1) / np.square(way).sum(-1)[:, None]
    middle = sum(GAINS) / 2
    shares = [(weights * near).sum(1).mean() for near in (gains > middle, gains <= middle)]
    assert shares == pytest.approx([0.5, 0.5], abs=0.1)
