"""The control loop: one command per period, at absolute deadlines, whatever the policy is doing.

Shape letters: T control steps, A action elements.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from foreact.deploy_edge.runtime.bridge import RESET, Bridge, BridgeError
from foreact.deploy_edge.runtime.chunks import ChunkBuffer, StaleChunk
from foreact.deploy_edge.runtime.gate import ActionGate
from foreact.deploy_edge.runtime.histogram import Histogram
from foreact.deploy_edge.runtime.planner import Plan, Planner
from foreact.deploy_edge.runtime.ticker import Ticker

__all__ = ["ControlLoop", "EpisodeLog"]

SILENT_S = 5.0  # a robot that has said nothing for so long is gone
FIRST_PLAN_S = 120.0  # a robot's first frame may wait for its renderer to be compiled


@dataclass
class EpisodeLog:
    """What happened in one episode.

    Attributes:
        lateness_us: Wake-up after the deadline, in microseconds.
        misses: Commands that were written after the next deadline.
        actions: Commands sent, (T, A), NaN where none was.
        seam: Steps at which a plan was fading into the next, bool (T,).
        gaps: Distance of each new chunk to the plan it replaced [action units].
        inference_s: Time of each inference [s].
        delay_steps: Actions consumed between an observation and its chunk.
        told_steps: For each chunk, how many of them the policy was told beforehand.
    """

    actions: np.ndarray
    seam: np.ndarray
    lateness_us: Histogram = field(default_factory=Histogram)
    misses: int = 0
    steps: int = 0
    seconds: float = 0.0
    success: bool = False
    starved: int = 0
    stale: int = 0
    refused: int = 0
    refusal: str = ""
    gaps: list[float] = field(default_factory=list)
    inference_s: list[float] = field(default_factory=list)
    delay_steps: list[int] = field(default_factory=list)
    told_steps: list[int] = field(default_factory=list)


class ControlLoop:
    """Sends the planned action of every control step to the robot.

    Args:
        bridge: To the robot.
        planner: Where chunks come from; already started.
        ticker: Gives the deadlines.
        fade: Steps over which a plan fades into the next.
        stopping: Asked every step; True ends the episode.
    """

    def __init__(
        self, bridge: Bridge, planner: Planner, ticker: Ticker, fade: int, stopping: Callable[[], bool]
    ) -> None:
        self._bridge, self._planner = bridge, planner
        self._ticker, self._fade, self._stopping = ticker, fade, stopping
        self._status: dict[str, np.ndarray] | None = None

    def run_episode(self, episode: int, max_steps: int) -> EpisodeLog:
        """Run one episode until the robot says it is over, or for `max_steps`.

        Raises:
            BridgeError: The robot does not answer, or stops answering.
        """
        action = self._bridge.contract.action
        log = EpisodeLog(np.full((max_steps, *action.shape), np.nan, np.float32), np.zeros(max_steps, bool))
        self._send(episode, RESET, np.zeros(action.shape, np.float32))
        buffer, gate = ChunkBuffer(self._fade), ActionGate(action)
        self._planner.begin(episode, buffer.committed)
        first = self._first_plan(episode)
        if first is None:
            return log
        _install(buffer, first, 0, log)
        self._ticker.start()
        for step in range(max_steps):
            self._step(episode, step, buffer, gate, log)
            if self._is_over(episode, log) or self._stopping():
                break
        log.seconds = self._ticker.elapsed_s()
        log.starved, log.refused, log.refusal = buffer.starved, gate.refused, gate.reason
        return log

    def _step(self, episode: int, step: int, buffer: ChunkBuffer, gate: ActionGate, log: EpisodeLog) -> None:
        late_ns = self._ticker.wait(step)
        log.lateness_us.add(late_ns // 1000)
        plan = self._planner.take()
        if plan is not None and plan.episode == episode:
            _install(buffer, plan, step, log)
            self._planner.arrived(step - plan.observed_step)
        wanted = buffer.action(step)
        command = None if wanted is None else gate.passed(wanted)
        if command is not None:
            self._send(episode, step, command)
            log.actions[step] = command
        log.misses += self._ticker.is_past(step + 1)
        log.steps = step + 1

    def _first_plan(self, episode: int) -> Plan | None:
        """Wait for the policy's first chunk; None if asked to stop meanwhile."""
        deadline = time.monotonic() + FIRST_PLAN_S
        while not self._stopping():
            plan = self._planner.take()
            if plan is not None and plan.episode == episode:
                return plan
            if time.monotonic() > deadline:
                raise BridgeError(f"the robot sent no frame of episode {episode} within {FIRST_PLAN_S:g} s")
            time.sleep(0.001)
        return None

    def _send(self, episode: int, step: int, action: np.ndarray) -> None:
        self._bridge.command.write({"episode": episode, "step": step, "time_ns": time.monotonic_ns(), "action": action})

    def _is_over(self, episode: int, log: EpisodeLog) -> bool:
        # a status that is being written just now is read one period later: the loop never waits for the robot
        status = self._bridge.status.peek() or self._status
        if status is None:
            return False
        self._status = status
        silent_s = (time.monotonic_ns() - int(status["time_ns"][0])) / 1e9
        if silent_s > SILENT_S:
            raise BridgeError(f"the robot has been silent for {silent_s:.1f} s; the control loop has stopped")
        if int(status["episode"][0]) != episode:
            return False
        log.success = bool(status["success"][0])
        return bool(status["done"][0])


def _install(buffer: ChunkBuffer, plan: Plan, step: int, log: EpisodeLog) -> None:
    log.inference_s.append(plan.seconds)
    log.delay_steps.append(step - plan.observed_step)
    log.told_steps.append(plan.told)
    try:
        gap = buffer.install(plan.chunk, plan.observed_step, step)
    except StaleChunk:
        log.stale += 1
        return
    if step > 0:
        log.gaps.append(gap)
        log.seam[step : step + buffer.fade + 1] = True
