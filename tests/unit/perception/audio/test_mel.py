import numpy as np
import pytest
import torch

from foreact.perception.audio.mel import HOP, LogMel, mel_filters
from foreact.perception.audio.waveform import AudioError


def sound(size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, size, generator=torch.Generator().manual_seed(seed)) * 0.1


@pytest.mark.parametrize("mels", [80, 128])
def test_chunks_of_any_length_give_the_frames_of_the_whole(mels: int) -> None:
    mel, audio = LogMel(mels), sound(5000)
    whole, state, parts, start = mel(audio, 16_000), mel.start(2), [], 0
    for size in np.random.default_rng(mels).integers(1, 700, 40):
        frames, state = mel.step(audio[:, start : start + size], state, 16_000)
        parts.append(frames)
        start += size
    assert start > 5000 and whole.shape == (2, 5000 // HOP, mels)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)


def test_a_frame_is_known_with_its_last_sample_and_not_before() -> None:
    mel, audio = LogMel(), sound(1600)
    later = audio.clone()
    later[:, 5 * HOP :] = 0.9  # what comes after the fifth frame
    assert torch.equal(mel(audio, 16_000)[:, :5], mel(later, 16_000)[:, :5])
    assert not torch.allclose(mel(audio, 16_000)[:, 5], mel(later, 16_000)[:, 5], atol=0.1)


@pytest.mark.parametrize("hertz", [300.0, 1000.0, 3000.0])
def test_a_tone_is_loudest_in_the_band_of_its_pitch(hertz: float) -> None:
    tone = 0.5 * torch.sin(2 * torch.pi * hertz * torch.arange(3200) / 16_000)[None]
    band = int(LogMel()(tone, 16_000)[0, -1].argmax())
    middle = (mel_filters(80, 0, 8000)[:, band] * torch.arange(257) * 31.25).sum()
    assert abs(float(middle) - hertz) < 0.05 * hertz + 20


def test_filters_by_hand() -> None:
    filters = mel_filters(80, 0.0, 8000.0)
    assert torch.allclose(filters.sum(0), torch.ones(80))
    # 45.245 mel in 81 steps; the second triangle of 4 below 1 kHz peaks at 2/5 of 1000 Hz
    four = mel_filters(4, 0.0, 1000.0)
    assert [int(each) for each in four.argmax(0)] == [round(hertz / 31.25) for hertz in (200, 400, 600, 800)]
    with pytest.raises(ValueError, match="narrower than"):
        mel_filters(300, 0.0, 8000.0)


def test_silence_and_loudness() -> None:
    mel = LogMel()
    assert torch.allclose(mel(torch.zeros(1, 1600), 16_000), torch.tensor(-4 / 3))
    difference = mel(sound(1600) * 10, 16_000) - mel(sound(1600), 16_000)
    assert torch.allclose(difference, torch.tensor(2 / 3), atol=1e-3)  # 20 dB are 2 in log10 of power, over 3


def test_what_cannot_be_heard_is_refused() -> None:
    mel = LogMel()
    with pytest.raises(AudioError, match=r"type resample\(audio, 44100\)"):
        mel(sound(1600), 44_100)
    with pytest.raises(AudioError, match="NaN"):
        mel(sound(1600).log(), 16_000)
    with pytest.raises(AudioError, match="int64"):
        mel.step(torch.zeros(1, 160, dtype=torch.int64), mel.start(1), 16_000)
    with pytest.raises(AudioError, match=r"\(160,\)"):
        mel(torch.zeros(160), 16_000)
    assert mel(sound(159), 16_000).shape == (2, 0, 80)
