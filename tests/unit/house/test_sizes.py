"""Files and functions stay short: capped one by one, and short in the middle."""

import ast
import statistics
from typing import Any

FILE_CAP, FILE_MEDIAN = 500, 150
FUNCTION_CAP, FUNCTION_MEDIAN = 60, 10
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}


def functions(source: Any) -> list[tuple[str, int]]:
    return [
        (f"{source.module}.{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_no_file_is_longer_than_the_cap(sources: list[Any]) -> None:
    long = {source.module: source.lines for source in sources if source.lines > FILE_CAP}
    assert not long
    assert statistics.median(source.lines for source in sources) < FILE_MEDIAN


def test_no_function_is_longer_than_the_cap(sources: list[Any]) -> None:
    every = [item for source in sources for item in functions(source)]
    assert not [item for item in every if item[1] > FUNCTION_CAP]
    assert statistics.median(length for _, length in every) < FUNCTION_MEDIAN


def test_a_file_name_says_what_the_file_is_about(sources: list[Any]) -> None:
    assert not [source.module for source in sources if not VAGUE.isdisjoint(source.module.split("."))]


def test_every_package_and_module_has_a_docstring(sources: list[Any]) -> None:
    assert not [source.module for source in sources if not ast.get_docstring(source.tree)]
