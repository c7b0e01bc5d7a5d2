"""Films and one Rerun recording of some successes and failures of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.episodes.film import read_film, write_film
from foreact.episodes.outcome import ProgressFn, quiet
from foreact.episodes.runfolder import write_json_atomic
from foreact.sim.metaworld import CONTROL_RATE_HZ, default_cameras, policy_contract
from foreact.vla.evaluate import load_results
from foreact.vla.recording import RecordedEpisode, write_recording
from foreact.vla.reenactment import Reenactment, frame_steps, reenact

if TYPE_CHECKING:
    from foreact.sim.pictures import WorldPictures

__all__ = ["Film", "ShowcaseError", "film", "frame_interval", "load_films", "select_episodes"]

SIDE = 200  # [px] of the films: drawing costs about 27 CPU-ms per frame, so all films of a demo stay near 10 CPU-s
INTERVALS = (5, 10, 20)  # control steps between frames: 16, 8 or 4 frames/s, the finest that keeps a film short
FRAMES = 24  # about the most frames drawn for one film
LAUNCH = 4  # frames drawn together
HOLD_S = 0.8  # the last frame stands, so that one sees how it ended [s]


class ShowcaseError(ValueError):
    """There is nothing to film."""


@dataclass(frozen=True)
class Film:
    """One film of an evaluation folder.

    Attributes:
        file: Name under `videos/`.
        task: Task name.
        index: Number of the episode within its task.
        seed: Layout seed.
        instruction: What the policy was told.
        success: How it ended.
        steps: Control steps.
        frames: Frames of the film, the held last one counted each time.
        rate_hz: Frames per second, in real time.
    """

    file: str
    task: str
    index: int
    seed: int
    instruction: str
    success: bool
    steps: int
    frames: int
    rate_hz: float


def film(out: Path, count: int, progress: ProgressFn = quiet) -> tuple[Film, ...]:
    """Film the first `count` successes and failures of every task of a finished evaluation.

    Writes `videos/TASK-INDEX-success.mp4` (or `-failure`), `videos/films.json` and `episodes.rrd`. What exists is kept.

    Args:
        out: Folder of the evaluation.
        count: Episodes of each kind per task.
        progress: Told of each film.

    Raises:
        ShowcaseError: The folder holds no finished episode.
        ReenactmentError: A recorded episode cannot be reproduced.
    """
    chosen = select_episodes(load_results(out), count)
    if not chosen:
        raise ShowcaseError(f"{out} holds no finished episode to film; run: foreact eval out={out} ...")
    films = tuple(_describe(episode) for episode in chosen)
    if load_films(out) == films and all((out / "videos" / made.file).exists() for made in films):
        return films
    _Studio(out, progress).make(films, chosen)
    write_json_atomic(_index(out), films)
    return films


def load_films(out: Path) -> tuple[Film, ...]:
    """The films of an evaluation folder; none if it was not filmed."""
    try:
        rows = json.loads(_index(out).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    return tuple(Film(**row) for row in rows)


def select_episodes(rows: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """The first `count` successes, then the first `count` failures, of each task in order.

    Args:
        rows: Episodes by task and index, see `foreact.vla.evaluate.load_results`.
        count: Episodes of each kind per task.
    """
    chosen = []
    for task in dict.fromkeys(row["task"] for row in rows):
        for success in (True, False):
            kind = [row for row in rows if row["task"] == task and row["success"] == success]
            chosen += sorted(kind, key=lambda row: row["index"])[:count]
    return chosen


def frame_interval(steps: int) -> int:
    """Control steps between the frames of an episode of so many steps."""
    return next((every for every in INTERVALS if steps <= every * FRAMES), INTERVALS[-1])


def _index(out: Path) -> Path:
    return out / "videos" / "films.json"


def _describe(episode: Mapping[str, Any]) -> Film:
    kind = "success" if episode["success"] else "failure"
    every = frame_interval(episode["steps"])
    frames = len(frame_steps(episode["steps"], every)) + _held(every)
    same = {name: episode[name] for name in ("task", "index", "seed", "instruction", "success", "steps")}
    file = f"{episode['task']}-{episode['index']:05d}-{kind}.mp4"
    return Film(file=file, frames=frames, rate_hz=CONTROL_RATE_HZ / every, **same)


def _held(every: int) -> int:
    return round(HOLD_S * CONTROL_RATE_HZ / every)


class _Studio:
    """Plays episodes again, draws them, and writes films and the recording."""

    def __init__(self, out: Path, progress: ProgressFn) -> None:
        self._out, self._progress = out, progress
        self._camera = default_cameras(front=SIDE)[0]
        self._pictures: tuple[str, WorldPictures] | None = None

    def make(self, films: Sequence[Film], episodes: Sequence[Mapping[str, Any]]) -> None:
        recorded = []
        for done, (made, episode) in enumerate(zip(films, episodes, strict=True)):
            self._progress(done, len(films), "film episodes")
            played = reenact(episode, frame_interval(made.steps))
            recorded.append(_recorded(made, played, self._frames(made, played)))
        write_recording(self._out / "episodes.rrd", _identity(films), recorded)
        self._progress(len(films), len(films), "film episodes")

    def _frames(self, made: Film, played: Reenactment) -> np.ndarray:
        """Pictures without the held ones: those of the film if it exists, drawn now if not."""
        path = self._out / "videos" / made.file
        if path.exists():
            return read_film(path)[: len(played.steps)]
        drawn = self._draw(played)
        held = np.repeat(drawn[-1:], made.frames - len(drawn), axis=0)
        write_film(path, np.concatenate([drawn, held]), Fraction(made.rate_hz))
        return drawn

    def _draw(self, played: Reenactment) -> np.ndarray:
        from foreact.sim.pictures import WorldPictures

        name, model = played.worlds.name, played.worlds.shown_model
        if self._pictures is None or self._pictures[0] != name:
            self._pictures = (name, WorldPictures(model, (self._camera,), LAUNCH, segmentation=False, launch=LAUNCH))
        return self._pictures[1].draw_states(played.poses)[f"camera.{self._camera.name}.rgb"]


def _recorded(made: Film, played: Reenactment, images: np.ndarray) -> RecordedEpisode:
    kind = "success" if made.success else "failure"
    contract = policy_contract()
    seconds = np.arange(made.steps + 1) / CONTROL_RATE_HZ
    text = (
        f"**{made.task}**, layout {made.seed}\n\nInstruction: *{made.instruction}*\n\n"
        f"Outcome: **{kind}** after {made.steps} control steps ({seconds[-1]:.2f} s)"
    )
    vectors = {
        "action": (contract.action, seconds[:-1], played.actions),
        "state": (contract.state, seconds, played.states),
    }
    name = f"{made.task}/{kind}-{made.index:05d}"
    return RecordedEpisode(name, f"{kind} {made.index}", text, images, played.steps / CONTROL_RATE_HZ, vectors)


def _identity(films: Sequence[Film]) -> str:
    import hashlib

    return hashlib.sha256(json.dumps([asdict(made) for made in films], sort_keys=True).encode()).hexdigest()[:32]
