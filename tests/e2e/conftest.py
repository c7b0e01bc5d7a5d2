"""A whole demo with settings too small to learn anything, run once as a user starts it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FOREACT = str(Path(sys.executable).with_name("foreact"))
DEMO = [
    "demo", "tasks=[reach,drawer-open]", "demos=2", "calibration=2", "episodes=1", "train.optimisation.updates=30",
    "train.optimisation.batch=8", "eval.horizon=40", "compress.calibration=16", "compress.observations=8",
    "compress.min_cosine=0.9", "run.episodes=1", "run.seconds=1",
]  # fmt: skip


def type_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Type a command in a folder."""
    return subprocess.run(
        [FOREACT, *words], cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def demonstrate(folder: Path) -> str:
    """Run the demo, or continue it; what it said."""
    done = type_in(folder, *DEMO)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def demo_said(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where the demo ran, and what it said."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, demonstrate(folder)


@pytest.fixture(scope="session")
def demo(demo_said: tuple[Path, str]) -> Path:
    """The demo's folder; not to be changed."""
    return demo_said[0] / "runs/demo/latest"


@pytest.fixture
def again(demo_said: tuple[Path, str]) -> Callable[[], str]:
    """The same command once more."""
    return lambda: demonstrate(demo_said[0])


@pytest.fixture
def typed(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Type a command in an empty folder."""
    return lambda *words: type_in(tmp_path, *map(str, words))
