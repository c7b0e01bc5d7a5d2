"""Faults of pictures: frozen, nearly frozen, black, overexposed, of one value; and small copies to be shown.

Shape letters: H and W = picture height and width.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from foreact.episodes.checks.finding import Finding
from foreact.episodes.sources import Stream

__all__ = ["Pictures", "Run", "Thumbnail", "chosen_runs", "thumbnail"]

FROZEN = 5  # equal pictures in a row
NEAR = 0.05  # mean difference of neighbours [grey levels of 255] below which they are nearly equal
NEAR_RUN = 30  # nearly equal pictures in a row that are worth a word
DARK = 8.0  # [grey levels] 99 % of a black picture are below
BRIGHT = 250.0  # [grey levels] pixels that tell nothing any more
BRIGHT_SHARE = 0.5  # of the pixels
GRID = 96  # pixels a side that are compared and looked at
TOGETHER = 60  # pictures in a row where not all are looked at
SHOWN = 6  # small copies a stream
SIDE = 176  # longer side of a small copy [px]
STRIPS = 2


@dataclass(frozen=True)
class Thumbnail:
    """A small copy of a picture.

    Attributes:
        index: Of the sample.
        picture: uint8 (H, W, 3).
    """

    index: int
    picture: np.ndarray


@dataclass(frozen=True)
class Run:
    """Pictures in a row that are equal.

    Attributes:
        start: First of them.
        stop: One past the last.
        exact: Equal to the bit, not only nearly.
        pictures: To be shown: the one before the run, two of it, and the one after it, as far as there are any.
    """

    start: int
    stop: int
    exact: bool
    pictures: tuple[Thumbnail, ...] = ()


def chosen_runs(count: int, most: int) -> list[tuple[int, int]]:
    """Which pictures are looked at: all, or stretches of 60 in a row, evenly over the stream, as (start, stop).

    Args:
        count: Pictures of the stream.
        most: How many to look at; 0 for all.
    """
    if not count:
        return []
    if most <= 0 or count <= most:
        return [(0, count)]
    length = min(TOGETHER, most)
    pieces = max(most // length, 1)
    starts = np.unique(np.linspace(0, count - length, pieces).astype(int)).tolist()
    found: list[tuple[int, int]] = []
    for start in starts:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], start + length)
        else:
            found.append((start, start + length))
    return found


def thumbnail(picture: np.ndarray, kind: str, side: int = SIDE) -> np.ndarray:
    """A small copy in colours that can be seen, uint8 (h, w, 3).

    Depth is grey from near, light, to far; what returned nothing is black. Numbers of segmentation get colours.

    Args:
        picture: (H, W) or (H, W, 3).
        kind: image, depth or segmentation.
        side: Longer side of the copy [px].
    """
    step = max(-(-max(picture.shape[:2]) // side), 1)
    if kind == "image" and step > 1 and picture.dtype == np.uint8:
        high, wide = (length - length % step for length in picture.shape[:2])
        blocks = picture[:high, :wide].reshape(high // step, step, wide // step, step, -1)
        small = blocks.mean((1, 3)).astype(np.uint8)
        small = small[..., 0] if picture.ndim == 2 else small
    else:
        small = picture[::step, ::step]
    if kind == "segmentation":
        return (small[..., None].astype(np.uint64) * np.array([67, 151, 211], np.uint64) % 256).astype(np.uint8)
    if small.dtype != np.uint8 or kind == "depth":
        small = _grey(small.astype(np.float64), turned=kind == "depth")
    return np.repeat(small[..., None], 3, -1) if small.ndim == 2 else small[..., :3]


def _grey(values: np.ndarray, *, turned: bool) -> np.ndarray:
    known = np.isfinite(values) & (values > 0)
    low, high = np.quantile(values[known], (0.01, 0.99)) if known.any() else (0.0, 1.0)
    share = np.clip((np.where(known, values, low) - low) / max(float(high - low), 1e-9), 0, 1)
    return np.where(known, 40 + 215 * (1 - share if turned else share), 0).astype(np.uint8)


class Pictures:
    """Looks at the pictures of one stream, in order.

    Args:
        stream: Of kind image, depth or segmentation.
        count: Pictures that it has.
        show: Whether small copies are kept.
    """

    def __init__(self, stream: Stream, count: int, *, show: bool = False) -> None:
        self._stream, self._count, self._show = stream, count, show
        self._wanted = set(np.linspace(0, max(count - 1, 0), SHOWN).astype(int).tolist()) if show else set[int]()
        self.shown: list[Thumbnail] = []
        self.runs: list[Run] = []
        self.looked = self._flat = self._black = self._bright = self._frozen = 0
        self._first: dict[str, int] = {}
        self._middle: list[float] = []
        self._last: tuple[int, np.ndarray] | None = None
        self._before: tuple[int, np.ndarray] | None = None
        self._begun: tuple[int, np.ndarray] | None = None
        self._starts = {True: 0, False: 0}
        self._opening: list[Thumbnail] = []
        self._at = -1

    def add(self, index: int, picture: np.ndarray) -> None:
        """Look at picture `index`, which comes after those before; a leap ends what was in a row."""
        picture = np.ascontiguousarray(picture)
        if index != self._at + 1:
            self._end_runs(self._at + 1)
            self._last, self._starts = None, {True: index, False: index}
            self._before = self._begun = None
        seen = zlib.crc32(picture.data)
        grid = picture[:: max(picture.shape[0] // GRID, 1), :: max(picture.shape[1] // GRID, 1)]
        if self._wanted and index >= min(self._wanted):
            self._wanted = {each for each in self._wanted if each > index}
            self.shown.append(self._small(index, picture))
        if self._last is not None:
            equal = self._last[0] == seen
            near = equal or self._is_near(self._last[1], grid)
            for exact, holds in ((True, equal), (False, near)):
                if not holds:
                    long = exact and self._show and index - self._starts[True] >= FROZEN
                    self._end_run(exact, index, self._small(index, picture) if long else None)
        self._light(index, picture, grid)
        self._last, self._at = (seen, grid.copy()), index
        self.looked += 1
        if self._show:
            self._keep_for_strips(index, picture)

    def _keep_for_strips(self, index: int, picture: np.ndarray) -> None:
        """A copy of the first of a run and of the one before it; small ones only when the run turns out long."""
        if index == self._starts[True]:
            self._before, self._begun = self._begun, (index, picture.copy())
        elif index == self._starts[True] + FROZEN - 1 and self._begun is not None:
            raw = [each for each in (self._before, self._begun, (index, picture)) if each is not None]
            self._opening = [self._small(*each) for each in raw]

    def _small(self, index: int, picture: np.ndarray) -> Thumbnail:
        return Thumbnail(index, thumbnail(picture, self._stream.kind))

    def _is_near(self, before: np.ndarray, grid: np.ndarray) -> bool:
        if self._stream.kind != "image" or before.shape != grid.shape or grid.dtype != np.uint8:
            return False
        return float(np.abs(grid.astype(np.int16) - before).mean()) < NEAR

    def _light(self, index: int, picture: np.ndarray, grid: np.ndarray) -> None:
        if grid.size and grid.min() == grid.max() and picture.min() == picture.max():
            self._flat += 1
            self._first.setdefault("flat", index)
        elif self._stream.kind == "image" and grid.dtype == np.uint8 and grid.size:
            if np.quantile(grid, 0.99) < DARK:
                self._black += 1
                self._first.setdefault("black", index)
            elif ((grid.min(-1) if grid.ndim == 3 else grid) >= BRIGHT).mean() > BRIGHT_SHARE:
                self._bright += 1
                self._first.setdefault("bright", index)
        elif self._stream.kind == "depth" and grid.size:
            known = grid[np.isfinite(grid) & (grid > 0)]
            if len(known):
                self._middle.append(float(np.median(known)))

    def _end_run(self, exact: bool, stop: int, after: Thumbnail | None = None) -> None:
        start = self._starts[exact]
        self._starts[exact] = stop
        if stop - start < (FROZEN if exact else NEAR_RUN):
            return
        if not exact and any(run.exact and run.start < stop and start < run.stop for run in self.runs):
            return
        if exact:
            self._frozen += stop - start
        strips = sum(bool(run.pictures) for run in self.runs)
        shown = [*self._opening, *([after] if after else [])] if exact and strips < STRIPS else []
        self.runs.append(Run(start, stop, exact, tuple(shown)))

    def _end_runs(self, stop: int) -> None:
        for exact in (True, False):
            self._end_run(exact, stop)

    def frozen(self) -> list[Run]:
        """Runs of pictures that are equal to the bit, once all pictures were looked at."""
        self._end_runs(self._at + 1)
        return [run for run in self.runs if run.exact]

    def findings(self, *, still: bool | None = None) -> Iterator[Finding]:
        """What is wrong.

        Args:
            still: Whether nothing else moved while pictures were equal either; None where nobody can tell.
        """
        exact = self.frozen()
        name, of = self._stream.name, f"of {self.looked}"
        if self.looked < self._count:
            what = f"{self.looked} of {self._count} pictures were looked at, in stretches of {TOGETHER}"
            yield Finding(name, "note", "looked at", what)
        yield from self._standing(name, exact, still)
        if self._flat:
            severity = "grave" if self._flat == self.looked else "remark"
            what = f"{self._flat} {of} pictures are of one value, the first is {self._first['flat']}"
            yield Finding(name, severity, "black", what)
        if self._black:
            what = f"{self._black} {of} pictures are black, 99 % below {DARK:g} of 255; the first is"
            yield Finding(name, "remark", "black", f"{what} {self._first['black']}")
        if self._bright:
            what = f"{self._bright} {of} pictures are overexposed, half of the pixels at {BRIGHT:g} of 255 or above"
            yield Finding(name, "remark", "black", f"{what}; the first is {self._first['bright']}")
        yield from self._far(name)

    def _standing(self, name: str, exact: list[Run], still: bool | None) -> Iterator[Finding]:
        if exact and self._flat < self.looked:  # that all are of one value says more
            longest = max(exact, key=lambda run: run.stop - run.start)
            what = (
                f"frozen: up to {longest.stop - longest.start} equal pictures in a row, from number {longest.start}; "
                f"{self._frozen} of {self.looked} in such runs"
            )
            if still:
                what += "; nothing else moves in that time, so it may be a simulated scene at rest"
            meant = still or self._stream.kind == "segmentation"
            yield Finding(name, "remark" if meant else "grave", "frozen", what)
        near = [run for run in self.runs if not run.exact]
        if near:
            longest = max(near, key=lambda run: run.stop - run.start)
            what = (
                f"perhaps frozen: up to {longest.stop - longest.start} pictures in a row, from number {longest.start}, "
                f"differ by less than {NEAR:g} of 255 on the mean from the one before"
            )
            yield Finding(name, "remark", "frozen", what)

    def _far(self, name: str) -> Iterator[Finding]:
        if not self._middle:
            return
        middle, unit = float(np.median(self._middle)), self._stream.unit
        guess = {"m": "mm" if middle > 100 else "", "mm": "m" if middle < 20 else ""}.get(unit, "")
        if guess:
            what = f"half of the depths lie beyond {middle:.4g} {unit}: perhaps they are in {guess}"
            yield Finding(name, "remark", "unit", what)
