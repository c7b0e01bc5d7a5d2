"""Trained policies as files for other machines: ONNX whole or in stages, ExecuTorch; compared with the original."""

from foreact.deploy_edge.export.chunks import input_names, onnx_policy, policy_hash, run_chunks, torch_policy
from foreact.deploy_edge.export.fused import ExportConfig, export
from foreact.deploy_edge.export.trace import onnx_model

__all__ = [
    "ExportConfig",
    "export",
    "input_names",
    "onnx_model",
    "onnx_policy",
    "policy_hash",
    "run_chunks",
    "torch_policy",
]
