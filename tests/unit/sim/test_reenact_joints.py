"""Which joint each element of a recording drives: by rules, as the user says, or a refusal that helps."""

import numpy as np
import pytest

from foreact.sim.reenact.joints import fitted
from foreact.sim.reenact.measures import delay_s, rms

SIDES, PARTS = ("Left", "Right"), ("ShoulderPitch", "ShoulderRoll", "ShoulderYaw", "Elbow", "WristRoll")
ELEMENTS = [f"k{side}{part}" for side in SIDES for part in PARTS]
JOINTS = [
    f"{side}_{part}_joint"
    for side in ("left", "right")
    for part in ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_roll")
]


def test_names_of_the_unitree_sdk_fit_its_model_in_order() -> None:
    fit = fitted(["kLeftHandThumbBend", *ELEMENTS], ["waist_yaw_joint", *JOINTS])
    assert [pair.joint for pair in fit.pairs] == JOINTS
    assert [pair.index for pair in fit.pairs] == list(range(1, 11))
    assert {pair.rule for pair in fit.pairs} == {"Unitree SDK"}
    assert fit.spare == ("kLeftHandThumbBend",) and fit.held == ("waist_yaw_joint",)


def test_other_names_fit_as_they_are_or_by_their_own_rule() -> None:
    fit = fitted(["waist", "elbow", "shoulder_pan.pos"], ["shoulder_pan", "waist", "elbow_joint"])
    assert {pair.element: (pair.joint, pair.rule) for pair in fit.pairs} == {
        "waist": ("waist", "same name"),
        "elbow": ("elbow_joint", "name with _joint"),
        "shoulder_pan.pos": ("shoulder_pan", "LeRobot"),
    }


def test_what_the_user_says_goes_before_the_rules() -> None:
    fit = fitted(["a", "b"], ["a", "b", "c"], given=["a:b"])
    assert [(pair.element, pair.joint) for pair in fit.pairs] == [("a", "b")]
    assert fit.spare == ("b",) and fit.held == ("a", "c")
    assert [pair.joint for pair in fitted(["0", "1"], ["x", "y"], given=["0:y", "1:x"]).pairs] == ["y", "x"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a"], "is no pair"),
        (["z:a"], "no element 'z'"),
        (["a:elbo"], "no joint 'elbo' that can be driven .near: elbow"),
        (["a:elbow", "b:elbow"], "two elements of the recording drive elbow"),
    ],
)
def test_pairs_that_cannot_be_are_refused(given: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(["a", "b"], ["elbow", "wrist"], given)


def test_a_recording_that_fits_nothing_is_refused_with_what_is_near() -> None:
    with pytest.raises(ValueError, match=r"none of the 10 elements fits.*kLeftElbow .near: left_elbow_hinge"):
        fitted(ELEMENTS, ["left_elbow_hinge"], robot="arm")
    with pytest.raises(ValueError, match=r"does not name its 2 elements.*joints=\[0:elbow,\.\.\.\]"):
        fitted(["0", "1"], ["elbow"])


def test_a_delay_is_the_shift_at_which_commands_and_positions_differ_least() -> None:
    times = np.arange(120) / 30
    targets = np.stack([np.sin(3 * times), np.cos(2 * times)], axis=1)
    late = np.stack([np.sin(3 * (times - 4 / 30)), np.cos(2 * (times - 4 / 30))], axis=1) + 0.05
    assert delay_s(late, targets, 1 / 30) == pytest.approx(4 / 30)
    assert delay_s(targets, targets, 1 / 30) == 0
    assert delay_s(late, np.zeros_like(targets), 1 / 30) is None
    assert delay_s(np.full_like(late, np.nan), targets, 1 / 30) is None


def test_the_root_mean_square_leaves_out_what_is_not_known() -> None:
    assert rms(np.array([3.0, np.nan, 4.0])) == pytest.approx(np.sqrt(12.5))
    assert rms(np.array([np.nan])) is None
