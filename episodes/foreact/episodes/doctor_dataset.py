"""`foreact doctor dataset PATH`: what is wrong with the recordings that lie there; exit code 1 if it is grave."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from foreact.episodes.examine import Finding, Statistics, examine
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.sources import SourceError, open_collection

__all__ = ["DoctorDatasetConfig", "doctor_dataset"]

COLUMNS = ("recordings", "stream", "", "finding")
SHOWN = 3  # names of recordings in a row


@dataclass(frozen=True)
class DoctorDatasetConfig:
    """What to look at.

    Attributes:
        path: A recording, or a folder of some.
        target: "dataset".
        recordings: Which, by key; all if none is named.
    """

    path: Path
    target: str = "dataset"
    recordings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.target != "dataset":
            raise ValueError(f"doctor knows no {self.target!r}: type foreact doctor, or foreact doctor dataset PATH")


def doctor_dataset(config: DoctorDatasetConfig, progress: ProgressFn = quiet) -> Outcome:
    """Read recordings through and say what is wrong with them.

    Args:
        config: Which.
        progress: Told of each recording.

    Returns:
        One row per finding, with the recordings it is of; it counts as failed if one is grave.

    Raises:
        SourceError, FileNotFoundError: Nothing that can be opened.
        ValueError: No such recording.
    """
    collection = open_collection(config.path)
    keys = config.recordings or collection.keys()
    if unknown := [key for key in keys if key not in collection.keys()]:
        raise ValueError(f"there is no recording {', '.join(unknown)} at {config.path}")
    found: dict[Finding, list[str]] = {Finding("", False, note): [] for note in collection.notes}
    statistics: dict[str, JSON] = {}
    samples = 0
    for done, key in enumerate(keys):
        progress(done, len(keys), "read recordings")
        try:
            with collection.open(key) as source:
                findings, numbers = examine(source)
                samples += sum(len(source.stamps(name)) for name in source.streams)
        except SourceError as error:
            findings, numbers = [Finding("", True, f"cannot be opened: {error}")], {}
        for each in findings:
            found.setdefault(each, []).append(key)
        statistics[key] = {name: _plain(each) for name, each in numbers.items()}
    collection.close()
    progress(len(keys), len(keys), "read recordings")
    grave = sum(len(where) for each, where in found.items() if each.grave)
    figures: dict[str, JSON] = {
        "format": collection.format, "recordings": len(keys), "samples": samples, "grave": grave,
        "findings": [{**asdict(each), "recordings": where} for each, where in found.items()],
        "statistics": statistics,
    }  # fmt: skip
    ordered = sorted(found.items(), key=lambda pair: not pair[0].grave)
    rows = tuple((_where(where), each.stream, "grave" if each.grave else "", each.what) for each, where in ordered)
    good = ((_where(list(keys)), "", "", f"nothing is wrong in {samples} samples"),)
    return Outcome(config.path, figures, COLUMNS, rows or good, failed=grave > 0)


def _where(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more


def _plain(each: Statistics) -> JSON:
    return {name: [round(float(value), 9) for value in values.ravel()] for name, values in vars(each).items()}
