"""The wheel works without the checkout: empty environment, empty folder, base packages only."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
UNREACHABLE = ("dns error", "failed to fetch", "connection", "timed out", "network", "tunnel", "client error")


def run(*command: str | Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-P", "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_module_and_data_file_and_nothing_else(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [file for file in ROOT.glob("*/foreact/**/*") if file.is_file() and "__pycache__" not in file.parts]
    assert packed == {str(file.relative_to(ROOT).relative_to(file.relative_to(ROOT).parts[0])) for file in files}
    assert "foreact/cli/conf/__init__.py" in packed


def test_the_doctor_runs_from_a_base_install(wheel: Path, tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv is not in this environment (make puts it there)")
    environment, empty = tmp_path / "environment", tmp_path / "empty"
    empty.mkdir()
    made = run(uv, "venv", "--quiet", "--python", sys.executable, environment, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    install = (uv, "pip", "install", "--quiet", "--python", environment / "bin" / "python")
    pinned = ("--constraint", ROOT / "requirements.txt", wheel)
    installed = run(*install, "--offline", *pinned, cwd=tmp_path)
    if installed.returncode != 0:  # not in the local cache
        installed = run(*install, *pinned, cwd=tmp_path)
    if installed.returncode != 0 and any(sign in installed.stderr.lower() for sign in UNREACHABLE):
        pytest.skip(f"the package index cannot be reached: {installed.stderr.strip().splitlines()[-1]}")
    assert installed.returncode == 0, installed.stderr
    answer = run(environment / "bin" / "foreact", "doctor", "--json", "doctor.json", cwd=empty)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "foreact[sim]" in answer.stdout and "pip install" in answer.stdout
    assert sorted(file.name for file in empty.iterdir()) == ["doctor.json"]
    lacking = run(environment / "bin" / "foreact", "train", "data=x", cwd=empty)
    assert lacking.returncode == 1 and "foreact[train]" in lacking.stderr
