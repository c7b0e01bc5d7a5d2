"""Is a scene, seen with one kind of picture, found among many that were seen with another?

Shape letters: N scenes, T tokens, D width. Source of the protocol: Kabra et al. 2026, arXiv 2602.24181, section 4: ties
count as failures, and maps are grey.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import permutations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from foreact.perception.omnivorous.augment import foreign
from foreact.perception.omnivorous.memory import AlignedBatch, PictureMemory
from foreact.perception.omnivorous.model import KINDS, OmnivorousEncoder, Seen
from foreact.perception.omnivorous.palette import coloured, grey

__all__ = ["FEATURES", "VIEWS", "cosines", "features", "found_first", "recall_interval", "recalls", "seen_scenes"]

FEATURES = ("cls", "pooled", "quarters")
NEAR = 1e-6
SCENES = 64  # of a batch

VIEWS: Mapping[str, Callable[[str, Tensor, Tensor], Tensor]] = {
    "grey": lambda kind, unit, rgb: grey(unit),
    "foreign": lambda kind, unit, rgb: coloured(unit, foreign(kind, rgb)),
    "coloured": lambda kind, unit, rgb: coloured(unit, rgb),
}
"""Ways to show a map: grey, in the colours of another scene, and in those of the same scene, which tell it."""


def seen_scenes(encoder: OmnivorousEncoder, data: PictureMemory, view: str = "grey") -> dict[str, Seen]:
    """What an encoder makes of all scenes, by kind, on CPU.

    Args:
        encoder: In evaluation mode.
        data: Scenes.
        view: One of `VIEWS`.
    """
    parts: dict[str, list[Seen]] = {kind: [] for kind in KINDS}
    with torch.inference_mode():
        for start in range(0, len(data), SCENES):
            batch = data.take(slice(start, start + SCENES))
            for kind in KINDS:
                seen = encoder.see(pictures_of(batch, kind, view))
                parts[kind].append(Seen(seen.tokens.float().cpu(), seen.cls.float().cpu()))
    return {
        kind: Seen(torch.cat([each.tokens for each in found]), torch.cat([each.cls for each in found]))
        for kind, found in parts.items()
    }


def pictures_of(batch: AlignedBatch, kind: str, view: str) -> Float[Tensor, "b 3 h w"]:
    """One kind of pictures of a batch, a map shown in one of `VIEWS`."""
    if kind == "rgb":
        return batch.rgb
    return VIEWS[view](kind, batch.depth if kind == "depth" else batch.segments, batch.rgb)


def features(seen: Seen) -> dict[str, Float[Tensor, "n e"]]:
    """What scenes are compared by: the token of the whole, the mean token, and the mean tokens of four quarters."""
    side = round(seen.tokens.shape[1] ** 0.5)
    cells = seen.tokens.transpose(1, 2).unflatten(2, (side, side))
    quarters = torch.nn.functional.adaptive_avg_pool2d(cells, 2).flatten(1)
    return {"cls": seen.cls, "pooled": seen.tokens.mean(1), "quarters": quarters}


def found_first(queries: Float[Tensor, "n e"], keys: Float[Tensor, "n e"]) -> Bool[Tensor, " n"]:
    """Queries whose own key has the largest cosine, larger than any other by more than 1e-6."""
    queries, keys = (torch.nn.functional.normalize(each, dim=-1) for each in (queries, keys))
    scores = queries @ keys.T
    own = scores.diagonal()[:, None]
    # rank = number of keys with score >= own - 1e-6, the own one among them
    return (scores >= own - NEAR).sum(1) == 1


def recall_interval(seen: Mapping[str, Seen], name: str, rounds: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Of the mean recall over the six pairs, 95 %, by drawing queries' scenes anew among the same keys.

    Args:
        seen: By kind.
        name: One of `FEATURES`.
        rounds: Draws.
        seed: Of them.
    """
    of = {kind: features(each)[name] for kind, each in seen.items()}
    hits = torch.stack([found_first(of[one], of[other]) for one, other in permutations(KINDS, 2)]).float().mean(0)
    drawn = torch.randint(0, len(hits), (rounds, len(hits)), generator=torch.Generator().manual_seed(seed))
    low, high = torch.quantile(hits[drawn].mean(1), torch.tensor([0.025, 0.975])).tolist()
    return low, high


def recalls(seen: Mapping[str, Seen], shift: int = 0) -> dict[str, dict[str, float]]:
    """Recall at 1 of the six directed pairs of kinds, by feature, then by pair, with their `mean`.

    Args:
        seen: By kind.
        shift: Scenes by which the partners are displaced: a control that must stay at chance.
    """
    of = {kind: features(each) for kind, each in seen.items()}
    found: dict[str, dict[str, float]] = {}
    for name in FEATURES:
        pairs = {
            f"{one}_to_{other}": found_first(of[one][name], of[other][name].roll(shift, 0)).float().mean().item()
            for one, other in permutations(KINDS, 2)
        }
        found[name] = {"mean": sum(pairs.values()) / len(pairs), **pairs}
    return found


def cosines(seen: Mapping[str, Seen], name: str = "pooled") -> dict[str, float]:
    """Mean cosines of a scene's two kinds, and of two scenes of one kind: the second should stay below the first.

    Args:
        seen: By kind.
        name: One of `FEATURES`.
    """
    unit = {kind: torch.nn.functional.normalize(features(each)[name], dim=-1) for kind, each in seen.items()}
    pairs = {
        f"{one}_{other}": (unit[one] * unit[other]).sum(-1).mean().item()
        for one, other in (("rgb", "depth"), ("depth", "segmentation"), ("segmentation", "rgb"))
    }
    others = {f"{kind}_other_scene": (each * each.roll(1, 0)).sum(-1).mean().item() for kind, each in unit.items()}
    return pairs | others
