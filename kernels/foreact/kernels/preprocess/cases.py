"""Inputs and tolerances that prove and time the image pre-processing."""

from collections.abc import Iterator

import torch

from foreact.kernels.operators import EXACT, Case, Operator, Tolerance
from foreact.kernels.preprocess.entry import rgb_to_planes, rgbd_to_planes, unavailable
from foreact.kernels.preprocess.inputs import DEPTH_DTYPES

DEPTH_LIMIT = 65536
JITTER = 4  # [px], the training augmentation's shift
# (batch, height, width): single pixels, single rows and columns, odd sizes, more than one block of 1024 pixels.
SIZES = ((1, 1, 1), (2, 1, 7), (2, 5, 1), (1, 2, 2), (3, 17, 31), (2, 33, 35))
# One bfloat16 step is at most 2**-7 of the value; the triton interpreter truncates where the hardware rounds.
TOLERANCES = {
    "reference": {torch.float32: EXACT, torch.bfloat16: EXACT},
    "cpu": {torch.float32: EXACT, torch.bfloat16: EXACT},
    "triton": {torch.float32: Tolerance(1e-6, 1e-6), torch.bfloat16: Tolerance(2**-7, 1e-6)},
}


def _case(
    label: str, shape: tuple[int, int, int], generator: torch.Generator, depth_dtype: torch.dtype = torch.uint16
) -> Case:
    batch, height, width = shape
    depth = torch.randint(0, DEPTH_LIMIT, shape, generator=generator, dtype=torch.int32)
    return Case(
        label,
        {
            "rgb": torch.randint(0, 256, (*shape, 3), generator=generator, dtype=torch.uint8),
            "depth": depth.to(depth_dtype),
            "rays": torch.randn(height, width, 3, generator=generator),
            "origin": torch.randn(batch, 3, generator=generator),
            "shift": torch.randint(-JITTER, JITTER + 1, (batch, 2), generator=generator),
        },
    )


def rgbd_cases(seed: int) -> Iterator[Case]:
    """Yield random inputs of every size and depth dtype, then the edge cases.

    Args:
        seed: of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    for shape in SIZES:
        for depth_dtype in DEPTH_DTYPES:
            yield _case(f"random {shape} {depth_dtype}", shape, generator, depth_dtype)
    shape = (3, 9, 6)
    base = _case("base", shape, generator)
    ramp = (torch.arange(9 * 6 * 3) * 255 // (9 * 6 * 3 - 1)).to(torch.uint8).view(1, 9, 6, 3).repeat(3, 1, 1, 1)
    edges: dict[str, dict[str, torch.Tensor | float | None]] = {
        "no shift": {"shift": None},
        "zero shift": {"shift": torch.zeros(3, 2, dtype=torch.int64)},
        "shift by the size": {"shift": torch.tensor([[8, -5], [9, -6], [-9, 6]])},
        "shift far outside": {"shift": torch.tensor([[10**6, -(10**6)], [2**63 - 1, -(2**63)], [-(2**63), 2**63 - 1]])},
        "no return anywhere": {"depth": torch.zeros(shape, dtype=torch.uint16)},
        "depth at its maximum": {"depth": torch.full(shape, DEPTH_LIMIT - 1, dtype=torch.int32)},
        "points clipped": {"far": 5.0},
        "every colour from 0 to 255": {"rgb": ramp},
        "strided inputs": {
            "rgb": torch.randint(0, 256, (3, 18, 12, 3), generator=generator, dtype=torch.uint8)[:, ::2, ::2],
            "rays": torch.randn(3, 6, 9, generator=generator).permute(2, 1, 0),
            "shift": torch.randint(-JITTER, JITTER + 1, (2, 3), generator=generator).T,
        },
    }
    for label, changed in edges.items():
        yield Case(label, {**base.inputs, **changed})


def rgbd_timing_case(batch: int, size: int, seed: int) -> Case:
    """Build the inputs of a training batch: square uint16 RGB-D images and random shifts of up to 4 px.

    Args:
        batch: images.
        size: height and width [px].
        seed: of the random numbers.
    """
    shape = (batch, size, size)
    return _case(f"{batch} x {size} x {size} px", shape, torch.Generator().manual_seed(seed))


def _colour_only(case: Case) -> Case:
    return Case(case.label, {name: case.inputs[name] for name in ("rgb", "shift")})


def rgb_cases(seed: int) -> Iterator[Case]:
    """Yield the cases of `rgbd_cases` without their depth.

    Args:
        seed: of the random numbers.
    """
    return map(_colour_only, rgbd_cases(seed))


def rgb_timing_case(batch: int, size: int, seed: int) -> Case:
    """Build the case of `rgbd_timing_case` without its depth.

    Args:
        batch: images.
        size: height and width [px].
        seed: of the random numbers.
    """
    return _colour_only(rgbd_timing_case(batch, size, seed))


RGBD_TO_PLANES = Operator("rgbd_to_planes", rgbd_to_planes, TOLERANCES, unavailable, rgbd_cases, rgbd_timing_case)
RGB_TO_PLANES = Operator("rgb_to_planes", rgb_to_planes, TOLERANCES, unavailable, rgb_cases, rgb_timing_case)
