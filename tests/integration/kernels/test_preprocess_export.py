"""The pre-processing inside an exported graph and under the compiler."""

from pathlib import Path

import pytest
import torch

from foreact.kernels.preprocess import camera_rays, rgbd_to_planes

HEIGHT, WIDTH = 6, 8


class Front(torch.nn.Module):
    """What a policy does first: geometry as buffers, raw images as inputs."""

    rays: torch.Tensor
    origin: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        rotation = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
        self.register_buffer("rays", camera_rays(7.0, 7.5, 4.0, 3.0, WIDTH, HEIGHT, rotation))
        self.register_buffer("origin", torch.tensor([0.1, 0.2, 0.3]))

    def forward(self, rgb: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
        return rgbd_to_planes(rgb, depth, self.rays, self.origin.expand(rgb.shape[0], 3), far=5.0)


def images(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(batch)
    rgb = torch.randint(0, 256, (batch, HEIGHT, WIDTH, 3), generator=generator, dtype=torch.uint8)
    depth = torch.randint(0, 65536, (batch, HEIGHT, WIDTH), generator=generator, dtype=torch.int32)
    depth[:, 0, 0], depth[:, 0, 1] = 0, 65535
    return rgb, depth.to(torch.uint16)


@pytest.mark.filterwarnings("ignore")
def test_onnx_takes_raw_uint8_and_uint16_and_gives_the_same_planes(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    front, file = Front().eval(), tmp_path / "front.onnx"
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        front,
        images(2),
        dynamo=True,
        opset_version=18,
        input_names=["rgb", "depth"],
        dynamic_shapes=({0: batch}, {0: batch}),
        verbose=False,
    )
    assert program is not None
    program.save(file)
    engine = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert [(each.name, each.type) for each in engine.get_inputs()] == [
        ("rgb", "tensor(uint8)"),
        ("depth", "tensor(uint16)"),
    ]
    rgb, depth = images(5)
    (planes,) = engine.run(None, {"rgb": rgb.numpy(), "depth": depth.numpy()})
    torch.testing.assert_close(torch.from_numpy(planes), front(rgb, depth), rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_the_compiler_traces_it_without_a_break() -> None:
    front = Front()
    compiled = torch.compile(front, backend="eager", fullgraph=True)
    assert torch.equal(compiled(*images(3)), front(*images(3)))
