"""The plainest policy: the state through a few linear layers. It is what reinforcement learning makes.

Shape letters: B batch, H chunk length, A action elements, S state elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from foreact.episodes.contract import PolicyContract
from foreact.vla.chunk_policy import ChunkPolicy, PolicyStage, TrainingDraws
from foreact.vla.heads import mean_over_steps

__all__ = ["MLPConfig", "MLPPolicy"]

ACTIVATIONS: dict[str, type[nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}


@dataclass(frozen=True)
class MLPConfig:
    """Sizes of the multilayer perceptron.

    Attributes:
        widths: Width of each hidden layer.
        activation: After each hidden layer.
        architecture: `mlp`.

    Raises:
        ValueError: There is no hidden layer, or one without width.
    """

    widths: tuple[int, ...] = (256, 256, 128)
    activation: Literal["elu", "relu", "silu", "tanh"] = "elu"
    architecture: Literal["mlp"] = "mlp"

    def __post_init__(self) -> None:
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"widths={list(self.widths)} must be one or more widths of 1 or more")

    def build(self, contract: PolicyContract) -> MLPPolicy:
        """Make the policy for a contract."""
        return MLPPolicy(self, contract)


class MLPPolicy(ChunkPolicy):
    """State to chunk in action units scaled to [-1, 1], with neither cameras nor language.

    Args:
        config: Sizes.
        contract: What it feels and commands.

    Raises:
        ValueError: The contract has cameras or language, which this policy would ignore.
    """

    config: MLPConfig

    def __init__(self, config: MLPConfig, contract: PolicyContract) -> None:
        super().__init__(config, contract)
        unused = [f"camera {camera.name}" for camera in contract.cameras]
        unused += [] if contract.language is None else ["language"]
        if unused:
            raise ValueError(
                f"an mlp takes the state alone, but the contract has {' and '.join(unused)}; "
                "type streams=[] language=false to leave them out, or policy=tiny for a policy that sees and is told"
            )
        widths = (contract.state.shape[0], *config.widths)
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(before, after), ACTIVATIONS[config.activation]()]
        self.layers = nn.Sequential(*layers)
        self.leave = nn.Linear(widths[-1], contract.chunk_length * contract.action.shape[0])

    def to_network(self, action: Tensor) -> Tensor:
        """Actions scaled to the contract's range, without companding: as reinforcement learning has them."""
        return action * self.action_map[0] + self.action_map[1]

    def expand(self, output: Tensor) -> Tensor:
        """The inverse of `to_network` but for the scale: nothing to undo."""
        return output

    def forward(self, *inputs: Tensor) -> Tensor:
        """See `ChunkPolicy.forward`."""
        (state,) = inputs
        return self.finish(self.decide(state))

    def decide(self, state: Tensor) -> Tensor:
        """The chunk (B, H, A) in network units for raw states (B, S)."""
        shape = (self.contract.chunk_length, *self.contract.action.shape)
        return self.leave(self.layers(self.felt(state))).unflatten(-1, shape)

    def loss(self, batch: Mapping[str, Tensor], draws: TrainingDraws, landmark_weight: float = 0.0) -> Tensor:
        """Mean absolute error; see `ChunkPolicy.loss`."""
        error = (self.decide(batch["state"]).float() - self.to_network(batch["chunk"])).abs().mean(-1)
        return mean_over_steps(error, batch["mask"], None)

    def stages(self) -> tuple[PolicyStage, ...]:
        """See `ChunkPolicy.stages`: there is one, and the end."""
        return (PolicyStage("action_step", self, self._step, ("state",), ("output",)), self.finish_stage())

    def _step(self, state: Tensor) -> tuple[Tensor, ...]:
        return (self.decide(state),)
