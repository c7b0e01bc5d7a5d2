"""Sound as numbers: checks, WAV files, another sampling rate. Shape letter: S samples."""

from __future__ import annotations

import math
import wave
from pathlib import Path

import numpy as np

__all__ = ["RATE", "AudioError", "checked_audio", "read_wav", "resample", "write_wav"]

RATE = 16_000
"""Samples per second of everything that listens here [Hz]."""

CROSSINGS = 24  # of the sinc, on each side
ROLL_OFF = 0.94  # where the filter begins to fall, over the lower of both limits
PIECE = 1 << 15  # samples computed at once
FULL_SCALE = 32767.0


class AudioError(ValueError):
    """Sound that cannot be listened to; the message says what is wrong and what to do."""


def checked_audio(audio: np.ndarray, rate: int, wanted: int = RATE) -> np.ndarray:
    """The same sound as float32 (S,), if it is one.

    Args:
        audio: float32 or float64 between -1 and 1, (S,).
        rate: Its samples per second [Hz].
        wanted: What the listener takes [Hz].

    Raises:
        AudioError: Empty, of another shape, type or rate, not finite, or beyond full scale.
    """
    if rate != wanted:
        raise AudioError(f"this sound has {rate} samples a second, expected {wanted}; type resample(audio, {rate})")
    if audio.ndim != 1 or not audio.size:
        raise AudioError(f"expected one channel of sound (S,), S > 0; got shape {audio.shape}")
    if audio.dtype not in (np.float32, np.float64):
        raise AudioError(f"expected float32 between -1 and 1, got {audio.dtype}; divide int16 by 32767")
    if not np.isfinite(audio).all():
        raise AudioError("the sound holds NaN or infinity; look for a broken recording")
    if (loudest := float(np.abs(audio).max())) > 1.001:
        raise AudioError(
            f"the sound reaches {loudest:.3g}, expected values between -1 and 1; divide it by its full scale"
        )
    return audio.astype(np.float32, copy=False)


def resample(audio: np.ndarray, rate: int, to: int = RATE) -> np.ndarray:
    """The same sound at another rate, float32 (ceil(S * to / rate),); sample 0 stays where it is.

    Args:
        audio: Sound, (S,).
        rate: Its samples per second [Hz].
        to: Those wanted [Hz].

    Raises:
        AudioError: A rate is not positive, or `checked_audio` refuses the sound.

    A windowed sinc at each of the phases of the rational ratio (Crochiere and Rabiner 1983, chapter 4).
    """
    if min(rate, to) < 1:
        raise AudioError(f"cannot change {rate} Hz to {to} Hz: rates are positive")
    audio = checked_audio(audio, rate, rate)
    if rate == to:
        return audio
    divisor = math.gcd(rate, to)
    up, down = to // divisor, rate // divisor
    filters, reach = _phases(up, min(1.0, to / rate) * ROLL_OFF)
    size = -(-len(audio) * up // down)
    padded = np.pad(audio, (reach, reach + 1))
    out = np.empty(size, np.float32)
    for start in range(0, size, PIECE):
        places = np.arange(start, min(start + PIECE, size), dtype=np.int64) * down
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)[places // up]
        out[start : start + len(places)] = np.einsum("nk,nk->n", windows, filters[places % up])
    return out


def _phases(up: int, cutoff: float) -> tuple[np.ndarray, int]:
    """Filters (up, 2 reach + 1) in samples of the input, and their reach on each side."""
    reach = math.ceil(CROSSINGS / cutoff)
    # h_p[k] = c sinc(c (k - p / up)) w((k - p / up) / reach)
    offsets = np.arange(-reach, reach + 1)[None, :] - np.arange(up)[:, None] / up
    window = np.i0(9.0 * np.sqrt(np.clip(1 - (offsets / reach) ** 2, 0, None))) / np.i0(9.0)
    filters = cutoff * np.sinc(cutoff * offsets) * window
    return (filters / filters.sum(1, keepdims=True)).astype(np.float32), reach


def write_wav(path: Path, audio: np.ndarray, rate: int = RATE) -> None:
    """Write sound as 16-bit WAV.

    Args:
        path: The file.
        audio: Between -1 and 1, (S,).
        rate: Samples per second [Hz].

    Raises:
        AudioError: `checked_audio` refuses the sound.
    """
    whole = np.round(np.clip(checked_audio(audio, rate, rate), -1, 1) * FULL_SCALE).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(whole.tobytes())


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    """Sound of a 16-bit WAV file, float32 (S,), channels averaged, and its samples per second [Hz].

    Raises:
        AudioError: Missing, damaged, empty, truncated or of another kind.
    """
    try:
        with wave.open(str(path), "rb") as file:
            width, rate, channels, frames = (
                file.getsampwidth(), file.getframerate(), file.getnchannels(), file.getnframes(),
            )  # fmt: skip
            content = file.readframes(frames)
    except (OSError, EOFError, wave.Error) as error:
        raise AudioError(f"{path} is not a WAV file that can be read: {error}") from error
    if width != 2:
        raise AudioError(
            f"{path} has {8 * width} bits a sample, expected 16; convert it: ffmpeg -i IN -c:a pcm_s16le OUT"
        )
    if not frames or len(content) != frames * channels * 2:
        raise AudioError(f"{path} is empty or truncated: {len(content)} of {frames * channels * 2} bytes")
    samples = np.frombuffer(content, "<i2").reshape(-1, channels).mean(1)
    return (samples / FULL_SCALE).astype(np.float32).clip(-1, 1), rate
