"""One recording as a LeRobotDataset v3.0 of one episode, written by lerobot itself."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes import staging
from foreact.episodes.arrays import StoreError
from foreact.episodes.lerobot_reader import INDEX_COLUMNS
from foreact.episodes.recording_plan import Plan, placed
from foreact.episodes.recording_rows import PICTURES, TIME, Column, rows
from foreact.episodes.sources.protocol import Source

__all__ = ["REPO", "features", "lerobot_at", "write_part"]

REPO = "local/foreact"
ROWS = 256  # whose pictures are embedded at once
MOST_ELEMENTS = 4096  # of a sample, as lerobot's statistics keep a histogram of each


def write_part(source: Source, key: str, plan: Plan, folder: Path) -> None:
    """Write one recording; the folder appears when it is whole.

    Args:
        source: The recording.
        key: Its name in the collection.
        plan: Of the table.
        folder: Where to.

    Raises:
        StoreError: A sample is not what its stream says.
        SourceError: The source is damaged.
    """
    import pyarrow

    partial = folder.with_name(f".tmp-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    steps, places = placed(source, plan, key)
    units = {stream.name: stream.unit for stream in source.streams.values()}
    with lerobot_at(folder.with_name(f".cache-{folder.name}")), _writing(plan.columns):
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        dataset = LeRobotDataset.create(
            REPO,
            fps=plan.fps,
            features=features(plan, units),
            root=partial,
            use_videos=any(column.lossy for column in plan.columns),
            video_backend="pyav",
        )
        for row in rows(source, places, plan.columns, steps, plan.labels):
            dataset.add_frame({**row, "task": source.task})
        dataset.save_episode(parallel_encoding=False)
        dataset.finalize()
    pyarrow.default_memory_pool().release_unused()
    staging.sync_tree(partial)
    os.rename(partial, folder)


def features(plan: Plan, units: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The table that LeRobot wants.

    Args:
        plan: Of the table.
        units: Of streams, by name.
    """
    found: dict[str, dict[str, Any]] = {TIME: _numbers("int64", (1,), [TIME])}
    for column in plan.columns:
        unit = units.get(column.stream, "")
        found |= dict.fromkeys(column.values, _feature(column, unit))
        if column.beside:
            found[column.edges] = _numbers("string", (1,))
        if column.newest:
            found[column.newest] = _numbers(column.stored, column.newest_cell)
        found[column.stamps] = _numbers("int64", (max(column.width, 1),))
        if column.width:
            found[column.count] = _numbers("int64", (1,))
        if column.varying:
            found[column.sizes] = _numbers("int64", (max(column.width, 1) * len(column.varying),))
    return found


def _feature(column: Column, unit: str) -> dict[str, Any]:
    if column.code == "text":
        return _numbers("string", (1,))
    if column.code not in PICTURES:
        return _numbers(column.stored, column.cell)
    height, width = column.room[:2]
    names = ["height", "width", "channels"]
    if column.code == "depth":
        # lerobot knows mm and m; a depth that says no unit is given as it is, which is what mm does
        info = {"is_depth_map": True, "depth_unit": "m" if unit == "m" else "mm"}
        return {"dtype": "image", "shape": (height, width, 1), "names": names, "info": info}
    return {"dtype": "video" if column.lossy else "image", "shape": (height, width, 3), "names": names}


def _numbers(dtype: str, shape: tuple[int, ...], names: Sequence[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "names": names}


@contextlib.contextmanager
def lerobot_at(cache: Path) -> Iterator[None]:
    """Let lerobot's parts work without progress bars, and keep what they cache in a folder that is deleted after.

    A cache that outlives the call could answer for a file that has changed since.
    """
    from datasets import config
    from datasets.utils import logging as bars

    enabled, kept, level = bars.is_progress_bar_enabled(), config.HF_DATASETS_CACHE, logging.root.level
    shutil.rmtree(cache, ignore_errors=True)
    bars.disable_progress_bar()
    config.HF_DATASETS_CACHE = cache
    try:
        yield
    finally:
        config.HF_DATASETS_CACHE = kept
        logging.root.setLevel(level)
        if enabled:
            bars.enable_progress_bar()
        shutil.rmtree(cache, ignore_errors=True)


@contextlib.contextmanager
def _writing(columns: tuple[Column, ...]) -> Iterator[None]:
    """Have lerobot's writer do three things in another way.

    Statistics are of samples, not of placeholders, windows, stamps, or numbers that are not finite: lerobot's
    normalisation would otherwise be that of the placeholders, and what is not finite it cannot take. Pictures are
    embedded by the same function, but many rows at once: by rows it took 95 % of the time and twice the memory. Texts
    stay texts: as arrays of NumPy each would take four times the room of the longest of them.
    """
    from lerobot.datasets import dataset_writer

    writer: Any = dataset_writer
    kept = writer.compute_episode_stats, writer.embed_images, writer.np

    def of_samples(episode_data: dict[str, Any], features: dict[str, Any], *rest: Any) -> dict[str, Any]:
        return kept[0](_samples(episode_data, columns), features, *rest)

    writer.compute_episode_stats, writer.embed_images, writer.np = of_samples, _embedded, _Numpy()
    try:
        yield
    finally:
        writer.compute_episode_stats, writer.embed_images, writer.np = kept


class _Numpy:
    """NumPy, but that it stacks texts as they are."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def stack(self, arrays: Sequence[Any]) -> np.ndarray:
        """Stack arrays, or texts as objects."""
        return np.array(arrays, object) if isinstance(arrays[0], str) else np.stack(arrays)


def _embedded(dataset: Any) -> Any:
    """A table of `datasets` with the pictures in it whose names it holds."""
    import pyarrow as pa
    from datasets import Dataset
    from datasets.table import InMemoryTable, embed_table_storage

    table = dataset.with_format("arrow")[:]
    pieces = [embed_table_storage(table.slice(start, ROWS)) for start in range(0, table.num_rows, ROWS)]
    # with a name of its own, as `datasets` would make one from every byte
    return Dataset(InMemoryTable(pa.concat_tables(pieces)), fingerprint="pictures")


def _samples(episode_data: dict[str, Any], columns: tuple[Column, ...]) -> dict[str, Any]:
    """What statistics are of: by column, without rows that hold placeholders."""
    found = {name: episode_data[name] for name in INDEX_COLUMNS if name in episode_data}
    for column in columns:
        stamps = np.stack(episode_data[column.stamps]).reshape(-1, max(column.width, 1))
        if column.code in PICTURES:
            for back, name in enumerate(column.values):
                found[name] = [data for data, row in zip(episode_data[name], stamps, strict=True) if row[back] != -1]
        name = column.newest or ("" if column.width else column.value)
        if name and column.code == "numbers" and not column.varying and math.prod(column.room) <= MOST_ELEMENTS:
            found[name] = _finite(np.asarray(episode_data[name]), (stamps != -1).any(1))
    return {name: data for name, data in found.items() if len(data)}


def _finite(data: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Rows from the first sample on, without those that are not finite."""
    chosen = np.logical_or.accumulate(there)
    if data.dtype.kind == "f":
        chosen &= np.isfinite(data.reshape(len(data), -1)).all(1)
    return data[chosen].astype(np.uint8) if data.dtype == bool else data[chosen]


def require_lerobot() -> None:
    """Say what to type where lerobot is missing.

    Raises:
        StoreError: It is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("lerobot") is None:
        raise StoreError("to=lerobot needs lerobot, which is missing: pip install 'foreact[train]'")
