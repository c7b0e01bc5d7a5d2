"""`foreact replay web=true` as somebody sees it: a browser shows pictures, and they move."""

import base64
import io
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil
import pytest

pytest.importorskip("rerun")
Image = pytest.importorskip("PIL.Image")

RECORDING = Path(__file__).resolve().parents[4] / "shared" / "data" / "g1_head_teleop_lerobot_v30"
WAIT_S, CALL_S = 120.0, 60.0  # on a machine that is busy; an idle one takes 20 s
MAIN = "from foreact.cli.app import main; main()"
FLAGS = (
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--no-first-run", "--mute-audio",
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--window-size=800,600",
)  # fmt: skip


def installed() -> str | None:
    """A browser of this machine, if it has one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Chromium:
    """A page of a browser; DevTools messages go through file descriptors 3 and 4, each ended by a zero byte."""

    def __init__(self, program: str, url: str) -> None:
        here, there = os.pipe(), os.pipe()
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [program, *FLAGS, f"--user-data-dir={self._folder.name}", "about:blank"]
        moved = ["bash", "-c", f'exec 3<&{here[0]} 4>&{there[1]}; exec "$@"', "bash", *command]
        self._process = subprocess.Popen(
            moved, pass_fds=(here[0], there[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        os.close(here[0])
        os.close(there[1])
        self._write, self._read = here[1], there[0]
        self._buffer, self._count, self._session = b"", 0, {}
        page = next(each for each in self._call("Target.getTargets")["targetInfos"] if each["type"] == "page")
        attached = self._call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        self._call("Page.navigate", url=url)

    def picture(self) -> np.ndarray:
        """What the page shows, uint8 (H, W, 3); a page that is still opening shows nothing."""
        try:
            data = base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])
        except RuntimeError:
            return np.zeros((60, 90, 3), np.uint8)
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params, **self._session}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + CALL_S
        while time.monotonic() < end:
            while b"\0" in self._buffer:
                one, _, self._buffer = self._buffer.partition(b"\0")
                answer = json.loads(one)
                if answer.get("id") == self._count:
                    if "error" in answer:
                        raise RuntimeError(f"{method}: {answer['error']['message']}")
                    return answer["result"]
            if select.select([self._read], [], [], 1)[0]:
                self._buffer += os.read(self._read, 1 << 20)
        raise TimeoutError(method)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._folder.cleanup()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def camera(picture: np.ndarray) -> np.ndarray:
    """The middle of the panel on the left, which shows the camera."""
    height, width = picture.shape[:2]
    return picture[height // 4 : height // 2, width // 12 : width // 3].astype(np.float64)


def test_a_browser_shows_pictures_that_move() -> None:
    program = installed()
    if program is None:
        pytest.skip("no chromium or chrome on this machine: apt-get install chromium")
    if not RECORDING.is_dir():
        pytest.skip("the sample recordings do not lie beside the repository: ../shared/data")
    typed = [sys.executable, "-c", MAIN, "replay", str(RECORDING), "rate=1", "web=true", "driver=8"]
    typed += ["streams=[camera.cam_high]"]
    typed += [f"{name}={free_port()}" for name in ("port", "web_port")]
    with subprocess.Popen(typed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as replay:
        try:
            url = next(found[0] for line in replay.stdout or () if (found := re.search(r"http://127\S+", line)))
            children = psutil.Process(replay.pid).children(recursive=True)
            with Chromium(program, url) as page:
                end = time.monotonic() + WAIT_S
                first = camera(page.picture())
                while first.std() < 20 and time.monotonic() < end:  # a blank panel has none; the table has over 40
                    time.sleep(1)
                    first = camera(page.picture())
                time.sleep(3)
                second = camera(page.picture())
        finally:
            replay.terminate()
            replay.communicate(timeout=10)
    assert first.std() > 20 and second.std() > 20, "the panel is blank"
    assert np.abs(first - second).mean() > 2, "the picture stands still"
    assert replay.returncode == 128 + 15, "it was told to end, and did so in order"
    assert not psutil.wait_procs(children, timeout=5)[1], "the viewer ended with the replay"
