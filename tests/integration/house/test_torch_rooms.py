"""Rooms about torch load torch and nothing else that is heavy."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
ABOUT_TORCH = ("kernels", "perception", "worldmodels", "vla")
HEAVY = (
    "mujoco mujoco_warp warp metaworld gymnasium lerobot onnx onnxruntime onnxscript rerun av matplotlib open3d hydra "
    "omegaconf zarr pyarrow PIL pandas scipy transformers datasets tensorboard jinja2 triton"
).split()


def test_rooms_about_torch_load_torch_alone() -> None:
    files = [file for room in ABOUT_TORCH for file in sorted(ROOT.glob(f"{room}/foreact/**/*.py"))]
    dotted = (".".join(file.relative_to(ROOT).with_suffix("").parts[1:]) for file in files)
    # A Triton kernel is about triton, which its room imports on use.
    modules = [module.removesuffix(".__init__") for module in dotted if "triton" not in module]
    assert len(modules) > 10
    code = f"""
import json, sys, torch
before = set(sys.modules)
for module in {modules}:
    __import__(module)
print(json.dumps(sorted(set({HEAVY}) & (set(sys.modules) - before))))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
