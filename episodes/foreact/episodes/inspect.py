"""`foreact inspect`: what is in an episode store or a LeRobot dataset, and whether it is intact."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreact.episodes.arrays import HEADER
from foreact.episodes.contract import FeatureSpec
from foreact.episodes.episode import EpisodeHeader
from foreact.episodes.lerobot_reader import LeRobotReader, is_lerobot
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.recording_header import parse_group
from foreact.episodes.recording_store import RecordingStore, holds_recordings
from foreact.episodes.remote import address, files_at
from foreact.episodes.store import EpisodeStore, StoreError

__all__ = ["InspectConfig", "inspect"]

_COLUMNS = ("task", "episodes", "success", "frames", "seconds", "MB", "instruction")
_MAX_PROBLEMS = 20


@dataclass(frozen=True)
class InspectConfig:
    """What to look at.

    Args:
        path: episode store or LeRobot dataset.
        verify: read and check every byte; problems end the command with an error.
        sheet: write the first frame of the first episodes of each task to this PNG file; stores only.
        episodes_per_task: images per task in the sheet.
    """

    path: Path
    verify: bool = False
    sheet: Path | None = None
    episodes_per_task: int = 6


def inspect(config: InspectConfig, progress: ProgressFn = quiet) -> Outcome:
    """Summarise a store or a LeRobot dataset, one row per task.

    Raises:
        StoreError: neither of the two, damaged, or `verify` found problems (all are listed).
    """
    version_2 = (config.path / "meta" / "episodes.jsonl").is_file()
    if is_lerobot(config.path) and not version_2:
        return _inspect_lerobot(config, progress)
    others = config.path.exists() and not _is_store(config.path)
    if others or _keeps_recordings(config.path) or address(config.path) is not None:
        return _inspect_others(config, progress)
    store = EpisodeStore.open(config.path)
    if config.verify:
        _require_intact(store, progress)
    keys = store.keys()
    headers = [store.header(key) for key in keys]
    figures: dict[str, JSON] = {
        "format": "foreact store",
        "episodes": len(keys),
        "frames": sum(_frames(header) for header in headers),
        "megabytes": round(sum(header.nbytes for header in headers) / 1e6, 3),
        "success_rate": _success_rate(headers),
        "embodiment": store.contract.embodiment,
        "contract_hash": store.contract.hash,
        "control_rate_hz": store.contract.control_rate_hz,
        "chunk_length": store.contract.chunk_length,
        "inputs": list(store.contract.input_names),
        "attributes": store.attributes,
        "verified": config.verify,
        "streams": _streams(headers),
        "ranges": _ranges(store, keys, progress),
    }
    if config.sheet is not None:
        from foreact.episodes.contactsheet import write_contact_sheet

        write_contact_sheet(store, config.sheet, config.episodes_per_task)
        figures["sheet"] = str(config.sheet)
    tasks = sorted({header.task for header in headers})
    rows = tuple(_row(task, [header for header in headers if header.task == task]) for task in tasks)
    return Outcome(config.path, figures, _COLUMNS, rows)


def _require_intact(store: EpisodeStore | RecordingStore, progress: ProgressFn) -> None:
    problems = store.verify(progress)
    if problems:
        shown = problems[:_MAX_PROBLEMS]
        more = [f"... and {len(problems) - len(shown)} more"] if len(problems) > len(shown) else []
        raise StoreError("\n  ".join([f"{store.path} has {len(problems)} problem(s):", *shown, *more]))


def _row(task: str, headers: Sequence[EpisodeHeader]) -> tuple[str, ...]:
    instructions = sorted({header.instruction for header in headers})
    sample = instructions[0] + (f" (+{len(instructions) - 1} more)" if len(instructions) > 1 else "")
    rate = _success_rate(headers)
    return (
        task,
        str(len(headers)),
        "unknown" if rate is None else f"{rate:.3f}",
        str(sum(_frames(header) for header in headers)),
        f"{sum(_seconds(header) for header in headers):.1f}",
        f"{sum(header.nbytes for header in headers) / 1e6:.2f}",
        sample,
    )


def _success_rate(headers: Sequence[EpisodeHeader]) -> float | None:
    """Share of successes among the episodes that say; None if none does (imported data may not)."""
    known = [header.success for header in headers if "success" not in _unknown(header)]
    return sum(known) / len(known) if known else None


def _unknown(header: EpisodeHeader) -> Sequence[JSON]:
    unknown = header.metadata.get("unknown", [])
    return unknown if isinstance(unknown, list) else []


def _frames(header: EpisodeHeader) -> int:
    """Camera frames of one camera, or control steps if there is no camera."""
    images = [length for name, length in header.lengths.items() if name.startswith("camera.")]
    return max(images, default=header.lengths["action"])


def _seconds(header: EpisodeHeader) -> float:
    action = header.streams["action"]
    return action.shape[0] / action.rate_hz


def _streams(headers: Sequence[EpisodeHeader]) -> dict[str, JSON]:
    """Dtype, sample shape, unit and rate of each stream; a stream that differs between episodes lists each form."""
    forms: dict[str, set[str]] = {}
    for header in headers:
        for name, stream in header.streams.items():
            form = f"{stream.dtype} {list(stream.shape[1:])} [{stream.unit}] {stream.rate_hz:g} Hz"
            forms.setdefault(name, set()).add(form)
    return {name: " | ".join(sorted(forms[name])) for name in sorted(forms)}


def _ranges(store: EpisodeStore, keys: Sequence[str], progress: ProgressFn) -> dict[str, JSON]:
    """Observed and contract range of each element of state and action, in its unit."""
    if not keys:
        return {}
    ranges: dict[str, JSON] = {}
    for done, spec in enumerate((store.contract.state, store.contract.action)):
        progress(done, 2, f"read {spec.name}")
        out = np.empty((int(store.lengths(keys, spec.name).sum()), *spec.shape), np.float32)
        store.read_into(keys, spec.name, out)
        ranges[spec.name] = _element_ranges(spec, out)
    progress(2, 2, "read")
    return ranges


def _element_ranges(spec: FeatureSpec, values: np.ndarray) -> dict[str, JSON]:
    low, high = values.min(axis=0), values.max(axis=0)
    return {
        element: {
            "unit": spec.units[i],
            "min": float(low[i]),
            "max": float(high[i]),
            "contract": [spec.low[i], spec.high[i]],
        }
        for i, element in enumerate(spec.elements)
    }


def _is_store(path: Path) -> bool:
    """Whether a Zarr group is ours, or so damaged that only the store's reader can say so."""
    header = path / "zarr.json"
    return header.is_file() and (b'"foreact"' in header.read_bytes() or (path / "episodes").is_dir())


def _inspect_others(config: InspectConfig, progress: ProgressFn) -> Outcome:
    from foreact.episodes.inspect_recordings import inspect_recordings

    if config.sheet is not None:
        raise StoreError("sheet= works on episode stores only")
    if config.verify and _keeps_recordings(config.path):
        _require_intact(RecordingStore.open(config.path), progress)
    return inspect_recordings(config.path, progress, verify=config.verify)


def _keeps_recordings(path: Path) -> bool:
    """Whether a folder or address is a store of recordings, so far as its root can be read."""
    if address(path) is None and not (path / "episodes").is_dir():
        return False
    try:
        return holds_recordings(parse_group(files_at(path), HEADER))
    except (StoreError, OSError):
        return False  # its reader tells what is wrong


def _inspect_lerobot(config: InspectConfig, progress: ProgressFn) -> Outcome:
    """Streams as of any recording, and what the dataset says of itself."""
    from foreact.episodes.inspect_recordings import inspect_recordings

    if config.sheet is not None:
        hint = f"convert it first: foreact convert source={config.path} out=STORE to=store"
        raise StoreError(f"sheet= works on episode stores only; {hint}")
    reader = LeRobotReader.open(config.path)
    problems = reader.verify() if config.verify else []
    if problems:
        raise StoreError("\n  ".join([f"{config.path} has {len(problems)} problem(s):", *problems]))
    episodes = reader.episodes()
    frames = sum(episode.length for episode in episodes)
    figures: dict[str, JSON] = {
        "format": "LeRobotDataset v3.0",
        "episodes": len(episodes),
        "frames": frames,
        "frame_rate_hz": reader.fps,
        "megabytes": round(reader.nbytes() / 1e6, 3),
        "robot_type": reader.robot_type,
        "features": {name: f"{f.dtype} {list(f.shape)}" for name, f in reader.features.items()},
        "verified": config.verify,
    }
    tasks = {}
    for task in sorted({episode.instruction for episode in episodes}):
        lengths = [episode.length for episode in episodes if episode.instruction == task]
        tasks[task] = {"episodes": len(lengths), "frames": sum(lengths), "seconds": round(sum(lengths) / reader.fps, 3)}
    shown = inspect_recordings(config.path, progress, verify=False)
    rows = tuple(("task", task, *[""] * (len(shown.columns) - 2)) for task in tasks)
    return Outcome(config.path, {**shown.figures, **figures, "tasks": tasks}, shown.columns, (*shown.rows, *rows))
