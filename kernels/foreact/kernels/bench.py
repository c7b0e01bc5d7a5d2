"""Proves and times the operators on one device: `python -P -m foreact.kernels.bench --device cpu --json FILE`."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from foreact.kernels.machine import describe
from foreact.kernels.operators import OPERATORS, load
from foreact.kernels.prove import Proof, prove
from foreact.kernels.timing import Timing, measure, torch_threads

TARGETS = ("kernels",)
DTYPES = (torch.float32, torch.bfloat16)
COLUMNS = ("operator", "implementation", "dtype", "max error", "wall [ms]", "CPU [ms]", "GB/s", "vs reference")

ProgressFn = Callable[[int, int, str], None]


class BenchError(RuntimeError):
    """The benchmark could not run, or an implementation disagrees with its reference."""


@dataclass(frozen=True)
class BenchConfig:
    """What to measure.

    Args:
        target: "kernels".
        device: "cpu" or "cuda".
        threads: torch threads on the CPU.
        batch: images per call.
        size: height and width of the images [px].
        repeats: timed rounds.
        seed: of the timed inputs.
        out: folder of the dated results file to append to; None writes nothing.
    """

    target: str = "kernels"
    device: str = "cpu"
    threads: int = 1
    batch: int = 128
    size: int = 96
    repeats: int = 20
    seed: int = 0
    out: Path | None = None


@dataclass(frozen=True)
class BenchReport:
    """What was measured: a table, the same figures by name, and the results file if one was written."""

    path: Path | None
    figures: dict[str, Any]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def bench(config: BenchConfig, progress: ProgressFn = lambda done, total, text: None) -> BenchReport:
    """Prove every operator on the device, then time its implementations against the reference.

    Args:
        config: what to measure.
        progress: told (steps done, steps in all, what is running).

    Returns:
        one row per operator, implementation and dtype; implementations that cannot run on the device say so.

    Raises:
        BenchError: unknown target, no such device, or an implementation disagrees with the reference; nothing is
            timed or written then.
        ValueError: batch, size, threads or repeats below 1.
    """
    device = _check(config)
    machine = describe(device)
    total = 2 * len(OPERATORS)
    proofs: list[Proof] = []
    timings: list[Timing] = []
    with torch_threads(config.threads):
        for index, name in enumerate(OPERATORS):
            progress(index, total, f"proving {name}")
            proofs += prove(load(name), device)
        _require_proved(proofs)
        for index, name in enumerate(OPERATORS):
            progress(len(OPERATORS) + index, total, f"timing {name}")
            case = load(name).timing_case(config.batch, config.size, config.seed).to(device)
            timings += [timing for dtype in DTYPES for timing in measure(load(name), case, dtype, config.repeats)]
    progress(total, total, "done")
    figures = _figures(config, machine, proofs, timings)
    path = None if config.out is None else _append(config.out, figures)
    return BenchReport(path, figures, COLUMNS, tuple(_row(proof, timings) for proof in proofs))


def _check(config: BenchConfig) -> torch.device:
    if config.target not in TARGETS:
        raise BenchError(f"unknown bench target {config.target!r}: choose from {', '.join(TARGETS)}")
    if config.device not in ("cpu", "cuda"):
        raise BenchError(f"unknown device {config.device!r}: choose cpu or cuda")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise BenchError("torch finds no CUDA device on this machine: use --device cpu")
    for name in ("batch", "size"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} is {getattr(config, name)}, expected at least 1")
    return torch.device(config.device)


def _require_proved(proofs: Sequence[Proof]) -> None:
    wrong = [
        f"  {proof.operator}, {proof.implementation}, {_short(proof.dtype)}: {problem}"
        for proof in proofs
        for problem in proof.problems[:3]
    ]
    if wrong:
        raise BenchError("\n".join(["not timed, because these disagree with the reference:", *wrong]))


def _figures(
    config: BenchConfig, machine: dict[str, Any], proofs: Sequence[Proof], timings: Sequence[Timing]
) -> dict[str, Any]:
    plain = {**asdict(config), "out": None if config.out is None else str(config.out)}
    figures = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": plain,
        "machine": machine,
        "proofs": [{**asdict(proof), "dtype": _short(proof.dtype)} for proof in proofs],
        "timings": [{**asdict(timing), "dtype": _short(timing.dtype)} for timing in timings],
    }
    return json.loads(json.dumps(figures))  # tuples become lists here, so that files read back equal


def _row(proof: Proof, timings: Sequence[Timing]) -> tuple[str, ...]:
    head = (proof.operator, proof.implementation, _short(proof.dtype))
    if proof.not_run is not None:
        return (*head, "not run", "", "", "", "")
    key = (proof.operator, proof.implementation, proof.dtype)
    timing = next(each for each in timings if (each.operator, each.implementation, each.dtype) == key)
    return (
        *head,
        f"{proof.largest_error:.2g}",
        f"{timing.wall_seconds * 1e3:.2f}",
        f"{timing.cpu_seconds * 1e3:.2f}",
        f"{timing.gigabytes_per_second:.2f}",
        f"{timing.ratio:.2f}x",
    )


def _append(folder: Path, figures: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.now(UTC).date()}-kernels.jsonl"
    line = (json.dumps(figures, sort_keys=True) + "\n").encode()
    # One write to a file opened for appending: two runs at once cannot interleave their lines.
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)
    return path


def _write_json(path: Path, figures: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
    os.replace(temporary, path)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _table(report: BenchReport) -> str:
    lines = [report.columns, *report.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    reasons = {f"{proof['implementation']} was not run: {proof['not_run']}" for proof in report.figures["proofs"]}
    return "\n".join([*padded, *sorted(reason for reason in reasons if not reason.endswith(": None"))])


def _parse(arguments: Sequence[str] | None) -> tuple[BenchConfig, Path | None]:
    default = BenchConfig()
    parser = argparse.ArgumentParser(prog="python -P -m foreact.kernels.bench", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default=default.device)
    parser.add_argument("--threads", type=int, default=default.threads, help="torch threads on the CPU")
    parser.add_argument("--batch", type=int, default=default.batch, help="images per call")
    parser.add_argument("--size", type=int, default=default.size, help="height and width of the images [px]")
    parser.add_argument("--repeats", type=int, default=default.repeats, help="timed rounds")
    parser.add_argument("--seed", type=int, default=default.seed, help="of the timed inputs")
    parser.add_argument("--out", type=Path, help="folder of the dated results file to append to")
    parser.add_argument("--json", type=Path, help="file for the figures of this run")
    values = vars(parser.parse_args(arguments))
    file = values.pop("json")
    return BenchConfig(**values), file


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        the exit code: 0, or 1 if something is wrong.
    """
    config, file = _parse(arguments)
    try:
        report = bench(config, lambda done, total, text: print(f"[{done}/{total}] {text}", file=sys.stderr))
    except (BenchError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(_table(report))
    if file is not None:
        _write_json(file, report.figures)
        print(f"wrote {file}")
    if report.path is not None:
        print(f"appended to {report.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
