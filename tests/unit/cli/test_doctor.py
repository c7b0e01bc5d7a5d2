"""The doctor: optional packages may be absent, wrong versions are broken, probes cannot take it down."""

import json
from pathlib import Path
from typing import Any

import pytest

from foreact.cli import doctor
from foreact.cli.installed import Package, extra_of, packages

BASE = Package("numpy", "", ">=2", "2.2.6")


@pytest.fixture
def no_probes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Answer probes without starting them; returns which were asked for."""
    asked: list[tuple[str, ...]] = []

    def answer(*arguments: str) -> tuple[dict[str, Any], str]:
        asked.append(arguments)
        return {
            "version": "2.11",
            "cuda_build": "13.0",
            "devices": [],
            "distance_m": 1.7,
            "frames": 8,
            "codec": "h",
        }, ""

    monkeypatch.setattr(doctor, "_probe", answer)
    monkeypatch.setattr(doctor, "_cuda_devices", lambda: None)
    return asked


def states(monkeypatch: pytest.MonkeyPatch, *found: Package, deep: bool = False) -> dict[str, doctor.Check]:
    monkeypatch.setattr(doctor, "packages", lambda: [BASE, *found])
    return {check.name: check for check in doctor.examine(deep=deep)}


def test_an_absent_extra_is_optional_and_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, no_probes: list[tuple[str, ...]]
) -> None:
    checks = states(monkeypatch, Package("mujoco-warp", "sim", "==3.17.0", None))
    assert checks["foreact[sim]"].state == "missing"
    assert checks["foreact[sim]"].fix == "pip install 'foreact[sim]'"
    assert checks["mujoco-warp ray tracer"].state == "missing"
    assert not no_probes


def test_a_wrong_version_and_an_absent_base_package_are_broken(
    monkeypatch: pytest.MonkeyPatch, no_probes: list[tuple[str, ...]]
) -> None:
    checks = states(monkeypatch, Package("mujoco", "sim", "==3.17.0", "3.8.1"), Package("zarr", "", ">=3", None))
    assert checks["foreact[sim]"].state == "broken" and "3.8.1, needs ==3.17.0" in checks["foreact[sim]"].found
    assert checks["foreact"].state == "broken"


def test_a_gpu_that_torch_cannot_use_is_broken(
    monkeypatch: pytest.MonkeyPatch, no_probes: list[tuple[str, ...]]
) -> None:
    monkeypatch.setattr(doctor, "_cuda_devices", lambda: 1)
    checks = states(monkeypatch, Package("torch", "train", "", "2.11.0"))
    assert checks["torch"].state == "broken" and "NVIDIA driver" in checks["torch"].fix


def test_only_deep_imports_draws_and_decodes(monkeypatch: pytest.MonkeyPatch, no_probes: list[tuple[str, ...]]) -> None:
    found = (Package("mujoco-warp", "sim", "", "3.17.0"), Package("av", "viz", "", "15.1"))
    states(monkeypatch, *found)
    assert no_probes == []
    states(monkeypatch, *found, deep=True)
    assert set(no_probes) == {("import", "numpy"), ("import", "mujoco_warp"), ("import", "av"), ("render",), ("video",)}


def test_a_probe_that_fails_is_a_finding_with_its_last_line() -> None:
    answer, error = doctor._probe("import", "no_such_module_here")
    assert answer is None and "no_such_module_here" in error


def test_the_exit_follows_what_is_broken_and_json_holds_every_check(
    monkeypatch: pytest.MonkeyPatch,
    no_probes: list[tuple[str, ...]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(doctor, "packages", lambda: [BASE, Package("av", "viz", "", None)])
    assert doctor.run_doctor(deep=False, json_file=tmp_path / "d.json") is True
    assert "foreact[viz]" in capsys.readouterr().out
    figures = json.loads((tmp_path / "d.json").read_text())["figures"]
    assert figures["sound"] is True and {"name", "state", "fix"} <= figures["checks"][0].keys()
    monkeypatch.setattr(doctor, "packages", lambda: [Package("numpy", "", ">=9", "2.2.6")])
    assert doctor.run_doctor(deep=False, json_file=None) is False


def test_requirements_are_read_from_the_installed_metadata() -> None:
    by_name = {(package.name, package.extra): package for package in packages()}
    assert by_name["numpy", ""].fits
    assert by_name["mujoco", "sim"].wanted == "==3.17.0"
    assert not Package("mujoco", "sim", "==3.17.0", "3.8.1").fits


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("mujoco", "sim"),
        ("PIL.Image", "sim"),
        ("torch", "train"),
        ("onnxruntime", "edge"),
        ("rerun", "viz"),
        ("x_y", None),
    ],
)
def test_a_module_is_brought_by_an_extra(module: str, extra: str | None) -> None:
    assert extra_of(module) == extra
