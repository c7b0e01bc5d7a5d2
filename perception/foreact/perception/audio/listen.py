"""Spoken commands become text: of a recording, or word by word as it comes in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from foreact.perception.audio.encoder import TOKEN_MS, delay_tokens
from foreact.perception.audio.model import SpeechModel
from foreact.perception.audio.streams import Reader
from foreact.perception.audio.waveform import RATE, checked_audio

__all__ = ["Heard", "Listener", "transcribe"]

TAIL_MS = 3 * TOKEN_MS  # silence after the delay, so that words that wait their turn are said


@dataclass(frozen=True)
class Heard:
    """One word.

    Attributes:
        word: In lower case.
        said_at: When the model said it, from the beginning of the stream [s].
    """

    word: str
    said_at: float


class Listener:
    """Hears a stream in chunks of any length and says words `delay_ms` after they were begun.

    Args:
        model: In evaluation mode.
        rate: Samples per second of the stream [Hz].
        delay_ms: A multiple of 80, 80 to 2400: longer is surer.

    Raises:
        ValueError: The delay is none of these.
    """

    def __init__(self, model: SpeechModel, rate: int = RATE, delay_ms: int = 480) -> None:
        self._model, self._rate, self.delay_ms = model, rate, delay_ms
        self._device = model.head.weight.device
        self._delay = torch.tensor([delay_tokens(delay_ms)], device=self._device)
        self._state, self._reader, self._tokens = model.start(1), Reader(model.vocabulary), 0

    @torch.no_grad()
    def hear(self, chunk: np.ndarray) -> list[Heard]:
        """Words that this chunk lets the model say.

        Args:
            chunk: The next samples, between -1 and 1, (S,).

        Raises:
            AudioError: It is not sound at this rate.
        """
        checked = torch.from_numpy(checked_audio(chunk, self._rate)).to(self._device)
        logits = self._model.step(checked[None], self._rate, self._delay, self._state)
        tokens = logits[0].argmax(-1).tolist()
        found = self._reader.read(tokens)
        first, self._tokens = self._tokens, self._tokens + len(tokens)
        return [Heard(word, (first + place + 1) * TOKEN_MS / 1000) for place, word in found]

    def finish(self) -> list[Heard]:
        """Words that were begun and not yet said, as if silence followed."""
        return self.hear(np.zeros((self.delay_ms + TAIL_MS) * self._rate // 1000, np.float32))


def transcribe(model: SpeechModel, audio: np.ndarray, rate: int = RATE, delay_ms: int = 480) -> str:
    """The words of a recording, as heard: nothing is replaced by the nearest known sentence.

    Args:
        model: In evaluation mode.
        audio: Between -1 and 1, (S,).
        rate: Its samples per second [Hz].
        delay_ms: A multiple of 80, 80 to 2400.

    Raises:
        AudioError: It is not sound at the model's rate.
        ValueError: The delay is out of range.
    """
    listener = Listener(model, rate, delay_ms)
    return " ".join(each.word for each in (*listener.hear(audio), *listener.finish()))
