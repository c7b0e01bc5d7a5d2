"""What `foreact compress` prints at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["figure_rows"]


def figure_rows(figures: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The table of a result: what it is, then one line per step.

    Args:
        figures: Of the command.
    """
    size, times, parameters = figures["size_bytes"], figures["latency_ms"], figures["parameters"]
    ours = next(name for name in size if name != "onnx_fp32")
    rows = [
        ("file", f"{size[ours] / 1e6:.2f} MB, {figures['size_ratio']:.2f} x smaller than fp32"),
        ("parameters", f"{parameters['result']:,} of {parameters['original']:,}"),
        (
            "smallest cosine with its policy",
            f"{figures['parity_min_cosine']:.6f}{_naive(figures, 'min_cosine', '.6f')}",
        ),
        (
            "largest difference",
            f"{figures['parity_max_abs']:.4f} action units{_naive(figures, 'max_abs', '.4f')}",
        ),
        ("CPU time of one inference", ", ".join(f"{name} {value:.2f} ms" for name, value in times.items())),
        ("speed against torch", f"this {figures['latency_ratio']:.2f} x, fp32 {figures['latency_ratio_fp32']:.2f} x"),
    ]
    return (*rows, *(_step(row) for row in figures["steps"]))


def _naive(figures: Mapping[str, Any], key: str, form: str) -> str:
    value = figures.get(f"control_{key}")
    return "" if value is None else f" (naive control {format(value, form)})"


def _step(row: Mapping[str, Any]) -> tuple[str, str]:
    parts = [f"{row['bytes'] / 1e6:.2f} MB"]
    if "latency_ms" in row:
        parts.append(f"{row['latency_ms']:.2f} ms ({row['latency_ratio_fp32']:.2f} x)")
        parts.append(f"changed by {row['change_mean_abs']:.4f}")
    trial = row.get("trial")
    if trial:
        low, high = trial["interval"]
        parts.append(f"success {trial['success']:.3f} ({low:.2f} to {high:.2f}) of {trial['episodes']}")
        if "loss" in trial:
            low, high = trial["loss_interval"]
            parts.append(f"loss {100 * trial['loss']:.1f} points ({100 * low:.1f} to {100 * high:.1f})")
    return f"after {row['step']}" if row["step"] != "original" else "original", "; ".join(parts)
