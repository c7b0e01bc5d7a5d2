"""`foreact doctor`: what this machine is, what works on it, what is missing, and what to type."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from foreact.cli.installed import EXTRAS, Package, import_name, packages
from foreact.episodes.outcome import JSON, Outcome
from foreact.episodes.runfolder import describe_machine

__all__ = ["Check", "cpu_flags", "examine", "run_doctor"]

State = Literal["ok", "missing", "broken"]
PROBE_SECONDS = 600  # the first rendering compiles the ray tracer
FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "avx_vnni",
    "asimd",
    "asimddp",
    "bf16",
)
MARKS = {"ok": "[green]ok[/green]", "missing": "[yellow]optional[/yellow]", "broken": "[red]broken[/red]"}


@dataclass(frozen=True)
class Check:
    """One finding.

    Args:
        section: "machine", "packages", "devices", "renderer" or "decoder".
        name: what was looked at.
        found: what was found.
        state: "ok", "missing" (optional and absent) or "broken".
        fix: what to type; empty when nothing needs doing.
    """

    section: str
    name: str
    found: str
    state: State = "ok"
    fix: str = ""


def run_doctor(*, deep: bool, json_file: Path | None) -> bool:
    """Print every finding.

    Args:
        deep: also import every package, draw a picture and decode a video.
        json_file: where to write the findings as JSON, or None.

    Returns:
        False if anything is broken; absent optional packages are not.
    """
    from foreact.cli.report import output_console, write_figures

    checks = examine(deep=deep)
    sound = all(check.state != "broken" for check in checks)
    figures: dict[str, JSON] = {"sound": sound, "checks": [asdict(check) for check in checks]}
    if json_file is not None:
        write_figures(json_file, "doctor", Outcome(Path(sys.prefix), figures, (), ()))
    _print(output_console(), checks)
    return sound


def examine(*, deep: bool) -> list[Check]:
    """Look at everything.

    Args:
        deep: also import every package, draw a picture and decode a video (a minute or more).
    """
    found = packages()
    return [
        *_machine(),
        *_packages(found),
        *(_imports(found) if deep else []),
        *_devices(found),
        *_renderer(found, deep=deep),
        *_decoder(found, deep=deep),
    ]


def _machine() -> list[Check]:
    machine = describe_machine()
    disk = shutil.disk_usage(Path.cwd())
    right_python = sys.version_info[:2] == (3, 12)
    return [
        Check("machine", "processor", f"{machine['cpu']}, {machine['cores']} cores usable"),
        Check("machine", "instructions", " ".join(cpu_flags()) or "none of those that matter here"),
        Check("machine", "memory", f"{_gigabytes(machine['memory_bytes'])} in all"),
        Check("machine", "disk", f"{_gigabytes(disk.free)} free in {Path.cwd()}"),
        Check("machine", "platform", str(machine["platform"])),
        Check(
            "machine",
            "python",
            f"{machine['python']} in {sys.prefix}",
            "ok" if right_python else "broken",
            "" if right_python else "install foreact under Python 3.12",
        ),
    ]


def _gigabytes(count: Any) -> str:
    return f"{count / 1e9:.1f} GB"


def cpu_flags() -> list[str]:
    """The instructions of this processor that matter to foreact, such as avx512_bf16; none where that is not told."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    words = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return [flag for flag in FLAGS if flag in words]


def _packages(found: list[Package]) -> list[Check]:
    return [_extra(extra, [package for package in found if package.extra == extra]) for extra in EXTRAS]


def _extra(extra: str, wanted: list[Package]) -> Check:
    name = f"foreact[{extra}]" if extra else "foreact"
    install = f"pip install '{name}'"
    absent = [package.name for package in wanted if package.installed is None]
    wrong = [f"{p.name} {p.installed}, needs {p.wanted}" for p in wanted if p.installed is not None and not p.fits]
    if wrong:
        return Check("packages", name, "; ".join(wrong), "broken", install)
    if absent:
        state: State = "missing" if extra else "broken"
        return Check("packages", name, f"for {EXTRAS[extra]}; not installed: {', '.join(absent)}", state, install)
    return Check("packages", name, ", ".join(f"{package.name} {package.installed}" for package in wanted))


def _has(found: list[Package], name: str) -> bool:
    return any(package.name == name and package.installed is not None for package in found)


def _devices(found: list[Package]) -> list[Check]:
    driver = _cuda_devices()
    shown = "no NVIDIA driver; everything runs on the CPU" if driver is None else f"driver sees {driver} device(s)"
    checks = [Check("devices", "CUDA driver", shown)]
    if not _has(found, "torch"):
        return checks
    answer, error = _probe("torch")
    if answer is None:
        return [*checks, Check("devices", "torch", error, "broken", "pip install --force-reinstall 'foreact[train]'")]
    names = ", ".join(answer["devices"]) or "cpu"
    torch = f"{answer['version']} (CUDA build {answer['cuda_build'] or 'none'}) computes on {names}"
    if driver and not answer["devices"]:
        fix = f"update the NVIDIA driver to one that runs CUDA {answer['cuda_build'] or '13'}"
        return [*checks, Check("devices", "torch", torch + ", although the driver sees a GPU", "broken", fix)]
    return [*checks, Check("devices", "torch", torch)]


def _cuda_devices() -> int | None:
    """Ask the NVIDIA driver for its devices, without torch; None if there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _imports(found: list[Package]) -> list[Check]:
    checks = []
    for package in found:
        if package.installed is None or package.extra == "dev":
            continue
        answer, error = _probe("import", import_name(package.name))
        if answer is None:
            fix = f"pip install --force-reinstall '{package.name}{package.wanted}'"
            checks.append(Check("packages", f"import {package.name}", error, "broken", fix))
    return checks or [Check("packages", "imports", "every installed package imports")]


def _renderer(found: list[Package], *, deep: bool) -> list[Check]:
    name = "mujoco-warp ray tracer"
    if not _has(found, "mujoco-warp"):
        return [Check("renderer", name, "not installed", "missing", "pip install 'foreact[sim]'")]
    if not deep:
        return [Check("renderer", name, "installed; draw a picture with it: foreact doctor --deep")]
    answer, error = _probe("render")
    if answer is None:
        return [Check("renderer", name, error, "broken", "pip install --force-reinstall 'foreact[sim]'")]
    return [Check("renderer", name, f"drew a sphere on the CPU, {answer['distance_m']:.3f} m away as it should be")]


def _decoder(found: list[Package], *, deep: bool) -> list[Check]:
    name = "PyAV"
    if not _has(found, "av"):
        return [Check("decoder", name, "not installed", "missing", "pip install 'foreact[viz]'")]
    if not deep:
        return [Check("decoder", name, "installed; decode a video with it: foreact doctor --deep")]
    answer, error = _probe("video")
    if answer is None:
        return [Check("decoder", name, error, "broken", "pip install --force-reinstall 'foreact[viz]'")]
    return [Check("decoder", name, f"encoded and decoded {answer['frames']} {answer['codec']} frames")]


def _probe(*arguments: str) -> tuple[dict[str, Any] | None, str]:
    """Run one probe in its own process: what it found, or None and why not."""
    command = [sys.executable, "-P", "-m", "foreact.cli.probes", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PROBE_SECONDS, stdin=subprocess.DEVNULL, env=os.environ
        )
    except subprocess.TimeoutExpired:
        return None, f"gave no answer within {PROBE_SECONDS} s"
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        said = done.stderr.strip().splitlines()
        return None, said[-1] if said else f"ended with code {done.returncode}"
    return json.loads(lines[-1]), ""


def _print(console: Any, checks: list[Check]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "what", "found", "", "type this", header_style="bold")
    section = ""
    for check in checks:
        if section and check.section != section:
            table.add_section()
        shown = check.section if check.section != section else ""
        section = check.section
        table.add_row(shown, escape(check.name), escape(check.found), MARKS[check.state], escape(check.fix))
    console.print(table)
    broken = [check for check in checks if check.state == "broken"]
    missing = [check.name for check in checks if check.state == "missing"]
    if broken:
        console.print(f"{len(broken)} broken: " + ", ".join(check.name for check in broken), markup=False)
    elif missing:
        console.print("Nothing is broken. Optional and absent: " + ", ".join(missing), markup=False)
    else:
        console.print("Everything is installed and nothing is broken.")
