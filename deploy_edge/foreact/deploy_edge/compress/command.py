"""`foreact compress`: an exported policy in int8, compared with the original in every respect that matters.

Linear and convolution layers become int8 by Q/DQ nodes, attention and normalisation stay float. Beside the result
stands a control: the same model with everything rounded, one scale per tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foreact.deploy_edge.calibration import TensorValues, observe_values
from foreact.deploy_edge.export import onnx_policy, policy_hash, run_chunks, torch_policy
from foreact.deploy_edge.latency import Latency, interleaved
from foreact.deploy_edge.layers import Layer, find_layers, float_tensors
from foreact.deploy_edge.model_file import POLICY_KEY, load_sealed, properties, sealed_bytes, write_bytes_atomic
from foreact.deploy_edge.observations import Inputs, draw_observations
from foreact.deploy_edge.parity import Parity, compare, require_parity
from foreact.deploy_edge.quantise import Scheme, quantise
from foreact.deploy_edge.runtime.engine import EngineError
from foreact.deploy_edge.selection import Selection, ranges_of, select_scheme
from foreact.deploy_edge.tidy import pack_constants
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import describe_machine, write_json_atomic

if TYPE_CHECKING:
    from onnx import ModelProto

    from foreact.vla.policy import Policy

__all__ = ["CompressConfig", "compress"]

STAGES = 6
QUICK = 32  # calibration observations that layers are ranked on
SAME = 0.9999  # below this cosine the fp32 model is not this policy's


@dataclass(frozen=True)
class CompressConfig:
    """What to compress, and how near it must come to the original.

    Attributes:
        model: An fp32 file written by `foreact export`.
        policy: The trained policy that it was exported from.
        out: The .onnx file to write; a report goes beside it.
        data: Episode store; half of its episodes calibrate, the other half is compared.
        recipe: Only `int8`: linear and convolution layers, one weight scale per output channel.
        calibration: Calibration observations.
        observations: Held-out observations.
        min_cosine: Gate: the smallest cosine with the original's chunk that any held-out observation may have.
        rounds: Timed inferences.
        seed: Of the draws.

    Raises:
        ValueError: A value is out of range.
    """

    model: Path
    policy: Path
    out: Path
    data: Path
    recipe: Literal["int8"] = "int8"
    calibration: int = 200
    observations: int = 64
    min_cosine: float = 0.999
    rounds: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        if self.out.suffix != ".onnx" or self.out == self.model:
            raise ValueError(f"out={self.out} must end in .onnx and not be the model itself")
        for name in ("calibration", "observations", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be 1 or more")


def compress(config: CompressConfig, progress: ProgressFn = quiet) -> Outcome:
    """Quantise an exported policy, compare it with the original and write it if it passes the gate.

    Args:
        config: What and where to.
        progress: Told of each stage.

    Raises:
        EngineError: The model is missing, damaged, not fp32, or was not exported from this policy.
        CheckpointError, StoreError, ContractMismatch: The policy or the store cannot be read or do not fit.
        ParityError: The int8 model differs too much; nothing is written.
    """
    progress(0, STAGES, "compress")
    job = _Job(config)
    progress(1, STAGES, "compress")
    selection = job.select()
    progress(2, STAGES, "compress")
    content = job.finish(selection.scheme)
    parity = job.parity(content)
    require_parity(parity, config.min_cosine, f"compression of {config.model}")
    progress(3, STAGES, "compress")
    control = job.control()
    progress(4, STAGES, "compress")
    latency = job.latency(content)
    progress(5, STAGES, "compress")
    figures = job.figures(content, selection, parity, control, latency)
    report = {
        **figures,
        "parity": {
            "int8": parity.figures(),
            "fp32": job.fp32.figures(rows=False),
            "control": control.figures(rows=False),
        },
        "latency": latency,
        "layers": job.layer_report(selection.scheme),
        "search": list(selection.log),
        "machine": describe_machine(),
        "config": config,
    }  # fmt: skip
    write_bytes_atomic(config.out, content)
    write_json_atomic(config.out.with_suffix(".report.json"), report)
    progress(STAGES, STAGES, "compress")
    return Outcome(config.out, figures, ("figure", "value"), _rows(figures))


class _Job:
    """The policy, its fp32 model and the observations, read once."""

    def __init__(self, config: CompressConfig) -> None:
        from foreact.vla.checkpoint import load_policy

        self._config = config
        self._model, contract = load_sealed(config.model)
        self.content = config.model.read_bytes()
        policy = load_policy(config.policy)
        _check_origin(config, self._model, policy)
        self._calibration = draw_observations(config.data, contract, config.calibration, config.seed, "calibration")
        self._held_out = draw_observations(config.data, contract, config.observations, config.seed, "held out")
        self._original = torch_policy(policy)
        self._reference = run_chunks(self._original, self._held_out)
        self._layers = find_layers(self._model)
        self.fp32 = self.parity(self.content)
        if not self.fp32.min_cosine >= SAME:
            raise EngineError(
                f"{config.model} does not compute what {config.policy} computes (cosine {self.fp32.min_cosine:.6f}): "
                "this foreact is not the one that exported it; export it again with: foreact export"
            )

    def select(self) -> Selection:
        """Choose layers and ranges on the calibration observations."""
        reference = run_chunks(self._original, self._calibration)
        values = self._observe(sorted({name for each in self._layers for name in (each.source, each.result)}))

        def judge(model: ModelProto, quick: bool) -> Parity:
            count = QUICK if quick else None
            chunks = run_chunks(onnx_policy(model.SerializeToString()), self._calibration[:count])
            return compare(reference[:count], chunks)

        return select_scheme(self._model, self._layers, values, judge, self._config.min_cosine)

    def finish(self, scheme: Scheme) -> bytes:
        """The file of a scheme."""
        model = quantise(self._model, scheme)
        pack_constants(model)
        kept = {key: value for key, value in properties(self._model).items() if key.startswith("foreact.")}
        return sealed_bytes(model, {**kept, "foreact.precision": self._config.recipe})

    def parity(self, content: bytes) -> Parity:
        """A model compared with the original on the held-out observations."""
        return compare(self._reference, run_chunks(onnx_policy(content), self._held_out))

    def control(self) -> Parity:
        """Everything rounded to 8 bits, one scale per tensor: what the recipe must be better than."""
        everywhere = frozenset(float_tensors(self._model))
        sources = {layer.source for layer in self._layers}
        ranges = ranges_of(self._observe(sorted(everywhere | sources)), "minmax")
        naive = quantise(self._model, Scheme(self._layers, ranges, per_channel=False, everywhere=everywhere))
        return self.parity(naive.SerializeToString())

    def latency(self, content: bytes) -> dict[str, Latency]:
        """Original, fp32 and int8 in turn on one observation."""
        policies = {"torch": self._original, "onnx_fp32": onnx_policy(self.content), "onnx_int8": onnx_policy(content)}
        return interleaved(
            {name: _call(policy, self._held_out[0]) for name, policy in policies.items()}, self._config.rounds
        )

    def figures(
        self, content: bytes, selection: Selection, parity: Parity, control: Parity, latency: dict[str, Latency]
    ) -> dict[str, Any]:
        """The figures of the report."""
        times = {name: each.cpu_ms for name, each in latency.items()}
        walls = {name: each.wall_ms for name, each in latency.items()}
        return {
            "size_bytes": {"onnx_fp32": len(self.content), "onnx_int8": len(content)},
            "size_ratio": round(len(self.content) / len(content), 4),
            "parity_min_cosine": round(parity.min_cosine, 8),
            "parity_max_abs": round(float(parity.max_abs.max()), 8),
            "parity_observations": len(parity.cosine),
            "control_min_cosine": round(control.min_cosine, 8),
            "control_max_abs": round(float(control.max_abs.max()), 8),
            "latency_ms": times,
            "latency_wall_ms": walls,
            "latency_ratio_fp32": round(times["torch"] / times["onnx_fp32"], 3),
            "latency_ratio_int8": round(times["torch"] / times["onnx_int8"], 3),
            "latency_ratio_int8_wall": round(walls["torch"] / walls["onnx_int8"], 3),
            "layers_int8": len(self._layers),
            "layers_float_input": sorted(selection.scheme.weight_only),
            "ranges": selection.method,
            "weight_bits": selection.scheme.weight_bits,
        }

    def layer_report(self, scheme: Scheme) -> list[dict[str, JSON]]:
        """What became of each layer."""
        return [_layer_row(layer, scheme) for layer in self._layers]

    def _observe(self, tensors: list[str]) -> dict[str, TensorValues]:
        return observe_values(self._model, tensors, self._calibration)


def _check_origin(config: CompressConfig, model: ModelProto, policy: Policy) -> None:
    described = properties(model)
    if described.get("foreact.precision") != "float32":
        found = described.get("foreact.precision")
        raise EngineError(f"{config.model} holds {found}, expected float32; give the file that foreact export wrote")
    if described.get(POLICY_KEY) != policy_hash(policy):
        raise EngineError(
            f"{config.model} was not exported from {config.policy}: the weights differ (sha256 "
            f"{str(described.get(POLICY_KEY))[:12]} and {policy_hash(policy)[:12]}); "
            "export it again with: foreact export"
        )


def _call(policy: Callable[[Inputs], np.ndarray], inputs: Inputs) -> Callable[[], np.ndarray]:
    return lambda: policy(inputs)


def _layer_row(layer: Layer, scheme: Scheme) -> dict[str, JSON]:
    row: dict[str, JSON] = {"name": layer.name, "operator": layer.operator, "weights": layer.elements}
    if layer.name in scheme.weight_only:
        return {**row, "int8": "weights"}
    return {**row, "int8": "weights and input", "input_range": list(scheme.ranges[layer.source])}


def _rows(figures: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    size, times = figures["size_bytes"], figures["latency_ms"]
    left = ", ".join(figures["layers_float_input"]) or "none"
    cosine, naive = figures["parity_min_cosine"], figures["control_min_cosine"]
    largest, naive_largest = figures["parity_max_abs"], figures["control_max_abs"]
    int8, fp32 = figures["latency_ratio_int8"], figures["latency_ratio_fp32"]
    return (
        ("file", f"{size['onnx_int8'] / 1e6:.2f} MB, {figures['size_ratio']:.2f} x smaller than fp32"),
        ("smallest cosine with torch", f"{cosine:.6f} (naive control {naive:.6f})"),
        ("largest difference", f"{largest:.4f} action units (naive control {naive_largest:.4f})"),
        ("CPU time of one inference", ", ".join(f"{name} {value:.2f} ms" for name, value in times.items())),
        ("speed against torch", f"int8 {int8:.2f} x, fp32 {fp32:.2f} x"),
        ("layers in int8", f"{figures['layers_int8']}; with float input: {left}"),
    )
