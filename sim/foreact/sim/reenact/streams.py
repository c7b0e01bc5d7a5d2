"""Which streams of a recording say what was commanded, measured, seen and earned.

Shape letters: T = actions, E = elements.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foreact.episodes.sources import Source, SourceError, Stream
from foreact.sim.reenact.drive import Chosen

__all__ = ["chosen_streams", "elements_of", "require_plausible"]

ACTIONS = ("action", "actions")
NONE = "none"
STATES = ("state", "qpos", "observations", "observation")
REWARDS = ("reward", "rewards")
MOST_RAD = 4 * np.pi  # a joint that turns more is given in degrees


def chosen_streams(source: Source, action: str = "", state: str = "", camera: str = "") -> Chosen:
    """Find the streams of a recording.

    Args:
        source: The recording.
        action: Named by the user; the stream `action` if empty.
        state: Named by the user, `none` to go without; if empty `state`, `qpos` or `observations`, what is there.
        camera: Named by the user; the first camera if empty.

    Raises:
        SourceError: There is no action.
        ValueError: A named stream is not there or of another kind.
    """
    streams = source.streams
    for name, kind in ((action, "vector"), ("" if state == NONE else state, "vector"), (camera, "image")):
        if name and (name not in streams or streams[name].kind != kind):
            known = ", ".join(each for each, stream in streams.items() if stream.kind == kind) or "none"
            raise ValueError(f"{source.key} has no {kind} stream {name!r}; it has {known}")
    found = action or _first(streams, ACTIONS)
    if not found:
        listed = ", ".join(name for name, each in streams.items() if each.kind == "vector") or "no stream of numbers"
        raise SourceError(f"{source.key} has no stream of actions to re-enact; it has {listed}. Name one by action=")
    if not len(source.stamps(found)):
        raise SourceError(f"{source.key}: {found} has no samples to re-enact")
    cameras = [name for name, each in streams.items() if each.kind == "image"]
    return Chosen(
        action=found,
        state="" if state == NONE else state or _first(streams, STATES),
        camera=camera or (cameras[0] if cameras else ""),
        reward=_first(streams, REWARDS),
    )


def _first(streams: Mapping[str, Stream], names: tuple[str, ...]) -> str:

    return next((name for name in names if name in streams and streams[name].kind == "vector"), "")


def elements_of(source: Source, name: str) -> tuple[str, ...]:
    """Names of a stream's elements; their numbers where the recording names none.

    Raises:
        SourceError: Its samples are no rows of numbers.
    """
    stream: Stream = source.streams[name]
    if len(stream.shape) != 1 or stream.shape[0] is None:
        raise SourceError(f"{source.key}: {name} holds {stream.shape}, not rows of numbers")
    count = stream.shape[0]
    return stream.elements if len(stream.elements) == count else tuple(str(each) for each in range(count))


def require_plausible(source: Source, name: str, elements: np.ndarray, scale: float) -> None:
    """Refuse angles that no joint turns to.

    Args:
        source: The recording.
        name: Stream of its actions.
        elements: Which are angles, int (k,).
        scale: From its unit to rad.

    Raises:
        SourceError: Beyond two turns: perhaps degrees.
    """
    if not len(elements):
        return
    values = np.asarray(source.read_range(name, 0, len(source.stamps(name))), np.float64)[:, elements] * scale
    most = np.abs(values[np.isfinite(values)]).max(initial=0.0)
    if most > MOST_RAD:
        raise SourceError(
            f"{source.key}: {name} turns a joint by {most:.1f} rad, which none does;"
            " if angles are in degrees, type unit=deg"
        )
