"""Which layers become int8 and over which ranges: whatever keeps the policy nearest to the original."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.calibration import Range, RangeMethod, TensorValues
from foreact.deploy_edge.layers import Layer
from foreact.deploy_edge.parity import Parity
from foreact.deploy_edge.quantise import Scheme, quantise
from foreact.episodes.outcome import JSON

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Selection", "ranges_of", "select_scheme"]

METHODS: tuple[RangeMethod, ...] = ("minmax", "mse")
Judge = Callable[["ModelProto"], Parity]
"""Compares a model with the original on the calibration observations."""


@dataclass(frozen=True)
class Selection:
    """The scheme that was chosen and how.

    Attributes:
        scheme: What to quantise.
        method: How ranges were chosen.
        parity: On the calibration observations.
        log: Every scheme that was tried: what, and the smallest cosine.
    """

    scheme: Scheme
    method: RangeMethod
    parity: Parity
    log: tuple[Mapping[str, JSON], ...]


def ranges_of(values: Mapping[str, TensorValues], method: RangeMethod) -> dict[str, Range]:
    """The range of each tensor."""
    return {name: seen.range(method) for name, seen in values.items()}


def select_scheme(
    model: "ModelProto",
    layers: Sequence[Layer],
    values: Mapping[str, TensorValues],
    judge: Judge,
    aim: float,
    spare_bytes: Callable[["ModelProto"], float],
) -> Selection:
    """Search for a scheme whose smallest cosine reaches the aim.

    All layers with either kind of range; then, if that is not enough, with 7-bit weights; then with one layer after
    the other left float: each time the one whose loss helps most, among those small enough for the size budget.

    Args:
        model: With float32 weights.
        layers: Candidates.
        values: What their inputs and results were seen to be.
        judge: Compares a quantised model with the original.
        aim: Smallest cosine to reach; the best scheme is returned even if it does not.
        spare_bytes: How many more bytes a quantised model may take.
    """
    search = _Search(model, judge)
    tried = [search.attempt(Scheme(layers, ranges_of(values, method)), method) for method in METHODS]
    best = max(tried, key=_worth)
    if best.parity.min_cosine < aim:
        tried = [search.attempt(replace(each.scheme, weight_bits=7), each.method) for each in tried]
        best = max([best, *tried], key=_worth)
    while best.parity.min_cosine < aim:
        shorter = search.without_one(best, spare_bytes(quantise(model, best.scheme)))
        if shorter is None or _worth(shorter) <= _worth(best):
            break
        best = shorter
    return replace(best, log=tuple(search.log))


class _Search:
    def __init__(self, model: "ModelProto", judge: Judge) -> None:
        self._model, self._judge = model, judge
        self.log: list[Mapping[str, JSON]] = []

    def attempt(self, scheme: Scheme, method: RangeMethod, left_float: str = "") -> Selection:
        parity = self._judge(quantise(self._model, scheme))
        self.log.append(
            {
                "ranges": method,
                "weight_bits": scheme.weight_bits,
                "layers": len(scheme.layers),
                "also_float": left_float,
                "min_cosine": round(parity.min_cosine, 8),
            }
        )
        return Selection(scheme, method, parity, ())

    def without_one(self, current: Selection, spare: float) -> Selection | None:
        """The best scheme with one layer less that fits the budget; None if none fits."""
        scheme = current.scheme
        # a weight of int8 that becomes float32 takes 3 bytes more
        fitting = [layer for layer in scheme.layers if 3 * layer.elements <= spare]
        attempts = [
            self.attempt(
                replace(scheme, layers=[each for each in scheme.layers if each is not layer]), current.method, layer.name
            )
            for layer in fitting
        ]
        return max(attempts, key=_worth, default=None)


def _worth(selection: Selection) -> float:
    # a model that gives NaN is worth less than any other
    return float(np.nan_to_num(selection.parity.min_cosine, nan=-2.0))
