"""From a set of pictures to figures: training in two stages, killed and continued; evaluation; features on disk."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from foreact.episodes.aligned import BLOCK, AlignedPictures, AlignedWriter
from foreact.episodes.runfolder import RunError
from foreact.perception.omnivorous.checkpoint import load_encoder
from foreact.perception.omnivorous.embed import EmbedConfig, Embedded, EmbedError, embed_pictures, embed_set
from foreact.perception.omnivorous.evaluate import EvalEncoderConfig, evaluate_encoder
from foreact.perception.omnivorous.frontier import FrontierConfig, frontier
from foreact.perception.omnivorous.model import EncoderConfig
from foreact.perception.omnivorous.sheet import cls_attention
from foreact.perception.omnivorous.train import EncoderTrainConfig, train_encoder
from foreact.perception.omnivorous.trainer import EncoderOptimisation
from foreact.perception.omnivorous.trunk import TrunkConfig

SIDE = 16
SMALL = EncoderConfig(TrunkConfig(side=SIDE, patch=4, width=32, depth=2, heads=2))


def write_scenes(path: Path, seed: int) -> Path:
    """One box, of another place, size and colour in each scene, on a floor."""
    random = np.random.default_rng(seed)
    writer = AlignedWriter(path, BLOCK, SIDE, ("nothing", "floor", "box"), {"seed": seed})
    rows = np.arange(SIDE)
    low, size = random.integers(0, 12, (2, BLOCK)), random.integers(4, 12, (2, BLOCK))
    inside = [(rows >= low[axis][:, None]) & (rows < (low + size)[axis][:, None]) for axis in (0, 1)]
    box = inside[0][:, :, None] & inside[1][:, None]
    colours = random.integers(0, 255, (2, BLOCK, 1, 1, 3)).astype(np.uint8)
    writer.write({
        "rgb": np.where(box[..., None], colours[0], colours[1]),
        "depth": np.where(box, 900, np.linspace(3000, 1000, SIDE)[:, None]).astype(np.uint16),
        "segmentation": np.where(box, 7, 3).astype(np.uint8),
        "classes": np.where(box, 2, 1).astype(np.uint8),
    })  # fmt: skip
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("omnivorous")
    write_scenes(path / "train", 1000)
    write_scenes(path / "held", 1001)
    train_encoder(teaching(path))
    train_encoder(aligning(path))
    return path


def optimisation(updates: int) -> EncoderOptimisation:
    return EncoderOptimisation(updates=updates, batch=32, learning_rate=6e-3)


def teaching(path: Path) -> EncoderTrainConfig:
    return EncoderTrainConfig(
        path / "train", path / "teacher", SMALL, "teacher", optimisation=optimisation(40), checkpoint_every=20
    )


def aligning(path: Path) -> EncoderTrainConfig:
    return EncoderTrainConfig(
        path / "train", path / "student", SMALL, "align", path / "teacher", optimisation=optimisation(70),
        watch=path / "held", watch_every=35,
    )  # fmt: skip


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_alignment_raises_what_no_alignment_leaves_at_chance(folder: Path) -> None:
    outcome = evaluate_encoder(EvalEncoderConfig(folder / "student", folder / "held", folder / "judged"))
    figures = json.loads((folder / "judged" / "figures.json").read_text())
    assert figures == json.loads(json.dumps(outcome.figures))
    assert figures["scenes"] == BLOCK and len(figures["retrieval_grey"]) == 6
    teacher = figures["retrieval_teacher_grey_mean"]["pooled"]
    assert figures["retrieval_grey_mean"] > 0.12 > teacher
    assert figures["retrieval_grey_mean"] > 3 * teacher
    low, high = figures["retrieval_grey_interval"]
    assert low < figures["retrieval_grey_mean"] < high
    assert figures["retrieval_shuffled_mean"] < 0.1  # the control
    assert figures["probe_teacher"] > 0.65 and figures["probe_classes"] == ["floor", "box"]
    assert figures["probe_drop"] == pytest.approx(figures["probe_teacher"] - figures["probe_student"])
    assert figures["picture_ms"] > 0 and figures["pictures_per_s"] > 0
    low, high = figures["probe_drop_interval"]
    assert low <= figures["probe_drop"] <= high
    assert figures["transfer"]["segmentation"] > figures["transfer_teacher"]["segmentation"] + 0.03
    from PIL import Image

    picture = np.asarray(Image.open(folder / "judged" / "tokens.png"))
    assert picture.shape == (8 * 98, 9 * 98, 3) and picture[:, 3 * 98 : 4 * 98].std() > 20


def test_retrieval_is_watched_on_the_way(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "student" / "metrics.jsonl").read_text().splitlines()]
    watched = {row["step"]: row["retrieval_grey_mean"] for row in rows if "retrieval_grey_mean" in row}
    assert list(watched) == [35, 70] and watched[70] > 0.12


def test_a_killed_training_ends_as_an_unbroken_one(folder: Path) -> None:
    config = dataclasses.replace(teaching(folder), out=folder / "killed")
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path; import dataclasses; from test_omnivorous import teaching, train_encoder\n"
        f"folder = Path({str(folder)!r})\n"
        "train_encoder(dataclasses.replace(teaching(folder), out=folder / 'killed'))"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        until = time.monotonic() + 100
        while not list((folder / "killed" / "checkpoints").glob("step-*")) and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    train_encoder(config)
    for name in ("model/encoder.safetensors", "metrics.jsonl"):
        assert digest(folder / "killed" / name) == digest(folder / "teacher" / name)
    with pytest.raises(RunError, match="another run"):
        train_encoder(dataclasses.replace(config, seed=5))


def test_what_contradicts_itself_is_refused_and_leaves_nothing(folder: Path) -> None:
    for change, says in (
        ({"stage": "teacher"}, "takes no teacher"),
        ({"encoder": EncoderConfig(TrunkConfig(side=SIDE, patch=4, width=16, depth=2, heads=2))}, "another trunk"),
        ({"encoder": EncoderConfig(dataclasses.replace(SMALL.trunk, frozen=2)), "watch_every": 0}, "1 or more"),
        ({"device": "cuda:7"} if not torch.cuda.is_available() else {"log_every": 0}, "no CUDA|1 or more"),
    ):
        with pytest.raises(ValueError, match=says):
            train_encoder(dataclasses.replace(aligning(folder), out=folder / "new", **change))
        assert not (folder / "new").exists()
    with pytest.raises(ValueError, match="scenes of the training set"):
        evaluate_encoder(EvalEncoderConfig(folder / "student", folder / "train", folder / "new"))


def test_the_frontier_gathers_students_and_does_not_train_them_twice(folder: Path) -> None:
    config = FrontierConfig(
        folder / "train", folder / "held", folder / "teacher", folder / "frontier", (10.0,), (1,), (0,),
        optimisation=EncoderOptimisation(updates=2, batch=8),
    )  # fmt: skip
    first = frontier(config)
    assert [row[:4] for row in first.rows] == [("10", "1", "right", "1"), ("10", "1", "shuffled", "1")]
    assert first.rows[0][4:] != first.rows[1][4:]
    written = {path: path.stat().st_mtime_ns for path in (folder / "frontier").glob("*/eval/*")}
    assert len(written) == 4
    assert frontier(config).figures == first.figures
    assert written == {path: path.stat().st_mtime_ns for path in (folder / "frontier").glob("*/eval/*")}


def test_features_of_a_set_are_those_of_its_pictures_and_go_on(folder: Path) -> None:
    config = EmbedConfig(folder / "held", folder / "student", folder / "features", ("depth", "segmentation"))
    embed_set(config)
    found = Embedded.open(folder / "features")
    data, encoder = AlignedPictures.open(folder / "held"), load_encoder(folder / "student")
    wanted = embed_pictures(encoder, {kind: data.read(kind) for kind in config.kinds}, batch=10)
    np.testing.assert_allclose(found.tokens[:], wanted["tokens"], atol=4e-3)
    np.testing.assert_allclose(found.cls[:], wanted["cls"], atol=4e-3)
    header = folder / "features" / "features.json"
    header.write_text(header.read_text().replace(f'"done": {BLOCK}', '"done": 0'))
    with pytest.raises(EmbedError, match="type its line once more"):
        Embedded.open(folder / "features")
    embed_set(config)
    np.testing.assert_array_equal(Embedded.open(folder / "features").cls[:], found.cls[:])
    with pytest.raises(EmbedError, match="their kinds differ"):
        embed_set(dataclasses.replace(config, kinds=("rgb",)))
    shutil.rmtree(folder / "features" / "cls" / "c")
    with pytest.raises(EmbedError, match="parts of cls"):
        Embedded.open(folder / "features")
    with pytest.raises(ValueError, match="as many pictures"):
        embed_pictures(encoder, {"rgb": data.read("rgb"), "depth": data.read("depth")[:3]})


def test_a_named_trunk_takes_its_weights_from_a_file_and_is_its_own_teacher(folder: Path) -> None:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), folder / "vit.safetensors")
    trunk = TrunkConfig(side=64, timm="test_vit", weights=folder / "vit.safetensors", frozen=4)
    config = dataclasses.replace(
        aligning(folder), out=folder / "named", encoder=EncoderConfig(trunk), teacher=None, watch=None,
        optimisation=EncoderOptimisation(updates=2, batch=4),
    )  # fmt: skip
    train_encoder(config)
    rows = [json.loads(line) for line in (folder / "named" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss.anchor"] < 0.05  # it has hardly left its teacher
    figures = evaluate_encoder(EvalEncoderConfig(folder / "named", folder / "held", folder / "new")).figures
    assert figures["probe_teacher"] == pytest.approx(figures["probe_student"], abs=0.1)
    first, after = trunk.build().vit, load_encoder(folder / "named").trunk.vit
    for block, other, same in zip(first.blocks, after.blocks, [True] * 4 + [False] * 2, strict=True):
        assert torch.equal(block.mlp.fc1.weight, other.mlp.fc1.weight) == same
    weights = cls_attention(load_encoder(folder / "named").trunk, torch.rand(2, 3, 32, 32))
    assert weights.shape == (2, 16) and 0 < weights.min() and weights.sum(1).max() < 1
