"""The encoder: what it takes, what it gives, what it refuses."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from foreact.perception.omnivorous.checkpoint import load_encoder, read_about, save_encoder
from foreact.perception.omnivorous.model import KINDS, EncoderConfig, OmnivorousEncoder, kinds_left
from foreact.perception.omnivorous.palette import grey, unit_depth
from foreact.perception.omnivorous.resampler import ResamplerConfig
from foreact.perception.omnivorous.trunk import TrunkConfig, WeightsError
from foreact.perception.tensor_folder import CheckpointError


@pytest.fixture(scope="module")
def encoder(small: EncoderConfig) -> OmnivorousEncoder:
    torch.manual_seed(0)
    return small.build().eval()


def pictures(count: int = 2, side: int = 16) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        "rgb": torch.randint(0, 256, (count, side, side, 3), generator=random).to(torch.uint8),
        "depth": torch.randint(0, 4000, (count, side, side), generator=random).to(torch.uint16),
        "segmentation": torch.randint(0, 30, (count, side, side), generator=random).to(torch.uint8),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_any_kind_alone_becomes_tokens_of_the_same_shape(encoder: OmnivorousEncoder, kind: str) -> None:
    seen = encoder({kind: pictures()[kind]})
    assert seen.tokens.shape == (2, 16, 16) and seen.cls.shape == (2, 16)
    encoder.train()  # not even then do a picture's tokens depend on the others
    alone = encoder({kind: pictures()[kind][:1]})
    assert torch.allclose(alone.tokens, seen.tokens[:1], atol=1e-5)
    encoder.eval()


def test_depth_is_shown_in_grey(encoder: OmnivorousEncoder) -> None:
    depth = pictures()["depth"]
    assert torch.equal(encoder.planes("depth", depth), grey(unit_depth(depth.int())))
    assert encoder.planes("rgb", pictures()["rgb"]).max() <= 1


def test_pictures_of_another_size_are_scaled(encoder: OmnivorousEncoder) -> None:
    assert encoder({"rgb": pictures(side=24)["rgb"]}).tokens.shape == (2, 16, 16)


def test_several_kinds_are_averaged_over_those_that_are_present(encoder: OmnivorousEncoder) -> None:
    given = pictures()
    each = {kind: encoder.encode(kind, values) for kind, values in given.items()}
    mean = torch.stack([seen.tokens for seen in each.values()]).mean(0)
    assert torch.allclose(encoder(given).tokens, mean, atol=1e-6)
    present = {"rgb": torch.tensor([True, False]), "depth": torch.tensor([False, False])}
    found = encoder(given, present=present)
    assert torch.allclose(found.cls[1], each["segmentation"].cls[1], atol=1e-6)
    both = (each["segmentation"].tokens[0] + each["rgb"].tokens[0]) / 2
    assert torch.allclose(found.tokens[0], both, atol=1e-6)


def test_modality_dropout_leaves_all_or_one() -> None:
    left = kinds_left(4000, 3, torch.Generator().manual_seed(0))
    counts = left.sum(0)
    assert set(counts.tolist()) == {1, 3}
    assert (counts == 3).float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert left.float().mean(1).tolist() == pytest.approx([2 / 3] * 3, abs=0.03)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "no pictures"),
        ({"sound": torch.zeros(1, 4, 4)}, "no kind 'sound'"),
        ({"rgb": torch.zeros(1, 3, 8, 8)}, "expected uint8 .B, H, W, 3."),
        ({"rgb": torch.zeros(1, 3, 8, 8, dtype=torch.uint8)}, "expected uint8"),
        ({"depth": torch.zeros(8, 8, dtype=torch.int32)}, "whole millimetres"),
        ({"rgb": torch.zeros(0, 8, 8, 3, dtype=torch.uint8)}, "expected uint8"),
        ({"depth": torch.zeros(1, 8, 8)}, "multiply metres by 1000"),
        ({"segmentation": torch.full((1, 8, 8), 300)}, "holds 300 to 300"),
        ({"rgb": torch.zeros(1, 8, 8, 3, dtype=torch.uint8), "depth": torch.zeros(2, 8, 8, dtype=torch.int32)}, "1, 2"),
    ],
)
def test_what_is_no_picture_of_a_kind_is_refused(
    encoder: OmnivorousEncoder, given: dict[str, Tensor], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        encoder(given)


def test_a_scene_without_any_picture_is_refused(encoder: OmnivorousEncoder) -> None:
    with pytest.raises(ValueError, match="no picture that counts"):
        encoder({"rgb": pictures()["rgb"]}, present={"rgb": torch.tensor([True, False])})


def test_language_steers_the_resampler(small: EncoderConfig) -> None:
    torch.manual_seed(0)
    encoder = dataclasses.replace(small, resampler=ResamplerConfig(tokens=16, heads=2, language=5)).build().eval()
    assert encoder.resampler is not None and encoder.resampler.steer is not None
    first, second = torch.randn(2, 5), torch.randn(2, 5)
    given = {"rgb": pictures()["rgb"]}
    assert encoder(given, first).tokens.shape == (2, 16, 16)
    assert torch.equal(encoder(given, first).tokens, encoder(given, second).tokens)  # it starts as no change
    with torch.no_grad():
        encoder.resampler.steer.project.weight.normal_()
    assert not torch.allclose(encoder(given, first).tokens, encoder(given, second).tokens)
    with pytest.raises(ValueError, match="language is missing"):
        encoder(given)
    plain = dataclasses.replace(small, resampler=ResamplerConfig(heads=2)).build()
    with pytest.raises(ValueError, match="made without language"):
        plain(given, first)


def test_frozen_blocks_do_not_learn(small: EncoderConfig) -> None:
    encoder = EncoderConfig(dataclasses.replace(small.trunk, frozen=1)).build()
    encoder({"rgb": pictures()["rgb"]}).tokens.sum().backward()
    learned = {name for name, each in encoder.trunk.named_parameters() if each.grad is not None}
    assert learned and all(name.startswith(("vit.blocks.1", "vit.norm")) for name in learned)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"patch": 5}, "multiple of patch"),
        ({"frozen": 9}, "at most depth"),
        ({"width": 0}, "positive"),
        ({"weights": Path("x.safetensors")}, "type timm=NAME"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(values: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(TrunkConfig(), **values)


def test_a_stem_that_does_not_fit_says_what_to_type() -> None:
    with pytest.raises(ValueError, match="type stem=patch"):
        TrunkConfig(side=42, patch=14).build()
    assert TrunkConfig(side=28, patch=14, width=16, depth=1, heads=2, stem="patch").build().grid == (2, 2)


def test_unknown_and_missing_weights_are_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="near: vit_small_patch14_dinov2"):
        TrunkConfig(timm="vit_small_patch14_dinov22").build()
    with pytest.raises(WeightsError, match="pretrained=True.*or give a file"):
        TrunkConfig(timm="test_vit", side=32).build()
    (tmp_path / "w.bin").write_bytes(b"weights")
    with pytest.raises(WeightsError, match="ends in .safetensors"):
        TrunkConfig(timm="test_vit", side=32, weights=tmp_path / "w.bin").build()


def test_what_was_saved_is_read(small: EncoderConfig, encoder: OmnivorousEncoder, tmp_path: Path) -> None:
    save_encoder(tmp_path / "run" / "model", small, encoder.state_dict(), {"seed": 3})
    again = load_encoder(tmp_path / "run")
    assert torch.equal(again(pictures()).tokens, encoder(pictures()).tokens)
    assert not any(each.requires_grad for each in again.parameters())
    about = read_about(tmp_path / "run")
    assert about["seed"] == 3 and len(about["sha256"]) == 64


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 9}, "version 9"),
        ({"takes": {"rgb": "float"}}, "takes other pictures"),
        ({"encoder": {"trunk": {}}}, "does not describe an encoder"),
    ],
)
def test_other_encoders_are_refused(
    small: EncoderConfig, encoder: OmnivorousEncoder, tmp_path: Path, change: dict[str, object], says: str
) -> None:
    save_encoder(tmp_path / "m", small, encoder.state_dict())
    file = tmp_path / "m" / "encoder.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=says):
        load_encoder(tmp_path / "m")


def test_a_missing_or_truncated_encoder_is_told(
    small: EncoderConfig, encoder: OmnivorousEncoder, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="foreact train encoder=tiny"):
        load_encoder(tmp_path / "none")
    save_encoder(tmp_path / "m", small, encoder.state_dict())
    file = tmp_path / "m" / "encoder.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="truncated or altered"):
        load_encoder(tmp_path / "m")
