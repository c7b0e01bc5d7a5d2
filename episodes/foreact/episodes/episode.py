"""One episode in memory: named streams, each on its own clock, and the check against a contract.

Shape letters: T samples of a stream.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.contract import CAMERA_DTYPES, ContractError, PolicyContract
from foreact.episodes.outcome import JSON

_STREAM_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_KINDS = "biuf"  # bool, signed, unsigned, float: what numpy and Zarr agree on without surprises


@dataclass(frozen=True)
class Stream:
    """Samples of one kind and their clock.

    Args:
        data: (T, ...) of bool, integer or float type.
        time_ns: int64 (T,), strictly increasing, 0 = start of the episode [ns].
        unit: unit of the data, "1" for dimensionless; may list units per element ("m,m,m,1").
        rate_hz: nominal rate [Hz].
    """

    data: np.ndarray
    time_ns: np.ndarray
    unit: str
    rate_hz: float


@dataclass(frozen=True)
class Episode:
    """Everything recorded between two resets.

    Args:
        streams: by name: "state", "action", "camera.NAME.rgb", ...
        task: name of the task.
        instruction: what the robot was told, in words.
        seed: from which the layout of the scene was drawn.
        success: whether the task was done at the end.
        metadata: anything else, as JSON.
    """

    streams: dict[str, Stream]
    task: str
    instruction: str
    seed: int
    success: bool
    metadata: dict[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class StreamHeader:
    """What is known of a stream without reading it: dtype, shape (T, ...), unit, rate [Hz] and its clock's name."""

    dtype: str
    shape: tuple[int, ...]
    unit: str
    rate_hz: float
    clock: str


@dataclass(frozen=True)
class EpisodeHeader:
    """What is known of an episode without reading its streams; `files` maps each file to (bytes, crc32)."""

    task: str
    instruction: str
    seed: int
    success: bool
    metadata: dict[str, JSON]
    streams: dict[str, StreamHeader]
    files: dict[str, tuple[int, int]]

    @property
    def lengths(self) -> dict[str, int]:
        """Samples per stream."""
        return {name: stream.shape[0] for name, stream in self.streams.items()}

    @property
    def nbytes(self) -> int:
        """Bytes on disk, without the header itself."""
        return sum(size for size, _ in self.files.values())


def check_episode(episode: Episode, contract: PolicyContract, where: str) -> None:
    """Refuse an episode that does not follow the contract, or holds NaN, or whose clocks do not run forward.

    Args:
        episode: with "state", "action" and every camera stream of the contract; further streams are allowed.
        contract: of the store.
        where: for the message.

    Raises:
        ContractError: names the stream and what is wrong with it.
    """
    required = [name for name in contract.input_names if name != "tokens"] + ["action"]
    missing = [name for name in required if name not in episode.streams]
    if missing:
        raise ContractError(f"{where}: lacks the streams {missing} of the contract; it has {sorted(episode.streams)}")
    for name, stream in episode.streams.items():
        _check_stream(name, stream, f"{where}: stream {name}")
        check_stream_data(name, stream.data, contract, f"{where}: stream {name}")
        if name in ("state", "action") and stream.rate_hz != contract.control_rate_hz:
            raise ContractError(
                f"{where}: stream {name}: expected control_rate_hz {contract.control_rate_hz}, got {stream.rate_hz}"
            )
    _check_labels(episode, where)


def check_stream_data(name: str, data: np.ndarray, contract: PolicyContract, where: str) -> None:
    """Check dtype, shape and finiteness of one stream; cameras may hold kinds that the policy does not use.

    Raises:
        ContractError: names what was expected and found.
    """
    if name in ("state", "action", "action.executed"):
        if data.ndim != 2:
            raise ContractError(f"{where}: expected shape (T, elements), got {data.shape}")
        (contract.state if name == "state" else contract.action).check(data, where)
    elif name.startswith("camera."):
        _check_images(name, data, contract, where)
    elif data.dtype.kind == "f" and not np.isfinite(data).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(data))[0])
        raise ContractError(f"{where}: {data[index]} at index {index}")


def check_clock(time_ns: np.ndarray, length: int, where: str) -> None:
    """Refuse a clock that is not int64 (length,) and strictly increasing.

    Raises:
        ContractError: names the first sample that does not advance.
    """
    if time_ns.dtype != np.int64 or time_ns.shape != (length,):
        raise ContractError(f"{where}: expected an int64 ({length},) clock, got {time_ns.dtype} {time_ns.shape}")
    stuck = np.flatnonzero(np.diff(time_ns) <= 0)
    if stuck.size:
        i = int(stuck[0])
        raise ContractError(f"{where}: clock goes from {time_ns[i]} to {time_ns[i + 1]} ns at sample {i + 1}")


def shared_clocks(streams: Mapping[str, Stream]) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Name the distinct clocks "clock.0", "clock.1", ... : (clock name per stream, clock per name)."""
    names: dict[bytes, str] = {}
    clocks: dict[str, np.ndarray] = {}
    of_stream: dict[str, str] = {}
    for stream in sorted(streams):
        time_ns = streams[stream].time_ns
        name = names.setdefault(time_ns.tobytes(), f"clock.{len(names)}")
        clocks[name] = time_ns
        of_stream[stream] = name
    return of_stream, clocks


def _check_stream(name: str, stream: Stream, where: str) -> None:
    if not _STREAM_NAME.fullmatch(name) or name.startswith("clock."):
        raise ContractError(f"{where}: a stream name is dotted lower-case words and does not start with 'clock.'")
    if not isinstance(stream.data, np.ndarray) or stream.data.ndim < 1 or stream.data.dtype.kind not in _KINDS:
        raise ContractError(f"{where}: expected an array of bool, integer or float samples, got {stream.data!r:.80}")
    if stream.data.size == 0:
        raise ContractError(f"{where}: is empty, shape {stream.data.shape}")
    if not stream.unit or not (np.isfinite(stream.rate_hz) and stream.rate_hz > 0):
        raise ContractError(f"{where}: needs a unit and a positive rate, got {stream.unit!r} and {stream.rate_hz}")
    check_clock(stream.time_ns, len(stream.data), where)


def _check_images(name: str, data: np.ndarray, contract: PolicyContract, where: str) -> None:
    parts = name.split(".")
    if len(parts) != 3 or parts[2] not in CAMERA_DTYPES:
        raise ContractError(f"{where}: camera streams are camera.NAME.KIND with KIND in {tuple(CAMERA_DTYPES)}")
    try:
        expected = contract.camera(parts[1]).stream_shape(parts[2])
    except ContractError as error:
        raise ContractError(f"{where}: {error}") from None
    if data.dtype != CAMERA_DTYPES[parts[2]] or data.shape[1:] != expected:
        shape = ", ".join(map(str, expected))
        raise ContractError(f"{where}: expected {CAMERA_DTYPES[parts[2]]} (T, {shape}), got {data.dtype} {data.shape}")


def _check_labels(episode: Episode, where: str) -> None:
    if not episode.task or not episode.instruction.strip():
        raise ContractError(f"{where}: task and instruction must not be empty")
    if type(episode.seed) is not int or type(episode.success) is not bool:
        got = f"{type(episode.seed).__name__} and {type(episode.success).__name__}"
        raise ContractError(f"{where}: seed must be an int and success a bool, got {got}")
    try:
        strictjson.canonical(episode.metadata)
    except strictjson.StrictJsonError as error:
        raise ContractError(f"{where}: metadata {error}") from error
