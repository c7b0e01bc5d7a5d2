"""How fast an encoder is on the machine at hand."""

from __future__ import annotations

import time

import torch

from foreact.episodes.outcome import JSON
from foreact.perception.omnivorous.model import OmnivorousEncoder

__all__ = ["speed_figures"]

MANY = 32  # pictures of a batch
ROUNDS = 5


def speed_figures(encoder: OmnivorousEncoder) -> dict[str, JSON]:
    """The least wall time for one colour picture [ms], and pictures per second in batches, with torch's threads.

    Args:
        encoder: In evaluation mode.
    """
    device, side = next(encoder.parameters()).device, encoder.config.trunk.side
    pictures = torch.zeros(MANY, side, side, 3, dtype=torch.uint8, device=device)
    single, many = (_least(encoder, pictures[:count]) for count in (1, MANY))
    threads = torch.get_num_threads() if device.type == "cpu" else 0
    return {"picture_ms": single * 1e3, "pictures_per_s": MANY / many, "device": str(device), "threads": threads}


def _least(encoder: OmnivorousEncoder, pictures: torch.Tensor) -> float:
    """Wall time of the fastest of some rounds [s]."""
    taken = []
    with torch.inference_mode():
        for _ in range(ROUNDS):
            started = time.perf_counter()
            encoder.encode("rgb", pictures)
            if pictures.is_cuda:
                torch.cuda.synchronize(pictures.device)
            taken.append(time.perf_counter() - started)
    return min(taken)
