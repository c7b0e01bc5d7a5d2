"""Linear probes: what a patch shows, told from its token by one linear layer, every class counting the same.

Shape letters: N scenes, T tokens, D width, C classes, H and W height and width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["Hits", "Probe", "fit_probe", "interval", "probed", "token_classes"]

PURE = 0.75  # share of a patch that one class must cover for the patch to count
LEAST = 20  # tokens that a class must have in either half of the scenes to be asked for
ROUNDS = 60
DECAY = 1e-3


@dataclass(frozen=True)
class Probe:
    """A linear layer on standardised tokens.

    Attributes:
        mean: (D,).
        scale: (D,).
        weight: (D, C).
        bias: (C,).
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __call__(self, tokens: Float[Tensor, "*n d"]) -> Int[Tensor, "*n"]:
        """The class of each token."""
        return (((tokens - self.mean) / self.scale) @ self.weight + self.bias).argmax(-1)


@dataclass(frozen=True)
class Hits:
    """How often a probe was right, scene by scene.

    Attributes:
        right: Tokens told right, (N, C).
        all: Tokens, (N, C).
        asked: Classes that count, (C,).
    """

    right: Float[Tensor, "n c"]
    all: Float[Tensor, "n c"]
    asked: Tensor

    @property
    def accuracy(self) -> float:
        """Balanced: the mean over classes of the share that was told right."""
        return _balanced(self.right.sum(0), self.all.sum(0), self.asked).item()


def token_classes(classes: Int[Tensor, "n h w"], rows: int, count: int) -> Int[Tensor, "n t"]:
    """The class that covers at least 3/4 of each patch; -1 where there is none.

    Args:
        classes: Of pixels.
        rows: Patches of a row and of a column.
        count: C.
    """
    shares = nn.functional.one_hot(classes.long(), count).permute(0, 3, 1, 2).float()
    shares = nn.functional.adaptive_avg_pool2d(shares, rows).flatten(2)
    share, found = shares.max(1)
    return torch.where(share >= PURE - 1e-6, found, -1)


def fit_probe(tokens: Float[Tensor, "n d"], classes: Int[Tensor, " n"], count: int) -> Probe:
    """Fit by balanced logistic regression.

    Args:
        tokens: D numbers each.
        classes: Of the tokens.
        count: C; a class without tokens is never told.

    Raises:
        ValueError: Not two classes at least.
    """
    seen = torch.bincount(classes, minlength=count).float()
    if (seen > 0).sum() < 2:
        raise ValueError("probe: the scenes show fewer than two classes; give more scenes")
    mean, scale = tokens.mean(0), tokens.std(0).clamp(min=1e-6)
    x = (tokens - mean) / scale
    weights = torch.where(seen > 0, len(classes) / (seen.clamp(min=1) * (seen > 0).sum()), 0.0)
    weight, bias = torch.zeros(x.shape[1], count, requires_grad=True), torch.zeros(count, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = nn.functional.cross_entropy(x @ weight + bias, classes, weights) + DECAY * weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    bias = torch.where(seen > 0, bias.detach(), -torch.inf)
    return Probe(mean, scale, weight.detach(), bias)


def probed(learnt: Tensor, judged: dict[str, Tensor], classes: Int[Tensor, "n t"], count: int) -> dict[str, Hits]:
    """Probes fitted on half of the scenes and asked about the other half, both ways.

    Args:
        learnt: Tokens that they are fitted on, (N, T, D).
        judged: Tokens of the same scenes that they are asked about, by name.
        classes: Of the tokens; -1 for those that do not count.
        count: C.

    Raises:
        ValueError: The scenes show too few classes.
    """
    even = torch.arange(len(classes)) % 2 == 0
    seen = torch.stack([_counted(classes[half], count).sum(0) for half in (even, ~even)])
    asked = (seen >= LEAST).all(0)
    if asked.sum() < 2:
        raise ValueError(f"probe: fewer than two classes have {LEAST} tokens in each half; give more scenes")
    right = {name: torch.zeros(len(classes), count) for name in judged}
    for half in (even, ~even):
        known = classes[half] >= 0
        probe = fit_probe(learnt[half][known], classes[half][known], count)
        for name, tokens in judged.items():
            told = torch.where(probe(tokens[~half]) == classes[~half], classes[~half], -1)
            right[name][~half] = _counted(told, count)
    every = _counted(classes, count)
    return {name: Hits(each, every, asked) for name, each in right.items()}


def interval(first: Hits, second: Hits, rounds: int = 400, seed: int = 0) -> tuple[float, float]:
    """Of the difference of two balanced accuracies of the same scenes, 95 %, by drawing scenes anew.

    Args:
        first: Minuend.
        second: Subtrahend.
        rounds: Draws.
        seed: Of them.
    """
    generator = torch.Generator().manual_seed(seed)
    count = len(first.all)
    drawn = torch.randint(0, count, (rounds, count), generator=generator)
    found = [_balanced(each.right[drawn].sum(1), each.all[drawn].sum(1), each.asked) for each in (first, second)]
    low, high = torch.quantile(found[0] - found[1], torch.tensor([0.025, 0.975])).tolist()
    return low, high


def _counted(classes: Int[Tensor, "n t"], count: int) -> Float[Tensor, "n c"]:
    """Tokens of each class in each scene; -1 is none."""
    return nn.functional.one_hot(classes + 1, count + 1)[..., 1:].sum(-2).float()


def _balanced(right: Tensor, every: Tensor, asked: Tensor) -> Tensor:
    return (right / every.clamp(min=1))[..., asked].mean(-1)
