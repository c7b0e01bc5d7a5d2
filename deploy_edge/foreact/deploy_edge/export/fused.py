"""`foreact export`: a trained policy as one ONNX file that carries its contract and was compared with the original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.deploy_edge.export.chunks import input_names, onnx_policy, policy_hash, run_chunks, torch_policy
from foreact.deploy_edge.export.nodes import compare_nodes, first_difference, node_report, node_table
from foreact.deploy_edge.export.source import finite_chunks, golden_of, longest_delay, read_policy, stage_table
from foreact.deploy_edge.export.trace import OPSET, OPSETS, Traced, example_inputs, trace
from foreact.deploy_edge.latency import Latency, interleaved
from foreact.deploy_edge.model_file import describe, require_writable, sealed_bytes, write_bytes_atomic
from foreact.deploy_edge.observations import Inputs, draw_observations, only
from foreact.deploy_edge.parity import Parity, ParityError, compare, require_parity
from foreact.deploy_edge.runtime.engine import LONGEST_DELAY_KEY
from foreact.deploy_edge.runtime.golden import GOLDEN_KEY, golden_digest, parse_golden, require_golden, write_golden
from foreact.deploy_edge.runtime.signature import ACTION
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import describe_machine, write_json_atomic

if TYPE_CHECKING:
    from foreact.vla.chunk_policy import ChunkPolicy

__all__ = ["ExportConfig", "export"]

STEPS = 4


@dataclass(frozen=True)
class ExportConfig:
    """What to export, and how near it must come to the original.

    Attributes:
        policy: Folder of a trained policy, or the run folder of its training.
        out: The .onnx file to write; golden inputs and a report go beside it.
        data: Episode store to draw observations for the comparison from.
        observations: How many.
        min_cosine: Gate: the smallest cosine with the original's chunk that any observation may have.
        rounds: Timed inferences.
        seed: Of the draw.
        opset: Of the ONNX operators, 18 or 23.
        to: `onnx`, or nothing.

    Raises:
        ValueError: A value is out of range.
    """

    policy: Path
    out: Path
    data: Path
    observations: int = 64
    min_cosine: float = 0.9999
    rounds: int = 50
    seed: int = 0
    opset: int = OPSET
    to: str = "onnx"

    def __post_init__(self) -> None:
        if self.out.suffix != ".onnx":
            raise ValueError(f"out={self.out} must end in .onnx")
        if self.observations < 1 or self.rounds < 1:
            raise ValueError(f"observations={self.observations} and rounds={self.rounds} must be 1 or more")
        if self.opset not in OPSETS:
            raise ValueError(f"opset={self.opset}: choose from {', '.join(map(str, OPSETS))}")


def export(config: ExportConfig, progress: ProgressFn = quiet) -> Outcome:
    """Export a policy to ONNX, compare it with the original and write it if it passes the gate.

    Args:
        config: What and where to.
        progress: Told of each step.

    Raises:
        CheckpointError, StoreError, ContractMismatch: The policy or the store cannot be read or do not fit.
        ParityError: The exported model differs; what differs first is written, the model is not.
        GoldenError: It differs on the golden inputs.
        OSError: `out` cannot be written.
    """
    progress(0, STEPS, "export")
    require_writable(config.out)
    policy = read_policy(config.policy)
    observations = draw_observations(
        config.data, policy.contract, config.observations, config.seed, "held out", longest_delay(policy)
    )
    original = torch_policy(policy)
    reference = finite_chunks(original, observations, config.policy)
    progress(1, STEPS, "export")
    traced = trace(policy, example_inputs(policy.contract, input_names(policy)), [ACTION], config.opset)
    golden = golden_of([only(inputs, input_names(policy)) for inputs in observations], reference)
    content = sealed_bytes(traced.model, _described(policy, config, golden))
    progress(2, STEPS, "export")
    exported = onnx_policy(content)
    parity = compare(reference, run_chunks(exported, observations))
    _require_parity(config, parity, traced, [only(inputs, input_names(policy)) for inputs in observations])
    where = f"{config.out} in onnxruntime"
    require_golden(exported, parse_golden(golden, policy.contract, where), policy.contract, where)
    progress(3, STEPS, "export")
    calls = {"torch": lambda: original(observations[0]), "onnx_fp32": lambda: exported(observations[0])}
    latency = interleaved(calls, config.rounds)
    figures = _figures(policy, content, parity, latency)
    figures |= {"opset": config.opset, "nodes": len(traced.model.graph.node)}
    write_golden(config.out, golden)
    write_bytes_atomic(config.out, content)
    report = {**figures, "parity": parity.figures(), "machine": describe_machine(), "config": config}
    write_json_atomic(config.out.with_suffix(".report.json"), report)
    progress(STEPS, STEPS, "export")
    return Outcome(config.out, figures, ("figure", "value"), _rows(figures))


def _described(policy: ChunkPolicy, config: ExportConfig, golden: bytes) -> dict[str, str]:
    extra = {
        "foreact.precision": "float32",
        "foreact.opset": str(config.opset),
        "foreact.stages": stage_table(policy),
        LONGEST_DELAY_KEY: str(longest_delay(policy)),
        GOLDEN_KEY: golden_digest(golden),
    }
    return describe(policy.contract, policy_hash(policy), extra)


def _require_parity(config: ExportConfig, parity: Parity, traced: Traced, observations: Sequence[Inputs]) -> None:
    """Pass, or say where the graph begins to differ."""
    try:
        require_parity(parity, config.min_cosine, f"export of {config.policy}")
    except ParityError as error:
        worst = int(np.argmax(np.nan_to_num(parity.max_abs, nan=np.inf)))
        rows = compare_nodes(traced, observations[worst])
        path = config.out.with_suffix(".nodes.json")
        write_json_atomic(path, node_report(rows, worst))
        first = first_difference(rows)
        found = (
            f"the first of {len(rows)} values that differs is {first.name} ({first.operator})"
            if first is not None
            else f"none of {len(rows)} values differs by more than rounding, so the engine's own rewrites may do it"
        )
        raise ParityError(f"{error} but {path}: {found}\n{node_table(rows)}") from error


def _figures(policy: ChunkPolicy, content: bytes, parity: Parity, latency: dict[str, Latency]) -> dict[str, Any]:
    torch_ms, onnx_ms = latency["torch"], latency["onnx_fp32"]
    parameters = sum(tensor.numel() for tensor in policy.parameters())
    return {
        "parameters": parameters,
        "size_bytes": len(content),
        "parity_min_cosine": round(parity.min_cosine, 8),
        "parity_max_abs": round(float(parity.max_abs.max()), 8),
        "parity_observations": len(parity.cosine),
        "latency_ms": {"torch": torch_ms.cpu_ms, "onnx_fp32": onnx_ms.cpu_ms},
        "latency_wall_ms": {"torch": torch_ms.wall_ms, "onnx_fp32": onnx_ms.wall_ms},
        "latency_ratio_fp32": round(torch_ms.cpu_ms / onnx_ms.cpu_ms, 3),
        "contract_hash": policy.contract.hash,
        "policy_sha256": policy_hash(policy),
    }


def _rows(figures: dict[str, JSON]) -> tuple[tuple[str, ...], ...]:
    times: Any = figures["latency_ms"]
    return (
        ("parameters", f"{figures['parameters']:,}"),
        ("file", f"{int(str(figures['size_bytes'])) / 1e6:.2f} MB"),
        ("graph", f"{figures['nodes']} nodes of opset {figures['opset']}"),
        ("smallest cosine with torch", f"{figures['parity_min_cosine']:.7f}"),
        ("largest difference", f"{figures['parity_max_abs']:.2e} action units"),
        ("CPU time of one inference", f"torch {times['torch']:.2f} ms, onnxruntime {times['onnx_fp32']:.2f} ms"),
        ("speed against torch", f"{figures['latency_ratio_fp32']:.2f} x"),
    )
