"""`foreact export to=stages`: a policy as one graph per stage, so that what does not change is not computed again.

Shape letters: H chunk length, A action elements.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.deploy_edge.export.chunks import input_names, onnx_policy, policy_hash, run_chunks, torch_policy
from foreact.deploy_edge.export.source import finite_chunks, golden_of, longest_delay, read_policy
from foreact.deploy_edge.export.trace import OPSET, OPSETS, example_inputs, onnx_model, trace
from foreact.deploy_edge.latency import Latency, interleaved
from foreact.deploy_edge.model_file import describe, require_writable, sealed_bytes
from foreact.deploy_edge.observations import Inputs, draw_observations, only
from foreact.deploy_edge.parity import ParityError, compare, require_parity
from foreact.deploy_edge.runtime.engine import LONGEST_DELAY_KEY
from foreact.deploy_edge.runtime.golden import GOLDEN_KEY, golden_digest, write_golden
from foreact.deploy_edge.runtime.sealed_json import sealed_json
from foreact.deploy_edge.runtime.stages import STAGES_FILE, STAGES_KIND, StagedPolicy
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import describe_machine, write_json_atomic
from foreact.episodes.staging import remove_stale, staged_folder

if TYPE_CHECKING:
    from foreact.vla.chunk_policy import ChunkPolicy

__all__ = ["StagesConfig", "export_stages"]

STEPS = 4
FUSED_LIMIT = 1e-5  # [action units] largest difference from the chunk of the graph in one piece
type Chunk = Callable[[Inputs], np.ndarray]


@dataclass(frozen=True)
class StagesConfig:
    """What to export in stages, and how near it must come to the original.

    Attributes:
        policy: Folder of a trained policy, or the run folder of its training.
        out: The folder to write; it must not exist.
        data: Episode store to draw observations for the comparison from.
        observations: How many.
        min_cosine: Gate: the smallest cosine with the original's chunk that any observation may have.
        rounds: Timed inferences.
        seed: Of the draw.
        opset: Of the ONNX operators, 18 or 23.
        to: `stages`.

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
    to: str = "stages"

    def __post_init__(self) -> None:
        if self.observations < 2 or self.rounds < 1:
            raise ValueError(f"observations={self.observations} must be 2 or more, rounds={self.rounds} 1 or more")
        if self.opset not in OPSETS:
            raise ValueError(f"opset={self.opset}: choose from {', '.join(map(str, OPSETS))}")
        if self.out.suffix == ".onnx":
            raise ValueError(f"out={self.out}: stages are written into a folder; type out={self.out.with_suffix('')}")


def export_stages(config: StagesConfig, progress: ProgressFn = quiet) -> Outcome:
    """Export a policy's stages, compare them with the original and with the graph in one piece, and write a folder.

    Args:
        config: What and where to.
        progress: Told of each step.

    Raises:
        CheckpointError, StoreError, ContractMismatch: The policy or the store cannot be read or do not fit.
        ParityError, GoldenError: The stages do not compute what the original does; nothing is written.
        OSError: `out` exists or cannot be written.
    """
    progress(0, STEPS, "export")
    if config.out.exists():
        raise FileExistsError(errno.EEXIST, "delete it, or name another folder with out=...", str(config.out))
    require_writable(config.out)
    policy = read_policy(config.policy)
    delays = longest_delay(policy)
    observations = draw_observations(config.data, policy.contract, config.observations, config.seed, "held out", delays)
    original = torch_policy(policy)
    reference = finite_chunks(original, observations, config.policy)
    progress(1, STEPS, "export")
    fused = onnx_policy(onnx_model(policy, config.opset).SerializeToString())
    config.out.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(config.out.parent)
    with staged_folder(config.out) as folder:
        rows = _write(policy, config, folder, golden_of(_taken(policy, observations), reference))
        progress(2, STEPS, "export")
        staged = StagedPolicy(folder / STAGES_FILE)
        inputs = _taken(policy, observations)
        chunks = run_chunks(staged.chunk, inputs)
        parity = compare(reference, chunks)
        require_parity(parity, config.min_cosine, f"stages of {config.policy}")
        apart = _largest_difference(run_chunks(fused, inputs), chunks)
        if not apart <= FUSED_LIMIT:
            raise ParityError(f"stages differ by {apart:.2e} action units from the fused graph, gate {FUSED_LIMIT}")
        progress(3, STEPS, "export")
        latency = interleaved(_calls(staged, fused, original, inputs), config.rounds)
        figures = _figures(rows, latency)
        figures |= {"parity_min_cosine": round(parity.min_cosine, 8), "fused_max_abs": apart, "opset": config.opset}
        report = {**figures, "parity": parity.figures(), "machine": describe_machine(), "config": config}
        write_json_atomic(folder / "stages.report.json", report)
    progress(STEPS, STEPS, "export")
    return Outcome(
        config.out, figures, ("stage", "nodes", "file", "CPU time of one run", "runs per chunk"), _table(figures)
    )


def _taken(policy: ChunkPolicy, observations: Sequence[Inputs]) -> list[Inputs]:
    return [only(inputs, input_names(policy)) for inputs in observations]


def _write(policy: ChunkPolicy, config: StagesConfig, folder: Path, golden: bytes) -> list[dict[str, Any]]:
    """Write every stage's graph, the golden inputs and the manifest; return the stages as the manifest has them."""
    extra = {
        "foreact.precision": "float32",
        "foreact.opset": str(config.opset),
        LONGEST_DELAY_KEY: str(longest_delay(policy)),
        GOLDEN_KEY: golden_digest(golden),
    }
    described = describe(policy.contract, policy_hash(policy), extra)
    rows: list[dict[str, Any]] = []
    nodes: list[dict[str, Any]] = []
    for stage, inputs in _examples(policy):
        model = trace(stage, inputs, stage.outputs, config.opset).model
        spec = {key: getattr(stage, key) for key in ("name", "inputs", "outputs", "repeats", "loop")}
        content = sealed_bytes(model, {**described, "foreact.stage": json.dumps(spec)})
        file = f"{stage.name}.onnx"
        (folder / file).write_bytes(content)
        rows.append({**spec, "file": file, "sha256": hashlib.sha256(content).hexdigest()})
        nodes.append({"nodes": len(model.graph.node), "size_bytes": len(content), "repeats": stage.repeats})
    manifest = {"metadata": described, "longest_delay": longest_delay(policy), "stages": rows}
    write_golden(folder / STAGES_FILE, golden)
    write_json_atomic(folder / STAGES_FILE, sealed_json(STAGES_KIND, manifest))
    return [{"name": row["name"], **each} for row, each in zip(rows, nodes, strict=True)]


def _examples(policy: ChunkPolicy) -> list[tuple[Any, Inputs]]:
    """Every stage with an example of what it takes."""
    import torch

    from foreact.vla.chunk_policy import run_stages

    example = example_inputs(policy.contract, input_names(policy))
    with torch.no_grad():
        known = run_stages(policy.stages(), {name: torch.from_numpy(array) for name, array in example.items()})
    return [(stage.eval(), {name: known[name].numpy() for name in stage.inputs}) for stage in policy.stages()]


def _calls(staged: StagedPolicy, fused: Chunk, original: Chunk, inputs: list[Inputs]) -> dict[str, Any]:
    first, second = inputs[0], inputs[1]
    if "tokens" in first:
        second = {**second, "tokens": first["tokens"]}

    def fresh() -> np.ndarray:
        staged.forget()
        return staged.chunk(first)

    whole = {"torch": lambda: original(first), "fused": lambda: fused(first), "new_instruction": fresh}
    return {**whole, "same_instruction": lambda: staged.chunk(second), **staged.stage_calls(first)}


def _largest_difference(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> float:
    return float(max(np.abs(a - b).max() for a, b in zip(first, second, strict=True)))


def _figures(rows: list[dict[str, Any]], latency: dict[str, Latency]) -> dict[str, Any]:
    whole = ("torch", "fused", "new_instruction", "same_instruction")
    return {
        "stages": [{**row, "cpu_ms": latency[row["name"]].cpu_ms} for row in rows],
        "latency_ms": {name: latency[name].cpu_ms for name in whole},
        "context_saves_ms": round(latency["new_instruction"].cpu_ms - latency["same_instruction"].cpu_ms, 4),
        "size_bytes": sum(row["size_bytes"] for row in rows),
    }


def _table(figures: dict[str, JSON]) -> tuple[tuple[str, ...], ...]:
    stages: Any = figures["stages"]
    times: Any = figures["latency_ms"]
    each = [
        (row["name"], str(row["nodes"]), f"{row['size_bytes'] / 1e6:.2f} MB", f"{row['cpu_ms']:.3f} ms",
         str(row["repeats"])) for row in stages
    ]  # fmt: skip
    names = {"fused": "in one graph", "new_instruction": "staged", "same_instruction": "staged, same instruction"}
    return (*each, *((text, "", "", f"{times[name]:.3f} ms", "") for name, text in names.items()))
