"""The figures of `foreact bench edge`: what was measured of each policy, and what all of them say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.cli.bench_edge_plan import VARIANTS, Files
from foreact.cli.bench_edge_start import LARGE, cold_starts
from foreact.deploy_edge.latency import Latency
from foreact.episodes.outcome import ProgressFn
from foreact.episodes.statistics import paired_difference, wilson_interval

if TYPE_CHECKING:
    from foreact.cli.bench_edge import EdgeBenchConfig

__all__ = ["Measured", "columns", "figures_of", "rows_of"]

POINTS = 100.0


@dataclass(frozen=True)
class Measured:
    """One policy.

    Attributes:
        policy: Run folder of its training.
        reports: Figures of every command, by stage.
        bytes: File size of each variant.
        outcomes: Success of every episode of each variant, by (task, index).
        latency: Times of one inference, by way of asking.
        not_run: Ways that could not be timed, and why.
        starts: Cold starts in fresh processes, by model.
    """

    policy: Path
    reports: Mapping[str, Mapping[str, Any]]
    bytes: Mapping[str, int]
    outcomes: Mapping[str, Mapping[tuple[str, int], bool]]
    latency: Mapping[str, Latency]
    not_run: Mapping[str, str]
    starts: Mapping[str, Mapping[str, float]]

    @classmethod
    def of(
        cls,
        files: Files,
        policy: Path,
        data: Path,
        reports: Mapping[str, Mapping[str, Any]],
        config: EdgeBenchConfig,
        progress: ProgressFn,
    ) -> Measured:
        """Read what the stages wrote, and time it.

        Args:
            files: Where the stages wrote.
            policy: Run folder of the policy.
            data: Held-out store.
            reports: Figures of the stages.
            config: Of the benchmark.
            progress: Told of the timings.
        """
        from foreact.cli.bench_edge_latency import time_inference
        from foreact.deploy_edge.observations import draw_observations
        from foreact.vla.checkpoint import load_policy
        from foreact.vla.evaluate import load_results

        progress(0, 2, "time inference")
        trained = load_policy(policy)
        inputs = draw_observations(data, trained.contract, 1, config.seed, "held out")[0]
        timed = {name: path for name, path in files.models.items() if name != "naive"}
        latency, not_run = time_inference(trained, timed, inputs, config.rounds)
        progress(1, 2, "cold starts")
        starts = cold_starts(files, policy, data, config.starts)
        outcomes = {
            name: {(row["task"], row["index"]): bool(row["success"]) for row in load_results(files.evaluation(name))}
            for name in VARIANTS
        }
        sizes = {name: path.stat().st_size for name, path in files.models.items()}
        return cls(policy, reports, sizes, outcomes, latency, not_run, starts)

    def paired(self, variant: str) -> list[tuple[bool, bool]]:
        """Success of the exported policy and of a variant on the layouts that both had."""
        mine, fp32 = self.outcomes[variant], self.outcomes["fp32"]
        return [(fp32[key], mine[key]) for key in sorted(mine)]

    def ratio(self, slow: str, fast: str) -> float:
        """CPU time of one way over that of another."""
        return self.latency[slow].cpu_ms / self.latency[fast].cpu_ms


def figures_of(measured: Sequence[Measured], config: EdgeBenchConfig) -> dict[str, Any]:
    """Sizes, speeds and parity of the worst policy, success of all together.

    Args:
        measured: Every policy.
        config: Of the benchmark.
    """
    losses = {name: _loss([pair for each in measured for pair in each.paired(name)]) for name in VARIANTS[1:]}
    pruned = losses["pruned-int8"]
    int8 = [each.reports["int8"] for each in measured]
    ratios = {
        "latency_ratio_fp32": ("torch", "onnxruntime fp32"),
        "latency_ratio_int8": ("torch", "onnxruntime int8"),
        "latency_ratio_pruned_int8": ("torch", "onnxruntime pruned-int8"),
        "latency_ratio_int8_compile": ("torch_compile", "onnxruntime int8"),
        "latency_ratio_pruned_int8_compile": ("torch_compile", "onnxruntime pruned-int8"),
        "latency_ratio_openvino_int8": ("torch", "openvino int8"),
    }
    return {
        "size_ratio_int8": _least(each.bytes["fp32"] / each.bytes["int8"] for each in measured),
        "size_ratio_pruned_int8": _least(each.bytes["fp32"] / each.bytes["pruned-int8"] for each in measured),
        "success_loss": pruned["loss"],
        "success_loss_upper": pruned["upper"],
        **{key: _least(_ratios(measured, *pair)) for key, pair in ratios.items()},
        "parity_min_cosine": min(each["parity_min_cosine"] for each in int8),
        "parity_max_abs": max(each["parity_max_abs"] for each in int8),
        "cold_start_seconds": max(each.starts["int8"]["wall_s"] for each in measured),
        "rss_mb": max(each.starts[LARGE]["rss_mb"] for each in measured),
        "success": {name: _rate([ok for each in measured for ok in each.outcomes[name].values()]) for name in VARIANTS},
        "paired": losses,
        "policies": [_one(each) for each in measured],
        "layout_seed": config.seed,
    }


def columns() -> tuple[str, ...]:
    """Headings of the table."""
    return ("model", "size", "of fp32", "success", "paired loss [points]", "CPU ms", "vs torch", "vs compile")


def rows_of(figures: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """The table: a row for each variant, of the first policy where times and sizes are concerned."""
    first = figures["policies"][0]
    return tuple(_row(name, first, figures) for name in VARIANTS)


def _row(name: str, first: Mapping[str, Any], figures: Mapping[str, Any]) -> tuple[str, ...]:
    size, rate, loss = first["bytes"][name], figures["success"][name], figures["paired"].get(name)
    time = first["latency"].get(f"onnxruntime {name}")
    compiled = first["latency"].get("torch_compile")
    return (
        name,
        f"{size / 1e6:.2f} MB",
        f"{first['bytes']['fp32'] / size:.2f} x smaller",
        f"{rate['success']:.3f} ({rate['low']:.2f} to {rate['high']:.2f}), {rate['episodes']}",
        "" if loss is None else f"{loss['loss']:.2f} ({loss['lower']:.2f} to {loss['upper']:.2f})",
        "" if time is None else f"{time['cpu_ms']:.2f}",
        "" if time is None else f"{first['latency']['torch']['cpu_ms'] / time['cpu_ms']:.2f}",
        "" if time is None or compiled is None else f"{compiled['cpu_ms'] / time['cpu_ms']:.2f}",
    )


def _loss(pairs: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    """How many points of success a variant loses on the same layouts, with its 95 % interval."""
    before, after = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    found = paired_difference(before, after)
    return {
        "loss": round(POINTS * found.difference, 3),
        "lower": round(POINTS * found.low, 3),
        "upper": round(POINTS * found.high, 3),
        "episodes": len(pairs),
        "only_fp32": sum(a and not b for a, b in pairs),
        "only_compressed": sum(b and not a for a, b in pairs),
    }


def _ratios(measured: Sequence[Measured], slow: str, fast: str) -> list[float]:
    return [each.ratio(slow, fast) for each in measured if {slow, fast} <= each.latency.keys()]


def _least(values: Any) -> float | None:
    known = list(values)
    return round(min(known), 3) if known else None


def _rate(outcomes: Sequence[bool]) -> dict[str, Any]:
    low, high = wilson_interval(sum(outcomes), len(outcomes))
    return {"success": sum(outcomes) / len(outcomes), "low": low, "high": high, "episodes": len(outcomes)}


def _one(each: Measured) -> dict[str, Any]:
    return {
        "policy": str(each.policy),
        "bytes": dict(each.bytes),
        "success": {name: _rate(list(found.values())) for name, found in each.outcomes.items()},
        "latency": {name: asdict(found) for name, found in each.latency.items()},
        "not_run": dict(each.not_run),
        "cold_start": dict(each.starts),
        "reports": {name: dict(found) for name, found in each.reports.items()},
    }
