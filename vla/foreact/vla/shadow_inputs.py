"""What a policy would have seen at a moment of a recording, and what was done from there on.

A recording of any format will do, if its streams are what the policy's contract says: nothing is cast, reordered,
scaled or made up. Shape letters: D decisions, H chunk length, A action elements, n samples of a stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from foreact.episodes.contract import (
    CAMERA_DTYPES,
    ContractMismatch,
    FeatureSpec,
    PolicyContract,
    require_same,
)
from foreact.episodes.language import tokenize
from foreact.episodes.sources import Collection, Source, Stream
from foreact.episodes.sync import Hold
from foreact.episodes.timeline import Timeline, health

__all__ = ["Moment", "ShadowInputs", "check_store"]

STREAMS = {"rgb": "camera", "depth": "depth", "segmentation": "segmentation"}
RATE_TOLERANCE = 0.02  # of the control rate


@dataclass(frozen=True)
class Moment:
    """One decision.

    Attributes:
        time_ns: On the recording's clock [ns].
        observation: One array with a leading 1 for each of the contract's inputs.
        before: Command before it, (A,) float32; zeros at the start.
        done: Commands from it on, (H, A) float32.
        known: 1 where there was such a command, (H,).
    """

    time_ns: int
    observation: dict[str, np.ndarray]
    before: np.ndarray
    done: np.ndarray
    known: np.ndarray


class ShadowInputs:
    """The decisions of one recording.

    Args:
        source: The recording.
        contract: What the policy takes and gives.
        instruction: What the policy is told; empty for the recording's own task.

    Raises:
        ContractMismatch: A stream is missing or is not what the contract says; every difference is named.
        ValueError: The policy takes an instruction and there is none.
    """

    def __init__(self, source: Source, contract: PolicyContract, instruction: str = "") -> None:
        self._source, self._contract = source, contract
        self._streams = {name: _stream_name(name) for name in contract.input_names if name != "tokens"}
        _require_streams(source, contract, self._streams)
        self._tokens = None if contract.language is None else tokenize(instruction or source.task, contract.language)
        stamps = source.stamps("action")
        order = np.argsort(stamps, kind="stable")
        self._times = stamps[order]
        self._actions = np.asarray(source.read_range("action", 0, len(stamps)), np.float32)[order]
        contract.action.check(self._actions, f"{source.key}: action")

    def moments(self, every: int) -> Iterator[Moment]:
        """Decisions at every so many frames of the contract's first camera, or states where it has none.

        Args:
            every: Frames from one decision to the next.
        """
        wanted = tuple(self._streams.values())
        timeline = Timeline.of(
            {self._source.key: self._source}, streams=wanted, policies={name: Hold() for name in wanted}
        )
        for step in timeline.steps(timeline.times(wanted[0])[::every]):
            if len(step.samples) == len(wanted):  # before a stream's first sample there is nothing to decide on
                seen = {name: np.asarray(step.samples[stream].value)[None] for name, stream in self._streams.items()}
                if self._tokens is not None:
                    seen["tokens"] = self._tokens[None]
                yield self._moment(step.time_ns, {name: seen[name] for name in self._contract.input_names})

    def _moment(self, time_ns: int, observation: dict[str, np.ndarray]) -> Moment:
        period = 1e9 / self._contract.control_rate_hz
        due = time_ns + np.rint(np.arange(self._contract.chunk_length) * period).astype(np.int64)
        # a command belongs to a step if it is the nearest and no more than half a period away
        after = np.searchsorted(self._times, due).clip(1, max(len(self._times) - 1, 1))
        nearest = after - (due - self._times[after - 1] <= self._times[after.clip(max=len(self._times) - 1)] - due)
        known = np.abs(self._times[nearest] - due) <= period / 2
        first = int(np.searchsorted(self._times, time_ns - period / 2))
        before = self._actions[first - 1] if first else np.zeros_like(self._actions[0])
        return Moment(time_ns, observation, before, self._actions[nearest], known.astype(np.float32))


def check_store(collection: Collection, contract: PolicyContract) -> None:
    """Refuse a store under a contract that is not the policy's, cameras' places and calibration included.

    A policy may use fewer streams of a camera and another length of chunks than the store was recorded with. Other
    formats carry no contract: their streams are compared as far as they say what they are.

    Raises:
        ContractMismatch: Names each field with both values.
    """
    if collection.format != "foreact":
        return
    from foreact.episodes.store import EpisodeStore

    stored = EpisodeStore.open(collection.path).contract
    cameras = tuple(
        replace(camera, streams=used.streams) if set(used.streams) <= set(camera.streams) else camera
        for used in contract.cameras
        for camera in stored.cameras
        if camera.name == used.name
    )
    seen = replace(stored, cameras=cameras, chunk_length=contract.chunk_length, language=contract.language)
    require_same(seen, contract, f"{collection.path} and the policy")


def _stream_name(name: str) -> str:
    if not name.startswith("camera."):
        return name
    _, camera, kind = name.split(".")
    return f"{STREAMS[kind]}.{camera}"


def _require_streams(source: Source, contract: PolicyContract, streams: dict[str, str]) -> None:
    found: list[str] = []
    for name, shown in {**streams, "action": "action"}.items():
        stream = source.streams.get(shown)
        if stream is None:
            found.append(f"stream {shown} is missing; there are {', '.join(source.streams)}")
        elif not len(source.stamps(shown)):
            found.append(f"stream {shown} has no samples")
        elif name in ("state", "action"):
            found += _feature_differences(stream, contract.state if name == "state" else contract.action)
        else:
            found += _picture_differences(stream, name, contract)
    if "action" in source.streams and (rate := health(source.stamps("action")).rate_hz):
        expected = contract.control_rate_hz
        if abs(rate - expected) > RATE_TOLERANCE * expected:
            found.append(f"action: expected a rate of {expected:g} Hz, got {rate:.4g} Hz")
    if found:
        lines = [f"  {each}" for each in found]
        raise ContractMismatch("\n".join([f"{source.key} is not what the policy's contract says:", *lines]))


def _feature_differences(stream: Stream, spec: FeatureSpec) -> list[str]:
    units = stream.unit.split(",") if stream.unit else list(spec.units)
    units = units * len(spec.units) if len(units) == 1 else units
    if tuple(stream.shape) != spec.shape:
        return [f"{stream.name}: shape: expected {spec.shape}, got {tuple(stream.shape)}"]
    pairs = [
        ("unit", ",".join(spec.units), ",".join(units)),
        ("dtype", spec.dtype, stream.dtype),
        ("elements", tuple(spec.elements), tuple(stream.elements) or tuple(spec.elements)),
        ("frame", spec.frame, stream.frame or spec.frame),
    ]
    return [f"{stream.name}: {what}: expected {old}, got {new}" for what, old, new in pairs if old != new]


def _picture_differences(stream: Stream, name: str, contract: PolicyContract) -> list[str]:
    _, camera, kind = name.split(".")
    shape, dtype = contract.camera(camera).stream_shape(kind), str(CAMERA_DTYPES[kind])
    pairs = [("dtype", dtype, stream.dtype), ("shape", shape, tuple(stream.shape))]
    if kind == "depth":
        pairs.append(("unit", "mm", stream.unit or "mm"))
    return [f"{stream.name}: {what}: expected {old}, got {new}" for what, old, new in pairs if old != new]
