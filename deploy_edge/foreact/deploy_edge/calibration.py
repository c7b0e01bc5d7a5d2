"""Which values the tensors of a model take, and the range that 8 bits should cover.

Values that no calibration observation holds are clipped, and a clipped convolution moves what the policy looks at, so
ranges leave room.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foreact.deploy_edge.observations import Inputs, only
from foreact.deploy_edge.runtime.engine import session_of

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Range", "RangeMethod", "TensorValues", "observe_values", "watched"]

RangeMethod = Literal["minmax", "wide", "wider"]
Range = tuple[float, float]
HEADROOM: Mapping[RangeMethod, float] = {"minmax": 1.0, "wide": 1.15, "wider": 1.3}


@dataclass(frozen=True)
class TensorValues:
    """What one tensor holds over all calibration observations.

    Attributes:
        low: Smallest value.
        high: Largest value.
    """

    low: float
    high: float

    def range(self, method: RangeMethod) -> Range:
        """The range to cover; it always holds 0, which padding needs exactly.

        Args:
            method: `minmax` covers every value that was seen; `wide` and `wider` leave 15 and 30 % for values that were
                not: a scene seen for the first time must not be clipped.
        """
        part = HEADROOM[method]
        return float(min(self.low, 0.0) * part), float(max(self.high, 0.0) * part)


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
    return {name: TensorValues(*extremes[name]) for name in tensors}


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
