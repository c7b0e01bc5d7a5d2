"""ONNX models with a contract inside: metadata, digest and checks."""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from foreact.deploy_edge.runtime.engine import CONTRACT_HASH_KEY, CONTRACT_KEY, EngineError, contract_in
from foreact.deploy_edge.runtime.seal import BLANK, SEAL_KEY, SealError, close_seal, verify_seal
from foreact.episodes.contract import PolicyContract
from foreact.episodes.runfolder import write_bytes_atomic

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["POLICY_KEY", "describe", "load_sealed", "properties", "sealed_bytes", "write_bytes_atomic"]

POLICY_KEY = "foreact.policy_sha256"
VERSION_KEY = "foreact.version"


def describe(contract: PolicyContract, policy_hash: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The metadata of a policy's model.

    Args:
        contract: Of the policy.
        policy_hash: sha256 of the weights that it was exported from.
        extra: Further properties.
    """
    return {
        CONTRACT_KEY: contract.to_json(),
        CONTRACT_HASH_KEY: contract.hash,
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
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True), full_check=True
    )
    del model.metadata_props[:]
    for key, value in {**described, SEAL_KEY: BLANK}.items():
        model.metadata_props.add(key=key, value=value)
    return close_seal(model.SerializeToString(deterministic=True))


def load_sealed(path: Path) -> tuple["ModelProto", PolicyContract]:
    """Read a model that `sealed_bytes` made, and its contract.

    Raises:
        EngineError: Missing, truncated, altered, or without a contract.
    """
    import onnx

    try:
        content = path.read_bytes()
        verify_seal(content, str(path))
    except FileNotFoundError:
        raise EngineError(
            f"no exported policy at {path}; make one with: foreact export policy=RUN out={path}"
        ) from None
    except SealError as error:
        raise EngineError(str(error)) from error
    model = onnx.load_model_from_string(content)
    return model, contract_in(properties(model), str(path))
