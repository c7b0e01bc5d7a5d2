"""What a policy sees and what it does, in one frozen, hashable description that travels with data and weights.

Shape letters: B batch, T time steps, H image height, W image width, A action elements.
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.episodes import strictjson

CONTRACT_VERSION = 1
CAMERA_DTYPES = {"rgb": np.dtype("uint8"), "depth": np.dtype("uint16"), "segmentation": np.dtype("uint8")}
UNKNOWN = "unknown"  # unit, frame or mount that an imported dataset does not state
_NORMALISATIONS = ("none", "bounds")


class ContractError(ValueError):
    """Data, or a description of data, that breaks a policy contract."""


class ContractMismatch(ContractError):
    """Two contracts differ; the message lists each differing field with both values."""


@dataclass(frozen=True)
class FeatureSpec:
    """One vector feature: its elements in order, their units, frame of reference, physical range and normalisation.

    Args:
        name: "state" or "action".
        dtype: numpy dtype name; always "float32".
        elements: one name per element, in order.
        units: one unit per element, "1" for dimensionless, "unknown" if an imported dataset does not say.
        frame: frame of reference of the elements ("base"), or "unknown".
        low: lower end of the physical range, one per element, in its unit.
        high: upper end of the physical range.
        normalisation: "none", or "bounds" for x -> 2 (x - low) / (high - low) - 1.

    Raises:
        ContractError: lengths differ, a range is empty or not finite, names repeat.
    """

    name: str
    dtype: str
    elements: tuple[str, ...]
    units: tuple[str, ...]
    frame: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    normalisation: str

    def __post_init__(self) -> None:
        where = f"feature {self.name!r}"
        _freeze(self, "elements", tuple(self.elements))
        _freeze(self, "units", tuple(self.units))
        _freeze(self, "low", _floats(self.low, f"{where}: low"))
        _freeze(self, "high", _floats(self.high, f"{where}: high"))
        _require(bool(self.name) and bool(self.frame), f"{where}: name and frame must not be empty")
        _require(self.dtype == "float32", f"{where}: dtype must be 'float32', got {self.dtype!r}")
        _require(len(self.elements) > 0, f"{where}: has no elements")
        _require(len(set(self.elements)) == len(self.elements), f"{where}: repeated element in {self.elements}")
        for field in ("units", "low", "high"):
            count = len(getattr(self, field))
            _require(count == len(self.elements), f"{where}: {len(self.elements)} elements but {count} {field}")
        allowed = self.normalisation in _NORMALISATIONS
        _require(allowed, f"{where}: normalisation must be one of {_NORMALISATIONS}, got {self.normalisation!r}")
        for element, low, high in zip(self.elements, self.low, self.high, strict=True):
            ordered = low < high if self.normalisation == "bounds" else low <= high
            _require(ordered, f"{where}: element {element!r} has the empty range [{low}, {high}]")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, (len(elements),)."""
        return (len(self.elements),)

    def check(self, x: np.ndarray, where: str) -> None:
        """Refuse anything but finite float32 with these elements in the last axis.

        Args:
            x: (..., len(elements)) in physical units.
            where: what is being checked, for the message.

        Raises:
            ContractError: wrong dtype, shape, or a value that is not finite.
        """
        self._check_shape(x, where)
        if x.dtype != np.dtype(self.dtype):
            raise ContractError(f"{where}: {self.name}: expected dtype {self.dtype}, got {x.dtype}")
        finite = np.isfinite(x)
        if not finite.all():
            first = tuple(int(i) for i in np.argwhere(~finite)[0])
            element = self.elements[first[-1]]
            raise ContractError(f"{where}: {self.name}: {x[first]} at index {first} (element {element!r})")

    def normalise(self, x: np.ndarray) -> np.ndarray:
        """Map physical values (..., elements) to the range a network sees, as float32."""
        self._check_shape(x, "normalise")
        if self.normalisation == "none":
            return np.asarray(x, np.float32)
        low, high = np.array(self.low, np.float32), np.array(self.high, np.float32)
        # y = 2 (x - low) / (high - low) - 1
        return (2.0 * (np.asarray(x, np.float32) - low) / (high - low) - 1.0).astype(np.float32)

    def denormalise(self, y: np.ndarray) -> np.ndarray:
        """Map network values (..., elements) back to physical units, as float32."""
        self._check_shape(y, "denormalise")
        if self.normalisation == "none":
            return np.asarray(y, np.float32)
        low, high = np.array(self.low, np.float32), np.array(self.high, np.float32)
        # x = low + (y + 1) (high - low) / 2
        return (low + (np.asarray(y, np.float32) + 1.0) * (high - low) / 2.0).astype(np.float32)

    def _check_shape(self, x: np.ndarray, where: str) -> None:
        if x.ndim < 1 or x.shape[-1:] != self.shape:
            expected = f"(..., {len(self.elements)}) = {', '.join(self.elements)}"
            raise ContractError(f"{where}: {self.name}: expected shape {expected}, got {x.shape}")


@dataclass(frozen=True)
class CameraSpec:
    """One camera: image size, the streams a policy may use, pinhole intrinsics and where it is mounted.

    Streams: "rgb" uint8 (H, W, 3); "depth" uint16 (H, W) [mm], planar distance along the optical axis, 0 = no return;
    "segmentation" uint8 (H, W).
    A camera whose calibration a foreign dataset does not state says so: all four intrinsics 0, and mount "unknown".

    Args:
        name: short name, part of the stream keys.
        width: image width [px].
        height: image height [px].
        streams: subset of ("rgb", "depth", "segmentation"), without repeats, that the policy may use.
        fx: focal length along x [px].
        fy: focal length along y [px].
        cx: principal point [px], pixel centres at +0.5.
        cy: principal point [px].
        mount: "world", "body:NAME" or "unknown".
        position: of the camera in the mount frame [m].
        orientation: unit quaternion wxyz, camera (x right, y up, looks along -z) in the mount frame.

    Raises:
        ContractError: a size, stream, intrinsic, mount or quaternion that cannot be.
    """

    name: str
    width: int
    height: int
    streams: tuple[str, ...]
    fx: float
    fy: float
    cx: float
    cy: float
    mount: str
    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        where = f"camera {self.name!r}"
        _freeze(self, "streams", tuple(self.streams))
        for field in ("fx", "fy", "cx", "cy"):
            _freeze(self, field, _floats((getattr(self, field),), f"{where}: {field}")[0])
        _freeze(self, "position", _floats(self.position, f"{where}: position"))
        _freeze(self, "orientation", _floats(self.orientation, f"{where}: orientation"))
        _require(bool(self.name) and "." not in self.name, f"{where}: the name must not be empty or contain a dot")
        _require(self.width > 0 and self.height > 0, f"{where}: empty image {self.width}x{self.height}")
        known = set(self.streams) <= set(CAMERA_DTYPES) and len(set(self.streams)) == len(self.streams)
        _require(known, f"{where}: streams must be a subset of {tuple(CAMERA_DTYPES)}, got {self.streams}")
        focal = (self.fx > 0 and self.fy > 0) or (self.fx, self.fy, self.cx, self.cy) == (0, 0, 0, 0)
        _require(focal, f"{where}: fx and fy must be positive (or all four intrinsics 0 = unknown)")
        mounted = self.mount in ("world", UNKNOWN) or (self.mount.startswith("body:") and len(self.mount) > 5)
        _require(mounted, f"{where}: mount must be 'world', 'body:NAME' or 'unknown', got {self.mount!r}")
        _require(len(self.position) == 3, f"{where}: position needs 3 numbers, got {self.position}")
        unit = len(self.orientation) == 4 and abs(math.hypot(*self.orientation) - 1.0) < 1e-4
        _require(unit, f"{where}: orientation must be a unit quaternion wxyz, got {self.orientation}")

    @property
    def intrinsics_known(self) -> bool:
        """Whether fx, fy, cx, cy are measured values; False for an imported camera that came without them."""
        return self.fx > 0

    def stream_shape(self, stream: str) -> tuple[int, ...]:
        """Shape of one image of "rgb", "depth" or "segmentation"."""
        return (self.height, self.width, 3) if stream == "rgb" else (self.height, self.width)


@dataclass(frozen=True)
class LanguageSpec:
    """How an instruction becomes tokens: `length` ids in [0, vocabulary), 0 = padding."""

    tokenizer: str = "crc32-words"
    vocabulary: int = 1024
    length: int = 16

    def __post_init__(self) -> None:
        _require(self.tokenizer == "crc32-words", f"language: unknown tokenizer {self.tokenizer!r}; use 'crc32-words'")
        _require(self.vocabulary >= 2, f"language: vocabulary must be at least 2, got {self.vocabulary}")
        _require(self.length >= 1, f"language: length must be at least 1, got {self.length}")


@dataclass(frozen=True)
class PolicyContract:
    """Everything two parts must agree on before one may feed the other.

    Args:
        version: `CONTRACT_VERSION`.
        embodiment: name of the robot or robot model.
        control_rate_hz: rate at which actions are applied [Hz].
        chunk_length: actions per policy call.
        state: proprioception.
        action: what the policy returns, per step.
        cameras: in the order in which a policy takes them.
        language: None if the policy takes no instruction.
        audio: always None in version 1.

    Raises:
        ContractError: a version this code does not know, or values that cannot be.
    """

    version: int
    embodiment: str
    control_rate_hz: float
    chunk_length: int
    state: FeatureSpec
    action: FeatureSpec
    cameras: tuple[CameraSpec, ...]
    language: LanguageSpec | None
    audio: str | None

    def __post_init__(self) -> None:
        _require_version(self.version)
        _freeze(self, "cameras", tuple(self.cameras))
        _freeze(self, "control_rate_hz", _floats((self.control_rate_hz,), "control_rate_hz")[0])
        _require(bool(self.embodiment), "embodiment must not be empty")
        _require(self.control_rate_hz > 0, f"control_rate_hz must be positive, got {self.control_rate_hz}")
        _require(self.chunk_length >= 1, f"chunk_length must be at least 1, got {self.chunk_length}")
        _require(self.state.name == "state", f"state feature is named {self.state.name!r}")
        _require(self.action.name == "action", f"action feature is named {self.action.name!r}")
        names = [camera.name for camera in self.cameras]
        _require(len(set(names)) == len(names), f"repeated camera name in {names}")
        _require(self.audio is None, f"audio must be null in contract version {CONTRACT_VERSION}, got {self.audio!r}")

    @functools.cached_property
    def hash(self) -> str:
        """sha256 of the canonical JSON, as hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def input_names(self) -> tuple[str, ...]:
        """Stream keys a policy takes, in order: "camera.NAME.STREAM"..., "state", and "tokens" if it has language."""
        images = tuple(f"camera.{camera.name}.{stream}" for camera in self.cameras for stream in camera.streams)
        return images + (("state",) if self.language is None else ("state", "tokens"))

    def camera(self, name: str) -> CameraSpec:
        """The camera of that name, or ContractError with the names there are."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise ContractError(f"no camera {name!r} in the contract; it has {[camera.name for camera in self.cameras]}")

    def to_json(self) -> str:
        """Canonical JSON: the same text for equal contracts, on every machine."""
        return strictjson.canonical(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "PolicyContract":
        """Parse what `to_json` wrote; unknown or missing keys, wrong types and other versions raise ContractError."""
        try:
            value = strictjson.loads(text)
            if isinstance(value, dict) and isinstance(value.get("version"), int):
                _require_version(value["version"])
            return strictjson.decode(cls, value, "contract")
        except strictjson.StrictJsonError as error:
            raise ContractError(f"not a policy contract: {error}") from error

    def check_observation(self, obs: Mapping[str, np.ndarray], where: str) -> None:
        """Refuse an observation that is not exactly what the contract says; nothing is cast or reordered.

        Args:
            obs: one array per `input_names`, each a single sample or all with the same leading B.
            where: who is checking, for the message.

        Raises:
            ContractError: a missing or extra key, wrong dtype or shape, unequal B, a value that is not finite.
        """
        missing = [name for name in self.input_names if name not in obs]
        extra = sorted(set(obs) - set(self.input_names))
        if missing or extra:
            raise ContractError(f"{where}: observation lacks {missing} and has unexpected {extra}")
        leading: dict[str, tuple[int, ...]] = {}
        for name in self.input_names:
            dtype, shape = self._input_format(name)
            leading[name] = _check_array(obs[name], dtype, shape, f"{where}: {name}")
        first = leading[self.input_names[0]]
        for name, lead in leading.items():
            if lead != first:
                raise ContractError(
                    f"{where}: {name}: batch {lead or 'none'} but {self.input_names[0]} has batch {first or 'none'}"
                )
        self.state.check(obs["state"], where)
        if self.language is not None:
            _check_tokens(obs["tokens"], self.language, where)

    def _input_format(self, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
        if name == "state":
            return np.dtype(self.state.dtype), self.state.shape
        if name == "tokens" and self.language is not None:
            return np.dtype("int64"), (self.language.length,)
        _, camera, stream = name.split(".")
        return CAMERA_DTYPES[stream], self.camera(camera).stream_shape(stream)


def require_same(expected: PolicyContract, actual: PolicyContract, where: str) -> None:
    """Do nothing if both contracts are equal, else name every differing field.

    Raises:
        ContractMismatch: one line per field: dotted path, expected and actual value.
    """
    lines = [f"  {path}: expected {old!r}, got {new!r}" for path, old, new in differences(expected, actual)]
    if lines:
        raise ContractMismatch("\n".join([f"{where}: the policy contracts differ in {len(lines)} field(s):", *lines]))


def differences(expected: PolicyContract, actual: PolicyContract) -> list[tuple[str, object, object]]:
    """Every differing field as (dotted path, expected value, actual value), in field order."""
    return list(_differences(_named(expected), _named(actual), ""))


def _named(contract: PolicyContract) -> dict[str, Any]:
    """Fields as nested dicts, cameras by name, so that paths read `cameras.front.width`."""
    fields = dataclasses.asdict(contract)
    order = tuple(camera["name"] for camera in fields["cameras"])
    fields["cameras"] = {"order": order, **{camera["name"]: camera for camera in fields["cameras"]}}
    return fields


def _differences(expected: object, actual: object, path: str) -> list[tuple[str, object, object]]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        found = []
        for key in [*expected, *(key for key in actual if key not in expected)]:
            below = f"{path}.{key}" if path else str(key)
            found += _differences(expected.get(key, "absent"), actual.get(key, "absent"), below)
        return found
    return [] if expected == actual else [(path, expected, actual)]


def _check_array(x: object, dtype: np.dtype[Any], shape: tuple[int, ...], where: str) -> tuple[int, ...]:
    """Check dtype and shape of one sample or a batch; return the leading shape, () or (B,)."""
    if not isinstance(x, np.ndarray):
        raise ContractError(f"{where}: expected a numpy array, got {type(x).__name__}")
    if x.dtype != dtype:
        raise ContractError(f"{where}: expected dtype {dtype}, got {x.dtype}")
    lead = x.shape[: x.ndim - len(shape)]
    if len(lead) > 1 or x.shape[len(lead) :] != shape:
        raise ContractError(f"{where}: expected shape {shape} or (B, {', '.join(map(str, shape))}), got {x.shape}")
    return lead


def _check_tokens(tokens: np.ndarray, spec: LanguageSpec, where: str) -> None:
    if tokens.size and not (0 <= tokens.min() and tokens.max() < spec.vocabulary):
        got = f"[{tokens.min()}, {tokens.max()}]"
        raise ContractError(f"{where}: tokens: expected ids in [0, {spec.vocabulary}), got {got}")


def _require_version(version: int) -> None:
    if version > CONTRACT_VERSION:
        raise ContractError(
            f"contract version {version} is newer than this foreact reads ({CONTRACT_VERSION}); update foreact"
        )
    _require(version == CONTRACT_VERSION, f"unknown contract version {version}; this foreact reads {CONTRACT_VERSION}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ContractError(message)


def _freeze(instance: object, field: str, value: object) -> None:
    object.__setattr__(instance, field, value)


def _floats(values: Any, where: str) -> tuple[float, ...]:
    # + 0.0 turns -0.0 into 0.0: equal contracts must have equal JSON, hence equal hashes.
    numbers = tuple(float(value) + 0.0 for value in values)
    _require(all(map(math.isfinite, numbers)), f"{where} must be finite, got {numbers}")
    return numbers
