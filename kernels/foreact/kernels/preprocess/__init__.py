"""Camera images to network input planes: uint8 colour and millimetre depth in, float colour and 3-D points out."""

from foreact.kernels.preprocess.entry import IMPLEMENTATIONS, rgb_to_planes, rgbd_to_planes, unavailable
from foreact.kernels.preprocess.rays import camera_rays

__all__ = ["IMPLEMENTATIONS", "camera_rays", "rgb_to_planes", "rgbd_to_planes", "unavailable"]
