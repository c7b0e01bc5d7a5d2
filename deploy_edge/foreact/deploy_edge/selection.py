"""Where activations are rounded, and over which ranges: as much as the parity with the original allows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.calibration import Range, RangeMethod, TensorValues
from foreact.deploy_edge.layers import Layer
from foreact.deploy_edge.quantise import Scheme, quantise
from foreact.episodes.outcome import JSON

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Judge", "Selection", "ranges_of", "select_scheme"]

METHODS: tuple[RangeMethod, ...] = ("minmax", "mse")

Judge = Callable[["ModelProto", bool], float]
"""Smallest cosine of a model with the original on the calibration observations, or on a few of them if quick."""


@dataclass(frozen=True)
class Selection:
    """The scheme that was chosen and how.

    Attributes:
        scheme: What to quantise.
        method: How ranges were chosen.
        min_cosine: On the calibration observations.
        log: Every scheme that was tried.
    """

    scheme: Scheme
    method: RangeMethod
    min_cosine: float
    log: tuple[Mapping[str, JSON], ...] = ()


def ranges_of(values: Mapping[str, TensorValues], method: RangeMethod) -> dict[str, Range]:
    """The range of each tensor."""
    return {name: seen.range(method) for name, seen in values.items()}


def select_scheme(
    model: "ModelProto", layers: Sequence[Layer], values: Mapping[str, TensorValues], judge: Judge, aim: float
) -> Selection:
    """Search for a scheme whose smallest cosine reaches the aim.

    First all layers, with either kind of range. If that is not enough, 7-bit weights, for processors whose 8-bit sums
    saturate. Then layers keep float inputs one after the other (their weights stay int8, so the file stays small),
    those first whose rounding does most harm.

    Args:
        model: With float32 weights.
        layers: Candidates.
        values: What their inputs and results were seen to be.
        judge: Compares a quantised model with the original.
        aim: Smallest cosine to reach; the best scheme is returned even if it does not.
    """
    search = _Search(model, judge)
    tried = [search.attempt(Scheme(layers, ranges_of(values, method)), method, "all") for method in METHODS]
    best = max(tried, key=_worth)
    if best.min_cosine < aim:
        tried = [search.attempt(replace(each.scheme, weight_bits=7), each.method, "all, 7 bits") for each in tried]
        best = max([best, *tried], key=_worth)
    for layer in search.most_harmful_first(best.scheme) if best.min_cosine < aim else []:
        scheme = replace(best.scheme, weight_only=best.scheme.weight_only | {layer.name})
        better = search.attempt(scheme, best.method, f"float input: {layer.name}")
        # a harmless layer may make the worst observation a little worse by chance; the next one may still help
        best = max(best, better, key=_worth)
        if best.min_cosine >= aim:
            break
    return replace(best, log=tuple(search.log))


class _Search:
    def __init__(self, model: "ModelProto", judge: Judge) -> None:
        self._model, self._judge = model, judge
        self.log: list[Mapping[str, JSON]] = []

    def attempt(self, scheme: Scheme, method: RangeMethod, what: str) -> Selection:
        selection = Selection(scheme, method, self._judge(quantise(self._model, scheme), False))
        self.log.append({"what": what, "ranges": method, "min_cosine": round(_worth(selection), 8)})
        return selection

    def most_harmful_first(self, scheme: Scheme) -> list[Layer]:
        """Layers in the order of what each one's float input gains, on a few observations."""
        gains = {layer.name: self._without(scheme, layer) for layer in scheme.layers}
        self.log.append({"what": "each layer's float input alone", **{name: round(x, 8) for name, x in gains.items()}})
        return sorted(scheme.layers, key=lambda layer: -gains[layer.name])

    def _without(self, scheme: Scheme, layer: Layer) -> float:
        alone = replace(scheme, weight_only=scheme.weight_only | {layer.name})
        return float(np.nan_to_num(self._judge(quantise(self._model, alone), True), nan=-2.0))


def _worth(selection: Selection) -> float:
    # a model that gives NaN is worth less than any other
    return float(np.nan_to_num(selection.min_cosine, nan=-2.0))
