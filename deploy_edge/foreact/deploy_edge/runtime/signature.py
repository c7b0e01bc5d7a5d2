"""What a policy's graph takes and gives, as its contract says."""

from collections.abc import Mapping

from foreact.deploy_edge.runtime.protocol import TensorFormat
from foreact.episodes.contract import CAMERA_DTYPES, PolicyContract

__all__ = ["ACTION", "DELAY", "NOISE", "PREFIX", "chunk_format", "input_formats", "optional_formats", "signature_fault"]

ACTION = "action"
NOISE = "noise"
PREFIX = "prefix"
DELAY = "delay"


def input_formats(contract: PolicyContract) -> dict[str, TensorFormat]:
    """Inputs that every graph of this contract has, in the contract's order, with a batch of 1."""
    formats: dict[str, TensorFormat] = {}
    for camera in contract.cameras:
        for stream in camera.streams:
            shape = (1, *camera.stream_shape(stream))
            formats[f"camera.{camera.name}.{stream}"] = TensorFormat(CAMERA_DTYPES[stream].name, shape)
    formats["state"] = TensorFormat(contract.state.dtype, (1, *contract.state.shape))
    if contract.language is not None:
        formats["tokens"] = TensorFormat("int64", (1, contract.language.length))
    return formats


def optional_formats(contract: PolicyContract) -> dict[str, TensorFormat]:
    """Inputs that a graph may have: noise of a policy that samples; actions already committed and their number."""
    return {NOISE: chunk_format(contract), PREFIX: chunk_format(contract), DELAY: TensorFormat("int64", (1,))}


def chunk_format(contract: PolicyContract) -> TensorFormat:
    """The one output, `action`: (1, H, A) float32 in action units."""
    return TensorFormat("float32", (1, contract.chunk_length, *contract.action.shape))


def signature_fault(
    contract: PolicyContract, inputs: Mapping[str, TensorFormat], outputs: Mapping[str, TensorFormat]
) -> str | None:
    """What is wrong with a graph's inputs and outputs, or None.

    Args:
        contract: Of the policy.
        inputs: Of the graph, by name.
        outputs: Of the graph, by name.
    """
    optional = optional_formats(contract)
    expected = {**input_formats(contract), **{name: optional[name] for name in inputs if name in optional}}
    for label, wanted, got in (("inputs", expected, inputs), ("outputs", {ACTION: chunk_format(contract)}, outputs)):
        differing = sorted(name for name in {*wanted, *got} if wanted.get(name) != got.get(name))
        if differing:
            pairs = "; ".join(
                f"{name}: expected {_text(wanted.get(name))}, got {_text(got.get(name))}" for name in differing
            )
            return f"{label} are not those of its contract: {pairs}"
    if (PREFIX in inputs) != (DELAY in inputs):
        return f"inputs are not those of its contract: {PREFIX} and {DELAY} belong together"
    return None


def _text(found: TensorFormat | None) -> str:
    return "None" if found is None else f"{found.dtype} {found.shape}"
