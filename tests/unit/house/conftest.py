"""The project's own files, read once for all house tests."""

import ast
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SKIPPED = {".venv", ".git", "runs", "data", "build", "dist", "__pycache__", ".pytest_cache", ".ruff_cache"}


@dataclass(frozen=True)
class Source:
    """One module of the package: its room, dotted name, file and syntax tree."""

    room: str
    module: str
    path: Path
    tree: ast.Module

    @property
    def lines(self) -> int:
        return len(self.path.read_text().splitlines())


def _source(path: Path) -> Source:
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Source(parts[1], module, path, ast.parse(path.read_text()))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    found = [_source(path) for path in sorted(ROOT.glob("*/foreact/**/*.py"))]
    assert len({source.room for source in found}) >= 7, "the rooms were not found: the checks would pass on nothing"
    return found


@pytest.fixture(scope="session")
def text_files() -> dict[Path, str]:
    """Every text file that is or may be committed, by path relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = (
        listed.stdout.splitlines() if listed.returncode == 0 else [str(p.relative_to(ROOT)) for p in ROOT.rglob("*")]
    )
    texts: dict[Path, str] = {}
    for name in map(Path, names):
        file = ROOT / name
        if SKIPPED.isdisjoint(name.parts) and file.is_file() and file.stat().st_size < 2_000_000:
            try:
                texts[name] = file.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # a picture or another binary file
    assert Path("pyproject.toml") in texts
    return texts
