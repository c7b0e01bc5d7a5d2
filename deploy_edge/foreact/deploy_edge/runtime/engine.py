"""A policy file and the inference engine that runs it: checked before the first action.

Shape letters: H chunk length, A action elements.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from foreact.deploy_edge.runtime.checked_file import check_file, read_sealed
from foreact.deploy_edge.runtime.engines import open_runtime
from foreact.deploy_edge.runtime.golden import (
    GOLDEN_KEY,
    GoldenError,
    GoldenResult,
    chunk_function,
    read_golden,
    require_golden,
)
from foreact.deploy_edge.runtime.onnx_engine import onnx_session
from foreact.deploy_edge.runtime.protocol import Runtime, RuntimeFailure, RuntimeMissing
from foreact.deploy_edge.runtime.refusal import EngineError
from foreact.deploy_edge.runtime.signature import (
    ACTION,
    DELAY,
    NOISE,
    PREFIX,
    chunk_format,
    signature_fault,
)
from foreact.episodes.contract import ContractError, PolicyContract

__all__ = [
    "CONTRACT_HASH_KEY", "CONTRACT_KEY", "LONGEST_DELAY_KEY", "NOISE", "EngineError", "Gating", "PolicyEngine",
    "contract_in", "open_policy", "read_sealed", "session_of",
]  # fmt: skip

CONTRACT_KEY = "foreact.contract"
CONTRACT_HASH_KEY = "foreact.contract_hash"
LONGEST_DELAY_KEY = "foreact.longest_delay"

type Gating = Literal["required", "named", "none"]


class PolicyEngine:
    """A policy in some engine: observations in, chunks out, everything checked against the contract.

    Args:
        runtime: The loaded graph.
        where: The file, for messages.

    Attributes:
        contract: What the policy sees and commands.
        metadata: The model's properties.
        needs_noise: Whether it samples.
        prefix: Most committed actions that it can be told of; 0 for a policy that cannot.
        gate: What the golden inputs showed; None if they were not run.

    Raises:
        EngineError: The model carries no contract, or its inputs and outputs are not the contract's.
    """

    def __init__(self, runtime: Runtime, where: str) -> None:
        self.runtime, self.where = runtime, where
        self.metadata: Mapping[str, str] = runtime.metadata
        self.contract = contract_in(self.metadata, where)
        _require_signature(self.contract, runtime, where)
        self.needs_noise = NOISE in runtime.inputs
        self.prefix = _longest_delay(self.metadata, self.contract, where) if PREFIX in runtime.inputs else 0
        self.gate: GoldenResult | None = None
        self._inputs = {name: np.zeros(each.shape, each.dtype) for name, each in runtime.inputs.items()}
        self._outputs = {name: np.zeros(each.shape, each.dtype) for name, each in runtime.outputs.items()}

    def infer(
        self,
        observation: Mapping[str, np.ndarray],
        noise: np.ndarray | None = None,
        prefix: np.ndarray | None = None,
        delay: int = 0,
    ) -> np.ndarray:
        """Decide on a chunk for one observation.

        Args:
            observation: One array for each of `contract.input_names`, without a batch axis.
            noise: Gaussian, float32 (H, A), for a policy that samples; others leave it.
            prefix: Actions that are committed already, float32 (H, A) in action units, row 0 at the step of the
                observation; rows from `delay` on are not looked at. Only for a policy that takes them.
            delay: How many rows of `prefix` are committed.

        Returns:
            Chunk (H, A), float32, in action units.

        Raises:
            ContractError: The observation is not what the contract says, noise is needed and missing, or a prefix was
                given to a policy that takes none, or a longer one than it takes.
            RuntimeFailure: The engine failed.
        """
        self.contract.check_observation(observation, "infer")
        if observation["state"].ndim != 1:
            raise ContractError(
                f"infer: state: expected one observation, got a batch {observation['state'].shape[:-1]}"
            )
        for name in self.contract.input_names:
            self._inputs[name][0] = observation[name]
        if self.needs_noise:
            self._inputs[NOISE][0] = self._checked(NOISE, noise, "this policy samples, so it needs")
        self._commit(prefix, delay)
        self.runtime.infer(self._inputs, self._outputs)
        return self._outputs[ACTION][0].copy()

    def close(self) -> None:
        """Free the engine."""
        self.runtime.close()

    def _commit(self, prefix: np.ndarray | None, delay: int) -> None:
        if not 0 <= delay <= self.prefix or (prefix is None and delay > 0):
            raise ContractError(
                f"infer: delay: {delay} committed actions{' without a prefix' if prefix is None else ''}, "
                f"this policy takes 0 to {self.prefix}"
            )
        if PREFIX not in self._inputs:
            return
        rows = self._inputs[PREFIX][0]
        rows[:] = 0
        if prefix is not None:
            rows[:delay] = self._checked(PREFIX, prefix, "expected")[:delay]
        self._inputs[DELAY][0] = delay

    def _checked(self, name: str, chunk: np.ndarray | None, wanted: str) -> np.ndarray:
        shape = chunk_format(self.contract).shape[1:]
        if chunk is None or chunk.shape != shape or chunk.dtype != np.float32:
            got = None if chunk is None else f"{chunk.dtype} {chunk.shape}"
            raise ContractError(f"infer: {name}: {wanted} float32 {shape}, got {got}")
        if not np.isfinite(chunk).all():
            raise ContractError(f"infer: {name} holds a value that is not finite")
        return chunk


def open_policy(path: Path, engine: str = "onnxruntime", threads: int = 1, gate: Gating = "required") -> PolicyEngine:
    """Open a policy: its digest, the guard, the engine with its exact settings, then the golden inputs.

    Args:
        path: A file written by `foreact export` or `foreact compress`.
        engine: Which engine runs it; there is no other if this one cannot.
        threads: Threads of one inference.
        gate: `required` refuses a model without golden inputs; `named` checks them if the model names them; `none`
            leaves them.

    Raises:
        EngineError: Missing, truncated, altered, hostile, without a contract, or not in line with it; or the engine
            computes something else than was exported.
        RuntimeMissing: The engine's package or device is not on this machine.
    """
    checked = check_file(path)
    outline = checked.outline
    contract = contract_in(outline.metadata, str(path))
    fault = signature_fault(contract, outline.inputs, outline.outputs)
    if fault is not None:
        raise EngineError(f"{path}: {fault}")
    try:
        opened = PolicyEngine(open_runtime(engine, path, threads, checked), str(path))
        if gate == "required" or (gate == "named" and GOLDEN_KEY in outline.metadata):
            opened.gate = _passed(opened, path, outline.metadata.get(GOLDEN_KEY))
    except RuntimeMissing:
        raise
    except (RuntimeFailure, GoldenError) as error:
        raise EngineError(str(error)) from error
    return opened


def _passed(opened: PolicyEngine, path: Path, digest: str | None) -> GoldenResult:
    golden = read_golden(path, opened.contract, digest)
    where = f"{path} in {opened.runtime.name} {opened.runtime.version}"
    try:
        return require_golden(chunk_function(opened.runtime), golden, opened.contract, where)
    except BaseException:
        opened.close()
        raise


def session_of(content: bytes, threads: int = 1, **options: Any) -> Any:
    """An onnxruntime session on the CPU.

    Args:
        content: Bytes of a model.
        threads: Threads of one inference.
        options: Further attributes of `SessionOptions`.

    Raises:
        EngineError: onnxruntime cannot load the model.
    """
    try:
        return onnx_session(content, threads, **options)
    except RuntimeMissing:
        raise
    except RuntimeFailure as error:
        raise EngineError(str(error)) from error


def contract_in(metadata: Mapping[str, str], where: str) -> PolicyContract:
    """The contract in a model's metadata.

    Args:
        metadata: The model's properties.
        where: The file, for the message.

    Raises:
        EngineError: It is not there, or it does not match its hash.
    """
    if CONTRACT_KEY not in metadata or CONTRACT_HASH_KEY not in metadata:
        raise EngineError(f"{where} carries no contract ({CONTRACT_KEY}); export the policy again with: foreact export")
    try:
        contract = PolicyContract.from_json(metadata[CONTRACT_KEY])
    except ContractError as error:
        raise EngineError(f"{where}: {error}") from error
    if contract.hash != metadata[CONTRACT_HASH_KEY]:
        found = metadata[CONTRACT_HASH_KEY]
        raise EngineError(f"{where}: the contract was altered: its hash is {contract.hash}, the file says {found}")
    return contract


def _longest_delay(metadata: Mapping[str, str], contract: PolicyContract, where: str) -> int:
    found = metadata.get(LONGEST_DELAY_KEY, "")
    if not found.isdecimal() or not 0 < int(found) < contract.chunk_length:
        raise EngineError(
            f"{where}: {LONGEST_DELAY_KEY} is {found[:20]!r}, expected 1 to {contract.chunk_length - 1}; "
            "export it again with: foreact export"
        )
    return int(found)


def _require_signature(contract: PolicyContract, runtime: Runtime, where: str) -> None:
    fault = signature_fault(contract, runtime.inputs, runtime.outputs)
    if fault is not None:
        raise EngineError(f"{where} in {runtime.name}: {fault}")
