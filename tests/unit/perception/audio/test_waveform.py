from pathlib import Path

import numpy as np
import pytest

from foreact.perception.audio.acoustics import Acoustics, heard_in_room, noise, reverberated
from foreact.perception.audio.voices import families, split_voices
from foreact.perception.audio.waveform import AudioError, checked_audio, read_wav, resample, write_wav


@pytest.mark.parametrize("rate", [22_050, 48_000, 44_100, 8000])
def test_a_resampled_tone_is_the_tone(rate: int) -> None:
    audio = 0.5 * np.sin(2 * np.pi * 700 * np.arange(rate // 2) / rate)
    found = resample(audio, rate)
    assert len(found) == 8000 and found.dtype == np.float32
    expected = 0.5 * np.sin(2 * np.pi * 700 * np.arange(8000) / 16_000)
    assert np.abs(found - expected)[200:-200].max() < 1e-3


def test_what_the_new_rate_cannot_hold_is_filtered_out() -> None:
    high = np.sin(2 * np.pi * 9000 * np.arange(22_050) / 22_050) * 0.5
    assert np.abs(resample(high, 22_050)[200:-200]).max() < 0.01  # it would sound as 7000 Hz
    assert np.abs(resample(high, 22_050, 22_050) - high).max() < 1e-6
    with pytest.raises(AudioError, match="positive"):
        resample(high, 22_050, 0)


def test_wav_files_round_trip_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, 1000).astype(np.float32)
    write_wav(tmp_path / "a.wav", audio, 22_050)
    found, rate = read_wav(tmp_path / "a.wav")
    assert rate == 22_050 and np.abs(found - audio).max() < 1e-4
    content = (tmp_path / "a.wav").read_bytes()
    for name, cut in (("cut", content[:900]), ("text", b"hello"), ("none", content[:44])):
        (tmp_path / name).write_bytes(cut)
        with pytest.raises(AudioError, match=name):
            read_wav(tmp_path / name)
    with pytest.raises(AudioError, match="divide it by its full scale"):
        checked_audio(np.full(10, 300.0), 16_000)


def test_a_room_decays_by_60_db_in_its_time() -> None:
    click = np.zeros(16_000)
    click[0] = 1.0
    heard = reverberated(click, 16_000, 0.5, 0.0, np.random.default_rng(0))
    energy = [np.square(heard[start : start + 800]).sum() for start in (800, 5600)]  # 50 and 350 ms: 0.6 T60 apart
    assert 10 * np.log10(energy[0] / energy[1]) == pytest.approx(36, abs=2)
    assert heard[0] == pytest.approx(1.0) and np.square(heard[1:]).sum() == pytest.approx(1.0, rel=0.05)
    assert np.array_equal(reverberated(click, 16_000, 0.0, 0.0, np.random.default_rng(0)), click)


def test_level_and_noise_are_what_was_asked_for() -> None:
    tone = np.sin(np.arange(32_000) * 0.3)
    quiet = Acoustics(snr=(10.0, 10.0), reverberation=(0.0, 0.0), level=(-30.0, -30.0))
    heard = heard_in_room(tone, 16_000, quiet, np.random.default_rng(1))
    fitted = tone * (heard @ tone) / (tone @ tone)
    assert 20 * np.log10(np.std(fitted)) == pytest.approx(-30, abs=0.3)
    assert 20 * np.log10(np.std(fitted) / np.std(heard - fitted)) == pytest.approx(10, abs=0.5)
    again = heard_in_room(tone, 16_000, quiet, np.random.default_rng(1))
    assert heard.dtype == np.float32 and np.array_equal(heard, again)
    with pytest.raises(ValueError, match="snr"):
        Acoustics(snr=(10.0, 5.0))


def test_brown_noise_is_low() -> None:
    power = np.square(np.abs(np.fft.rfft(noise(16_000, 2.0, np.random.default_rng(0)))))
    assert power[10:20].mean() > 50 * power[100:200].mean()


def test_voices_that_sound_alike_are_never_in_both_splits() -> None:
    names = ["f1", "f2", "Mike", "mike2", "andy", "AnxiousAndy", "steph", "steph2", "zac", "m1", "ed", "edward"]
    assert ["AnxiousAndy", "andy"] in families(names) and ["Mike", "mike2"] in families(names)
    assert ["ed"] in families(names)  # two letters are no kinship
    train, held = split_voices(names, "train"), split_voices(names, "eval")
    assert sorted((*train, *held)) == sorted(names) and held
    assert all(not set(family) & set(train) or not set(family) & set(held) for family in families(names))
