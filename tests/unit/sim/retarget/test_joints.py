"""Joints by name, whatever the order; what is no hand is refused."""

import numpy as np
import pytest

from foreact.episodes.sources import SourceError, Stream
from foreact.episodes.sources.parts import PartsSource, array_part
from foreact.episodes.sources.vrs_aria import LANDMARKS as ARIA
from foreact.sim.retarget.hand_track import hand_track
from foreact.sim.retarget.joints import AT, JOINTS, joints_of, order_of, require_hand

OURS = {"proximal": "knuckle", "intermediate": "middle"}


def stream(name: str = "hand.right.landmarks", elements: tuple[str, ...] = (), description: str = "") -> Stream:
    return Stream(name, "hand", (21, 3), "float64", "m", elements=elements, description=description)


def test_arias_order_by_its_names_and_by_its_description() -> None:
    by_name = order_of(stream(elements=ARIA))
    assert by_name == order_of(stream(description="landmarks in Aria's order")) == order_of(stream(), "aria")
    assert ARIA[by_name[AT["wrist"]]] == "wrist" and ARIA[by_name[AT["thumb tip"]]] == "thumb tip"
    assert ARIA[by_name[AT["index knuckle"]]] == "index proximal"
    assert ARIA[by_name[AT["little middle"]]] == "pinky intermediate"
    assert ARIA[by_name[AT["thumb knuckle"]]] == "thumb intermediate"


def test_the_protocols_order_and_unknown_ones() -> None:
    places = order_of(stream())
    assert [places[AT[f"{finger} tip"]] for finger in ("thumb", "index", "middle", "ring", "little")] == [
        4,
        8,
        12,
        16,
        20,
    ]
    with pytest.raises(SourceError, match=r"order that is not known.*order=wrist-first"):
        order_of(stream(elements=tuple(f"landmark {index}" for index in range(21))))
    with pytest.raises(SourceError, match="takes hands"):
        order_of(Stream("state", "vector", (7,), "float64"))


def landmarks(right_hand: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    found = np.zeros((21, 3))
    found[list(order)] = right_hand
    return found


def test_a_wrong_order_or_unit_is_no_hand(right_hand: np.ndarray) -> None:
    wrist_first = landmarks(right_hand, order_of(stream()))
    require_hand(joints_of(wrist_first, order_of(stream()))[None], "x")
    with pytest.raises(SourceError, match=r"no hand in this order.*has \d+\.\d mm"):
        require_hand(joints_of(wrist_first, order_of(stream(), "aria"))[None], "x")
    with pytest.raises(SourceError, match="in metres"):
        require_hand(1e3 * right_hand[None], "x")
    assert len(JOINTS) == 20


def test_a_hand_in_a_recording(right_hand: np.ndarray) -> None:
    values = np.stack([landmarks(right_hand, order_of(stream()))] * 3)
    values[1] = np.nan
    times = np.array([30, 10, 20], np.int64) * 1_000_000
    source = PartsSource("one", [
        array_part(Stream("hand.right.landmarks", "hand", (21, 3), "float64", "m", frame="device"), times, values),
        array_part(Stream("hand.right.confidence", "vector", (1,), "float64"), times, np.array([[0.9], [0.8], [0.1]])),
        array_part(Stream("pose.trajectory", "pose", (7,), "float64", frame="world", child="device"),
                   np.array([0, 40], np.int64) * 1_000_000, np.array([[0.0, 0, 0, 1, 0, 0, 0], [4, 0, 0, 1, 0, 0, 0]])),
    ])  # fmt: skip
    track = hand_track(source)
    assert track.stamps.tolist() == [10_000_000, 20_000_000, 30_000_000] and track.side == "right"
    assert track.known(0.5).tolist() == [False, False, True]
    assert track.world == "world" and track.bases is not None
    assert np.allclose(track.bases[:, 0], [1, 2, 3])  # the head's pose at the hand's times
    with pytest.raises(SourceError, match="no left hand"):
        hand_track(source, side="left")
    with pytest.raises(SourceError, match="no hand 'hand.x'"):
        hand_track(source, "hand.x")
    nameless = PartsSource("two", [array_part(stream("hand.human"), times, values)])
    with pytest.raises(SourceError, match="type side=left"):
        hand_track(nameless)
    assert hand_track(nameless, side="left").world == ""
    with pytest.raises(SourceError, match="no samples"):
        hand_track(PartsSource("three", [array_part(stream(), times[:0], values[:0])]))
    with pytest.raises(SourceError, match="no hand with 21"):
        hand_track(PartsSource("four", []))
