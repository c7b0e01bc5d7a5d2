"""Which values the tensors of a model take, and the range that 8 bits should cover.

Shape letters: N observations, E bin edges.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foreact.deploy_edge.observations import Inputs, only
from foreact.deploy_edge.runtime.engine import session_of

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Range", "RangeMethod", "TensorValues", "observe_values", "watched"]

RangeMethod = Literal["minmax", "mse"]
Range = tuple[float, float]
BINS = 2048
LEVELS = 255
SHRINK = np.linspace(1.0, 0.4, 31)  # candidates for the clipped range, as parts of the full one


@dataclass(frozen=True)
class TensorValues:
    """Histogram of one tensor over all calibration observations.

    Attributes:
        low: Smallest value.
        high: Largest value.
        counts: Values per bin, the bins of equal width from `low` to `high`.
    """

    low: float
    high: float
    counts: np.ndarray

    def range(self, method: RangeMethod) -> Range:
        """The range to cover; it always holds 0, which padding needs exactly.

        Args:
            method: `minmax` covers every value; `mse` clips where that makes the mean squared rounding error smallest.
        """
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        if method == "minmax" or low == high:
            return low, high
        width = (self.high - self.low) / BINS
        centres = self.low + (np.arange(BINS) + 0.5) * width
        errors = [_rounding_error(centres, self.counts, low * part, high * part) for part in SHRINK]
        best = SHRINK[int(np.argmin(errors))]
        return float(low * best), float(high * best)


def observe_values(
    model: "ModelProto", tensors: Sequence[str], observations: Sequence[Inputs]
) -> dict[str, TensorValues]:
    """Run a model and look at some of its tensors.

    Args:
        model: With float32 weights; it is not changed.
        tensors: Names of float32 tensors in it.
        observations: Model inputs.
    """
    # inputs are known without running the model
    inner = [name for name in tensors if name not in {each.name for each in model.graph.input}]
    session = session_of(watched(model, inner))
    names = [each.name for each in session.get_inputs()]
    extremes = {name: (np.inf, -np.inf) for name in tensors}
    for name, values in _values(session, names, inner, tensors, observations):
        low, high = extremes[name]
        extremes[name] = (min(low, float(values.min())), max(high, float(values.max())))
    counts = {name: np.zeros(BINS) for name in tensors}
    for name, values in _values(session, names, inner, tensors, observations):
        low, high = extremes[name]
        counts[name] += np.histogram(values, BINS, (low, high if high > low else low + 1.0))[0]
    return {name: TensorValues(*extremes[name], counts[name]) for name in tensors}


def watched(model: "ModelProto", tensors: Sequence[str]) -> bytes:
    """A model that also returns some of its inner tensors.

    Args:
        model: It is not changed.
        tensors: Names of float32 tensors in it.
    """
    from onnx import ModelProto, helper

    wider = ModelProto()
    wider.CopyFrom(model)
    present = {each.name for each in wider.graph.output}
    wider.graph.output.extend(helper.make_tensor_value_info(name, 1, None) for name in tensors if name not in present)
    return wider.SerializeToString()


def _values(
    session: Any, names: Sequence[str], inner: Sequence[str], tensors: Sequence[str], observations: Sequence[Inputs]
) -> Iterator[tuple[str, np.ndarray]]:
    for inputs in observations:
        found = dict(zip(inner, session.run(inner, only(inputs, names)), strict=True)) if inner else {}
        for name in tensors:
            yield name, found[name] if name in found else inputs[name]


def _rounding_error(centres: np.ndarray, counts: np.ndarray, low: float, high: float) -> float:
    scale = (high - low) / LEVELS
    # q(x) = scale * round(clip(x, low, high) / scale)
    rounded = np.rint(np.clip(centres, low, high) / scale) * scale
    return float((counts * (centres - rounded) ** 2).sum())
