"""The whole pipeline: every figure is there, the report stands alone, and a second call keeps what is finished."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEYS = {
    "success_mean", "success_per_task", "success_int8_mean", "size_ratio", "parity_min_cosine", "latency_ratio_int8",
    "cpu_seconds", "wall_seconds", "peak_rss_mb",
}  # fmt: skip


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def test_it_ends_in_a_summary_with_every_figure(demo: Path, demo_said: tuple[Path, str]) -> None:
    figures = summary(demo)
    assert set(figures) >= KEYS
    assert set(figures["success_per_task"]) == {"reach-v3", "drawer-open-v3"}
    assert figures["size_ratio"] > 3 and figures["parity_min_cosine"] >= 0.9
    assert figures["cpu_seconds"] > 0 and 100 < figures["peak_rss_mb"] < 4096
    assert "report.html" in demo_said[1]


def test_the_report_needs_no_network(demo: Path) -> None:
    page = (demo / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?:https?:)?//[^"']+""", page)
    assert page.count("data:image/png;base64,") >= 3 and "data:video/mp4;base64," in page


def test_the_second_call_keeps_everything(demo: Path, again: Callable[[], str]) -> None:
    policy = demo / "train/policy/model.safetensors"
    before, written = summary(demo), policy.stat().st_mtime_ns
    assert again().count("(kept from before)") == 8
    assert summary(demo) == before and policy.stat().st_mtime_ns == written
