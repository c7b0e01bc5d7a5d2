"""Encoders of sound for policies: our own, and those of Whisper and Voxtral where the user has their weights.

Shape letters: B batch, S samples, N tokens, D width.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foreact.perception.audio.checkpoint import load_speech_model
from foreact.perception.audio.encoder import delay_tokens
from foreact.perception.audio.mel import HOP
from foreact.perception.audio.model import SpeechModel
from foreact.perception.audio.waveform import RATE, AudioError, checked_audio

__all__ = ["AudioEncoder", "OwnEncoder", "TransformersEncoder", "open_audio_encoder"]

HALF = 2  # log-mel frames for each token of Whisper: 50 a second
INSTALL = "type: uv pip install 'foreact[senses]'"


class AudioEncoder(Protocol):
    """Makes tokens of sound.

    Attributes:
        width: D.
        tokens_per_second: N for a second [Hz].
    """

    width: int
    tokens_per_second: float

    def encode(self, audio: Float[Tensor, "b s"], rate: int) -> Float[Tensor, "b n d"]:
        """Tokens of whole recordings.

        Args:
            audio: Between -1 and 1.
            rate: Samples per second [Hz].

        Raises:
            AudioError: It is not sound at the encoder's rate.
        """
        ...


class OwnEncoder:
    """The encoder of a speech model of ours.

    Args:
        model: In evaluation mode.
        delay_ms: What tokens tell of is so long ago; a multiple of 80.
    """

    tokens_per_second = 12.5

    def __init__(self, model: SpeechModel, delay_ms: int = 480) -> None:
        self.model, self.delay, self.width = model, delay_tokens(delay_ms), model.encoder.width

    def encode(self, audio: Float[Tensor, "b s"], rate: int) -> Float[Tensor, "b n d"]:
        """As `AudioEncoder.encode`."""
        delay = torch.full((len(audio),), self.delay, device=audio.device)
        return self.model.encoder(self.model.mel(audio, rate), delay)


class TransformersEncoder(nn.Module):
    """The encoder of a Whisper or Voxtral of transformers, on pieces of 30 s that know nothing of each other.

    Args:
        encoder: `WhisperEncoder` or `VoxtralEncoder`.
        features: The feature extractor that belongs to it.
    """

    tokens_per_second = 50.0

    def __init__(self, encoder: nn.Module, features: Any) -> None:
        super().__init__()
        self.encoder, self._features = encoder, features
        config: Any = encoder.config
        self.width: int = config.d_model
        self._frames = config.max_source_positions * HALF
        if features.sampling_rate != RATE or features.feature_size != config.num_mel_bins or features.hop_length != HOP:
            raise ValueError(
                f"the feature extractor makes {features.feature_size} bands at {features.sampling_rate} Hz, "
                f"the encoder takes {config.num_mel_bins} at {RATE} Hz; give the folder that has both"
            )

    @classmethod
    def load(cls, name: str) -> TransformersEncoder:
        """Open a Whisper or Voxtral by its name on the hub, or by the folder that holds it.

        Args:
            name: Such as `openai/whisper-tiny`, or a folder with `config.json`.

        Raises:
            ValueError: transformers is missing, it is no such model, or its files are not there.
        """
        try:
            import transformers
        except ImportError as error:
            raise ValueError(f"model={name} needs transformers; {INSTALL}") from error
        try:
            kind = transformers.AutoConfig.from_pretrained(name).model_type
            if kind == "whisper":
                encoder = transformers.WhisperModel.from_pretrained(name).get_encoder()
            elif kind == "voxtral":
                encoder = transformers.VoxtralForConditionalGeneration.from_pretrained(name).model.audio_tower
            elif kind == "voxtral_encoder":
                encoder = transformers.VoxtralEncoder.from_pretrained(name)
            else:
                raise ValueError(f"{name} is a {kind}, expected whisper or voxtral")
            features = transformers.WhisperFeatureExtractor.from_pretrained(name)
        except OSError as error:
            raise ValueError(f"{name} cannot be opened by transformers: {error}") from error
        return cls(encoder, features).eval().requires_grad_(False)

    @torch.no_grad()
    def encode(self, audio: Float[Tensor, "b s"], rate: int) -> Float[Tensor, "b n d"]:
        """As `AudioEncoder.encode`; N = ceil(S / 320), and what a token hears may come up to 30 s later."""
        if audio.ndim != 2:
            raise AudioError(f"expected sound (B, S), got {tuple(audio.shape)}")
        rows = [checked_audio(each, rate) for each in audio.cpu().numpy()]
        weight = next(self.encoder.parameters())
        piece, tokens = self._frames * HOP, []
        for start in range(0, audio.shape[1], piece):
            cut = [each[start : start + piece] for each in rows]
            # padded or cut by us: the extractor's own length need not be that of a smaller encoder
            made = self._features(cut, sampling_rate=rate, return_tensors="pt", padding="max_length", max_length=piece)
            found = self.encoder(made.input_features.to(weight)).last_hidden_state
            tokens.append(found[:, : math.ceil(len(cut[0]) / (HALF * HOP))])
        return torch.cat(tokens, dim=1)


def open_audio_encoder(name: str | Path, delay_ms: int = 480, device: str = "cpu") -> AudioEncoder:
    """Open an encoder: a run or model folder of ours, or what transformers opens.

    Args:
        name: A folder, or a name on the hub.
        delay_ms: For ours.
        device: Where to put it.

    Raises:
        CheckpointError: A folder of ours is damaged.
        ValueError: transformers cannot open it.
    """
    folder = Path(name)
    if any((each / "speech.json").exists() for each in (folder, folder / "model")):
        return OwnEncoder(load_speech_model(folder, device), delay_ms)
    return TransformersEncoder.load(str(name)).to(device)
