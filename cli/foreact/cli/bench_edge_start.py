"""Cold start and memory of deployed policies, in fresh processes: those measured, and one of 10 M parameters."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.cli.bench_edge_plan import Files

if TYPE_CHECKING:
    from foreact.episodes.contract import PolicyContract

__all__ = ["LARGE", "cold_starts"]

LARGE = "10 M fp32"
"""Name of the untrained policy of 10 M parameters."""


def cold_starts(files: Files, policy: Path, data: Path, starts: int) -> dict[str, dict[str, Any]]:
    """Start processes that decide once.

    Args:
        files: The models of a policy.
        policy: Run folder of the policy, for its contract.
        data: Held-out store, for the golden inputs of the large policy.
        starts: Processes of each model; medians are reported, of memory the largest.

    Returns:
        Figures by name of the model, see `foreact.deploy_edge.cold_start.ColdStart`; with OpenVINO by `openvino NAME`.
    """
    large = _large_model(files.folder, policy, data)
    models = {name: path for name, path in files.models.items() if name != "naive"} | {LARGE: large}
    found = {name: _starts(path, "onnxruntime", starts) for name, path in models.items()}
    for name, path in models.items():
        try:
            found[f"openvino {name}"] = _starts(path, "openvino", starts)
        except RuntimeError as error:
            found[f"openvino {name}"] = {"not_run": str(error)}
    return found


def _starts(model: Path, engine: str, starts: int) -> dict[str, Any]:
    from foreact.deploy_edge.cold_start import cold_start

    rows = [asdict(cold_start(model, engine)) for _ in range(starts)]
    medians = {key: statistics.median(row[key] for row in rows) for key in rows[0] if key != "engine"}
    most = {key: max(row[key] for row in rows) for key in ("rss_mb", "steady_rss_mb")}
    return {"engine": rows[0]["engine"], **medians, **most, "starts": starts}


def _large_model(folder: Path, policy: Path, data: Path) -> Path:
    """An untrained policy for the same contract with 10 M parameters, exported."""
    import torch

    from foreact.deploy_edge.export import ExportConfig, export
    from foreact.vla.checkpoint import load_policy, save_policy

    model = folder / "large.onnx"
    if model.exists():
        return model
    torch.manual_seed(0)
    large = _ten_million(load_policy(policy).contract)
    save_policy(folder / "large", large)
    export(ExportConfig(folder / "large", model, data, observations=8, rounds=1))
    return model


def _ten_million(contract: PolicyContract) -> Any:
    from foreact.perception.language import InstructionEncoder
    from foreact.perception.vision import KeypointEncoder
    from foreact.vla.heads import HeadConfig
    from foreact.vla.policy import PolicyConfig

    vision = KeypointEncoder.Config((64, 128, 192), 48, 256)
    language = InstructionEncoder.Config(64, 128, 1)
    for width in range(1024, 2048, 64):
        policy = PolicyConfig(vision, language, HeadConfig(width=width)).build(contract)
        if sum(each.numel() for each in policy.parameters()) >= 10_000_000:
            return policy.eval()
    raise AssertionError("no width gives 10 M parameters")
