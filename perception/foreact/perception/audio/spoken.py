"""Batches of recorded speech: sound, delays, what is to be said when. Letters: B batch, S samples, N tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foreact.episodes.sound_clips import SoundClip, SoundError, SoundSet
from foreact.perception.audio.encoder import FRAMES, LONGEST_DELAY
from foreact.perception.audio.mel import HOP
from foreact.perception.audio.streams import Vocabulary, target_tokens
from foreact.perception.audio.waveform import RATE

__all__ = ["SpokenBatch", "SpokenSet", "open_speech"]

TOKEN = FRAMES * HOP  # samples of a token
TAIL = 2  # tokens after the delay
UNASKED = -1


@dataclass(frozen=True)
class SpokenBatch:
    """Some clips, each after some silence and with a delay of its own.

    Attributes:
        audio: (B, S).
        delay: [tokens], (B,).
        targets: (B, N); -1 after the end of a clip and its delay.
    """

    audio: Tensor
    delay: Tensor
    targets: Tensor


def open_speech(path: Path) -> SoundSet:
    """Open a set of recorded speech.

    Raises:
        SoundError: It is none, has another rate, or a clip of it has no text.
    """
    data = SoundSet.open(path)
    if data.header.rate != RATE or not data.header.texts:
        raise SoundError(f"{path} is no recorded speech at {RATE} Hz; make some: foreact record speech out=...")
    return data


class SpokenSet:
    """Recorded speech as training sees it.

    Args:
        data: The clips.
        vocabulary: What the model can say.
        lead: Longest silence before a clip [tokens].

    Raises:
        ValueError: A word of the set is not in the vocabulary.
    """

    def __init__(self, data: SoundSet, vocabulary: Vocabulary, lead: int = 6) -> None:
        self.data, self.lead = data, lead
        self._numbers = np.array(vocabulary.numbers(data.header.labels), np.int64)

    def draw(self, count: int, generator: torch.Generator) -> SpokenBatch:
        """Random clips with delays whose logarithm is uniform.

        Args:
            count: B.
            generator: Source of all that is random.
        """
        rows = torch.randint(0, len(self.data), (count,), generator=generator).tolist()
        # d = floor(exp(u log(D + 1))), u uniform: as many delays below 5 tokens as above
        delays = ((LONGEST_DELAY + 1) ** torch.rand(count, generator=generator)).floor().clamp(1, LONGEST_DELAY).long()
        leads = torch.randint(0, self.lead * TOKEN + 1, (count,), generator=generator).tolist()
        return self.batch([self.data[row] for row in rows], delays, leads)

    def batch(self, clips: list[SoundClip], delays: Tensor, leads: list[int]) -> SpokenBatch:
        """Put clips together.

        Args:
            clips: B of them.
            delays: [tokens], (B,).
            leads: Silence before each [samples].
        """
        lengths = [
            -(-(len(clip.audio) + lead) // TOKEN) + int(delay) + TAIL
            for clip, lead, delay in zip(clips, leads, delays, strict=True)
        ]
        audio = np.zeros((len(clips), max(lengths) * TOKEN), np.float32)
        targets = np.full((len(clips), max(lengths)), UNASKED, np.int64)
        for row, (clip, lead, length) in enumerate(zip(clips, leads, lengths, strict=True)):
            audio[row, lead : lead + len(clip.audio)] = clip.audio
            starts = ((clip.times + lead) // TOKEN).tolist()
            words = self._numbers[clip.labels].tolist()
            targets[row, :length] = target_tokens(starts, words, length, int(delays[row]))
        return SpokenBatch(torch.from_numpy(audio), delays, torch.from_numpy(targets))
