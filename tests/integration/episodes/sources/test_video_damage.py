"""Damaged videos, telemetry and LeRobot datasets: an error or what can be saved, never a crash, a hang or other times.

Libraries written in C read these files, so they are opened in a process of their own: a crash there is a failure here.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")
pytest.importorskip("pyarrow")

# Opens what a folder holds, one after the other, and prints a line for each.
CODE = """
import json, resource, sys, time
from pathlib import Path
from foreact.episodes.sources import SourceError
from foreact.episodes.sources.{module} import open_collection

resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))  # what asks for more than that is a failure
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(path.name, end=" ", flush=True)
    begin, count, notes, stamps = time.process_time(), 0, 0, []
    try:
        collection = open_collection(path)
        for key in collection.keys():
            with collection.open(key) as source:
                notes += len(source.notes)
                for name in source.streams:
                    times = source.stamps(name)
                    stamps.append([name, times.tolist()])
                    for number in range(len(times)):
                        try:
                            source.read(name, number)
                            count += 1
                        except SourceError:
                            notes += 1
        outcome = "read"
    except SourceError as error:
        outcome = "refused"
        assert str(error), "an error says what is wrong"
    print(json.dumps([outcome, count, notes, stamps, time.process_time() - begin]), flush=True)
"""
SECONDS = 5.0  # CPU, for one file


def opened(folder: Path, module: str) -> dict[str, list[Any]]:
    """What came of every file or folder in a folder."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE.replace("{module}", module), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1:]} ended with {done.returncode}: {done.stderr[-2000:]}"
    found = {line.split(" ", 1)[0]: json.loads(line.split(" ", 1)[1]) for line in lines}
    slow = {name: outcome[4] for name, outcome in found.items() if outcome[4] > SECONDS}
    assert not slow
    return found


def encode(path: Path, count: int = 8, size: tuple[int, int] = (32, 48), **options: str) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    grain = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream: Any = container.add_stream("libx264", rate=10, options={"g": "4", "bf": "1", **options})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for number in range(count):
            picture = np.roll(grain, number, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.mark.parametrize(("suffix", "mutations"), [("mp4", 350), ("mkv", 120), ("avi", 80)])
def test_damaged_videos(suffix: str, mutations: int, tmp_path: Path, damage: Callable[[bytes, int], bytes]) -> None:
    data = encode(tmp_path / f"whole.{suffix}")
    folder = tmp_path / "all"
    folder.mkdir()
    for seed in range(mutations):
        (folder / f"{seed:03d}.{suffix}").write_bytes(damage(data, seed))
    (folder / f"whole.{suffix}").write_bytes(data)
    found = opened(folder, "video_files")
    assert len(found) == mutations + 1
    assert found.pop(f"whole.{suffix}")[:3] == ["read", 8, int(suffix == "avi")]  # AVI says no times of frames
    assert {"read", "refused"} == {outcome[0] for outcome in found.values()}


def test_damage_in_the_frames_changes_no_times(tmp_path: Path) -> None:
    data = encode(tmp_path / "whole.mp4")
    with av.open(str(tmp_path / "whole.mp4")) as container:
        begin = min(packet.pos for packet in container.demux(video=0) if packet.size)
    folder = tmp_path / "all"
    folder.mkdir()
    for seed in range(60):
        raw, draw = bytearray(data), np.random.default_rng(seed)
        for place in draw.integers(begin, len(raw), 6).tolist():
            raw[place] ^= 1 << int(draw.integers(8))
        (folder / f"{seed:03d}.mp4").write_bytes(raw)
    for outcome in opened(folder, "video_files").values():
        assert outcome[3] == [["camera.rgb", [100_000_000 * number for number in range(8)]]]


def test_damaged_telemetry(tmp_path: Path, shared_data: Path, damage: Callable[[bytes, int], bytes]) -> None:
    """A payload in memory: nothing but our own code reads it."""
    from foreact.episodes.sources.gpmf import merge_payloads, parse_payload
    from foreact.episodes.sources.protocol import SourceError

    data, outcomes = (shared_data / "gopro_gpmf/hero6.raw").read_bytes(), set()
    for seed in range(600):
        try:
            payload = parse_payload(damage(data, seed))
        except SourceError:
            outcomes.add("refused")
            continue
        sensors, _ = merge_payloads([payload], [0], [1_000_000_000])
        outcomes.add("read")
        assert all(len(stamps) == len(sensor.values) for sensor, stamps in sensors.values())
    assert outcomes == {"read", "refused"}


def write_lerobot(path: Path, changed: str = "", content: bytes = b"") -> None:
    """One episode of eight rows in the layout v2.1, one file of it replaced."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    features = {
        "action": {"dtype": "float32", "shape": [2], "names": ["a", "b"]},
        "observation.images.top": {"dtype": "video", "shape": [32, 48, 3], "names": ["height", "width", "channels"]},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        **{name: {"dtype": "int64", "shape": [1], "names": None} for name in ("frame_index", "episode_index")},
    }
    info = {
        "codebase_version": "v2.1",
        "fps": 10,
        "features": features,
        "total_episodes": 1,
        "chunks_size": 1000,
        "data_path": "data/episode_{episode_index:06d}.parquet",
        "video_path": "videos/{video_key}/episode_{episode_index:06d}.mp4",
    }
    table = pa.table(
        {
            "action": pa.array([[float(row), 1.0] for row in range(8)], pa.list_(pa.float32())),
            "timestamp": pa.array([row / 10 for row in range(8)], pa.float32()),
            "frame_index": list(range(8)),
            "episode_index": [0] * 8,
        }
    )
    for folder in ("meta", "data"):
        (path / folder).mkdir(parents=True)
    parquet.write_table(table, path / "data/episode_000000.parquet")
    (path / "meta/info.json").write_text(json.dumps(info))
    (path / "meta/episodes.jsonl").write_text('{"episode_index": 0, "tasks": ["reach"], "length": 8}\n')
    (path / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "reach"}\n')
    if changed:
        (path / changed).write_bytes(content)


def test_damaged_lerobot_datasets(tmp_path: Path, damage: Callable[[bytes, int], bytes]) -> None:
    write_lerobot(tmp_path / "plain")
    video = encode(tmp_path / "whole.mp4")
    names = ("data/episode_000000.parquet",) * 3 + ("meta/info.json", "meta/episodes.jsonl")
    for seed in range(500):
        changed, path = names[seed % 5], tmp_path / "all" / f"{seed:03d}"
        write_lerobot(path, changed, damage((tmp_path / "plain" / changed).read_bytes(), seed))
        if seed % 10 == 0:
            file = path / "videos/observation.images.top/episode_000000.mp4"
            file.parent.mkdir(parents=True)
            file.write_bytes(damage(video, seed) if seed % 20 else video)
    found = opened(tmp_path / "all", "lerobot")
    assert {"read", "refused"} == {outcome[0] for outcome in found.values()}
    for name, (outcome, _, notes, stamps, _) in found.items():
        if outcome == "read" and int(name) % 5 != 3 and not notes:
            assert all(times == [100_000_000 * row for row in range(8)] for _, times in stamps)
