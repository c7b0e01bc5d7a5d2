"""Speech by espeak-ng: recorded, resumed, and aligned with what is heard."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.sound_clips import SoundError, SoundSet
from foreact.perception.audio.acoustics import Acoustics
from foreact.perception.audio.espeak import variants
from foreact.perception.audio.synthesis import RecordSpeechConfig, record_speech

SENTENCES = ("Open the drawer.", "put the block on top of the shelf", "press the button")
CLEAN = Acoustics(snr=(60.0, 60.0), reverberation=(0.0, 0.0))


def config(out: Path) -> RecordSpeechConfig:
    return RecordSpeechConfig(out, SENTENCES, clips=40, seed=1000, acoustics=CLEAN)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "set"
    record_speech(config(path))
    return path


def test_a_set_is_the_same_whatever_the_workers_and_after_a_stop(recorded: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, total: int, text: str) -> None:
        raise Stopped

    wanted = replace(config(tmp_path / "set"), workers=2)
    with pytest.raises(Stopped):
        record_speech(wanted, stop)
    with pytest.raises(SoundError, match="1 of 2 blocks"):
        SoundSet.open(tmp_path / "set")
    record_speech(wanted)
    whole, resumed = SoundSet.open(recorded), SoundSet.open(tmp_path / "set")
    for index in range(len(whole)):
        assert np.array_equal(whole[index].audio, resumed[index].audio)
        assert np.array_equal(whole[index].times, resumed[index].times)
    with pytest.raises(SoundError, match="its about differ"):
        record_speech(replace(wanted, seed=1001))


def test_words_are_heard_where_the_set_says(recorded: Path) -> None:
    data = SoundSet.open(recorded)
    assert data.header.labels == (
        "block",
        "button",
        "drawer",
        "of",
        "on",
        "open",
        "press",
        "put",
        "shelf",
        "the",
        "top",
    )
    assert set(data.header.sources) < set(variants())
    for index in range(len(data)):
        clip = data[index]
        words = [data.header.labels[label] for label in clip.labels]
        assert words == data.header.texts[clip.text].lower().strip(".").split()
        assert (np.diff(clip.times) > 0).all()
        before, after = clip.audio[: clip.times[0] - 160], clip.audio[clip.times[0] :]
        assert np.abs(before).max() < 0.05 * np.abs(after).max()
        first = clip.audio[clip.times[0] : clip.times[1]]
        assert np.square(first).mean() > 30 * np.square(before).mean()
    voices = {data[index].source for index in range(len(data))}
    assert len(voices) > 20 and len({len(data[index].audio) for index in range(0, 40, 3)}) > 10


def test_held_out_voices_are_others(recorded: Path) -> None:
    held = replace(config(recorded), split="eval").header
    assert not set(held.sources) & set(SoundSet.open(recorded).header.sources) and len(held.sources) > 15


def test_a_machine_without_espeak_is_told_what_to_type() -> None:
    code = """
import sys
sys.modules["espeakng_loader"] = None
from pathlib import Path
from foreact.perception.audio.synthesis import RecordSpeechConfig, record_speech
record_speech(RecordSpeechConfig(Path("never-made"), ("open the door",)))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "uv pip install 'foreact[senses]'" in done.stderr
    assert not Path("never-made").exists()


def test_what_cannot_be_said_is_refused(tmp_path: Path) -> None:
    for change, message in (
        ({"sentences": ()}, "at least one"), ({"sentences": ("?!",)}, "with words"), ({"clips": 0}, "clips=0"),
        ({"accents": ("klingon",)}, "choose from en-us"), ({"rates": (300, 200)}, "rates"),
        ({"split": "test"}, "split"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            replace(config(tmp_path / "set"), **change)
