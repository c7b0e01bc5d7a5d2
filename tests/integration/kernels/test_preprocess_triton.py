"""The Triton kernel without a GPU: run by triton's interpreter, and compiled for a GPU that is not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROVE = """
import torch
from foreact.kernels.operators import load
from foreact.kernels.prove import prove
for name in ("rgbd_to_planes", "rgb_to_planes"):
    proofs = [proof for proof in prove(load(name), torch.device("cpu"), seeds=(0,)) if proof.implementation == "triton"]
    assert [proof.cases for proof in proofs] == [21, 21], proofs
    assert [proof.problems for proof in proofs] == [(), ()], proofs
    print(name, proofs[0].largest_error)
"""

# Sizes that triton specialises when they are 1 become constants, which other code paths of the kernel must bear.
COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from foreact.kernels.preprocess.triton_kernel import _planes_kernel
for has_depth, has_shift, out, depth, ones in (
    (True, True, "fp32", "u16", False), (True, False, "bf16", "i32", False), (False, True, "bf16", "u8", True)
):
    constants = {"planes": 6 if has_depth else 3, "has_depth": has_depth, "has_shift": has_shift, "block": 1024}
    constants |= {"height": 1, "width": 1, "blocks": 1} if ones else {}
    types = {
        "rgb": "*u8", "depth": "*" + depth, "rays": "*fp32", "origin": "*fp32", "shift": "*i64", "out": "*" + out,
        "height": "i32", "width": "i32", "blocks": "i32", "far": "fp32",
    }
    source = ASTSource(_planes_kernel, {**types, **dict.fromkeys(constants, "constexpr")}, constants)
    kernel = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": False})
    assert kernel.asm["cubin"]
    assert "fma" not in kernel.asm["ptx"], "a fused multiply-add rounds differently from the reference"
    print("compiled")
"""


def run(code: str, folder: Path, **environment: str) -> str:
    # Whether triton interprets is decided when the kernel's module is imported, hence a process of its own.
    inherited = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    inherited |= {"OMP_NUM_THREADS": "1", "TRITON_CACHE_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**inherited, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_kernel_agrees_with_the_reference_in_the_interpreter(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    lines = run(PROVE, tmp_path, TRITON_INTERPRET="1").splitlines()
    assert [line.split()[0] for line in lines] == ["rgbd_to_planes", "rgb_to_planes"]
    assert all(float(line.split()[1]) <= 1e-6 for line in lines)


def test_the_kernel_compiles_for_hopper(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    assert run(COMPILE, tmp_path).split() == ["compiled"] * 3
