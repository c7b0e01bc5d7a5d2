"""Int8 for ExecuTorch: linear layers with weights in 8 bits and inputs rounded as they come, convolutions calibrated.

The layers that do most harm alone are left in float32 until the whole is near enough to the original.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
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
LINEAR, CONVOLUTION = "aten.linear.default", "aten.conv2d.default"
RELUS = ("aten.relu.default", "aten.relu_.default")
RESERVE = 0.8  # part of the allowed error that calibration observations may use


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
    layers = layers_of(program)
    harm: dict[str, float] = {}
    few, few_chunks = calibration[:SCANNED], reference[:SCANNED]
    for done, name in enumerate(layers):
        progress(done, len(layers))
        alone = _quantised(program, {name}, names, few)
        harm[name] = float(compare(few_chunks, _chunks(alone, names, few), span).max_abs.mean())
    # what costs most accuracy for each byte that it saves stays float32 first
    order = sorted(layers, key=lambda name: harm[name] / layers[name], reverse=True)

    def trial(kept_float: int) -> PteQuantised | None:
        module = _quantised(program, set(order[kept_float:]), names, calibration)
        parity = compare(reference, _chunks(module, names, calibration), span)
        if parity.use_of(gate) > RESERVE:
            return None
        again = _export(module, names, calibration[0])
        return PteQuantised(again, tuple(order[:kept_float]), tuple(order[kept_float:]), harm, parity)

    # more layers in float32 are nearer: bisect for the fewest
    low, high, best = 0, len(order) - 1, None
    while low <= high:
        middle = (low + high) // 2
        found = trial(middle)
        low, high, best = (middle + 1, high, best) if found is None else (low, middle - 1, found)
    return best


def layers_of(program: ExportedProgram) -> dict[str, int]:
    """Linear layers and convolutions by the name of their module, each with its number of weights."""
    nodes: Any = program.graph.nodes
    return {name: int(node.args[1].meta["val"].numel()) for node in nodes if (name := _layer(node))}


def _layer(node: Any) -> str:
    """The module whose weights a node uses, or nothing."""
    if str(node.target) not in (LINEAR, CONVOLUTION):
        return ""
    modules = list(node.meta.get("nn_module_stack", {}).values())
    return modules[-1][0] if modules and modules[-1][1].endswith(("Linear", "Conv2d")) else ""


def _quantised(
    program: ExportedProgram, layers: Collection[str], names: Sequence[str], observations: Sequence[Inputs]
) -> Any:
    pt2e = part("torchao.quantization.pt2e.quantize_pt2e")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = pt2e.prepare_pt2e(program.module(), _quantizer(layers))
        _chunks(prepared, names, observations)
        return pt2e.convert_pt2e(prepared)


def _quantizer(layers: Collection[str]) -> Any:
    """Rounds exactly these layers: XNNPACKQuantizer, asked for one module, rounds other modules' sums as well."""
    quantizers = part("torchao.quantization.pt2e.quantizer")
    configure = part("executorch.backends.xnnpack.quantizer.xnnpack_quantizer").get_symmetric_quantization_config

    def note(node: Any, inputs: dict[Any, Any], output: Any) -> None:
        node.meta["quantization_annotation"] = quantizers.QuantizationAnnotation(
            input_qspec_map=inputs, output_qspec=output, _annotated=True
        )

    class Chosen(quantizers.Quantizer):
        def annotate(self, model: Any) -> Any:
            for node in model.graph.nodes:
                if _layer(node) not in layers or not _layer(node):
                    continue
                # a matrix product rounds its inputs as they come; XNNPACK's convolutions need calibrated ranges
                rows = str(node.target) == LINEAR
                how = configure(is_per_channel=True, is_dynamic=rows)
                inputs = {node.args[0]: how.input_activation, node.args[1]: how.weight}
                users = list(node.users)
                fused = len(users) == 1 and str(users[0].target) in RELUS
                note(node, inputs, None if rows or fused else how.output_activation)
                if fused and not rows:
                    note(users[0], {}, how.output_activation)
            return model

        def validate(self, model: Any) -> None:
            """Nothing to check: the layers were found in this graph."""

    return Chosen()


def _chunks(module: Any, names: Sequence[str], observations: Sequence[Inputs]) -> list[np.ndarray]:
    import torch

    with torch.no_grad():
        return [module(*widened(inputs, names)).numpy()[0] for inputs in observations]


def _export(module: Any, names: Sequence[str], inputs: Inputs) -> ExportedProgram:
    import torch

    return torch.export.export(module, widened(inputs, names), strict=False)
