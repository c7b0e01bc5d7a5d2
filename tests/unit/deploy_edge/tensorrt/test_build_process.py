"""A build in a process of its own: results, errors, a crash, a hang and Ctrl-C come back as what they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from foreact.deploy_edge.runtime.protocol import RuntimeMissing
from foreact.deploy_edge.runtime.tensorrt import build_process
from foreact.deploy_edge.runtime.tensorrt.build_process import BuildCrashed, build_apart
from foreact.deploy_edge.runtime.tensorrt.sidecar import BuildConfig

CRASH = """
import os, signal, sys
print("Myelin: fault", file=sys.stderr, flush=True)
os.kill(os.getpid(), signal.SIGSEGV)
"""
HANG = "import time\nprint('step 1 of 9', flush=True)\ntime.sleep(60)\n"


def build(here: Any, tell: Callable[[int, int], None] = lambda done, total: None) -> Any:
    return build_apart(b"{}", BuildConfig(timeout_s=1.0), here, None, None, tell)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Give child processes a `tensorrt` that does this when it is imported."""
    (folder / "tensorrt.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_crash_of_native_code_is_an_error_that_names_the_signal(
    machine: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, CRASH)
    with pytest.raises(
        BuildCrashed, match="tensorrt 10.13.3.9 ended its process by SIGSEGV; it said last: Myelin: fault"
    ):
        build(machine("10.13").here)


def test_errors_keep_their_kind(machine: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "__version__ = '8.6.1'\n")
    with pytest.raises(RuntimeMissing, match="8.6.1 is too old"):
        build(machine("10.13").here)


def test_a_build_that_hangs_is_ended(
    machine: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, HANG)
    monkeypatch.setattr(build_process, "GRACE_S", -0.5)
    with pytest.raises(BuildCrashed, match="by SIGKILL"):
        build(machine("10.13").here)


def test_ctrl_c_ends_the_child(machine: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, HANG)

    def stop(done: int, total: int) -> None:
        assert (done, total) == (1, 9)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(machine("10.13").here, stop)
    assert not psutil.Process().children()
