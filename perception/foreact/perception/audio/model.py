"""A model that writes down what it hears, while it hears it.

Shape letters: B batch, S samples, N tokens (12.5 a second), V tokens of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from foreact.perception.audio.encoder import EncoderConfig, EncoderState
from foreact.perception.audio.mel import LogMel
from foreact.perception.audio.streams import Vocabulary

__all__ = ["SpeechModel", "SpeechModelConfig", "StreamState", "speech_losses"]


@dataclass(frozen=True)
class SpeechModelConfig:
    """Sizes of the model."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)

    def build(self, vocabulary: Vocabulary) -> SpeechModel:
        """Make the model.

        Args:
            vocabulary: What it can say.
        """
        return SpeechModel(self, vocabulary)


@dataclass
class StreamState:
    """What a model remembers of a stream."""

    samples: Tensor
    encoder: EncoderState


class SpeechModel(nn.Module):
    """Logits of words, of "a word begins" and of nothing, for each 80 ms of sound.

    Args:
        config: Sizes.
        vocabulary: What it can say.
    """

    def __init__(self, config: SpeechModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        self.mel = LogMel(config.encoder.mels)
        self.encoder = config.encoder.build()
        self.head = nn.Linear(config.encoder.width, len(vocabulary))

    def forward(self, audio: Float[Tensor, "b s"], rate: int, delay: Int[Tensor, " b"]) -> Float[Tensor, "b n v"]:
        """Logits of whole recordings.

        Args:
            audio: Between -1 and 1.
            rate: Samples per second [Hz].
            delay: How long after it was said a word is due [tokens].

        Raises:
            AudioError: The sound is not what it should be.
            ValueError: The delay is not.
        """
        return self.head(self.encoder(self.mel(audio, rate), delay))

    def start(self, batch: int) -> StreamState:
        """What streams begin with."""
        return StreamState(self.mel.start(batch), self.encoder.start(batch))

    def step(
        self, chunk: Float[Tensor, "b s"], rate: int, delay: Int[Tensor, " b"], state: StreamState
    ) -> Float[Tensor, "b n v"]:
        """Logits of the tokens that a chunk of any length completes: those of `forward`.

        Args:
            chunk: The next samples.
            rate: Samples per second [Hz].
            delay: As `forward`; the same for a whole stream.
            state: From `start`; changed in place.
        """
        frames, state.samples = self.mel.step(chunk, state.samples, rate)
        return self.head(self.encoder.step(frames, delay, state.encoder))


def speech_losses(
    logits: Float[Tensor, "b n v"], targets: Int[Tensor, "b n"], pad_weight: float, z_weight: float
) -> dict[str, Tensor]:
    """Cross-entropy, in which saying nothing counts less, and the z-loss that keeps logits small.

    Args:
        logits: Of the model.
        targets: What was to be said; -1 where nothing is asked.
        pad_weight: Weight of tokens in which nothing is to be said.
        z_weight: Weight of the squared logarithm of the softmax's sum (de Brebisson and Vincent 2016).
    """
    asked = targets >= 0
    weights = logits.new_ones(logits.shape[-1])
    weights[0] = pad_weight
    words = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), weights, ignore_index=-1)
    # z = mean (log sum exp)^2
    sums = torch.logsumexp(logits, dim=-1)[asked]
    return {"words": words, "z": z_weight * sums.square().mean()}
