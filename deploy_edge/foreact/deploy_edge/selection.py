"""Where activations are rounded, and over which ranges: as much as the parity with the original allows."""

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

__all__ = ["Judge", "Selection", "inner_convolutions", "ranges_of", "select_scheme"]

MARGIN = 0.6  # part of the allowed error that the calibration observations may use
TAIL = 15  # the worst of some hundred observations has about this many times the mean error
METHODS: tuple[RangeMethod, ...] = ("minmax", "mse")

Judge = Callable[["ModelProto", bool], Parity]
"""Compares a model with the original on the calibration observations, or on a few of them if quick."""


@dataclass(frozen=True)
class Selection:
    """The scheme that was chosen and how.

    Attributes:
        scheme: What to quantise.
        method: How ranges were chosen.
        score: On the calibration observations: `Parity.score`, or what the mean error lets one expect if that is worse.
        log: Every scheme that was tried.
    """

    scheme: Scheme
    method: RangeMethod
    score: float
    log: tuple[Mapping[str, JSON], ...] = ()


def ranges_of(values: Mapping[str, TensorValues], method: RangeMethod) -> dict[str, Range]:
    """The range of each tensor."""
    return {name: seen.range(method) for name, seen in values.items()}


def select_scheme(
    model: "ModelProto", layers: Sequence[Layer], values: Mapping[str, TensorValues], judge: Judge, gate: float
) -> Selection:
    """Search for a scheme that passes the gate with as many 8-bit inputs as possible.

    Inner convolutions do most of the work and are rounded on both sides. Everything else keeps a float input from the
    start (its weights are int8, so the file stays small): linear layers, convolutions on raw sensor planes, where
    colours and metres would share one range, and convolutions whose results are the logits of a softmax.
    If that is not enough, inner convolutions follow one after the other, those first whose rounding does most harm on
    the mean; the smallest cosine alone is too noisy to order them by. Each step is tried with either kind of range.
    Rounding the inputs of linear layers too made no inference of one observation measurably faster.

    Args:
        model: With float32 weights.
        layers: Candidates.
        values: What their inputs and results were seen to be.
        judge: Compares a quantised model with the original.
        gate: Smallest cosine allowed; the best scheme is returned even if none reaches it.
    """
    search = _Search(model, judge, gate)
    # other observations may come out worse, so a part of the allowed error is left for them
    aim = 1 - MARGIN * (1 - gate)
    float_inputs = {layer.name for layer in layers} - inner_convolutions(model, layers)
    starts: dict[RangeMethod, Scheme] = {
        method: Scheme(layers, ranges_of(values, method), frozenset(float_inputs)) for method in METHODS
    }
    best = search.better_of(starts, "inner convolutions")
    for layer in search.most_harmful_first(best.scheme) if _worth(best) < aim else []:
        float_inputs.add(layer.name)
        schemes: dict[RangeMethod, Scheme] = {
            name: replace(start, weight_only=frozenset(float_inputs)) for name, start in starts.items()
        }
        # a harmless layer may make the worst observation a little worse by chance; the next one may still help
        best = max(best, search.better_of(schemes, f"float input also: {layer.name}"), key=_worth)
        if best.score >= aim:
            break
    return replace(best, log=tuple(search.log))


def inner_convolutions(model: "ModelProto", layers: Sequence[Layer]) -> set[str]:
    """Names of convolutions that read another layer's result and are not the logits of a softmax."""
    computed = {layer.result for layer in layers}
    convolutions = [layer for layer in layers if layer.operator == "Conv" and layer.source in computed]
    return {layer.name for layer in convolutions if not _becomes_logits(model, layers, layer.result)}


def _becomes_logits(model: "ModelProto", layers: Sequence[Layer], tensor: str) -> bool:
    """Whether a softmax follows before the next layer."""
    stops, waiting, seen = {layer.node for layer in layers}, [tensor], {tensor}
    while waiting:
        current = waiting.pop()
        for node in model.graph.node:
            if current not in node.input or node.name in stops:
                continue
            if node.op_type == "Softmax":
                return True
            waiting += [name for name in node.output if name not in seen]
            seen.update(node.output)
    return False


class _Search:
    def __init__(self, model: "ModelProto", judge: Judge, gate: float) -> None:
        self._model, self._judge, self._gate = model, judge, gate
        self.log: list[Mapping[str, JSON]] = []

    def better_of(self, schemes: Mapping[RangeMethod, Scheme], what: str) -> Selection:
        tried = [self._attempt(scheme, method, what) for method, scheme in schemes.items()]
        return max(tried, key=_worth)

    def most_harmful_first(self, scheme: Scheme) -> list[Layer]:
        """Rounded layers in the order of the mean error left when one keeps its float input, on a few observations."""
        rounded = [layer for layer in scheme.layers if layer.name not in scheme.weight_only]
        left = {layer.name: self._error_without(scheme, layer) for layer in rounded}
        errors = {name: round(error, 8) for name, error in left.items()}
        self.log.append({"what": "mean error with one more float input", **errors})
        return sorted(rounded, key=lambda layer: left[layer.name])

    def _attempt(self, scheme: Scheme, method: RangeMethod, what: str) -> Selection:
        parity = self._judge(quantise(self._model, scheme), False)
        # which observation comes out worst is chance; what the mean lets one expect of others is steadier
        score = min(parity.score(self._gate), 1 - TAIL * parity.mean_error)
        selection = Selection(scheme, method, score)
        self.log.append({"what": what, "ranges": method, "score": round(_worth(selection), 8)})
        return selection

    def _error_without(self, scheme: Scheme, layer: Layer) -> float:
        alone = replace(scheme, weight_only=scheme.weight_only | {layer.name})
        return float(np.nan_to_num(self._judge(quantise(self._model, alone), True).max_abs.mean(), nan=np.inf))


def _worth(selection: Selection) -> float:
    # a model that gives NaN is worth less than any other
    return float(np.nan_to_num(selection.score, nan=-2.0))
