from pathlib import Path

import pytest

from foreact.deploy_edge.deadline_plot import draw_lateness

pytest.importorskip("matplotlib")


def test_a_picture_is_written_whole(tmp_path: Path) -> None:
    draw_lateness(tmp_path / "late.png", [(0, 1, 5), (64, 68, 100), (20_000, 21_000, 1)], 12_500, "reach-v3")
    assert (tmp_path / "late.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [each.name for each in tmp_path.iterdir()] == ["late.png"]
