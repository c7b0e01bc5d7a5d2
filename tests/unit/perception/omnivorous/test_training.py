"""Learners and the training loop: what they fit, and that a resumed run is an unbroken one."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from foreact.episodes.aligned import AlignedPictures
from foreact.perception.omnivorous.augment import MapWays
from foreact.perception.omnivorous.learners import AlignConfig, AlignLearner, Learner, TeachConfig, TeacherLearner
from foreact.perception.omnivorous.memory import PictureMemory
from foreact.perception.omnivorous.model import EncoderConfig
from foreact.perception.omnivorous.trainer import EncoderOptimisation, EncoderTrainer
from foreact.perception.omnivorous.trunk import Trunk

FEW = EncoderOptimisation(updates=6, batch=8, learning_rate=3e-3, ema=0.9, precision="float32")


@pytest.fixture(scope="module")
def data(scenes: Path) -> PictureMemory:
    return PictureMemory(AlignedPictures.open(scenes))


def learner(name: str, small: EncoderConfig, data: PictureMemory) -> Learner:
    torch.manual_seed(0)
    encoder = small.build()
    if name == "teacher":
        return TeacherLearner(encoder, TeachConfig(), data.side, data.counts)
    teacher = small.build().trunk if name == "taught" else None
    return AlignLearner(encoder, AlignConfig(tokens=4, ways=MapWays(mix=0.3)), teacher, data.side)


TERMS = {
    "teacher": {"classes", "present", "colours", "depth"},
    "taught": {"whole", "pooled", "dense", "anchor"},
    "free": {"whole", "pooled", "dense", "sigreg", "decoded_colours", "decoded_depth", "decoded_borders"},
}


@pytest.mark.parametrize("name", TERMS)
def test_three_updates_and_three_more_are_six(name: str, small: EncoderConfig, data: PictureMemory) -> None:
    unbroken = EncoderTrainer(learner(name, small, data), data, FEW, seed=1000)
    first = EncoderTrainer(learner(name, small, data), data, FEW, seed=1000)
    for _ in range(2):
        unbroken.update()
        first.update()
    shown = first.update()
    assert unbroken.update() == shown
    assert {key.removeprefix("loss.") for key in shown if key.startswith("loss.")} == TERMS[name]
    second = EncoderTrainer(learner(name, small, data), data, FEW, seed=1000)
    second.restore(3, first.capture())
    for _ in range(3):
        assert second.update() == unbroken.update()
    wanted, found = unbroken.capture(), second.capture()
    assert wanted.keys() == found.keys() and any(key.startswith("average.") for key in wanted)
    assert all(torch.equal(wanted[key], found[key]) for key in wanted)


def test_a_teacher_does_not_learn_and_is_not_kept(small: EncoderConfig, data: PictureMemory) -> None:
    taught = learner("taught", small, data)
    assert isinstance(taught, AlignLearner)
    before = [each.clone() for each in taught._teacher[0].parameters()]
    trainer = EncoderTrainer(taught, data, FEW, seed=0)
    trainer.update()
    assert all(torch.equal(*pair) for pair in zip(before, taught._teacher[0].parameters(), strict=True))
    assert not any("teacher" in name for name in trainer.capture())


class _Turned(Trunk):
    """Gives what a trunk gives, with signs."""

    def __init__(self, trunk: Trunk, signs: tuple[float, float]) -> None:
        super().__init__(trunk.config, trunk.vit)
        self.signs = signs

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        cls, tokens = super().forward(pictures)
        return self.signs[0] * cls, self.signs[1] * tokens


def test_a_student_that_is_its_teacher_is_anchored_at_zero(small: EncoderConfig, data: PictureMemory) -> None:
    encoder = small.build()
    same = AlignLearner(encoder, AlignConfig(anchor=2.0, tokens=4), encoder.trunk, data.side)
    generator = torch.Generator().manual_seed(0)
    batch = data.draw(8, 0.7, generator)
    assert same.losses(batch, 0.0, generator)["anchor"].item() == pytest.approx(0.0, abs=1e-4)
    for turned in ((-1.0, 1.0), (1.0, -1.0)):  # one of the two is opposite: 2.0 (1 - (-1))
        other = AlignLearner(encoder, AlignConfig(anchor=2.0, tokens=4), _Turned(encoder.trunk, turned), data.side)
        assert other.losses(batch, 0.0, generator)["anchor"].item() == pytest.approx(4.0, abs=1e-4)


def test_the_control_pairs_maps_of_other_scenes(small: EncoderConfig, data: PictureMemory) -> None:
    batch = data.draw(8, 0.7, torch.Generator().manual_seed(0))
    planes = {}
    for shuffled in (False, True):
        config = AlignConfig(shuffled=shuffled)
        each = AlignLearner(small.build(), config, None, data.side)
        planes[shuffled] = each._planes(batch, 0.0, torch.Generator().manual_seed(1))
    assert torch.equal(planes[True]["rgb"], planes[False]["rgb"])
    assert torch.equal(planes[True]["depth"], planes[False]["depth"].roll(1, 0))
    assert torch.equal(planes[True]["segmentation"], planes[False]["segmentation"].roll(2, 0))


def test_a_few_updates_align_what_is_simple(small: EncoderConfig, data: PictureMemory) -> None:
    torch.manual_seed(0)
    encoder = small.build()
    config = AlignConfig(tokens=4, whole=0.0, dense=0.0, sigreg=0.0, decoding=0.0)
    trainer = EncoderTrainer(
        AlignLearner(encoder, config, None, data.side), data,
        dataclasses.replace(FEW, updates=40, batch=16, learning_rate=0.01, ema=0.0), seed=0,
    )  # fmt: skip
    losses = [trainer.update()["loss.pooled"] for _ in range(40)]
    assert losses[0] > 2.7 and sum(losses[-5:]) / 5 < 2.0  # nothing known: log 16 = 2.77


def test_the_rate_rises_once_and_falls_to_zero() -> None:
    config = EncoderOptimisation(updates=100, learning_rate=2.5, rising=0.2)
    assert [config.rate(step) for step in (0, 10, 20, 60)] == pytest.approx([0.1, 1.3, 2.5, 1.25])
    assert config.rate(99) < 0.01


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(small: EncoderConfig, data: PictureMemory) -> None:
    broken = learner("teacher", small, data)
    trainer = EncoderTrainer(broken, data, FEW, seed=0)
    with torch.no_grad():
        next(broken.encoder.parameters()).fill_(math.nan)
    before = {name: each.clone() for name, each in broken.state_dict().items()}
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        trainer.update()
    assert all(torch.equal(before[name], each) or each.isnan().any() for name, each in broken.state_dict().items())


def test_memory_cuts_all_kinds_alike(data: PictureMemory) -> None:
    batch = data.draw(32, 0.5, torch.Generator().manual_seed(0))
    inside = batch.classes == 2
    for picture in range(32):
        for edges in (inside[picture], ~inside[picture]):
            if edges.any():
                colours = batch.rgb[picture][:, edges]
                assert torch.equal(colours, colours[:, :1].expand_as(colours))
                assert len(batch.segments[picture][edges].unique()) == 1


def test_memory_gives_scenes_as_they_are_the_same_in_any_slice(data: PictureMemory) -> None:
    whole, part = data.take(slice(0, 8)), data.take(slice(4, 8))
    assert torch.equal(whole.segments[4:], part.segments) and torch.equal(whole.rgb[4:], part.rgb)
    assert torch.equal((whole.rgb * 255).round().to(torch.uint8).permute(0, 2, 3, 1), data.raw("rgb", slice(0, 8)))
    assert not torch.equal(data.take(slice(0, 8), seed=1).segments, whole.segments)


@pytest.mark.parametrize("values", [{"updates": 0}, {"batch": 1}, {"ema": 1.0}, {"zoom": 0.0}, {"rising": 1.0}])
def test_optimisation_out_of_range_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="optimisation"):
        dataclasses.replace(FEW, **values)
