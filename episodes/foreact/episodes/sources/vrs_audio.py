"""Sound inside VRS records.

Shape letters: k = samples of a block.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foreact.episodes.sources.parts import Part
from foreact.episodes.sources.protocol import SourceError, Stream, Value
from foreact.episodes.sources.vrs_stream import VrsStream

__all__ = ["audio_part"]

NUMBERS = (
    *("undefined", "int8", "uint8", "uint8alaw", "uint8mulaw", "int16le", "uint16le", "int16be", "uint16be", "int24le"),
    *("uint24le", "int24be", "uint24be", "int32le", "uint32le", "int32be", "uint32be", "float32le", "float32be"),
    *("float64le", "float64be"),
)
"""Names of sample formats by their number in the file."""
FORMS = {"int8": "i1", "uint8": "u1"} | {
    f"{name}{bits}{end}": f"{mark}{kind}{bits // 8}"
    for name, kind, widths in (("int", "i", (16, 32)), ("uint", "u", (16, 32)), ("float", "f", (32, 64)))
    for bits in widths
    for end, mark in (("le", "<"), ("be", ">"))
}


def audio_part(stream: VrsStream, shown: Stream) -> Part:
    """The sound of a stream: blocks (k, channels) where it is plain, the bytes where it is coded.

    Raises:
        SourceError: The stream does not say how many channels it has.
    """
    number = next(index for index, block in enumerate(stream.blocks) if block.kind == "audio")
    block = stream.blocks[number]
    coded = stream.configured("audio_sample_format")
    form = next((word for word in block.words if word in NUMBERS), NUMBERS[coded] if 0 <= coded < len(NUMBERS) else "")
    channels = _said(block.option("channels")) or stream.configured("audio_channel_count")
    rate = _said(block.option("rate")) or stream.configured("audio_sample_rate")
    coding = block.words[0] if block.words else ""
    about = replace(shown, description=f"{shown.description}; {rate} samples a second, {channels} channels")
    if coding != "pcm" or form not in FORMS:
        text = f"{about.description}; coded as {coding} {form}, given as it lies in the file"
        about = replace(about, kind="bytes", dtype="bytes", description=text)
        return Part(about, stream.stamps, lambda index: stream.pieces(index)[number].data)
    if not channels:
        raise SourceError("it does not say how many channels it has")
    dtype = np.dtype(FORMS[form])
    about = replace(about, kind="audio", shape=(None, channels), dtype=dtype.newbyteorder("=").name)

    def read(index: int) -> Value:
        data = stream.pieces(index)[number].data
        if len(data) % (dtype.itemsize * channels):
            raise stream.fault(index, SourceError(f"{len(data)} bytes for {channels} channels of {form}"))
        return np.frombuffer(data, dtype).astype(dtype.newbyteorder("=")).reshape(-1, channels)

    return Part(about, stream.stamps, read)


def _said(text: str) -> int:
    return int(text) if text.isdecimal() else 0
