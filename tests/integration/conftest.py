"""What integration tests of several rooms use."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    root = next(parent for parent in Path(__file__).parents if (parent / "pyproject.toml").is_file())
    path = root.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the sample recordings do not lie beside the repository: ../shared/data")
    return path
