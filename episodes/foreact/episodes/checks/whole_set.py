"""Faults that show between recordings: short ones, copies, failures, streams that some lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foreact.episodes.checks.finding import Finding

__all__ = ["Summary", "check_set"]

SHORT = 0.5  # of the median length
NEEDS = 4  # recordings from which a median says something


@dataclass(frozen=True)
class Summary:
    """What is kept of one recording to compare it with the others.

    Attributes:
        key: Its name.
        length: Its length [s], or in steps where clocks only count.
        success: Whether the task was done; None where the recording does not say.
        rewarded: Whether any reward is above 0; None without rewards.
        streams: Kind, shape, type, unit and elements of each stream as text.
        mark: Checksum of its numbers; 0 where there are none.
    """

    key: str
    length: float
    success: bool | None
    rewarded: bool | None
    streams: Mapping[str, str]
    mark: int


def check_set(summaries: Sequence[Summary]) -> Iterator[tuple[Finding, list[str]]]:
    """What is wrong between recordings, with the keys of those it is of.

    Args:
        summaries: Of all recordings that could be opened.
    """
    yield from _short(summaries)
    yield from _failed(summaries)
    yield from _copies(summaries)
    yield from _different(summaries)


def _short(summaries: Sequence[Summary]) -> Iterator[tuple[Finding, list[str]]]:
    lengths = np.array([each.length for each in summaries])
    if len(lengths) < NEEDS or not (middle := float(np.median(lengths))):
        return
    for each in summaries:
        if each.length < SHORT * middle:
            what = f"is {each.length:.4g} long, half of the {len(lengths)} recordings are longer than {middle:.4g}"
            yield Finding("", "remark", "short", what), [each.key]


def _failed(summaries: Sequence[Summary]) -> Iterator[tuple[Finding, list[str]]]:
    known = [each for each in summaries if each.success is not None]
    failed = [each.key for each in known if not each.success]
    if failed:
        never = len(failed) == len(known) > 1
        what = f"success is not reached in {len(failed)} of the {len(known)} recordings that say how they ended"
        yield Finding("", "grave" if never else "remark", "outcome", what), failed
    paid = [each for each in summaries if each.success is None and each.rewarded is not None]
    poor = [each.key for each in paid if not each.rewarded]
    if poor:
        what = f"no reward is above 0 in {len(poor)} of {len(paid)} recordings: their success cannot be told"
        yield Finding("", "remark", "outcome", what), poor


def _copies(summaries: Sequence[Summary]) -> Iterator[tuple[Finding, list[str]]]:
    marks = Counter(each.mark for each in summaries if each.mark)
    for mark, count in marks.items():
        if count > 1:
            keys = [each.key for each in summaries if each.mark == mark]
            yield Finding("", "remark", "copies", f"{count} recordings hold the same numbers"), keys


def _different(summaries: Sequence[Summary]) -> Iterator[tuple[Finding, list[str]]]:
    if len(summaries) < NEEDS:
        return
    names = Counter(name for each in summaries for name in each.streams)
    for name, count in names.items():
        if count < len(summaries) and count > len(summaries) / 2:
            lacking = [each.key for each in summaries if name not in each.streams]
            yield Finding(name, "remark", "differs", f"{len(lacking)} of {len(summaries)} recordings lack it"), lacking
        forms = Counter(each.streams[name] for each in summaries if name in each.streams)
        usual, most = forms.most_common(1)[0]
        if len(forms) > 1 and most > count / 2:
            odd = [each.key for each in summaries if each.streams.get(name, usual) != usual]
            other = next(each.streams[name] for each in summaries if each.key == odd[0])
            yield Finding(name, "grave", "differs", f"is {other}, in most recordings {usual}"), odd
