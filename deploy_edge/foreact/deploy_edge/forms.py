"""Which form each layer takes: as fast as the gate allows.

Shape letters: N observations.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.calibration import RangeMethod, TensorValues
from foreact.deploy_edge.layers import Layer
from foreact.deploy_edge.parity import Gate, Parity
from foreact.deploy_edge.qdq import Form, Scheme
from foreact.deploy_edge.tidy import tensor_shapes
from foreact.episodes.outcome import JSON

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Choice", "Judge", "choose_forms", "fastest_forms", "inner_convolutions", "positions_of"]

TAIL = 5  # the worst of some hundred observations has about so many times the mean error
QUICK = 128  # calibration observations that each layer alone is measured on
WORTH = 0.02  # of the time of all slowed layers: what takes less is not tried fast again
MANY_ROWS = 16  # from so many rows on, rounding a linear layer's input beforehand is faster than while multiplying
# time that float arithmetic takes more than integers, per product, relative to a convolution's
MORE_TIME: Mapping[str, float] = {"Conv": 1.0, "Gemm": 8.0, "MatMul": 8.0}
METHODS: tuple[RangeMethod, ...] = ("wide", "wider")

Judge = Callable[[Scheme, int | None], Parity]
"""Compares a scheme's model with the original on the first so many calibration observations, on all if None."""


@dataclass(frozen=True)
class Choice:
    """The scheme that was chosen and how.

    Attributes:
        scheme: What becomes of each layer.
        method: How ranges were chosen.
        parity: On the calibration observations.
        log: Every scheme that was tried.
    """

    scheme: Scheme
    method: RangeMethod
    parity: Parity
    log: tuple[Mapping[str, JSON], ...] = ()


def fastest_forms(model: "ModelProto", layers: Sequence[Layer], inputs: str) -> dict[str, Form]:
    """Where the search begins.

    Inner convolutions do most of the work and are integer on both sides. Convolutions on raw sensor planes, where
    colours and metres would share one range, and those whose results are the logits of a softmax, compute in float.
    Linear layers read float and round it as they multiply, or beforehand if there are many rows; those that share
    weights compute in float, because engines cannot multiply one copy of integers in several nodes.

    Args:
        model: With float32 weights.
        layers: All of its layers.
        inputs: Of linear layers: `float`, `int8`, or `auto` for whichever is faster.
    """
    rows, inner = positions_of(model, layers), inner_convolutions(model, layers)
    uses = [layer.weight for layer in layers].count
    forms: dict[str, Form] = {}
    for layer in layers:
        if layer.operator == "Conv":
            form: Form = "both" if layer.name in inner else "unpacked"
        elif inputs == "int8" or (inputs == "auto" and rows[layer.name] >= MANY_ROWS):
            form = "both"
        else:
            form = "rows" if uses(layer.weight) == 1 else "unpacked"
        # layers that share weights take one form
        forms[layer.weight] = _slower(form, forms.get(layer.weight, form))
    return forms


def choose_forms(
    model: "ModelProto",
    start: Scheme,
    values: Mapping[str, TensorValues],
    judge: Judge,
    gate: Gate,
    margin: float,
) -> Choice:
    """Let layers compute in float, those first that gain most for the time they take, until the gate is passed.

    Each layer's share is measured alone, with all others in float: their errors are independent, so squares add up.

    Args:
        model: With float32 weights.
        start: Forms to begin with and integers of all weights; its ranges are not used.
        values: What the tensors that may be rounded were seen to be.
        judge: Compares a scheme with the original.
        gate: What the result should keep to; the best choice is returned even if none does.
        margin: Part of the allowed error that the calibration observations may use; others may come out worse.
    """
    starts: dict[RangeMethod, Scheme] = {each: replace(start, ranges=_ranges(values, each)) for each in METHODS}
    search = _Search(judge, gate, margin, starts, _prices(model, start.layers))
    best, steady = search.attempt(start.forms, "fastest")
    while not steady and (layer := search.dearest_error()) is not None:
        search.slow_down(layer)
        # what is left is predicted, and tried only where the prediction passes, or where nothing more can be done
        if search.predicted() <= margin or not search.left():
            found, steady = search.attempt(search.forms, f"float: {layer.name}")
            best = found if steady else min(best, found, key=search.use)
    for layer in search.slowed() if steady else []:
        found, steady = search.attempt({**best.scheme.forms, layer.weight: start.form(layer)}, f"back: {layer.name}")
        best = found if steady else best
    return replace(best, log=tuple(search.log))


def inner_convolutions(model: "ModelProto", layers: Sequence[Layer]) -> set[str]:
    """Names of convolutions that read another layer's result and are not the logits of a softmax."""
    computed = {layer.result for layer in layers}
    convolutions = [layer for layer in layers if layer.operator == "Conv" and layer.source in computed]
    return {layer.name for layer in convolutions if not _becomes_logits(model, layers, layer.result)}


def positions_of(model: "ModelProto", layers: Sequence[Layer]) -> dict[str, int]:
    """How many times each layer multiplies its weights in one inference: rows of a matrix, or pixels."""
    shapes, nodes = tensor_shapes(model), {node.name: node for node in model.graph.node}
    found: dict[str, int] = {}
    for layer in layers:
        shape = shapes[nodes[layer.node].output[0]]
        places = shape[2:] if layer.operator == "Conv" else shape[:-1]
        found[layer.name] = int(np.prod(places))
    return found


class _Search:
    def __init__(
        self,
        judge: Judge,
        gate: Gate,
        margin: float,
        starts: Mapping[RangeMethod, Scheme],
        prices: Mapping[str, float],
    ) -> None:
        self._judge, self._gate, self._margin, self._starts, self._prices = judge, gate, margin, starts, prices
        start = starts[METHODS[0]]
        self.forms: dict[str, Form] = dict(start.forms)
        self.log: list[Mapping[str, JSON]] = []
        # groups of 4-bit weights have no form in float arithmetic
        may_slow = {
            each.weight
            for each in start.layers
            if start.form(each) in ("both", "rows") and start.integers[each.weight].group is None
        }
        self._layers = {each.weight: each for each in reversed(start.layers) if each.weight in may_slow}
        self._shares: dict[str, np.ndarray] = {}
        self._base = np.zeros(0)

    def use(self, choice: Choice) -> float:
        """Part of the allowed error that a choice uses; a model that gives NaN is worse than any other.

        Which observation comes out worst is chance; what the mean lets one expect of others is steadier.
        """
        used = choice.parity.use_of(self._gate)
        return float(np.nan_to_num(max(used, self._tail(choice.parity.range_fraction)), nan=np.inf))

    def attempt(self, forms: Mapping[str, Form], what: str) -> tuple[Choice, bool]:
        """These forms with the better kind of range, and whether either kind passes: one alone may do so by luck."""
        choices: list[Choice] = []
        for method, start in self._starts.items():
            scheme = replace(start, forms=dict(forms))
            choices.append(Choice(scheme, method, self._judge(scheme, None)))
            self.log.append({"what": what, "ranges": method, "use": _finite(self.use(choices[-1]))})
        return min(choices, key=self.use), max(map(self.use, choices)) <= self._margin

    def dearest_error(self) -> Layer | None:
        """The layer in integers whose float arithmetic would save most error for its time."""
        if not self._shares:
            self._measure()
        left = self.left()
        if not left:
            return None
        total = self._total()
        # the fourth power weighs the observations most that come out worst
        gains = {
            weight: float((total**2 - (total - self._shares[weight]) ** 2).mean()) / self._prices[weight]
            for weight in left
        }
        return self._layers[max(gains, key=lambda weight: gains[weight])]

    def left(self) -> list[str]:
        """Weights of the layers that still compute in integers."""
        return [weight for weight in self._layers if self.forms[weight] != "unpacked"]

    def slow_down(self, layer: Layer) -> None:
        """Let a layer compute in float from now on."""
        self.forms[layer.weight] = "unpacked"

    def slowed(self) -> list[Layer]:
        """Layers that were slowed down, those first that take most time, without those that take hardly any."""
        prices = {weight: self._prices[weight] for weight in self._layers if self.forms[weight] == "unpacked"}
        found = [weight for weight, price in prices.items() if price >= WORTH * sum(prices.values())]
        return [self._layers[weight] for weight in sorted(found, key=lambda weight: -prices[weight])]

    def predicted(self) -> float:
        """Part of the allowed error that the present forms should use; 0 if the gate asks for a cosine only."""
        worst = np.sqrt(self._total())
        allowed = self._gate.max_range_fraction
        return 0.0 if allowed is None else max(float(worst.max()) / allowed, self._tail(worst))

    def _tail(self, fractions: np.ndarray) -> float:
        allowed = self._gate.max_range_fraction
        return 0.0 if allowed is None else TAIL * float(fractions.mean()) / allowed

    def _total(self) -> np.ndarray:
        """Predicted squared error of each observation, (N,)."""
        return self._base + sum(self._shares[weight] for weight in self.left())

    def _measure(self) -> None:
        """Squared error of each layer alone, mean of both kinds of range."""
        exact = dict(self.forms)
        exact.update(dict.fromkeys(self._layers, "unpacked"))
        self._base = self._squares(exact)
        for weight in self._layers:
            alone = self._squares({**exact, weight: self.forms[weight]})
            self._shares[weight] = np.maximum(alone - self._base, 0.0)
        worst = {weight: _finite(float(np.sqrt(share.max()))) for weight, share in self._shares.items()}
        self.log.append({"what": "worst error of each layer alone", **worst})

    def _squares(self, forms: Mapping[str, Form]) -> np.ndarray:
        parities = [self._judge(replace(start, forms=dict(forms)), QUICK) for start in self._starts.values()]
        errors = [each.max_abs if np.isnan(each.range_fraction).any() else each.range_fraction for each in parities]
        return np.mean([np.nan_to_num(each, nan=1e3) ** 2 for each in errors], axis=0)


def _ranges(values: Mapping[str, TensorValues], method: RangeMethod) -> dict[str, tuple[float, float]]:
    return {name: seen.range(method) for name, seen in values.items()}


def _prices(model: "ModelProto", layers: Sequence[Layer]) -> dict[str, float]:
    """Extra time of computing in float, by weight tensor."""
    rows = positions_of(model, layers)
    prices: dict[str, float] = {}
    for layer in layers:
        price = layer.elements * rows[layer.name] * MORE_TIME[layer.operator]
        prices[layer.weight] = prices.get(layer.weight, 0.0) + price
    return prices


def _slower(one: Form, other: Form) -> Form:
    order: tuple[Form, ...] = ("both", "rows", "unpacked", "half", "float")
    return order[max(order.index(one), order.index(other))]


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


def _finite(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None
