"""What the tests on a GPU share."""

import pytest
import torch


@pytest.fixture
def cuda() -> torch.device:
    """Give the CUDA device."""
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device on this machine")
    return torch.device("cuda", torch.cuda.current_device())
