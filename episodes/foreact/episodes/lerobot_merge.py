"""One LeRobotDataset v3.0 from datasets of one episode each, some rows at a time.

lerobot's own tool reads all that it has merged again for each dataset and holds the pictures in memory.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["merge"]

FILE_BYTES = 100 << 20  # of a table, before compression
FILES = 1000  # in a folder
GROUP_BYTES = 32 << 20  # of a row group, which is what is held in memory
MOVED = ("min", "max", "mean", "q01", "q10", "q50", "q90", "q99")  # statistics that move with what is counted
DATA = "data/chunk-{:03d}/file-{:03d}.parquet"
VIDEO = "videos/{}/chunk-{:03d}/file-{:03d}.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def merge(parts: Sequence[Path], tasks: Sequence[str], out: Path) -> int:
    """Put datasets of one episode together.

    Args:
        parts: Folders, in order.
        tasks: What each episode's task is.
        out: Folder; it is emptied first.

    Returns:
        Rows of all of them.
    """
    shutil.rmtree(out, ignore_errors=True)
    merged = _Merged(out, list(dict.fromkeys(tasks)))
    for part, task in zip(parts, tasks, strict=True):
        merged.add(part, merged.tasks.index(task))
    merged.finish(parts)
    return merged.rows


class _Merged:
    """The dataset while it grows."""

    def __init__(self, out: Path, tasks: list[str]) -> None:
        self.out, self.tasks = out, tasks
        self.rows, self._episodes = 0, list[dict[str, Any]]()
        self._writer: Any = None
        self._file, self._written = -1, 0
        self._statistics: list[dict[str, Any]] = []

    def add(self, part: Path, task: int) -> None:
        """Copy an episode."""
        import pyarrow.parquet as pq

        number, first = len(self._episodes), self.rows
        count = self._copy(part, number, task)
        (row,) = pq.read_table(part / EPISODES).to_pylist()
        chunk, file = divmod(self._file, FILES)
        row |= {"episode_index": number, "data/chunk_index": chunk, "data/file_index": file}
        row |= {"dataset_from_index": first, "dataset_to_index": first + count}
        for column, by in (("episode_index", number), ("index", first), ("task_index", task)):
            row |= {
                name: [value + by for value in row[name]]
                for name in (f"stats/{column}/{each}" for each in MOVED)
                if row.get(name) is not None
            }
        for video in sorted((part / "videos").glob("*")):
            row |= self._link(part, video.name, number)
        self._episodes.append(row)

    def _copy(self, part: Path, number: int, task: int) -> int:
        """Copy rows, counted anew, some at a time: pictures of an episode may be larger than memory."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        first = self.rows
        with pq.ParquetFile(part / DATA.format(0, 0), pre_buffer=False) as file:
            if self._writer is None or self._written + _bytes(file) > FILE_BYTES:
                self._begin(file.schema_arrow)
            writer: Any = self._writer
            size = _bytes(file)
            self._written += size
            for batch in file.iter_batches(max(1, GROUP_BYTES * file.metadata.num_rows // max(size, 1))):
                table, count = pa.Table.from_batches([batch]), batch.num_rows
                new = {"episode_index": [number] * count, "task_index": [task] * count}
                new["index"] = list(range(self.rows, self.rows + count))
                for name, values in new.items():
                    place = table.schema.get_field_index(name)
                    field = table.schema.field(place)
                    table = table.set_column(place, field, pa.array(values, field.type))
                writer.write_table(table.replace_schema_metadata(_metadata(file.schema_arrow)))
                self.rows += count
        pa.default_memory_pool().release_unused()
        return self.rows - first

    def _begin(self, schema: pa.Schema) -> None:
        """Begin the next file."""
        import pyarrow.parquet as pq

        if self._writer is not None:
            self._writer.close()
        self._file, self._written = self._file + 1, 0
        path = self.out / DATA.format(*divmod(self._file, FILES))
        path.parent.mkdir(parents=True, exist_ok=True)
        # the dictionary keeps a picture that is held over several rows once for each row group
        schema = schema.with_metadata(_metadata(schema))
        self._writer = pq.ParquetWriter(path, schema, compression="snappy", use_dictionary=True)

    def _link(self, part: Path, name: str, number: int) -> dict[str, int]:
        """A video of its own for each episode: nothing is encoded twice."""
        chunk, file = divmod(number, FILES)
        path = self.out / VIDEO.format(name, chunk, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(part / VIDEO.format(name, 0, 0), path)
        except OSError:  # a file system without hard links
            shutil.copyfile(part / VIDEO.format(name, 0, 0), path)
        return {f"videos/{name}/chunk_index": chunk, f"videos/{name}/file_index": file}

    def finish(self, parts: Sequence[Path]) -> None:
        """Write what is said of all episodes."""
        import pandas as pd
        import pyarrow as pa
        import pyarrow.parquet as pq
        from lerobot.datasets.compute_stats import aggregate_stats
        from lerobot.datasets.io_utils import load_info, write_info, write_stats, write_tasks

        self._writer.close()
        # of an episode of one row lerobot's statistics are whole numbers, of others they are not
        schemas = [pq.read_schema(part / EPISODES).remove_metadata() for part in parts]
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        (self.out / EPISODES).parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(self._episodes, schema), self.out / EPISODES)
        tasks = pd.DataFrame({"task_index": range(len(self.tasks))}, index=pd.Index(self.tasks, name="task"))
        write_tasks(tasks, self.out)
        whole = aggregate_stats([_statistics(row) for row in self._episodes])
        write_stats({name: whole[name] for name in sorted(whole)}, self.out)  # theirs are in the order of a set
        info = load_info(parts[0])
        info.total_episodes, info.total_frames, info.total_tasks = len(parts), self.rows, len(self.tasks)
        info.splits = {"train": f"0:{len(parts)}"}
        write_info(info, self.out)


def _bytes(file: Any) -> int:
    """Size of a table before compression."""
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    return sum(group.total_byte_size for group in groups)


def _metadata(schema: pa.Schema) -> dict[bytes, bytes]:
    """What `datasets` says of the columns, without the name it gives to each run."""
    said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    return {b"huggingface": json.dumps({"info": {"features": said["info"]["features"]}}).encode()} if said else {}


def _statistics(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """An episode's statistics, by column."""
    import numpy as np

    found: dict[str, dict[str, Any]] = {}
    for name, values in row.items():
        if name.startswith("stats/") and values is not None:
            _, column, what = name.split("/")
            found.setdefault(column, {})[what] = np.asarray(values)
    return found
