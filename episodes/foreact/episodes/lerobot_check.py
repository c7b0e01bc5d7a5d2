"""Whether a LeRobotDataset that was written opens in lerobot itself and says what was written, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes.arrays import StoreError
from foreact.episodes.lerobot_part import REPO, lerobot_at
from foreact.episodes.recording_plan import Plan, placed
from foreact.episodes.recording_rows import PICTURES, rows
from foreact.episodes.sources.protocol import Source

__all__ = ["psnr", "require_same_in_lerobot"]

BLOCK = 256  # rows read together
ITEMS = 64  # of so many rows without pictures lerobot also gives one as an item


def require_same_in_lerobot(
    path: Path,
    plan: Plan,
    sources: Mapping[str, Callable[[], AbstractContextManager[Source]]],
    cache: Path,
    told: Callable[[int], None],
) -> None:
    """Open a dataset with lerobot and compare every row with its recording: numbers bit for bit, texts and pictures.

    Numbers and texts are compared in the table that lerobot has loaded, pictures in the items that it gives.

    Args:
        path: The dataset.
        plan: Of its table.
        sources: How each recording is opened, by key, in the order of the episodes.
        cache: Folder for what lerobot unpacks; it is deleted after.
        told: Called with the number of each recording.

    Raises:
        StoreError: lerobot gives something else, or cannot open it.
        SourceError: A source is damaged.
    """
    with lerobot_at(cache):
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        dataset = LeRobotDataset(REPO, root=path, video_backend="pyav", depth_output_unit="mm")
        if dataset.num_episodes != len(sources):
            raise StoreError(f"{path}: lerobot finds {dataset.num_episodes} episodes, {len(sources)} were written")
        first = 0
        for number, (key, opened) in enumerate(sources.items()):
            told(number)
            with opened() as source:
                first += _compare(dataset, plan, key, source, first, number)
        if len(dataset) != first:
            raise StoreError(f"{path}: lerobot finds {len(dataset)} rows, {first} were written")


def _compare(dataset: Any, plan: Plan, key: str, source: Source, first: int, episode: int) -> int:
    """Compare a recording; how many rows it has."""
    steps, places = placed(source, plan, key)
    lossy = {name for column in plan.columns if column.lossy for name in column.values}
    drawn = any(column.code in PICTURES for column in plan.columns)
    written = rows(source, places, plan.columns, steps, plan.labels)
    for row, (wanted, cells) in enumerate(zip(written, _stored(dataset, first, first + len(steps)), strict=True)):
        where = f"{key}, row {row}"
        said = tuple(int(cells[name].item()) for name in ("episode_index", "frame_index", "index"))
        if said != (episode, row, first + row):
            raise StoreError(f"{where}: lerobot gives episode, frame and index {said}")
        wrong = [name for name, value in wanted.items() if name in cells and not _equal(value, cells[name])]
        if drawn or row % ITEMS == 0 or row == len(steps) - 1:
            item = dataset[first + row]
            wrong += ["task"] if item["task"] != source.task else []
            wrong += [
                name
                for name, value in wanted.items()
                if name not in lossy and not _same(dataset.meta.features[name], value, item[name])
            ]
        if wrong:
            raise StoreError(f"{where}: lerobot gives another {wrong[0]} than was written")
    return len(steps)


def _stored(dataset: Any, start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Cells of numbers and texts as lerobot has loaded them; in its items numbers have 32 bits at most."""
    names = [name for name, each in dataset.meta.features.items() if each["dtype"] not in ("image", "video")]
    table = dataset.hf_dataset.select_columns(names).with_format("arrow")
    for begin in range(start, stop, BLOCK):
        block = table[begin : min(begin + BLOCK, stop)]
        columns = [_flat(block.column(name)) for name in names]
        for row in range(block.num_rows):
            yield {name: each[row] for name, each in zip(names, columns, strict=True)}


def _flat(column: Any) -> Any:
    """A column as an array (rows, numbers), or a list of texts."""
    values = column.combine_chunks()
    if str(values.type) in ("string", "large_string"):
        return values.to_pylist()
    while str(values.type).startswith(("list", "fixed_size_list", "extension")):
        values = values.storage if str(values.type).startswith("extension") else values.flatten()
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(column), -1)


def _equal(wanted: Any, cell: Any) -> bool:
    if isinstance(wanted, str):
        return wanted == cell
    return wanted.dtype == cell.dtype and wanted.tobytes() == cell.tobytes()


def _same(feature: dict[str, Any], wanted: Any, item: Any) -> bool:
    """Whether an item of lerobot is what was written; numbers as near as 32 bits are."""
    if isinstance(wanted, str):
        return item == wanted
    given = item.numpy()
    if feature["dtype"] != "image":
        number = wanted.dtype.kind == "f"
        near = wanted.astype(given.dtype)
        return given.size == wanted.size and np.array_equal(given, near.reshape(given.shape), equal_nan=number)
    if wanted.shape[-1] == 3:
        return np.array_equal(np.round(given * 255).astype(np.uint8).transpose(1, 2, 0), wanted)
    metres = (feature.get("info") or {}).get("depth_unit") == "m"
    depth = wanted[..., 0].astype(np.float32) * np.float32(1000 if metres else 1)
    return np.array_equal(given[0], depth, equal_nan=True)


def psnr(one: Source, other: Source, name: str) -> float:
    """How near the pictures of a stream are to those of another recording, over all of them [dB].

    Raises:
        SourceError: One is damaged.
    """
    squares, count = 0.0, 0
    for index in range(len(one.stamps(name))):
        first, second = (np.asarray(each.read(name, index), np.float64) for each in (one, other))
        squares, count = squares + float(((first - second) ** 2).sum()), count + first.size
    return math.inf if squares == 0 else 10 * math.log10(255**2 * count / squares)
