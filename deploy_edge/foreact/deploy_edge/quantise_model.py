"""An exported policy in few bits: forms, ranges, rounding and corrections, chosen on calibration observations.

Shape letters: A action elements.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.bit_budget import spend_budget
from foreact.deploy_edge.calibration import TensorValues, observe_values
from foreact.deploy_edge.corrections import correct_biases, scale_layers
from foreact.deploy_edge.energy import attention_logits, energy_factors, match_temperatures, residual_branches
from foreact.deploy_edge.equalise import channel_peaks, equalise
from foreact.deploy_edge.forms import Choice, choose_forms, fastest_forms
from foreact.deploy_edge.layer_inputs import observe_moments
from foreact.deploy_edge.layers import Layer, find_layers, float_tensors, turn_constants
from foreact.deploy_edge.observations import Inputs
from foreact.deploy_edge.parity import Gate, Parity, compare
from foreact.deploy_edge.qdq import Form, Scheme, with_qdq
from foreact.deploy_edge.quantise_config import QuantiseConfig
from foreact.deploy_edge.rounding import Integers, rounded
from foreact.deploy_edge.sensitivity import SensitivityRow, fits_groups, scan
from foreact.deploy_edge.session_chunk import Chunk, chunk_of
from foreact.deploy_edge.tidy import constants, pack_constants
from foreact.episodes.outcome import JSON, ProgressFn, quiet

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Quantised", "quantise_model"]

STAGES = 4


@dataclass(frozen=True)
class Quantised:
    """A policy in few bits.

    Attributes:
        model: To be sealed; it has no metadata.
        properties: Metadata that says what it is.
        parity: With the original on the calibration observations; the gate is for held-out ones.
        figures: Small figures for a report.
        layers: What became of each layer.
        search: Every scheme that was tried.
    """

    model: "ModelProto"
    properties: Mapping[str, str]
    parity: Parity
    figures: Mapping[str, JSON]
    layers: Sequence[Mapping[str, JSON]]
    search: Sequence[Mapping[str, JSON]]


def quantise_model(
    model: "ModelProto",
    chunk: Chunk,
    calibration: Sequence[Inputs],
    config: QuantiseConfig,
    gate: Gate,
    span: np.ndarray,
    progress: ProgressFn = quiet,
) -> Quantised:
    """Quantise an exported policy, as fast as a gate allows.

    Args:
        model: As exported, with float32 weights; it is not changed.
        chunk: The original.
        calibration: Observations to choose everything on.
        config: Which bits, where and how.
        gate: What the result should keep to; a result that does not is returned all the same.
        span: Width of the range of each action element [action units], (A,).
        progress: Told of each stage.

    Raises:
        ValueError: No observation, or no layer that could be quantised.
    """
    if not calibration:
        raise ValueError("quantise: no calibration observation; record some with: foreact record")
    if not find_layers(model):
        raise ValueError("quantise: the model has no linear or convolution layer with constant weights")
    job = _Job(model, chunk, calibration, config, span)
    if config.everything:
        return job.control()
    return job.run(gate, progress)


class _Job:
    def __init__(
        self,
        model: "ModelProto",
        chunk: Chunk,
        calibration: Sequence[Inputs],
        config: QuantiseConfig,
        span: np.ndarray,
    ) -> None:
        from onnx import ModelProto

        self._model = ModelProto()
        self._model.CopyFrom(model)
        turn_constants(self._model)
        self._calibration, self._config, self._span = list(calibration), config, span
        self._reference = [chunk(inputs) for inputs in calibration]
        self._layers = find_layers(self._model)
        self._original = self._model

    def run(self, gate: Gate, progress: ProgressFn) -> Quantised:
        """Search for the fastest scheme that passes."""
        from onnx import ModelProto

        config = self._config
        progress(0, STAGES, "quantise")
        rows = self._scan(progress) if config.weights == "mixed" else []
        bits = self._bits(rows)
        forms = fastest_forms(self._model, self._layers, config.inputs)
        forms.update({weight: "half" for weight, count in bits.items() if count == 16})
        forms.update({weight: "rows" for weight, count in bits.items() if count == 4})
        equalised = self._equalise(forms) if "equalise" in config.corrections else []
        values = self._observe(forms)
        progress(1, STAGES, "quantise")
        before = ModelProto()
        before.CopyFrom(self._model)
        integers, corrected = self._round(bits)
        progress(2, STAGES, "quantise")
        self._original = before
        start = Scheme(self._layers, forms, integers, symmetric=config.symmetric)
        choice = choose_forms(self._model, start, values, self._judge, gate, config.margin)
        progress(3, STAGES, "quantise")
        choice, gains = self._restore_energy(choice)
        figures: dict[str, JSON] = {
            **gains,
            **({"sensitivity": [asdict(row) for row in rows]} if rows else {}),
            **_figures(choice.scheme),
            "ranges": choice.method,
            "equalised_tensors": len(equalised),
            "corrected_biases": corrected,
            "calibration_gate_use": round(float(choice.parity.use_of(gate)), 4),
        }
        made = self._finished(choice, figures)
        progress(STAGES, STAGES, "quantise")
        return made

    def _restore_energy(self, choice: Choice) -> tuple[Choice, dict[str, JSON]]:
        """The corrections of attention and of residual branches, each kept if it brings the chunk nearer."""
        asked = [each for each in ("temperature", "residual") if each in self._config.corrections]
        gains: dict[str, JSON] = {}
        for name in asked:
            before, scheme = self._model, choice.scheme
            found, scheme = self._corrected(name, scheme)
            parity = self._judge(scheme)
            errors = [float((each.range_fraction**2).mean()) ** 0.5 for each in (choice.parity, parity)]
            kept = found > 0 and errors[1] < errors[0]
            gains[name] = {
                "factors": found,
                "error_before": round(errors[0], 8),
                "error_after": round(errors[1], 8),
                "kept": kept,
            }
            if kept:
                choice = replace(choice, scheme=scheme, parity=parity)
            else:
                self._model = before
        return choice, {"energy": gains} if gains else {}

    def _corrected(self, name: str, scheme: Scheme) -> tuple[int, Scheme]:
        """Correct a copy of the model; how many factors were not 1, and the scheme that goes with it."""
        from onnx import ModelProto

        rounded_model, layers = with_qdq(self._model, scheme), self._layers
        heads = attention_logits(self._model) if name == "temperature" else {}
        branches = residual_branches(self._model, layers) if name == "residual" else []
        alphas, betas = energy_factors(self._original, rounded_model, self._calibration, heads, branches)
        changed = ModelProto()
        changed.CopyFrom(self._model)
        self._model = changed
        if name == "temperature":
            return match_temperatures(changed, alphas), scheme
        integers = scale_layers(changed, branches, scheme.integers, betas)
        return sum(beta != 1 for beta in betas.values()), replace(scheme, integers=integers)

    def control(self) -> Quantised:
        """Everything rounded to the nearest, one scale per tensor: what a recipe must be better than."""
        bits = self._config.bits
        everywhere = frozenset(float_tensors(self._model))
        names = sorted(everywhere | {layer.source for layer in self._layers})
        seen = observe_values(self._model, names, self._calibration)
        ranges = {name: each.range("minmax") for name, each in seen.items()}
        weights = constants(self._model.graph)
        integers = {
            layer.weight: rounded(weights[layer.weight], layer.axis, bits, per_channel=False) for layer in self._layers
        }
        forms: dict[str, Form] = {layer.weight: "both" for layer in self._layers}
        scheme = Scheme(
            self._layers, forms, integers, ranges, self._config.symmetric, levels=2**bits - 1, everywhere=everywhere
        )
        choice = Choice(scheme, "minmax", self._judge(scheme))
        return self._finished(choice, {**_figures(scheme), "ranges": "minmax"})

    def _equalise(self, forms: Mapping[str, Form]) -> list[str]:
        rounded_ones = [layer for layer in self._layers if forms[layer.weight] == "both" and layer.operator == "Conv"]
        tensors = sorted({name for layer in rounded_ones for name in (layer.source, layer.result)})
        return equalise(self._model, self._layers, channel_peaks(self._model, tensors, self._calibration))

    def _observe(self, forms: Mapping[str, Form]) -> dict[str, TensorValues]:
        both = [layer for layer in self._layers if forms[layer.weight] == "both"]
        names = {layer.source for layer in both} | {layer.result for layer in both if layer.operator == "Conv"}
        return observe_values(self._model, sorted(names), self._calibration)

    def _scan(self, progress: ProgressFn) -> list[SensitivityRow]:
        config = self._config
        return scan(
            self._model,
            chunk_of(self._model),
            self._calibration,
            self._span,
            group=config.group,
            adaptive=config.rounding == "adaptive",
            progress=progress,
        )

    def _bits(self, rows: Sequence[SensitivityRow]) -> dict[str, int]:
        """Bits of each weight tensor."""
        config, weights = self._config, constants(self._model.graph)
        small = {layer.weight for layer in self._layers if fits_groups(layer, weights[layer.weight], config.group)}
        if config.weights == "int8":
            return {layer.weight: 8 for layer in self._layers}
        if config.weights == "int4":
            return {layer.weight: 4 if layer.weight in small else 8 for layer in self._layers}
        return spend_budget([row for row in rows if row.bits != 4 or row.weight in small], config.budget)

    def _round(self, bits: Mapping[str, int]) -> tuple[dict[str, Integers], int]:
        """Integers of all weights, and how many biases were corrected for them."""
        config, weights = self._config, constants(self._model.graph)
        moments = observe_moments(self._model, self._layers, self._calibration)
        integers: dict[str, Integers] = {}
        for layer in self._layers:
            count = bits[layer.weight]
            if layer.weight not in integers and count < 16:
                seen = moments.get(layer.weight) if config.rounding == "adaptive" else None
                second = None if seen is None else seen.second
                group = config.group if count == 4 else None
                integers[layer.weight] = rounded(weights[layer.weight], layer.axis, count, group=group, moments=second)
        if "bias" not in config.corrections:
            return integers, 0
        return integers, correct_biases(self._model, self._layers, integers, moments)

    def _judge(self, scheme: Scheme, count: int | None = None) -> Parity:
        answer = chunk_of(with_qdq(self._model, scheme))
        chunks = [answer(inputs) for inputs in self._calibration[:count]]
        return compare(self._reference[:count], chunks, self._span)

    def _finished(self, choice: Choice, figures: Mapping[str, JSON]) -> Quantised:
        made = with_qdq(self._model, choice.scheme)
        pack_constants(made)
        del made.metadata_props[:]
        rows = [_row(layer, choice.scheme) for layer in self._layers]
        properties = {"foreact.precision": self._config.precision}
        return Quantised(made, properties, choice.parity, figures, rows, choice.log)


def _figures(scheme: Scheme) -> dict[str, JSON]:
    sizes = {layer.weight: layer.elements for layer in scheme.layers}
    total = sum(sizes.values())
    bits = sum(size * _bits(scheme, weight) for weight, size in sizes.items())
    return {
        "layers_int8": sum(scheme.form(layer) not in ("float", "half") for layer in scheme.layers),
        "layers_float_input": sorted(layer.name for layer in scheme.layers if scheme.form(layer) != "both"),
        "layers_float_arithmetic": sorted(
            layer.name for layer in scheme.layers if scheme.form(layer) not in ("both", "rows")
        ),
        "weight_bits": round(bits / total, 3),
        "activations": "int8" if scheme.symmetric else "uint8",
    }


def _bits(scheme: Scheme, weight: str) -> int:
    form = scheme.forms.get(weight, "float")
    if form in ("float", "half"):
        return 32 if form == "float" else 16
    return scheme.integers[weight].bits


def _row(layer: Layer, scheme: Scheme) -> dict[str, JSON]:
    form = scheme.form(layer)
    row: dict[str, JSON] = {
        "name": layer.name,
        "operator": layer.operator,
        "weights": layer.elements,
        "form": form,
        "bits": _bits(scheme, layer.weight),
        "int8": "weights and input" if form == "both" else "weights",
    }
    return {**row, "input_range": list(scheme.ranges[layer.source])} if form == "both" else row
