"""`foreact doctor dataset PATH`: what is wrong with the recordings that lie there; exit code 1 if it is grave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from foreact.episodes.checks.clocks import ClockLine
from foreact.episodes.checks.ranges import read_contract
from foreact.episodes.checks.whole_set import check_set
from foreact.episodes.contract import PolicyContract
from foreact.episodes.diagnosis import Diagnosis, shortened
from foreact.episodes.examine import Asked, Examination, Finding, Statistics, examine
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.sources import Collection, SourceError, open_collection
from foreact.episodes.timeline import Health

__all__ = ["DoctorDatasetConfig", "doctor_dataset"]

COLUMNS = ("severity", "recordings", "stream", "finding", "what to do")
SINGLY = 8  # recordings up to which progress is told for each
MOST_ELEMENTS = 256  # of a stream whose statistics are written: an embedding's would fill the file
PAGES = 12  # recordings whose pictures and plots are on the page


@dataclass(frozen=True)
class DoctorDatasetConfig:
    """What to look at.

    Attributes:
        path: A recording, or a folder of some.
        target: "dataset".
        recordings: Which, by key; all if none is named.
        contract: JSON file of a contract, or a store that has one, that numbers and pictures are held against; a store
            is held against its own.
        pictures: How many of each stream are looked at, in stretches over the recording; 0 for all.
        out: Folder for report.json and report.html; none is written without it.
    """

    path: Path
    target: str = "dataset"
    recordings: tuple[str, ...] = ()
    contract: Path | None = None
    pictures: int = 3000
    out: Path | None = None

    def __post_init__(self) -> None:
        if self.target != "dataset":
            raise ValueError(f"doctor knows no {self.target!r}: type foreact doctor, or foreact doctor dataset PATH")
        if self.pictures < 0:
            raise ValueError(f"pictures={self.pictures}: give 0 for all, or how many of each stream to look at")


def doctor_dataset(config: DoctorDatasetConfig, progress: ProgressFn = quiet) -> Outcome:
    """Read recordings through and say what is wrong with them.

    Args:
        config: Which.
        progress: Told of samples or recordings.

    Returns:
        One row per finding, with the recordings it is of; it counts as failed if one is grave.

    Raises:
        SourceError, FileNotFoundError: Nothing that can be opened.
        ContractError: No contract where one was named.
        ValueError: No such recording, or `out` holds something else.
        ModuleNotFoundError: The page needs packages that are not installed; the message says what to type.
    """
    if config.out is not None:
        from foreact.episodes.doctor_report import require_free, write_report

        require_free(config.out)
        diagnosis = _diagnose(config, progress)
        write_report(config.out, diagnosis, figures := _figures(diagnosis))
        return Outcome(config.out, figures, COLUMNS, _rows(diagnosis), failed=diagnosis.grave > 0)
    diagnosis = _diagnose(config, progress)
    return Outcome(config.path, _figures(diagnosis), COLUMNS, _rows(diagnosis), failed=diagnosis.grave > 0)


def _diagnose(config: DoctorDatasetConfig, progress: ProgressFn) -> Diagnosis:
    collection = open_collection(config.path)
    try:
        keys = config.recordings or collection.keys()
        if unknown := [key for key in keys if key not in collection.keys()]:
            raise ValueError(f"there is no recording {', '.join(unknown)} at {config.path}")
        diagnosis = Diagnosis(config.path, collection.format, tuple(keys), pictures=config.pictures)
        diagnosis.contract = _contract(config, collection)
        diagnosis.found = {Finding("", "note", "note", note): [] for note in collection.notes}
        for done, key in enumerate(keys):
            if len(keys) > SINGLY:
                progress(done, len(keys), "read recordings")
            _examine_one(diagnosis, collection, key, config, progress if len(keys) <= SINGLY else quiet)
    finally:
        collection.close()
    if len(keys) > SINGLY:
        progress(len(keys), len(keys), "read recordings")
    for each, where in check_set(diagnosis.summaries):
        diagnosis.found.setdefault(each, []).extend(where)
    return diagnosis


def _contract(config: DoctorDatasetConfig, collection: Collection) -> PolicyContract | None:
    if config.contract is not None:
        return read_contract(config.contract)
    return read_contract(config.path) if collection.format == "foreact" else None


def _examine_one(
    diagnosis: Diagnosis, collection: Collection, key: str, config: DoctorDatasetConfig, progress: ProgressFn
) -> None:
    asked = Asked(diagnosis.contract, config.pictures, show=config.out is not None)
    try:
        with collection.open(key) as source:
            examined = examine(source, asked, progress)
    except SourceError as error:
        opened = Finding("", "grave", "unreadable", f"cannot be opened: {error}")
        diagnosis.found.setdefault(opened, []).append(key)
        return
    for each in dict.fromkeys(examined.findings):
        diagnosis.found.setdefault(each, []).append(key)
    diagnosis.samples += examined.samples
    diagnosis.summaries.append(replace(examined.summary, key=key))  # a folder of folders has longer names
    diagnosis.figures[key] = {
        "length": examined.summary.length,
        "success": examined.summary.success,
        "statistics": {
            name: _plain(each) for name, each in examined.statistics.items() if len(each.low) <= MOST_ELEMENTS
        },
        "stamps": {name: _stamped(each) for name, each in examined.stamps.items()},
        "clocks": [_clock(each) for each in examined.clocks],
    }
    if config.out is not None:
        _keep_for_page(diagnosis, key, examined)


def _keep_for_page(diagnosis: Diagnosis, key: str, examined: Examination) -> None:
    """The page has room for some recordings: those with grave findings come first, then the first ones."""
    diagnosis.examined[key] = examined
    if len(diagnosis.examined) > PAGES:
        sound = [name for name, each in diagnosis.examined.items() if not any(one.grave for one in each.findings)]
        diagnosis.examined.pop(sound[-1] if sound else key)


def _figures(diagnosis: Diagnosis) -> dict[str, JSON]:
    return {
        "format": diagnosis.format, "recordings": len(diagnosis.keys), "samples": diagnosis.samples,
        "grave": diagnosis.grave, "pictures_looked_at": diagnosis.pictures or "all",
        "contract": diagnosis.contract.hash if diagnosis.contract else None,
        "findings": [
            {
                "severity": each.severity, "rule": each.rule, "stream": each.stream, "what": each.what,
                "advice": each.advice, "recordings": where,
            }
            for each, where in diagnosis.ordered()
        ],
        "per_recording": diagnosis.figures,
    }  # fmt: skip


def _rows(diagnosis: Diagnosis) -> tuple[tuple[str, ...], ...]:
    """Findings of the same words share a row; advice is given once."""
    rows: list[tuple[str, ...]] = []
    told: set[str] = set()
    for (severity, rule, what, where), streams in diagnosis.merged():
        advice = "" if rule in told else next(each.advice for each in diagnosis.found if each.rule == rule)
        told.add(rule)
        rows.append((severity, shortened(where), shortened(streams), what, advice))
    good = f"nothing is wrong in {diagnosis.samples} samples"
    return tuple(rows) or (("", shortened(diagnosis.keys), "", good, ""),)


def _plain(each: Statistics) -> JSON:
    return {name: [round(float(value), 9) for value in values.ravel()] for name, values in vars(each).items()}


def _stamped(each: Health) -> dict[str, JSON]:
    span = each.last_ns - each.first_ns
    return {
        "count": each.count, "first_ns": each.first_ns, "last_ns": each.last_ns, "median_rate_hz": each.rate_hz,
        "mean_rate_hz": (each.count - 1) * 1e9 / span if span > 0 else 0.0, "gaps": each.gaps,
        "longest_gap_ns": each.longest_gap_ns, "equal": each.duplicates, "out_of_order": each.out_of_order,
    }  # fmt: skip


def _clock(line: ClockLine) -> Mapping[str, JSON]:
    return {
        "stream": line.stream, "other": line.other, "clock": line.clock, "pairs": line.count, "ppm": line.ppm,
        "ppm_error": line.ppm_error if math.isfinite(line.ppm_error) else None, "offset_ns": line.offset_ns,
        "spread_ns": line.spread_ns, "step_ns": line.step_ns,
    }  # fmt: skip
