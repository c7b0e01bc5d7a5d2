"""How long a fresh process takes from its start to the first action of a policy, and how much memory it holds.

`python -m foreact.deploy_edge.cold_start policy.onnx [engine] [threads]` prints the figures as JSON. The process does
what the control process does: seal, guard, engine, golden gate, first inference.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from foreact.deploy_edge.processes import ProcessFailure

__all__ = ["ColdStart", "cold_start", "main"]

STARTED = "FOREACT_PROCESS_STARTED_NS"
TIMEOUT_S = 300.0


@dataclass(frozen=True)
class ColdStart:
    """One fresh process.

    Attributes:
        engine: Name and version.
        wall_s: From starting the interpreter to the first action [s].
        cpu_s: Processor time of all threads of the process in that time [s].
        import_s: Wall time of the interpreter and imports [s].
        open_s: Wall time of seal, guard, engine and golden gate [s].
        first_ms: Wall time of the first inference on an observation after the gate [ms].
        rss_mb: Largest resident memory of the process so far [MB of 10^6 bytes].
        steady_rss_mb: Resident memory after 20 more inferences [MB].
    """

    engine: str
    wall_s: float
    cpu_s: float
    import_s: float
    open_s: float
    first_ms: float
    rss_mb: float
    steady_rss_mb: float


def cold_start(model: Path, engine: str = "onnxruntime", threads: int = 1) -> ColdStart:
    """Start a process, let it decide once, and read its figures.

    Args:
        model: A file written by `foreact export` or `foreact compress`, with its golden inputs.
        engine: A key of `ENGINES`.
        threads: Threads of one inference.

    Raises:
        ProcessFailure: The process ended with an error; the text is its last line.
    """
    # -P: modules come from the installation, not from the folder the command was typed in
    command = [sys.executable, "-P", "-m", __name__, str(model), engine, str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), STARTED: str(time.monotonic_ns())}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment)
    if ended.returncode != 0:
        raise ProcessFailure(f"cold start of {model} in {engine}: {ended.stderr.strip().splitlines()[-1:]}")
    return ColdStart(**json.loads(ended.stdout))


def main(arguments: list[str]) -> int:
    """Decide once with the model named on the command line and print the figures."""
    if not 1 <= len(arguments) <= 3:
        print("usage: python -m foreact.deploy_edge.cold_start MODEL [ENGINE] [THREADS]", file=sys.stderr)
        return 2
    model, engine, threads = (*arguments, *("", "onnxruntime", "1")[len(arguments) :])
    try:
        print(json.dumps(asdict(_first_action(Path(model), engine, int(threads)))))
    except (ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _first_action(model: Path, engine: str, threads: int) -> ColdStart:
    started = int(os.environ.get(STARTED, 0)) or time.monotonic_ns()
    from foreact.deploy_edge.runtime.engine import open_policy

    imported = time.monotonic_ns()
    policy = open_policy(model, engine, threads)
    opened = time.monotonic_ns()
    # zeros are an observation like any other to an engine
    inputs = {name: np.zeros(each.shape, each.dtype) for name, each in policy.runtime.inputs.items()}
    outputs = {name: np.zeros(each.shape, each.dtype) for name, each in policy.runtime.outputs.items()}
    policy.runtime.infer(inputs, outputs)
    decided, cpu_s, peak = time.monotonic_ns(), time.process_time(), _memory_mb("VmHWM")
    for _ in range(20):
        policy.runtime.infer(inputs, outputs)
    return ColdStart(
        f"{policy.runtime.name} {policy.runtime.version}",
        round((decided - started) / 1e9, 4), round(cpu_s, 4), round((imported - started) / 1e9, 4),
        round((opened - imported) / 1e9, 4), round((decided - opened) / 1e6, 3), peak, _memory_mb("VmRSS"),
    )  # fmt: skip


def _memory_mb(name: str) -> float:
    """A line of the kernel's account of this process; `ru_maxrss` would count the parent's memory too."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    raise RuntimeError(f"this kernel does not say {name}; memory can be measured on Linux only")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
