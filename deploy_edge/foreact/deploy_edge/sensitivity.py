"""How much each layer's bits matter: one layer at a time is rounded, everything else stays float.

Shape letters: A action elements, D inputs of an output channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.layer_inputs import Moments, observe_moments
from foreact.deploy_edge.layers import Layer, find_layers, turn_constants
from foreact.deploy_edge.observations import Inputs
from foreact.deploy_edge.parity import compare
from foreact.deploy_edge.rounding import rounded
from foreact.deploy_edge.session_chunk import Chunk, chunk_of
from foreact.deploy_edge.tidy import constants
from foreact.episodes.outcome import ProgressFn, quiet

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["SensitivityRow", "fits_groups", "plot_sensitivity", "scan", "with_weights"]


@dataclass(frozen=True)
class SensitivityRow:
    """What rounding one weight tensor does to the chunk.

    Attributes:
        layer: Name of the layer.
        weight: Name of the tensor.
        operator: Conv, Gemm or MatMul.
        weights: How many.
        bits: 16 is float16; fewer are integers.
        group: Inputs that share a scale; None for one scale per output channel.
        squared_error: Mean over the observations of the squared largest difference, as a part of the range.
        max_range_fraction: Largest difference of all, as a part of the range.
        min_cosine: Of the worst observation.
    """

    layer: str
    weight: str
    operator: str
    weights: int
    bits: int
    group: int | None
    squared_error: float
    max_range_fraction: float
    min_cosine: float


def scan(
    model: "ModelProto",
    chunk: Chunk,
    calibration: Sequence[Inputs],
    span: np.ndarray,
    *,
    bits: Sequence[int] = (4, 8, 16),
    group: int = 32,
    adaptive: bool = True,
    progress: ProgressFn = quiet,
) -> list[SensitivityRow]:
    """Round one layer after the other and look at the chunk.

    Args:
        model: With float32 weights; it is not changed.
        chunk: The original.
        calibration: Observations.
        span: Width of the range of each action element [action units], (A,).
        bits: Of the weights; 16 is float16.
        group: Inputs that share a 4-bit scale where they can be divided so.
        adaptive: Round so that results stay nearest, otherwise each weight to the nearest.
        progress: Told of each layer.

    Returns:
        Rows with the most sensitive layer first, at the fewest bits; rows of a layer stand together.

    Raises:
        ValueError: No observation.
    """
    if not calibration:
        raise ValueError("scan: no calibration observation; record some with: foreact record")
    model = _copy(model)
    turn_constants(model)
    layers = list({layer.weight: layer for layer in reversed(find_layers(model))}.values())[::-1]
    moments = observe_moments(model, find_layers(model), calibration) if adaptive else {}
    weights, reference = constants(model.graph), [chunk(inputs) for inputs in calibration]
    rows: list[list[SensitivityRow]] = []
    for done, layer in enumerate(layers):
        progress(done, len(layers), "scan")
        made: list[SensitivityRow] = []
        for count in sorted(bits):
            used = group if count == 4 and fits_groups(layer, weights[layer.weight], group) else None
            changed = _narrowed(weights[layer.weight], layer, count, used, moments.get(layer.weight))
            answer = chunk_of(with_weights(model, {layer.weight: changed}))
            parity = compare(reference, [answer(inputs) for inputs in calibration], span)
            made.append(
                SensitivityRow(
                    layer.name, layer.weight, layer.operator, layer.elements, count, used,
                    float((parity.range_fraction**2).mean()), parity.max_range_fraction, parity.min_cosine,
                )
            )  # fmt: skip
        rows.append(made)
    progress(len(layers), len(layers), "scan")
    return [row for made in sorted(rows, key=lambda each: -each[0].squared_error) for row in made]


def fits_groups(layer: Layer, weight: np.ndarray, group: int) -> bool:
    """Whether a layer can have 4-bit weights: a linear one whose inputs divide into groups."""
    return layer.operator != "Conv" and weight.shape[1 - layer.axis] % group == 0


def with_weights(model: "ModelProto", changed: "dict[str, np.ndarray]") -> "ModelProto":
    """A copy of a model with other values in some of its constants."""
    from onnx import numpy_helper

    result = _copy(model)
    for each in result.graph.initializer:
        if each.name in changed:
            each.CopyFrom(numpy_helper.from_array(changed[each.name], each.name))
    return result


def _copy(model: "ModelProto") -> "ModelProto":
    from onnx import ModelProto

    result = ModelProto()
    result.CopyFrom(model)
    return result


def plot_sensitivity(rows: Sequence[SensitivityRow], path: Path) -> None:
    """A picture: for each layer and number of bits the root mean square change of the chunk.

    Args:
        rows: From `scan`.
        path: The .png to write.
    """
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row.layer for row in rows))
    figure = Figure(figsize=(9, 1.2 + 0.27 * len(names)), layout="constrained")
    axes = figure.subplots()
    for count in sorted({row.bits for row in rows}):
        found = {row.layer: 100 * row.squared_error**0.5 for row in rows if row.bits == count}
        axes.plot(
            [max(found[name], 1e-5) for name in names if name in found],
            [place for place, name in enumerate(names) if name in found],
            "o", label=f"{count} bits",
        )  # fmt: skip
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("change of the chunk's worst element, root mean square over observations [% of its range]")
    axes.grid(axis="x", alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _narrowed(weight: np.ndarray, layer: Layer, bits: int, group: int | None, seen: Moments | None) -> np.ndarray:
    if bits == 16:
        return weight.astype(np.float16).astype(np.float32)
    second = None if seen is None else seen.second
    return rounded(weight, layer.axis, bits, group=group, moments=second).dequantised()
