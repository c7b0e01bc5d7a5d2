"""The bench's figures over seeds, with intervals, and its table.

Rates are pooled over seeds with Wilson intervals; overlaps are means over seeds with intervals of Student's t. The
filter's gain is given twice: as measured, and at least, from the worse ends of both intervals.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from foreact.episodes.outcome import JSON
from foreact.episodes.statistics import paired_difference, wilson_interval

__all__ = ["mean_interval", "rows", "summary"]

# two-sided 95 % quantiles of Student's t by degrees of freedom
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
LEARNED = ("state", "pixels")


def mean_interval(values: Sequence[float]) -> dict[str, JSON]:
    """Mean over seeds with its 95 % interval; none of one seed.

    Args:
        values: One per seed, at most ten.
    """
    found: dict[str, JSON] = {"mean": statistics.fmean(values), "seeds": list(values), "low": None, "high": None}
    if len(values) > 1:
        # mean -+ t s / sqrt(n)
        quantile = STUDENT.get(len(values) - 1, 2.262)
        half = quantile * statistics.stdev(values) / math.sqrt(len(values))
        found |= {"low": statistics.fmean(values) - half, "high": statistics.fmean(values) + half}
    return found


def summary(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, JSON]:
    """All figures by name.

    Args:
        found: What each stage found, one per seed.
    """
    figures: dict[str, JSON] = {kind: _learned(found[kind]) for kind in LEARNED if kind in found}
    return {**figures, "unknown": _unknown(found["unknown"])} if "unknown" in found else figures


def _learned(seeds: Sequence[Mapping[str, Any]]) -> dict[str, JSON]:
    sets = {
        f"{figure}.{name}": mean_interval([each["sets"][name][figure] for each in seeds])
        for figure in ("iou", "iou_ahead", "missed", "false_alarms")
        for name in seeds[0]["sets"]
    }
    runs = {name: _rates([each["drives"][name] for each in seeds]) for name in seeds[0]["drives"]}
    gains = {name: _gain(seeds, name) for name in ("chase", "wander", "noisy")}
    return {**sets, "drives": runs, "gain": gains, "cpu_s": mean_interval([each["cpu_s"]["learn"] for each in seeds])}


def _unknown(seeds: Sequence[Mapping[str, Any]]) -> dict[str, JSON]:
    runs = {name: _rates([each["drives"][name] for each in seeds]) for name in seeds[0]["drives"]}
    limits = {name: _limit([each["limits"][name] for each in seeds]) for name in seeds[0]["limits"]}
    return {"drives": runs, "limits": limits, "cpu_s": mean_interval([each["cpu_s"]["learn"] for each in seeds])}


def _limit(seeds: Sequence[Mapping[str, Any]]) -> dict[str, JSON]:
    return {
        "known_above": _rate(sum(each["known_above"] for each in seeds), sum(each["known"] for each in seeds)),
        "inside_above": mean_interval([each["inside_above"] for each in seeds]),
    }


def _rates(seeds: Sequence[Mapping[str, Any]]) -> dict[str, JSON]:
    violated, reached = (_pooled(seeds, name) for name in ("violated", "reached"))
    found: dict[str, JSON] = {
        "violated": _rate(sum(violated), len(violated)),
        "reached": _rate(sum(reached), len(reached)),
        "intervened": statistics.fmean(each["intervened"] for each in seeds),
        "near_all": statistics.fmean(each["near_all"] for each in seeds),
    }
    acted = [each["near_acted"] for each in seeds if "near_acted" in each]
    return {**found, "near_acted": statistics.fmean(acted)} if acted else found


def _pooled(seeds: Sequence[Mapping[str, Any]], name: str) -> list[int]:
    return [value for each in seeds for value in each[name]]


def _rate(count: int, trials: int) -> dict[str, JSON]:
    low, high = wilson_interval(count, trials)
    return {"rate": count / trials, "low": low, "high": high, "count": count, "trials": trials}


def _gain(seeds: Sequence[Mapping[str, Any]], policy: str) -> dict[str, JSON]:
    """How many times fewer violations the filter leaves, and how much success it costs on the same starts."""
    runs = {name: [each["drives"][f"{policy}.{name}"] for each in seeds] for name in ("none", "filter")}
    bad = {name: _pooled(each, "violated") for name, each in runs.items()}
    rates = {name: _rate(sum(each), len(each)) for name, each in bad.items()}
    good = {name: [bool(value) for value in _pooled(each, "reached")] for name, each in runs.items()}
    lost = paired_difference(good["none"], good["filter"])
    none, left = rates["none"], rates["filter"]
    return {
        # where nothing was violated any more the ratio has no upper end
        "times_fewer": none["rate"] / left["rate"] if left["count"] else None,  # type: ignore[operator]
        "times_fewer_at_least": none["low"] / left["high"],  # type: ignore[operator]
        "success_lost": {"difference": lost.difference, "low": lost.low, "high": lost.high},
    }


def rows(figures: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """The table: each figure beside the control that must fail."""
    table = [row for kind in LEARNED if kind in figures for row in _learned_rows(kind, figures[kind])]
    return (*table, *(_unknown_rows(figures["unknown"]) if "unknown" in figures else ()))


CONTROLS = {"margin_only": "margin only", "low_gamma": "low gamma", "one_picture": "one picture", "none": "no filter"}


def _learned_rows(kind: str, own: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    sets = [f"{text} {_mean(own[f'iou.{name}'])}" for name, text in CONTROLS.items() if f"iou.{name}" in own]
    table = [(f"{kind}: overlap with the grid's unsafe set", _mean(own["iou.value"]), "; ".join(sets))]
    runs = {name: each["violated"] for name, each in own["drives"].items()}
    others = [f"{text} {_share(runs[f'chase.{name}'])}" for name, text in CONTROLS.items() if f"chase.{name}" in runs]
    table.append((f"{kind}: violations, straight to the goal", _share(runs["chase.filter"]), "; ".join(others)))
    reached = [own["drives"][f"chase.{name}"]["reached"] for name in ("filter", "none")]
    table.append((f"{kind}: goals reached", _share(reached[0]), f"no filter {_share(reached[1])}"))
    for policy, text in (("wander", "random actions"), ("noisy", "heading noise")):
        without = f"no filter {_share(runs[f'{policy}.none'])}"
        table.append((f"{kind}: violations, {text}", _share(runs[f"{policy}.filter"]), without))
    return table


def _unknown_rows(own: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    runs = {name: _share(each["violated"]) for name, each in own["drives"].items()}
    controls = f"without the term {runs['unaware']}; no filter {runs['none']}"
    inside = {name: _mean(each["inside_above"]) for name, each in own["limits"].items()}
    return [
        ("unknown ditch: violations", runs["aware"], controls),
        ("unknown disc: states held for unknown", inside["features"], f"five networks {inside['members']}"),
    ]


def _mean(figure: Mapping[str, Any]) -> str:
    if figure["low"] is None:
        return f"{figure['mean']:.3f}"
    return f"{figure['mean']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def _share(figure: Mapping[str, Any]) -> str:
    return f"{figure['count']}/{figure['trials']} ({100 * figure['low']:.1f} to {100 * figure['high']:.1f} %)"
