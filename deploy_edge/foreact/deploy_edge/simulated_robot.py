"""A Meta-World task played as a robot: a process with a servo of its own behind shared memory.

It answers each command with one control step, publishes its state every period and images at the cameras' rate, taken
at a known control step and drawn in a thread of their own. A robot that hears nothing for a while holds its place.
Run as `python -m foreact.deploy_edge.simulated_robot SETTINGS.json`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.deploy_edge.runtime.bridge import RESET, SHUTDOWN, Bridge
from foreact.deploy_edge.runtime.process import StopFlag
from foreact.episodes import strictjson
from foreact.episodes.contract import PolicyContract
from foreact.episodes.outcome import JSON
from foreact.episodes.runfolder import write_json_atomic

if TYPE_CHECKING:
    from foreact.sim.cameras import WorldStates
    from foreact.sim.definitions import ShownWorlds

__all__ = ["RobotSettings", "SimulatedRobot", "main", "robot_contract", "task_and_instruction", "layout_seeds"]

POLL_S = 0.0003
PATIENCE = 3.0  # control periods without a command, after which the robot holds its place


@dataclass(frozen=True)
class RobotSettings:
    """What a simulated robot is told.

    Attributes:
        bridge: Where its shared file goes.
        report: Where its own report goes.
        task: Full task name.
        seeds: Layout seed of each episode.
        front: Side of the fixed view's image [px].
        wrist: Side of the wrist view's image [px].
        frame_every: Pictures every so many control steps.
        horizon: Most control steps of an episode; the task's own limit is another.
    """

    bridge: str
    report: str
    task: str
    seeds: tuple[int, ...]
    front: int
    wrist: int
    frame_every: int
    horizon: int


def robot_contract(front: int, wrist: int) -> PolicyContract:
    """What the simulated robot gives and takes, with images of these sides [px]."""
    from foreact.sim.metaworld import default_cameras, policy_contract

    return policy_contract(default_cameras(front, wrist))


def task_and_instruction(task: str, instruction: str) -> tuple[str, str]:
    """Full name of a task, and the sentence meant by `main`, `held_out` or any other text.

    Raises:
        UnknownTask: The task is unknown; near matches are listed.
    """
    from foreact.sim.registry import definition, resolve

    (name,) = resolve([task])
    text = definition(name).text
    return name, {"main": text.main, "held_out": text.held_out}.get(instruction, instruction)


def layout_seeds(seed: int, episodes: int) -> tuple[int, ...]:
    """Layout seeds of the first episodes of an evaluation with this seed."""
    from foreact.sim.seeds import layout_seed

    return tuple(layout_seed("eval", seed, index) for index in range(episodes))


@dataclass(frozen=True)
class _Exposure:
    """The world at the instant of a picture."""

    episode: int
    step: int
    time_ns: int
    state: np.ndarray
    poses: WorldStates


class _Camera(threading.Thread):
    """Draws the newest exposure and publishes the frame; one that is still waiting is replaced."""

    def __init__(self, bridge: Bridge, worlds: ShownWorlds) -> None:
        super().__init__(name="camera", daemon=True)
        self._bridge, self._worlds = bridge, worlds
        self._waiting: deque[_Exposure] = deque(maxlen=1)
        self.closing = threading.Event()
        self.failure: BaseException | None = None

    def expose(self, exposure: _Exposure) -> None:
        self._waiting.append(exposure)

    def run(self) -> None:
        from foreact.sim.pictures import WorldPictures

        try:
            pictures = WorldPictures(self._worlds.shown_model, self._bridge.contract.cameras, 1, segmentation=False)
            while not self.closing.is_set():
                if self._waiting:
                    self._publish(pictures, self._waiting.popleft())
                else:
                    time.sleep(POLL_S)
        except BaseException as error:
            self.failure = error

    def _publish(self, pictures: Any, exposure: _Exposure) -> None:
        images = {name: image[0] for name, image in pictures.draw_states(exposure.poses).items()}
        taken = {"episode": exposure.episode, "step": exposure.step, "time_ns": exposure.time_ns}
        self._bridge.frame.write({**taken, "state": exposure.state, **images})


class SimulatedRobot:
    """Executes commands in a simulated task.

    Args:
        settings: What to play.
        bridge: Shared memory that it owns.
    """

    def __init__(self, settings: RobotSettings, bridge: Bridge) -> None:
        from foreact.sim.registry import definition

        self._settings, self._bridge = settings, bridge
        self._period_ns = round(1e9 / bridge.contract.control_rate_hz)
        self._worlds = definition(settings.task).make(1)
        self._worlds.reset(settings.seeds[:1])
        self._camera = _Camera(bridge, self._worlds)
        self._episode, self._step, self._done, self._success = -1, 0, False, False
        self._next_exposure, self._last_ns, self._version = 0, 0, 0
        self._left = 0  # control steps until the episode is over, held ones included
        self.executed, self.skipped, self.held = 0, 0, 0

    def run(self, stop: StopFlag) -> None:
        """Serve until told to shut down.

        Raises:
            BaseException: Whatever ended the camera.
        """
        self._camera.start()
        try:
            while not stop() and self._serve():
                if self._camera.failure is not None:
                    raise self._camera.failure
        finally:
            self._camera.closing.set()
            self._camera.join(timeout=5)  # one that is still being compiled ends with the process

    def _serve(self) -> bool:
        """Look for a command once; False if it says to shut down."""
        version = self._bridge.command.version
        if version == self._version:
            self._wait()
            return True
        command = self._bridge.command.read()
        assert command is not None
        self._version = version
        episode, step = int(command["episode"][0]), int(command["step"][0])
        if episode == SHUTDOWN:
            return False
        if episode != self._episode and step == RESET:
            self._reset(episode)
        elif episode == self._episode and step >= self._step and not self._done:
            self._execute(step, command["action"])
        return True

    def _wait(self) -> None:
        waited = time.monotonic_ns() - self._last_ns
        if self._episode >= 0 and waited > PATIENCE * self._period_ns:
            self._hold()
        else:
            time.sleep(POLL_S)

    def _reset(self, episode: int) -> None:
        self._worlds.reset(self._settings.seeds[episode : episode + 1])
        self._episode, self._step, self._done, self._success = episode, 0, False, False
        self._next_exposure = 0
        self._left = min(self._settings.horizon, self._worlds.time_limit)
        self._publish()

    def _execute(self, step: int, action: np.ndarray) -> None:
        self.skipped += step - self._step
        self.executed += 1
        self._step = step + 1
        self._advance(action)
        self._publish()

    def _hold(self) -> None:
        """Let a period pass in which nobody moves the hand: the world goes on, the numbering of commands does not."""
        moving = self._step > 0 and not self._done
        if moving:
            self.held += 1
            self._advance(np.array([0.0, 0.0, 0.0, self._grip], np.float32))
        self._publish(waited=True)

    def _advance(self, action: np.ndarray) -> None:
        self._success |= bool(self._worlds.step(action[None]).success[0])
        self._left -= 1
        self._done = self._success or self._left <= 0

    def _publish(self, *, waited: bool = False) -> None:
        now, state = time.monotonic_ns(), self._worlds.states()[0]
        # holding goes on at the control rate: the next hold is due one period after this one
        self._last_ns = now - round((PATIENCE - 1) * self._period_ns) if waited else now
        flags = {"done": int(self._done), "success": int(self._success)}
        where = {"episode": self._episode, "step": self._step, "time_ns": now}
        self._bridge.status.write({**where, **flags, "state": state})
        if self._step >= self._next_exposure and not self._done:
            self._next_exposure = self._step + self._settings.frame_every
            self._camera.expose(_Exposure(self._episode, self._step, now, state, self._worlds.poses()))

    @property
    def _grip(self) -> float:
        command = self._bridge.command.read()
        return 0.0 if command is None else float(command["action"][3])

    def report(self) -> dict[str, JSON]:
        """Commands executed, commands that never arrived, and periods without one."""
        return {"executed": self.executed, "skipped": self.skipped, "held": self.held}


def main(arguments: list[str]) -> int:
    """Play the robot described by the settings file named on the command line."""
    if len(arguments) != 1:
        print("usage: python -m foreact.deploy_edge.simulated_robot SETTINGS.json", file=sys.stderr)
        return 2
    stop = StopFlag()
    stop.install()
    settings = strictjson.decode(RobotSettings, json.loads(Path(arguments[0]).read_text(encoding="utf-8")), "settings")
    place = Path(settings.bridge)
    try:
        robot = SimulatedRobot(settings, Bridge.create(place, robot_contract(settings.front, settings.wrist)))
        robot.run(stop)
    except Exception as error:
        write_json_atomic(Path(settings.report), {"error": str(error), "kind": type(error).__name__})
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    finally:
        place.unlink(missing_ok=True)
    write_json_atomic(Path(settings.report), robot.report())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
