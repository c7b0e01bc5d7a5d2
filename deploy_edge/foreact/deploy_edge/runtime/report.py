"""What a control process found, as JSON.

Shape letters: T control steps, A action elements.
"""

import sys

import numpy as np

from foreact.deploy_edge.runtime.histogram import Histogram
from foreact.deploy_edge.runtime.loop import EpisodeLog
from foreact.episodes.outcome import JSON

__all__ = ["HEAVY", "episode_report", "lateness_figures", "loaded_heavy_modules"]

HEAVY = ("torch", "mujoco", "mujoco_warp", "warp", "metaworld", "lerobot", "zarr")


def loaded_heavy_modules() -> list[str]:
    """Packages in this process that a robot does not have."""
    return sorted(name for name in HEAVY if name in sys.modules)


def episode_report(log: EpisodeLog, rate_hz: float) -> dict[str, JSON]:
    """The figures of one episode.

    Args:
        log: What happened.
        rate_hz: The rate that was asked for [Hz].
    """
    inference_ms = np.array(log.inference_s or [np.nan]) * 1e3
    return {
        "success": log.success,
        "steps": log.steps,
        "seconds": round(log.seconds, 4),
        # n commands span n - 1 periods
        "rate_hz": round((log.steps - 1) / log.seconds, 3) if log.seconds else 0.0,
        "rate_wanted_hz": rate_hz,
        "misses": log.misses,
        "lateness_us": lateness_figures(log.lateness_us),
        "lateness_buckets_us": [list(bucket) for bucket in log.lateness_us.buckets()],
        "inferences": len(log.inference_s),
        "inference_ms": {
            "p50": _number(float(np.percentile(inference_ms, 50)), 3),
            "p99": _number(float(np.percentile(inference_ms, 99)), 3),
            "max": _number(float(inference_ms.max()), 3),
        },
        "delay_steps_max": max(log.delay_steps, default=0),
        "told_steps_max": max(log.told_steps, default=0),
        "later_than_told": sum(was > told > 0 for was, told in zip(log.delay_steps, log.told_steps, strict=True)),
        "starved_steps": log.starved,
        "stale_chunks": log.stale,
        "refused_actions": log.refused,
        "refusal": log.refusal,
        "seams": _seam_figures(log),
    }


def lateness_figures(histogram: Histogram) -> dict[str, JSON]:
    """Percentiles of a histogram, in its unit."""
    return {
        "p50": histogram.percentile(50),
        "p95": histogram.percentile(95),
        "p99": histogram.percentile(99),
        "max": histogram.max,
        "count": histogram.count,
    }


def _seam_figures(log: EpisodeLog) -> dict[str, JSON]:
    """Steps of the commands where plans fade into each other, beside all other steps and the gaps that were bridged."""
    size = np.abs(np.diff(log.actions[: log.steps], axis=0)).max(axis=1, initial=0.0)
    seam = log.seam[1 : log.steps]
    return {
        "count": len(log.gaps),
        "gap_max": _number(max(log.gaps, default=0.0)),
        "jump_max": _number(_largest(size[seam])),
        "normal_step_max": _number(_largest(size[~seam])),
    }


def _largest(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else 0.0


def _number(value: float, digits: int = 5) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None
