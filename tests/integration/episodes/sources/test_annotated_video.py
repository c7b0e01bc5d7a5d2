"""Layouts of annotated data sets, as their own descriptions give them, around a few frames of a real video."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes.sources.annotated_video import open_collection
from foreact.episodes.sources.annotations import seconds_to_ns
from foreact.episodes.sources.detect import FORMATS
from foreact.episodes.sources.protocol import SourceError, Value

av = pytest.importorskip("av")
EPIC = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)


@pytest.fixture(scope="module")
def clip(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Twelve real frames, written anew and small."""
    file = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(shared_data / "gopro_gpmf/max-heromode.mp4")) as source, av.open(str(file), "w") as target:
        stream: Any = target.add_stream("libx264", rate=30, options={"g": "6"})
        stream.width, stream.height, stream.pix_fmt = 212, 120, "yuv420p"
        for number, frame in zip(range(12), source.decode(video=0), strict=False):
            small = frame.reformat(212, 120, "yuv420p")
            small.pts, small.time_base = number, Fraction(1, 30)
            target.mux(stream.encode(small))
        target.mux(stream.encode())
    return file.read_bytes()


def told(value: Value) -> dict[str, Any]:
    assert isinstance(value, str)
    return json.loads(value)


def put(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def detected(path: Path) -> str:
    return next(each.module for each in FORMATS if each.matches(path))


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("00:00:03.37", 3_370_000_000),
        ("01:02:03.004", 3_723_004_000_000),
        ("63.1", 63_100_000_000),
        (0.1, 100_000_000),
        (7, 7_000_000_000),
    ],
)
def test_times_are_exact(text: object, ns: int) -> None:
    assert seconds_to_ns(text) == ns


@pytest.mark.parametrize("text", ["", "x", "1:2:3:4", "nan", "inf", "-1", "1e300", True, None, "end", "9" * 40])
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        seconds_to_ns(text)


def test_epic_kitchens(clip: bytes, tmp_path: Path) -> None:
    rows = [
        "P01_01_0,P01,P01_01,00:00:01.089,00:00:00.14,00:00:03.37,8,202,open door,open,3,door,3,\"['door']\",[3]",
        "P01_01_1,P01,P01_01,00:00:02.629,00:00:04.37,00:00:06.17,262,370,turn on light,turn-on,6,light,9,['x'],[9]",
        "P01_01_2,P01,P01_01,00:00:05.349,when,00:00:06.17,1,2,no time,x,0,y,0,[],[]",
        "P02_03_0,P02,P02_03,00:00:00.5,00:00:00.1,00:00:00.9,1,2,close door,close,4,door,3,['door'],[3]",
    ]
    put(tmp_path / "EPIC_100_train.csv", EPIC + "\n".join(rows) + "\n")
    put(tmp_path / "EPIC_100_verb_classes.csv", "id,key,instances,category\n0,take,[],x\n")
    put(
        tmp_path / "EPIC_100_test_timestamps.csv",
        "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame\n"
        "P09_01_0,P09,P09_01,00:00:02.851,00:00:02.86,00:00:03.87,143,193\n",
    )
    put(tmp_path / "P01/videos/P01_01.MP4", clip)
    put(tmp_path / "P01/videos/P01_77.MP4", clip)
    assert detected(tmp_path) == "annotated_video"
    collection = open_collection(tmp_path)
    assert (collection.format, collection.keys()) == ("epic-kitchens-100", ("P01_01", "P01_77"))
    assert collection.notes[0].startswith("EPIC_100_train.csv: 1 of 4 rows are left out, first line 4")
    assert collection.notes[1] == "2 annotated videos do not lie here"
    with collection.open("P01_01") as source:
        assert list(source.streams) == ["camera.rgb", "narration", "segments"]
        assert (source.streams["narration"].kind, source.streams["segments"].kind) == ("text", "event")
        assert source.stamps("narration").tolist() == [1_089_000_000, 2_629_000_000]
        assert source.read_range("narration", 0, 2) == ["open door", "turn on light"]
        assert source.stamps("segments").tolist() == [140_000_000, 4_370_000_000]
        segment = told(source.read("segments", 0))
        assert (segment["start_ns"], segment["stop_ns"], segment["verb"]) == (140_000_000, 3_370_000_000, "open")
        assert segment["all_nouns"] == "['door']"
        assert np.shape(source.read("camera.rgb", 11)) == (120, 212, 3)
    with collection.open("P01_77") as source:
        assert source.notes[-1] == "nobody annotated this video"


def test_ego4d(clip: bytes, tmp_path: Path) -> None:
    manifest = {
        "version": "v2",
        "videos": [{"video_uid": "a-1", "scenarios": ["Cooking"], "duration_sec": 0.4}, {"video_uid": "b-2"}],
    }
    narrations = [
        {"timestamp_sec": 0.1, "timestamp_frame": 3, "narration_text": "#C C opens a door", "_annotation_uid": "x"},
        {"timestamp_sec": None, "narration_text": "no time"},
    ]
    summaries = [{"start_sec": 0.0, "end_sec": 0.3, "summary_text": "#C C cooks", "_annotation_uid": "y"}]
    said = {"a-1": {"status": "complete", "narration_pass_1": {"narrations": narrations, "summaries": summaries}}}
    put(tmp_path / "ego4d.json", json.dumps(manifest))
    put(tmp_path / "full_scale/a-1.mp4", clip)
    for content in (said, {"videos": said}):
        put(tmp_path / "annotations/narration.json", json.dumps(content))
        assert detected(tmp_path) == "annotated_video"
        collection = open_collection(tmp_path)
        assert (collection.format, collection.keys()) == ("ego4d", ("a-1",))
        assert "1 of 2 rows are left out" in collection.notes[0]
        with collection.open("a-1") as source:
            assert list(source.streams) == ["camera.rgb", "narration.pass_1", "summaries.pass_1"]
            assert source.metadata["scenarios"] == ["Cooking"]
            assert source.stamps("narration.pass_1").tolist() == [100_000_000]
            assert source.read("narration.pass_1", 0) == "#C C opens a door"
            assert told(source.read("summaries.pass_1", 0)) == {
                "start_ns": 0,
                "stop_ns": 300_000_000,
                "summary": "#C C cooks",
            }
    (tmp_path / "annotations/narration.json").unlink()
    assert "no narrations" in open_collection(tmp_path).notes[0]


def test_hd_epic(clip: bytes, tmp_path: Path) -> None:
    video = "P01-20240202-110250"
    put(tmp_path / f"Videos/P01/{video}_mp4_to_vrs_time.mp4", clip)
    put(
        tmp_path / "high-level/activities/P01_recipe_timestamps.csv",
        "video_id,recipe_id,high_level_activity_label,start_time,end_time\n"
        f"{video},R01,Prepare Coffee,0.0,48.0\n{video},,Clean and clear,319.0,end\n",
    )
    put(
        tmp_path / "audio-annotations/HD-EPIC-Sounds.csv",
        "participant_id,video_id,start_timestamp,stop_timestamp,start_sample,stop_sample,class,class_id\n"
        f"P01,{video},00:00:00.476,00:00:02.520,22848,120960,rustle,4\n",
    )
    put(tmp_path / "narrations-and-action-segments/HD_EPIC_Narrations.pkl", b"cos\nsystem\n(S'false'\ntR.")
    assert detected(tmp_path) == "annotated_video"
    collection = open_collection(tmp_path)
    assert (collection.format, collection.keys()) == ("hd-epic", (video,))
    assert "HD_EPIC_Narrations.pkl is left out" in collection.notes[0]
    with collection.open(video) as source:
        assert list(source.streams) == ["camera.rgb", "activities", "sounds"]
        assert told(source.read("activities", 1)) == {
            "start_ns": 319_000_000_000,
            "stop_ns": None,
            "activity": "Clean and clear",
            "recipe": "",
        }
        assert told(source.read("sounds", 0))["class"] == "rustle"
        assert source.stamps("sounds").tolist() == [476_000_000]
    put(
        tmp_path / "narrations-and-action-segments/HD_EPIC_Narrations.csv",
        ",unique_narration_id,participant_id,video_id,narration,start_timestamp,end_timestamp,verbs,narration_timestamp\n"
        f"0,{video}-1,P01,{video},Open the upper cupboard.,7.44,8.75,['open'],8.0\n",
    )
    with open_collection(tmp_path).open(video) as source:
        assert source.stamps("narration").tolist() == [8_000_000_000]
        assert told(source.read("segments", 0))["stop_ns"] == 8_750_000_000


def test_damaged_tables_are_refused(clip: bytes, tmp_path: Path) -> None:
    put(tmp_path / "a.mp4", clip)
    table = tmp_path / "EPIC_100_train.csv"
    for content, message in {
        b"": "has no columns",
        b"video_id,x\n1,2\n": "has no columns start_timestamp, stop_timestamp",
        b"\xff\xfe\x00": "EPIC_100_train.csv",
        EPIC.encode(): "hold no segments",
    }.items():
        table.write_bytes(content)
        with pytest.raises(SourceError, match=message):
            open_collection(tmp_path)
    for text in ("{", "[]", '{"videos": 3}', "[" * 100_000):
        put(tmp_path / "ego4d.json", text)
        with pytest.raises(SourceError, match=r"ego4d\.json"):
            open_collection(tmp_path)
    put(tmp_path / "ego4d.json", '{"videos": [{"video_uid": "x"}]}')
    (tmp_path / "a.mp4").unlink()
    with pytest.raises(SourceError, match="no video"):
        open_collection(tmp_path)


LAYOUTS = {
    "epic": (
        "EPIC_100_train.csv",
        EPIC + "".join(
            f"P01_01_{n},P01,a,00:00:0{n}.089,00:00:0{n}.14,00:00:0{n}.37,8,9,\"open, on\",open,3,door,3,\"[]\",[3]\n"
            for n in range(8)
        ),
    ),
    "ego4d": (
        "annotations/narration.json",
        json.dumps(
            {"a": {"narration_pass_1": {"narrations": [
                {"timestamp_sec": n / 10, "narration_text": f"#C C opens {n}", "_annotation_uid": str(n)}
                for n in range(8)
            ]}}}
        ),
    ),
    "hd-epic": (
        "narrations-and-action-segments/HD_EPIC_Narrations.csv",
        "unique_narration_id,participant_id,video_id,narration,start_timestamp,end_timestamp,verbs,narration_timestamp\n"
        + "".join(f"{n},P01,P01-20240202-110250,Open it.,{n}.44,{n}.75,['open'],{n}.5\n" for n in range(8)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_damage_to_annotations_is_an_error_or_told(
    layout: str, clip: bytes, tmp_path: Path, damage: Callable[[bytes, int], bytes]
) -> None:
    name, text = LAYOUTS[layout]
    video = "P01-20240202-110250" if layout == "hd-epic" else "a"
    put(tmp_path / f"Videos/P01/{video}.mp4", clip)
    put(tmp_path / name, text)
    if layout == "ego4d":
        put(tmp_path / "ego4d.json", '{"version": "v2", "videos": [{"video_uid": "a"}]}')
    whole, outcomes = text.encode(), set[str]()
    for seed in range(500):
        (tmp_path / name).write_bytes(damage(whole, seed))
        try:
            with open_collection(tmp_path).open(video) as source:
                rows = {name: source.read_range(name, 0, len(source.stamps(name))) for name in list(source.streams)[1:]}
        except SourceError:
            outcomes.add("error")
        else:
            assert all(len(each) <= 8 for each in rows.values())  # nothing is made up
            outcomes.add("read" if rows else "nobody annotated")
    assert outcomes >= {"error", "read"}
