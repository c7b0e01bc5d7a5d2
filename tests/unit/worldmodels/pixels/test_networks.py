from collections.abc import Callable

import numpy as np
import pytest
import torch

from foreact.worldmodels.pixels.decoder import DecoderConfig, FrameDecoder, picture_loss, segment_weights
from foreact.worldmodels.pixels.encoder import EncoderConfig, FrameEncoder, centres, kinds_left, planes
from foreact.worldmodels.pixels.pictures import PixelBranches
from foreact.worldmodels.pixels.places import LEAST, PlaceReader, segment_places

MakeSet = Callable[..., PixelBranches]


def encoder() -> FrameEncoder:
    torch.manual_seed(0)
    return FrameEncoder(EncoderConfig(latent=5, channels=(4, 6), hidden=8, points=3), 16).eval()


def test_planes_by_hand() -> None:
    depth = np.array([[[0, 1000], [2000, 60000]]], np.uint16)
    rgb = np.zeros((1, 2, 2, 3), np.uint8)
    rgb[0, 0, 1] = 255
    found = planes({"rgb": rgb, "depth": depth})
    # nothing seen is as far as the farthest, 10 m
    assert torch.allclose(found["depth"][0, 0], torch.tensor([[10.0, 1.0], [2.0, 10.0]]).log())
    assert found["rgb"].shape == (1, 3, 2, 2)
    assert found["rgb"][0, :, 0].tolist() == [[-1.0, 1.0]] * 3


@pytest.mark.parametrize(
    ("name", "values"),
    [("rgb", np.zeros((1, 4, 4), np.uint8)), ("depth", np.zeros((1, 4, 4), np.float32)), ("heat", np.zeros((1, 4, 4)))],
)
def test_other_pictures_are_refused(name: str, values: np.ndarray) -> None:
    with pytest.raises(ValueError, match=name):
        planes({name: values})


def test_a_kind_left_out_is_as_if_it_had_not_been_given(make_set: MakeSet) -> None:
    network, pictures = encoder(), planes(make_set().seen)
    every = network(pictures)
    kept = torch.zeros(len(every), 3, dtype=torch.bool)
    kept[:, 1] = True
    assert torch.allclose(network(pictures, kept), network({"depth": pictures["depth"]}), atol=1e-6)
    assert not torch.allclose(network(pictures, kept), every, atol=1e-2)
    assert torch.allclose(network(pictures, torch.ones_like(kept)), every, atol=1e-6)
    assert network.palette.grad is None and not network.palette.requires_grad


def test_an_encoder_without_eyes_says_so(make_set: MakeSet) -> None:
    with pytest.raises(ValueError, match="got nothing"):
        encoder()({})
    with pytest.raises(ValueError, match="choose from"):
        EncoderConfig(kinds=("rgb", "heat"))


def test_half_of_the_samples_keep_all_kinds() -> None:
    kept = kinds_left(4000, 3, torch.Generator().manual_seed(0))
    assert set(kept.sum(1).tolist()) == {1, 3}
    assert kept.all(1).float().mean() == pytest.approx(0.5, abs=0.03)
    assert torch.allclose(kept[~kept.all(1)].float().mean(0), torch.full((3,), 1 / 3), atol=0.04)


def test_points_stand_where_the_heat_is() -> None:
    assert centres(2).tolist() == [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]]
    network, found = encoder(), []
    for name, value in network.named_parameters():
        if name in ("stem.bias", "near.weight", "near.bias"):
            torch.nn.init.zeros_(value)
    torch.nn.init.constant_(network.heat.weight, 1e4)  # all heat where the picture is not black
    network.outer.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0][:, 8:]))
    frames = torch.zeros(2, 3, 16, 16)
    frames[0, :, 1:3, 13:15] = 1  # inside the cell in the upper right corner and none beside it
    frames[1, :, 9:11, 5:7] = 1
    network({"rgb": frames})
    assert torch.allclose(found[0][0], 4 * torch.tensor([0.75, -0.75] * 3), atol=1e-3)
    assert torch.allclose(found[0][1], 4 * torch.tensor([-0.25, 0.25] * 3), atol=1e-3)


def test_places_of_segments_by_hand() -> None:
    segments = torch.zeros(2, 4, 4, dtype=torch.int64)
    segments[0, 0, 2:] = 1
    segments[1, 3, 0] = 2
    places, there = segment_places(segments, 3)
    assert there.tolist() == [[True, True, False], [True, False, True]]
    assert places[0, 1].tolist() == [0.5, -0.75] and places[1, 2].tolist() == [-0.75, 0.75]
    assert places[0, 2].tolist() == [0.0, 0.0]


def test_things_count_and_what_the_joints_tell_does_not() -> None:
    draw = torch.Generator().manual_seed(0)
    robot = torch.randn(200, 2, generator=draw)
    segments = torch.zeros(200, 16, 16, dtype=torch.int64)
    hand = (robot[:, 0].clamp(-2, 2) * 3 + 8).long()
    thing = torch.randint(0, 16, (200,), generator=draw)
    segments[torch.arange(200), 2, hand] = 3
    segments[torch.arange(200), 10, thing] = 40
    reader = PlaceReader(5, (0, 3, 40))
    reader.know({"segmentation": segments}, robot)
    still, arm, cube = reader.share.tolist()
    assert still == pytest.approx(LEAST) and arm < 0.1 * cube
    # a map that says where everything is on average is wrong by the variance, which is the unit
    torch.nn.init.zeros_(reader.read.weight)
    torch.nn.init.zeros_(reader.read.bias)
    away = (thing / 8 - thing.double().div(8).mean()).square().mean() / 2
    expected = cube * float(away / reader.unit**2) / (still + arm + cube)
    assert reader.loss(torch.zeros(200, 5), segments).item() == pytest.approx(expected, rel=0.1)


def test_small_segments_weigh_as_much_per_pixel_as_told() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[0, 0, 0] = 2
    weights = segment_weights(labels, 3)
    assert float(weights.mean()) == pytest.approx(1)
    assert float(weights[0, 0, 0] / weights[0, 3, 3]) == pytest.approx(15**0.5)


def test_a_fresh_decoder_draws_segments_as_often_and_as_they_are_seen() -> None:
    segments = torch.zeros(98, 16, 16, dtype=torch.int64)
    segments[:49, 4, 4] = 3
    rgb, depth = torch.full((98, 3, 16, 16), -0.5), torch.ones(98, 1, 16, 16)
    rgb[:49, 0, 4, 4], depth[:49, 0, 4, 4] = 1.0, 3.0
    network = FrameDecoder(DecoderConfig((4, 4), 8, 3), 5, 16, (0, 3))
    network.know({"rgb": rgb, "depth": depth, "segmentation": segments})
    drawn = network(torch.randn(2, 5))
    assert drawn.logits.shape == (2, 2, 16, 16)
    chances = torch.softmax(drawn.logits, 1)
    assert float(chances[0, 1, 4, 4]) == pytest.approx(0.5) and float(chances[0, 1, 0, 0]) == pytest.approx(0.01)
    # half a red thing before half a table; where it has never been it would look the same
    assert float(drawn.rgb[0, 0, 4, 4]) == pytest.approx(0.25, abs=0.01)
    assert float(drawn.depth[1, 0, 4, 4]) == pytest.approx(2, abs=0.02)
    assert network.looks[1, 0, 0, 0] == 1.0


def test_what_is_drawn_right_costs_nothing_but_uncertainty(make_set: MakeSet) -> None:
    pictures = {name: values[:3] for name, values in planes(make_set().seen).items()}
    network = FrameDecoder(DecoderConfig((4, 4), 8, 3), 5, 16, (0, 3, 40))
    network.know(pictures)
    drawn = network(torch.randn(3, 5))
    labels = network.label_of[pictures["segmentation"]]
    sure = 50 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    right = type(drawn)(pictures["rgb"], pictures["depth"], sure)
    assert picture_loss(network, right, pictures) < 1e-6
    assert picture_loss(network, drawn, pictures) > 0.1
    wrong = type(drawn)(pictures["rgb"], pictures["depth"], sure.roll(1, 1))
    assert picture_loss(network, wrong, pictures) > 1
