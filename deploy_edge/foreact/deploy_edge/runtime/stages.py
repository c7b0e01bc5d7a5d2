"""A policy in stages: the instruction is read once, a frame looked at once, the action step runs as often as needed.

Shape letters: H chunk length, A action elements.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foreact.deploy_edge.runtime.engine import contract_in, session_of
from foreact.deploy_edge.runtime.golden import GOLDEN_KEY, read_golden, require_golden
from foreact.deploy_edge.runtime.model_guard import inspect_model
from foreact.deploy_edge.runtime.refusal import EngineError
from foreact.deploy_edge.runtime.seal import SealError, verify_seal
from foreact.deploy_edge.runtime.sealed_json import read_sealed_json
from foreact.deploy_edge.runtime.signature import ACTION, DELAY, NOISE, PREFIX, input_formats, optional_formats
from foreact.episodes import strictjson
from foreact.episodes.contract import ContractError

__all__ = ["STAGES_FILE", "STAGES_KIND", "StageFile", "StagedPolicy", "StagesManifest"]

STAGES_FILE = "stages.json"
STAGES_KIND = "foreact stages"
REMEMBERED = ("context", "vision")  # with the same inputs again, their last results are used
_DTYPES = {"tensor(uint8)": "uint8", "tensor(uint16)": "uint16", "tensor(float)": "float32", "tensor(int64)": "int64"}


@dataclass(frozen=True)
class StageFile:
    """One stage and its graph.

    Attributes:
        name: `context`, `vision`, `action_step` or `finish`.
        file: Name of its ONNX file, in the folder of the manifest.
        sha256: Of that file.
        inputs: Tensors it takes: the policy's inputs and outputs of earlier stages.
        outputs: Tensors it computes.
        repeats: How often it runs in a row.
        loop: Pairs (output, input) that carry a result into its next repetition.
    """

    name: str
    file: str
    sha256: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    repeats: int
    loop: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class StagesManifest:
    """What `stages.json` holds.

    Attributes:
        kind: `STAGES_KIND`.
        metadata: As in an exported model: contract, hash of the weights, digest of the golden inputs.
        longest_delay: Decided actions [control steps] that the policy can be told at most; 0 for none.
        stages: In the order they run.
    """

    kind: str
    metadata: dict[str, str]
    longest_delay: int
    stages: tuple[StageFile, ...]


class StagedPolicy:
    """An exported policy whose stages are run one by one by onnxruntime on the CPU, checked on its golden inputs.

    Args:
        path: `stages.json` of a folder written by `foreact export to=stages`.
        threads: Threads of one stage.

    Raises:
        EngineError: A file is missing, truncated or altered, or the stages do not fit the contract or each other.
        GoldenError: They do not compute on this machine what was exported.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._manifest = _manifest(path)
        self.metadata: dict[str, str] = self._manifest.metadata
        self.contract = contract_in(self.metadata, str(path))
        self._stages = [_Stage(path.parent, spec, threads) for spec in self._manifest.stages]
        self.prefix = self._manifest.longest_delay
        _check_chain(path, self._stages, {**input_formats(self.contract), **optional_formats(self.contract)})
        self.needs_noise = any(NOISE in spec.inputs for spec in self._manifest.stages)
        golden = read_golden(path, self.contract, self.metadata.get(GOLDEN_KEY))
        require_golden(self.chunk, golden, self.contract, f"{path} in onnxruntime")

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
            prefix: Decided actions in action units, float32 (H, A), of which the first `delay` rows count.
            delay: How many actions are decided, 0 to `self.prefix` [control steps].

        Returns:
            Chunk (H, A), float32, in action units.

        Raises:
            ContractError: The observation is not what the contract says, noise is needed and missing, or the policy
                cannot be told a prefix so long.
        """
        self.contract.check_observation(observation, "infer")
        inputs = {name: np.asarray(observation[name])[None] for name in self.contract.input_names}
        if inputs["state"].ndim != 2:
            raise ContractError(f"infer: state: expected one observation, got a batch {inputs['state'].shape[1:]}")
        if self.needs_noise:
            inputs[NOISE] = self._checked(NOISE, noise)[None]
        if not 0 <= delay <= self.prefix or (delay > 0 and prefix is None):
            raise ContractError(f"infer: delay={delay} with {self.prefix} at most, and a prefix if it is not 0")
        if self.prefix:
            blank = np.zeros((self.contract.chunk_length, *self.contract.action.shape), np.float32)
            inputs[PREFIX] = self._checked(PREFIX, blank if prefix is None else prefix)[None]
            inputs[DELAY] = np.array([delay], np.int64)
        return self.chunk(inputs)

    def chunk(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The chunk (H, A) for inputs that have the right formats, each with a batch axis of 1."""
        known = dict(inputs)
        for stage in self._stages:
            stage.run(known)
        return known[ACTION][0].copy()

    def stage_calls(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Callable[[], object]]:
        """For each stage a function that runs its graph once, with what it is given for these inputs; for timing.

        Args:
            inputs: As for `chunk`.
        """
        known = dict(inputs)
        calls: dict[str, Callable[[], object]] = {}
        for stage in self._stages:
            calls[stage.spec.name] = stage.call({name: known[name] for name in stage.spec.inputs})
            stage.run(known)
        return calls

    def forget(self) -> None:
        """Compute every stage at the next call, whatever the inputs."""
        for stage in self._stages:
            stage.forget()

    def runs(self) -> dict[str, int]:
        """How often the graph of each stage was run, by its name."""
        return {stage.spec.name: stage.runs for stage in self._stages}

    def _checked(self, name: str, values: np.ndarray | None) -> np.ndarray:
        shape = (self.contract.chunk_length, *self.contract.action.shape)
        if values is None or values.shape != shape or values.dtype != np.float32:
            got = None if values is None else f"{values.dtype} {values.shape}"
            raise ContractError(f"infer: {name}: this policy needs float32 {shape}, got {got}")
        return values


class _Stage:
    """One graph, and what it computed last."""

    def __init__(self, folder: Path, spec: StageFile, threads: int) -> None:
        self.spec, self.runs = spec, 0
        self.session: Any = session_of(_content(folder, spec), threads)
        self._inputs: dict[str, np.ndarray] = {}
        self._results: dict[str, np.ndarray] = {}

    def run(self, known: dict[str, np.ndarray]) -> None:
        """Add this stage's outputs to what is known."""
        taken = {name: known[name] for name in self.spec.inputs}
        if self._inputs and all(np.array_equal(taken[name], self._inputs[name]) for name in self._inputs):
            known.update(self._results)
            return
        for repetition in range(self.spec.repeats):
            if repetition:
                taken |= {name: known[output] for output, name in self.spec.loop}
            known.update(zip(self.spec.outputs, self.session.run(list(self.spec.outputs), taken), strict=True))
            self.runs += 1
        if self.spec.name in REMEMBERED:
            # a caller may fill the same arrays again; small ones first, so that a new state is seen at once
            small_first = sorted(taken, key=lambda name: taken[name].nbytes)
            self._inputs = {name: taken[name].copy() for name in small_first}
            self._results = {name: known[name] for name in self.spec.outputs}

    def call(self, taken: dict[str, np.ndarray]) -> Callable[[], object]:
        """A function that runs the graph once."""
        return lambda: self.session.run(list(self.spec.outputs), taken)

    def forget(self) -> None:
        """Drop what was remembered."""
        self._inputs = {}


def _manifest(path: Path) -> StagesManifest:
    content = read_sealed_json(path, STAGES_KIND)
    try:
        manifest = strictjson.decode(StagesManifest, content, path.name)
    except strictjson.StrictJsonError as error:
        raise EngineError(f"{path}: {error}; export it again with: foreact export to=stages") from error
    if not manifest.stages or min(spec.repeats for spec in manifest.stages) < 1:
        raise EngineError(f"{path}: every stage must run once at least; export it again")
    return manifest


def _content(folder: Path, spec: StageFile) -> bytes:
    path = folder / spec.file
    if Path(spec.file).name != spec.file:
        raise EngineError(f"{folder / STAGES_FILE}: {spec.file!r} is no name of a file in this folder")
    try:
        content = path.read_bytes()
        verify_seal(content, str(path))
    except FileNotFoundError:
        raise EngineError(f"{path} is missing; export the stages again with: foreact export to=stages") from None
    except SealError as error:
        raise EngineError(str(error)) from error
    if hashlib.sha256(content).hexdigest() != spec.sha256:
        raise EngineError(f"{path} is not the file that {STAGES_FILE} names; export the stages again")
    inspect_model(content, str(path))
    return content


def _check_chain(path: Path, stages: list[_Stage], formats: Mapping[str, Any]) -> None:
    """Every input of a stage must be an input of the policy or an output of an earlier stage, of the same format."""
    known = {name: (each.dtype, each.shape) for name, each in formats.items()}
    for stage in stages:
        takes, gives = _formats(stage.session.get_inputs()), _formats(stage.session.get_outputs())
        if set(takes) != set(stage.spec.inputs) or set(gives) != set(stage.spec.outputs):
            raise EngineError(f"{path}: {stage.spec.file} takes {sorted(takes)}, which the manifest says otherwise")
        looped = {name: gives.get(output) for output, name in stage.spec.loop}
        for name, wanted in takes.items():
            if known.get(name) != wanted or looped.get(name, wanted) != wanted:
                raise EngineError(f"{path}: {stage.spec.file}: {name}: expected {wanted}, got {known.get(name)}")
        known |= gives
    action = formats[NOISE]
    if known.get(ACTION) != (action.dtype, action.shape):
        raise EngineError(f"{path}: {ACTION}: expected {action.dtype} {action.shape}, got {known.get(ACTION)}")


def _formats(values: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {str(each.name): (_DTYPES.get(each.type, str(each.type)), tuple(each.shape)) for each in values}
