"""Int8 for ExecuTorch: linear layers with weights in 8 bits and inputs rounded as they come, convolutions calibrated.

The layers that do most harm alone are left in float32 until the whole is near enough to the original.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.deploy_edge.export.pte_program import part, widened
from foreact.deploy_edge.observations import Inputs
from foreact.deploy_edge.parity import Gate, Parity, compare

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = ["PteQuantised", "layers_of", "quantise_program"]

SCANNED = 12  # observations of the scan; the whole is judged on all
RESERVE = 0.6  # part of the allowed error that calibration observations may use


@dataclass(frozen=True)
class PteQuantised:
    """A program with quantised layers.

    Attributes:
        program: For `lower`.
        float_layers: Modules that stayed in float32.
        int8_layers: Those that did not.
        harm: Mean largest difference [action units] that rounding each module alone makes.
        parity: Of the whole with the original, on the calibration observations.
    """

    program: ExportedProgram
    float_layers: tuple[str, ...]
    int8_layers: tuple[str, ...]
    harm: Mapping[str, float]
    parity: Parity


def quantise_program(
    program: ExportedProgram,
    names: Sequence[str],
    calibration: Sequence[Inputs],
    reference: Sequence[np.ndarray],
    span: np.ndarray,
    gate: Gate,
    progress: Callable[[int, int], None],
) -> PteQuantised | None:
    """Quantise as many layers as the gate allows; None if not even one may be.

    Args:
        program: From torch.export, for one observation.
        names: The policy's inputs in order.
        calibration: Observations whose values set the ranges.
        reference: The original's chunk for each, (H, A).
        span: Width of each action element, (A,) [action units].
        gate: How near the whole must be.
        progress: Told how many trials of how many are done.
    """
    kinds = layers_of(program)
    harm: dict[str, float] = {}
    few, few_chunks = calibration[:SCANNED], reference[:SCANNED]
    for done, name in enumerate(kinds):
        progress(done, len(kinds))
        alone = _quantised(program, {name: kinds[name]}, names, few)
        harm[name] = float(compare(few_chunks, _chunks(alone, names, few), span).max_abs.mean())
    worst_first = sorted(kinds, key=lambda name: harm[name], reverse=True)
    kept_float = 0
    while kept_float < len(kinds):
        chosen = {name: kinds[name] for name in kinds if name in worst_first[kept_float:]}
        module = _quantised(program, chosen, names, calibration)
        parity = compare(reference, _chunks(module, names, calibration), span)
        if parity.use_of(gate) <= RESERVE:
            again = _export(module, names, calibration[0])
            return PteQuantised(again, tuple(worst_first[:kept_float]), tuple(chosen), harm, parity)
        kept_float = max(1, 2 * kept_float)
    return None


def layers_of(program: ExportedProgram) -> dict[str, str]:
    """Linear layers and convolutions by the name of their module, each `linear` or `conv`."""
    found: dict[str, str] = {}
    for node in program.graph.nodes:
        kind = {"aten.linear.default": "linear", "aten.conv2d.default": "conv"}.get(str(node.target))
        modules = list(node.meta.get("nn_module_stack", {}).values()) if kind else []
        if kind and modules and modules[-1][1].endswith(("Linear", "Conv2d")):
            found[modules[-1][0]] = kind
    return found


def _quantised(
    program: ExportedProgram, layers: Mapping[str, str], names: Sequence[str], observations: Sequence[Inputs]
) -> Any:
    xnnpack_quantizer = part("executorch.backends.xnnpack.quantizer.xnnpack_quantizer")
    pt2e = part("torchao.quantization.pt2e.quantize_pt2e")
    quantizer = xnnpack_quantizer.XNNPACKQuantizer()
    for name, kind in layers.items():
        # a matrix product rounds its inputs as they come, row by row; XNNPACK has no such convolution
        how = xnnpack_quantizer.get_symmetric_quantization_config(is_per_channel=True, is_dynamic=kind == "linear")
        quantizer.set_module_name(name, how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = pt2e.prepare_pt2e(program.module(), quantizer)
        _chunks(prepared, names, observations)
        return pt2e.convert_pt2e(prepared)


def _chunks(module: Any, names: Sequence[str], observations: Sequence[Inputs]) -> list[np.ndarray]:
    import torch

    with torch.no_grad():
        return [module(*widened(inputs, names)).numpy()[0] for inputs in observations]


def _export(module: Any, names: Sequence[str], inputs: Inputs) -> ExportedProgram:
    import torch

    return torch.export.export(module, widened(inputs, names), strict=False)
