"""A detector as an ONNX file that the user brings: what it takes and gives is read from its graph.

Shape letters: H and W = picture height and width, N = boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Detector", "ModelError"]

THRESHOLD = 0.25  # score from which a box is blurred: one too many costs less than one too few
TURNS = (0, 1, 2, 3)  # quarter turns at which a picture is looked at: Aria pictures lie on their side
STRIDE = 32  # a picture for a graph of free size is padded to a multiple of this [px]
PAD = 114  # grey of the padding
SHARES = 2.0  # boxes whose numbers are all below this are shares of the picture, not pixels
UNDERSTOOD = (
    "understood are one picture as input, (1, 3, H, W), (1, H, W, 3), (3, H, W) or (H, W, 3) (or 1 channel), uint8 or "
    "float; and as outputs boxes (N, 4) and scores (N,), or one output (1, N, 5 or more) or (1, 5, N)"
)


class ModelError(ValueError):
    """A model that cannot be used as a detector; the message says what was found in it."""


@dataclass(frozen=True)
class Layout:
    """What the graph takes.

    Attributes:
        name: Of its input.
        batched: Whether the first dimension is a batch of one.
        channels_first: NCHW, not NHWC.
        channels: 3 or 1.
        size: Height and width [px]; None where the graph leaves them free.
        dtype: Of its input.
    """

    name: str
    batched: bool
    channels_first: bool
    channels: int
    size: tuple[int, int] | None
    dtype: type[np.generic]


class Detector:
    """Finds boxes in pictures.

    Pictures are given to the graph in RGB: uint8 as 0 to 255, float as 0 to 1, with their proportions kept and grey
    around. The model's own metadata may say otherwise: `foreact.threshold` (score), `foreact.scale` (255 for floats of
    0 to 255), `foreact.channels` (`bgr`), `foreact.turns` (quarter turns to look at, such as `0` or `0,1`).

    Args:
        model: ONNX file.

    Raises:
        ModelError: Not a model, or not one whose inputs and outputs are understood.
        FileNotFoundError: No such file.
        ModuleNotFoundError: onnxruntime is not installed; the message says what to type.
    """

    def __init__(self, model: Path) -> None:
        model = Path(model)
        model.stat()
        self._model, self._session = model, _session(model)
        self._layout = self._read_layout()
        self._boxes, self._scores = self._read_outputs()
        said = dict(self._session.get_modelmeta().custom_metadata_map)
        self.threshold = self._number(said, "foreact.threshold", THRESHOLD)
        self._scale = self._number(said, "foreact.scale", 1.0)
        self._bgr = said.get("foreact.channels", "rgb").lower() == "bgr"
        self._turns = self._read_turns(said.get("foreact.turns"))

    def find(self, picture: np.ndarray) -> np.ndarray:
        """Boxes of what is in a picture.

        Args:
            picture: uint8 (H, W, 3) RGB or (H, W) grey.

        Returns:
            Left, top, right, bottom [px], float64 (N, 4); may reach beyond the picture.

        Raises:
            ModelError: The graph fails, or gives what it did not promise.
        """
        if picture.ndim not in (2, 3) or not picture.size:
            return np.zeros((0, 4))
        found = []
        for turns in self._turns:
            boxes = self._once(np.ascontiguousarray(np.rot90(picture, turns)))
            found.append(_turned_back(boxes, turns, picture.shape[0], picture.shape[1]))
        return np.concatenate(found)

    def _once(self, picture: np.ndarray) -> np.ndarray:
        fitted, scale = self._fitted(picture)
        given = self._as_input(fitted)
        try:
            values = self._session.run(
                [each for each in (self._boxes, self._scores) if each], {self._layout.name: given}
            )
        except Exception as error:  # onnxruntime has exceptions of its own, which may not be imported here
            raise ModelError(f"{self._model} fails on a picture {picture.shape}: {error}") from error
        boxes, scores = self._read_values([np.asarray(each, np.float64) for each in values])
        boxes = boxes[~(scores < self.threshold)]
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):  # nothing may slip through
            raise ModelError(f"{self._model} gave boxes or scores that are not finite for a picture {picture.shape}")
        if len(boxes) and np.abs(boxes).max() <= SHARES:
            boxes = boxes * (fitted.shape[1], fitted.shape[0], fitted.shape[1], fitted.shape[0])
        return boxes / scale

    def _fitted(self, picture: np.ndarray) -> tuple[np.ndarray, float]:
        """The picture in the size that the graph takes, uint8 (H, W, 3), and by how much it was scaled."""
        from PIL import Image

        if picture.dtype != np.uint8:
            most = float(picture.max()) or 1.0
            picture = (picture.astype(np.float64) * (255 / most)).clip(0, 255).astype(np.uint8)
        picture = np.repeat(picture[..., None], 3, -1) if picture.ndim == 2 else picture
        picture = np.repeat(picture, 3, -1) if picture.shape[2] == 1 else picture[..., :3]
        height, width = picture.shape[:2]
        size = self._layout.size or (-(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE)
        scale = min(size[0] / height, size[1] / width) if self._layout.size else 1.0
        if scale != 1.0:
            fit = max(round(width * scale), 1), max(round(height * scale), 1)
            picture = np.asarray(Image.fromarray(picture).resize(fit, Image.Resampling.BILINEAR))
        canvas = np.full((*size, 3), PAD, np.uint8)
        canvas[: picture.shape[0], : picture.shape[1]] = picture[: size[0], : size[1]]
        return canvas, scale

    def _as_input(self, picture: np.ndarray) -> np.ndarray:
        if self._bgr:
            picture = picture[..., ::-1]
        if self._layout.channels == 1:
            picture = np.rint(picture.mean(-1, keepdims=True)).astype(np.uint8)
        if self._layout.dtype is not np.uint8:
            picture = (picture.astype(np.float32) * np.float32(self._scale / 255)).astype(self._layout.dtype)
        if self._layout.channels_first:
            picture = picture.transpose(2, 0, 1)
        return np.ascontiguousarray(picture[None] if self._layout.batched else picture)

    def _read_values(self, values: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Corners (N, 4) and scores (N,) in the graph's own picture."""
        if self._scores:
            boxes, scores = values[0].reshape(-1, values[0].shape[-1]), values[1].reshape(-1)
            if boxes.shape[1] != 4 or len(boxes) != len(scores):
                raise ModelError(f"{self._model} gave boxes {values[0].shape} and scores {values[1].shape}")
            return boxes, scores
        rows = values[0].reshape(values[0].shape[-2:])
        rows = rows.T if rows.shape[0] == 5 and rows.shape[1] != 5 else rows
        if rows.shape[1] < 5:
            raise ModelError(f"{self._model} gave {values[0].shape}; {UNDERSTOOD}")
        middle, half = rows[:, :2], rows[:, 2:4] / 2
        return np.concatenate([middle - half, middle + half], axis=1), rows[:, 4]

    def _read_layout(self) -> Layout:
        inputs = self._session.get_inputs()
        types: dict[str, type[np.generic]] = {
            "tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16,
        }  # fmt: skip
        if len(inputs) != 1 or inputs[0].type not in types:
            raise self._refused()
        shape = [each if isinstance(each, int) and each > 0 else None for each in inputs[0].shape]
        batched = len(shape) == 4
        if len(shape) not in (3, 4) or (batched and shape[0] not in (1, None)):
            raise self._refused()
        inner = shape[1:] if batched else shape
        first = inner[0] in (1, 3)
        if not first and inner[2] not in (1, 3):
            raise self._refused()
        channels = inner[0] if first else inner[2]
        height, width = inner[1:] if first else inner[:2]
        size = (height, width) if height and width else None
        if size is None and (height or width):
            raise self._refused()
        return Layout(inputs[0].name, batched, first, channels or 3, size, types[inputs[0].type])

    def _read_outputs(self) -> tuple[str, str]:
        """Names of the outputs with boxes and with scores; no second name where one output holds both."""
        outputs = self._session.get_outputs()
        boxes = [each.name for each in outputs if _looks_like_boxes(each)]
        scores = [each.name for each in outputs if _looks_like_scores(each)]
        if len(boxes) == 1 and len(scores) == 1:
            return boxes[0], scores[0]
        if len(outputs) == 1 and len(outputs[0].shape) == 3 and outputs[0].shape[0] in (1, None):
            rows, columns = outputs[0].shape[1:]
            wide = isinstance(columns, int) and columns >= 5 and not (isinstance(rows, int) and 5 <= rows < columns)
            if wide or rows == 5:
                return outputs[0].name, ""
        raise self._refused()

    def _refused(self) -> ModelError:
        def told(each: Any) -> str:
            return f"{each.name} {each.type} {tuple(each.shape)}"

        found = (
            f"inputs {'; '.join(map(told, self._session.get_inputs()))}, "
            f"outputs {'; '.join(map(told, self._session.get_outputs()))}"
        )
        return ModelError(f"{self._model} is no detector that is understood. It has {found}; {UNDERSTOOD}")

    def _number(self, said: dict[str, str], key: str, otherwise: float) -> float:
        try:
            number = float(said.get(key, otherwise))
        except ValueError:
            number = -1.0
        if not 0 < number < 1e6:
            raise ModelError(f"{self._model}: its metadata says {key}={said[key]!r}, which is no number above 0")
        return number

    def _read_turns(self, said: str | None) -> tuple[int, ...]:
        if said is None:
            return TURNS
        found = [each.strip() for each in said.split(",")]
        if not found or not set(found) <= {"0", "1", "2", "3"}:
            raise ModelError(f"{self._model}: its metadata says foreact.turns={said!r}; it may be 0, 1, 2, 3 or a list")
        return tuple(sorted({int(each) for each in found}))


def _session(model: Path) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "anonymise= needs onnxruntime, which is not installed. Type: pip install 'foreact[edge]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has exceptions of its own, which may not be imported here
        raise ModelError(f"{model} is no ONNX model that can be loaded: {error}") from error


def _looks_like_boxes(output: Any) -> bool:
    shape = output.shape
    return len(shape) in (2, 3) and shape[-1] == 4 and (len(shape) == 2 or shape[0] in (1, None)) and _real(output)


def _looks_like_scores(output: Any) -> bool:
    """(N,) or (1, N) of real numbers; where several are, as labels may be, the one that says so."""
    flat = len(output.shape) == 1 or (len(output.shape) == 2 and output.shape[0] == 1 and output.shape[1] != 4)
    return flat and _real(output) and "label" not in output.name.lower() and "class" not in output.name.lower()


def _real(output: Any) -> bool:
    return output.type in ("tensor(float)", "tensor(float16)", "tensor(double)")


def _turned_back(boxes: np.ndarray, turns: int, height: int, width: int) -> np.ndarray:
    """Boxes (N, 4) of a picture turned counter-clockwise, as boxes of the picture (height, width)."""
    left, top, right, bottom = boxes.T
    if turns == 1:  # row r, column c of the turned picture is row c, column W - r of the picture
        return np.stack([width - bottom, left, width - top, right], axis=1)
    if turns == 2:
        return np.stack([width - right, height - bottom, width - left, height - top], axis=1)
    if turns == 3:
        return np.stack([top, height - right, bottom, height - left], axis=1)
    return boxes
