"""Candidates for what to do next: a policy's samples, these shaken, straight moves, and the last plan gone on with.

Shape letters: n = samples of the policy, N = candidates, T = control steps, A = action elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

__all__ = ["ProposalConfig", "coloured_noise", "propose", "shifted"]


@dataclass(frozen=True)
class ProposalConfig:
    """How many candidates of which kind.

    Attributes:
        samples: The policy's own; the first is its plain answer.
        shaken: Samples with noise that changes slowly.
        straight: One action held, the first of them standing still.
        last: The last plan gone on with, and that shaken; without one they are shaken samples.
        spread: Standard deviation of the noise [action units].
        memory: Correlation of the noise from one step to the next.
        moving: Action elements that straight moves choose; the others follow the policy.
    """

    samples: int = 12
    shaken: int = 24
    straight: int = 6
    last: int = 6
    spread: float = 0.4
    memory: float = 0.9
    moving: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        for name in ("shaken", "straight", "last", "spread"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if self.samples < 1:
            raise ValueError(f"samples is {self.samples}, expected 1 or more: the policy's plain answer comes first")
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory is {self.memory}, expected from 0 to below 1")

    @property
    def candidates(self) -> int:
        """N."""
        return self.samples + self.shaken + self.straight + self.last


def propose(
    samples: np.ndarray,
    config: ProposalConfig,
    low: np.ndarray,
    high: np.ndarray,
    random: np.random.Generator,
    last: np.ndarray | None = None,
) -> np.ndarray:
    """Candidate chunks, float32 (N, T, A); the first is the policy's first sample.

    Args:
        samples: Of the policy, (n, T, A); the first `config.samples` are used, fewer are filled up with shaken ones.
        config: How many of which kind.
        low: Lowest actions (A,).
        high: Highest actions (A,).
        random: The only source of chance.
        last: The plan that is being executed, already shifted to now (T, A); None if there is none.

    Raises:
        ValueError: Samples or the last plan have another shape or are not finite, or `moving` names no elements.
    """
    given = _checked(samples)
    if not all(0 <= element < len(low) for element in config.moving):
        raise ValueError(f"moving={config.moving}, but actions have {len(low)} elements")
    own = given[: config.samples]
    kept = min(config.last, 1) if last is not None else 0
    shaken = config.candidates - len(own) - config.straight - (config.last if last is not None else 0)
    parts = [own, _shaken(given, shaken, config, random), _straight(own[0], config, low, high, random)]
    if last is not None and kept:
        if last.shape != own.shape[1:]:
            raise ValueError(f"the last plan has shape {last.shape}, the policy's chunks {own.shape[1:]}")
        before = np.asarray(last, np.float32)[None]
        parts += [before, _shaken(before, config.last - kept, config, random)]
    return np.clip(np.concatenate(parts), low, high).astype(np.float32)


def shifted(plan: np.ndarray, executed: int) -> np.ndarray:
    """What is left of a plan (T, A) after some steps, its last action held to the end."""
    steps = np.minimum(np.arange(len(plan)) + executed, len(plan) - 1)
    return plan[steps]


def coloured_noise(shape: tuple[int, ...], spread: float, memory: float, random: np.random.Generator) -> np.ndarray:
    """Noise of an Ornstein-Uhlenbeck process in its stationary state, float32 (N, T, A)."""
    return spread * (_memory(shape[1], memory) @ random.standard_normal(shape, np.float32))


@lru_cache(maxsize=8)
def _memory(steps: int, memory: float) -> np.ndarray:
    """What turns white noise into noise with a memory, float32 (T, T)."""
    # x_0 = e_0, x_t = m x_{t-1} + sqrt(1 - m^2) e_t: the variance stays 1
    age = np.arange(steps)[:, None] - np.arange(steps)
    matrix = np.where(age >= 0, memory ** np.abs(age), 0.0)
    matrix[:, 1:] *= np.sqrt(1 - memory**2)
    return matrix.astype(np.float32)


def _checked(samples: np.ndarray) -> np.ndarray:
    given = np.asarray(samples, np.float32)
    if given.ndim != 3 or not len(given):
        raise ValueError(f"the policy's samples have shape {given.shape}, expected (n, T, A) with n at least 1")
    if not np.isfinite(given).all():
        raise ValueError("the policy's samples are not all finite")
    return given


def _shaken(chunks: np.ndarray, count: int, config: ProposalConfig, random: np.random.Generator) -> np.ndarray:
    base = chunks[np.arange(count) % len(chunks)]
    return base + coloured_noise(base.shape, config.spread, config.memory, random)


def _straight(
    chunk: np.ndarray, config: ProposalConfig, low: np.ndarray, high: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """One action held for the whole chunk, drawn evenly; the first holds zero."""
    moves = np.repeat(chunk[None], config.straight, axis=0)
    elements = list(config.moving)
    held = random.uniform(low[elements], high[elements], (config.straight, len(elements)))
    held[:1] = 0
    moves[:, :, elements] = held[:, None]
    return moves
