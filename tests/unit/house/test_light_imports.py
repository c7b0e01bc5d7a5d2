"""Importing is free: heavy packages come in when they are used, and the robot's runtime works without them."""

import json
import subprocess
import sys
from typing import Any

import pytest

HEAVY = (
    "torch torchvision mujoco mujoco_warp warp metaworld gymnasium lerobot onnx onnxruntime onnxscript rerun av "
    "matplotlib open3d hydra omegaconf zarr pyarrow PIL pandas scipy transformers datasets tensorboard jinja2"
).split()
SECONDS = 0.3


def run(code: str) -> Any:
    """Run code in a fresh interpreter; it prints one line of JSON."""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def heavy_after(modules: list[str]) -> list[str]:
    lines = [f"import {module}" for module in modules]
    return run("\n".join([*lines, "import sys, json", f"print(json.dumps(sorted(set({HEAVY}) & set(sys.modules))))"]))


def test_importing_any_package_loads_nothing_heavy(sources: list[Any]) -> None:
    assert heavy_after(sorted({f"foreact.{source.room}" for source in sources})) == []


@pytest.mark.parametrize("room", ["episodes", "sim", "deploy_edge", "cli"])
def test_importing_any_module_of_the_room_loads_nothing_heavy(room: str, sources: list[Any]) -> None:
    assert heavy_after([source.module for source in sources if source.room == room]) == []


def test_the_episodes_package_imports_fast() -> None:
    code = "import time; t = time.process_time(); import foreact.episodes.contract; print(time.process_time() - t)"
    assert min(run(code) for _ in range(3)) < SECONDS  # CPU seconds: a busy machine does not fail it


def test_the_runtime_starts_where_torch_and_mujoco_cannot_be_imported(sources: list[Any]) -> None:
    modules = [source.module for source in sources if source.module.startswith("foreact.deploy_edge.runtime")]
    assert modules
    code = f"""
import json, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "mujoco", "mujoco_warp", "warp", "metaworld", "lerobot"):
            raise ImportError(f"{{name}} is not on this robot")
sys.meta_path.insert(0, Refuse())
for module in {modules}:
    __import__(module)
print(json.dumps(len(sys.modules)))
"""
    assert run(code) > 0
