"""A plan: candidates, their futures, scores, one refinement, the best chunk; anytime, with a deadline.

Shape letters: N = candidates, n = chunks of a slice, K = futures, T = control steps, A = action elements,
O = observed elements.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from foreact.worldmodels.futures import Futures
from foreact.worldmodels.planner.objective import Objective, ObjectiveConfig, Penalty
from foreact.worldmodels.planner.proposals import ProposalConfig, propose
from foreact.worldmodels.planner.selection import medoid_of_largest, refined

__all__ = ["Imagine", "Plan", "Planner", "PlannerConfig"]

Imagine = Callable[[Tensor], Futures]
"""Chunks (n, T, A) to their futures from where the robot is: a model with its context, or the simulator itself."""


@dataclass(frozen=True)
class PlannerConfig:
    """How to plan.

    Attributes:
        objective: What counts.
        proposals: Candidates of the first round.
        refine: Candidates of the second round, around the mean of the good ones; 0 leaves it out.
        temperature: Of that mean, in standard deviations of the scores.
        around: Spread around it, as a part of that of the good candidates.
        closeness: Lost per mean squared distance from the policy's plain answer [1 / action unit squared].
        deadline_ms: When to answer, counted from the call; None takes the time it takes.
        slice: Candidates imagined at once where there is a deadline.
        calibrated: Whether the model may be trusted; if not, the plan is the medoid of the policy's samples.
        seed: Of everything random.
    """

    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    proposals: ProposalConfig = field(default_factory=ProposalConfig)
    refine: int = 16
    temperature: float = 0.3
    around: float = 0.5
    closeness: float = 0.0
    deadline_ms: float | None = None
    slice: int = 16
    calibrated: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.refine < 0 or self.slice < 1:
            raise ValueError(f"refine={self.refine} and slice={self.slice}, expected 0 or more and 1 or more")
        if not self.temperature > 0 or not self.around >= 0:
            raise ValueError(f"temperature={self.temperature}, around={self.around}: expected above 0, and 0 or more")
        if not self.closeness >= 0:
            raise ValueError(f"closeness is {self.closeness}, expected 0 or more")
        if self.deadline_ms is not None and not self.deadline_ms > 0:
            raise ValueError(f"deadline_ms is {self.deadline_ms}, expected above 0 or none")

    @property
    def candidates(self) -> int:
        """Of both rounds together."""
        return self.proposals.candidates + self.refine


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        chunk: Actions, float32 (T, A).
        chosen_by: `score`, `medoid` of an untrusted model, or `policy` where the deadline left no time for a score.
        score: Of the chunk, if it has one.
        futures: Of the chunk alone (B = 1), if they were imagined.
        scored: Candidates that were scored in time.
        took_ms: From call to answer.
        late_ms: After the deadline; 0 if in time or without one.
        slice_ms: The longest slice.
    """

    chunk: np.ndarray
    chosen_by: Literal["score", "medoid", "policy"]
    score: float | None
    futures: Futures | None
    scored: int
    took_ms: float
    late_ms: float
    slice_ms: float


class Planner:
    """Plans chunks of actions.

    Args:
        config: How.
        low: Lowest actions (A,).
        high: Highest actions (A,).
        penalty: Of the safety filter, if there is one.
        clock: Seconds; another one in tests.
    """

    def __init__(
        self,
        config: PlannerConfig,
        low: np.ndarray,
        high: np.ndarray,
        penalty: Penalty | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.config, self._clock = config, clock
        self._low, self._high = low, high
        self._objective = Objective(config.objective, penalty)

    def plan(
        self,
        imagine: Imagine,
        samples: np.ndarray,
        last: np.ndarray | None = None,
        number: int = 0,
        doubt: Callable[[Tensor], Tensor] | None = None,
    ) -> Plan:
        """The best chunk found.

        Args:
            imagine: Futures of chunks from where the robot is.
            samples: Chunks of the policy, (n, T, A).
            last: The plan under way, shifted to now (T, A).
            number: Of this plan; plans of one seed and number are the same.
            doubt: How unsure the model is of chunks (n, T, A), (n,), if it knows.

        Raises:
            ValueError: The samples, or what the model imagines, are not what they should be.
        """
        search = _Search(self._clock, self.config, imagine, self._objective, doubt, samples[0])
        if not self.config.calibrated:
            return self._consensus(search, samples)
        random = np.random.default_rng([self.config.seed, number])
        first = propose(samples, self.config.proposals, self._low, self._high, random, last)
        if search.score(first) and self.config.refine:
            own = self.config
            second = refined(*search.found(), own.refine, own.temperature, own.around, own.proposals.memory, random)
            search.score(np.clip(second, self._low, self._high))
        return search.best(first[0])

    def _consensus(self, search: _Search, samples: np.ndarray) -> Plan:
        chunk = np.clip(samples[medoid_of_largest(samples)], self._low, self._high).astype(np.float32)
        futures = search.imagined(chunk)
        return search.answer(chunk, "medoid", None, futures)


class _Search:
    """What one plan has found so far."""

    def __init__(
        self,
        clock: Callable[[], float],
        config: PlannerConfig,
        imagine: Imagine,
        objective: Objective,
        doubt: Callable[[Tensor], Tensor] | None,
        plain: np.ndarray,
    ) -> None:
        self._closeness, self._plain = config.closeness, plain
        self._clock, self._started = clock, clock()
        self._imagine, self._objective, self._doubt = imagine, objective, doubt
        self._deadline = None if config.deadline_ms is None else config.deadline_ms / 1e3
        self._slice = config.slice if self._deadline is not None else config.candidates
        self._longest = 0.0
        self._chunks: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._best: tuple[float, np.ndarray, Futures] | None = None

    def score(self, chunks: np.ndarray) -> bool:
        """Score chunks slice by slice; False if the deadline did not let it finish."""
        for start in range(0, len(chunks), self._slice):
            if not self._has_time():
                return False
            self._score_slice(chunks[start : start + self._slice])
        return True

    def found(self) -> tuple[np.ndarray, np.ndarray]:
        """Chunks and scores so far."""
        return np.concatenate(self._chunks), np.concatenate(self._scores)

    def best(self, plain: np.ndarray) -> Plan:
        """The best chunk, or the policy's plain answer if there was no time for one."""
        if self._best is None:
            return self.answer(plain, "policy", None, None)
        score, chunk, futures = self._best
        return self.answer(chunk, "score", score, futures)

    def imagined(self, chunk: np.ndarray) -> Futures | None:
        """Futures of one chunk, if there is time."""
        if not self._has_time():
            return None
        with torch.inference_mode():
            return self._imagine(torch.from_numpy(chunk[None]))

    def answer(
        self, chunk: np.ndarray, by: Literal["score", "medoid", "policy"], score: float | None, futures: Futures | None
    ) -> Plan:
        """The plan, with how late it is."""
        took = self._clock() - self._started
        late = 0.0 if self._deadline is None else max(0.0, took - self._deadline)
        scored = sum(map(len, self._scores))
        return Plan(chunk, by, score, futures, scored, 1e3 * took, 1e3 * late, 1e3 * self._longest)

    def _has_time(self) -> bool:
        # a slice is begun only if one as long as the longest so far would end in time
        return self._deadline is None or self._clock() - self._started + self._longest < self._deadline

    def _score_slice(self, chunks: np.ndarray) -> None:
        before = self._clock()
        with torch.inference_mode():
            given = torch.from_numpy(chunks)
            futures = self._imagine(given)
            if len(futures.log_weights) != len(chunks):
                raise ValueError(f"the model imagined {len(futures.log_weights)} chunks of {len(chunks)}")
            scores = self._objective(futures, None if self._doubt is None else self._doubt(given)).numpy()
        if self._closeness:
            # as the control cost of path integral control: going another way than the policy must be worth it
            scores = scores - self._closeness * ((chunks - self._plain) ** 2).mean((1, 2))
        winner = int(scores.argmax())
        if self._best is None or scores[winner] > self._best[0]:
            self._best = float(scores[winner]), chunks[winner], _one(futures, winner)
        self._chunks.append(chunks)
        self._scores.append(scores)
        self._longest = max(self._longest, self._clock() - before)


def _one(futures: Futures, row: int) -> Futures:
    part = slice(row, row + 1)
    return Futures(
        futures.values[part].clone(),
        futures.log_weights[part],
        futures.success[part],
        futures.contact[part],
        futures.reward[part],
    )
