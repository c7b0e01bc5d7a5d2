"""What all steps of a recipe share: the original, the observations that everything is measured on, and the folders.

Shape letters: H chunk length, A action elements.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.compress.samples import calibration_samples, some_of, training_samples
from foreact.deploy_edge.export.chunks import onnx_policy, policy_hash, run_chunks, torch_policy
from foreact.deploy_edge.export.source import longest_delay
from foreact.deploy_edge.latency import interleaved
from foreact.deploy_edge.model_file import POLICY_KEY, load_sealed, properties
from foreact.deploy_edge.observations import Inputs, draw_observations
from foreact.deploy_edge.parity import Gate, Parity, compare, span_of
from foreact.deploy_edge.runtime.engine import EngineError
from foreact.episodes.outcome import JSON, ProgressFn

if TYPE_CHECKING:
    from onnx import ModelProto

    from foreact.deploy_edge.compress.command import CompressConfig
    from foreact.vla.chunk_policy import ChunkPolicy
    from foreact.vla.dataset import Demonstrations

__all__ = ["Cost", "Workbench"]

SAME = 0.9999  # below this cosine the fp32 model is not this policy's


@dataclass(frozen=True)
class Cost:
    """What a file costs and how far it is from the original.

    Attributes:
        bytes: Of the file.
        latency_ms: CPU time of one inference in onnxruntime [ms], one thread.
        latency_ratio: Of the original fp32 file to this one, in turn in one run.
        change: How far its chunks are from the original policy's, see `Workbench.change`.
    """

    bytes: int
    latency_ms: float
    latency_ratio: float
    change: dict[str, JSON]

    def figures(self) -> dict[str, JSON]:
        """As JSON."""
        times: dict[str, JSON] = {"latency_ms": self.latency_ms, "latency_ratio_fp32": round(self.latency_ratio, 3)}
        return {"bytes": self.bytes, **times, **self.change}


class Workbench:
    """The original policy, its fp32 model and the observations, read once.

    Args:
        config: Of the command.
        progress: Of the command.

    Raises:
        EngineError: The model is missing, damaged, not fp32, or was not exported from this policy.
        CheckpointError, StoreError, ContractMismatch: The policy or the store cannot be read or do not fit.
    """

    def __init__(self, config: CompressConfig, progress: ProgressFn) -> None:
        from foreact.vla.checkpoint import load_policy

        self.config, self.progress = config, progress
        self.model, self.contract = load_sealed(config.model)
        self.content = config.model.read_bytes()
        self.policy = load_policy(config.policy)
        _check_origin(config, self.model, self.policy)
        delay = longest_delay(self.policy)
        self.calibration = draw_observations(
            config.data, self.contract, config.calibration, config.seed, "calibration", delay
        )
        self.held_out = draw_observations(
            config.data, self.contract, config.observations, config.seed, "held out", delay
        )
        self.span = span_of(self.contract)
        self.original = torch_policy(self.policy)
        self.reference = run_chunks(self.original, self.held_out)
        self.fp32 = self.parity(onnx_policy(self.content), self.reference)
        if not self.fp32.min_cosine >= SAME:
            raise EngineError(
                f"{config.model} does not compute what {config.policy} computes (cosine {self.fp32.min_cosine:.6f}): "
                "this foreact is not the one that exported it; export it again with: foreact export"
            )

    @property
    def gate(self) -> Gate:
        """What the file must keep to against the policy that it is made from."""
        recipe, typed = self.config.recipe, self.config.min_cosine
        return Gate(recipe.min_cosine if typed is None else typed, recipe.max_range_fraction)

    @property
    def folder(self) -> Path:
        """Where finished steps are kept."""
        return self.config.out.with_name(f"{self.config.out.stem}.work")

    def parity(self, chunk: Callable[[Inputs], np.ndarray], reference: Sequence[np.ndarray]) -> Parity:
        """A policy compared on the held-out observations with chunks (H, A) for them."""
        return compare(reference, run_chunks(chunk, self.held_out), self.span)

    def cost(self, content: bytes) -> Cost:
        """Measure a model."""
        ours, theirs = onnx_policy(content), onnx_policy(self.content)
        calls = {"original": lambda: theirs(self.held_out[0]), "this": lambda: ours(self.held_out[0])}
        times = interleaved(calls, self.config.rounds)
        ratio = times["original"].cpu_ms / times["this"].cpu_ms
        return Cost(len(content), times["this"].cpu_ms, ratio, self.change(ours))

    def change(self, chunk: Callable[[Inputs], np.ndarray]) -> dict[str, JSON]:
        """How far a policy's chunks are from the original's on the held-out observations [action units]."""
        chunks = run_chunks(chunk, self.held_out)
        parity = compare(self.reference, chunks, self.span)
        mean = np.mean([np.abs(a - b).mean() for a, b in zip(self.reference, chunks, strict=True)])
        return {
            "change_mean_abs": round(float(mean), 6),
            "change_max_abs": round(float(parity.max_abs.max()), 6),
            "change_min_cosine": round(parity.min_cosine, 6),
        }

    def samples(self, count: int) -> Demonstrations:
        """Recorded samples: of the training store if there is one, otherwise of the calibration half."""
        if self.config.train is None:
            return calibration_samples(self.config.data, self.contract, count, self.config.seed)
        return some_of(self.training, count, self.config.seed)

    @functools.cached_property
    def training(self) -> Demonstrations:
        """All samples of the training store."""
        steps = self.config.recipe.trained()
        return training_samples(self.config.train, steps, self.contract, self.progress)


def _check_origin(config: CompressConfig, model: ModelProto, policy: ChunkPolicy) -> None:
    described = properties(model)
    if described.get("foreact.precision") != "float32":
        found = described.get("foreact.precision")
        raise EngineError(f"{config.model} holds {found}, expected float32; give the file that foreact export wrote")
    if described.get(POLICY_KEY) != policy_hash(policy):
        raise EngineError(
            f"{config.model} was not exported from {config.policy}: the weights differ (sha256 "
            f"{str(described.get(POLICY_KEY))[:12]} and {policy_hash(policy)[:12]}); "
            "export it again with: foreact export"
        )
