"""A histogram of durations with logarithmic buckets: constant memory, no allocation while counting.

Values below 16 have a bucket each; above, each octave is cut into 16, so a bucket is at most 1/16 of its value wide.
Source of the layout: HdrHistogram (Tene).
"""

from collections.abc import Sequence

__all__ = ["Histogram"]

_SUB_BITS = 4
_SUB = 1 << _SUB_BITS
_BITS = 40  # values up to 2**40 us = 12 days


class Histogram:
    """Counts of non-negative integers, here lateness [us]."""

    def __init__(self) -> None:
        self._counts = [0] * (_SUB * (_BITS - _SUB_BITS + 1))
        self.count = 0
        self.max = 0

    def add(self, value: int) -> None:
        """Count one value; a negative one counts as 0, one beyond the last bucket as the last."""
        value = max(0, value)
        self._counts[min(bucket_of(value), len(self._counts) - 1)] += 1
        self.count += 1
        self.max = max(self.max, value)

    def percentile(self, q: float) -> int:
        """The upper end of the bucket that holds the q-th percentile, at most `max`; 0 without values.

        Args:
            q: in (0, 100].
        """
        if not 0 < q <= 100:
            raise ValueError(f"percentile: q={q} is outside (0, 100]")
        wanted, seen = self.count * q / 100, 0
        for index, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return min(self.max, bucket_low(index + 1) - 1)
        return self.max

    def buckets(self) -> list[tuple[int, int, int]]:
        """Every non-empty bucket as (lowest value, lowest value of the next bucket, count)."""
        return [(bucket_low(i), bucket_low(i + 1), count) for i, count in enumerate(self._counts) if count]

    def merge(self, buckets: Sequence[Sequence[int]], maximum: int) -> None:
        """Add what another histogram's `buckets` and `max` say."""
        for low, _, count in buckets:
            self._counts[bucket_of(low)] += count
            self.count += count
        self.max = max(self.max, maximum)


def bucket_of(value: int) -> int:
    """Index of the bucket of a non-negative value."""
    octave = max(0, value.bit_length() - _SUB_BITS - 1)
    return (octave << _SUB_BITS) + (value >> octave)


def bucket_low(index: int) -> int:
    """Lowest value of a bucket."""
    octave = max(0, (index >> _SUB_BITS) - 1)
    return (index - (octave << _SUB_BITS)) << octave
