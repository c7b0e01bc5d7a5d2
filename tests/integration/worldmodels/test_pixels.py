"""Pictured futures of a real scene, drawn, learnt from and judged; small, so that the figures are only told apart."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foreact.episodes.runfolder import RunFolder
from foreact.perception.tensor_folder import CheckpointError
from foreact.sim.pictures import WorldPictures, camera_specs
from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.branches import BranchError
from foreact.worldmodels.branching import make_branches
from foreact.worldmodels.models.predictor import PredictorConfig
from foreact.worldmodels.pixels.checkpoint import load_pixel_model
from foreact.worldmodels.pixels.decoder import DecoderConfig
from foreact.worldmodels.pixels.drawing import DrawConfig, draw_futures
from foreact.worldmodels.pixels.encoder import EncoderConfig
from foreact.worldmodels.pixels.evaluate import PixelEvaluationConfig, evaluate_pixels
from foreact.worldmodels.pixels.model import PixelModelConfig
from foreact.worldmodels.pixels.objective import PixelLossWeights
from foreact.worldmodels.pixels.pictures import PictureSpec, PixelBranches
from foreact.worldmodels.pixels.train import PixelTrainConfig, train_pixels
from foreact.worldmodels.pixels.trainer import PixelOptimisation
from foreact.worldmodels.scenes import scene

TOLERANCE = 1e-4  # of the loss of two processes against that of one, relative
SPEC = PictureSpec(side=16, every=8)
MODEL = PixelModelConfig(
    EncoderConfig(latent=8, channels=(8, 12), hidden=32, points=4),
    DecoderConfig((8, 8), hidden=32, points=4),
    PredictorConfig(width=32, depth=1, codes=2, code_width=16),
)


def drawn(out: Path, purpose: Any, states: int, **changes: Any) -> DrawConfig:
    given = {"copies": 3, "pictured": 2, "seed": 5, "pictures": SPEC, "batch": 4, **changes}
    return DrawConfig(out, "arm-push", purpose, states, **given)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictured")
    draw_futures(drawn(folder / "train", "train", 24, batch=24))
    draw_futures(drawn(folder / "test", "test", 12, batch=12))
    return folder


def test_pictures_are_of_the_states_that_the_seed_makes(sets: Path) -> None:
    data, chosen = PixelBranches.open(sets / "test"), scene("arm-push")
    model = chosen.task.compile()
    painter = WorldPictures(model, camera_specs(model, ["front"], 16, 16), 12)
    wrong: list[int] = []

    def compare(step: int, worlds: TaskWorlds, states: np.ndarray) -> None:
        if step not in (-4, 0, 8, 16):
            return
        pictures = painter.draw(worlds.backend)["camera.front.rgb"]
        if step <= 0:
            wrong.append(int((pictures != data.seen["rgb"][states, step // 4 + 1]).sum()))
        else:
            drawn = pictures.reshape(len(states), 3, 16, 16, 3)[:, :2]
            wrong.append(int((drawn != data.later["rgb"][states, :, step // 8 - 1]).sum()))

    plain = make_branches(chosen, "test", 12, 3, 5, worlds=12, watch=compare)
    assert np.array_equal(data.branches.futures, plain.futures)
    assert np.array_equal(data.branches.actions, plain.actions)
    assert (data.pictured, data.later["rgb"].shape) == (2, (12, 2, 2, 16, 16, 3))
    # batches of other sizes show the same, each picture at its place
    assert wrong == [0] * 12
    assert all((values == 2).any() for values in data.seen["segmentation"][:, 1])  # the table


class Stopped(Exception):
    pass


def test_a_drawing_that_was_stopped_goes_on_and_another_one_is_refused(sets: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int, text: str) -> None:
        if done == 8:
            raise Stopped

    config = drawn(tmp_path / "set", "test", 12)
    with pytest.raises(Stopped):
        draw_futures(config, stop)
    parts = tmp_path / "set.parts"
    assert sorted(each.suffix for each in parts.iterdir()) == [".json", ".safetensors", ".safetensors"]
    with pytest.raises(BranchError, match="another set"):
        draw_futures(drawn(tmp_path / "set", "test", 12, pictured=3))
    outcome = draw_futures(config)
    assert outcome.figures["frames_drawn"] == 4 * (2 + 2 * 2) and not parts.exists()
    one, other = PixelBranches.open(tmp_path / "set"), PixelBranches.open(sets / "test")
    for name in one.later:
        assert np.array_equal(one.seen[name], other.seen[name]) and np.array_equal(one.later[name], other.later[name])
    assert draw_futures(config).figures["frames_drawn"] == 0
    with pytest.raises(BranchError, match="states is 12, asked for 13"):
        draw_futures(drawn(tmp_path / "set", "test", 13))


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    def stop(done: int, total: int, text: str) -> None:
        if done == 4:
            raise Stopped

    config = drawn(tmp_path / "set", "test", 8)
    with pytest.raises(Stopped):
        draw_futures(config, stop)
    part = tmp_path / "set.parts" / "part-00000.safetensors"
    part.write_bytes(part.read_bytes()[:-5])
    with pytest.raises(BranchError, match="part-00000.safetensors is damaged"):
        draw_futures(config)


def fitted(sets: Path, out: Path, updates: int, **changes: Any) -> PixelTrainConfig:
    """Of so many updates in all, half of them of the latents."""
    half = updates // 2
    optimisation = PixelOptimisation(
        half, states=8, futures=2, moments=2, readers=updates - half, batch=8, drawn=8, warmup=4,
        loss=PixelLossWeights(winner=0.5, sigreg=1.0, lines=16),
    )  # fmt: skip
    return PixelTrainConfig(
        sets / "train", out, MODEL, optimisation, **{"seed": 3, "checkpoint_every": 2, "log_every": 2, **changes}
    )


def weights(run: Path) -> Mapping[str, torch.Tensor]:
    return load_pixel_model(run).state_dict()


def test_a_killed_run_ends_as_an_unbroken_one(sets: Path, tmp_path: Path) -> None:
    train_pixels(fitted(sets, tmp_path / "whole", 6))

    def stop(done: int, total: int, text: str) -> None:
        if done == 4:
            raise Stopped

    with pytest.raises(Stopped):
        train_pixels(fitted(sets, tmp_path / "killed", 6), stop)
    assert not (tmp_path / "killed" / "model").exists()
    train_pixels(fitted(sets, tmp_path / "killed", 6))
    whole, killed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(value, killed[name]) for name, value in whole.items())
    metrics = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "killed")]
    assert metrics[0] == metrics[1]
    with pytest.raises(ValueError, match="another run"):
        train_pixels(fitted(sets, tmp_path / "killed", 6, seed=4))


def test_two_processes_have_the_loss_of_one(sets: Path, tmp_path: Path) -> None:
    train_pixels(fitted(sets, tmp_path / "one", 4, log_every=1))
    train_pixels(fitted(sets, tmp_path / "two", 4, log_every=1, processes=2))
    one, two = (RunFolder.open(tmp_path / name).read_metrics() for name in ("one", "two"))
    assert len(two) == 4
    for ours, theirs in zip(two, one, strict=True):
        assert ours.keys() == theirs.keys()
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=TOLERANCE), theirs["step"]
    # metrics of another seed are told apart
    train_pixels(fitted(sets, tmp_path / "other", 2, log_every=1, seed=4))
    other = RunFolder.open(tmp_path / "other").read_metrics()[0]
    assert other["loss"] != pytest.approx(one[0]["loss"], rel=TOLERANCE)
    with pytest.raises(ValueError, match="states=8 does not divide among 3"):
        train_pixels(fitted(sets, tmp_path / "three", 2, processes=3))
    assert not (tmp_path / "three").exists()


def test_a_model_is_judged_and_drawn(sets: Path, tmp_path: Path) -> None:
    train_pixels(fitted(sets, tmp_path / "run", 120))
    config = PixelEvaluationConfig(tmp_path / "run", sets / "test", sets / "train", tmp_path / "judged", speed=False)
    losses = [row["loss"] for row in RunFolder.open(tmp_path / "run").read_metrics()]
    for stage in (losses[:30], losses[30:]):
        assert np.mean(stage[-5:]) < 0.8 * np.mean(stage[:5])
    outcome = evaluate_pixels(config)
    figures: Any = outcome.figures
    assert len(outcome.rows) == 5 and figures["states"] == 12
    energy = figures["energy_score"]
    assert energy["floor"] == min(energy.values()) and energy["linear"] != energy["copy_last"]
    assert figures["effective_rank"] > 2
    assert list(figures["positions_explained"]) == [f"{thing}_{axis}" for thing in ("hand", "cube") for axis in "xyz"]
    assert figures["psnr_moved_db"]["true latents"] > figures["psnr_moved_db"]["last frame"]
    assert set(figures["overlap"]) == {"palm", "cube", "goal"}
    palm = figures["overlap"]["palm"]
    assert 0 <= palm["true latents"]["all"] <= 1 and palm["last frame"]["moved"] < palm["last frame"]["all"] < 1
    from PIL import Image

    with Image.open(tmp_path / "judged" / "futures.png") as sheet:
        assert sheet.size[0] > 6 * 32 and np.asarray(sheet).std() > 10
    only = evaluate_pixels(PixelEvaluationConfig(**{**vars(config), "kinds": ("depth",)})).figures
    assert only["energy_score"] != figures["energy_score"]
    with pytest.raises(ValueError, match="heat"):
        evaluate_pixels(PixelEvaluationConfig(**{**vars(config), "kinds": ("heat",)}))


def test_wrong_data_and_models_are_refused_and_leave_nothing(sets: Path, tmp_path: Path) -> None:
    with pytest.raises(BranchError, match="for 'test', expected 'train'"):
        train_pixels(PixelTrainConfig(sets / "test", tmp_path / "run", MODEL))
    with pytest.raises(ValueError, match="picture 2 futures"):
        train_pixels(PixelTrainConfig(sets / "train", tmp_path / "run", MODEL, PixelOptimisation(futures=5)))
    with pytest.raises(BranchError, match="not a set"):
        train_pixels(PixelTrainConfig(tmp_path / "nothing", tmp_path / "run", MODEL))
    assert not (tmp_path / "run").exists()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        evaluate_pixels(PixelEvaluationConfig(tmp_path, sets / "test", sets / "train", tmp_path / "judged"))
    train_pixels(fitted(sets, tmp_path / "run", 2))
    with pytest.raises(BranchError, match="data is for 'train'"):
        evaluate_pixels(PixelEvaluationConfig(tmp_path / "run", sets / "train", sets / "train", tmp_path / "judged"))
    shutil.copytree(sets / "test" / "branches", tmp_path / "plain")
    with pytest.raises(BranchError, match="not a set of pictured futures"):
        evaluate_pixels(
            PixelEvaluationConfig(tmp_path / "run", tmp_path / "plain", sets / "train", tmp_path / "judged")
        )
