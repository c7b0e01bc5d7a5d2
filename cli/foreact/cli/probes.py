"""Small experiments that `foreact doctor` runs in a process of their own, so that a crash there is only a finding.

`python -P -m foreact.cli.probes NAME` prints one line of JSON: what was found. A failure is a non-zero exit.
"""

import importlib
import json
import sys
from collections.abc import Callable

__all__ = ["PROBES", "main"]

SPHERE = """
<mujoco><worldbody>
  <light pos="0 0 3"/>
  <geom type="sphere" size="0.3" rgba="1 0 0 1"/>
  <camera name="eye" pos="0 0 2" fovy="45"/>
</worldbody></mujoco>
"""
SIDE = 32  # [px] of the pictures drawn and encoded here


def probe_torch() -> dict[str, object]:
    """Report torch's version, its CUDA build and the devices it can use."""
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"version": torch.__version__, "cuda_build": torch.version.cuda, "devices": names}


def probe_render() -> dict[str, object]:
    """Draw a red sphere with mujoco-warp's ray tracer on the CPU; compare its distance [m] with the geometry."""
    import mujoco
    import mujoco_warp
    import warp

    warp.config.log_level = warp.LOG_WARNING
    model = mujoco.MjModel.from_xml_string(SPHERE)
    with warp.ScopedDevice("cpu"):
        device_model, data = mujoco_warp.put_model(model), mujoco_warp.make_data(model, nworld=1)
        context = mujoco_warp.create_render_context(
            model, nworld=1, cam_res=[(SIDE, SIDE)], cam_active=["eye"], render_rgb=True, render_depth=True
        )
        mujoco_warp.kinematics(device_model, data)
        mujoco_warp.camlight(device_model, data)
        mujoco_warp.refit_bvh(device_model, data, context)
        mujoco_warp.render(device_model, data, context)
    depth = context.depth_data.numpy()[0].reshape(SIDE, SIDE)
    pixel = int(context.rgb_data.numpy()[0].reshape(SIDE, SIDE)[SIDE // 2, SIDE // 2])
    red, green = (pixel >> 16) & 255, (pixel >> 8) & 255
    distance, wanted = float(depth[SIDE // 2, SIDE // 2]), 2.0 - 0.3  # camera at 2 m, radius 0.3 m
    if abs(distance - wanted) > 0.02 or red <= green:
        raise RuntimeError(f"the sphere at {wanted} m was drawn at {distance:.3f} m with red {red}, green {green}")
    return {"distance_m": distance, "red": red}


def probe_video() -> dict[str, object]:
    """Encode and decode eight H.264 frames in memory."""
    import io

    import av
    import numpy as np

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for level in range(8):
            picture = np.full((SIDE, SIDE, 3), 30 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    buffer.seek(0)
    levels: list[int] = []
    with av.open(buffer, "r") as reader:
        levels += [int(frame.to_ndarray(format="rgb24").mean()) for frame in reader.decode(video=0)]
    if len(levels) != 8 or max(abs(level - 30 * index) for index, level in enumerate(levels)) > 6:
        raise RuntimeError(f"eight grey frames came back as {levels}")
    return {"frames": len(levels), "codec": "h264"}


def probe_import(module: str) -> dict[str, object]:
    """Import one module.

    Args:
        module: import name, such as "onnxruntime".
    """
    importlib.import_module(module)
    return {"imported": module}


PROBES: dict[str, Callable[[], dict[str, object]]] = {
    "torch": probe_torch,
    "render": probe_render,
    "video": probe_video,
}


def main(arguments: list[str]) -> None:
    """Run one probe and print what it found.

    Args:
        arguments: the probe's name, or "import" and a module.
    """
    found = probe_import(arguments[1]) if arguments[0] == "import" else PROBES[arguments[0]]()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
