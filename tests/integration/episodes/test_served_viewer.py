"""The viewer that `foreact replay web=true` serves: to this machine alone, and gone when the replay is."""

import socket
import time

import psutil
import pytest

pytest.importorskip("rerun")

from foreact.episodes.rerun_viewer import native_viewer, served_viewer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(ports: tuple[int, int]) -> set[str]:
    """Addresses at which processes that we started listen on these ports."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        for each in process.net_connections(kind="inet"):
            if each.status == psutil.CONN_LISTEN and each.laddr.port in ports:
                found.add(each.laddr.ip)
    return found


def test_it_listens_on_loopback_and_ends_with_the_replay() -> None:
    ports = (free_port(), free_port())
    with served_viewer(*ports) as viewer:
        assert viewer.address == f"rerun+http://127.0.0.1:{ports[0]}/proxy"
        assert listening(ports) == {"127.0.0.1"}
        with pytest.raises(RuntimeError, match=f"port {ports[0]} is taken"), served_viewer(*ports):
            pass
    end = time.monotonic() + 5
    while listening(ports) and time.monotonic() < end:
        time.sleep(0.05)
    assert not listening(ports)


def test_a_window_needs_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(RuntimeError, match="neither DISPLAY nor WAYLAND_DISPLAY is set: type web=true"):
        native_viewer(free_port()).__enter__()
