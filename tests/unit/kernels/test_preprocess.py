"""The image pre-processing against numbers worked out by hand, and its errors."""

from typing import Any

import pytest
import torch

from foreact.kernels.preprocess import rgb_to_planes, rgbd_to_planes, unavailable

IMPLEMENTATIONS = ("reference", "cpu")
UINT16 = torch.uint16

# One 2 x 2 image. Colours are multiples of 51 = 0.4 * 127.5, so that 51 -> -0.6, 102 -> -0.2, 153 -> 0.2, 204 -> 0.6.
RGB = torch.tensor([[[0, 51, 102], [153, 204, 255]], [[255, 0, 51], [102, 153, 204]]], dtype=torch.uint8)
DEPTH = torch.tensor([[1000, 2000], [0, 65535]], dtype=torch.int32)
RAYS = torch.tensor([[[0.0, 0.0, -1.0], [0.5, 0.0, -1.0]], [[0.0, 0.5, -1.0], [1.0, -1.0, 0.0]]])
ORIGIN = torch.tensor([[1.0, 2.0, 3.0]])
PLANES = torch.tensor(
    [
        [[-1.0, 0.2], [1.0, -0.2]],  # red
        [[-0.6, 0.6], [-1.0, 0.2]],  # green
        [[-0.2, 1.0], [-0.6, 0.6]],  # blue
        [[1.0, 2.0], [1.0, 66.535]],  # x = 1 + 0 * 1, 1 + 0.5 * 2, no return, 1 + 1 * 65.535
        [[2.0, 2.0], [2.0, -63.535]],  # y = 2, 2, no return, 2 - 65.535
        [[2.0, 1.0], [3.0, 3.0]],  # z = 3 - 1, 3 - 2, no return, 3 + 0
    ]
)


def arguments(**changes: Any) -> dict[str, Any]:
    given = {"rgb": RGB[None], "depth": DEPTH[None].to(UINT16), "rays": RAYS, "origin": ORIGIN, "shift": None}
    return {**given, **changes}


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("depth_dtype", [torch.uint16, torch.int32])
def test_a_two_by_two_image_by_hand(implementation: str, depth_dtype: torch.dtype) -> None:
    planes = rgbd_to_planes(**arguments(depth=DEPTH[None].to(depth_dtype)), implementation=implementation)
    assert planes.dtype == torch.float32
    assert planes.is_contiguous()
    torch.testing.assert_close(planes, PLANES[None], rtol=0, atol=4e-6)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("shift", "rows", "columns"),
    [
        ((0, 0), (0, 1), (0, 1)),
        ((1, 0), (1, 1), (0, 1)),  # row 0 shows row 1; row 1 shows row 2, clamped to row 1
        ((-1, 0), (0, 0), (0, 1)),
        ((0, 1), (0, 1), (1, 1)),
        ((0, -1), (0, 1), (0, 0)),
        ((1, -1), (1, 1), (0, 0)),
        ((-(2**63), 2**63 - 1), (0, 0), (1, 1)),
        ((2**63 - 1, -(2**63)), (1, 1), (0, 0)),
    ],
)
def test_a_shift_takes_whole_source_pixels(
    implementation: str, shift: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    expected = PLANES[:, list(rows)][:, :, list(columns)]
    planes = rgbd_to_planes(**arguments(shift=torch.tensor([shift])), implementation=implementation)
    torch.testing.assert_close(planes[0], expected, rtol=0, atol=4e-6)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_each_image_has_its_own_shift_and_origin(implementation: str) -> None:
    inputs = arguments(
        rgb=torch.stack([RGB, RGB]),
        depth=torch.stack([DEPTH, DEPTH]),
        origin=ORIGIN + torch.tensor([[0.0], [10.0]]),
        shift=torch.tensor([[0, 0], [1, 1]]),
    )
    planes = rgbd_to_planes(**inputs, implementation=implementation)
    torch.testing.assert_close(planes[0], PLANES, rtol=0, atol=4e-6)
    moved = PLANES[:, 1:, 1:] + torch.tensor([0.0, 0, 0, 10, 10, 10])[:, None, None]
    torch.testing.assert_close(planes[1], moved.expand(6, 2, 2), rtol=0, atol=8e-6)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_far_points_are_clipped_and_colours_are_not(implementation: str) -> None:
    planes = rgbd_to_planes(**arguments(far=0.5), implementation=implementation)[0]
    assert torch.equal(planes[:3], rgb_to_planes(RGB[None])[0])
    torch.testing.assert_close(planes[3:], PLANES[3:].clamp(-0.5, 0.5), rtol=0, atol=4e-6)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_colour_alone_gives_the_first_three_planes(implementation: str, dtype: torch.dtype) -> None:
    shift = torch.tensor([[0, 1]])
    colour = rgb_to_planes(RGB[None], shift, dtype=dtype, implementation=implementation)
    every = rgbd_to_planes(**arguments(shift=shift), dtype=dtype, implementation=implementation)
    assert colour.shape == (1, 3, 2, 2)
    assert torch.equal(colour, every[:, :3])


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_bfloat16_is_the_rounded_float32_result(implementation: str) -> None:
    exact = rgbd_to_planes(**arguments(), implementation=implementation)
    rounded = rgbd_to_planes(**arguments(), dtype=torch.bfloat16, implementation=implementation)
    assert torch.equal(rounded, exact.to(torch.bfloat16))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_an_empty_batch_gives_an_empty_result(implementation: str) -> None:
    inputs = arguments(
        rgb=RGB[None][:0], depth=DEPTH[None][:0], origin=ORIGIN[:0], shift=torch.zeros(0, 2, dtype=torch.int64)
    )
    assert rgbd_to_planes(**inputs, implementation=implementation).shape == (0, 6, 2, 2)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"rgb": RGB[None].to(torch.int32)}, TypeError, "rgb has dtype torch.int32, expected torch.uint8"),
        ({"depth": DEPTH[None].float()}, TypeError, "depth has dtype torch.float32, expected torch.uint16 or"),
        ({"rays": RAYS.double()}, TypeError, "rays has dtype torch.float64"),
        ({"origin": ORIGIN.half()}, TypeError, "origin has dtype torch.float16"),
        ({"shift": torch.zeros(1, 2)}, TypeError, "shift has dtype torch.float32, expected torch.int64"),
        ({"dtype": torch.float16}, TypeError, "dtype is torch.float16, expected one of torch.float32 or"),
        ({"rgb": RGB}, ValueError, r"rgb has shape \(2, 2, 3\)"),
        ({"rgb": RGB[None].permute(0, 3, 1, 2)}, ValueError, r"rgb has shape \(1, 3, 2, 2\), expected \(B, H, W, 3\)"),
        ({"rgb": RGB[None, :0]}, ValueError, "H and W at least 1"),
        ({"depth": DEPTH[None, :1]}, ValueError, r"depth has shape \(1, 1, 2\), expected \(1, 2, 2\)"),
        ({"depth": DEPTH[None].expand(2, 2, 2)}, ValueError, r"depth has shape \(2, 2, 2\)"),
        ({"rays": RAYS[:1]}, ValueError, r"rays has shape \(1, 2, 3\), expected \(2, 2, 3\)"),
        ({"origin": ORIGIN[0]}, ValueError, r"origin has shape \(3,\), expected \(1, 3\)"),
        ({"far": 0.0}, ValueError, "far is 0.0, expected a limit above 0"),
        ({"shift": torch.zeros(2, 2, dtype=torch.int64)}, ValueError, r"shift has shape \(2, 2\), expected \(1, 2\)"),
        ({"depth": DEPTH[None].to("meta")}, ValueError, "depth is on meta but rgb is on cpu"),
        ({"implementation": "fastest"}, ValueError, "unknown implementation 'fastest': choose from reference"),
        ({"implementation": "triton"}, RuntimeError, "implementation 'triton' cannot run here"),
        ({"rays": RAYS.clone().requires_grad_()}, TypeError, "'cpu' gives no gradient"),
    ],
)
def test_wrong_inputs_are_named(
    changes: dict[str, Any], error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(error, match=words):
        rgbd_to_planes(**arguments(**changes))


def test_an_untuned_device_is_an_error_not_a_fallback() -> None:
    rgb = RGB[None].to("meta")
    with pytest.raises(RuntimeError, match="no implementation is tuned for meta"):
        rgb_to_planes(rgb)
    with pytest.raises(RuntimeError, match="'cpu' cannot run here: it takes CPU tensors"):
        rgb_to_planes(rgb, implementation="cpu")


def test_triton_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert "CUDA tensors" in (unavailable("triton", torch.device("cpu")) or "")
    assert unavailable("triton", torch.device("cuda")) is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert unavailable("triton", torch.device("cuda")) == "the package triton is not installed"


def test_the_reference_gives_gradients_to_the_geometry() -> None:
    rays = RAYS.clone().requires_grad_()
    rgbd_to_planes(**arguments(rays=rays), implementation="reference").sum().backward()
    assert rays.grad is not None
    # d(origin + rays * z) / d(rays) = z [m], for each of the three axes.
    torch.testing.assert_close(rays.grad, torch.tensor([[1.0, 2.0], [0.0, 65.535]])[..., None].expand(2, 2, 3))
