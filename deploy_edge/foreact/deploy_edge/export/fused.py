"""`foreact export`: a trained policy as one ONNX file that carries its contract and was compared with the original."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.deploy_edge.export.chunks import onnx_policy, policy_hash, run_chunks, torch_policy
from foreact.deploy_edge.export.trace import onnx_model
from foreact.deploy_edge.latency import Latency, interleaved
from foreact.deploy_edge.model_file import describe, sealed_bytes, write_bytes_atomic
from foreact.deploy_edge.observations import draw_observations
from foreact.deploy_edge.parity import Parity, compare, require_parity
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import describe_machine, write_json_atomic

if TYPE_CHECKING:
    from foreact.vla.policy import Policy

__all__ = ["ExportConfig", "export"]

STAGES = 4


@dataclass(frozen=True)
class ExportConfig:
    """What to export, and how near it must come to the original.

    Attributes:
        policy: Folder of a trained policy, or the run folder of its training.
        out: The .onnx file to write; a report goes beside it.
        data: Episode store to draw observations for the comparison from.
        observations: How many.
        min_cosine: Gate: the smallest cosine with the original's chunk that any observation may have.
        rounds: Timed inferences.
        seed: Of the draw.
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
    to: str = "onnx"

    def __post_init__(self) -> None:
        if self.out.suffix != ".onnx":
            raise ValueError(f"out={self.out} must end in .onnx")
        if self.observations < 1 or self.rounds < 1:
            raise ValueError(f"observations={self.observations} and rounds={self.rounds} must be 1 or more")


def export(config: ExportConfig, progress: ProgressFn = quiet) -> Outcome:
    """Export a policy to ONNX, compare it with the original and write it if it passes the gate.

    Args:
        config: What and where to.
        progress: Told of each stage.

    Raises:
        CheckpointError, StoreError, ContractMismatch: The policy or the store cannot be read or do not fit.
        ParityError: The exported model differs; nothing is written.
    """
    from foreact.vla.checkpoint import load_policy

    progress(0, STAGES, "export")
    policy = load_policy(config.policy)
    observations = draw_observations(config.data, policy.contract, config.observations, config.seed, "held out")
    progress(1, STAGES, "export")
    model = onnx_model(policy)
    content = sealed_bytes(model, describe(policy.contract, policy_hash(policy), {"foreact.precision": "float32"}))
    progress(2, STAGES, "export")
    original, exported = torch_policy(policy), onnx_policy(content)
    reference = run_chunks(original, observations)
    parity = compare(reference, run_chunks(exported, observations))
    require_parity(parity, config.min_cosine, f"export of {config.policy}")
    progress(3, STAGES, "export")
    calls = {"torch": lambda: original(observations[0]), "onnx_fp32": lambda: exported(observations[0])}
    latency = interleaved(calls, config.rounds)
    figures = _figures(policy, content, parity, latency)
    write_bytes_atomic(config.out, content)
    report = {**figures, "parity": parity.figures(), "machine": describe_machine(), "config": config}
    write_json_atomic(config.out.with_suffix(".report.json"), report)
    progress(STAGES, STAGES, "export")
    return Outcome(config.out, figures, ("figure", "value"), _rows(figures))


def _figures(policy: Policy, content: bytes, parity: Parity, latency: dict[str, Latency]) -> dict[str, Any]:
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
        ("smallest cosine with torch", f"{figures['parity_min_cosine']:.7f}"),
        ("largest difference", f"{figures['parity_max_abs']:.2e} action units"),
        ("CPU time of one inference", f"torch {times['torch']:.2f} ms, onnxruntime {times['onnx_fp32']:.2f} ms"),
        ("speed against torch", f"{figures['latency_ratio_fp32']:.2f} x"),
    )
