from collections.abc import Callable

import numpy as np
import pytest
import torch

from foreact.worldmodels.pixels.decoder import DecoderConfig, FrameDecoder, picture_loss
from foreact.worldmodels.pixels.encoder import EncoderConfig, FrameEncoder, kinds_left, planes
from foreact.worldmodels.pixels.pictures import PixelBranches

MakeSet = Callable[..., PixelBranches]


def encoder() -> FrameEncoder:
    torch.manual_seed(0)
    return FrameEncoder(EncoderConfig(latent=5, channels=(4, 6), hidden=8), 16).eval()


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


def test_a_fresh_decoder_draws_the_mean_picture(make_set: MakeSet) -> None:
    pictures = planes(make_set().seen)
    network = FrameDecoder(DecoderConfig((4, 4)), 5, 16, (0, 3, 40))
    network.know(pictures)
    drawn = network(torch.randn(2, 5))
    assert torch.allclose(drawn.rgb[0], pictures["rgb"].mean(0), atol=1e-6)
    assert torch.allclose(drawn.depth[1], pictures["depth"].mean(0), atol=1e-6)
    assert drawn.logits.shape == (2, 3, 16, 16)


def test_what_is_drawn_right_costs_nothing_but_uncertainty(make_set: MakeSet) -> None:
    pictures = {name: values[:3] for name, values in planes(make_set().seen).items()}
    network = FrameDecoder(DecoderConfig((4, 4)), 5, 16, (0, 3, 40))
    network.know(pictures)
    drawn = network(torch.randn(3, 5))
    labels = network.label_of[pictures["segmentation"]]
    sure = 50 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    right = type(drawn)(pictures["rgb"], pictures["depth"], sure)
    assert picture_loss(network, right, pictures) < 1e-6
    assert picture_loss(network, drawn, pictures) > 0.1
    wrong = type(drawn)(pictures["rgb"], pictures["depth"], sure.roll(1, 1))
    assert picture_loss(network, wrong, pictures) > 1
