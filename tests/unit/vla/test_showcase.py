"""Which episodes are filmed and how often they are drawn; films that any browser plays; nothing to film."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from foreact.episodes.film import FilmError, read_film, write_film
from foreact.vla.reenactment import frame_steps
from foreact.vla.showcase import FRAMES, ShowcaseError, film, frame_interval, load_films, select_episodes


def row(task: str, index: int, success: bool) -> dict[str, Any]:
    return {"task": task, "index": index, "success": success}


def test_the_first_of_each_kind_is_chosen_whatever_the_order() -> None:
    rows = [row("b", 3, True), row("b", 1, False), row("b", 0, False), row("b", 2, True), row("a", 7, True)]
    expected = [("b", 2, True), ("b", 0, False), ("a", 7, True)]
    assert [tuple(chosen.values()) for chosen in select_episodes(rows, 1)] == expected
    assert [chosen["index"] for chosen in select_episodes(rows, 2)] == [2, 3, 0, 1, 7]
    assert select_episodes(rows, 0) == []


@pytest.mark.parametrize(("steps", "every"), [(1, 5), (120, 5), (121, 10), (240, 10), (241, 20), (500, 20), (5000, 20)])
def test_the_frame_interval_keeps_a_film_short(steps: int, every: int) -> None:
    assert frame_interval(steps) == every


def test_an_episode_of_full_length_has_few_frames() -> None:
    assert len(frame_steps(500, frame_interval(500))) <= FRAMES + 2


@pytest.mark.parametrize(("steps", "every", "drawn"), [(8, 4, [0, 4, 8]), (9, 4, [0, 4, 8, 9]), (1, 4, [0, 1])])
def test_the_start_and_the_end_are_drawn(steps: int, every: int, drawn: list[int]) -> None:
    assert frame_steps(steps, every).tolist() == drawn


def moving_square(frames: int = 7) -> np.ndarray:
    pictures = np.full((frames, 48, 64, 3), 40, np.uint8)
    for number in range(frames):
        pictures[number, 8:40, 6 * number : 6 * number + 20] = (200, 60, 20)
    return pictures


def test_a_film_plays_in_browsers_and_shows_what_was_written(tmp_path: Path) -> None:
    path, frames = tmp_path / "videos" / "a.mp4", moving_square()
    write_film(path, frames, Fraction(20))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.average_rate, stream.frames) == (20, 7)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "the index stands in front: it plays while it loads"
    shown = read_film(path)
    assert shown.shape == frames.shape
    assert np.abs(shown.astype(int) - frames).mean() < 12
    assert [entry.name for entry in path.parent.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    "frames", [np.zeros((0, 8, 8, 3), np.uint8), np.zeros((2, 7, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.float32)]
)
def test_frames_that_make_no_film_are_refused(frames: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(FilmError):
        write_film(tmp_path / "a.mp4", frames, Fraction(20))
    assert not list(tmp_path.iterdir())


def test_a_damaged_film_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"not a film")
    with pytest.raises(FilmError, match=r"a\.mp4"):
        read_film(path)


def test_a_folder_without_episodes_has_nothing_to_film(tmp_path: Path) -> None:
    with pytest.raises(ShowcaseError, match="foreact eval out="):
        film(tmp_path / "nowhere", 1)
    assert load_films(tmp_path) == ()
    assert not list(tmp_path.iterdir())
