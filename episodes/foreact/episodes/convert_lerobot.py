"""`foreact convert to=lerobot` of recordings: a LeRobotDataset v3.0, an episode for each, opened again and compared."""

from __future__ import annotations

import contextlib
import glob
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from foreact.episodes.arrays import StoreError
from foreact.episodes.convert_parts import chosen, differences, dropped, require_drops, without
from foreact.episodes.convert_work import model_digest, place
from foreact.episodes.lerobot_check import psnr, require_same_in_lerobot
from foreact.episodes.lerobot_merge import merge
from foreact.episodes.lerobot_part import require_lerobot, write_part
from foreact.episodes.lerobot_sidecar import own_recordings, plan_figures
from foreact.episodes.outcome import JSON, ProgressFn
from foreact.episodes.partial import PartialFolder
from foreact.episodes.recording_plan import Plan, planned
from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.sources import Collection, Source, open_collection
from foreact.episodes.sources.lerobot_own import SIDECAR

__all__ = ["convert_lerobot"]


def convert_lerobot(
    source: Path,
    out: Path,
    recordings: Sequence[str],
    drop: Sequence[str],
    *,
    driver: str | float = "",
    video: bool = False,
    verify: bool = True,
    workers: int = 1,
    anonymise: Path | None = None,
    progress: ProgressFn,
) -> dict[str, JSON]:
    """Write recordings as one LeRobot dataset; stopped at any point, the same call goes on and gives the same bytes.

    Args:
        source: Of any format that `foreact.episodes.sources` knows.
        out: A folder that does not exist; it appears when all is written and compared.
        recordings: Which, by key; all if none is named.
        drop: Names or patterns of streams to leave out.
        driver: A row at each sample of this stream, or so many rows a second; by default the camera with most
            pictures, or without one the stream with most samples.
        video: Pictures of 8 bits as AV1 video, small and lossy, instead of PNG.
        verify: Open the dataset again, with lerobot and with our reader, and compare all of it with the source.
        workers: Processes that write.
        anonymise: Model that finds what is to be blurred.
        progress: Told of each recording, for each stage.

    Returns:
        Figures: recordings, rows, streams, samples, what each row is, what was left out and why, what is lossy.

    Raises:
        StoreError: `out` exists, a pattern fits nothing, a stream does not fit, or what was written is not what was
            read.
        SourceError: The source is damaged, or has no such recording.
    """
    require_lerobot()
    with contextlib.suppress(ValueError):
        driver = float(driver)
    asked: dict[str, JSON] = {
        "source": place(source), "to": "lerobot", "recordings": list(recordings), "drop": list(drop),
        "driver": driver, "video": video, "anonymise": model_digest(anonymise),
    }  # fmt: skip
    if out.exists():
        raise StoreError(f"{out} exists; choose another out= or delete it")
    with _Job.at(source, tuple(drop), anonymise) as job:
        keys = chosen(job.collection, recordings)
        plan = job.plan(keys, driver, video, progress)  # before anything is written, as it may refuse
        folder = PartialFolder(out, asked)
        figures = job.run(folder, [key for key in keys if key in plan.driver], plan, verify, workers, progress)
    size = sum(path.stat().st_size for path in folder.content.rglob("*") if path.is_file())
    folder.finish()
    return {**figures, "megabytes": round(size / 1e6, 3)}


@dataclass(frozen=True)
class _Job:
    """What is converted; `gone` are streams that were dropped, `hidden` those that anonymise left out and why."""

    source: Path
    drop: tuple[str, ...]
    anonymise: Path | None
    collection: Collection
    gone: set[str] = field(default_factory=set)
    hidden: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextlib.contextmanager
    def at(cls, source: Path, drop: tuple[str, ...], anonymise: Path | None) -> Iterator[_Job]:
        """Open the source."""
        with contextlib.closing(open_collection(source)) as collection:
            yield cls(source, drop, anonymise, collection)

    @contextlib.contextmanager
    def opened(self, key: str) -> Iterator[Source]:
        """A recording as it is to be written."""
        whole = self.collection.open(key)
        self.gone.update(dropped(whole, self.drop))
        with without(whole, self.drop) as source:
            if self.anonymise is None:
                yield source
                return
            from foreact.episodes.anonymise import anonymised

            shown = anonymised(source, self.anonymise)
            for name in source.streams.keys() - shown.streams.keys():
                self.hidden[name] = next((note for note in shown.notes if note.startswith(f"{name} ")), name)
            yield shown

    def plan(self, keys: Sequence[str], driver: str | float, video: bool, progress: ProgressFn) -> Plan:
        """Look through the recordings."""
        look = [(key, partial(self.opened, key)) for key in keys]
        plan = planned(look, driver, video, lambda done: progress(done, len(keys), "look through"))
        require_drops(self.drop, self.gone, self.source)
        return plan

    def run(
        self, folder: PartialFolder, keys: Sequence[str], plan: Plan, verify: bool, workers: int, progress: ProgressFn
    ) -> dict[str, JSON]:
        """Write each, put together, compare."""
        parts = [folder.folder / "parts" / f"{number:05d}" for number in range(len(keys))]
        self._write([pair for pair in zip(keys, parts, strict=True) if not pair[1].exists()], plan, workers, progress)
        own, counts = own_recordings(self.collection, keys, self.opened, plan)
        rows = merge(parts, [each.task for each in own.recordings], folder.content)
        write_json_atomic(folder.content / SIDECAR, asdict(own))
        found: dict[str, JSON] = {"recordings": len(keys), "rows": rows, **counts, "dropped": sorted(self.gone)}
        found |= plan_figures(plan, [self.hidden[name] for name in sorted(self.hidden)])
        return {**found, **(self._compare(folder, keys, plan, progress) if verify else {})}

    def _write(self, todo: list[tuple[str, Path]], plan: Plan, workers: int, progress: ProgressFn) -> None:
        if workers < 2 or len(todo) < 2:
            for done, (key, part) in enumerate(todo):
                progress(done, len(todo), "write")
                with self.opened(key) as source:
                    write_part(source, key, plan, part)
            return
        apart = partial(_write_apart, self.source, self.drop, self.anonymise, plan)
        # a new interpreter each: what lerobot imports does not survive a fork
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(todo)), mp_context=context) as pool:
            for done, job in enumerate(as_completed([pool.submit(apart, *pair) for pair in todo])):
                job.result()
                progress(done + 1, len(todo), "write")

    def _compare(self, folder: PartialFolder, keys: Sequence[str], plan: Plan, progress: ProgressFn) -> dict[str, JSON]:
        """Open what was written again; a difference is an error, but for video, whose distance is measured."""
        try:
            sources = {key: partial(self.opened, key) for key in keys}
            told = partial(_tell, progress, len(keys))
            require_same_in_lerobot(folder.content, plan, sources, folder.folder / "cache", told)
            distances = self._way_back(folder.content, keys, plan, progress)
        except StoreError as error:
            raise StoreError(f"{error}; {folder.folder} is left to look at: delete it to start again") from error
        compared: dict[str, JSON] = {"compared": "every row in lerobot, every stamp and sample on the way back"}
        if distances:
            compared["compared"] = f"{compared['compared']}; pictures in video by their PSNR"
            compared["lossy"] = [f"{name}: PSNR {each:.2f} dB" for name, each in distances.items()]
        return compared

    def _way_back(self, path: Path, keys: Sequence[str], plan: Plan, progress: ProgressFn) -> dict[str, float]:
        """PSNR of the recording in which it is least, by stream that was written as video."""
        lossy = {column.stream for column in plan.columns if column.lossy}
        distances: dict[str, float] = {}
        with contextlib.closing(open_collection(path)) as again:
            for done, key in enumerate(keys):
                progress(done, len(keys), "compare the way back")
                with self.opened(key) as source, again.open(key) as written:
                    hidden = [glob.escape(name) for name in (*plan.left_out[key], *lossy)]
                    found = differences(without(source, hidden), without(written, hidden), exact=True)
                    if found:
                        raise StoreError(f"{key} is not what was read: {'; '.join(found[:5])}")
                    for name in sorted(lossy & written.streams.keys()):
                        distances[name] = min(psnr(source, written, name), distances.get(name, float("inf")))
        progress(len(keys), len(keys), "compare the way back")
        return distances


def _tell(progress: ProgressFn, total: int, done: int) -> None:
    progress(done, total, "compare in lerobot")


def _write_apart(path: Path, drop: tuple[str, ...], anonymise: Path | None, plan: Plan, key: str, part: Path) -> None:
    with _Job.at(path, drop, anonymise) as job, job.opened(key) as source:
        write_part(source, key, plan, part)
