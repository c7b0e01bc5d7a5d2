"""`foreact eval`: closed-loop success on layouts never trained on, with intervals, resumable, comparable by hash."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from foreact.episodes.contract import CameraSpec, PolicyContract
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import RunFolder, write_json_atomic
from foreact.episodes.statistics import wilson_interval
from foreact.sim.controllers import ControllerName
from foreact.vla.rollout import EpisodeResult, Trial

__all__ = ["EvalConfig", "EvalError", "evaluate", "load_results"]

PROTOCOL = 1


class EvalError(ValueError):
    """An evaluation that cannot be run or read."""


@dataclass(frozen=True)
class EvalConfig:
    """What to evaluate and how.

    Attributes:
        out: Run folder; one that holds the same evaluation is continued.
        tasks: Task names or aliases.
        policy: A trained policy's folder or an exported model's file; None with `agent`.
        agent: A built-in controller instead of a policy: `zero`, `random` or `expert`.
        episodes: Layouts per task.
        seed: Which layouts: index i of a task uses the evaluation layout (seed, i).
        split: Which layouts to draw from; `eval` is never trained on.
        horizon: Most control steps of an episode; Meta-World's own limit is 500.
        execute: Actions executed before looking again.
        delay: Control steps by which each chunk but an episode's first arrives late; the one before is executed
            meanwhile, and a policy that was trained with a prefix is told of it.
        told: Whether it is; false measures what the telling is worth.
        instruction: Sentence told to the policy: the task's `main` one, a `held_out` paraphrase, or any other text.
        worlds: Worlds run together by a process; changes speed, not results.
        workers: Processes.
        device: Where the policy runs.
        videos: Episodes of each kind (success, failure) per task to film; 0 for none.
    """

    out: Path
    tasks: tuple[str, ...]
    policy: Path | None = None
    agent: ControllerName | None = None
    episodes: int = 20
    seed: int = 0
    split: Literal["eval", "calibration", "train"] = "eval"
    horizon: int = 500
    execute: int = 8
    delay: int = 0
    told: bool = True
    instruction: str = "main"
    worlds: int = 10
    workers: int = 2
    device: str = "cpu"
    videos: int = 1

    def __post_init__(self) -> None:
        if (self.policy is None) == (self.agent is None):
            raise EvalError("eval: give either policy=PATH or --agent zero|random|expert")
        least = {"episodes": 1, "horizon": 1, "execute": 1, "worlds": 1, "workers": 1, "videos": 0, "delay": 0}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise EvalError(f"eval: {name}={getattr(self, name)} is out of range; give {low} or more")


@dataclass(frozen=True)
class _Job:
    """Some episodes of one task for one process."""

    config: EvalConfig
    trials: tuple[Trial, ...]


def evaluate(config: EvalConfig, progress: ProgressFn = quiet) -> Outcome:
    """Evaluate a policy or a built-in controller, or continue the evaluation in `config.out`.

    Args:
        config: What and how.
        progress: Told of each finished episode.

    Raises:
        EvalError, ActorError, CheckpointError: The policy cannot be used.
        UnknownTask: A task name is unknown.
        RunError: `config.out` holds another evaluation.
    """
    from foreact.episodes.workers import worker_processes

    if config.agent is not None and (names := _simulated(config)):
        return _run_agents(config, names, config.agent, progress)
    contract = _contract(config)
    trials = _trials(config)
    RunFolder.resume_or_create(config.out, "eval", config, config.seed)
    started = time.monotonic()
    missing = [trial for trial in trials if not _episode_file(config.out, trial).exists()]
    done = len(trials) - len(missing)
    progress(done, len(trials), "evaluate")
    with worker_processes(config.workers) as pool:
        for finished in as_completed([pool.submit(_run_job, job) for job in _jobs(config, missing)]):
            done += finished.result()
            progress(done, len(trials), "evaluate")
    report = _report(config, trials, contract, time.monotonic() - started)
    write_json_atomic(config.out / "report.json", report)
    if config.videos:
        from foreact.vla.showcase import film

        film(config.out, config.videos, progress)
    return _outcome(config, report)


def _simulated(config: EvalConfig) -> tuple[str, ...]:
    """The tasks, if they are worlds of terms and not of Meta-World; one evaluation has one kind."""
    from foreact.sim.registry import resolve, sim_task

    names = resolve(config.tasks)
    kinds = {name: sim_task(name) is not None for name in names}
    if len(set(kinds.values())) > 1:
        raise EvalError(f"eval: tasks of two kinds cannot be evaluated together: {', '.join(names)}")
    return names if kinds[names[0]] else ()


def _run_agents(config: EvalConfig, names: tuple[str, ...], agent: ControllerName, progress: ProgressFn) -> Outcome:
    """A built-in agent on simulated tasks: returns and lengths, and success where a task has it."""
    from foreact.sim.agents import check_agent, run_agent

    for name in names:
        check_agent(name, agent)
    RunFolder.resume_or_create(config.out, "eval", config, config.seed)
    figures: dict[str, Any] = {}
    for done, name in enumerate(names):
        progress(done, len(names), "evaluate")
        episodes = run_agent(name, agent, config.episodes, config.seed, config.horizon)
        figures[name] = {
            "return_mean": round(float(episodes.returns.mean()), 4),
            "return_std": round(float(episodes.returns.std()), 4),
            "steps_mean": round(float(episodes.steps.mean()), 2),
            **({} if episodes.success is None else _rate(episodes.success.tolist())),
        }
    progress(len(names), len(names), "evaluate")
    report = {"policy": f"agent {agent}", "tasks": figures, "episodes": config.episodes, "horizon": config.horizon}
    write_json_atomic(config.out / "report.json", report)
    rows = tuple(
        (
            name,
            f"{each['return_mean']:.2f} ± {each['return_std']:.2f}",
            f"{each['steps_mean']:.1f}",
            f"{each['success']:.2f}" if "success" in each else "",
            str(config.episodes),
        )
        for name, each in figures.items()
    )
    return Outcome(config.out, report, ("task", "return", "steps", "success", "episodes"), rows)


def load_results(out: Path) -> list[dict[str, Any]]:
    """All finished episodes of an evaluation folder, by task and index."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((out / "episodes").glob("*.json"))]
    return sorted(rows, key=lambda row: (row["task"], row["index"]))


def _contract(config: EvalConfig) -> PolicyContract | None:
    if config.policy is None:
        return None
    from foreact.vla.actors import longest_prefix, open_actor

    actor = open_actor(config.policy, config.device)
    contract, longest = actor.contract, longest_prefix(actor)
    _check_simulated(contract)
    if config.execute > contract.chunk_length:
        raise EvalError(f"eval: execute={config.execute} but the policy's chunks have {contract.chunk_length} actions")
    most = min(config.execute, contract.chunk_length - config.execute)
    if config.delay > most:
        raise EvalError(
            f"eval: delay={config.delay} but with execute={config.execute} of chunks of "
            f"{contract.chunk_length} actions at most {most} can be bridged"
        )
    if config.told and longest and config.delay > longest:
        raise EvalError(
            f"eval: delay={config.delay} but the policy was trained for at most {longest}; type told=false "
            "to tell it nothing"
        )
    return contract


def _check_simulated(contract: PolicyContract) -> None:
    """The simulator provides exactly this state, action, rate and embodiment; only cameras are the policy's choice."""
    from foreact.episodes.contract import require_same
    from foreact.sim.metaworld import policy_contract

    simulated = replace(policy_contract(chunk_length=contract.chunk_length), cameras=contract.cameras)
    if contract.language is None:
        simulated = replace(simulated, language=None)  # a policy of one task need not be told which
    require_same(simulated, contract, "evaluation in the Meta-World simulator")


def _trials(config: EvalConfig) -> list[Trial]:
    from foreact.sim.registry import definition, resolve
    from foreact.sim.seeds import layout_seed

    trials = []
    for task in resolve(config.tasks):
        text = definition(task).text
        sentences = {"main": text.main, "held_out": text.held_out}
        instruction = sentences.get(config.instruction, config.instruction)
        for index in range(config.episodes):
            trials.append(Trial(task, index, layout_seed(config.split, config.seed, index), instruction))
    return trials


def _jobs(config: EvalConfig, trials: Sequence[Trial]) -> list[_Job]:
    jobs = []
    for task in dict.fromkeys(trial.task for trial in trials):
        mine = [trial for trial in trials if trial.task == task]
        jobs += [_Job(config, tuple(mine[i : i + config.worlds])) for i in range(0, len(mine), config.worlds)]
    return jobs


def _run_job(job: _Job) -> int:
    from foreact.episodes.workers import give_back_memory
    from foreact.sim.worlds import Worlds
    from foreact.vla.rollout import Lateness, run_actor, run_controller

    config = job.config
    names = [trial.task for trial in job.trials]
    if config.agent is not None:
        results = run_controller(Worlds(names), job.trials, config.agent, config.horizon)
    else:
        actor = _actor(config)
        cameras: tuple[CameraSpec, ...] = actor.contract.cameras
        late = Lateness(config.delay, config.told)
        results = run_actor(Worlds(names, cameras), job.trials, actor, config.horizon, config.execute, late)
    for result in results:
        _write_episode(config.out, result)
    give_back_memory()
    return len(results)


_ACTORS: dict[tuple[Path, str], Any] = {}


def _actor(config: EvalConfig) -> Any:  # noqa: ANN401
    """The policy, opened once per process."""
    import torch

    from foreact.vla.actors import open_actor

    assert config.policy is not None
    key = (config.policy, config.device)
    if key not in _ACTORS:
        torch.set_num_threads(1)
        _ACTORS[key] = open_actor(*key)
    return _ACTORS[key]


def _episode_file(out: Path, trial: Trial) -> Path:
    return out / "episodes" / f"{trial.task}-{trial.index:05d}.json"


def _write_episode(out: Path, result: EpisodeResult) -> None:
    trial = result.trial
    row = {
        "task": trial.task, "index": trial.index, "seed": trial.seed, "instruction": trial.instruction,
        "success": result.success, "steps": len(result.actions), "actions": result.actions.tolist(),
    }  # fmt: skip
    write_json_atomic(_episode_file(out, trial), row)


def _report(
    config: EvalConfig, trials: Sequence[Trial], contract: PolicyContract | None, wall_s: float
) -> dict[str, JSON]:
    rows = [json.loads(_episode_file(config.out, trial).read_text(encoding="utf-8")) for trial in trials]
    per_task = {}
    for task in dict.fromkeys(trial.task for trial in trials):
        outcomes = [row["success"] for row in rows if row["task"] == task]
        per_task[task] = _rate(outcomes)
    protocol = _protocol(config, trials)
    means = [entry["success"] for entry in per_task.values()]
    return {
        "success_mean": sum(means) / len(means),
        "success_interval": list(wilson_interval(sum(row["success"] for row in rows), len(rows))),
        "success_per_task": per_task,
        "episodes": len(rows),
        "protocol": protocol,
        "protocol_hash": hashlib.sha256(json.dumps(protocol, sort_keys=True).encode()).hexdigest(),
        "contract_hash": contract.hash if contract else None,
        "policy": str(config.policy) if config.policy else f"agent {config.agent}",
        "wall_s": round(wall_s, 1),
    }


def _rate(outcomes: Sequence[bool]) -> dict[str, Any]:
    low, high = wilson_interval(sum(outcomes), len(outcomes))
    return {"success": sum(outcomes) / len(outcomes), "interval": [low, high], "episodes": len(outcomes)}


def _protocol(config: EvalConfig, trials: Sequence[Trial]) -> dict[str, JSON]:
    """Everything that two evaluations must share before their figures may be compared."""
    return {
        "version": PROTOCOL,
        "trials": [[trial.task, trial.seed, trial.instruction] for trial in trials],
        "horizon": config.horizon,
        "execute": config.execute,
        **({"delay": config.delay} if config.delay else {}),
        "success": "solved at any step, by Meta-World's own rule",
        "packages": {name: metadata.version(name) for name in ("metaworld", "mujoco", "mujoco-warp")},
    }


def _outcome(config: EvalConfig, report: Mapping[str, Any]) -> Outcome:
    rows = [
        (
            task,
            f"{entry['success']:.2f}",
            f"{entry['interval'][0]:.2f} to {entry['interval'][1]:.2f}",
            str(entry["episodes"]),
        )
        for task, entry in report["success_per_task"].items()
    ]
    low, high = report["success_interval"]
    rows.append(("mean", f"{report['success_mean']:.3f}", f"{low:.2f} to {high:.2f}", str(report["episodes"])))
    figures = {key: value for key, value in report.items() if key != "protocol"}
    return Outcome(config.out, figures, ("task", "success", "95 % interval", "episodes"), tuple(rows))
