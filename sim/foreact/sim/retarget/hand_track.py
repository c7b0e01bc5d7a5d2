"""A hand in a recording: its joints by name, how sure the tracker is, and where its frame was in the world.

Shape letters: n = frames, J = 20 joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.episodes.sources import Source, SourceError, Stream
from foreact.episodes.sync import Interpolate, Track
from foreact.episodes.timeline import COUNTED
from foreact.sim.retarget.joints import Order, joints_of, order_of, require_hand
from foreact.sim.retarget.palm import Side, require_side
from foreact.sim.retarget.poses import finite_rows

__all__ = ["HandTrack", "hand_track"]

WORLDS = ("world", "odometry")
MOST_GAP_NS = 100_000_000  # poses of the head further apart are not interpolated between
CAMERAS = ("camera", "head")  # what a pose may be of where the hand is in the world already


@dataclass(frozen=True)
class HandTrack:
    """A hand in n frames, in order of time.

    Attributes:
        name: Of the stream.
        side: Of the body.
        frame: In which joints and wrist are given, as the recording says; empty if it does not.
        stamps: int64 (n,) [ns].
        clock: Which clock; see `timed`.
        joints: (n, J, 3) [m]; not finite where the hand is not seen.
        confidence: (n,); 1 where the recording has none.
        wrists: Poses of the wrist in the same frame, (n, 7); None if there are none.
        world: The frame of commands: `world`, `odometry`, or `frame` where no pose leads out of it.
        bases: Poses of `frame` in `world`, (n, 7); None where they are the same.
        cameras: Poses of the camera or device in `world`, (n, 7); None if they are not known.
        notes: What was missing.
    """

    name: str
    side: Side
    frame: str
    stamps: np.ndarray
    clock: str
    joints: np.ndarray
    confidence: np.ndarray
    wrists: np.ndarray | None
    world: str
    bases: np.ndarray | None
    cameras: np.ndarray | None
    notes: tuple[str, ...]

    @property
    def timed(self) -> bool:
        """Whether stamps are times; otherwise they count steps."""
        return self.clock not in COUNTED

    def known(self, least: float) -> np.ndarray:
        """Frames with all joints and at least this confidence, bool (n,)."""
        return finite_rows(self.joints) & (self.confidence >= least)


def hand_track(
    source: Source, stream: str = "", side: str = "", order: Order = "auto", mirrored: bool = False
) -> HandTrack:
    """Read a hand.

    Args:
        source: The recording.
        stream: Of kind `hand`; `hand.SIDE.landmarks` by default, or the only one of that side.
        side: `left`, `right`, or empty for what the stream's name says, and for `right` where there are both.
        order: Of the landmarks; see `order_of`.
        mirrored: The recording's frame is left-handed: x is turned round.

    Raises:
        SourceError: No such stream, no samples, an order that is not known, what is no hand, or one of the other side.
    """
    name, body_side = _chosen(source, stream, side)
    about = source.streams[name]
    places = order_of(about, order)
    stamps = source.stamps(name)
    if not len(stamps):
        raise SourceError(f"{source.key}: stream {name} has no samples")
    line = np.argsort(stamps, kind="stable")
    joints = joints_of(np.stack(list(source.read_range(name, 0, len(stamps)))), places)[line]
    stamps = stamps[line]
    seen = finite_rows(joints)
    if mirrored:
        joints = joints * [-1.0, 1.0, 1.0]
    require_hand(joints[seen], name)
    require_side(joints[seen], body_side, name)
    notes = [f"the hand is not seen in {int((~seen).sum())} of {len(seen)} samples"] if not seen.all() else []
    stem, _, end = name.partition(".landmarks")
    sure = _beside(source, f"{stem}.confidence{end}", stamps, line, (1,))
    if mirrored:
        notes.append("the recording's frame is taken as left-handed: x is turned round")
    if sure is None:
        notes.append("the recording has no confidence of the hand: every frame in which it is seen is followed")
    wrists = None if mirrored else _beside(source, f"{stem}.wrist{end}", stamps, line, (7,))
    # poses in a mirrored frame would have to be mirrored too
    world, bases, cameras = ("", None, None) if mirrored else _heads(source, about, stamps, notes)
    confidence = np.ones(len(stamps)) if sure is None else sure[:, 0]
    return HandTrack(
        name, body_side, about.frame, stamps, about.clock, joints, confidence, wrists, world, bases, cameras,
        tuple(notes),
    )  # fmt: skip


def _chosen(source: Source, stream: str, side: str) -> tuple[str, Side]:
    hands = [name for name, each in source.streams.items() if each.kind == "hand" and each.shape == (21, 3)]
    if not hands:
        raise SourceError(f"{source.key} has no hand with 21 landmarks; `foreact inspect` lists its streams")
    if stream and stream not in hands:
        raise SourceError(f"{source.key} has no hand {stream!r}; it has {', '.join(hands)}")
    if not stream:
        wanted = (side,) if side else ("right", "left")
        named = [name for each in wanted for name in (f"hand.{each}.landmarks", *hands) if each in name.split(".")]
        stream = next((name for name in named if name in hands), "")
        if not stream and side and any(each in name.split(".") for name in hands for each in ("left", "right")):
            raise SourceError(f"{source.key} has no {side} hand; it has {', '.join(hands)}")
        stream = stream or hands[0]
    said = next((each for each in ("left", "right") if each in stream.split(".")), "")
    if side and said and side != said:
        raise SourceError(f"stream {stream} is of a {said} hand, side={side} was asked for")
    if not side and not said:
        raise SourceError(f"stream {stream} does not say of which hand it is; type side=left or side=right")
    return stream, "left" if (side or said) == "left" else "right"


def _beside(source: Source, name: str, stamps: np.ndarray, line: np.ndarray, shape: tuple[int, ...]) -> Any:
    """A stream with a sample for each of the hand's, in the order of time; None if there is none."""
    if name not in source.streams or source.streams[name].shape != shape:
        return None
    if not np.array_equal(source.stamps(name)[line] if len(source.stamps(name)) == len(line) else (), stamps):
        return None
    values = np.stack(list(source.read_range(name, 0, len(line))))[line]
    return values.astype(np.float64)


def _heads(
    source: Source, hand: Stream, stamps: np.ndarray, notes: list[str]
) -> tuple[str, np.ndarray | None, np.ndarray | None]:
    """The frame of commands, the hand's frame in it, and the camera in it."""
    poses = {name: each for name, each in source.streams.items() if each.kind == "pose" and each.clock == hand.clock}
    if hand.frame in WORLDS:
        for name, each in poses.items():
            if each.frame == hand.frame and any(word in f"{name} {each.child}" for word in (*CAMERAS, "device")):
                cameras = _at(source, name, stamps)
                return hand.frame, None, cameras if np.isfinite(cameras).any() else None
        return hand.frame, None, None
    if hand.frame:
        found = [name for name, each in poses.items() if each.child == hand.frame and each.frame in WORLDS]
        found.sort(key=lambda name: -len(source.stamps(name)))
        for name in found:
            heads = _at(source, name, stamps)
            if known := int(finite_rows(heads).sum()):
                if known < len(stamps):
                    notes.append(f"{name} knows where the {hand.frame} was in {known} of {len(stamps)} frames")
                return poses[name].frame, heads, heads
        lacks = (
            f"{', '.join(found)} does not cover the hand's times" if found else "no pose of it in a world is recorded"
        )
        notes.append(f"commands are in the frame of the {hand.frame}, which may move: {lacks}")
        return hand.frame, None, None
    notes.append("the recording does not say in which frame the hand is: commands are in the same one")
    return "", None, None


def _at(source: Source, name: str, stamps: np.ndarray) -> np.ndarray:
    """A pose stream at these times, (n, 7); NaN where it has nothing to say."""
    track, policy = Track(source, name), Interpolate(MOST_GAP_NS)
    picked = [track.pick(stamp, None, policy) for stamp in stamps.tolist()]
    rows = [np.full(7, np.nan) if each is None else np.asarray(each.value, np.float64) for each in picked]
    return np.stack(rows)
