from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from foreact.perception.tensor_folder import CheckpointError
from foreact.worldmodels.models.signature import SignatureError
from foreact.worldmodels.pixels.checkpoint import load_pixel_model, save_pixel_model
from foreact.worldmodels.pixels.encoder import planes
from foreact.worldmodels.pixels.model import PixelModel, PixelModelConfig
from foreact.worldmodels.pixels.pictures import PixelBranches
from foreact.worldmodels.pixels.signature import PixelSignature, proprioception

MakeSet = Callable[..., PixelBranches]


def built(config: PixelModelConfig, data: PixelBranches) -> PixelModel:
    torch.manual_seed(0)
    model = config.build(PixelSignature.of(data))
    model.prepare(data)
    return model.eval()


def test_the_signature_tells_robot_from_things(make_set: MakeSet) -> None:
    data = make_set()
    signature = PixelSignature.of(data)
    assert (signature.robot, signature.labels, signature.moments) == (("hand", "aim_z"), (0, 3, 40), (4, 8))
    assert np.array_equal(proprioception(data.branches), data.branches.context[:, :2])
    signature.require(make_set(purpose="test"), "the data")
    with pytest.raises(SignatureError, match="pictures is"):
        signature.require(make_set(every=2), "the data")


def test_a_context_holds_both_frames_and_the_robot(make_set: MakeSet, tiny: PixelModelConfig) -> None:
    data = make_set()
    model = built(tiny, data)
    robot = proprioception(data.branches)
    context = model.encode(data.seen, robot)
    assert context.shape == (6, 12) and len(model.context_signature.columns) == 12
    latest = model.encoder(planes({name: values[:, 1] for name, values in data.seen.items()}))
    assert torch.allclose(context[:, :5], latest, atol=1e-5)
    swapped = model.encode({name: values[:, ::-1].copy() for name, values in data.seen.items()}, robot)
    assert torch.allclose(context[:, :5], swapped[:, 5:10], atol=1e-5)
    assert torch.allclose(context[:, 10:].mean(0), torch.zeros(2), atol=1e-5)
    only = model.encode({"depth": data.seen["depth"]}, robot)
    assert only.shape == context.shape and not torch.allclose(only, context)
    with pytest.raises(SignatureError, match="rgb"):
        model.encode({"rgb": data.seen["rgb"][:, :1]}, robot)
    with pytest.raises(SignatureError, match="robot"):
        model.encode(data.seen, robot[:, :1])


def test_imagined_latents_pass_through_the_moments_on_straight_lines(make_set: MakeSet, tiny: PixelModelConfig) -> None:
    data = make_set()
    model = built(tiny, data)
    context = model.encode(data.seen, proprioception(data.branches))
    actions = torch.from_numpy(data.branches.actions)
    found, moments = model.imagine(context, actions), model.predict(context, actions)
    assert found.values.shape == (6, 3, 8, 5)
    assert torch.allclose(found.values[:, :, [3, 7]], moments.latents, atol=1e-6)
    assert torch.allclose(found.values[:, :, 0], torch.lerp(context[:, None, :5], moments.latents[:, :, 0], 0.25))
    assert torch.allclose(found.values[:, :, 5], moments.latents.mean(2), atol=1e-5)
    assert torch.allclose(found.log_weights.exp().sum(1), torch.ones(6))
    assert torch.equal(found.success[:, :, 0], found.success[:, :, 3])
    assert not torch.equal(found.success[:, :, 3], found.success[:, :, 4])
    assert model.predict_one(context, actions).latents.shape == (6, 1, 2, 5)


def test_other_arguments_are_refused(make_set: MakeSet, tiny: PixelModelConfig) -> None:
    model = built(tiny, make_set())
    with pytest.raises(SignatureError, match="context"):
        model.imagine(torch.zeros(2, 3), torch.zeros(2, 8, 2))
    with pytest.raises(SignatureError, match="actions"):
        model.imagine(torch.zeros(2, 12), torch.zeros(2, 7, 2))


def test_decoded_pictures_are_like_those_of_a_set(make_set: MakeSet, tiny: PixelModelConfig) -> None:
    data = make_set()
    model = built(tiny, data)
    torch.nn.init.normal_(model.decoder.draw.weight)
    drawn = model.decode(torch.randn(4, 2, 5))
    for name, values in data.later.items():
        assert drawn[name].dtype == values.dtype and drawn[name].shape == (4, 2, *values.shape[3:])
    assert {3, 40} <= set(np.unique(drawn["segmentation"])) <= {0, 3, 40}


def test_a_saved_model_answers_the_same_and_damage_is_named(
    make_set: MakeSet, tiny: PixelModelConfig, tmp_path: Path
) -> None:
    data = make_set()
    model = built(tiny, data)
    save_pixel_model(tmp_path / "run" / "model", model, {"seed": 0})
    back = load_pixel_model(tmp_path / "run")
    context, actions = torch.randn(4, 12), torch.randn(4, 8, 2)
    assert torch.equal(back.imagine(context, actions).values, model.imagine(context, actions).values)
    assert (back.signature, back.config) == (model.signature, model.config)
    file = tmp_path / "run" / "model" / "pixels.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="truncated"):
        load_pixel_model(tmp_path / "run")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_pixel_model(tmp_path)
