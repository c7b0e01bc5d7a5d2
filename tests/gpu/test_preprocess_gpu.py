"""The image pre-processing on a CUDA device."""

import pytest
import torch

from foreact.kernels.bench import BenchConfig, bench
from foreact.kernels.operators import load
from foreact.kernels.preprocess import rgb_to_planes, rgbd_to_planes
from foreact.kernels.prove import prove


@pytest.mark.parametrize("name", ["rgbd_to_planes", "rgb_to_planes"])
def test_triton_agrees_with_the_reference(cuda: torch.device, name: str) -> None:
    proofs = {(proof.implementation, proof.dtype): proof for proof in prove(load(name), cuda)}
    assert all(proof.problems == () for proof in proofs.values())
    assert proofs["triton", torch.float32].cases == 100
    assert proofs["triton", torch.float32].not_run is None
    assert proofs["cpu", torch.float32].not_run is not None


def test_triton_on_cuda_agrees_with_the_reference_on_the_cpu(cuda: torch.device) -> None:
    case = load("rgbd_to_planes").timing_case(8, 96, 0)
    expected = rgbd_to_planes(**case.inputs, implementation="reference")  # pyright: ignore[reportArgumentType]
    planes = rgbd_to_planes(**case.to(cuda).inputs)  # pyright: ignore[reportArgumentType]
    assert planes.device == cuda
    # Every operation of the kernel is rounded as on the CPU, so not even the points 65 m away may differ.
    assert torch.equal(planes.cpu(), expected)


def test_offsets_pass_two_to_the_31(cuda: torch.device) -> None:
    # 3 planes x 512 x 512 px x 2800 images = 2.2e9 elements; bfloat16 keeps them within 5 GB.
    if torch.cuda.mem_get_info(cuda)[0] < 12e9:
        pytest.skip("needs 12 GB of free GPU memory")
    rgb = torch.zeros(2800, 512, 512, 3, dtype=torch.uint8, device=cuda)
    rgb[-1] = 255
    planes = rgb_to_planes(rgb, dtype=torch.bfloat16)
    assert (planes[-1] == 1).all()
    assert (planes[-2] == -1).all()


def test_a_mixture_of_devices_is_an_error(cuda: torch.device) -> None:
    rgb = torch.zeros(1, 4, 4, 3, dtype=torch.uint8, device=cuda)
    with pytest.raises(ValueError, match="shift is on cpu but rgb is on cuda"):
        rgb_to_planes(rgb, torch.zeros(1, 2, dtype=torch.int64))
    with pytest.raises(RuntimeError, match="'cpu' cannot run here: it takes CPU tensors"):
        rgb_to_planes(rgb, implementation="cpu")


def test_the_benchmark_times_triton(cuda: torch.device) -> None:
    report = bench(BenchConfig(device="cuda", batch=8, size=32, repeats=2))
    timed = {row[:2] for row in report.rows if row[7]}
    assert ("rgbd_to_planes", "triton") in timed
    assert ("rgbd_to_planes", "cpu") not in timed
