"""A policy that watches recordings: what it sees, what it is compared with, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.contract import (
    CONTRACT_VERSION,
    CameraSpec,
    ContractMismatch,
    FeatureSpec,
    LanguageSpec,
    PolicyContract,
)
from foreact.episodes.sources import Stream
from foreact.episodes.sources.parts import PartsSource, array_part
from foreact.vla.shadow import distance, watch
from foreact.vla.shadow_inputs import ShadowInputs
from foreact.vla.shadow_plot import draw

RATE = 20.0  # [Hz] of commands; pictures come at half of it
STEPS, CHUNK = 12, 4


def feature(name: str, elements: tuple[str, ...]) -> FeatureSpec:
    count = len(elements)
    return FeatureSpec(
        name=name, elements=elements, units=("m",) * count, frame="base", dtype="float32", normalisation="none",
        low=(-1e9,) * count, high=(1e9,) * count,
    )  # fmt: skip


CAMERA = CameraSpec("front", 4, 3, ("rgb",), 5.0, 5.0, 2.0, 1.5, "world", (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))
CONTRACT = PolicyContract(
    version=CONTRACT_VERSION, embodiment="test", control_rate_hz=RATE, chunk_length=CHUNK,
    state=feature("state", ("x", "y")), action=feature("action", ("x", "grip")), cameras=(CAMERA,),
    language=LanguageSpec(), audio=None,
)  # fmt: skip


def recording(**changes: object) -> PartsSource:
    """Command k is (k, -k), the state before it (k, 0); picture j, at step 2 j, is filled with j."""
    stamps = np.rint(np.arange(STEPS) * 1e9 / RATE).astype(np.int64) + 5_000_000_000
    counts = np.arange(STEPS, dtype=np.float32)
    streams = {
        "camera.front": Stream("camera.front", "image", (3, 4, 3), "uint8"),
        "state": Stream("state", "vector", (2,), "float32", elements=("x", "y"), frame="base"),
        "action": Stream("action", "vector", (2,), "float32", elements=("x", "grip"), frame="base"),
    }
    values = {
        "camera.front": np.broadcast_to(np.arange(6, dtype=np.uint8)[:, None, None, None], (6, 3, 4, 3)),
        "state": np.column_stack([counts, np.zeros_like(counts)]),
        "action": np.column_stack([counts, -counts]),
    }
    times = {"camera.front": stamps[::2], "state": stamps, "action": stamps}
    parts = [
        array_part(replace(streams[name], **changes.get(name, {})), times[name], values[name])  # type: ignore[call-overload]
        for name in streams
        if changes.get(name, {}) is not None
    ]
    return PartsSource("one", parts, task="open the drawer")


class Knows:
    """Answers with the state it sees, held, and remembers what it was shown."""

    contract = CONTRACT

    def __init__(self) -> None:
        self.seen: list[Mapping[str, np.ndarray]] = []

    def act(self, observation: Mapping[str, np.ndarray], noise: np.ndarray) -> np.ndarray:
        self.contract.check_observation(observation, "act")
        self.seen.append(observation)
        step = observation["state"][:, 0]
        return np.broadcast_to(np.stack([step, -step], 1)[:, None], noise.shape).astype(np.float32)


def test_each_decision_sees_its_moment_and_is_compared_with_what_came() -> None:
    actor = Knows()
    watched = watch(ShadowInputs(recording(), CONTRACT).moments(2), actor, key="one")
    # decisions at every second picture: steps 0, 4 and 8
    assert [int(each["state"][0, 0]) for each in actor.seen] == [0, 4, 8]
    assert [int(each["camera.front.rgb"][0, 0, 0, 0]) for each in actor.seen] == [0, 2, 4]
    np.testing.assert_array_equal(watched.done[1, :, 0], [4, 5, 6, 7])
    np.testing.assert_array_equal(watched.before[:, 0], [0, 3, 7])
    np.testing.assert_array_equal(watched.known, np.ones((3, CHUNK)))
    # held states are wrong by 0, 1, 2, 3 steps; holding the last command by one more, but for the first decision
    np.testing.assert_allclose(distance(watched.chunks, watched)[:, 0], [0, 1, 2, 3])
    np.testing.assert_allclose(distance(watched.before[:, None], watched)[:, 1], np.arange(4) + 2 / 3)
    assert watched.spent_ms.shape == (3,) and watched.rate_hz == RATE


def test_commands_past_the_end_are_not_compared() -> None:
    watched = watch(ShadowInputs(recording(), CONTRACT).moments(5), Knows())
    np.testing.assert_array_equal(watched.known, [[1, 1, 1, 1], [1, 1, 0, 0]])
    np.testing.assert_allclose(distance(watched.chunks, watched)[:, 0], [0, 1, 2, 3])


def test_commands_that_are_missing_in_the_middle_are_not_compared() -> None:
    source = recording()
    kept = np.delete(np.arange(STEPS), 5)
    stamps, actions = source.stamps("action")[kept], np.asarray(source.read_range("action", 0, STEPS))[kept]
    others = [
        array_part(source.streams[name], source.stamps(name), np.asarray(source.read_range(name, 0, 6)))
        for name in ("camera.front",)
    ]
    others.append(
        array_part(source.streams["state"], source.stamps("state"), np.asarray(source.read_range("state", 0, STEPS)))
    )
    gap = PartsSource("gap", [*others, array_part(source.streams["action"], stamps, actions)], task="go")
    watched = watch(ShadowInputs(gap, CONTRACT).moments(2), Knows())
    np.testing.assert_array_equal(watched.known, [[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1]])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"state": None}, "stream state is missing"),
        ({"camera.front": {"shape": (4, 3, 3)}}, "camera.front: shape: expected (3, 4, 3), got (4, 3, 3)"),
        ({"camera.front": {"dtype": "uint16"}}, "camera.front: dtype: expected uint8, got uint16"),
        ({"action": {"elements": ("grip", "x")}}, "action: elements: expected ('x', 'grip'), got ('grip', 'x')"),
        ({"state": {"frame": "world"}}, "state: frame: expected base, got world"),
        ({"action": {"unit": "rad"}}, "action: unit: expected m,m, got rad,rad"),
    ],
)
def test_another_robots_recording_is_refused_by_name(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ContractMismatch) as refused:
        ShadowInputs(recording(**changes), CONTRACT)
    assert told in str(refused.value)


def test_another_rate_is_refused() -> None:
    with pytest.raises(ContractMismatch, match="expected a rate of 10 Hz, got 20 Hz"):
        ShadowInputs(recording(), replace(CONTRACT, control_rate_hz=10.0))


def test_a_policy_that_listens_needs_words() -> None:
    source = recording()
    source.task = ""
    with pytest.raises(ValueError, match="no word"):
        ShadowInputs(source, CONTRACT)
    assert ShadowInputs(source, CONTRACT, "push the puck")


def test_no_moment_is_an_error() -> None:
    with pytest.raises(ValueError, match="no moment"):
        watch([], Knows(), key="empty")


def test_the_picture_shows_both(tmp_path: Path) -> None:
    from PIL import Image

    watched = watch(ShadowInputs(recording(), CONTRACT).moments(2), Knows(), key="one")
    draw(watched, CONTRACT.action, tmp_path / "one.png")
    colours = {colour for _, colour in Image.open(tmp_path / "one.png").convert("RGB").getcolors(1 << 20) or []}
    assert (31, 78, 121) in colours and len(colours) > 20
    assert [each.name for each in tmp_path.iterdir()] == ["one.png"]
