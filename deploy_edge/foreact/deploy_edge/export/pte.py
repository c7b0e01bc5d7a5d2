"""`foreact export to=pte`: a trained policy as an ExecuTorch program for XNNPACK, compared with the original."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foreact.deploy_edge.export.chunks import input_names, policy_hash, run_chunks, torch_policy
from foreact.deploy_edge.export.pte_program import Lowered, lower, pte_policy, require_executorch, widened
from foreact.deploy_edge.export.pte_quantise import PteQuantised, quantise_program
from foreact.deploy_edge.export.source import finite_chunks, golden_of, longest_delay, read_policy, stage_table
from foreact.deploy_edge.export.trace import example_inputs
from foreact.deploy_edge.latency import interleaved
from foreact.deploy_edge.model_file import describe, require_writable, write_bytes_atomic
from foreact.deploy_edge.observations import Inputs, draw_observations, only
from foreact.deploy_edge.parity import Gate, Parity, ParityError, compare, require_parity, span_of
from foreact.deploy_edge.runtime.engine import LONGEST_DELAY_KEY
from foreact.deploy_edge.runtime.golden import GOLDEN_KEY, golden_digest, parse_golden, require_golden, write_golden
from foreact.deploy_edge.runtime.sealed_json import sealed_json
from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import describe_machine, write_json_atomic

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from foreact.vla.chunk_policy import ChunkPolicy

__all__ = ["PTE_KIND", "PteConfig", "export_pte", "sidecar_path"]

PTE_KIND = "foreact pte"
STEPS = 4
GATES = {"float32": Gate(0.9999, 0.001), "int8": Gate(0.999, 0.02)}


@dataclass(frozen=True)
class PteConfig:
    """What to export for ExecuTorch, and how near it must come to the original.

    Attributes:
        policy: Folder of a trained policy, or the run folder of its training.
        out: The .pte file to write; a sealed description, golden inputs and a report go beside it.
        data: Episode store: half of its episodes calibrates, the other half compares.
        precision: `float32` or `int8`.
        observations: How many of each half.
        rounds: Timed inferences.
        seed: Of the draw.
        to: `pte`.

    Raises:
        ValueError: A value is out of range.
    """

    policy: Path
    out: Path
    data: Path
    precision: Literal["float32", "int8"] = "float32"
    observations: int = 64
    rounds: int = 50
    seed: int = 0
    to: str = "pte"

    def __post_init__(self) -> None:
        if self.out.suffix != ".pte":
            raise ValueError(f"out={self.out} must end in .pte")
        if self.observations < 1 or self.rounds < 1:
            raise ValueError(f"observations={self.observations} and rounds={self.rounds} must be 1 or more")


@dataclass(frozen=True)
class _Judged:
    """What was drawn to calibrate and to compare with."""

    policy: ChunkPolicy
    names: tuple[str, ...]
    held_out: list[Inputs]
    reference: list[np.ndarray]
    calibration: list[Inputs] = field(default_factory=list)
    calibration_reference: list[np.ndarray] = field(default_factory=list)


def sidecar_path(path: Path) -> Path:
    """Where the contract of a .pte file is: `policy.pte` has `policy.pte.json`."""
    return path.with_name(f"{path.name}.json")


def export_pte(config: PteConfig, progress: ProgressFn = quiet) -> Outcome:
    """Export a policy for ExecuTorch, compare it with the original and write it if it passes the gate.

    Args:
        config: What and where to.
        progress: Told of each step.

    Raises:
        RuntimeMissing: ExecuTorch is not installed.
        CheckpointError, StoreError, ContractMismatch: The policy or the store cannot be read or do not fit.
        ParityError, GoldenError: The program differs from the original; nothing is written.
        OSError: `out` cannot be written.
    """
    progress(0, STEPS, "export")
    require_writable(config.out)
    require_executorch()
    judged = _judged(config)
    progress(1, STEPS, "export")
    program, quantised = _program(config, judged, progress)
    progress(2, STEPS, "export")
    lowered = lower(program)
    run = pte_policy(lowered.content, judged.names)
    progress(3, STEPS, "export")
    gate = GATES[config.precision]
    parity = compare(judged.reference, run_chunks(run, judged.held_out), span_of(judged.policy.contract))
    require_parity(parity, gate, f"export of {config.policy} to ExecuTorch, {config.precision}")
    golden = golden_of(judged.held_out, judged.reference)
    where = f"{config.out} in ExecuTorch"
    require_golden(run, parse_golden(golden, judged.policy.contract, where), judged.policy.contract, where)
    figures = {**_figures(lowered, parity, quantised), **_latency(config, judged, run)}
    write_bytes_atomic(config.out, lowered.content)
    write_golden(sidecar_path(config.out), golden)
    write_json_atomic(sidecar_path(config.out), _sidecar(config, judged, lowered.content, golden))
    report = {
        **figures, "parity": parity.figures(), "operators_outside": lowered.others,
        "operators_inside": lowered.delegated, "machine": describe_machine(), "config": config,
    }  # fmt: skip
    write_json_atomic(config.out.with_suffix(".pte.report.json"), report)
    progress(STEPS, STEPS, "export")
    return Outcome(config.out, figures, ("figure", "value"), _rows(figures))


def _judged(config: PteConfig) -> _Judged:
    policy = read_policy(config.policy)
    names, original = input_names(policy), torch_policy(policy)

    def draw(part: Literal["calibration", "held out"]) -> tuple[list[Inputs], list[np.ndarray]]:
        delay = longest_delay(policy)
        drawn = draw_observations(config.data, policy.contract, config.observations, config.seed, part, delay)
        inputs = [only(each, names) for each in drawn]
        return inputs, finite_chunks(original, inputs, config.policy)

    held_out = draw("held out")
    calibration = draw("calibration") if config.precision == "int8" else ([], [])
    return _Judged(policy, names, *held_out, *calibration)


def _program(config: PteConfig, judged: _Judged, progress: ProgressFn) -> tuple[ExportedProgram, PteQuantised | None]:
    import torch

    example = example_inputs(judged.policy.contract, judged.names)
    program = torch.export.export(judged.policy, widened(example, judged.names), strict=False)
    if config.precision == "float32":
        return program, None
    quantised = quantise_program(
        program, judged.names, judged.calibration, judged.calibration_reference, span_of(judged.policy.contract),
        GATES["int8"], lambda done, total: progress(done, total, "layers"),
    )  # fmt: skip
    if quantised is None:
        raise ParityError(
            f"{config.policy}: no layer can be rounded to 8 bits for ExecuTorch without missing the gate; "
            "nothing was written. Type precision=float32"
        )
    return quantised.program, quantised


def _sidecar(config: PteConfig, judged: _Judged, content: bytes, golden: bytes) -> dict[str, Any]:
    policy = judged.policy
    extra = {
        "foreact.precision": config.precision,
        "foreact.stages": stage_table(policy),
        LONGEST_DELAY_KEY: str(longest_delay(policy)),
        GOLDEN_KEY: golden_digest(golden),
    }
    taken = widened(judged.held_out[0], judged.names)
    inputs = [
        {"name": name, "dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}
        for name, tensor in zip(judged.names, taken, strict=True)
    ]
    described = {
        "metadata": describe(policy.contract, policy_hash(policy), extra),
        "sha256_pte": hashlib.sha256(content).hexdigest(),
        "inputs": inputs,
        "executorch": metadata.version("executorch"),
    }
    return sealed_json(PTE_KIND, described)


def _latency(config: PteConfig, judged: _Judged, run: Any) -> dict[str, Any]:
    original, first = torch_policy(judged.policy), judged.held_out[0]
    calls = {"torch": lambda: original(first), "executorch": lambda: run(first)}
    wall = interleaved(calls, config.rounds)
    cpu: dict[str, list[int]] = {name: [] for name in calls}
    for _ in range(config.rounds):
        for name, call in calls.items():
            started = time.process_time_ns()
            call()
            cpu[name].append(time.process_time_ns() - started)
    # of the whole process: XNNPACK has threads of its own
    milliseconds = {name: round(float(np.median(spent)) / 1e6, 4) for name, spent in cpu.items()}
    return {
        "latency_ms": milliseconds,
        "latency_wall_ms": {name: each.wall_ms for name, each in wall.items()},
        "latency_ratio": round(milliseconds["torch"] / milliseconds["executorch"], 3),
    }


def _figures(lowered: Lowered, parity: Parity, quantised: PteQuantised | None) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "size_bytes": len(lowered.content),
        "subgraphs": lowered.subgraphs,
        "delegated_operators": sum(lowered.delegated.values()),
        "other_operators": sum(lowered.others.values()),
        "delegated_fraction": round(lowered.delegated_fraction, 4),
        "delegated_layers_fraction": round(lowered.delegated_layers_fraction, 4),
        "parity_min_cosine": round(parity.min_cosine, 8),
        "parity_max_abs": round(float(parity.max_abs.max()), 8),
        "parity_max_range_fraction": round(parity.max_range_fraction, 8),
        "parity_observations": len(parity.cosine),
    }
    if quantised is not None:
        figures |= {
            "layers_int8": list(quantised.int8_layers),
            "layers_float32": list(quantised.float_layers),
            "harm_alone": {name: round(value, 6) for name, value in quantised.harm.items()},
        }
    return figures


def _rows(figures: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    times = figures["latency_ms"]
    share = f"{100 * figures['delegated_layers_fraction']:.0f} % of layers, {100 * figures['delegated_fraction']:.0f} %"
    counts = [len(figures.get(key, ())) for key in ("layers_int8", "layers_float32")]
    precision = (("layers in 8 bits", f"{counts[0]}, {counts[1]} stay float32"),) if counts[0] else ()
    return (
        ("file", f"{figures['size_bytes'] / 1e6:.2f} MB"),
        ("run by XNNPACK", f"{share} of operators, in {figures['subgraphs']} parts"),
        *precision,
        ("smallest cosine with torch", f"{figures['parity_min_cosine']:.7f}"),
        ("largest difference", f"{figures['parity_max_abs']:.2e} action units"),
        ("CPU time of one inference", f"torch {times['torch']:.2f} ms, ExecuTorch {times['executorch']:.2f} ms"),
        ("speed against torch", f"{figures['latency_ratio']:.2f} x"),
    )
