"""A shuffled order that is a pure function of a seed and an epoch, on any machine and with any version of NumPy.

Shape letters: A = samples of a dataset, R = recordings.
"""

from __future__ import annotations

import numpy as np

__all__ = ["Order", "mixed_bits"]

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def mixed_bits(numbers: np.ndarray) -> np.ndarray:
    """A one-to-one scrambling of 64 bits, uint64 of the same shape.

    Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", the finaliser of SplitMix64.
    """
    bits = numbers.astype(np.uint64)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _stream_of(*parts: int) -> int:
    """One number for several, such as a seed and an epoch."""
    found = 0
    for part in parts:
        found = int(mixed_bits(np.array([(found ^ (part & MASK)) + GOLDEN & MASK], np.uint64))[0])
    return found


class Order:
    """The order of samples, epoch after epoch; each epoch has every sample once.

    Args:
        count: A.
        seed: Of the order.
        salt: Another one of the same seed, such as the number of the dataset.
        shuffle: False gives each epoch in order.
        recording: Of each sample, integers (A,), for `together`.
        together: Recordings whose samples are shuffled among each other; the recordings themselves are shuffled. Fewer
            make reading cheaper, more make batches more varied. None for all.

    Raises:
        ValueError: No sample, or `together` is below 1.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        *,
        salt: int = 0,
        shuffle: bool = True,
        recording: np.ndarray | None = None,
        together: int | None = None,
    ) -> None:
        if count < 1 or (together is not None and together < 1):
            raise ValueError(f"order of {count} samples, together={together}: both must be above 0")
        self.count, self._seed, self._salt, self._shuffle = count, seed, salt, shuffle
        self._recording, self._together = recording, together
        self._known: tuple[int, np.ndarray] | None = None

    def epoch(self, epoch: int) -> np.ndarray:
        """The order of an epoch, integers (A,); kept until another epoch is asked for."""
        if self._known is None or self._known[0] != epoch:
            self._known = (epoch, self._made(epoch))
        return self._known[1]

    def take(self, first: int, count: int) -> np.ndarray:
        """Samples number first to first + count - 1, counted over all epochs, integers (count,)."""
        parts, done = [], 0
        while done < count:
            epoch, place = divmod(first + done, self.count)
            parts.append(self.epoch(epoch)[place : place + count - done])
            done += len(parts[-1])
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _made(self, epoch: int) -> np.ndarray:
        if not self._shuffle:
            return np.arange(self.count)
        keys = _keys(self.count, _stream_of(self._seed, self._salt, epoch, 0))
        if self._together is None or self._recording is None:
            return np.argsort(keys, kind="stable")  # keys differ from each other
        recordings = int(self._recording.max()) + 1
        rank = np.argsort(np.argsort(_keys(recordings, _stream_of(self._seed, self._salt, epoch, 1))))
        return np.lexsort((keys, rank[self._recording] // self._together))


def _keys(count: int, start: int) -> np.ndarray:
    return mixed_bits(np.uint64(start) + np.arange(count, dtype=np.uint64) * np.uint64(GOLDEN))
