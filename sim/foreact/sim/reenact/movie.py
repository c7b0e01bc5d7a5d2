"""A film and a sheet of a re-enacted recording: what the camera saw, the simulation, and the recorded poses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foreact.episodes.film import write_film
from foreact.episodes.outcome import ProgressFn
from foreact.episodes.sources import Source
from foreact.episodes.timeline import Timeline
from foreact.sim.reenact.drive import Take
from foreact.sim.reenact.picture import HEIGHT, LAUNCH, WIDTH, Painter, View, beside, fitted_to
from foreact.sim.reenact.stage import Stage

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Footage", "write_movie", "write_sheet"]

FILM_HZ = 15.0  # frames a second at most
HEAD = 24  # [px] above a frame
COLUMNS = 6  # times on a sheet
EDGE = 104  # [px] left of a sheet, where its rows are named
SHOWN = 192  # [px] width of a panel on a sheet
INK, PAPER = (20, 20, 20), (255, 255, 255)


@dataclass(frozen=True)
class Footage:
    """What is shown of one recording.

    Attributes:
        stage: What on.
        source: The recording, for the pictures of its camera.
        take: What was re-enacted.
        camera: Stream of the camera; empty for none.
        offset: Added to its stamps, in counts of its clock.
        view: From where the simulation is looked at.
    """

    stage: Stage
    source: Source
    take: Take
    camera: str
    offset: int
    view: View

    @property
    def titles(self) -> tuple[str, ...]:
        """What the panels are, from left to right."""
        seen = (f"recorded: {self.camera}",) if self.camera else ()
        posed = (f"{self.stage.name} posed as recorded",) if np.isfinite(self.take.posed).any() else ()
        return (*seen, f"simulated: {self.stage.name}", *posed)

    def frames(self, steps: np.ndarray, scale: int = 1) -> Iterator[tuple[int, list[np.ndarray]]]:
        """Panels of some steps, one step after the other, each uint8 (HEIGHT, WIDTH, 3).

        Args:
            steps: Numbers of actions, ascending.
            scale: See `Painter`.
        """
        painter, posed = Painter(self.stage, self.take, self.view, scale), np.isfinite(self.take.posed).any()
        seen = self._seen(steps)
        for start in range(0, len(steps), LAUNCH):
            rows = steps[start : start + LAUNCH]
            drawn = [painter.draw(self.take.qpos[rows])] + ([painter.draw(self.take.posed[rows])] if posed else [])
            for place, step in enumerate(rows.tolist()):
                yield step, [*next(seen), *(images[place] for images in drawn)]

    def _seen(self, steps: np.ndarray) -> Iterator[list[np.ndarray]]:
        if not self.camera:
            yield from ([] for _ in steps)
            return
        timeline = Timeline.of(
            {self.source.key: self.source}, streams=[self.camera], offsets_ns={self.camera: self.offset}
        )
        for step in timeline.steps(self.take.times_ns[steps]):
            picked = step.samples.get(self.camera)
            missing = np.full((HEIGHT, WIDTH, 3), 235, np.uint8)
            yield [missing if picked is None else fitted_to(np.asarray(picked.value))]


def write_movie(path: Path, footage: Footage, progress: ProgressFn) -> int:
    """Write a film in the time of the recording, atomically.

    Args:
        path: Ends in .mp4.
        footage: What is shown.
        progress: Told of frames.

    Returns:
        Frames of the film.
    """
    take = footage.take
    rate = 1 / take.period_s
    stride = max(1, round(rate / FILM_HZ))
    steps = np.arange(0, len(take.times_ns), stride)
    title = f"draw {take.key}"

    def frames() -> Iterator[np.ndarray]:
        for done, (step, panels) in enumerate(footage.frames(steps)):
            progress(done, len(steps), title)
            yield np.concatenate([_head(footage, _seconds(take, step)), beside(panels)])

    write_film(path, frames(), Fraction(rate / stride).limit_denominator(1001))
    progress(len(steps), len(steps), title)
    return len(steps)


def write_sheet(path: Path, footages: Sequence[Footage]) -> None:
    """Write a PNG with a column for each of six times and a row for each panel, for each recording, atomically.

    Args:
        path: Ends in .png.
        footages: At least one.
    """
    from PIL import Image

    sheets = [_sheet(each) for each in footages]
    width, height = max(each.width for each in sheets), sum(each.height for each in sheets)
    whole, top = Image.new("RGB", (width, height), PAPER), 0
    for each in sheets:
        whole.paste(each, (0, top))
        top += each.height
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    whole.quantize(128).save(temporary, format="PNG", optimize=True)
    os.replace(temporary, path)


def _sheet(footage: Footage) -> Image:
    from PIL import Image, ImageDraw

    take, tall = footage.take, SHOWN * HEIGHT // WIDTH
    steps = np.unique(np.linspace(0, len(take.times_ns) - 1, COLUMNS).astype(int))
    titles = footage.titles
    sheet = Image.new("RGB", (EDGE + COLUMNS * SHOWN, 18 + len(titles) * tall), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, title in enumerate(titles):
        draw.text((4, 18 + row * tall + 4), title.replace(" ", "\n"), INK)
    for column, (step, panels) in enumerate(footage.frames(steps, scale=2)):
        left = EDGE + column * SHOWN
        draw.text((left + 4, 3), f"{take.key}  {_seconds(take, step):.2f} s", INK)
        for row, panel in enumerate(panels):
            sheet.paste(Image.fromarray(panel).resize((SHOWN, tall), Image.Resampling.BOX), (left, 18 + row * tall))
    return sheet


def _seconds(take: Take, step: int) -> float:
    return float(take.times_ns[step] - take.times_ns[0]) * take.tick_s


def _head(footage: Footage, seconds: float) -> np.ndarray:
    """A line of text above a frame, uint8 (HEAD, W, 3)."""
    from PIL import Image, ImageDraw

    titles = footage.titles
    head = Image.new("RGB", (len(titles) * WIDTH, HEAD), PAPER)
    draw = ImageDraw.Draw(head)
    for place, title in enumerate(titles):
        told = f"{title}   {seconds:.2f} s" if not place else title
        draw.text((place * WIDTH + 6, 6), told, INK)
    return np.asarray(head)
