"""Run folders: what was run, with which configuration, on which machine, and its metrics, so that it can be resumed."""

import dataclasses
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from foreact.episodes.outcome import JSON

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "RunError",
    "RunFolder",
    "describe_machine",
    "jsonable",
    "write_bytes_atomic",
    "write_dated_json",
    "write_json_atomic",
    "write_text_atomic",
]

FORMAT_VERSION = 1
KEY_PACKAGES = (
    "foreact",
    "numpy",
    "zarr",
    "hydra-core",
    "torch",
    "torchvision",
    "mujoco",
    "mujoco-warp",
    "warp-lang",
    "metaworld",
    "lerobot",
    "onnx",
    "onnxruntime",
    "rerun-sdk",
    "av",
)


class RunError(ValueError):
    """A run folder is missing, damaged, or belongs to another configuration."""


def write_text_atomic(path: Path, text: str) -> None:
    """Write text so that a reader sees the old file or the new one, never a part of it.

    Args:
        path: where to write; its folder is created.
        text: the whole content, written as UTF-8.

    Raises:
        OSError: the folder cannot be written.
    """
    write_bytes_atomic(path, text.encode())


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write bytes so that a reader sees the old file or the new one, never a part of it.

    Args:
        path: where to write; its folder is created.
        content: the whole content.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json_atomic(path: Path, content: object) -> None:
    """Write an object as indented JSON, atomically.

    Args:
        path: where to write; its folder is created.
        content: dataclasses, mappings, sequences, paths, numpy scalars and plain values.

    Raises:
        RunError: the content holds NaN, infinity or something JSON cannot say; nothing is written.
    """
    write_text_atomic(path, json.dumps(jsonable(content), indent=2, allow_nan=False) + "\n")


def write_dated_json(folder: Path, name: str, content: object) -> Path:
    """Write `<date>-<name>.json` into a folder of results, or `<date>-<name>-2.json` and so on if there is one.

    Args:
        folder: Of results.
        name: What was measured.
        content: As `write_json_atomic` takes it.

    Returns:
        The file.
    """
    day = datetime.now(UTC).date()
    path, number = folder / f"{day}-{name}.json", 2
    while path.exists():
        path, number = folder / f"{day}-{name}-{number}.json", number + 1
    write_json_atomic(path, content)
    return path


def jsonable(content: object, where: str = "") -> JSON:
    """Turn configuration or figures into plain JSON values.

    Args:
        content: dataclasses, mappings with text keys, sequences, paths, numpy scalars and plain values.
        where: dotted name of `content`, for the error message.

    Raises:
        RunError: names the first key that JSON cannot hold (NaN and infinity included).
    """
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        return {f.name: jsonable(getattr(content, f.name), _join(where, f.name)) for f in dataclasses.fields(content)}
    if isinstance(content, Mapping):
        return {str(key): jsonable(value, _join(where, str(key))) for key, value in content.items()}
    if isinstance(content, Path):
        return str(content)
    if content is None or isinstance(content, bool | int | str):
        return content
    item = getattr(content, "item", None)
    if callable(item) and getattr(content, "ndim", None) == 0:  # numpy scalars, without importing numpy
        return jsonable(item(), where)
    if isinstance(content, float):
        if content != content or content in (float("inf"), float("-inf")):
            raise RunError(f"{where or 'value'} is {content}: JSON has no such number, and a run must not hide it")
        return content
    if isinstance(content, Sequence | set | frozenset):
        ordered = content if isinstance(content, Sequence) else sorted(content)
        return [jsonable(value, f"{where}[{index}]") for index, value in enumerate(ordered)]
    raise RunError(f"{where or 'value'} is a {type(content).__name__}, which cannot be written as JSON")


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def describe_machine() -> dict[str, JSON]:
    """Describe the machine: processor, cores, memory [bytes], platform, Python."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "cpu": _cpu_model(),
        "cores": len(affinity(0)) if affinity else os.cpu_count() or 1,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(models, platform.machine())


def _versions() -> dict[str, JSON]:
    versions: dict[str, JSON] = {}
    for name in KEY_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _git(*arguments: str) -> str | None:
    here = Path(__file__).resolve()
    try:
        answer = subprocess.run(
            ["git", "-C", str(here.parent), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _git_state() -> dict[str, JSON] | None:
    # A wheel inside somebody else's checkout must not report that checkout's commit: this very file must be tracked.
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return {"commit": _git("rev-parse", "HEAD"), "dirty": _git("status", "--porcelain") != ""}


class RunFolder:
    """A folder with `run.json` (what was run) and `metrics.jsonl` (what was measured, one line per step).

    Args:
        path: the folder.
        record: the content of `run.json`.
    """

    def __init__(self, path: Path, record: Mapping[str, Any]) -> None:
        self.path = path
        self.record = record

    @classmethod
    def create(cls, path: Path, kind: str, config: "DataclassInstance", seed: int) -> Self:
        """Start a run folder.

        Args:
            path: a folder that holds no run yet; created with its parents.
            kind: the command, such as "train".
            config: the resolved configuration.
            seed: the seed everything random was derived from.

        Raises:
            RunError: the folder already holds a run.
        """
        if (path / "run.json").exists():
            raise RunError(f"{path} already holds a run. Open it to resume, or choose another folder with out=...")
        record = {
            "format": FORMAT_VERSION,
            "kind": kind,
            "seed": seed,
            "config": jsonable(config, "config"),
            "packages": _versions(),
            "git": _git_state(),
            "machine": describe_machine(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json_atomic(path / "run.json", record)
        return cls(path, record)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a run folder; a last metrics line cut short by a kill is dropped.

        Args:
            path: a folder written by `create`.

        Raises:
            RunError: there is no run in the folder, or its `run.json` is damaged or of a newer format.
        """
        file = path / "run.json"
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{path} holds no run (no run.json). Give the folder that a command printed") from None
        except ValueError as error:
            raise RunError(f"{file} is damaged: {error}") from error
        if not isinstance(record, dict) or not {"format", "kind", "seed", "config"} <= record.keys():
            raise RunError(f"{file} is not the record of a run: it lacks format, kind, seed or config")
        if record["format"] > FORMAT_VERSION:
            raise RunError(f"{file} has format {record['format']}, newer than {FORMAT_VERSION}: update foreact")
        folder = cls(path, record)
        folder._drop_torn_line()
        return folder

    @classmethod
    def resume_or_create(cls, path: Path, kind: str, config: "DataclassInstance", seed: int) -> Self:
        """Open the folder if it holds this very run, start it if it holds none.

        A key that an older record lacks is taken to have had its default.

        Args:
            path: the folder.
            kind: the command, such as "train".
            config: the resolved configuration.
            seed: the seed everything random was derived from.

        Raises:
            RunError: the folder holds another run; every differing key is listed with both values.
        """
        if not (path / "run.json").exists():
            return cls.create(path, kind, config, seed)
        folder = cls.open(path)
        recorded = _completed(folder.record["config"], config)
        found = {"kind": folder.record["kind"], "seed": folder.record["seed"], "config": recorded}
        differing = _differences(found, {"kind": kind, "seed": seed, "config": jsonable(config, "config")})
        if differing:
            listed = "\n  ".join(differing)
            raise RunError(f"{path} holds another run, so it cannot be resumed:\n  {listed}\nChoose another out=...")
        return folder

    @property
    def metrics_path(self) -> Path:
        """The JSONL file with one line per call of `append_metrics`."""
        return self.path / "metrics.jsonl"

    def append_metrics(self, metrics: Mapping[str, object]) -> None:
        """Append one line; a reader or a kill never sees half of it among the complete lines.

        Args:
            metrics: plain values or numpy scalars, with "step" (int) among them.

        Raises:
            RunError: "step" is missing, or a value is NaN or infinite.
        """
        if not isinstance(metrics.get("step"), int):
            raise RunError(f"metrics for {self.metrics_path} need an int under 'step', got {metrics.get('step')!r}")
        line = json.dumps(jsonable(metrics, f"step {metrics['step']}"), allow_nan=False) + "\n"
        # One write to a file opened for appending: the kernel keeps lines of several processes whole.
        descriptor = os.open(self.metrics_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Read all complete lines, oldest first.

        Raises:
            RunError: a complete line is not a JSON object; the line number is named.
        """
        rows = []
        for number, line in enumerate(self._lines(), 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise RunError(f"{self.metrics_path}, line {number}, is damaged: {error}") from error
            rows.append(row)
        return rows

    def truncate_after(self, step: int) -> None:
        """Drop metrics of steps beyond a checkpoint, so that a resumed run writes the same file as an unbroken one.

        Args:
            step: the last step that is kept.
        """
        kept = [line for line, row in zip(self._lines(), self.read_metrics(), strict=True) if row["step"] <= step]
        write_text_atomic(self.metrics_path, "".join(f"{line}\n" for line in kept))

    def _lines(self) -> list[str]:
        try:
            text = self.metrics_path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return text[: text.rfind("\n") + 1].splitlines()

    def _drop_torn_line(self) -> None:
        if not self.metrics_path.exists():
            return
        content = self.metrics_path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]
        if complete != content:
            os.truncate(self.metrics_path, len(complete))


def _completed(recorded: JSON, config: object) -> JSON:
    """A recorded configuration with the keys that its dataclass has gained since, at their defaults."""
    if not (dataclasses.is_dataclass(config) and isinstance(recorded, Mapping)):
        return recorded
    complete = dict(recorded)
    for field in dataclasses.fields(config):
        if field.name in recorded:
            complete[field.name] = _completed(recorded[field.name], getattr(config, field.name))
        elif field.default is not dataclasses.MISSING:
            complete[field.name] = jsonable(field.default, field.name)
    return complete


def _differences(found: JSON, wanted: JSON, where: str = "") -> list[str]:
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        names = sorted(found.keys() | wanted.keys())
        return [line for name in names for line in _differences(found.get(name), wanted.get(name), _join(where, name))]
    return [] if found == wanted else [f"{where}: the folder has {json.dumps(found)}, asked for {json.dumps(wanted)}"]
