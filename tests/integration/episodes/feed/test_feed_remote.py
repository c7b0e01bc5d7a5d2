"""The same batches from a store on a disk, in fsspec's memory, and behind a web server."""

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.feed.feed import Dataset, Feed, FeedConfig
from foreact.episodes.feed.stream_statistics import measure_streams
from foreact.episodes.feed.windows import Steps, Windows
from foreact.episodes.recording_store import write_recordings
from foreact.episodes.sources import SourceError, open_collection

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")
pytest.importorskip("av")


WINDOWS = Windows({"camera": Steps("camera.rgb"), "state": Steps("state", (0, 1, 2), edge="repeat")}, "camera.rgb")
G1 = "g1_head_teleop_lerobot_v21"
G1_WINDOWS = Windows({"camera": Steps("camera.cam_high"), "state": Steps("state")}, "camera.cam_high", stride=20)


class Ranges(BaseHTTPRequestHandler):
    """Files of a folder, whole or in parts."""

    def __init__(self, folder: Path, asked: list[str], *args: object) -> None:
        self.folder, self.asked = folder, asked
        super().__init__(*args)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:  # noqa: N802
        self.answer(send=False)

    def do_GET(self) -> None:  # noqa: N802
        self.answer(send=True)

    def answer(self, send: bool) -> None:
        file = self.folder / self.path.lstrip("/")
        self.asked.append(f"{self.path} {self.headers.get('Range', 'whole')}")
        if not file.is_file():
            self.send_error(404)
            return
        data = file.read_bytes()
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            part = data[int(first) : int(last or len(data)) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        else:
            part = data
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if send:
            self.wfile.write(part)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def stores(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stores")
    collection = open_collection(bags / "two")
    sources = {key: collection.open(key) for key in collection.keys()}
    for key, source in sources.items():
        source.key = key  # a bag's own is `bag`
    write_recordings(root / "made", sources.values())
    return root


@pytest.fixture(scope="module")
def server(stores: Path) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, stores, asked)) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_address[1]}", asked
        served.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def memory(stores: Path) -> Iterator[str]:
    files = fsspec.filesystem("memory")
    files.put(str(stores / "made"), "/feed-test", recursive=True)
    yield "memory://feed-test"
    files.rm("/feed-test", recursive=True)


def batches(path: Path | str, windows: Windows, workers: int, samples: int) -> list[tuple[np.ndarray, ...]]:
    config = FeedConfig(batch=8, workers=workers, samples=samples)
    with Feed(Dataset(path, windows), config) as feed:
        return [(each.number, each["camera"].copy(), each["state"].copy(), each.valid["state"].copy()) for each in feed]


def require_equal(found: list[tuple[np.ndarray, ...]], expected: list[tuple[np.ndarray, ...]]) -> None:
    assert len(found) == len(expected) > 1
    for one, other in zip(found, expected, strict=True):
        for each, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(each, same)


def test_batches_are_the_same_wherever_the_store_lies(
    stores: Path, bags: Path, memory: str, server: tuple[str, list[str]]
) -> None:
    expected = batches(bags / "two", WINDOWS, 0, 40)
    require_equal(batches(stores / "made", WINDOWS, 2, 40), expected)
    require_equal(batches(memory, WINDOWS, 0, 40), expected)
    address, asked = server
    require_equal(batches(f"{address}/made", WINDOWS, 2, 40), expected)
    assert any("bytes=" in each for each in asked)  # parts, not whole files
    with pytest.raises(ValueError, match="is the memory of this process: give workers=0"):
        batches(memory, WINDOWS, 2, 40)


def test_statistics_are_the_same_as_well(stores: Path, memory: str, tmp_path: Path) -> None:
    near = measure_streams(stores / "made", cache=tmp_path)
    assert measure_streams(memory, cache=tmp_path) == near
    assert len([*(tmp_path / "statistics").iterdir()]) == 1  # of what lies elsewhere nothing is kept


def test_videos_of_a_store_behind_a_server_are_read_in_parts(
    shared_data: Path, stores: Path, server: tuple[str, list[str]]
) -> None:
    collection = open_collection(shared_data / G1)
    write_recordings(stores / "g1", [collection.open("episode_000000")], verify=False)
    address, asked = server
    asked.clear()
    require_equal(batches(f"{address}/g1", G1_WINDOWS, 1, 12), batches(shared_data / G1, G1_WINDOWS, 0, 12))
    assert any("clip.mp4 bytes=" in each for each in asked) and not any("clip.mp4 whole" in each for each in asked)


def test_a_file_that_vanishes_is_named(stores: Path, server: tuple[str, list[str]], tmp_path: Path) -> None:
    shutil.copytree(stores / "made", stores / "torn")
    address, _ = server
    with Feed(Dataset(f"{address}/torn", WINDOWS), FeedConfig(batch=8, workers=1)) as feed:
        for file in (stores / "torn").rglob("camera.rgb/**/*"):
            if file.is_file():
                file.unlink()
        with pytest.raises(SourceError, match=r"torn: \w+.*camera.rgb, sample \d+: .*torn/episodes/.* is not there"):
            for _ in range(6):
                next(feed)
