"""How many frames a model of pictures encodes and decodes in a CPU-second on one core, and how many futures it has."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from foreact.episodes.outcome import JSON
from foreact.worldmodels.pixels.model import PixelModel
from foreact.worldmodels.throughput import rollouts_per_cpu_second

__all__ = ["speed_figures"]

STATES = 256  # of one call
FRAMES = 64
ROUNDS = 9
SECONDS = 0.1  # CPU time of one round


def speed_figures(model: PixelModel) -> dict[str, JSON]:
    """Rates per CPU-second in one thread: medians, and quartiles of the roll-outs.

    A roll-out is one future of 16 control steps in the space of latents, K of each state; encoding the frames that it
    starts from and decoding it are counted apart.

    Args:
        model: On CPU, in evaluation mode.
    """
    found = rollouts_per_cpu_second(model, model.context_signature, STATES)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            side, generator = model.signature.pictures.side, torch.Generator().manual_seed(0)
            frames = {"rgb": torch.randn(FRAMES, 3, side, side, generator=generator)}
            latents = torch.randn(FRAMES, model.latent, generator=generator)
            encoding = _rate(lambda: model.encoder(frames)) if "rgb" in model.config.encoder.kinds else None
            decoding = _rate(lambda: model.decoder(latents))
    finally:
        torch.set_num_threads(threads)
    return {
        "rollouts_per_cpu_s": round(found.per_cpu_second),
        "rollouts_per_cpu_s_quartiles": [round(found.lower), round(found.upper)],
        "states_of_a_call": found.states,
        "futures": found.futures,
        "frames_encoded_per_cpu_s": None if encoding is None else round(encoding),
        "frames_decoded_per_cpu_s": round(decoding),
    }


def _rate(work: Callable[[], object]) -> float:
    work()
    rates = []
    for _ in range(ROUNDS):
        started, calls = time.process_time(), 0
        while time.process_time() - started < SECONDS or not calls:
            work()
            calls += 1
        rates.append(calls * FRAMES / max(time.process_time() - started, 1e-9))
    return statistics.median(rates)
