"""One episode of an RLDS data set: a tf.Example, told apart by features.json.

Shape letters: n = steps.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np

from foreact.episodes.outcome import JSON
from foreact.episodes.sources.encoded import Stills
from foreact.episodes.sources.parts import Part, PartsSource, array_part
from foreact.episodes.sources.protocol import Kind, SourceError, Stream
from foreact.episodes.sources.rlds_features import STEPS, Leaf
from foreact.episodes.sources.steps import MAX_SAMPLE, Steps, column_name, distinct, numbered
from foreact.episodes.sources.stills import decode_still
from foreact.episodes.sources.tfrecord import Feature, Record, parse_example, read_record

__all__ = ["open_episode"]

INSTRUCTION = ("language_instruction", "natural_language_instruction", "instruction")
FEW = 64  # numbers that metadata may hold


def open_episode(key: str, shard: Path, record: Record, leaves: list[Leaf]) -> PartsSource:
    """Open one record.

    Raises:
        SourceError: It does not match its checksum, or not what features.json says.
    """
    where = f"{shard}: {key}"
    example = parse_example(read_record(shard, record), where)
    steps, notes = numbered(), []
    metadata = _metadata(example, leaves, notes)
    parts: list[tuple[str, Part]] = []
    for leaf in leaves:
        if leaf.name.startswith(f"{STEPS}/"):
            reason = _left_out(leaf, example)
            if reason:
                notes.append(f"{leaf.name.removeprefix('steps/')} is left out: {reason}")
            else:
                parts.append((leaf.name.removeprefix(f"{STEPS}/"), _part(leaf, example[leaf.name], steps, where)))
    counts = {part.stream.name: len(part.stamps) for _, part in parts}
    if not counts or len(set(counts.values())) > 1:
        raise SourceError(f"{where}: the streams do not have one number of steps: {counts}")
    # BridgeData's flags; its public sample has them false for real pictures, so they are told, not obeyed
    denied = [name for name, value in metadata.items() if name.startswith("has_image") and value is False]
    if denied:
        notes.append(f"episode_metadata denies {', '.join(denied)}: these pictures may be padding")
    task = _task(example, leaves, notes)
    return PartsSource(key, distinct(parts), task=task, metadata=metadata, notes=(*steps.notes, *notes))


def _left_out(leaf: Leaf, example: dict[str, Feature]) -> str:
    if leaf.name not in example:
        return "the record does not have it"
    if leaf.kind == "unread":
        return f"{leaf.description} is not read"
    if leaf.nested or (leaf.kind != "image" and None in leaf.shape):
        return "its length varies from step to step"
    if leaf.kind == "image" and leaf.dtype not in ("uint8", "uint16"):
        return f"pictures of {leaf.dtype} are not read"
    return ""


def _part(leaf: Leaf, values: Feature, steps: Steps, where: str) -> Part:
    where = f"{where}: {leaf.name}"
    if leaf.kind == "image":
        return _pictures(leaf, values, steps, where)
    if leaf.kind == "text":
        return _texts(leaf, values, steps, where)
    data = _numbers(leaf, values, where)
    name = column_name(_short(leaf), "vector")
    return array_part(_stream(leaf, name, "vector", steps), steps.stamps(len(data)), data)


def _pictures(leaf: Leaf, values: Feature, steps: Steps, where: str) -> Part:
    if not isinstance(values, list):
        raise SourceError(f"{where}: pictures are encoded bytes, the record has numbers")
    kind: Kind = "depth" if "depth" in leaf.name and leaf.shape[-1] == 1 else "image"
    shape = leaf.shape[:2] if leaf.shape[-1] == 1 else leaf.shape

    def read(index: int) -> np.ndarray:
        picture = decode_still(values[index], f"{where}: step {index}")
        fits = len(picture.shape) == len(shape) and all(
            want in (None, got) for want, got in zip(shape, picture.shape, strict=True)
        )
        if not fits or picture.dtype != leaf.dtype:
            got = f"{picture.dtype} {picture.shape}"
            raise SourceError(f"{where}: step {index} is {got}, features.json says {leaf.dtype} {leaf.shape}")
        return picture

    stream = _stream(leaf, column_name(_short(leaf), kind), kind, steps, shape)
    return Part(stream, steps.stamps(len(values)), read, encoded=Stills(values.__getitem__))


def _texts(leaf: Leaf, values: Feature, steps: Steps, where: str) -> Part:
    if not isinstance(values, list):
        raise SourceError(f"{where}: texts are bytes, the record has numbers")

    def read(index: int) -> str:
        try:
            return values[index].decode()
        except UnicodeDecodeError as error:
            raise SourceError(f"{where}: step {index} is not UTF-8: {error}") from error

    stream = _stream(leaf, column_name(_short(leaf), "text"), "text", steps, ())
    return Part(stream, steps.stamps(len(values)), read)


def _numbers(leaf: Leaf, values: Feature, where: str) -> np.ndarray:
    """(n, *shape) of the type that features.json says; a record holds float32 and int64 only."""
    dtype, shape = np.dtype(leaf.dtype), tuple(size or 1 for size in leaf.shape)
    size = math.prod(shape)
    if isinstance(values, list):
        data = b"".join(_raw(leaf, value, size * dtype.itemsize, where) for value in values)
        flat = np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype)
    else:
        flat = _narrowed(values, dtype, where)
    if len(flat) % size:
        raise SourceError(f"{where}: {len(flat)} numbers for samples of {shape}")
    return flat.reshape(-1, *shape)


def _raw(leaf: Leaf, value: bytes, size: int, where: str) -> bytes:
    if size > MAX_SAMPLE:
        raise SourceError(f"{where}: a sample of {size} bytes; {MAX_SAMPLE} are the most that are read")
    if leaf.encoding == "zlib":
        try:
            value = zlib.decompressobj().decompress(value, size + 1)
        except zlib.error as error:
            raise SourceError(f"{where}: {error}") from error
    if leaf.encoding not in ("bytes", "zlib") or len(value) != size:
        raise SourceError(f"{where}: {len(value)} bytes where {size} are due (encoding {leaf.encoding})")
    return value


def _narrowed(values: np.ndarray, dtype: np.dtype, where: str) -> np.ndarray:
    if (values.dtype.kind == "f") != (dtype.kind == "f") and len(values):
        raise SourceError(f"{where}: the record has {values.dtype}, features.json says {dtype}")
    flat = values.astype(dtype)
    if dtype.kind != "f" and dtype != np.uint64 and not np.array_equal(flat.astype(np.int64), values):
        raise SourceError(f"{where}: numbers that do not fit {dtype}")
    return flat


def _stream(leaf: Leaf, name: str, kind: Kind, steps: Steps, shape: tuple[int | None, ...] | None = None) -> Stream:
    return Stream(
        name=name,
        kind=kind,
        shape=leaf.shape if shape is None else shape,
        dtype=leaf.dtype,
        clock=steps.clock,
        description=leaf.description,
    )


def _short(leaf: Leaf) -> str:
    name = leaf.name.removeprefix(f"{STEPS}/")
    return "state" if name == "observation/state" else name


def _metadata(example: dict[str, Feature], leaves: list[Leaf], notes: list[str]) -> dict[str, JSON]:
    """Features beside the steps that are texts or a few numbers, by the last part of their name."""
    found: dict[str, JSON] = {}
    for leaf in leaves:
        if leaf.name.startswith(f"{STEPS}/"):
            continue
        values = example.get(leaf.name)
        name = leaf.name.removeprefix("episode_metadata/")
        if values is None or len(values) > FEW or leaf.kind not in ("text", "tensor"):
            notes.append(f"{leaf.name} is left out: not a text or a few numbers")
        elif isinstance(values, list):
            texts: list[JSON] = [value.decode(errors="replace") for value in values]
            found[name] = texts[0] if len(texts) == 1 else texts
        elif np.isfinite(values).all():
            numbers = [bool(value) if leaf.dtype == "bool" else value.item() for value in values]
            found[name] = numbers[0] if len(numbers) == 1 else numbers
        else:
            notes.append(f"{leaf.name} is left out: not finite")
    return found


def _task(example: dict[str, Feature], leaves: list[Leaf], notes: list[str]) -> str:
    for leaf in leaves:
        values = example.get(leaf.name)
        if leaf.kind != "text" or leaf.name.rpartition("/")[2] not in INSTRUCTION or not isinstance(values, list):
            continue
        texts = list(dict.fromkeys(value.decode(errors="replace") for value in values))
        if len(texts) > 1:
            notes.append(f"{leaf.name} has {len(texts)} texts; the first is the task")
        return texts[0] if texts else ""
    return ""
