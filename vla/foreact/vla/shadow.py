"""`foreact replay into=policy`: a policy watches a recording and says what it would have done; nothing is commanded.

Shape letters: D decisions, H chunk length, A action elements.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from foreact.episodes.contract import FeatureSpec
from foreact.episodes.convert_parts import chosen
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.ranges import require_at_least
from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.sources import Source, open_collection
from foreact.vla.actors import Actor, chunk_noise, open_actor
from foreact.vla.shadow_inputs import Moment, ShadowInputs, check_store

__all__ = ["Shadow", "ShadowConfig", "shadow", "watch"]


@dataclass(frozen=True)
class ShadowConfig:
    """Which policy watches what.

    Attributes:
        path: Recordings of any format whose streams are what the policy's contract says.
        policy: A trained policy's folder or an exported model's file.
        into: `policy`.
        recordings: Which of them, by key; all if none is named.
        every: Frames from one decision to the next.
        instruction: What the policy is told; empty for each recording's own task.
        out: Folder for `report.json` and a picture of each recording; nothing is written without it.
        pictures: Recordings that are drawn at most.
        seed: Of the noise of policies that sample.
        device: Where the policy runs.

    Raises:
        ValueError: A number that is out of range.
    """

    path: Path
    policy: Path
    into: str = "policy"
    recordings: tuple[str, ...] = ()
    every: int = 4
    instruction: str = ""
    out: Path | None = None
    pictures: int = 4
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        require_at_least(self, every=1, pictures=0)


@dataclass(frozen=True)
class Shadow:
    """What a policy would have done at moments of one recording.

    Attributes:
        key: Of the recording.
        time_ns: Of each decision, int64 (D,) [ns].
        chunks: What it would have commanded, (D, H, A) float32.
        done: What was commanded, (D, H, A) float32.
        before: The command before each decision, (D, A) float32.
        known: 1 where there was a command, (D, H).
        spent_ms: Time of each decision, (D,) [ms].
        rate_hz: Of the commands of a chunk [Hz].
    """

    key: str
    time_ns: np.ndarray
    chunks: np.ndarray
    done: np.ndarray
    before: np.ndarray
    known: np.ndarray
    spent_ms: np.ndarray
    rate_hz: float


def shadow(config: ShadowConfig, progress: ProgressFn = quiet) -> Outcome:
    """Let a policy watch recordings.

    Args:
        config: Which policy and what.
        progress: Told of each recording.

    Returns:
        One row per recording: distance of its commands from what was done, of two controls, and its time.

    Raises:
        ActorError: The policy cannot be used.
        ContractMismatch: A recording is not what the policy's contract says.
        SourceError: No such recording, or one that is damaged.
        ValueError: A recording without a moment to decide on.
    """
    actor = open_actor(config.policy, config.device)
    watched: list[Shadow] = []
    with ExitStack() as stack:
        collection = open_collection(config.path)
        stack.callback(collection.close)
        check_store(collection, actor.contract)
        keys = chosen(collection, config.recordings)
        for number, key in enumerate(keys):
            progress(number, len(keys), "watch recordings")
            with collection.open(key) as source:
                watched.append(_watched(source, actor, config))
        progress(len(keys), len(keys), "watch recordings")
    figures = _figures(watched, actor, config)
    if config.out is not None:
        _write(watched, actor.contract.action, config, figures)
    return Outcome(config.out or config.path, figures, COLUMNS, (*map(_row, watched), _total(watched)))


def watch(moments: Iterable[Moment], actor: Actor, seed: int = 0, key: str = "") -> Shadow:
    """What a policy would do at moments of a recording; its commands go nowhere.

    Args:
        moments: In order.
        actor: The policy.
        seed: Of its noise.
        key: Of the recording.

    Raises:
        ValueError: There is no moment.
    """
    seen: list[Moment] = []
    chunks: list[np.ndarray] = []
    spent: list[float] = []
    for number, moment in enumerate(moments):
        began = time.perf_counter()
        chunks.append(actor.act(moment.observation, chunk_noise(seed, number, actor.contract))[0])
        spent.append((time.perf_counter() - began) * 1e3)
        seen.append(replace(moment, observation={}))  # pictures are not kept
    if not seen:
        raise ValueError(f"{key}: there is no moment at which all streams of the contract have a sample")
    return Shadow(
        key=key,
        time_ns=np.array([moment.time_ns for moment in seen], np.int64),
        chunks=np.stack(chunks),
        done=np.stack([moment.done for moment in seen]),
        before=np.stack([moment.before for moment in seen]),
        known=np.stack([moment.known for moment in seen]),
        spent_ms=np.array(spent),
        rate_hz=actor.contract.control_rate_hz,
    )


def _watched(source: Source, actor: Actor, config: ShadowConfig) -> Shadow:
    inputs = ShadowInputs(source, actor.contract, config.instruction)
    return watch(inputs.moments(config.every), actor, config.seed, source.key)


def distance(guess: np.ndarray, watched: Shadow) -> np.ndarray:
    """Mean absolute difference from what was done, by step of the chunk and element, (H, A); NaN where nothing was.

    Args:
        guess: (D, H, A), or what broadcasts to it.
        watched: With what was done.
    """
    weight = watched.known[..., None]
    with np.errstate(invalid="ignore"):
        return (np.abs(guess - watched.done) * weight).sum(0) / weight.sum(0)


def _distances(watched: Shadow) -> dict[str, np.ndarray]:
    """Of the policy and two controls: go on with the last command, and command nothing."""
    return {
        "policy": distance(watched.chunks, watched),
        "hold": distance(watched.before[:, None], watched),
        "zero": distance(np.zeros_like(watched.done), watched),
    }


def _joined(watched: list[Shadow]) -> Shadow:
    names = ("time_ns", "chunks", "done", "before", "known", "spent_ms")
    joined = {name: np.concatenate([getattr(each, name) for each in watched]) for name in names}
    return replace(watched[0], key="all", **joined)


COLUMNS = ("recording", "decisions", "policy", "hold last", "zero", "p50 [ms]", "p99 [ms]")


def _row(watched: Shadow) -> tuple[str, ...]:
    means = [f"{np.nanmean(each):.4f}" for each in _distances(watched).values()]
    p50, p99 = np.percentile(watched.spent_ms, (50, 99))
    return (watched.key, str(len(watched.time_ns)), *means, f"{p50:.2f}", f"{p99:.2f}")


def _total(watched: list[Shadow]) -> tuple[str, ...]:
    return _row(_joined(watched))


def _figures(watched: list[Shadow], actor: Actor, config: ShadowConfig) -> dict[str, JSON]:
    contract, whole = actor.contract, _joined(watched)
    found = _distances(whole)
    return {
        "policy": str(config.policy),
        "contract_hash": contract.hash,
        "recordings": len(watched),
        "decisions": len(whole.time_ns),
        "mean_absolute_difference": {name: round(float(np.nanmean(each)), 6) for name, each in found.items()},
        "by_element": {
            name: dict(zip(contract.action.elements, _rounded(np.nanmean(each, 0)), strict=True))
            for name, each in found.items()
        },
        "by_step": {name: _rounded(np.nanmean(each, 1)) for name, each in found.items()},
        "decision_ms": dict(zip(("p50", "p99"), _rounded(np.percentile(whole.spent_ms, (50, 99))), strict=True)),
        "by_recording": {each.key: round(float(np.nanmean(distance(each.chunks, each))), 6) for each in watched},
    }


def _rounded(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 6) for value in values]


def _write(watched: list[Shadow], action: FeatureSpec, config: ShadowConfig, figures: dict[str, JSON]) -> None:
    from foreact.vla.shadow_plot import draw

    assert config.out is not None
    config.out.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(watched[: config.pictures]):
        draw(each, action, config.out / f"{number:03d}.png")
    write_json_atomic(config.out / "report.json", figures)
