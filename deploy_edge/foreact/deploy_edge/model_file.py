"""ONNX models with a contract inside: metadata, digest and checks."""

import errno
import json
import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from foreact.deploy_edge.runtime.engine import CONTRACT_HASH_KEY, CONTRACT_KEY, contract_in, read_sealed
from foreact.deploy_edge.runtime.model_guard import inspect_model
from foreact.deploy_edge.runtime.seal import BLANK, SEAL_KEY, close_seal
from foreact.episodes.contract import PolicyContract
from foreact.episodes.runfolder import write_bytes_atomic

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = [
    "POLICY_KEY", "describe", "load_sealed", "properties", "require_writable", "sealed_bytes", "write_bytes_atomic",
]  # fmt: skip

POLICY_KEY = "foreact.policy_sha256"
VERSION_KEY = "foreact.version"


def describe(contract: PolicyContract, policy_hash: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The metadata of a policy's model.

    Args:
        contract: Of the policy.
        policy_hash: sha256 of the weights that it was exported from.
        extra: Further properties.

    Returns:
        Properties by name. The joint order, control rate and chunk length stand in the contract too; they are repeated
        for programs that do not read contracts.
    """
    return {
        CONTRACT_KEY: contract.to_json(),
        CONTRACT_HASH_KEY: contract.hash,
        "foreact.state_elements": json.dumps(contract.state.elements),
        "foreact.action_elements": json.dumps(contract.action.elements),
        "foreact.control_rate_hz": f"{contract.control_rate_hz:g}",
        "foreact.chunk_length": str(contract.chunk_length),
        POLICY_KEY: policy_hash,
        VERSION_KEY: metadata.version("foreact"),
        **(extra or {}),
    }


def properties(model: "ModelProto") -> dict[str, str]:
    """The metadata of a model."""
    return {each.key: each.value for each in model.metadata_props}


def sealed_bytes(model: "ModelProto", described: Mapping[str, str]) -> bytes:
    """Check a model, put its metadata in and serialise it with its digest.

    Args:
        model: Changed in place: its metadata is replaced.
        described: See `describe`.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: The model is not valid ONNX.
    """
    import onnx

    onnx.checker.check_model(
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True), full_check=True
    )
    del model.metadata_props[:]
    for key, value in {**described, SEAL_KEY: BLANK}.items():
        model.metadata_props.add(key=key, value=value)
    return close_seal(model.SerializeToString(deterministic=True))


def load_sealed(path: Path) -> tuple["ModelProto", PolicyContract]:
    """Read a model that `sealed_bytes` made, and its contract.

    Raises:
        EngineError: Missing, truncated, altered, hostile, or without a contract.
    """
    import onnx

    content = read_sealed(path)
    outline = inspect_model(content, str(path))
    return onnx.load_model_from_string(content), contract_in(outline.metadata, str(path))


def require_writable(path: Path) -> None:
    """Refuse a file that cannot be written, before the work that it is to hold.

    Raises:
        OSError: A folder has its name, a folder of its path is a file, or there is no permission.
    """
    folder = next(each for each in path.absolute().parents if each.exists())
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder has the name of the file to write", str(path))
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "a file has the name of a folder to write into", str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "no permission to write into", str(folder))
