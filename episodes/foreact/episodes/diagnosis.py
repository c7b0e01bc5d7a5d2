"""What was found in a set of recordings, gathered for the table, the figures and the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from foreact.episodes.checks.finding import Finding
from foreact.episodes.checks.whole_set import Summary
from foreact.episodes.contract import PolicyContract
from foreact.episodes.examine import Examination
from foreact.episodes.outcome import JSON

__all__ = ["Diagnosis", "shortened"]

ORDER = ("grave", "remark", "note")
SHOWN = 3  # names of recordings or streams in a row


@dataclass
class Diagnosis:
    """What was found in a set of recordings.

    Attributes:
        path: Where they lie.
        format: Of what kind they are.
        keys: Their names.
        found: Findings with the recordings they are of.
        figures: Of each recording: statistics, stamps, clocks.
        examined: Recordings whose pictures and plots are shown.
        summaries: Of those that could be opened.
        samples: How many were read.
        contract: What they were held against.
        pictures: How many of a stream were looked at; 0 for all.
    """

    path: Path
    format: str
    keys: tuple[str, ...]
    found: dict[Finding, list[str]] = field(default_factory=dict)
    figures: dict[str, JSON] = field(default_factory=dict)
    examined: dict[str, Examination] = field(default_factory=dict)
    summaries: list[Summary] = field(default_factory=list)
    samples: int = 0
    contract: PolicyContract | None = None
    pictures: int = 0

    @property
    def grave(self) -> int:
        """Findings by which training would go wrong, each counted once for each recording."""
        return sum(max(len(where), 1) for each, where in self.found.items() if each.grave)

    def ordered(self) -> list[tuple[Finding, list[str]]]:
        """Findings, the gravest first."""
        return sorted(self.found.items(), key=lambda pair: ORDER.index(pair[0].severity))

    def merged(self) -> Iterator[tuple[tuple[str, str, str, tuple[str, ...]], list[str]]]:
        """Findings that differ in their stream alone: severity, rule, words and recordings, and their streams."""
        groups: dict[tuple[str, str, str, tuple[str, ...]], list[str]] = {}
        for each, where in self.ordered():
            groups.setdefault((each.severity, each.rule, each.what, tuple(where)), []).append(each.stream)
        yield from groups.items()


def shortened(names: tuple[str, ...] | list[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
