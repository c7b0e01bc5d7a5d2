"""The control process: `python -m foreact.deploy_edge.runtime.process SETTINGS.json`.

It opens the policy and the robot's shared memory, compares their contracts before the first action, runs the episodes
and writes one report. Ctrl-C and SIGTERM end it after the present control step, with a report.
"""

import gc
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreact.deploy_edge.runtime.bridge import SHUTDOWN, Bridge
from foreact.deploy_edge.runtime.compatibility import require_provided
from foreact.deploy_edge.runtime.engine import PolicyEngine, open_policy
from foreact.deploy_edge.runtime.loop import ControlLoop, EpisodeLog
from foreact.deploy_edge.runtime.planner import Engine, Planner
from foreact.deploy_edge.runtime.report import episode_report, loaded_heavy_modules
from foreact.deploy_edge.runtime.ticker import Ticker
from foreact.episodes import strictjson
from foreact.episodes.contract import PolicyContract
from foreact.episodes.language import tokenize
from foreact.episodes.outcome import JSON
from foreact.episodes.runfolder import write_json_atomic

__all__ = ["ControlSettings", "StopFlag", "control", "main"]

FIFO_PRIORITY = 50


@dataclass(frozen=True)
class ControlSettings:
    """What a control process is told.

    Attributes:
        policy: Exported policy.
        bridge: The robot's shared file.
        report: Where the report goes.
        instruction: What the policy is told.
        episodes: How many to run.
        seconds: Longest episode [s].
        execute: Control steps from one observation to the next that is used.
        fade: Steps over which a plan fades into the next.
        seed: Of the noise of policies that sample.
        fifo: Ask the kernel for real-time scheduling of the control loop.
        engine: Name of the inference engine.
    """

    policy: str
    bridge: str
    report: str
    instruction: str
    episodes: int
    seconds: float
    execute: int
    fade: int
    seed: int
    fifo: bool
    engine: str = "onnxruntime"


class StopFlag:
    """True once the process was asked to stop, or its parent is gone."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self.signal = ""

    def install(self) -> None:
        """Listen for Ctrl-C and SIGTERM."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def __call__(self) -> bool:
        """Whether to stop now."""
        return bool(self.signal) or os.getppid() != self._parent

    def _on_signal(self, number: int, _frame: object) -> None:
        self.signal = signal.Signals(number).name


def control(
    settings: ControlSettings, engine: Engine, bridge: Bridge, stop: StopFlag, ticker: Ticker | None = None
) -> dict[str, JSON]:
    """Run the episodes.

    Args:
        settings: What to do.
        engine: The policy.
        bridge: The robot.
        stop: Asked every step.
        ticker: Gives the deadlines; None for those of the contract's rate.

    Returns:
        The report.

    Raises:
        ContractMismatch: The robot is not the one that the policy was made for.
        BridgeError: The robot does not answer.
    """
    contract = engine.contract
    require_provided(contract, bridge.contract, "policy and robot")
    language = contract.language
    tokens = None if language is None else tokenize(settings.instruction, language)
    planner = Planner(engine, bridge.frame, tokens, settings.execute, settings.seed)
    loop = ControlLoop(bridge, planner, ticker or Ticker(contract.control_rate_hz), settings.fade, stop)
    max_steps = max(1, round(settings.seconds * contract.control_rate_hz))
    planner.start()
    if settings.fifo:
        _ask_for_fifo()  # after the planner has started: a thread inherits how its parent is scheduled
    logs: list[EpisodeLog] = []
    gc.collect()
    gc.disable()  # a collection in the middle of a period would be a late command
    try:
        while len(logs) < settings.episodes and not stop():
            logs.append(loop.run_episode(len(logs), max_steps))
    finally:
        gc.enable()
        planner.close()
        _say_goodbye(bridge)
    return _report(logs, contract, stop)


def main(arguments: list[str]) -> int:
    """Run with the settings file named on the command line; exit code 0 means a report without error."""
    if len(arguments) != 1:
        print("usage: python -m foreact.deploy_edge.runtime.process SETTINGS.json", file=sys.stderr)
        return 2
    stop = StopFlag()
    stop.install()
    settings = strictjson.decode(
        ControlSettings, json.loads(Path(arguments[0]).read_text(encoding="utf-8")), "settings"
    )
    try:
        engine = open_policy(Path(settings.policy), settings.engine)
        report = control(settings, engine, Bridge.open(Path(settings.bridge)), stop)
        report["engine"] = _engine_report(engine)
    except Exception as error:
        write_json_atomic(Path(settings.report), {"error": str(error), "kind": type(error).__name__})
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    write_json_atomic(Path(settings.report), report)
    return 0


def _report(logs: list[EpisodeLog], contract: PolicyContract, stop: StopFlag) -> dict[str, JSON]:
    return {
        "contract_hash": contract.hash,
        "heavy_modules": loaded_heavy_modules(),
        "stopped_by": stop.signal,
        "episodes": [episode_report(log, contract.control_rate_hz) for log in logs],
    }


def _engine_report(engine: PolicyEngine) -> dict[str, JSON]:
    stats = engine.runtime.stats()
    return {
        "name": engine.runtime.name,
        "version": engine.runtime.version,
        "load_s": round(stats.load_s, 4),
        "notes": list(stats.notes),
        "gate": None if engine.gate is None else engine.gate.figures(),
        "longest_prefix": engine.prefix,
    }


def _say_goodbye(bridge: Bridge) -> None:
    zeros = np.zeros(bridge.contract.action.shape, np.float32)
    bridge.command.write({"episode": SHUTDOWN, "step": 0, "time_ns": 0, "action": zeros})


def _ask_for_fifo() -> None:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    except (AttributeError, PermissionError) as error:
        raise RuntimeError(
            f"fifo=true: this user may not ask for real-time scheduling ({error}); "
            "allow it with `ulimit -r 50` as root, or type fifo=false"
        ) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
