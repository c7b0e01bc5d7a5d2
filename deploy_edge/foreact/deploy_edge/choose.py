"""`foreact export to=engine`: which inference engine should run a model on this machine, and why.

Every candidate is loaded with exactly the settings that `foreact run` uses, must pass the golden gate, and is timed in
turn with the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from foreact.deploy_edge.latency import Latency, interleaved
from foreact.deploy_edge.runtime.checked_file import CheckedFile, check_file
from foreact.deploy_edge.runtime.choice import CHOICE_KIND, NOT_ON_ROBOTS, Choice, choice_path
from foreact.deploy_edge.runtime.engine import contract_in, open_policy
from foreact.deploy_edge.runtime.engines import open_runtime, require_engine
from foreact.deploy_edge.runtime.golden import (
    GOLDEN_KEY,
    ChunkFunction,
    Golden,
    GoldenError,
    check_golden,
    chunk_function,
    read_golden,
)
from foreact.deploy_edge.runtime.protocol import Runtime, RuntimeFailure, RuntimeMissing
from foreact.deploy_edge.runtime.refusal import EngineError
from foreact.episodes.contract import PolicyContract
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.ranges import require_at_least
from foreact.episodes.runfolder import describe_machine, write_json_atomic

__all__ = ["ChooseConfig", "choose"]

EQUAL = 0.03  # engines whose times differ by less are equally fast: then the one named first is taken


@dataclass(frozen=True)
class ChooseConfig:
    """Which model, and which engines may run it.

    Attributes:
        model: A file written by `foreact export` or `foreact compress`, with its golden inputs beside it.
        out: Where the decision goes: beside the model, where `foreact run engine=chosen` looks for it.
        candidates: Engines, the preferred one first; `torch` and `executorch` are timed for comparison only.
        policy: The trained policy, for the candidate torch.
        pte: The .pte file, for the candidate executorch.
        rounds: Timed inferences.
        threads: Threads of one inference.
        to: `engine`.

    Raises:
        ValueError: A value is out of range, or an engine is unknown.
    """

    model: Path
    out: Path | None = None
    candidates: tuple[str, ...] = ("onnxruntime", "openvino")
    policy: Path | None = None
    pte: Path | None = None
    rounds: int = 200
    threads: int = 1
    to: str = "engine"

    def __post_init__(self) -> None:
        require_at_least(self, rounds=1, threads=1)
        for name in self.candidates:
            require_engine(name)
        if not self.candidates or len(set(self.candidates)) != len(self.candidates):
            raise ValueError(f"candidates={list(self.candidates)}: name each engine once, and at least one")
        if self.out is not None and self.out != choice_path(self.model):
            raise ValueError(
                f"out={self.out}: foreact run engine=chosen looks for {choice_path(self.model)}; leave out= out"
            )


@dataclass
class _Candidate:
    """What became of an engine."""

    engine: str
    status: str = ""
    reason: str = ""
    version: str = ""
    options: tuple[str, ...] = ()
    load_cpu_s: float | None = None
    load_wall_s: float | None = None
    gate: dict[str, JSON] | None = None
    latency: Latency | None = None

    def row(self) -> dict[str, JSON]:
        return {**asdict(self), "options": list(self.options)}


def choose(config: ChooseConfig, progress: ProgressFn = quiet) -> Outcome:
    """Try every candidate and write which one it should be.

    Args:
        config: What to try.
        progress: Told of each candidate.

    Raises:
        EngineError: The model cannot be used, or no candidate that a robot can run passed the gate; the decision is
            not written then.
    """
    checked = check_file(config.model)
    contract, golden = _golden(checked)
    candidates = [_Candidate(name) for name in config.candidates]
    calls: dict[str, Callable[[], object]] = {}
    for number, candidate in enumerate(candidates):
        progress(number, len(candidates) + 1, "choose")
        run = _tried(candidate, config, golden, contract)
        if run is not None:
            calls[candidate.engine] = _call(run, golden)
    progress(len(candidates), len(candidates) + 1, "choose")
    for name, latency in (interleaved(calls, config.rounds) if calls else {}).items():
        next(each for each in candidates if each.engine == name).latency = latency
    best = _decided(candidates, config.model)
    out = choice_path(config.model)
    rows = tuple(each.row() for each in candidates)
    choice = Choice(
        CHOICE_KIND, checked.sha256, best.engine, best.version, config.threads, best.reason, describe_machine(), rows,
        config.rounds,
    )  # fmt: skip
    write_json_atomic(out, choice)
    progress(len(candidates) + 1, len(candidates) + 1, "choose")
    return Outcome(out, asdict(choice), _COLUMNS, tuple(_row(each) for each in candidates))


def _golden(checked: CheckedFile) -> tuple[PolicyContract, Golden]:
    metadata = checked.outline.metadata
    contract = contract_in(metadata, str(checked.path))
    try:
        return contract, read_golden(checked.path, contract, metadata.get(GOLDEN_KEY))
    except GoldenError as error:
        raise EngineError(str(error)) from error


def _tried(
    candidate: _Candidate, config: ChooseConfig, golden: Golden, contract: PolicyContract
) -> ChunkFunction | None:
    """A candidate loaded and gated; None, with the reason noted, if it cannot be used."""
    started, started_cpu = time.perf_counter(), time.process_time()
    try:
        runtime = _loaded(candidate.engine, config)
        run = chunk_function(runtime)
        result = check_golden(run, golden, contract)
    except RuntimeMissing as error:
        candidate.status, candidate.reason = "missing", str(error)
        return None
    except (RuntimeFailure, EngineError, GoldenError) as error:
        candidate.status, candidate.reason = "failed", str(error)
        return None
    candidate.load_wall_s = round(time.perf_counter() - started, 4)
    candidate.load_cpu_s = round(time.process_time() - started_cpu, 4)
    candidate.version, candidate.options, candidate.gate = runtime.version, runtime.stats().notes, result.figures()
    if not result.passed:
        candidate.status, candidate.reason = "failed gate", result.fault
        runtime.close()
        return None
    return run


def _loaded(engine: str, config: ChooseConfig) -> Runtime:
    if engine not in NOT_ON_ROBOTS:
        return open_policy(config.model, engine, config.threads, gate="none").runtime
    path = config.policy if engine == "torch" else config.pte
    if path is None:
        key = "policy=RUN" if engine == "torch" else "pte=policy.pte"
        raise RuntimeMissing(f"the candidate {engine} needs a file of its own; give {key}")
    return open_runtime(engine, path, config.threads)


def _call(run: ChunkFunction, golden: Golden) -> Callable[[], object]:
    return lambda: run(golden.inputs[0])


def _decided(candidates: list[_Candidate], model: Path) -> _Candidate:
    """The fastest that passed; every candidate gets its reason."""
    timed = [each for each in candidates if each.latency is not None]
    able = [each for each in timed if each.engine not in NOT_ON_ROBOTS]
    if not able:
        rows = "; ".join(f"{each.engine}: {each.status}: {each.reason}" for each in candidates)
        raise EngineError(f"no engine can run {model} on this machine: {rows}")
    fastest = min(_wall(each) for each in able)
    best = next(each for each in able if _wall(each) <= fastest * (1 + EQUAL))
    for each in timed:
        ratio = _wall(each) / _wall(best)
        if each is best:
            others = ", ".join(f"{other.engine} {_wall(other):.3f}" for other in able if other is not best)
            beside = f"; beside it {others} ms" if others else "; no other engine passed"
            each.status, each.reason = "chosen", f"{_wall(each):.3f} ms for one inference{beside}"
        elif each.engine in NOT_ON_ROBOTS:
            each.status, each.reason = "for comparison", f"{ratio:.2f} x the time, and it imports torch"
        else:
            equal = _wall(each) <= fastest * (1 + EQUAL)
            each.status = "as fast" if equal else "slower"
            each.reason = f"{ratio:.2f} x the time{', and it was named later' if equal else ''}"
    return best


def _wall(candidate: _Candidate) -> float:
    assert candidate.latency is not None
    return candidate.latency.wall_ms


_COLUMNS = ("engine", "decision", "wall", "CPU", "load", "smallest cosine", "why")


def _row(candidate: _Candidate) -> tuple[str, ...]:
    latency, gate = candidate.latency, candidate.gate or {}
    return (
        f"{candidate.engine} {candidate.version}".strip(),
        candidate.status,
        "" if latency is None else f"{latency.wall_ms:.3f} ms",
        "" if latency is None else f"{latency.cpu_ms:.3f} ms",
        "" if candidate.load_wall_s is None else f"{candidate.load_wall_s:.2f} s",
        str(gate.get("min_cosine", "")),
        candidate.reason,
    )
