from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.sound_clips import SOUND_BLOCK, SoundClip, SoundError, SoundHeader, SoundSet, SoundWriter

CLIPS = SOUND_BLOCK + 3
HEADER = SoundHeader(CLIPS, 16_000, ("wood", "steel"), ("drop it",), ("a", "b"), {"seed": 1000, "snr": [5.0, 30.0]})


def clip(number: int, events: int = 2) -> SoundClip:
    random = np.random.default_rng(number)
    times = np.sort(random.integers(0, 50, events))
    audio = random.uniform(-1, 1, 50 + number).astype(np.float32)
    strengths = random.uniform(0, 1, events).astype(np.float32)
    return SoundClip(audio, times, random.integers(0, 2, events), strengths, number % 2 - 1, number % 2)


def written(path: Path) -> SoundSet:
    writer = SoundWriter(path, HEADER)
    writer.write([clip(each, each % 3) for each in range(SOUND_BLOCK)])
    writer = SoundWriter(path, HEADER)  # as after a kill
    assert writer.done == 1
    writer.write([clip(each, each % 3) for each in range(SOUND_BLOCK, CLIPS)])
    return SoundSet.open(path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found = written(tmp_path / "set")
    assert len(found) == CLIPS and found.header == HEADER
    assert found.totals() == (sum(50 + each for each in range(CLIPS)), sum(each % 3 for each in range(CLIPS)))
    for number in (0, 1, 31, 32, 34):
        mine, wanted = found[number], clip(number, number % 3)
        assert mine.audio.dtype == np.float32 and np.abs(mine.audio - wanted.audio).max() < 1e-4
        assert np.array_equal(mine.times, wanted.times) and np.array_equal(mine.labels, wanted.labels)
        assert np.array_equal(mine.strengths, wanted.strengths)
        assert (mine.text, mine.source) == (wanted.text, wanted.source)
    with pytest.raises(IndexError):
        found[CLIPS]


def test_unfinished_foreign_and_damaged_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SoundError, match="not a set of sounds"):
        SoundSet.open(tmp_path)
    writer = SoundWriter(tmp_path / "set", HEADER)
    with pytest.raises(SoundError, match="0 of 2 blocks"):
        SoundSet.open(tmp_path / "set")
    with pytest.raises(SoundError, match="its about differ"):
        SoundWriter(tmp_path / "set", replace(HEADER, about={"seed": 0}))
    with pytest.raises(SoundError, match="5 clips, 35 are left"):
        writer.write([clip(each) for each in range(5)])
    written(tmp_path / "set")
    block = tmp_path / "set" / "block-00001.npz"
    block.write_bytes(block.read_bytes()[:-40])
    with pytest.raises(SoundError, match="damaged"):
        SoundSet.open(tmp_path / "set")[CLIPS - 1]
    block.unlink()
    with pytest.raises(SoundError, match="1 of 2 blocks"):
        SoundSet.open(tmp_path / "set")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": np.zeros(50)}, "float64"),
        ({"audio": np.zeros(0, np.float32)}, "S > 0"),
        ({"audio": np.full(50, np.nan, np.float32)}, "NaN"),
        ({"audio": np.full(50, 2.0, np.float32)}, "outside -1 to 1"),
        ({"times": np.array([9, 3])}, "ascend"),
        ({"times": np.array([3, 50])}, "within their clip"),
        ({"times": np.array([3])}, "1 times"),
        ({"labels": np.array([0, 2])}, "below 2"),
        ({"text": 1}, "text 1"),
        ({"source": 2}, "source 2"),
    ],
)
def test_what_is_no_clip_is_not_written(tmp_path: Path, change: dict[str, object], message: str) -> None:
    writer = SoundWriter(tmp_path / "set", replace(HEADER, clips=1))
    with pytest.raises(SoundError, match=message):
        writer.write([replace(clip(0), **change)])
    assert writer.done == 0 and not list((tmp_path / "set").glob("*.npz"))
