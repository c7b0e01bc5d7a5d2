"""Golden inputs of a policy and the chunks that it must answer them with, in a file beside the model.

The model's metadata names the sha256 of the file, so neither can be swapped alone. Whoever opens the policy runs the
inputs through the very engine that will drive the robot, on that machine, and compares.
Shape letters: N observations, H chunk length, A action elements.
"""

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreact.deploy_edge.runtime.chunk_distance import STILL_LIMIT, cosine, stands_still
from foreact.deploy_edge.runtime.protocol import Runtime, TensorFormat
from foreact.deploy_edge.runtime.signature import ACTION, chunk_format, input_formats, optional_formats
from foreact.episodes.contract import PolicyContract
from foreact.episodes.outcome import JSON
from foreact.episodes.runfolder import write_bytes_atomic

__all__ = [
    "GOLDEN_KEY", "MAX_ABS_FRACTION", "MIN_COSINE", "Golden", "GoldenError", "GoldenResult", "check_golden",
    "chunk_function", "golden_bytes", "golden_digest", "golden_path", "parse_golden", "read_golden", "require_golden",
    "write_golden",
]  # fmt: skip

GOLDEN_KEY = "foreact.golden_sha256"
MIN_COSINE = 0.999
MAX_ABS_FRACTION = 0.02
MAX_OBSERVATIONS = 64
MAX_BYTES = 1 << 26  # of the file, and of what is in it
INPUT = "input."

type Inputs = Mapping[str, np.ndarray]
type ChunkFunction = Callable[[Inputs], np.ndarray]


class GoldenError(ValueError):
    """Golden inputs are missing, damaged or another model's, or an engine answers them with other chunks."""


@dataclass(frozen=True)
class Golden:
    """Inputs of a graph, what it must answer, and how near it must come.

    Attributes:
        inputs: For each observation the graph's inputs, each with a batch axis of 1.
        chunks: Reference, (N, H, A) float32 [action units].
        min_cosine: Smallest cosine that an observation which asks for motion may have.
        max_abs_fraction: Largest difference of any action element, as a part of its range in the contract.
    """

    inputs: tuple[Inputs, ...]
    chunks: np.ndarray
    min_cosine: float = MIN_COSINE
    max_abs_fraction: float = MAX_ABS_FRACTION


@dataclass(frozen=True)
class GoldenResult:
    """What an engine answered, compared with the reference.

    Attributes:
        cosine: Of each observation, (N,).
        max_abs: Largest difference in any element [action units], (N,).
        fraction: Largest difference as a part of the element's range, (N,).
        still: Where the reference asks for no motion, so that the cosine means nothing, bool (N,).
        fault: What is wrong with the worst observation; empty if the gate is passed.
    """

    cosine: np.ndarray
    max_abs: np.ndarray
    fraction: np.ndarray
    still: np.ndarray
    fault: str

    @property
    def passed(self) -> bool:
        """Whether every observation is near enough."""
        return not self.fault

    @property
    def min_cosine(self) -> float:
        """Of the worst observation that asks for motion; 1 if none does."""
        moving = self.cosine[~self.still]
        return float(moving.min()) if len(moving) else 1.0

    def figures(self) -> dict[str, JSON]:
        """As JSON; a figure that is no number is None."""
        numbers = {"min_cosine": self.min_cosine, "max_abs": self.max_abs.max(), "max_fraction": self.fraction.max()}
        rounded: dict[str, JSON] = {
            name: round(float(value), 8) if np.isfinite(value) else None for name, value in numbers.items()
        }
        return {"observations": len(self.cosine), **rounded, "passed": self.passed, "fault": self.fault}


def golden_path(model_path: Path) -> Path:
    """Where the golden inputs of a model lie: `policy.int8.onnx` has `policy.int8.golden.npz`."""
    return model_path.with_suffix(".golden.npz")


def golden_bytes(
    inputs: Sequence[Inputs],
    chunks: Sequence[np.ndarray],
    min_cosine: float = MIN_COSINE,
    max_abs_fraction: float = MAX_ABS_FRACTION,
) -> bytes:
    """The content of a golden file; the same arguments give the same bytes.

    Args:
        inputs: For each observation every input of the graph, each with a batch axis of 1.
        chunks: For each observation the chunk (H, A) float32 that the original policy answers with.
        min_cosine: Gate, more than 0.9.
        max_abs_fraction: Gate, at most 0.1 of an element's range.

    Raises:
        GoldenError: No observation, too many, unequal numbers or formats, a value that is not finite, a gate that
            checks nothing.
    """
    if not 0 < len(inputs) <= MAX_OBSERVATIONS or len(inputs) != len(chunks):
        raise GoldenError(
            f"golden: {len(inputs)} inputs and {len(chunks)} chunks; give 1 to {MAX_OBSERVATIONS} of each"
        )
    names = set(inputs[0])
    if any(set(each) != names for each in inputs):
        raise GoldenError("golden: every observation must have the same inputs")
    _check_gate(min_cosine, max_abs_fraction)
    try:
        arrays = {INPUT + name: np.concatenate([each[name] for each in inputs]) for name in sorted(names)}
        arrays[ACTION] = np.stack(chunks)
    except ValueError as error:
        raise GoldenError(f"golden: observations have different shapes: {error}") from error
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise GoldenError(f"golden: {name} holds a value that is not finite")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, gate=np.array([min_cosine, max_abs_fraction]), **arrays)
    return buffer.getvalue()


def golden_digest(content: bytes) -> str:
    """sha256 of a golden file's content, for the model's metadata under `GOLDEN_KEY`."""
    return hashlib.sha256(content).hexdigest()


def write_golden(model_path: Path, content: bytes) -> Path:
    """Write the golden file of a model, whole or not at all; write it before the model.

    Args:
        model_path: The model that it belongs to.
        content: See `golden_bytes`.
    """
    path = golden_path(model_path)
    write_bytes_atomic(path, content)
    return path


def read_golden(model_path: Path, contract: PolicyContract, digest: str | None) -> Golden:
    """Read the golden file of a model.

    Args:
        model_path: The model.
        contract: Of the model.
        digest: What the model's metadata says under `GOLDEN_KEY`.

    Raises:
        GoldenError: The model names none, the file is missing, not the one named, or does not fit the contract.
    """
    path, again = golden_path(model_path), "export it again with: foreact export"
    if digest is None:
        raise GoldenError(f"{model_path} names no golden inputs ({GOLDEN_KEY}), so it cannot be checked here; {again}")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise GoldenError(
            f"{path} is missing: it belongs beside {model_path.name}; copy it there, or {again}"
        ) from None
    if golden_digest(content) != digest:
        raise GoldenError(
            f"{path} is not the golden file of {model_path.name}: its sha256 is {golden_digest(content)[:12]}, "
            f"the model names {digest[:12]}; copy both files together, or {again}"
        )
    return parse_golden(content, contract, str(path))


def parse_golden(content: bytes, contract: PolicyContract, where: str) -> Golden:
    """Read the content of a golden file.

    Args:
        content: See `golden_bytes`.
        contract: What inputs and chunks must fit.
        where: The file, for messages.

    Raises:
        GoldenError: Not such a file, too large, or it does not fit the contract.
    """
    arrays = _arrays(content, where)
    gate, chunks = arrays.pop("gate", np.zeros(0)), arrays.pop(ACTION, np.zeros(0))
    _check_formats(arrays, chunks, contract, where)
    if gate.shape != (2,) or gate.dtype != np.float64:
        raise GoldenError(f"{where}: gate: expected float64 (2,), got {gate.dtype} {gate.shape}")
    _check_gate(float(gate[0]), float(gate[1]))
    rows = ({name.removeprefix(INPUT): arrays[name][row : row + 1] for name in arrays} for row in range(len(chunks)))
    return Golden(tuple(rows), chunks, float(gate[0]), float(gate[1]))


def chunk_function(runtime: Runtime) -> ChunkFunction:
    """A loaded graph as a function from its inputs to a chunk (H, A); inputs that it does not take are left out."""
    output = {name: np.zeros(each.shape, each.dtype) for name, each in runtime.outputs.items()}

    def chunk(inputs: Inputs) -> np.ndarray:
        missing = [name for name in runtime.inputs if name not in inputs]
        if missing:
            raise GoldenError(f"golden: the graph takes {missing}, which the golden file lacks; export it again")
        runtime.infer({name: np.ascontiguousarray(inputs[name]) for name in runtime.inputs}, output)
        return output[ACTION][0].copy()

    return chunk


def check_golden(run: ChunkFunction, golden: Golden, contract: PolicyContract) -> GoldenResult:
    """Run the golden inputs and compare the answers with the reference.

    Args:
        run: Inputs to chunk (H, A); see `chunk_function`.
        golden: What to run.
        contract: Whose action ranges count.
    """
    size = np.array(contract.action.high) - np.array(contract.action.low)
    rows: list[tuple[float, float, float]] = []
    for inputs, reference in zip(golden.inputs, golden.chunks, strict=True):
        wanted: np.ndarray = reference.astype(np.float64)
        found = np.asarray(run(inputs), np.float64)
        if found.shape != wanted.shape:
            raise GoldenError(f"golden: expected chunks {wanted.shape}, got {found.shape}")
        if not np.isfinite(found).all():
            rows.append((-1.0, np.inf, np.inf))
            continue
        error = np.abs(found - wanted)
        # an element that cannot move must not: any difference is then endless
        parts = np.divide(error, size, out=np.where(error > 0, np.inf, 0.0), where=size > 0)
        rows.append((cosine(wanted, found), float(error.max()), float(parts.max())))
    cosines, errors, fractions = np.array(rows).T
    still = np.array([stands_still(each) for each in golden.chunks])
    return GoldenResult(cosines, errors, fractions, still, _fault(cosines, errors, fractions, still, golden))


def require_golden(run: ChunkFunction, golden: Golden, contract: PolicyContract, where: str) -> GoldenResult:
    """Refuse an engine that fails the gate.

    Args:
        run: See `check_golden`.
        golden: What to run.
        contract: Of the policy.
        where: Model and engine, for the message.

    Raises:
        GoldenError: An answer is too far from the reference.
    """
    result = check_golden(run, golden, contract)
    if not result.passed:
        raise GoldenError(
            f"{where} does not compute on this machine what was exported: {result.fault}. "
            "Do not use it; try another engine, or export it again with: foreact export"
        )
    return result


def _fault(cosines: np.ndarray, errors: np.ndarray, fractions: np.ndarray, still: np.ndarray, golden: Golden) -> str:
    # excess 1 is just allowed; infinite for answers that are no numbers
    turned = np.where(still, errors / STILL_LIMIT, (1 - cosines) / (1 - golden.min_cosine))
    excess = np.maximum(turned, fractions / golden.max_abs_fraction)
    worst = int(np.argmax(excess))
    if excess[worst] <= 1:
        return ""
    return (
        f"golden observation {worst} of {len(excess)}: cosine {cosines[worst]:.6f} (gate {golden.min_cosine}"
        f"{', standing still' if still[worst] else ''}), largest difference {errors[worst]:.4f} action units, "
        f"{100 * fractions[worst]:.2f} % of the range (gate {100 * golden.max_abs_fraction:g} %); "
        f"{int((excess > 1).sum())} of {len(excess)} fail"
    )


def _check_gate(min_cosine: float, max_abs_fraction: float) -> None:
    if not (0.9 <= min_cosine < 1 and 0 < max_abs_fraction <= 0.1):
        raise GoldenError(
            f"golden: min_cosine={min_cosine} and max_abs_fraction={max_abs_fraction}: "
            "expected 0.9 to less than 1, and more than 0 to 0.1"
        )


def _arrays(content: bytes, where: str) -> dict[str, np.ndarray]:
    """Arrays of an .npz whose sizes are known before anything is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if len(content) > MAX_BYTES or sum(each.file_size for each in entries) > MAX_BYTES:
                raise GoldenError(f"{where}: more than {MAX_BYTES >> 20} MB of golden inputs")
            return {each.filename.removesuffix(".npy"): _array(archive.read(each)) for each in entries}
    except GoldenError:
        raise
    except Exception as error:  # zipfile and numpy raise a dozen classes on damaged content
        raise GoldenError(f"{where} is no golden file: {error}; export the policy again") from error


def _array(content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array of another version")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    # a header may claim any size, and numpy would allocate it
    size = int(np.prod([int(extent) for extent in shape], dtype=object)) * dtype.itemsize
    if dtype.hasobject or size != len(content) - stream.tell():
        raise ValueError(f"an array of {len(content) - stream.tell()} bytes claims {dtype} {shape}")
    return np.load(io.BytesIO(content), allow_pickle=False)


def _check_formats(arrays: Mapping[str, np.ndarray], chunks: np.ndarray, contract: PolicyContract, where: str) -> None:
    required = {INPUT + name: each for name, each in input_formats(contract).items()}
    optional = {INPUT + name: each for name, each in optional_formats(contract).items()}
    missing, extra = sorted(set(required) - set(arrays)), sorted(set(arrays) - set(required) - set(optional))
    if missing or extra:
        raise GoldenError(f"{where}: it lacks {missing} and has unexpected {extra}")
    count = len(chunks)
    if not 0 < count <= MAX_OBSERVATIONS:
        raise GoldenError(f"{where}: {count} observations, expected 1 to {MAX_OBSERVATIONS}")
    for name, array in {**arrays, ACTION: chunks}.items():
        wanted = chunk_format(contract) if name == ACTION else {**optional, **required}[name]
        if TensorFormat(array.dtype.name, (1, *array.shape[1:])) != wanted or len(array) != count:
            expected = f"{wanted.dtype} {(count, *wanted.shape[1:])}"
            raise GoldenError(f"{where}: {name}: expected {expected}, got {array.dtype} {array.shape}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise GoldenError(f"{where}: {name} holds a value that is not finite")
