"""Features of pictures by an encoder: of arrays, for whoever has them, and of a set of aligned pictures on disk.

Shape letters: N scenes, T tokens, D width, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreact.episodes import strictjson
from foreact.episodes.aligned import BLOCK, AlignedPictures
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.staging import remove_stale, staged_folder
from foreact.perception.omnivorous.checkpoint import load_encoder, read_about
from foreact.perception.omnivorous.model import KINDS, OmnivorousEncoder, Seen

__all__ = ["EmbedConfig", "EmbedError", "Embedded", "embed_pictures", "embed_set"]

FORMAT = 1
HEADER = "features.json"
WHOLE: Any = {"write_empty_chunks": True}  # so that a chunk that is missing is known to be lost


class EmbedError(ValueError):
    """Features on disk are not what they should be; the message names them."""


@dataclass(frozen=True)
class EmbedConfig:
    """What to embed.

    Attributes:
        path: A set of aligned pictures.
        encoder: A run folder of training, or the encoder in it.
        out: Folder of the features; one that was begun for the same is gone on with.
        kinds: Kinds of pictures that are seen together.
        device: `cpu`, `cuda` or `cuda:N`.
    """

    path: Path
    encoder: Path
    out: Path
    kinds: tuple[str, ...] = ("rgb",)
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.kinds or set(self.kinds) - set(KINDS) or len(set(self.kinds)) < len(self.kinds):
            raise ValueError(f"kinds={list(self.kinds)}: choose one or more of {', '.join(KINDS)}")


@dataclass(frozen=True)
class _Header:
    scenes: int
    tokens: int
    width: int
    path: str
    sha256: str
    kinds: tuple[str, ...]
    done: int = 0
    format: int = FORMAT


@dataclass(frozen=True)
class Embedded:
    """Features on disk, float16.

    Attributes:
        cls: Zarr array (N, D): of whole pictures.
        tokens: Zarr array (N, T, D): of patches.
        sha256: Of the weights that made them.
    """

    cls: Any
    tokens: Any
    sha256: str

    @classmethod
    def open(cls, path: Path) -> Embedded:
        """Open finished features.

        Raises:
            EmbedError: There are none, or they are damaged or not finished.
        """
        header = _read(path)
        if header.done < header.scenes:
            raise EmbedError(
                f"{path} is not finished ({header.done} of {header.scenes} scenes); type its line once more"
            )
        return cls(_array(path, "cls", "r"), _array(path, "tokens", "r"), header.sha256)


def embed_pictures(
    encoder: OmnivorousEncoder, pictures: Mapping[str, np.ndarray], batch: int = BLOCK
) -> dict[str, np.ndarray]:
    """Features of pictures.

    Args:
        encoder: As `load_encoder` gives it; language is not asked for.
        pictures: By kind, as cameras give them, all of the same scenes: rgb uint8 (N, H, W, 3), depth [mm] whole
            (N, H, W), segmentation (N, H, W).
        batch: Scenes at a time.

    Returns:
        `cls` (N, D) and `tokens` (N, T, D), float32.

    Raises:
        ValueError: No pictures, of another type or shape, or not as many of each kind.
    """
    counts = {kind: len(values) for kind, values in pictures.items()}
    if not counts or len(set(counts.values())) > 1 or 0 in counts.values():
        raise ValueError(f"embed: expected as many pictures of each kind, at least one, got {counts}")
    device, found = next(encoder.parameters()).device, []
    with torch.inference_mode():
        for start in range(0, next(iter(counts.values())), batch):
            part = {kind: _tensor(values[start : start + batch]).to(device) for kind, values in pictures.items()}
            found.append(encoder(part))
    return {name: _joined(found, name) for name in ("cls", "tokens")}


def embed_set(config: EmbedConfig, progress: ProgressFn = quiet) -> Outcome:
    """Write features of a set of aligned pictures, or go on where a killed run stopped.

    Args:
        config: What.
        progress: Told of scenes done.

    Raises:
        AlignedError, CheckpointError: Pictures or encoder are missing or damaged.
        EmbedError: `out` holds other features, or damaged ones.
    """
    data, encoder = AlignedPictures.open(config.path), load_encoder(config.encoder, config.device)
    mark = str(read_about(config.encoder)["sha256"])
    rows, columns = encoder.trunk.grid
    count = rows * columns if encoder.resampler is None else encoder.resampler.config.tokens
    wanted = _Header(len(data), count, encoder.width, str(config.path), mark, config.kinds)
    header = _begun(config.out, wanted)
    for start in range(header.done, len(data), BLOCK):
        part = slice(start, start + BLOCK)
        found = embed_pictures(encoder, {kind: data.read(kind, part) for kind in config.kinds})
        for name, values in found.items():
            _array(config.out, name, "r+")[part] = values.astype(np.float16)
        header = replace(header, done=min(start + BLOCK, len(data)))
        write_json_atomic(config.out / HEADER, header)
        progress(header.done, len(data), "embed")
    figures: dict[str, JSON] = {"scenes": len(data), "tokens": wanted.tokens, "width": wanted.width, "sha256": mark}
    row = (str(len(data)), ", ".join(config.kinds), str(wanted.tokens), str(wanted.width))
    return Outcome(config.out, figures, ("scenes", "seen by", "tokens", "width"), (row,))


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _joined(found: list[Seen], name: str) -> np.ndarray:
    return torch.cat([getattr(each, name) for each in found]).float().cpu().numpy()


def _begun(path: Path, wanted: _Header) -> _Header:
    if not path.exists():
        _make(path, wanted)
    header = _read(path)
    if replace(header, done=0) != wanted:
        names = ("scenes", "tokens", "width", "path", "sha256", "kinds")
        other = [name for name in names if getattr(header, name) != getattr(wanted, name)]
        raise EmbedError(f"{path} holds other features (their {', '.join(other)} differ); choose another out")
    return header


def _make(path: Path, header: _Header) -> None:
    import zarr

    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path.parent)
    shapes = {"cls": (header.scenes, header.width), "tokens": (header.scenes, header.tokens, header.width)}
    with staged_folder(path) as folder:
        for name, shape in shapes.items():
            chunks = (BLOCK, *shape[1:])
            zarr.create_array(str(folder / name), shape=shape, chunks=chunks, dtype="float16", config=WHOLE)
        write_json_atomic(folder / HEADER, header)


def _read(path: Path) -> _Header:
    try:
        header = strictjson.decode(_Header, strictjson.loads((path / HEADER).read_text()), HEADER)
    except (OSError, ValueError) as error:
        raise EmbedError(f"{path} holds no features: {error}") from error
    if header.format != FORMAT:
        raise EmbedError(f"{path} is of format {header.format}, not {FORMAT}; make it again")
    return header


def _array(path: Path, name: str, mode: Any) -> Any:
    import zarr

    try:
        found = zarr.open_array(str(path / name), mode=mode, config=WHOLE)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise EmbedError(f"{path} has no {name}, or a damaged one: {error}") from error
    if mode == "r" and found.nchunks_initialized < found.nchunks:
        raise EmbedError(f"{path}: parts of {name} are missing; copy it whole or make it again")
    return found
