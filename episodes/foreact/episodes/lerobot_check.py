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
from foreact.episodes.recording_rows import rows
from foreact.episodes.sources.protocol import Source

__all__ = ["psnr", "require_same_in_lerobot"]

BLOCK = 32  # rows read together


def require_same_in_lerobot(
    path: Path,
    plan: Plan,
    sources: Mapping[str, Callable[[], AbstractContextManager[Source]]],
    cache: Path,
    told: Callable[[int], None],
) -> None:
    """Open a dataset with lerobot and compare every row with its recording: numbers bit for bit, texts and pictures.

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
    written = rows(source, places, plan.columns, steps, plan.labels)
    for row, (wanted, cells) in enumerate(zip(written, _stored(dataset, first, first + len(steps)), strict=True)):
        where, item = f"{key}, row {row}", dataset[first + row]
        said = (item["task"], int(item["episode_index"]), int(item["frame_index"]), int(item["index"]))
        if said != (source.task, episode, row, first + row):
            raise StoreError(f"{where}: lerobot gives task, episode, frame and index {said}")
        for name, value in wanted.items():
            if name not in lossy and not _same(dataset.meta.features[name], value, item[name], cells.get(name)):
                raise StoreError(f"{where}: lerobot gives another {name} than was written")
    return len(steps)


def _stored(dataset: Any, start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Cells of numbers as they are stored; lerobot's own items have 32 bits at most."""
    names = [name for name, each in dataset.meta.features.items() if each["dtype"] not in ("image", "video", "string")]
    table = dataset.hf_dataset.select_columns(names).with_format("arrow")
    for begin in range(start, stop, BLOCK):
        yield from table[begin : min(begin + BLOCK, stop)].to_pylist()


def _same(feature: dict[str, Any], wanted: Any, item: Any, cell: Any) -> bool:
    if isinstance(wanted, str):
        return item == wanted
    given = item.numpy()
    if feature["dtype"] == "image":
        if wanted.shape[-1] == 3:
            return np.array_equal(np.round(given * 255).astype(np.uint8).transpose(1, 2, 0), wanted)
        metres = (feature.get("info") or {}).get("depth_unit") == "m"
        depth = wanted[..., 0].astype(np.float32) * np.float32(1000 if metres else 1)
        return np.array_equal(given[0], depth, equal_nan=True)
    number = wanted.dtype.kind == "f"
    exact = np.array(cell, wanted.dtype).reshape(wanted.shape)
    if given.size != wanted.size or not np.array_equal(exact, wanted, equal_nan=number):
        return False
    return np.array_equal(given, wanted.astype(given.dtype).reshape(given.shape), equal_nan=number)


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
