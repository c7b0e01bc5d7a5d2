"""Worker processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foreact.episodes.workers import InlineExecutor, worker_processes


def _fail() -> None:
    raise ValueError("no good")


def test_one_worker_is_this_process() -> None:
    with worker_processes(1) as pool:
        assert isinstance(pool, InlineExecutor)
        assert pool.submit(os.getpid).result() == os.getpid()
        with pytest.raises(ValueError, match="no good"):
            pool.submit(_fail).result()


def test_two_workers_are_other_processes() -> None:
    with worker_processes(2) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, time\n"
        "from foreact.episodes.workers import worker_processes\n"
        "if __name__ == '__main__':\n"
        "    with worker_processes(2) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        pool.submit(time.sleep, 60).result()\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(worker)


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
