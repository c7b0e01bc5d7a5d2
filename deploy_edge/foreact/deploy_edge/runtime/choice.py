"""Which engine was found best for a model on this machine, read back and compared with what is here now."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from foreact.deploy_edge.runtime.engines import require_engine
from foreact.deploy_edge.runtime.refusal import EngineError
from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON
from foreact.episodes.runfolder import describe_machine

__all__ = ["CHOICE_KIND", "CHOSEN", "NOT_ON_ROBOTS", "Choice", "choice_path", "chosen", "require_robot_engine"]

CHOSEN = "chosen"
CHOICE_KIND = "foreact engine choice"
NOT_ON_ROBOTS = ("torch", "executorch")  # both import torch
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Choice:
    """The decision that `foreact export to=engine` wrote.

    Attributes:
        kind: `CHOICE_KIND`.
        model_sha256: Of the model file.
        engine: Name of the engine.
        version: Of the engine's package.
        threads: Threads of one inference.
        reason: Why this one.
        machine: Where it was decided.
        candidates: What became of each, in the order they were named.
        rounds: Timed inferences.
    """

    kind: str
    model_sha256: str
    engine: str
    version: str
    threads: int
    reason: str
    machine: dict[str, JSON]
    candidates: tuple[dict[str, JSON], ...]
    rounds: int

    def require_version(self, version: str, model: Path) -> None:
        """Refuse a decision that was made about another version of the engine.

        Raises:
            EngineError: It was.
        """
        if version != self.version:
            raise EngineError(
                f"{choice_path(model)} chose {self.engine} {self.version}, {version} is installed; {_again(model)}"
            )


def choice_path(model: Path) -> Path:
    """Where the decision about a model lies: `policy.int8.onnx` has `policy.int8.engine.json`."""
    return model.with_suffix(".engine.json")


def chosen(model: Path) -> Choice:
    """The decision about a model, if it holds here.

    Args:
        model: A file written by `foreact export` or `foreact compress`.

    Raises:
        EngineError: There is none, or it is damaged, of another model, or of another machine.
    """
    path = choice_path(model)
    try:
        choice = strictjson.decode(Choice, json.loads(path.read_bytes()[:MAX_BYTES]), "choice")
    except FileNotFoundError:
        raise EngineError(f"engine=chosen: there is no {path}; {_again(model)}") from None
    except ValueError as error:
        raise EngineError(f"{path} is damaged: {error}; {_again(model)}") from error
    if choice.kind != CHOICE_KIND:
        raise EngineError(f"{path} is no choice of an engine: its kind is {choice.kind[:40]!r}; {_again(model)}")
    require_robot_engine(choice.engine)
    try:
        found = hashlib.sha256(model.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise EngineError(f"no policy at {model}; make one with: foreact export policy=RUN out={model}") from None
    if found != choice.model_sha256:
        raise EngineError(f"{path} was decided about another {model.name}: the sha256 differs; {_again(model)}")
    here = describe_machine()
    for name in ("cpu", "cores"):
        if choice.machine.get(name) != here[name]:
            raise EngineError(
                f"{path} was decided on another machine: {name} {choice.machine.get(name)!r}, here {here[name]!r}; "
                f"{_again(model)}"
            )
    return choice


def require_robot_engine(name: str) -> str:
    """Refuse names that no engine has, and engines that need torch.

    Raises:
        ValueError: With what to type instead.
    """
    if require_engine(name) in NOT_ON_ROBOTS:
        raise ValueError(f"engine={name} imports torch, which no robot has; type engine=onnxruntime")
    return name


def _again(model: Path) -> str:
    return f"choose again: foreact export to=engine model={model}"
