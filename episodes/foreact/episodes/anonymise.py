"""Recordings without faces, voices and places, as far as a detector finds them: `foreact convert ... anonymise=M.onnx`.

Pictures are blurred where the user's detector finds something. Sound, positions on Earth, radio senders and payloads
that are not understood are left out. What this does not hide stands in docs/privacy.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np

from foreact.episodes.anonymise_blur import BLOCKS, GROWN, blurred
from foreact.episodes.anonymise_detector import Detector, ModelError
from foreact.episodes.anonymise_reveals import stream_reveals, without_revealing, without_revealing_text
from foreact.episodes.sources.parts import Part, PartsSource
from foreact.episodes.sources.protocol import Source, SourceError, Value

__all__ = ["ModelError", "anonymised"]

NEIGHBOURS = 1  # pictures before and after that a box is blurred in as well: detectors miss single pictures
KEPT = 2 * NEIGHBOURS + 2  # pictures kept as they are, so that going forward reads each once
DRAWN = ("image",)


def anonymised(source: Source, model: Path) -> PartsSource:
    """A recording whose pictures are blurred and that lacks sound and place; closing it closes the recording.

    Reading a sample twice gives the same, and the original bytes of a blurred picture cannot be asked for. Every stream
    and every piece of metadata that is left out is told in `notes`.

    Args:
        source: The recording.
        model: ONNX detector; which are understood says `Detector`.

    Raises:
        ModelError: The model cannot be used.
        FileNotFoundError: No such model.
        ModuleNotFoundError: onnxruntime or Pillow is not installed.
    """
    detector = Detector(Path(model))
    parts, notes = [], list(source.notes)
    for name, stream in source.streams.items():
        if why := stream_reveals(stream):
            notes.append(f"{name} is left out by anonymise: {why}")
            continue
        if stream.kind in DRAWN:
            parts.append(_blurred_part(source, name, detector))
            continue
        read, read_range = partial(source.read, name), partial(source.read_range, name)
        if stream.kind == "event":
            parts.append(Part(stream, source.stamps(name), partial(_cleaned_event, read)))
        else:
            parts.append(Part(stream, source.stamps(name), read, read_range))
    metadata, gone = without_revealing(source.metadata)
    if gone:
        notes.append(f"metadata is left out by anonymise: {', '.join(gone)}")
    names = [name for name, stream in source.streams.items() if stream.kind in DRAWN]
    if names:
        notes.append(
            f"{', '.join(names)}: what {Path(model).name} finds with a score of {detector.threshold:g} or more is "
            f"blurred, in boxes {GROWN:g} times as large, to {BLOCKS} by {BLOCKS} mean values, also in the pictures "
            "before and after"
        )
    return PartsSource(source.key, parts, task=source.task, metadata=metadata, notes=notes, close=source.close)


def _cleaned_event(read: Callable[[int], Value], index: int) -> Value:
    value = read(index)
    return without_revealing_text(value) if isinstance(value, str) else value


def _blurred_part(source: Source, name: str, detector: Detector) -> Part:
    stamps = source.stamps(name)
    blur = _Blur(partial(source.read, name), stamps, detector, f"{source.key}, stream {name}")
    return Part(source.streams[name], stamps, blur.read)


class _Blur:
    """Pictures of one stream; safe in several threads.

    Args:
        read: Gives picture i as it was taken.
        stamps: int64 (n,) [ns], in the order of the file; neighbours are those in time.
        detector: Finds what to blur.
        where: Of what, for messages.
    """

    def __init__(self, read: Callable[[int], Value], stamps: np.ndarray, detector: Detector, where: str) -> None:
        self._read, self._detector, self._where = read, detector, where
        self._order = np.argsort(stamps, kind="stable")
        self._place = np.argsort(self._order, kind="stable")
        self._boxes: dict[int, np.ndarray] = {}
        self._pictures: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def read(self, index: int) -> Value:
        with self._lock:
            place = int(self._place[index])
            around = self._order[max(place - NEIGHBOURS, 0) : place + NEIGHBOURS + 1]
            boxes = [self._found(int(each), index) for each in around]
            return blurred(self._picture(index), np.concatenate(boxes))

    def _found(self, index: int, asked: int) -> np.ndarray:
        if index not in self._boxes:
            try:
                picture = self._picture(index)
            except SourceError:
                if index == asked:
                    raise
                return np.zeros((0, 4))  # a neighbour that cannot be read has nothing to add
            self._boxes[index] = self._detector.find(picture).astype(np.float32)
        return self._boxes[index]

    def _picture(self, index: int) -> np.ndarray:
        if index in self._pictures:
            self._pictures.move_to_end(index)
            return self._pictures[index]
        picture = self._read(index)
        if not isinstance(picture, np.ndarray):
            raise SourceError(f"{self._where}: picture {index} is no array, so it cannot be blurred")
        self._pictures[index] = np.array(picture)  # readers reuse their buffers
        while len(self._pictures) > KEPT:
            self._pictures.popitem(last=False)
        return self._pictures[index]
