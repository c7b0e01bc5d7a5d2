"""`foreact replay PATH into=gripper` and `into=hand`: what a person's hand did, as a robot would do it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.sources import Source, SourceError, open_collection
from foreact.episodes.staging import staged_folder
from foreact.sim.retarget.config import GripperConfig, HandConfig, RetargetConfig
from foreact.sim.retarget.hand_track import hand_track

__all__ = ["Found", "retarget", "retarget_gripper", "retarget_hand"]


@dataclass(frozen=True)
class Found:
    """What came of one recording.

    Attributes:
        figures: For the report.
        row: For the table.
        write: Writes streams and pictures into a folder.
    """

    figures: dict[str, JSON]
    row: tuple[str, ...]
    write: Callable[[Path], None]


def retarget(config: RetargetConfig, progress: ProgressFn = quiet) -> Outcome:
    """Retarget the hands of recordings.

    Args:
        config: A `GripperConfig` or `HandConfig`.
        progress: Told of recordings.

    Returns:
        A row per recording.

    Raises:
        SourceError: Nothing that can be opened, or no hand that can be used.
        ValueError: No such recording or robot, or keys that do not fit.
        FileExistsError: There is something at `out` already.
        ModuleNotFoundError: A package is not installed; the message says what to type.
    """
    if isinstance(config, GripperConfig):
        return retarget_gripper(config, progress)
    if isinstance(config, HandConfig):
        return retarget_hand(config, progress)
    raise ValueError(f"into={config.into!r} is neither gripper nor hand")


def retarget_gripper(config: GripperConfig, progress: ProgressFn = quiet) -> Outcome:
    """See `retarget`."""
    from foreact.sim.retarget.into_gripper import COLUMNS, into_gripper

    return _run(config, progress, COLUMNS, lambda source: into_gripper(config, source))


def retarget_hand(config: HandConfig, progress: ProgressFn = quiet) -> Outcome:
    """See `retarget`."""
    from foreact.sim.retarget.into_hand import COLUMNS, into_hand

    return _run(config, progress, COLUMNS, lambda source: into_hand(config, source))


def _run(
    config: RetargetConfig, progress: ProgressFn, columns: tuple[str, ...], one: Callable[[Source], Found]
) -> Outcome:
    out = config.out
    if out is not None and out.exists():
        raise FileExistsError(f"{out} exists; choose another out= or delete it")
    figures: dict[str, JSON] = {}
    rows: list[tuple[str, ...]] = []
    with ExitStack() as stack:
        collection = open_collection(config.path)
        stack.callback(collection.close)
        keys = config.recordings or _first_with_hand(config, collection.keys(), collection.open)
        if unknown := [key for key in keys if key not in collection.keys()]:
            raise ValueError(
                f"there is no recording {', '.join(unknown)}; there are {', '.join(collection.keys()[:20])}"
            )
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
        folder = stack.enter_context(staged_folder(out)) if out is not None else None
        for done, key in enumerate(keys):
            progress(done, len(keys), "retarget")
            with collection.open(key) as source:
                found = one(source)
                if folder is not None:
                    place = folder if len(keys) == 1 else folder / _folder_name(key)
                    place.mkdir(exist_ok=True)
                    found.write(place)
            figures[key] = found.figures
            rows += [(key, *found.row)]
            rows += [(str(note), *[""] * (len(columns) - 1)) for note in _notes(found)]
        progress(len(keys), len(keys), "retarget")
        report: dict[str, JSON] = {"into": config.into, "recordings": figures}
        if folder is not None:
            write_json_atomic(folder / "report.json", report)
    return Outcome(out or config.path, report, columns, tuple(rows))


def _notes(found: Found) -> list[str]:
    notes = found.figures["notes"]
    return [str(note) for note in notes] if isinstance(notes, list | tuple) else []


def _first_with_hand(config: RetargetConfig, keys: tuple[str, ...], opened: Callable[[str], Source]) -> tuple[str, ...]:
    """The first recording that has a hand that can be used; beside hands a folder may hold their video."""
    if not keys:
        raise SourceError(f"{config.path} holds no recording")
    for key in keys:
        with contextlib.suppress(SourceError), opened(key) as source:
            hand_track(source, config.stream, config.side, config.order, config.mirrored)
            return (key,)
    return keys[:1]  # it will say what it lacks


def _folder_name(key: str) -> str:
    name = "".join(each if each.isalnum() or each in "-_." else "_" for each in key).lstrip(".")
    return name or "recording"
