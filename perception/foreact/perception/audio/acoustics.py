"""What a room and a microphone do to sound: reverberation, noise, level. Shape letter: S samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Acoustics", "heard_in_room", "noise", "reverberated"]

REVERBERATION_DB = -60.0  # what decays in the reverberation time


@dataclass(frozen=True)
class Acoustics:
    """Ranges that a room is drawn from.

    Attributes:
        snr: Lowest and highest ratio of sound to noise [dB].
        reverberation: Shortest and longest reverberation time [s]; (0, 0) for none.
        level: Lowest and highest root mean square [dB below full scale].

    Raises:
        ValueError: A range is none.
    """

    snr: tuple[float, float] = (5.0, 30.0)
    reverberation: tuple[float, float] = (0.1, 0.5)
    level: tuple[float, float] = (-35.0, -18.0)

    def __post_init__(self) -> None:
        for name in ("snr", "reverberation", "level"):
            low, high = getattr(self, name)
            if not (np.isfinite([low, high]).all() and low <= high):
                raise ValueError(f"{name}={[low, high]}: give the lowest first, then the highest")
        if self.reverberation[0] < 0 or self.reverberation[1] > 5 or self.level[1] > -10:
            raise ValueError(f"reverberation is 0 to 5 s and level at most -10 dB, got {self}")


def heard_in_room(audio: np.ndarray, rate: int, acoustics: Acoustics, random: np.random.Generator) -> np.ndarray:
    """The sound as a microphone in a random room hears it, float32 (S,); nothing moves in time.

    Args:
        audio: Sound, (S,), not silent.
        rate: Samples per second [Hz].
        acoustics: What rooms there are.
        random: Source of all that is random.
    """
    time, ratio, level = (random.uniform(*each) for each in (acoustics.reverberation, acoustics.snr, acoustics.level))
    wet = reverberated(audio, rate, time, random.uniform(-12, 0), random)
    loudness = np.sqrt(np.mean(np.square(wet[np.abs(wet) > 0.01 * np.abs(wet).max()])))
    # 20 log10 (rms(sound) / rms(noise)) = SNR
    mixed = wet + noise(len(wet), random.uniform(0, 1.5), random) * loudness * 10 ** (-ratio / 20)
    return np.clip(mixed * (10 ** (level / 20) / loudness), -1, 1).astype(np.float32)


def reverberated(
    audio: np.ndarray, rate: int, seconds: float, reverberant_db: float, random: np.random.Generator
) -> np.ndarray:
    """The sound and its echoes, (S,): noise that decays exponentially (Moorer 1979), after the direct sound.

    Args:
        audio: Sound, (S,).
        rate: Samples per second [Hz].
        seconds: Time in which echoes decay by 60 dB [s].
        reverberant_db: Energy of the echoes over that of the direct sound [dB].
        random: Source of the noise.
    """
    size = int(seconds * rate)
    if size < 2:
        return audio.astype(np.float64)
    # h(t) = delta(t) + g n(t) 10^(-3 t / T60)
    tail = random.standard_normal(size) * 10 ** (REVERBERATION_DB / 20 * np.arange(size) / size)
    tail[: rate // 500] = 0  # the first wall is some way off
    energy = np.sqrt(np.square(tail).sum())
    if energy == 0:
        return audio.astype(np.float64)
    tail *= 10 ** (reverberant_db / 20) / energy
    tail[0] = 1.0
    length = 1 << (len(audio) + size - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(audio, length) * np.fft.rfft(tail, length), length)[: len(audio)]


def noise(size: int, slope: float, random: np.random.Generator) -> np.ndarray:
    """Noise with root mean square 1, (size,).

    Args:
        size: Samples.
        slope: Power falls with frequency^-slope: 0 is white, 1 pink, 2 brown.
        random: Source of it.
    """
    bins = size // 2 + 1
    spectrum = random.standard_normal(bins) + 1j * random.standard_normal(bins)
    spectrum *= np.maximum(np.arange(bins), 1.0) ** (-slope / 2)
    spectrum[0] = 0
    made = np.fft.irfft(spectrum, size)
    return made / np.sqrt(np.mean(np.square(made)))
