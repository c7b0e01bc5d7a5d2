"""GoPro's telemetry: nested keys, lengths and values, and what its sensors said.

Source: GoPro's published description of GPMF (keys SCAL, SIUN, UNIT, STNM, TSMP, TYPE and the types of values).
Shape letters: n = samples of a sensor, d = elements of a sample.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from foreact.episodes.sources.protocol import SourceError

__all__ = ["Payload", "Sensor", "merge_payloads", "parse_payload"]

TYPES = {
    "b": ">i1",
    "B": ">u1",
    "s": ">i2",
    "S": ">u2",
    "l": ">i4",
    "L": ">u4",
    "j": ">i8",
    "J": ">u8",
    "f": ">f4",
    "d": ">f8",
}
FIXED_POINT = {"q": (">i4", 2.0**-16), "Q": (">i8", 2.0**-32)}
UNITS = {"²": "^2", "µ": "u", "\u03bc": "u"}
DEEPEST = 8


@dataclass(frozen=True)
class Item:
    """One key: the letter of its type, bytes of an element, how many, and the bytes."""

    key: str
    kind: str
    size: int
    repeat: int
    data: bytes

    @property
    def text(self) -> str:
        """As text, without what fills it up."""
        return self.data.decode("latin-1").rstrip("\0").strip()


@dataclass(frozen=True)
class Sensor:
    """What one sensor said, in one payload or in all.

    Attributes:
        key: Four letters, such as `ACCL`.
        name: In words, as the camera says it.
        values: (n, d), in the unit if the camera says a scale, else as they are in the file.
        unit: One, or one for each element, separated by commas; empty if the camera does not say.
        about: Keys that go with it and are not applied, such as `ORIN`.
        total: Samples that the sensor gave so far, this payload included; None if the camera does not count.
    """

    key: str
    name: str
    values: np.ndarray
    unit: str
    about: dict[str, str]
    total: int | None


@dataclass(frozen=True)
class Payload:
    """Telemetry of about a second.

    Attributes:
        device: Name of the camera.
        sensors: What they said.
        notes: What cannot be read.
    """

    device: str
    sensors: tuple[Sensor, ...]
    notes: tuple[str, ...]


def parse_payload(data: bytes) -> Payload:
    """Read one payload.

    Raises:
        SourceError: It holds no device.
    """
    notes: list[str] = []
    sensors: list[Sensor] = []
    device = ""
    found = False
    for top in _items(data, notes):
        if top.key != "DEVC":
            continue
        found = True
        for item in _items(top.data, notes):
            if item.key == "DVNM":
                device = item.text
            elif item.key == "STRM":
                sensors += _sensor(list(_items(item.data, notes)), notes)
    if not found:
        raise SourceError("telemetry without a device (DEVC)")
    return Payload(device, tuple(sensors), tuple(notes))


def _items(data: bytes, notes: list[str]) -> Iterator[Item]:
    place = 0
    while place + 8 <= len(data):
        key, kind, size = data[place : place + 4], data[place + 4], data[place + 5]
        repeat = int.from_bytes(data[place + 6 : place + 8], "big")
        stop = place + 8 + size * repeat
        if key == b"\0\0\0\0":
            return  # what fills up the end
        if not re.fullmatch(rb"[ -~]{4}", key) or stop > len(data):
            notes.append(f"telemetry is damaged at byte {place} of {len(data)}; what follows is left out")
            return
        yield Item(key.decode("ascii"), chr(kind) if kind else "", size, repeat, data[place + 8 : stop])
        place = stop + -stop % 4


def _sensor(items: list[Item], notes: list[str]) -> list[Sensor]:
    """A sensor's part of a payload: keys that tell about it, and at the end its samples."""
    if not items or items[-1].key in ("STNM", "TICK", "TSMP", "STMP"):
        return []  # a sensor that said nothing
    data, tells = items[-1], {item.key: item for item in items[:-1]}
    if data.key in tells:
        notes.append(f"{data.key}: groups of samples are left out")
        return []
    try:
        values = _values(data, tells.get("TYPE"))
        if "SCAL" in tells:
            values = _scaled(values, _values(tells["SCAL"], None).reshape(-1))
    except ValueError as error:
        notes.append(f"{data.key} is left out: {error}")
        return []
    about = {key: _told(tells[key]) for key in ("ORIN", "ORIO", "MTRX", "GPSF", "GPSP", "GPSU") if key in tells}
    total = int.from_bytes(tells["TSMP"].data[:4], "big") if "TSMP" in tells else None
    name = tells["STNM"].text if "STNM" in tells else ""
    return [Sensor(data.key, name, values, _unit(tells.get("SIUN") or tells.get("UNIT")), about, total)]


def _values(item: Item, layout: Item | None) -> np.ndarray:
    """Samples (n, d) as they are in the file, in the machine's byte order."""
    if item.kind == "?":
        return _mixed(item, _expanded(layout.text if layout else ""))
    letter, factor = FIXED_POINT.get(item.kind, (TYPES.get(item.kind, ""), 0.0))
    if not letter:
        raise ValueError(f"values of type {item.kind!r} are not numbers")
    dtype = np.dtype(letter)
    if item.size == 0 or item.size % dtype.itemsize:
        raise ValueError(f"{item.size} bytes are no whole number of values of {dtype.itemsize} bytes")
    values = np.frombuffer(item.data, dtype).reshape(item.repeat, item.size // dtype.itemsize)
    return values.astype(np.float64) * factor if factor else values.astype(dtype.newbyteorder("="))


def _mixed(item: Item, letters: str) -> np.ndarray:
    fields = [(f"f{number}", TYPES.get(letter, "")) for number, letter in enumerate(letters)]
    if not fields or not all(kind for _, kind in fields):
        raise ValueError(f"samples are made of {letters or 'nothing that is said'}, not of numbers alone")
    dtype = np.dtype(fields)
    if dtype.itemsize != item.size:
        raise ValueError(f"a sample has {item.size} bytes, its TYPE has {dtype.itemsize}")
    rows = np.frombuffer(item.data, dtype)
    return np.stack([rows[name].astype(np.float64) for name, _ in fields], axis=1)


def _expanded(layout: str) -> str:
    """`Lf[4]` as `Lffff`."""
    return re.sub(r"(.)\[(\d{1,3})\]", lambda match: match[1] * int(match[2]), layout)


def _scaled(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    if len(scale) not in (1, values.shape[1]) or not np.all(scale.astype(np.float64)):
        raise ValueError(f"scale {scale.tolist()} does not fit samples of {values.shape[1]} elements")
    return values / scale.astype(np.float64)


def _unit(item: Item | None) -> str:
    if item is None or item.kind != "c" or not item.size:
        return ""
    text = item.data.decode("latin-1")
    units = [text[at : at + item.size].rstrip("\0 ") for at in range(0, len(text), item.size)]
    joined = units[0] if len(set(units)) == 1 else ",".join(units)
    for theirs, ours in UNITS.items():
        joined = joined.replace(theirs, ours)
    return joined


def _told(item: Item) -> str:
    if item.kind in ("c", "U"):
        return item.text
    return ",".join(f"{value:g}" for value in _values(item, None).reshape(-1).tolist())


def merge_payloads(
    payloads: Sequence[Payload], starts: Sequence[int], durations: Sequence[int]
) -> tuple[dict[str, tuple[Sensor, np.ndarray]], list[str]]:
    """Join what each sensor said.

    The k-th of m samples of a payload is stamped start + k duration / m: the camera says when a payload is shown, not
    when each sample was taken, and sensors run evenly.

    Args:
        payloads: In order.
        starts: When each is shown [ns].
        durations: For how long [ns].

    Returns:
        Sensors by key, each with its stamps int64 (n,) [ns]; and notes.
    """
    pieces: dict[str, list[tuple[Sensor, np.ndarray]]] = {}
    notes: list[str] = []
    for payload, start, duration in zip(payloads, starts, durations, strict=True):
        notes += [note for note in payload.notes if note not in notes]
        seen: dict[str, int] = {}
        for sensor in payload.sensors:
            seen[sensor.key] = seen.get(sensor.key, 0) + 1
            key = sensor.key if seen[sensor.key] == 1 else f"{sensor.key}.{seen[sensor.key]}"
            count = len(sensor.values)
            stamps = [start + number * duration // count for number in range(count)]
            pieces.setdefault(key, []).append((sensor, np.array(stamps, np.int64)))
    return {key: joined for key, parts in pieces.items() if (joined := _joined(key, parts, notes))}, notes


def _joined(key: str, parts: list[tuple[Sensor, np.ndarray]], notes: list[str]) -> tuple[Sensor, np.ndarray] | None:
    first = parts[0][0]
    if len({(sensor.values.shape[1], sensor.values.dtype, sensor.unit) for sensor, _ in parts}) > 1:
        notes.append(f"{key} is left out: its samples change their form")
        return None
    values = np.concatenate([sensor.values for sensor, _ in parts])
    count, lost = None, 0
    for sensor, _ in parts:
        if sensor.total is not None and count is not None:
            lost += max(0, sensor.total - count - len(sensor.values))
        count = sensor.total
    if lost:
        notes.append(f"{key}: the camera counted {lost} samples more than there are")
    stamps = np.concatenate([stamps for _, stamps in parts])
    return Sensor(first.key, first.name, values, first.unit, first.about, count), stamps
