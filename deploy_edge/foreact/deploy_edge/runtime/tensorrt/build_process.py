"""A build in a process of its own: TensorRT's compilers are native code, and one that crashes must not take us along.

Seen: the builder of TensorRT-RTX 1.7.1 ended the process with a segmentation fault on a graph of Attention nodes.
The child is `python -m foreact.deploy_edge.runtime.tensorrt.build_process FOLDER`; the folder holds job.json and graph,
then plan and built.json, or error.json.
"""

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from foreact.deploy_edge.runtime.protocol import RuntimeFailure, RuntimeMissing
from foreact.deploy_edge.runtime.tensorrt.api import ApiMissing, load_api
from foreact.deploy_edge.runtime.tensorrt.build import (
    BuildFailed,
    BuildOutOfMemory,
    BuildTimeout,
    Built,
    ParseFailed,
    build_plan,
)
from foreact.deploy_edge.runtime.tensorrt.fingerprint import Fingerprint
from foreact.deploy_edge.runtime.tensorrt.sidecar import BuildConfig
from foreact.episodes import strictjson
from foreact.episodes.runfolder import write_json_atomic

__all__ = ["BuildCrashed", "build_apart", "main"]

GRACE_S = 60.0  # beyond `timeout_s`, for a step that never ends
STOP_S = 20.0  # until a child that was asked to stop is killed
STEP = "step "


class BuildCrashed(BuildFailed):
    """The process of the build died."""


ERRORS: dict[str, type[RuntimeFailure]] = {
    kind.__name__: kind
    for kind in (ApiMissing, BuildFailed, BuildOutOfMemory, BuildTimeout, ParseFailed, RuntimeFailure, RuntimeMissing)
}


@dataclass(frozen=True)
class _Job:
    config: BuildConfig
    here: Fingerprint
    free_bytes: int | None
    timings: str | None


@dataclass(frozen=True)
class _Result:
    ports: tuple[tuple[str, str, tuple[int, ...]], ...]
    inputs: int
    build_s: float
    notes: tuple[str, ...]


def build_apart(
    graph: bytes,
    config: BuildConfig,
    here: Fingerprint,
    free_bytes: int | None,
    timings: Path | None,
    tell: Callable[[int, int], None],
) -> Built:
    """Build an engine in a process of its own, see `build_plan`.

    Args:
        graph: Serialised ONNX of static shapes.
        config: How.
        here: Fingerprint of this machine; its flavour says which TensorRT.
        free_bytes: Free memory.
        timings: Timing cache to read and write; None for none.
        tell: Called with finished and all steps.

    Raises:
        BuildCrashed: The process died; the text says by which signal and what it said last.
        BuildFailed, ApiMissing, RuntimeMissing: As `build_plan`.
    """
    with tempfile.TemporaryDirectory(prefix="foreact-build-") as name:
        folder = Path(name)
        (folder / "graph").write_bytes(graph)
        job = _Job(config, here, free_bytes, None if timings is None else str(timings.absolute()))
        write_json_atomic(folder / "job.json", job)
        said = _run(folder, config.timeout_s + GRACE_S, tell)
        if (folder / "error.json").exists():
            error = json.loads((folder / "error.json").read_text(encoding="utf-8"))
            raise ERRORS.get(error["kind"], BuildFailed)(error["text"])
        if not (folder / "built.json").exists():
            raise BuildCrashed(f"{here.flavour} {here.trt_version} ended its process {said}")
        result = strictjson.decode(_Result, json.loads((folder / "built.json").read_text(encoding="utf-8")), "built")
        plan = (folder / "plan").read_bytes()
    return Built(plan, result.ports, result.inputs, result.build_s, result.notes)


def main(arguments: list[str]) -> int:
    """Build what a folder describes; exit code 0 means that there is a plan."""
    if len(arguments) != 1:
        print("usage: python -m foreact.deploy_edge.runtime.tensorrt.build_process FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    job = strictjson.decode(_Job, json.loads((folder / "job.json").read_text(encoding="utf-8")), "job")
    timings = None if job.timings is None else Path(job.timings)
    try:
        api, graph = load_api(job.here.flavour), (folder / "graph").read_bytes()
        built = build_plan(graph, job.config, api, job.here, job.free_bytes, timings, _tell)
    except RuntimeFailure as error:
        write_json_atomic(folder / "error.json", {"kind": type(error).__name__, "text": str(error)})
        return 1
    except KeyboardInterrupt:
        return 130
    (folder / "plan").write_bytes(built.plan)
    write_json_atomic(folder / "built.json", _Result(built.ports, built.inputs, built.build_s, built.notes))
    return 0


def _run(folder: Path, timeout_s: float, tell: Callable[[int, int], None]) -> str:
    """Run the child, pass its steps on, and say how it ended."""
    command = [sys.executable, "-P", "-m", __spec__.name, str(folder)]
    with (folder / "stderr").open("wb") as stderr:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True)
        too_long = threading.Timer(timeout_s, child.kill)
        too_long.start()
        try:
            assert child.stdout is not None
            for line in child.stdout:
                if line.startswith(STEP):
                    done, _, total = line.removeprefix(STEP).partition(" of ")
                    tell(int(done), int(total))
            child.wait()
        except BaseException:
            _stop(child)
            raise
        finally:
            too_long.cancel()
    lines = (folder / "stderr").read_text(encoding="utf-8", errors="replace").splitlines()
    last = " | ".join(line.strip() for line in lines[-3:]) or "nothing"
    code = child.returncode
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return f"{how}; it said last: {last}"


def _stop(child: "subprocess.Popen[str]") -> None:
    child.send_signal(signal.SIGINT)
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _tell(done: int, total: int) -> None:
    print(f"{STEP}{done} of {total}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
