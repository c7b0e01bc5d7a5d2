"""The end of a recipe: the file, the control beside it, and what every step cost and gained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.deploy_edge.compress.chain import Row
from foreact.deploy_edge.compress.sealing import Sealed, exported, seal, source_model
from foreact.deploy_edge.compress.steps import Made
from foreact.deploy_edge.compress.table import figure_rows
from foreact.deploy_edge.compress.trial import Result as TrialResult
from foreact.deploy_edge.compress.trial import compared, episodes_of, run_trial, tasks_of
from foreact.deploy_edge.compress.workbench import Workbench
from foreact.deploy_edge.export.chunks import onnx_policy, policy_hash, run_chunks, torch_policy
from foreact.deploy_edge.latency import Latency, interleaved
from foreact.deploy_edge.model_file import sealed_bytes, write_bytes_atomic
from foreact.deploy_edge.parity import Parity, require_parity
from foreact.deploy_edge.quantise_config import QuantiseConfig
from foreact.deploy_edge.quantise_model import Quantised, quantise_model
from foreact.deploy_edge.runtime.golden import write_golden
from foreact.episodes.outcome import JSON

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Finished", "finish"]

SMALLER = (1.0, 0.75, 0.5, 0.25)  # parts of the margin that are tried one after the other


@dataclass(frozen=True)
class Finished:
    """Everything to be written.

    Attributes:
        content: The .onnx file.
        golden: Its golden inputs; None for a control.
        slimmed: Folder of the slimmed policy; None if the policy is the original.
        figures: Of the command.
        details: Further parts of the report.
        table: For the terminal.
    """

    content: bytes
    golden: bytes | None
    slimmed: Path | None
    figures: dict[str, Any]
    details: dict[str, Any]
    table: tuple[tuple[str, ...], ...]


def finish(bench: Workbench, made: Made, rows: Sequence[Row]) -> Finished:
    """Export, quantise, gate, measure and try.

    Args:
        bench: The original and what it is measured on.
        made: What the steps before quantisation gave.
        rows: What they did.

    Raises:
        ParityError, GoldenError: The file differs too much from the policy that it was made from.
    """
    return _Ending(bench, made, rows).finish()


class _Ending:
    def __init__(self, bench: Workbench, made: Made, rows: Sequence[Row]) -> None:
        self._bench, self._made, self._rows = bench, made, rows
        self._recipe, self._looks = bench.config.recipe, 0
        self._chunk = torch_policy(made.policy) if rows else bench.original
        self._reference = run_chunks(self._chunk, bench.held_out) if rows else bench.reference

    def finish(self) -> Finished:
        bench, config = self._bench, self._bench.config
        bench.progress(0, 0, "compress: export")
        model, described = exported(self._made, bench) if self._rows else source_model(bench)
        slimmed = sealed_bytes(model, described)
        quantised, parity = self._near(model, described)
        if quantised is not None:
            described |= quantised.properties
        control = self._recipe.quantise is not None and self._recipe.quantise.everything
        final = quantised.model if quantised is not None else model
        if not control:
            require_parity(parity, bench.gate, f"compression of {config.model}")
        sealed = seal(final, described, self._reference, bench, golden=not control)
        naive = self._control(model)
        latency = self._latency(sealed.content, described["foreact.precision"])
        steps = self._steps(sealed, slimmed)
        figures = self._figures(sealed, described["foreact.precision"], parity, naive, latency)
        figures |= quantised.figures if quantised is not None else {}
        figures["steps"] = steps
        figures["held_out_looks"] = self._looks
        details = {
            "parity": {
                _label(described["foreact.precision"]): parity.figures(),
                "fp32": bench.fp32.figures(rows=False),
                "control": naive.figures(rows=False),
            },
            "latency": latency,
            "layers": list(quantised.layers) if quantised is not None else [],
            "search": list(quantised.search) if quantised is not None else [],
        }
        folder = self._rows[-1].folder / "policy" if self._rows else None
        return Finished(sealed.content, sealed.golden, folder, figures, details, figure_rows(figures))

    def _near(self, model: ModelProto, described: Mapping[str, str]) -> tuple[Quantised | None, Parity]:
        """The quantised model with its parity; where that misses the gate, one with more layers in float."""
        wanted = self._recipe.quantise
        margins = (1.0,) if wanted is None or wanted.everything else SMALLER
        found: tuple[Quantised | None, Parity] | None = None
        for part in margins:
            config = None if wanted is None else dataclasses.replace(wanted, margin=wanted.margin * part)
            quantised = self._quantised(model, config)
            final = quantised.model if quantised is not None else model
            found = quantised, self._bench.parity(onnx_policy(sealed_bytes(final, described)), self._reference)
            self._looks += 1
            if found[1].use_of(self._bench.gate) <= 1:
                break
        assert found is not None
        return found

    def _quantised(self, model: ModelProto, config: QuantiseConfig | None) -> Quantised | None:
        if config is None:
            return None
        bench = self._bench
        bench.progress(0, 0, "compress: quantise")
        return quantise_model(model, self._chunk, bench.calibration, config, bench.gate, bench.span, bench.progress)

    def _control(self, model: ModelProto) -> Parity:
        """Everything rounded to 8 bits, one scale per tensor: what the recipe must be better than."""
        naive = self._quantised(model, QuantiseConfig(everything=True))
        assert naive is not None
        return self._bench.parity(onnx_policy(naive.model.SerializeToString()), self._reference)

    def _latency(self, content: bytes, precision: str) -> dict[str, Latency]:
        """Original in torch, original in fp32 and the result in turn on one observation."""
        bench = self._bench
        original, fp32, ours = bench.original, onnx_policy(bench.content), onnx_policy(content)
        inputs = bench.held_out[0]
        calls = {
            "torch": lambda: original(inputs),
            "onnx_fp32": lambda: fp32(inputs),
            f"onnx_{_label(precision)}": lambda: ours(inputs),
        }
        return interleaved(calls, bench.config.rounds)

    def _figures(
        self, sealed: Sealed, precision: str, parity: Parity, naive: Parity, latency: dict[str, Latency]
    ) -> dict[str, Any]:
        bench, label = self._bench, _label(precision)
        times = {name: each.cpu_ms for name, each in latency.items()}
        walls = {name: each.wall_ms for name, each in latency.items()}
        ours = f"onnx_{label}"
        return {
            "recipe": self._recipe.name,
            "precision": precision,
            "size_bytes": {"onnx_fp32": len(bench.content), ours: len(sealed.content)},
            "size_ratio": round(len(bench.content) / len(sealed.content), 4),
            "parameters": {
                "original": sum(tensor.numel() for tensor in bench.policy.parameters()),
                "result": sum(tensor.numel() for tensor in self._made.policy.parameters()),
            },
            "policy_sha256": policy_hash(self._made.policy),
            "parity_min_cosine": round(parity.min_cosine, 8),
            "parity_max_abs": round(float(parity.max_abs.max()), 8),
            "parity_max_range_fraction": round(float(parity.max_range_fraction), 8),
            "parity_observations": len(parity.cosine),
            "latency_ms": times,
            "latency_wall_ms": walls,
            "latency_ratio_fp32": round(times["torch"] / times["onnx_fp32"], 3),
            f"latency_ratio_{label}": round(times["torch"] / times[ours], 3),
            f"latency_ratio_{label}_wall": round(walls["torch"] / walls[ours], 3),
            "latency_ratio": round(times["torch"] / times[ours], 3),
            "control_min_cosine": round(naive.min_cosine, 8),
            "control_max_abs": round(float(naive.max_abs.max()), 8),
        }

    def _steps(self, sealed: Sealed, slimmed: bytes) -> list[dict[str, JSON]]:
        """One row per step: cost, gain, and success on the same layouts.

        Args:
            sealed: The result.
            slimmed: The policy after the last step before quantisation, in fp32.
        """
        bench = self._bench
        episodes = episodes_of(self._recipe, bench.config.trial)
        base = self._try("original", bench.config.policy, episodes)
        measured: list[tuple[str, Path, dict[str, JSON]]] = [
            (row.name, row.folder / "policy", {**cost, **row.figures})
            for row, cost in zip(self._rows, self._costs(slimmed), strict=True)
        ]
        if self._recipe.quantise is not None:
            measured.append(("quantise", self._kept(sealed), bench.cost(sealed.content).figures()))
        found: list[dict[str, JSON]] = []
        for name, path, figures in measured:
            line: dict[str, JSON] = {"step": name, **figures}
            tried = self._try(name, path, episodes)
            if base is not None and tried is not None:
                line["trial"] = compared(base, tried)
            found.append(line)
        if base is not None:
            found.insert(0, {"step": "original", "bytes": len(bench.content), "trial": base.figures()})
        return found

    def _costs(self, slimmed: bytes) -> list[dict[str, JSON]]:
        """What the policy after each step costs; a step that only moves weights leaves the graph as it is."""
        bench = self._bench
        found: list[dict[str, JSON]] = []
        last, before = len(self._rows) - 1, bench.policy.config
        for number, row in enumerate(self._rows):
            policy, factors = _load(row.folder), _factors(row.folder)
            if found and policy.config == before and factors is None:
                found.append({**found[-1], **bench.change(torch_policy(policy))})
            elif number == last:
                found.append(bench.cost(slimmed).figures())
            else:
                model, described = exported(Made(policy, {}, factors=factors), bench)
                found.append(bench.cost(sealed_bytes(model, described)).figures())
            before = policy.config
        return found

    def _kept(self, sealed: Sealed) -> Path:
        """The file where a trial can open it before it is published; nothing is written if there is no trial."""
        import hashlib

        name = hashlib.sha256(sealed.content).hexdigest()[:12]
        path = self._bench.folder / f"quantised-{name}.onnx"
        if episodes_of(self._recipe, self._bench.config.trial):
            if sealed.golden is not None:
                write_golden(path, sealed.golden)
            write_bytes_atomic(path, sealed.content)
        return path

    def _try(self, name: str, policy: Path, episodes: int) -> TrialResult | None:
        if not episodes:
            return None
        bench = self._bench
        trial, label = bench.config.trial, policy_label(name, policy, bench)
        out = bench.folder / "trials" / f"{label}-seed{trial.seed}-{episodes}"
        tasks = tasks_of(trial, bench.config.data)
        return run_trial(policy, tasks, trial, episodes, out, bench.progress)


def policy_label(name: str, policy: Path, bench: Workbench) -> str:
    """A name for the trial of a policy that changes when the policy does."""
    if name == "original":
        return f"original-{policy_hash(bench.policy)[:12]}"
    return policy.stem if policy.suffix == ".onnx" else policy.parent.name


def _label(precision: str) -> str:
    return "result" if precision == "float32" else precision


def _load(folder: Path) -> Any:
    from foreact.vla.checkpoint import load_policy

    return load_policy(folder / "policy")


def _factors(folder: Path) -> Any:
    file = folder / "factors.safetensors"
    if not file.exists():
        return None
    from safetensors.torch import load

    return load(file.read_bytes())
