"""What every policy is to training, export, compression and evaluation, whatever is inside.

Shape letters: B batch, H chunk length, A action elements, S state elements.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from foreact.episodes.contract import FeatureSpec, PolicyContract
from foreact.vla.prefix import Given, known_rows

__all__ = ["ChunkPolicy", "PolicyStage", "StageName", "TrainingDraws", "compress", "expand", "run_stages"]

COMPANDING = 10.0  # how much finer than full-scale commands the network sees commands near zero
NOISE, PREFIX, DELAY, ACTION = "noise", "prefix", "delay", "action"

StageName = Literal["context", "vision", "action_step", "finish"]
"""`context` once per instruction, `vision` once per frame, `action_step` `repeats` times, `finish` once per chunk."""


@dataclass(frozen=True)
class TrainingDraws:
    """Random numbers of one update, on the policy's device.

    Attributes:
        noise: Gaussian, (B, H, A).
        moment: Uniform in [0, 1), (B, 1).
        shifts: For each camera, translation of its pictures [px], int64 (B, 2); None for none.
        delay: Rows of each chunk that are given, int64 (B,); None for a policy that takes no prefix.
        told: Gaussian noise for the given actions, (B, H, A); None for none.
    """

    noise: Tensor
    moment: Tensor
    shifts: list[Tensor] | None = None
    delay: Tensor | None = None
    told: Tensor | None = None


class PolicyStage(nn.Module):
    """A part of a policy that can be run, exported and timed alone; it shares the policy's weights.

    Args:
        name: When it runs.
        policy: Whose part it is.
        function: Computes the outputs, a tuple of tensors, from the inputs in order.
        inputs: Names of tensors: the policy's inputs and outputs of earlier stages.
        outputs: Names of what it computes.
        repeats: How often it runs in a row.
        loop: Pairs (output, input) that carry a result into the next repetition.
    """

    def __init__(
        self,
        name: StageName,
        policy: ChunkPolicy,
        function: Callable[..., tuple[Tensor, ...]],
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        repeats: int = 1,
        loop: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__()
        self.name: StageName = name
        self.policy, self.function = policy, function
        self.inputs, self.outputs, self.repeats, self.loop = inputs, outputs, repeats, loop

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the stage once."""
        return self.function(*inputs)


class ChunkPolicy(nn.Module, abc.ABC):
    """A policy for one contract.

    Args:
        config: Its sizes, a frozen dataclass with `architecture` and `build(contract)`.
        contract: What it sees and commands.

    Attributes:
        needs_noise: Whether it samples, from `noise` (B, H, A).
        prefix: The longest delay [control steps] it was trained for; 0 for a policy that takes no prefix.
        prefix_noise: Standard deviation of noise on given actions in training [network units].
        uses_landmarks: Whether `loss` can learn from landmarks.
    """

    state_map: Tensor
    action_map: Tensor
    needs_noise: bool = False
    prefix: int = 0
    prefix_noise: float = 0.0
    uses_landmarks: bool = False

    def __init__(self, config: Any, contract: PolicyContract) -> None:
        super().__init__()
        self.config, self.contract = config, contract
        self.register_buffer("state_map", affine_to_network(contract.state), persistent=False)
        self.register_buffer("action_map", affine_to_network(contract.action), persistent=False)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of `forward`'s inputs in order: the contract's, then `noise`, then `prefix` and `delay`."""
        sampled = (NOISE,) if self.needs_noise else ()
        return (*self.contract.input_names, *sampled, *((PREFIX, DELAY) if self.prefix else ()))

    @abc.abstractmethod
    def forward(self, *inputs: Tensor) -> Tensor:
        """The exported function.

        Args:
            inputs: Raw tensors in the order of `input_names`: those of the contract; `noise` (B, H, A);
                `prefix` (B, H, A) in action units, of which only rows before the delay count; `delay` int64 (B,).

        Returns:
            Action chunk in action units, clipped to the contract's range, (B, H, A), float32. Rows before the delay
            are the prefix's.
        """

    @abc.abstractmethod
    def stages(self) -> tuple[PolicyStage, ...]:
        """The parts of `forward` in order; a policy without language has no `context`, one without cameras no `vision`.

        `run_stages` over them gives what `forward` gives.
        """

    @abc.abstractmethod
    def loss(self, batch: Mapping[str, Tensor], draws: TrainingDraws, landmark_weight: float = 0.0) -> Tensor:
        """Training loss, a scalar.

        Args:
            batch: Raw tensors of `contract.input_names`; `chunk` (B, H, A) in action units and `mask` (B, H), 1 for
                steps that exist; for each camera `landmarks.NAME` (B, L, 4), if there are any.
            draws: Everything random.
            landmark_weight: Of the landmark loss; not 0 only if `uses_landmarks` and the batch has them.
        """

    @torch.no_grad()
    def act(
        self,
        observation: Mapping[str, Tensor],
        noise: Tensor | None = None,
        prefix: Tensor | None = None,
        delay: Tensor | None = None,
    ) -> Tensor:
        """Chunk for a batch of raw observations, see `forward`.

        Args:
            observation: One tensor for each of `contract.input_names`.
            noise: For a policy that samples.
            prefix: Actions that are being executed, in action units (B, H, A); None for none.
            delay: How many of them, int64 (B,); given with `prefix`.

        Raises:
            ValueError: Noise is missing, or a prefix was given that this policy cannot take.
        """
        inputs = [observation[name] for name in self.contract.input_names]
        if self.needs_noise:
            if noise is None:
                raise ValueError("a flow policy needs noise of shape (B, H, A)")
            inputs.append(noise)
        return self(*inputs, *self._told(prefix, delay, observation["state"]))

    def _told(self, prefix: Tensor | None, delay: Tensor | None, state: Tensor) -> tuple[Tensor, ...]:
        if (prefix is None) != (delay is None):
            raise ValueError("prefix and delay go together")
        if prefix is not None and delay is not None:
            longest = int(delay.max())
            if not 0 <= int(delay.min()) <= longest <= self.prefix:
                raise ValueError(f"delay={delay.tolist()}, but this policy was trained for 0 to {self.prefix}")
        if not self.prefix:
            return ()
        if prefix is None or delay is None:
            shape = (len(state), self.contract.chunk_length, *self.contract.action.shape)
            return state.new_zeros(shape), torch.zeros(len(state), dtype=torch.int64, device=state.device)
        return prefix, delay

    def to_network(self, action: Tensor) -> Tensor:
        """Actions in action units to what the network is trained on."""
        return compress(action * self.action_map[0] + self.action_map[1])

    def expand(self, output: Tensor) -> Tensor:
        """What the network gives to actions scaled to [-1, 1]."""
        return expand(output)

    def given(self, observation: Mapping[str, Tensor]) -> Given | None:
        """The decided actions of an observation with `prefix` and `delay`; None for a policy that takes none."""
        return Given.of(self.to_network(observation[PREFIX]), observation[DELAY]) if self.prefix else None

    def training_given(self, chunk: Tensor, draws: TrainingDraws) -> Given | None:
        """The decided actions of a training sample whose chunk (B, H, A) is in network units."""
        if draws.delay is None:
            return None
        told = chunk if draws.told is None else chunk + self.prefix_noise * draws.told
        return Given.of(told, draws.delay)

    def felt(self, state: Tensor) -> Tensor:
        """State normalised for the network, (B, S)."""
        return state * self.state_map[0] + self.state_map[1]

    def finish(self, output: Tensor, prefix: Tensor | None = None, delay: Tensor | None = None) -> Tensor:
        """Network output (B, H, A) to action units, clipped, with the prefix in its rows before the delay."""
        chunk = self.expand(output.float())
        low, high = (
            torch.tensor(bound, device=chunk.device) for bound in (self.contract.action.low, self.contract.action.high)
        )
        chunk = torch.minimum(torch.maximum((chunk - self.action_map[1]) / self.action_map[0], low), high)
        if prefix is None or delay is None:
            return chunk
        return torch.where(known_rows(delay, chunk.shape[1]), prefix, chunk)

    def finish_stage(self) -> PolicyStage:
        """The last stage: `output` in network units to `action`."""
        inputs = ("output", PREFIX, DELAY) if self.prefix else ("output",)
        return PolicyStage("finish", self, self._finished, inputs, (ACTION,))

    def _finished(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return (self.finish(*inputs),)


def run_stages(stages: tuple[PolicyStage, ...], values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run stages in order over a dictionary of tensors.

    Args:
        stages: Of one policy.
        values: Its inputs by name.

    Returns:
        The inputs and everything that was computed; the chunk is `action`.
    """
    known = dict(values)
    for stage in stages:
        for repetition in range(stage.repeats):
            if repetition:
                known |= {name: known[output] for output, name in stage.loop}
            known |= zip(stage.outputs, stage(*(known[name] for name in stage.inputs)), strict=True)
    return known


def compress(action: Tensor) -> Tensor:
    """Companding: normalised commands to network units, with errors near zero weighing more.

    The last centimetre of a reach is driven by commands of a few per cent, which a distance in plain units neglects.
    A median stays the median under a monotonic map, so the L1 head still learns the expert's median command.
    """
    # y = asinh(c a) / asinh(c)
    return torch.asinh(action * COMPANDING) / math.asinh(COMPANDING)


def expand(output: Tensor) -> Tensor:
    """The inverse of `compress`, for outputs up to half beyond the full scale."""
    return torch.sinh(output.clamp(-1.5, 1.5) * math.asinh(COMPANDING)) / COMPANDING


def affine_to_network(feature: FeatureSpec) -> Tensor:
    """Rows a and b of x -> a * x + b."""
    if feature.normalisation == "none":
        return torch.stack([torch.ones(feature.shape), torch.zeros(feature.shape)])
    low, high = torch.tensor(feature.low), torch.tensor(feature.high)
    scale = 2 / (high - low)
    return torch.stack([scale, -low * scale - 1])
