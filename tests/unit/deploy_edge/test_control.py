"""The control loop against a fake robot and fake policies, in this process."""

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.deploy_edge.runtime import loop as loop_module
from foreact.deploy_edge.runtime.bridge import RESET, SHUTDOWN, Bridge, BridgeError
from foreact.deploy_edge.runtime.process import ControlSettings, StopFlag, control
from foreact.deploy_edge.runtime.ticker import Ticker
from foreact.episodes.contract import ContractMismatch, PolicyContract

type Chunks = Callable[[int], np.ndarray]


class FakeRobot(threading.Thread):
    """Answers each command with a frame; notes what it was sent."""

    def __init__(self, bridge: Bridge, done_at: int = 10_000) -> None:
        super().__init__(daemon=True)
        self.bridge, self.done_at = bridge, done_at
        self.received: list[tuple[int, int, np.ndarray]] = []
        self.answered = 0

    def run(self) -> None:
        version = 0
        while True:
            if self.bridge.command.version == version:
                time.sleep(0.0005)
                continue
            version = self.bridge.command.version
            command = self.bridge.command.read()
            assert command is not None
            episode, step = int(command["episode"][0]), int(command["step"][0])
            if episode == SHUTDOWN:
                return
            if step != RESET:
                self.received.append((episode, step, command["action"]))
            self.publish(episode, step + 1)
            self.answered = step + 1

    def publish(self, episode: int, step: int) -> None:
        where = {"episode": episode, "step": step, "time_ns": time.monotonic_ns()}
        state = np.zeros(2, np.float32)
        done = int(step >= self.done_at)
        self.bridge.status.write({**where, "done": done, "success": done, "state": state})
        images = {"camera.top.rgb": np.zeros((4, 6, 3), np.uint8), "camera.top.depth": np.zeros((4, 6), np.uint16)}
        self.bridge.frame.write({**where, "state": state, **images})


class LockStep(Ticker):
    """Deadlines that wait for the answer to the command before: no test depends on the pace of the machine."""

    def __init__(self, robot: FakeRobot) -> None:
        super().__init__(50.0)
        self._robot = robot

    def wait(self, tick: int) -> int:
        deadline = time.monotonic() + 30
        while tick and self._robot.answered != tick and time.monotonic() < deadline:
            time.sleep(0.0005)
        return 0

    def is_past(self, tick: int) -> bool:
        return False


class FakeEngine:
    """A policy whose n-th chunk is given."""

    def __init__(self, contract: PolicyContract, chunks: Chunks, prefix: int = 0) -> None:
        self.contract, self._chunks, self.calls, self.prefix = contract, chunks, 0, prefix
        self.tokens: np.ndarray | None = None
        self.told: list[tuple[np.ndarray | None, int]] = []

    def infer(
        self,
        observation: Mapping[str, np.ndarray],
        noise: np.ndarray | None = None,
        prefix: np.ndarray | None = None,
        delay: int = 0,
    ) -> np.ndarray:
        self.contract.check_observation(observation, "fake")
        self.tokens = observation["tokens"]
        self.told.append((prefix, delay))
        self.calls += 1
        return self._chunks(self.calls - 1)


def settings(**changed: Any) -> ControlSettings:
    given = ControlSettings("", "", "", "push the cart", 1, 0.5, 2, 2, 0, False)
    return dataclasses.replace(given, **changed)


def constant(value: float) -> Chunks:
    return lambda call: np.full((4, 2), value, np.float32)


def test_commands_are_numbered_and_the_report_counts_them(contract: PolicyContract, bridge_path: Path) -> None:
    robot = FakeRobot(Bridge.create(bridge_path, contract), done_at=12)
    robot.start()
    engine = FakeEngine(contract, constant(0.5))
    report: Any = control(settings(episodes=2), engine, Bridge.open(bridge_path), StopFlag(), LockStep(robot))
    robot.join(5)
    episodes = report["episodes"]
    assert isinstance(episodes, list) and len(episodes) == 2
    for number, episode in enumerate(episodes):
        assert episode["success"] is True and 12 <= episode["steps"] <= 13 and episode["rate_wanted_hz"] == 50.0
        assert episode["lateness_us"]["count"] == episode["steps"]
        mine = [step for each, step, _ in robot.received if each == number]
        assert mine == sorted(set(mine)) and mine[0] == 0
    assert all((action == 0.5).all() for _, _, action in robot.received)
    assert engine.tokens is not None and (engine.tokens > 0).sum() == 3


def test_an_action_that_is_not_a_number_is_never_sent(contract: PolicyContract, bridge_path: Path) -> None:
    robot = FakeRobot(Bridge.create(bridge_path, contract))
    robot.start()

    def mostly_bad(call: int) -> np.ndarray:
        return np.full((4, 2), 0.25 if call == 0 else np.nan, np.float32)

    report: Any = control(
        settings(fade=0), FakeEngine(contract, mostly_bad), Bridge.open(bridge_path), StopFlag(), LockStep(robot)
    )
    robot.join(5)
    (episode,) = report["episodes"]
    assert episode["refused_actions"] > 10 and "x = nan" in episode["refusal"]
    assert robot.received and all((action == 0.25).all() for _, _, action in robot.received)


def test_an_action_out_of_range_is_never_sent(contract: PolicyContract, bridge_path: Path) -> None:
    robot = FakeRobot(Bridge.create(bridge_path, contract))
    robot.start()
    report: Any = control(
        settings(seconds=0.2), FakeEngine(contract, constant(3.0)), Bridge.open(bridge_path), StopFlag()
    )
    robot.join(5)
    assert robot.received == [] and report["episodes"][0]["refused_actions"] == 10


def test_a_robot_with_another_contract_is_never_commanded(contract: PolicyContract, bridge_path: Path) -> None:
    faster = dataclasses.replace(contract, control_rate_hz=100.0)
    bridge = Bridge.create(bridge_path, faster)
    with pytest.raises(ContractMismatch, match=r"policy and robot.*\n.*control_rate_hz: expected 50.0, got 100.0"):
        control(settings(), FakeEngine(contract, constant(0.0)), Bridge.open(bridge_path), StopFlag())
    assert bridge.command.version == 0


def test_the_loop_is_bounded_and_starves_without_new_chunks(contract: PolicyContract, bridge_path: Path) -> None:
    robot = FakeRobot(Bridge.create(bridge_path, contract))
    robot.start()
    # the next observation to be used would be at step 1000
    report: Any = control(
        settings(execute=1000),
        FakeEngine(contract, constant(0.1)),
        Bridge.open(bridge_path),
        StopFlag(),
        LockStep(robot),
    )
    robot.join(5)
    (episode,) = report["episodes"]
    assert episode["steps"] == 25 and episode["starved_steps"] == 21 and episode["success"] is False
    assert (robot.received[-1][2] == np.float32(0.1)).all()


def test_a_request_to_stop_ends_the_episode_with_a_report(contract: PolicyContract, bridge_path: Path) -> None:
    robot = FakeRobot(Bridge.create(bridge_path, contract))
    robot.start()
    stop = StopFlag()

    def asks_to_stop(call: int) -> np.ndarray:
        if call == 3:
            stop._on_signal(15, None)
        return np.zeros((4, 2), np.float32)

    engine = FakeEngine(contract, asks_to_stop)
    report: Any = control(settings(seconds=1000, episodes=3), engine, Bridge.open(bridge_path), stop, LockStep(robot))
    robot.join(5)
    (episode,) = report["episodes"]
    assert report["stopped_by"] == "SIGTERM" and episode["steps"] >= 6 and not robot.is_alive()


def test_a_policy_that_fails_ends_the_run_and_the_robot_is_told(contract: PolicyContract, bridge_path: Path) -> None:
    robot = FakeRobot(Bridge.create(bridge_path, contract))
    robot.start()

    def fails_later(call: int) -> np.ndarray:
        if call == 2:
            raise RuntimeError("the engine broke")
        return np.zeros((4, 2), np.float32)

    with pytest.raises(RuntimeError, match="the engine broke"):
        control(
            settings(seconds=5),
            FakeEngine(contract, fails_later),
            Bridge.open(bridge_path),
            StopFlag(),
            LockStep(robot),
        )
    robot.join(5)
    assert not robot.is_alive()


def test_a_robot_that_falls_silent_ends_the_run(
    contract: PolicyContract, bridge_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "SILENT_S", 0.2)
    robot = FakeRobot(Bridge.create(bridge_path, contract))
    robot.publish(0, 0)
    with pytest.raises(BridgeError, match="silent"):
        control(settings(seconds=5), FakeEngine(contract, constant(0.0)), Bridge.open(bridge_path), StopFlag())


def test_a_policy_is_told_what_will_be_sent_before_its_chunk_arrives(
    contract: PolicyContract, bridge_path: Path
) -> None:
    robot = FakeRobot(Bridge.create(bridge_path, contract))
    robot.start()
    engine = FakeEngine(contract, lambda call: np.full((4, 2), 0.1 * (call + 1), np.float32), prefix=2)
    report: Any = control(settings(fade=0, seconds=0.4), engine, Bridge.open(bridge_path), StopFlag(), LockStep(robot))
    robot.join(5)
    (episode,) = report["episodes"]
    assert engine.told[0] == (None, 0), "nothing was committed before the first chunk"
    prefix, delay = engine.told[1]
    assert prefix is not None and delay in (1, 2)
    # whatever was committed is what the first chunk planned
    assert np.array_equal(prefix, np.full((4, 2), 0.1, np.float32))
    assert all(0 <= told <= 2 for _, told in engine.told[1:]) and 1 <= episode["told_steps_max"] <= 2


def test_a_policy_that_takes_no_prefix_is_told_nothing(contract: PolicyContract, bridge_path: Path) -> None:
    robot = FakeRobot(Bridge.create(bridge_path, contract))
    robot.start()
    engine = FakeEngine(contract, constant(0.5))
    report: Any = control(settings(seconds=0.2), engine, Bridge.open(bridge_path), StopFlag(), LockStep(robot))
    robot.join(5)
    assert all(each == (None, 0) for each in engine.told) and report["episodes"][0]["told_steps_max"] == 0
