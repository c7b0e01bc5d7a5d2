"""What a data set of TensorFlow Datasets says of its features (features.json), as a flat list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.sources.protocol import SourceError

__all__ = ["STEPS", "Leaf", "read_features", "read_json"]

STEPS = "steps"
MAX_JSON = 1 << 24  # bytes
MAX_DEPTH = 16
TEXT = ("string", "object", "bytes")


@dataclass(frozen=True)
class Leaf:
    """One feature.

    Attributes:
        name: Path in the record, such as `steps/observation/state`.
        kind: `tensor`, `image` or `text`; otherwise `unread`.
        dtype: Of a tensor or image, as NumPy says it.
        shape: Of one sample; None where it varies.
        encoding: `none`, `bytes` or `zlib` of a tensor; `jpeg`, `png` or nothing of an image.
        description: Of the data set's author.
        nested: A sequence within a step.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple[int | None, ...]
    encoding: str
    description: str
    nested: bool


def read_json(path: Path) -> Any:
    """Parse a small JSON file.

    Raises:
        SourceError: Missing, larger than 16 MiB, or not JSON.
    """
    try:
        if path.stat().st_size > MAX_JSON:
            raise SourceError(f"{path} is larger than {MAX_JSON} bytes")
        return strictjson.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SourceError(f"{path} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise error if isinstance(error, SourceError) else SourceError(f"{path} is damaged: {error}") from error


def read_features(path: Path) -> list[Leaf]:
    """Every feature of a record, those of steps first.

    Args:
        path: Of features.json.

    Raises:
        SourceError: Missing, damaged, or of another form.
    """
    root = read_json(path)
    if isinstance(root, dict) and "pythonClassName" not in root and "type" in root:
        raise SourceError(f"{path} is of a TensorFlow Datasets before 4.5; write the data set anew with a later one")
    try:
        leaves = list(_leaves(root, "", 0, False))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(f"{path} does not describe features: {type(error).__name__} {error}") from error
    return sorted(leaves, key=lambda leaf: not leaf.name.startswith(f"{STEPS}/"))


def _leaves(node: dict[str, Any], name: str, depth: int, nested: bool) -> Iterator[Leaf]:
    if depth > MAX_DEPTH:
        raise ValueError(f"{name} is nested more than {MAX_DEPTH} deep")
    if "featuresDict" in node:
        for key, child in node["featuresDict"]["features"].items():
            yield from _leaves(child, f"{name}/{key}" if name else key, depth + 1, nested)
    elif "sequence" in node:
        yield from _leaves(node["sequence"]["feature"], name, depth + 1, nested or name != STEPS)
    else:
        yield _leaf(node, name, nested)


def _leaf(node: dict[str, Any], name: str, nested: bool) -> Leaf:
    about = str(node.get("description", ""))
    if "text" in node:
        return Leaf(name, "text", "str", (), "none", about, nested)
    if "image" in node:
        image = node["image"]
        shape = _shape(image)
        return Leaf(name, "image", image.get("dtype", "uint8"), shape, image.get("encodingFormat", ""), about, nested)
    if "tensor" not in node:
        return Leaf(name, "unread", "", (), "", str(node["pythonClassName"]).rpartition(".")[2], nested)
    tensor = node["tensor"]
    if tensor["dtype"] in TEXT:
        return Leaf(name, "text", "str", _shape(tensor), "none", about, nested)
    dtype = np.dtype(tensor["dtype"]) if tensor["dtype"] != "bfloat16" else None
    if dtype is None or dtype.kind not in "biuf":
        return Leaf(name, "unread", "", (), "", f"a tensor of {tensor['dtype']}", nested)
    return Leaf(name, "tensor", dtype.name, _shape(tensor), tensor.get("encoding", "none"), about, nested)


def _shape(node: dict[str, Any]) -> tuple[int | None, ...]:
    sizes = [int(size) for size in node.get("shape", {}).get("dimensions", [])]
    if any(size == 0 or size < -1 or size > 1 << 31 for size in sizes):
        raise ValueError(f"a shape of {sizes}")
    return tuple(None if size == -1 else size for size in sizes)
