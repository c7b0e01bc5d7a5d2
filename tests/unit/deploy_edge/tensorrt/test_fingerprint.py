"""What is read of a Jetson, and that other machines have none of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from foreact.deploy_edge.runtime.tensorrt.fingerprint import free_memory_bytes, read_fingerprint


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_jetson_tells_its_release_power_mode_and_clocks(machine: Callable[..., Any], tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, "etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n")
    write(root, "var/lib/nvpmodel/status", "pmode:0002 fmode:cool\n")
    write(root, "etc/nvpmodel.conf", "< POWER_MODEL ID=0 NAME=MAXN >\nx 1\n< POWER_MODEL ID=2 NAME=15W >\n")
    write(root, "sys/class/devfreq/17000000.gpu/max_freq", "612000000\n")
    write(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "1510400\n")
    write(root, "proc/meminfo", "MemTotal: 7990000 kB\nMemAvailable:    4096 kB\n")
    found = read_fingerprint(machine().api, None, root)
    assert (found.l4t, found.power_mode) == ("R36.4.3", "15W")
    assert found.clocks_hz == {"17000000.gpu": 612_000_000, "cpu0": 1_510_400_000}
    assert free_memory_bytes(root) == 4096 * 1024
    write(root, "etc/nvpmodel.conf", "")
    assert read_fingerprint(machine().api, None, root).power_mode == "mode 2"


def test_another_machine_has_none_of_it(machine: Callable[..., Any], tmp_path: Path) -> None:
    found = read_fingerprint(machine().api, None, tmp_path)
    assert (found.l4t, found.power_mode, found.clocks_hz, found.gpu) == (None, None, {}, None)
    assert free_memory_bytes(tmp_path) is None
