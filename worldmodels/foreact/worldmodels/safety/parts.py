"""Everything a filter needs, fitted together, on disk and back: safetensors and JSON, written whole or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from foreact.episodes.outcome import JSON
from foreact.perception.tensor_folder import CheckpointError, read_description, read_tensors, write_folder
from foreact.worldmodels.safety.filter import SafetyFilter, ValueScore
from foreact.worldmodels.safety.latent import LatentConfig, LatentModel
from foreact.worldmodels.safety.margin import Margin
from foreact.worldmodels.safety.uncertainty import AugmentedMargin, Doubt, DoubtConfig
from foreact.worldmodels.safety.value import Value

__all__ = ["SafetyParts", "load_parts", "save_parts"]

NAME = "safety"  # of the two files of a folder


@dataclass(frozen=True)
class SafetyParts:
    """A model with its margin and its value.

    Attributes:
        model: Encoder and predictors.
        config: Sizes of the model.
        margin: l.
        value: V.
        choices: Actions to choose among, (n, A).
        doubt: u, if it is not the disagreement of the model's members.
        limit: eps on u; None leaves the term out.
    """

    model: LatentModel
    config: LatentConfig
    margin: Margin
    value: Value
    choices: Tensor
    doubt: Doubt | None = None
    limit: float | None = None

    def filter(self, delta: float = 0.0, value: nn.Module | None = None) -> SafetyFilter:
        """A filter that takes latents.

        Args:
            delta: Proposals need a score above this; V lies in [-1, 1].
            value: In place of V.
        """
        margin = AugmentedMargin(self.model, self.margin, self.doubt, self.limit)
        return SafetyFilter(ValueScore(self.value if value is None else value, margin), self.choices, delta)

    def at(self, observations: Tensor) -> Tensor:
        """V of observations, (B,)."""
        with torch.no_grad():
            return self.value(self.model.encode(observations))


def save_parts(path: Path, parts: SafetyParts, observed: tuple[int, ...], about: Mapping[str, JSON]) -> None:
    """Write a folder that `load_parts` and `TinyFilter.load` read; an existing one is replaced.

    Args:
        path: The folder.
        parts: What to keep.
        observed: Shape of one observation.
        about: Where it comes from, for people.
    """
    modules = {"model": parts.model, "margin": parts.margin, "value": parts.value}
    if parts.doubt is not None:
        modules["doubt"] = parts.doubt
    tensors = {f"{part}.{name}": each for part, module in modules.items() for name, each in module.state_dict().items()}
    described = {
        "observed": list(observed),
        "latent": dataclasses.asdict(parts.config),
        "widths": {"margin": parts.margin.width, "value": parts.value.width},
        "doubt": None if parts.doubt is None else dataclasses.asdict(parts.doubt.config),
        "limit": parts.limit,
        "about": dict(about),
    }
    write_folder(path, NAME, {**tensors, "choices": parts.choices}, described)


def load_parts(path: Path) -> SafetyParts:
    """Read what `save_parts` wrote, in evaluation mode; weights take no gradients.

    Raises:
        CheckpointError: Missing, truncated, altered, or not a filter; the message says which file.
    """
    described = read_description(path, NAME)
    tensors = read_tensors(path, NAME, described)
    try:
        config = LatentConfig(**described["latent"])
        model = LatentModel(tuple(described["observed"]), tensors["choices"].shape[1], config)
        margin = Margin(model.latent, described["widths"]["margin"])
        value = Value(model.latent, described["widths"]["value"])
        modules: dict[str, nn.Module] = {"model": model, "margin": margin, "value": value}
        doubt = None if described["doubt"] is None else Doubt(model.latent, DoubtConfig(**described["doubt"]))
        if doubt is not None:
            modules["doubt"] = doubt
        for name, module in modules.items():
            module.load_state_dict(_below(tensors, f"{name}."))
            module.eval().requires_grad_(False)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path / NAME}.json does not describe these weights: {error}") from error
    return SafetyParts(model, config, margin, value, tensors["choices"], doubt, described["limit"])


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
