"""Whisper and Voxtral encoders by transformers, from folders with random weights: nothing is fetched."""

from pathlib import Path
from typing import Any

import pytest
import torch

from foreact.perception.audio.checkpoint import save_speech_model
from foreact.perception.audio.encoder import EncoderConfig
from foreact.perception.audio.model import SpeechModelConfig
from foreact.perception.audio.pretrained import TransformersEncoder, open_audio_encoder
from foreact.perception.audio.streams import Vocabulary
from foreact.perception.audio.waveform import AudioError

SIZES: dict[str, Any] = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "num_mel_bins": 20}


def sound(seconds: float) -> torch.Tensor:
    return torch.randn(2, int(seconds * 16_000), generator=torch.Generator().manual_seed(0)) * 0.05


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import transformers

    path = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        **SIZES, decoder_layers=1, decoder_attention_heads=2, max_source_positions=100, vocab_size=50,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    transformers.WhisperModel(config).save_pretrained(path)
    transformers.WhisperFeatureExtractor(feature_size=20).save_pretrained(path)
    return path


def test_whisper_by_folder(whisper: Path) -> None:
    encoder = open_audio_encoder(str(whisper))
    assert (encoder.width, encoder.tokens_per_second) == (16, 50.0)
    found = encoder.encode(sound(1.01), 16_000)
    assert found.shape == (2, 51, 16) and torch.isfinite(found).all() and not found.requires_grad
    assert not torch.allclose(found[0], found[1])
    assert isinstance(encoder, TransformersEncoder)
    made = encoder._features(sound(1.01)[0].numpy(), sampling_rate=16_000, return_tensors="pt", max_length=32_000)
    direct = encoder.encoder(made.input_features[..., :200]).last_hidden_state[0, :51]
    assert torch.allclose(found[0], direct, atol=1e-5)


def test_pieces_know_nothing_of_each_other(whisper: Path) -> None:
    encoder, long = open_audio_encoder(str(whisper)), sound(5.0)
    found = encoder.encode(long, 16_000)  # this one takes 2 s at once
    assert found.shape == (2, 250, 16)
    assert torch.allclose(found[:, 100:200], encoder.encode(long[:, 32_000:64_000], 16_000), atol=1e-5)


def test_voxtral_by_folder(tmp_path: Path) -> None:
    import transformers

    config = transformers.VoxtralEncoderConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_mel_bins=20,
        max_source_positions=100,
    )  # fmt: skip
    transformers.VoxtralEncoder(config).save_pretrained(tmp_path)
    transformers.WhisperFeatureExtractor(feature_size=20).save_pretrained(tmp_path)
    assert open_audio_encoder(tmp_path).encode(sound(0.5), 16_000).shape == (2, 25, 16)


def test_ours_by_folder(tmp_path: Path) -> None:
    model = SpeechModelConfig(EncoderConfig()).build(Vocabulary(("door", "open"))).eval()
    save_speech_model(tmp_path, model)
    encoder = open_audio_encoder(tmp_path)
    assert (encoder.width, encoder.tokens_per_second) == (128, 12.5)
    assert encoder.encode(sound(1.0), 16_000).shape == (2, 12, 128)


def test_what_cannot_be_opened_or_heard_is_refused(whisper: Path, tmp_path: Path) -> None:
    import transformers

    encoder = open_audio_encoder(whisper)
    with pytest.raises(AudioError, match="8000 samples a second"):
        encoder.encode(sound(0.1), 8000)
    with pytest.raises(AudioError, match="NaN"):
        encoder.encode(sound(0.1).log(), 16_000)
    with pytest.raises(ValueError, match="cannot be opened by transformers|Unrecognized model"):
        open_audio_encoder(tmp_path)
    transformers.BertConfig(hidden_size=8, num_attention_heads=2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a bert, expected whisper or voxtral"):
        open_audio_encoder(tmp_path)
    with pytest.raises(ValueError, match="makes 80 bands"):
        assert isinstance(encoder, TransformersEncoder)
        TransformersEncoder(encoder.encoder, transformers.WhisperFeatureExtractor())
