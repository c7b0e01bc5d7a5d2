"""The operator registry, and what importing the room costs."""

import subprocess
import sys

import pytest
import torch

from foreact.kernels import operators


def test_registered_operators_load_by_name() -> None:
    assert [operators.load(name).name for name in operators.OPERATORS] == list(operators.OPERATORS)


def test_an_unknown_name_lists_near_matches() -> None:
    with pytest.raises(ValueError, match="unknown operator 'rgb_to_plane': did you mean rgb_to_planes"):
        operators.load("rgb_to_plane")


def test_a_name_is_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "OPERATORS", {"a": "somewhere:A"})
    operators.register("b", "elsewhere:B")
    assert operators.OPERATORS["b"] == "elsewhere:B"
    with pytest.raises(ValueError, match="'a' is already registered as somewhere:A"):
        operators.register("a", "elsewhere:A")
    with pytest.raises(ValueError, match='expected "module:attribute"'):
        operators.register("c", "elsewhere.C")


def test_a_case_moves_with_its_strides() -> None:
    case = operators.Case("strided", {"x": torch.zeros(2, 3).T, "y": None}).to(torch.device("meta"))
    x = case.inputs["x"]
    assert isinstance(x, torch.Tensor)
    assert x.device.type == "meta"
    assert x.stride() == (1, 3)
    assert case.tensors() == [x]


def imported_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_importing_is_free_of_triton() -> None:
    assert not {"torch", "triton"} & imported_by("foreact.kernels")
    assert "triton" not in imported_by("foreact.kernels.preprocess")
