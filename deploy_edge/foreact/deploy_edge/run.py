"""`foreact run`: an exported policy drives a simulated robot in real time, each in a process of its own.

The control process holds the policy, onnxruntime and a loop at the contract's rate; the robot process holds the
simulator. They share memory and nothing else, as they would on a robot. All figures are measured in the loop itself.
"""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from foreact.deploy_edge import simulated_robot
from foreact.deploy_edge.deadline_plot import draw_lateness
from foreact.deploy_edge.processes import interruptible, module_process, read_report, wait_for
from foreact.deploy_edge.runtime import process
from foreact.deploy_edge.runtime.bridge import Bridge, free_place
from foreact.deploy_edge.runtime.choice import CHOSEN, chosen, require_robot_engine
from foreact.deploy_edge.runtime.engine import open_policy
from foreact.deploy_edge.runtime.histogram import Histogram
from foreact.deploy_edge.runtime.process import ControlSettings
from foreact.deploy_edge.runtime.report import lateness_figures
from foreact.deploy_edge.simulated_robot import RobotSettings, layout_seeds, task_and_instruction
from foreact.episodes.contract import PolicyContract
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.ranges import require_at_least
from foreact.episodes.runfolder import RunFolder, write_json_atomic

__all__ = ["RunConfig", "run"]

START_S = 150.0  # the renderer may have to be compiled first


@dataclass(frozen=True)
class RunConfig:
    """What to run, on which robot, for how long.

    Attributes:
        policy: A file written by `foreact export` or `foreact compress`.
        task: Task name or alias.
        out: Run folder; one that holds the same run is run again, its report replaced.
        episodes: Layouts to run, the first ones of `foreact eval` with the same seed.
        seed: Which layouts; also of the noise of policies that sample.
        seconds: Longest episode [s].
        instruction: Sentence told to the policy: the task's `main` one, a `held_out` paraphrase, or any other text.
        rate_hz: Control rate [Hz]; the contract's, so it need not be given.
        execute: Control steps from one observation to the next that the policy uses.
        fade: Control steps over which a chunk fades into the next; 0 switches at once.
        front: Side of the robot's fixed view [px].
        wrist: Side of the robot's wrist view [px].
        frame_every: The robot takes pictures every so many control steps.
        engine: `onnxruntime`, `openvino`, `tensorrt`, `tensorrt-rtx`, or `chosen`: what
            `foreact export to=engine` found best on this machine.
        fifo: Ask the kernel for real-time scheduling of the control loop (needs the right to).

    Raises:
        ValueError: A value is out of range.
    """

    policy: Path
    task: str
    out: Path
    episodes: int = 3
    seed: int = 0
    seconds: float = 6.25
    instruction: str = "main"
    rate_hz: float | None = None
    execute: int = 8
    fade: int = 4
    front: int = 96
    wrist: int = 64
    frame_every: int = 2
    engine: str = "onnxruntime"
    fifo: bool = False

    def __post_init__(self) -> None:
        require_at_least(self, episodes=1, execute=1, fade=0, front=8, wrist=8, frame_every=1)
        if not 0 < self.seconds <= 3600:
            raise ValueError(f"seconds={self.seconds} is out of range; give more than 0 and at most 3600")


def run(config: RunConfig, progress: ProgressFn = quiet) -> Outcome:
    """Run episodes in real time and report how well the loop kept its deadlines.

    Args:
        config: What and how.
        progress: Told of each episode.

    Raises:
        EngineError: The policy cannot be used.
        ValueError: A rate that is not the contract's, or more executed actions than a chunk has.
        UnknownTask: The task is unknown; near matches are listed.
        RunError: `config.out` holds another run.
        ProcessFailure: The robot does not fit the policy, or a process failed; nothing was commanded in the first case.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the report of what was run is written.
    """
    engine, contract = _tried(config)
    _check(config, contract)
    task, instruction = task_and_instruction(config.task, config.instruction)
    RunFolder.resume_or_create(config.out, "run", config, config.seed)
    with tempfile.TemporaryDirectory(prefix="foreact-run-") as folder, interruptible():
        named = replace(config, engine=engine)
        report, robot, interrupted = _both_processes(named, contract, task, instruction, Path(folder), progress)
    figures = _figures(config, contract, task, instruction, report, robot)
    figures["histogram"] = _draw(config, figures, contract)
    write_json_atomic(config.out / "report.json", {**figures, "episodes": report["episodes"]})
    if interrupted:
        raise KeyboardInterrupt
    return Outcome(config.out, figures, _COLUMNS, _rows(report["episodes"]))


def _tried(config: RunConfig) -> tuple[str, PolicyContract]:
    """The engine that will run the policy, and the contract of the policy that passed its gate in it."""
    choice = chosen(config.policy) if config.engine == CHOSEN else None
    engine = require_robot_engine(config.engine) if choice is None else choice.engine
    opened = open_policy(config.policy, engine)
    try:
        if choice is not None:
            choice.require_version(opened.runtime.version, config.policy)
        return engine, opened.contract
    finally:
        opened.close()


def _check(config: RunConfig, contract: PolicyContract) -> None:
    rate = contract.control_rate_hz
    if config.rate_hz is not None and config.rate_hz != rate:
        raise ValueError(
            f"rate_hz={config.rate_hz:g} but the policy's contract says control_rate_hz {rate:g}; leave it out"
        )
    if config.execute > contract.chunk_length:
        raise ValueError(f"execute={config.execute} but the policy's chunks have {contract.chunk_length} actions")


def _both_processes(
    config: RunConfig, contract: PolicyContract, task: str, instruction: str, folder: Path, progress: ProgressFn
) -> tuple[dict[str, Any], dict[str, Any], bool]:
    bridge = free_place(folder)
    paths = {name: folder / f"{name}.json" for name in ("control", "robot", "control-report", "robot-report")}
    steps = round(config.seconds * contract.control_rate_hz)
    control = ControlSettings(
        policy=str(config.policy), bridge=str(bridge), report=str(paths["control-report"]), instruction=instruction,
        episodes=config.episodes, seconds=config.seconds, execute=config.execute, fade=config.fade, seed=config.seed,
        fifo=config.fifo, engine=config.engine,
    )  # fmt: skip
    robot = RobotSettings(
        bridge=str(bridge), report=str(paths["robot-report"]), task=task,
        seeds=layout_seeds(config.seed, config.episodes), front=config.front, wrist=config.wrist,
        frame_every=config.frame_every, horizon=steps,
    )  # fmt: skip
    write_json_atomic(paths["control"], asdict(control))
    write_json_atomic(paths["robot"], asdict(robot))
    logs = {name: config.out / f"{name}.log" for name in ("robot", "control")}
    watch = _Watch(bridge, config.episodes, progress)
    playing = module_process(simulated_robot.__name__, paths["robot"], logs["robot"])
    driving = module_process(process.__name__, paths["control"], logs["control"])
    interrupted = False
    try:
        wait_for(driving, playing, watch, START_S + 2 * config.episodes * config.seconds)
    except KeyboardInterrupt:
        if not paths["control-report"].exists():  # asked to stop before anything ran
            raise
        interrupted = True
    finally:
        bridge.unlink(missing_ok=True)
    if playing.returncode != 0 and paths["robot-report"].exists():
        read_report(paths["robot-report"], logs["robot"])  # a robot that failed is the reason for whatever followed
    report = read_report(paths["control-report"], logs["control"])
    return report, read_report(paths["robot-report"], logs["robot"]), interrupted


class _Watch:
    """Looks over the shoulder of a run and tells how far it is."""

    def __init__(self, bridge: Path, episodes: int, progress: ProgressFn) -> None:
        self._path, self._episodes, self._progress = bridge, episodes, progress
        self._bridge: Bridge | None = None
        self._shown = -1

    def __call__(self) -> None:
        if self._bridge is None:
            if not self._path.exists():
                return
            self._bridge = Bridge.open(self._path)
        status = self._bridge.status.read()
        if status is not None:
            episode, done = int(status["episode"][0]), int(status["done"][0])
            finished = episode + done
            if finished > self._shown:
                self._shown = finished
                self._progress(finished, self._episodes, "run")


def _figures(
    config: RunConfig,
    contract: PolicyContract,
    task: str,
    instruction: str,
    report: dict[str, Any],
    robot: dict[str, Any],
) -> dict[str, Any]:
    episodes: list[dict[str, Any]] = report["episodes"]
    lateness = Histogram()
    for episode in episodes:
        lateness.merge(episode["lateness_buckets_us"], episode["lateness_us"]["max"])
    inference = [episode["inference_ms"] for episode in episodes if episode["inferences"]]
    steps, seconds = (sum(episode[name] for episode in episodes) for name in ("steps", "seconds"))
    seams = [episode["seams"] for episode in episodes]
    return {
        "policy": str(config.policy),
        "task": task,
        "instruction": instruction,
        "success": [episode["success"] for episode in episodes],
        "success_mean": sum(episode["success"] for episode in episodes) / max(1, len(episodes)),
        "rate_wanted_hz": contract.control_rate_hz,
        "rate_hz": round((steps - len(episodes)) / seconds, 3) if seconds else 0.0,
        "steps": steps,
        "misses": sum(episode["misses"] for episode in episodes),
        "lateness_us": lateness_figures(lateness),
        "lateness_buckets_us": [list(bucket) for bucket in lateness.buckets()],
        "inference_ms": {name: max((each[name] for each in inference), default=None) for name in ("p50", "p99", "max")},
        "seam_jump_max": max((seam["jump_max"] for seam in seams), default=0.0),
        "seam_gap_max": max((seam["gap_max"] for seam in seams), default=0.0),
        "normal_step_max": max((seam["normal_step_max"] for seam in seams), default=0.0),
        **{
            name: sum(episode[name] for episode in episodes)
            for name in ("starved_steps", "stale_chunks", "refused_actions", "later_than_told")
        },
        "delay_steps_max": max((episode["delay_steps_max"] for episode in episodes), default=0),
        "told_steps_max": max((episode["told_steps_max"] for episode in episodes), default=0),
        "engine": report["engine"],
        "robot": robot,
        "control_process_heavy_modules": report["heavy_modules"],
        "stopped_by": report["stopped_by"],
        "contract_hash": report["contract_hash"],
    }


def _draw(config: RunConfig, figures: dict[str, Any], contract: PolicyContract) -> JSON:
    if importlib.util.find_spec("matplotlib") is None:
        return "not drawn: matplotlib is not installed; type: pip install 'foreact[viz]'"
    if not figures["lateness_buckets_us"]:
        return "not drawn: no control step was run"
    path = config.out / "lateness.png"
    title = f"{figures['task']}: lateness of {figures['steps']} control steps at {contract.control_rate_hz:g} Hz"
    draw_lateness(path, figures["lateness_buckets_us"], 1e6 / contract.control_rate_hz, title)
    return str(path)


_COLUMNS = (
    "episode",
    "success",
    "steps",
    "rate",
    "late p50 / p99 / max",
    "missed",
    "inference p50 / p99",
    "delay told / was",
    "seam / other steps",
)


def _rows(episodes: list[dict[str, Any]]) -> tuple[tuple[str, ...], ...]:
    return tuple(_row(number, episode) for number, episode in enumerate(episodes))


def _row(number: int, episode: dict[str, Any]) -> tuple[str, ...]:
    late, inference, seams = episode["lateness_us"], episode["inference_ms"], episode["seams"]
    return (
        str(number),
        "yes" if episode["success"] else "no",
        str(episode["steps"]),
        f"{episode['rate_hz']:.2f} Hz",
        f"{late['p50']} / {late['p99']} / {late['max']} us",
        str(episode["misses"]),
        f"{inference['p50']} / {inference['p99']} ms",
        f"{episode['told_steps_max']} / {episode['delay_steps_max']}",
        f"{seams['jump_max']:.3f} / {seams['normal_step_max']:.3f}",
    )
