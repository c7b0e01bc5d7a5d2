"""Speech by espeak-ng, with the sample in which each word begins.

The library keeps global state that no call resets, so what it says depends on what it said before. One `Synthesiser` is
allowed in a process; the same seed and the same calls in a fresh process give the same samples. The library comes with
the wheel `espeakng-loader`; no system package is needed. Shape letter: S samples.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["EspeakError", "Spoken", "Synthesiser", "Voice", "variants"]

SYNCHRONOUS, NO_FLAGS = 2, 0
UTF8 = 1
RATE_PARAMETER, PITCH_PARAMETER = 1, 3
END, WORD = 0, 1  # kinds of events
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp")
INSTALL = "type: uv pip install 'foreact[senses]' (it brings espeak-ng with the wheel espeakng-loader)"
UNVOICED = frozenset({"whisper", "whisperf"})  # no voice of a command


class EspeakError(RuntimeError):
    """espeak-ng is missing or refuses; the message says what to type."""


@dataclass(frozen=True)
class Voice:
    """How something is said.

    Attributes:
        variant: One of `variants()`, such as `f2`.
        accent: Language and place, such as `en-us`.
        rate: Words per minute.
        pitch: 0 to 99.
    """

    variant: str
    accent: str = "en-us"
    rate: int = 175
    pitch: int = 50


@dataclass(frozen=True)
class Spoken:
    """What was said.

    Attributes:
        audio: Between -1 and 1, float32 (S,).
        rate: Samples per second [Hz].
        starts: Sample in which each word begins; pairs such as "of the", which espeak-ng says as one, share their time.
    """

    audio: np.ndarray
    rate: int
    starts: tuple[int, ...]


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", _EventId),
    )  # fmt: skip


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def _loader() -> Any:
    try:
        import espeakng_loader
    except ImportError as error:
        raise EspeakError(f"speech is made by espeak-ng, which is not installed; {INSTALL}") from error
    return espeakng_loader


@cache
def variants() -> tuple[str, ...]:
    """Names of all voices, sorted.

    Raises:
        EspeakError: espeak-ng is missing.
    """
    folder = Path(_loader().get_data_path()) / "voices" / "!v"
    names = sorted(each.name for each in folder.iterdir() if each.is_file() and " " not in each.name)
    if not names:
        raise EspeakError(f"{folder} has no voices; {INSTALL}")
    return tuple(name for name in names if name not in UNVOICED)


class Synthesiser:
    """espeak-ng, started.

    Args:
        seed: Of breath and unsteadiness, 0 <= seed < 2**31.

    Raises:
        EspeakError: It is missing, does not start, or was started in this process before.
    """

    started = False

    def __init__(self, seed: int = 0) -> None:
        if Synthesiser.started:
            raise EspeakError("espeak-ng runs once in a process; start another process")
        loader = _loader()
        try:
            self._library = ctypes.CDLL(loader.get_library_path())
            data = loader.get_data_path().encode()
        except (OSError, RuntimeError) as error:
            raise EspeakError(f"espeak-ng does not load ({error}); {INSTALL}") from error
        self._lock, self._pieces, self._starts = threading.Lock(), list[np.ndarray](), list[tuple[int, int]]()
        self._callback = _CALLBACK(self._hear)  # must live as long as the library may call it
        self.rate = int(self._library.espeak_Initialize(SYNCHRONOUS, 0, data, NO_FLAGS))
        if self.rate <= 0:
            raise EspeakError(f"espeak-ng does not start with the data in {data.decode()}; {INSTALL}")
        self._library.espeak_SetSynthCallback(self._callback)
        Synthesiser.started = True
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        ctypes.CDLL(None).srand(ctypes.c_uint(seed))  # some voices draw from the C library

    def say(self, words: Sequence[str], voice: Voice) -> Spoken:
        """Say some words.

        Args:
            words: In lower case, letters, digits and apostrophes.
            voice: How.

        Raises:
            EspeakError: No such voice, nothing was said, or it is not known when.
        """
        text = " ".join(words)
        with self._lock:
            self._pieces.clear()
            self._starts.clear()
            # espeak-ng keeps what the last voice changed: a plain voice first, then this one
            self._ask("espeak_SetVoiceByName", voice.accent.encode(), voice)
            self._ask("espeak_SetVoiceByName", f"{voice.accent}+{voice.variant}".encode(), voice)
            for parameter, value in ((RATE_PARAMETER, voice.rate), (PITCH_PARAMETER, voice.pitch)):
                self._ask("espeak_SetParameter", parameter, voice, value, 0)
            content = text.encode()
            size = ctypes.c_size_t(len(content) + 1)
            arguments = (ctypes.c_uint(0), ctypes.c_int(0), ctypes.c_uint(0), ctypes.c_uint(UTF8), None, None)
            self._ask("espeak_Synth", content, voice, size, *arguments)
            audio = np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.int16)
            events = list(self._starts)
        if not audio.any():
            raise EspeakError(f"espeak-ng said nothing for {text!r} with {voice}")
        return Spoken(audio.astype(np.float32) / 32768, self.rate, _word_starts(words, events, len(audio)))

    def _ask(self, function: str, first: Any, voice: Voice, *arguments: Any) -> None:
        if getattr(self._library, function)(first, *arguments) != 0:
            raise EspeakError(f"espeak-ng refuses {function} for {voice}; voices are {', '.join(variants()[:8])}, ...")

    def _hear(self, samples: Any, count: int, events: Any) -> int:
        if count > 0 and samples:
            self._pieces.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        index = 0
        while events[index].type != END:
            if events[index].type == WORD:
                self._starts.append((int(events[index].text_position) - 1, int(events[index].sample)))
            index += 1
        return 0


def _word_starts(words: Sequence[str], events: Sequence[tuple[int, int]], size: int) -> tuple[int, ...]:
    """Sample in which each word begins, from (character, sample) of those that espeak-ng tells of."""
    places = np.cumsum([0, *(len(word) + 1 for word in words)])
    told = {int(np.searchsorted(places, place, "right")) - 1: sample for place, sample in reversed(events)}
    if 0 not in told:
        raise EspeakError(f"espeak-ng does not tell when it says {words[0]!r} in {' '.join(words)!r}")
    known = sorted((word, min(sample, size - 1)) for word, sample in told.items() if word < len(words))
    numbers, samples = zip(*known, (len(words), size), strict=True)
    return tuple(int(each) for each in np.interp(range(len(words)), numbers, np.maximum.accumulate(samples)))
