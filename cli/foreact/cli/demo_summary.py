"""The figures of a demo: `summary.json`, and the table that ends it."""

from collections.abc import Mapping
from typing import Any

from foreact.cli.commands import Report
from foreact.cli.demo_folder import DemoError
from foreact.cli.demo_ledger import Ledger
from foreact.episodes.outcome import JSON

__all__ = ["summarise", "summary_rows"]

MEGABYTE = 1_000_000


def summarise(outcomes: Mapping[str, Report], ledger: Ledger, record: Mapping[str, Any]) -> dict[str, JSON]:
    """Collect the figures that tell how the demo went.

    Args:
        outcomes: What each stage reported, by stage name.
        ledger: Seconds and memory over all attempts.
        record: The demo's `run.json`.

    Raises:
        DemoError: A figure is missing, or the two evaluations were not of the same layouts.
    """
    full, quantised = outcomes["eval"], outcomes["eval int8"]
    if _figure(full, "protocol_hash") != _figure(quantised, "protocol_hash"):
        raise DemoError(
            "demo: the fp32 and the int8 policy were evaluated by different protocols; their figures differ"
        )
    total = ledger.total
    return {
        "success_mean": _figure(full, "success_mean"),
        "success_per_task": _per_task(full),
        "success_interval": _figure(full, "success_interval"),
        "success_int8_mean": _figure(quantised, "success_mean"),
        "success_int8_per_task": _per_task(quantised),
        "size_ratio": _figure(outcomes["compress"], "size_ratio"),
        "parity_min_cosine": min(_figure(outcomes[name], "parity_min_cosine") for name in ("export", "compress")),
        "latency_ratio_int8": _figure(outcomes["compress"], "latency_ratio_int8"),
        "cpu_seconds": round(total.cpu_s, 1),
        "wall_seconds": round(total.wall_s, 1),
        "peak_rss_mb": round(ledger.peak_bytes / MEGABYTE, 1),
        "stages": {
            name: {"wall_s": round(cost.wall_s, 2), "cpu_s": round(cost.cpu_s, 2)}
            for name, cost in ledger.stages.items()
        },
        "lateness": _lateness(outcomes["run"]),
        "machine": record["machine"],
        "versions": record["packages"],
        "git": record["git"],
        "seeds": _seeds(record["config"]),
        "protocol_hash": _figure(full, "protocol_hash"),
    }


def summary_rows(summary: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The table that ends a demo.

    Args:
        summary: See `summarise`.
    """
    low, high = summary["success_interval"]
    worst = min(summary["success_per_task"].items(), key=lambda item: item[1])
    return (
        ("success, fp32", f"{summary['success_mean']:.3f} ({low:.2f} to {high:.2f})"),
        ("success, int8", f"{summary['success_int8_mean']:.3f}"),
        ("weakest task", f"{worst[0]} {worst[1]:.2f}"),
        ("size, fp32 / int8", f"{summary['size_ratio']:.2f}"),
        ("smallest cosine to the policy", f"{summary['parity_min_cosine']:.5f}"),
        ("speed, int8 / torch", f"{summary['latency_ratio_int8']:.1f}"),
        ("wall clock", f"{summary['wall_seconds']:.0f} s"),
        ("CPU", f"{summary['cpu_seconds']:.0f} s"),
        ("peak memory", f"{summary['peak_rss_mb']:.0f} MB"),
    )


def _figure(outcome: Report, name: str) -> Any:
    try:
        return outcome.figures[name]
    except KeyError:
        raise DemoError(
            f"demo: {outcome.path} was written without the figure {name}; it has {sorted(outcome.figures)}"
        ) from None


def _per_task(outcome: Report) -> dict[str, float]:
    return {task: entry["success"] for task, entry in _figure(outcome, "success_per_task").items()}


def _lateness(run: Report) -> dict[str, JSON]:
    """How late control ticks began: percentiles and buckets [us], and how many missed their whole period."""
    names = ("rate_wanted_hz", "rate_hz", "steps", "misses")
    kept = {name: _figure(run, name) for name in names}
    return {**kept, "percentiles_us": _figure(run, "lateness_us"), "buckets_us": _figure(run, "lateness_buckets_us")}


def _seeds(config: Mapping[str, Any]) -> dict[str, JSON]:
    seed = config["seed"]
    return {"record": seed, "calibration": seed, "train": seed, "eval": seed, "run": seed}
