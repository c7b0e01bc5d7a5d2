"""Policies and offsets as they are typed."""

import pytest

from foreact.episodes.play_policies import duration_ns, offsets, policies
from foreact.episodes.sync import Hold, Interpolate, Nearest, Window


def test_policies_are_read() -> None:
    typed = ("a.b:hold", "k/c:hold:1s", "d:nearest:20ms", "e:interpolate", "f:interpolate:0.5ms", "x:y:window")
    assert policies(typed) == {
        "a.b": Hold(), "k/c": Hold(1_000_000_000), "d": Nearest(20_000_000), "e": Interpolate(),
        "f": Interpolate(500_000), "x:y": Window(),
    }  # fmt: skip


def test_offsets_are_read() -> None:
    assert offsets(("a:-12.5ms", "k/b:2s", "c:7ns", "d:1us")) == {"a": -12_500_000, "k/b": 2 * 10**9, "c": 7, "d": 1000}
    assert duration_ns("+3ms") == 3_000_000


@pytest.mark.parametrize("typed", ["hold", "a:held", "a:nearest", "a:window:1s", "a:hold:-1s", "a:hold:1", "a:hold:1h"])
def test_other_policies_are_refused(typed: str) -> None:
    with pytest.raises(ValueError, match=r"type|needs|takes no|below 0"):
        policies((typed,))


@pytest.mark.parametrize("typed", ["a", "a:", "a:soon", "a:1"])
def test_other_offsets_are_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="type"):
        offsets((typed,))
