import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.deploy_edge.runtime.bridge import Bridge, BridgeError
from foreact.episodes.contract import PolicyContract


def frame(value: int) -> dict[str, Any]:
    return {
        "episode": 1,
        "step": value,
        "time_ns": value * 7,
        "state": np.full(2, value, np.float32),
        "camera.top.rgb": np.full((4, 6, 3), value % 256, np.uint8),
        "camera.top.depth": np.full((4, 6), value % 65536, np.uint16),
    }


def test_what_one_side_writes_the_other_reads(contract: PolicyContract, bridge_path: Path) -> None:
    robot = Bridge.create(bridge_path, contract)
    control = Bridge.open(bridge_path)
    assert control.contract == contract
    assert control.frame.read() is None and control.frame.version == 0
    robot.frame.write(frame(300))
    seen = control.frame.read()
    assert seen is not None and control.frame.version == 2
    for name, value in frame(300).items():
        assert np.array_equal(seen[name], np.broadcast_to(value, seen[name].shape)), name


def test_a_copy_does_not_change_with_the_memory(contract: PolicyContract, bridge_path: Path) -> None:
    robot = Bridge.create(bridge_path, contract)
    robot.frame.write(frame(1))
    seen = robot.frame.read()
    robot.frame.write(frame(2))
    assert seen is not None and int(seen["step"][0]) == 1


def test_a_record_left_half_written_is_never_returned(contract: PolicyContract, bridge_path: Path) -> None:
    robot = Bridge.create(bridge_path, contract)
    robot.status.write({"episode": 0, "step": 0, "time_ns": 0, "done": 0, "success": 0, "state": np.zeros(2)})
    robot.status._lock[0] += np.uint64(1)
    control = Bridge.open(bridge_path)
    assert control.status.peek() is None
    with pytest.raises(BridgeError, match="half written"):
        control.status.read(patience_s=0.01)


def test_a_torn_record_is_never_returned(contract: PolicyContract, bridge_path: Path) -> None:
    robot = Bridge.create(bridge_path, contract)
    robot.frame.write(frame(5))
    robot.frame._arrays["camera.top.rgb"][0, 0, 0] = 77  # what a reordered write looks like
    assert robot.frame.peek() is None
    with pytest.raises(BridgeError):
        robot.frame.read(patience_s=0.01)


def test_another_file_and_a_missing_one_are_errors(bridge_path: Path) -> None:
    with pytest.raises(BridgeError, match="no robot appeared"):
        Bridge.open(bridge_path, timeout_s=0.05)
    bridge_path.write_bytes(b"something else" * 10)
    with pytest.raises(BridgeError, match="not the shared memory"):
        Bridge.open(bridge_path)


def test_a_file_of_the_wrong_size_is_an_error(contract: PolicyContract, bridge_path: Path) -> None:
    Bridge.create(bridge_path, contract)
    with bridge_path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(BridgeError, match="bytes, expected"):
        Bridge.open(bridge_path)


def write_frames(path: Path, count: int) -> None:
    robot = Bridge.open(path)
    for value in range(1, count + 1):
        robot.frame.write(frame(value))
        if value % 100 == 0:
            time.sleep(0.001)  # lets the reader in where both share one core


def test_a_reader_in_another_process_sees_only_whole_records(contract: PolicyContract, bridge_path: Path) -> None:
    Bridge.create(bridge_path, contract)
    control = Bridge.open(bridge_path)
    writer = multiprocessing.get_context("fork").Process(target=write_frames, args=(bridge_path, 3000))
    writer.start()
    last = reads = 0
    while last < 3000:
        seen = control.frame.read()
        if seen is None:
            continue
        step = int(seen["step"][0])
        assert step >= last
        assert (seen["camera.top.rgb"] == step % 256).all() and (seen["camera.top.depth"] == step).all()
        last, reads = step, reads + 1
    writer.join()
    assert reads > 1
