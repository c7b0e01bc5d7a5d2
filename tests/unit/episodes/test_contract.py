import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest

from foreact.episodes.contract import (
    CameraSpec,
    ContractError,
    ContractMismatch,
    FeatureSpec,
    PolicyContract,
    differences,
    require_same,
)


def observation(batch: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
    return {
        "camera.front.rgb": np.zeros((*batch, 4, 6, 3), np.uint8),
        "camera.front.depth": np.zeros((*batch, 4, 6), np.uint16),
        "camera.wrist.rgb": np.zeros((*batch, 4, 4, 3), np.uint8),
        "state": np.zeros((*batch, 4), np.float32),
        "tokens": np.zeros((*batch, 16), np.int64),
    }


def test_input_names_are_in_the_order_of_the_contract(contract: PolicyContract) -> None:
    assert contract.input_names == ("camera.front.rgb", "camera.front.depth", "camera.wrist.rgb", "state", "tokens")
    deaf = dataclasses.replace(contract, language=None, cameras=())
    assert deaf.input_names == ("state",)


def test_json_round_trip_keeps_value_and_hash(contract: PolicyContract) -> None:
    again = PolicyContract.from_json(contract.to_json())
    assert again == contract
    assert again.hash == contract.hash
    assert PolicyContract.from_json(json.dumps(json.loads(contract.to_json()), indent=3)).hash == contract.hash


def test_hash_is_a_function_of_the_value_alone(contract: PolicyContract) -> None:
    zeros = dataclasses.replace(contract.cameras[0], position=(-0.0, 0.0, 1.0))
    same = dataclasses.replace(contract, control_rate_hz=80, cameras=(zeros, contract.cameras[1]))
    assert same == contract
    assert same.hash == contract.hash
    assert dataclasses.replace(contract, chunk_length=9).hash != contract.hash
    assert len(contract.hash) == 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda j: j.pop("chunk_length"), "missing keys ['chunk_length']"),
        (lambda j: j.update(colour="red"), "unknown keys ['colour']"),
        (lambda j: j.update(chunk_length="8"), "contract.chunk_length: expected int, got '8'"),
        (lambda j: j.update(chunk_length=True), "contract.chunk_length: expected int, got True"),
        (lambda j: j["cameras"][1].update(width=4.5), "contract.cameras[1].width: expected int, got 4.5"),
        (lambda j: j["cameras"][0].update(position=[0, 0]), "contract.cameras[0].position: expected 3 items, got 2"),
        (lambda j: j["state"].update(low=[None] * 4), "contract.state.low[0]: expected float, got None"),
        (lambda j: j.update(version=2), "version 2 is newer than this foreact reads (1); update foreact"),
        (lambda j: j.update(version=0), "unknown contract version 0"),
    ],
)
def test_strict_json(contract: PolicyContract, change: Callable, message: str) -> None:
    fields = json.loads(contract.to_json())
    change(fields)
    with pytest.raises(ContractError) as caught:
        PolicyContract.from_json(json.dumps(fields))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[]", "expected an object"),
        ('{"version": NaN}', "the number NaN is not allowed"),
        ('{"version": 1, "version": 1}', "repeated key 'version'"),
    ],
)
def test_text_that_is_not_a_contract(text: str, message: str) -> None:
    with pytest.raises(ContractError, match=f"not a policy contract: .*{message}"):
        PolicyContract.from_json(text)


def test_mismatch_names_every_field_with_both_values(contract: PolicyContract) -> None:
    swapped = dataclasses.replace(contract.action, elements=("hand_y", "hand_x", "hand_z", "gripper"))
    in_mm = dataclasses.replace(contract.state, units=("mm", "m", "m", "1"))
    small = dataclasses.replace(contract.cameras[0], width=3)
    other = dataclasses.replace(
        contract, action=swapped, state=in_mm, cameras=(small, contract.cameras[1]), control_rate_hz=50.0, language=None
    )
    with pytest.raises(ContractMismatch) as caught:
        require_same(contract, other, "checkpoint runs/1")
    lines = str(caught.value).splitlines()
    assert lines[0] == "checkpoint runs/1: the policy contracts differ in 5 field(s):"
    assert "  control_rate_hz: expected 80.0, got 50.0" in lines
    assert (
        "  action.elements: expected ('hand_x', 'hand_y', 'hand_z', 'gripper'), "
        "got ('hand_y', 'hand_x', 'hand_z', 'gripper')" in lines
    )
    assert "  state.units: expected ('m', 'm', 'm', '1'), got ('mm', 'm', 'm', '1')" in lines
    assert "  cameras.front.width: expected 6, got 3" in lines
    assert lines[-1].startswith("  language: expected {'tokenizer': 'crc32-words'")


def test_camera_order_and_a_missing_camera_are_differences(contract: PolicyContract) -> None:
    turned = dataclasses.replace(contract, cameras=contract.cameras[::-1])
    assert differences(contract, turned) == [("cameras.order", ("front", "wrist"), ("wrist", "front"))]
    fewer = dataclasses.replace(contract, cameras=contract.cameras[:1])
    assert [path for path, _, _ in differences(contract, fewer)] == ["cameras.order", "cameras.wrist"]
    assert differences(contract, contract) == []
    require_same(contract, PolicyContract.from_json(contract.to_json()), "here")


def test_normalise_by_hand(contract: PolicyContract) -> None:
    # low (-1, 0, 0, 0), high (1, 1, 0.5, 1): 2 (x - low) / (high - low) - 1
    x = np.array([[0.5, 0.25, 0.25, 1.0], [-1.0, 1.0, 0.5, 0.0]], np.float32)
    y = contract.state.normalise(x)
    np.testing.assert_array_equal(y, np.array([[0.5, -0.5, 0.0, 1.0], [-1.0, 1.0, 1.0, -1.0]], np.float32))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(contract.state.denormalise(y), x)
    np.testing.assert_array_equal(contract.action.normalise(x), x)


def test_normalise_refuses_a_shape_that_would_broadcast(contract: PolicyContract) -> None:
    for convert in (contract.state.normalise, contract.state.denormalise):
        with pytest.raises(ContractError, match=r"expected shape \(\.\.\., 4\) = hand_x, .*got \(7, 1\)"):
            convert(np.zeros((7, 1), np.float32))


def test_feature_check_names_the_bad_element(contract: PolicyContract) -> None:
    x = np.zeros((3, 4), np.float32)
    contract.state.check(x, "here")
    x[2, 3] = np.nan
    with pytest.raises(ContractError, match=r"here: state: nan at index \(2, 3\) \(element 'gripper'\)"):
        contract.state.check(x, "here")
    with pytest.raises(ContractError, match="expected dtype float32, got float64"):
        contract.state.check(np.zeros((3, 4)), "here")


@pytest.mark.parametrize("batch", [(), (1,), (5,)])
def test_good_observations_pass(contract: PolicyContract, batch: tuple[int, ...]) -> None:
    contract.check_observation(observation(batch), "here")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("state", None, "lacks ['state']"),
        ("extra", np.zeros(3), "unexpected ['extra']"),
        ("state", np.zeros((2, 4)), "state: expected dtype float32, got float64"),
        ("state", np.full((2, 4), np.inf, np.float32), "state: inf at index (0, 0)"),
        ("state", [0.0] * 4, "state: expected a numpy array, got list"),
        ("camera.front.rgb", np.zeros((2, 6, 4, 3), np.uint8), "(4, 6, 3) or (B, 4, 6, 3), got (2, 6, 4, 3)"),
        ("camera.front.rgb", np.zeros((2, 3, 4, 6), np.uint8), "expected shape (4, 6, 3)"),
        ("camera.front.depth", np.zeros((2, 4, 6), np.float32), "expected dtype uint16, got float32"),
        ("camera.wrist.rgb", np.zeros((3, 4, 4, 3), np.uint8), "batch (3,) but camera.front.rgb has batch (2,)"),
        ("camera.wrist.rgb", np.zeros((1, 2, 4, 4, 3), np.uint8), "got (1, 2, 4, 4, 3)"),
        ("tokens", np.full((2, 16), 1024), "tokens: expected ids in [0, 1024), got [1024, 1024]"),
        ("tokens", np.full((2, 16), -1), "tokens: expected ids in [0, 1024), got [-1, -1]"),
        ("tokens", np.zeros((2, 8), np.int64), "tokens: expected shape (16,)"),
    ],
)  # fmt: skip
def test_bad_observations_are_named(contract: PolicyContract, name: str, value: object, message: str) -> None:
    obs: dict = observation((2,))
    obs[name] = value
    if value is None:
        del obs[name]
    with pytest.raises(ContractError) as caught:
        contract.check_observation(obs, "policy input")
    assert message in str(caught.value)
    assert str(caught.value).startswith("policy input: ")


@pytest.mark.parametrize(
    "change",
    [
        {"units": ("m",)},
        {"low": (0.0,) * 3},
        {"low": (1.0, 0.0, 0.0, 0.0)},
        {"high": (float("nan"), 1.0, 1.0, 1.0)},
        {"elements": ("a", "a", "b", "c")},
        {"elements": ()},
        {"normalisation": "mean"},
        {"dtype": "float64"},
        {"frame": ""},
    ],
)
def test_impossible_features(contract: PolicyContract, change: dict) -> None:
    with pytest.raises(ContractError, match="feature 'state'"):
        dataclasses.replace(contract.state, **change)


def test_a_constant_element_is_allowed_only_without_normalisation(contract: PolicyContract) -> None:
    constant = dataclasses.replace(contract.action, low=(0.0,) * 4, high=(0.0,) * 4)
    with pytest.raises(ContractError, match="empty range"):
        dataclasses.replace(constant, normalisation="bounds")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a.b"},
        {"width": 0},
        {"streams": ("rgb", "rgb")},
        {"streams": ("infrared",)},
        {"fx": 0.0},
        {"cx": float("inf")},
        {"mount": "table"},
        {"mount": "body:"},
        {"position": (0.0, 0.0)},
        {"orientation": (1.0, 1.0, 0.0, 0.0)},
    ],
)
def test_impossible_cameras(contract: PolicyContract, change: dict) -> None:
    with pytest.raises(ContractError, match="camera "):
        dataclasses.replace(contract.cameras[0], **change)


def test_unknown_calibration_is_said_and_survives_json(contract: PolicyContract) -> None:
    camera = CameraSpec("head", 8, 8, ("rgb",), 0, 0, 0, 0, "unknown", (0, 0, 0), (1, 0, 0, 0))
    assert not camera.intrinsics_known
    assert contract.cameras[0].intrinsics_known
    foreign = dataclasses.replace(contract, cameras=(camera,))
    assert PolicyContract.from_json(foreign.to_json()).cameras[0] == camera


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"embodiment": ""},
        {"control_rate_hz": 0.0},
        {"chunk_length": 0},
        {"audio": "pcm16"},
        {"cameras": "twice"},
        {"state": "action"},
    ],
)
def test_impossible_contracts(contract: PolicyContract, change: dict) -> None:
    values = {"twice": contract.cameras[:1] * 2, "action": contract.action}
    with pytest.raises(ContractError):
        dataclasses.replace(contract, **{name: values.get(str(value), value) for name, value in change.items()})


def test_lists_are_stored_as_tuples() -> None:
    spec = FeatureSpec("state", "float32", ["x"], ["m"], "base", [0], [1], "none")  # pyright: ignore[reportArgumentType]
    assert (spec.elements, spec.low, spec.shape) == (("x",), (0.0,), (1,))
    hash(spec)
