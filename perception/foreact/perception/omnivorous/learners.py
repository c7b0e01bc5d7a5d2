"""What is fitted in each stage: an encoder with what its training needs, and the terms of its loss.

Shape letters: B scenes, N tokens, T sampled tokens, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from foreact.perception.omnivorous.augment import MapWays, foreign, mixed, photometric, shown
from foreact.perception.omnivorous.decoder import PictureDecoder, class_weights, dense_loss, scene_losses
from foreact.perception.omnivorous.memory import AlignedBatch
from foreact.perception.omnivorous.model import KINDS, OmnivorousEncoder, Seen, fused, kinds_left
from foreact.perception.omnivorous.objective import PAIRS, Temperature, anchor, matching, own_tokens
from foreact.perception.omnivorous.trunk import Trunk
from foreact.perception.sigreg import random_lines, sigreg

__all__ = ["AlignConfig", "AlignLearner", "Learner", "TeachConfig", "TeacherLearner"]


@dataclass(frozen=True)
class TeachConfig:
    """What a teacher learns from colours alone: weights of the terms.

    Attributes:
        classes: What each pixel is.
        present: Which classes a picture shows, told by what stands for the whole.
        colours: The picture itself.
        depth: How far each pixel is.
    """

    classes: float = 1.0
    present: float = 1.0
    colours: float = 0.5
    depth: float = 1.0


@dataclass(frozen=True)
class AlignConfig:
    """How kinds of pictures are aligned.

    Attributes:
        anchor: Weight of the anchor to the teacher (lambda); without a teacher it counts for nothing.
        whole: Weight of matching by what stands for the whole.
        pooled: By the mean of the tokens.
        dense: By tokens.
        tokens: T, at the same places in all scenes of an update.
        ways: How maps are shown.
        sigreg: Weight of SIGReg, which keeps features apart where there is no teacher.
        lines: On which it is measured.
        decoding: Weight of drawing all kinds from some, likewise.
        shuffled: Pair each picture with maps of other scenes: a control, which must learn nothing.

    Raises:
        ValueError: A number is out of range.
    """

    anchor: float = 0.3
    whole: float = 1.0
    pooled: float = 1.0
    dense: float = 1.0
    tokens: int = 16
    ways: MapWays = field(default_factory=MapWays)
    sigreg: float = 0.05
    lines: int = 64
    decoding: float = 1.0
    shuffled: bool = False

    def __post_init__(self) -> None:
        weights = (self.anchor, self.whole, self.pooled, self.dense, self.sigreg, self.decoding)
        if min(weights) < 0 or self.tokens < 1 or self.lines < 1:
            raise ValueError(f"objective: expected weights of 0 or more and 1 or more tokens and lines, got {self}")


class Learner(nn.Module, ABC):
    """An encoder in training.

    Args:
        encoder: What is fitted.
    """

    def __init__(self, encoder: OmnivorousEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def losses(self, batch: AlignedBatch, done: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Weighted terms of the loss.

        Args:
            batch: Scenes.
            done: How much of the training is done, 0 to 1.
            generator: Where random numbers are drawn from, on CPU.
        """
        ...


class TeacherLearner(Learner):
    """Learns from colours what pixels are, how far they are, and the colours.

    Args:
        encoder: What is fitted.
        config: Weights.
        side: Of the training pictures [px].
        counts: Pixels of each class in the training data.
    """

    weights: Tensor

    def __init__(self, encoder: OmnivorousEncoder, config: TeachConfig, side: int, counts: Tensor) -> None:
        super().__init__(encoder)
        self.config = config
        channels = {"classes": len(counts), "colours": 3, "depth": 1}
        self.decoder = PictureDecoder(encoder.width, encoder.trunk.grid, _drawn_side(encoder, side), channels)
        self.present = nn.Linear(encoder.width, len(counts))
        self.register_buffer("weights", class_weights(counts), persistent=False)

    def losses(self, batch: AlignedBatch, done: float, generator: torch.Generator) -> dict[str, Tensor]:
        """As `Learner.losses`."""
        seen = self.encoder.see(photometric(batch.rgb, generator))
        drawn = _scaled(self.decoder(seen.tokens), batch.rgb.shape[-1])
        there = nn.functional.one_hot(batch.classes, len(self.weights)).amax((1, 2)).float()
        told = nn.functional.binary_cross_entropy_with_logits(self.present(seen.cls).float(), there)
        terms = scene_losses(drawn, batch.rgb, batch.depth, batch.segments)
        return {
            "classes": self.config.classes * dense_loss(drawn["classes"], batch.classes, self.weights),
            "present": self.config.present * told,
            "colours": self.config.colours * terms["colours"],
            "depth": self.config.depth * terms["depth"],
        }


class AlignLearner(Learner):
    """Makes the same tokens of all kinds of pictures of a scene.

    Args:
        encoder: The student.
        config: Weights and ways.
        teacher: Frozen; None for the variant without one.
        side: Of the training pictures [px].
    """

    def __init__(self, encoder: OmnivorousEncoder, config: AlignConfig, teacher: Trunk | None, side: int) -> None:
        super().__init__(encoder)
        self.config = config
        self.factors = nn.ModuleDict({name: Temperature() for name in ("whole", "pooled", "dense")})
        # kept out of the module tree: it is no part of what is fitted, saved or restored
        self._teacher = [] if teacher is None else [teacher.eval().requires_grad_(False)]
        self.decoder = None
        if teacher is None:
            channels = {"colours": 3, "depth": 1, "borders": 1}
            self.decoder = PictureDecoder(encoder.width, encoder.trunk.grid, _drawn_side(encoder, side), channels)
            self.spread = nn.BatchNorm1d(encoder.width, affine=False)

    def losses(self, batch: AlignedBatch, done: float, generator: torch.Generator) -> dict[str, Tensor]:
        """As `Learner.losses`."""
        planes = self._planes(batch, done, generator)
        count = len(batch.rgb)
        seen = self.encoder.see(torch.cat(list(planes.values())))
        each = {
            kind: Seen(*parts)
            for kind, *parts in zip(planes, seen.tokens.split(count), seen.cls.split(count), strict=True)
        }
        with torch.autocast(batch.rgb.device.type, enabled=False):  # cosines and statistics need all their digits
            terms = self._matched(each, generator)
        if self._teacher:
            terms["anchor"] = self.config.anchor * self._anchored(planes, seen)
        if self.decoder is not None:
            terms |= self._free(batch, each, generator)
        return terms

    def _planes(self, batch: AlignedBatch, done: float, generator: torch.Generator) -> dict[str, Tensor]:
        rgb, ways = photometric(batch.rgb, generator), self.config.ways
        maps = {"depth": batch.depth, "segmentation": batch.segments}
        if self.config.shuffled:
            maps = {kind: foreign(kind, unit) for kind, unit in maps.items()}
        found = {"rgb": rgb}
        for kind, unit in maps.items():
            pictures = shown(kind, unit, rgb, ways, generator)
            found[kind] = mixed(pictures, rgb, ways.mix_at(done), generator)
        return found

    def _matched(self, each: dict[str, Seen], generator: torch.Generator) -> dict[str, Tensor]:
        config = self.config
        count, places = each["rgb"].tokens.shape[:2]
        chosen = torch.randperm(places, generator=generator)[: config.tokens].to(each["rgb"].tokens.device)
        left_out = own_tokens(count, len(chosen), chosen.device)
        features = {
            "whole": {kind: seen.cls for kind, seen in each.items()},
            "pooled": {kind: seen.tokens.mean(1) for kind, seen in each.items()},
            "dense": {kind: seen.tokens[:, chosen].flatten(0, 1) for kind, seen in each.items()},
        }
        found: dict[str, Tensor] = {}
        for name, of in features.items():
            if weight := getattr(config, name):
                masked = left_out if name == "dense" else None
                pairs = [matching(of[one], of[other], self.factors[name](), masked) for one, other in PAIRS]
                found[name] = weight * torch.stack(pairs).mean()
        return found

    def _anchored(self, planes: dict[str, Tensor], seen: Seen) -> Tensor:
        with torch.no_grad():
            cls, tokens = self._teacher[0](torch.cat(list(planes.values())))
        return anchor(seen.cls, cls) + anchor(seen.tokens, tokens)

    def _free(self, batch: AlignedBatch, each: dict[str, Seen], generator: torch.Generator) -> dict[str, Tensor]:
        """Without a teacher: features stay spread out, and some kinds must tell what the others show."""
        assert self.decoder is not None
        left = kinds_left(len(batch.rgb), len(KINDS), generator).to(batch.rgb.device)
        seen = fused([each[kind] for kind in KINDS], list(left))
        drawn = _scaled(self.decoder(seen.tokens), batch.rgb.shape[-1])
        terms = scene_losses(drawn, batch.rgb, batch.depth, batch.segments)
        lines = random_lines(self.encoder.width, self.config.lines, generator)
        with torch.autocast(batch.rgb.device.type, enabled=False):
            flat = [sigreg(self.spread(seen.cls.float()), lines) for seen in each.values()]
        return {
            "sigreg": self.config.sigreg * torch.stack(flat).mean(),
            **{f"decoded_{name}": self.config.decoding * value for name, value in terms.items()},
        }


def _drawn_side(encoder: OmnivorousEncoder, side: int) -> int:
    """Edge of drawn pictures: that of the data rounded up to whole tokens."""
    rows = encoder.trunk.grid[0]
    return -(-side // rows) * rows


def _scaled(drawn: dict[str, Tensor], side: int) -> dict[str, Tensor]:
    if next(iter(drawn.values())).shape[-1] == side:
        return drawn
    return {
        name: nn.functional.interpolate(each, (side, side), mode="bilinear", align_corners=False)
        for name, each in drawn.items()
    }
