"""A policy file and the inference engine that runs it: checked before the first action, one thread.

Shape letters: H chunk length, A action elements.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foreact.deploy_edge.runtime.seal import SealError, verify_seal
from foreact.episodes.contract import ContractError, PolicyContract

__all__ = ["CONTRACT_HASH_KEY", "CONTRACT_KEY", "NOISE", "EngineError", "OnnxEngine", "contract_in", "session_of"]

CONTRACT_KEY = "foreact.contract"
CONTRACT_HASH_KEY = "foreact.contract_hash"
NOISE = "noise"
_TYPES = {"uint8": "tensor(uint8)", "uint16": "tensor(uint16)", "float32": "tensor(float)", "int64": "tensor(int64)"}


class EngineError(ValueError):
    """A file that is no policy, or is damaged, or does not fit its own contract."""


class OnnxEngine:
    """An exported policy run by onnxruntime on the CPU.

    Args:
        path: A file written by `foreact export` or `foreact compress`.
        threads: Threads of one inference.

    Raises:
        EngineError: Missing, truncated, altered, without a contract, or with inputs that are not the contract's.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        try:
            content = path.read_bytes()
            verify_seal(content, str(path))
        except FileNotFoundError:
            raise EngineError(f"no policy at {path}; make one with: foreact export policy=RUN out={path}") from None
        except SealError as error:
            raise EngineError(str(error)) from error
        self._session = session_of(content, threads)
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.contract = contract_in(self.metadata, str(path))
        self.needs_noise = any(each.name == NOISE for each in self._session.get_inputs())
        _check_signature(self._session, self.contract, self.needs_noise, path)

    def infer(self, observation: Mapping[str, np.ndarray], noise: np.ndarray | None = None) -> np.ndarray:
        """Decide on a chunk for one observation.

        Args:
            observation: One array for each of `contract.input_names`, without a batch axis.
            noise: Gaussian, float32 (H, A), for a policy that samples; others leave it.

        Returns:
            Chunk (H, A), float32, in action units.

        Raises:
            ContractError: The observation is not what the contract says, or noise is needed and missing.
        """
        self.contract.check_observation(observation, "infer")
        inputs = {name: np.asarray(observation[name])[None] for name in self.contract.input_names}
        if inputs["state"].ndim != 2:
            raise ContractError(f"infer: state: expected one observation, got a batch {inputs['state'].shape[1:]}")
        if self.needs_noise:
            inputs[NOISE] = self._checked_noise(noise)[None]
        (chunk,) = self._session.run(None, inputs)
        return chunk[0]

    def _checked_noise(self, noise: np.ndarray | None) -> np.ndarray:
        shape = (self.contract.chunk_length, *self.contract.action.shape)
        if noise is None or noise.shape != shape or noise.dtype != np.float32:
            got = None if noise is None else f"{noise.dtype} {noise.shape}"
            raise ContractError(f"infer: noise: this policy samples, so it needs float32 {shape}, got {got}")
        return noise


def session_of(content: bytes, threads: int = 1, **options: Any) -> Any:
    """An onnxruntime session on the CPU.

    Args:
        content: Bytes of a model.
        threads: Threads of one inference.
        options: Further attributes of `SessionOptions`.

    Raises:
        EngineError: onnxruntime cannot load the model.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    for name, value in options.items():
        setattr(settings, name, value)
    try:
        return onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own that share no public base
        raise EngineError(f"onnxruntime cannot load the model: {error}") from error


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


def _check_signature(session: Any, contract: PolicyContract, needs_noise: bool, path: Path) -> None:
    wanted = {name: (_TYPES[dtype], shape) for name, (dtype, shape) in _inputs_of(contract).items()}
    chunk = ("tensor(float)", (1, contract.chunk_length, *contract.action.shape))
    if needs_noise:
        wanted[NOISE] = chunk
    found = {each.name: (each.type, tuple(each.shape)) for each in session.get_inputs()}
    outputs = {each.name: (each.type, tuple(each.shape)) for each in session.get_outputs()}
    for label, expected, got in (("inputs", wanted, found), ("outputs", {"action": chunk}, outputs)):
        if expected != got:
            differing = sorted(name for name in {*expected, *got} if expected.get(name) != got.get(name))
            pairs = "; ".join(f"{name}: expected {expected.get(name)}, got {got.get(name)}" for name in differing)
            raise EngineError(f"{path}: {label} are not those of its contract: {pairs}")


def _inputs_of(contract: PolicyContract) -> dict[str, tuple[str, tuple[int, ...]]]:
    formats: dict[str, tuple[str, tuple[int, ...]]] = {}
    for camera in contract.cameras:
        for stream in camera.streams:
            dtype = "uint16" if stream == "depth" else "uint8"
            formats[f"camera.{camera.name}.{stream}"] = (dtype, (1, *camera.stream_shape(stream)))
    formats["state"] = ("float32", (1, *contract.state.shape))
    if contract.language is not None:
        formats["tokens"] = ("int64", (1, contract.language.length))
    return formats
