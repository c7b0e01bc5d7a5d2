"""What the quantisation of an exported policy is asked for."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Correction", "QuantiseConfig"]

Correction = Literal["bias", "equalise", "temperature", "residual"]
CORRECTIONS: tuple[Correction, ...] = ("bias", "equalise", "temperature", "residual")
GROUPS = (16, 32, 64, 128)


@dataclass(frozen=True)
class QuantiseConfig:
    """Which bits, where, and how they are chosen.

    Attributes:
        weights: `int8`; `int4` for linear layers and 8 for all else; `mixed`: 4, 8 or 16 per layer within a budget.
        symmetric: int8 activations without zero points, which TensorRT asks for; otherwise uint8 with zero points.
        inputs: Inputs of linear layers: `float`, `int8`, or `auto`: int8 where linear layers do most of the work.
        budget: Average bits of a weight, for `mixed` only.
        group: Weights that share one scale, for 4 bits only.
        rounding: Weights to the `nearest` integer, or `adaptive`: so that the layer's results on the calibration
            observations stay nearest.
        corrections: What is done beside rounding: see docs/methods/corrections.md.
        margin: Part of the allowed error that the calibration observations may use; others may come out worse.
        everything: The naive control: every tensor rounded to the nearest integer, one scale per tensor, no correction.
        bits: Of the control's weights and activations.

    Raises:
        ValueError: A value is out of range.
    """

    weights: Literal["int8", "int4", "mixed"] = "int8"
    symmetric: bool = False
    inputs: Literal["auto", "float", "int8"] = "auto"
    budget: float = 6.0
    group: int = 32
    rounding: Literal["nearest", "adaptive"] = "adaptive"
    corrections: tuple[Correction, ...] = ("bias", "equalise")
    margin: float = 0.9
    everything: bool = False
    bits: int = 8

    def __post_init__(self) -> None:
        if not 4 <= self.budget <= 16:
            raise ValueError(f"budget={self.budget} must lie between 4 and 16 bits per weight")
        if not 0 < self.margin <= 1:
            raise ValueError(f"margin={self.margin} must be above 0 and at most 1")
        if self.group not in GROUPS:
            raise ValueError(f"group={self.group} must be one of {', '.join(map(str, GROUPS))}")
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits={self.bits} must lie between 2 and 8")
        unknown = [each for each in self.corrections if each not in CORRECTIONS]
        if unknown:
            raise ValueError(f"corrections={unknown} must be among {', '.join(CORRECTIONS)}")

    @property
    def precision(self) -> str:
        """What a file made so calls itself, for its metadata."""
        return f"naive{self.bits}" if self.everything else self.weights
