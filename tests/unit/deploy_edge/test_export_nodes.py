import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.deploy_edge.export.nodes import NodeDifference, first_difference, node_report, node_table
from foreact.deploy_edge.model_file import require_writable

ROWS = [
    NodeDifference("fine", "Add", 1e-7, 1e-6),
    NodeDifference("wrong", "Gemm", 0.5, 0.25),
    NodeDifference("worse", "Relu", math.inf, math.inf),
    NodeDifference("unclear", "Div", math.nan, math.nan),
]


def test_the_first_that_differs_is_not_the_worst() -> None:
    assert first_difference(ROWS) is ROWS[1]
    assert first_difference(ROWS[3:]) is ROWS[3]  # NaN counts as a difference
    assert first_difference(ROWS[:1]) is None


def test_the_table_shows_what_differs_else_what_differs_most() -> None:
    assert [line.split()[0] for line in node_table(ROWS).splitlines()] == ["value", "wrong", "worse", "unclear"]
    assert [line.split()[0] for line in node_table(ROWS[:1]).splitlines()] == ["value", "fine"]


def test_the_report_is_json_without_infinities() -> None:
    report: Any = node_report(ROWS, 3)
    assert report["first"] == "wrong" and report["observation"] == 3
    assert [node["max_abs"] for node in report["nodes"]] == [1e-7, 0.5, None, None]


def test_values_are_compared_as_numbers() -> None:
    from foreact.deploy_edge.export.nodes import _difference

    nan = np.array([np.nan, np.inf, 2.0])
    assert _difference("x", "Add", nan, nan.copy()).max_abs == 0
    assert _difference("x", "Add", nan, np.array([0.0, np.inf, 2.0])).relative == math.inf
    assert _difference("x", "Add", np.zeros(2), np.zeros(3)).relative == math.inf
    assert _difference("x", "Add", np.array([4.0, -8.0]), np.array([4.0, -6.0])).relative == pytest.approx(0.25)
    assert _difference("x", "Add", np.zeros(2), np.array([0.0, 3.0])).relative == 3.0


def test_a_path_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    require_writable(tmp_path / "new" / "deeper" / "p.onnx")
    assert not (tmp_path / "new").exists()
    with pytest.raises(NotADirectoryError):
        require_writable(tmp_path / "file" / "p.onnx")
    with pytest.raises(IsADirectoryError):
        require_writable(tmp_path)
