"""What a plan depends on: TensorRT, the GPU, the platform; read on this machine."""

import platform
import re
from dataclasses import dataclass
from pathlib import Path

from foreact.deploy_edge.runtime.tensorrt.api import Api, Flavour
from foreact.deploy_edge.runtime.tensorrt.cuda_device import GpuProperties
from foreact.episodes import strictjson
from foreact.episodes.runfolder import jsonable

__all__ = ["Fingerprint", "free_memory_bytes", "read_fingerprint"]

ROOT = Path("/")
MODE_NAME = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>")


@dataclass(frozen=True)
class Fingerprint:
    """Where a plan was built, or is to be run.

    Attributes:
        flavour: `tensorrt` or `tensorrt-rtx`.
        trt_version: Full version.
        machine: Processor architecture.
        gpu: Product name; None where there is no GPU.
        capability: Compute capability.
        sm_count: Multiprocessors.
        memory_bytes: Memory of the GPU.
        cuda_runtime: CUDA version of the bindings, such as 12060.
        cuda_driver: Newest CUDA version of the driver.
        l4t: Release of Jetson Linux, such as `R36.4.3`; None elsewhere.
        power_mode: Jetson's power mode; None elsewhere.
        clocks_hz: Highest clocks that are allowed now [Hz], as far as they can be read.
    """

    flavour: Flavour
    trt_version: str
    machine: str
    gpu: str | None
    capability: str | None
    sm_count: int | None
    memory_bytes: int | None
    cuda_runtime: int | None
    cuda_driver: int | None
    l4t: str | None
    power_mode: str | None
    clocks_hz: dict[str, int]

    def timing_key(self) -> str:
        """What a timing cache depends on: all but the amount of memory, as one text."""
        parts = {name: value for name, value in self.__dict__.items() if name != "memory_bytes"}
        return strictjson.canonical(jsonable(parts))

    def refusals(self, here: "Fingerprint", compute: tuple[str, ...]) -> list[str]:
        """Why a plan of this fingerprint must not be loaded elsewhere.

        Args:
            here: Of the machine that is to run it.
            compute: Compute capabilities that it was built for by name; empty if for the GPU at hand.
        """
        names = ["flavour", "trt_version", "machine"]
        names += [] if compute else ["gpu", "capability", "sm_count"]
        rows = [
            f"{name}: built for {getattr(self, name)}, here is {getattr(here, name)}"
            for name in names
            if getattr(self, name) != getattr(here, name)
        ]
        if compute and here.capability not in compute:
            rows.append(f"capability: built for {', '.join(compute)}, here is {here.capability}")
        return rows

    def remarks(self, here: "Fingerprint") -> list[str]:
        """What differs without making the plan wrong; it may run slower than when it was built."""
        names = ("cuda_runtime", "cuda_driver", "l4t", "power_mode", "clocks_hz")
        return [
            f"{name} was {getattr(self, name)} when the plan was built, is {getattr(here, name)}"
            for name in names
            if getattr(self, name) not in (None, {}) and getattr(self, name) != getattr(here, name)
        ]


def read_fingerprint(api: Api, gpu: GpuProperties | None, root: Path = ROOT) -> Fingerprint:
    """The fingerprint of this machine.

    Args:
        api: TensorRT.
        gpu: The GPU, if there is one.
        root: Where `/etc`, `/sys` and `/var` are.
    """
    return Fingerprint(
        flavour=api.flavour,
        trt_version=api.version,
        machine=platform.machine(),
        gpu=gpu.name if gpu else None,
        capability=gpu.capability if gpu else None,
        sm_count=gpu.sm_count if gpu else None,
        memory_bytes=gpu.memory_bytes if gpu else None,
        cuda_runtime=gpu.runtime_version if gpu else None,
        cuda_driver=gpu.driver_version if gpu else None,
        l4t=_l4t(root),
        power_mode=_power_mode(root),
        clocks_hz=_clocks(root),
    )


def free_memory_bytes(root: Path = ROOT) -> int | None:
    """Memory that programs may still take [bytes]; None where Linux does not tell."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _l4t(root: Path) -> str | None:
    match = re.match(r"# R(\d+) \(release\), REVISION: ([\d.]+)", _text(root / "etc/nv_tegra_release"))
    return f"R{match[1]}.{match[2]}" if match else None


def _power_mode(root: Path) -> str | None:
    match = re.search(r"pmode:(\d+)", _text(root / "var/lib/nvpmodel/status"))
    if match is None:
        return None
    names = {int(number): name for number, name in MODE_NAME.findall(_text(root / "etc/nvpmodel.conf"))}
    return names.get(int(match[1]), f"mode {int(match[1])}")


def _clocks(root: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for path in sorted((root / "sys/class/devfreq").glob("*gpu*/max_freq")):
        found[path.parent.name] = _number(path)
    policy = root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq"
    if _text(root / "etc/nv_tegra_release"):  # elsewhere the GPU's work does not depend on it
        found["cpu0"] = _number(policy) * 1000
    return {name: value for name, value in found.items() if value}


def _number(path: Path) -> int:
    text = _text(path).strip()
    return int(text) if text.isdigit() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
