import numpy as np

from foreact.episodes.contract import CameraSpec
from foreact.sim.landmarks import in_camera

CAMERA = CameraSpec("front", 20, 10, ("rgb",), 10, 10, 10, 5, "world", (0, 0, 0), (1, 0, 0, 0))


def test_a_camera_reports_places_in_its_own_frame_and_only_those_in_its_picture() -> None:
    # a camera at (0, 0, 3) looking down: its axes are the world's
    landmarks = np.array([[0.5, 0.2, 1.0, 1.0], [9.0, 0.0, 1.0, 1.0], [0.5, 0.2, 1.0, 0.0], [0.0, 0.0, 4.0, 1.0]])
    seen = in_camera(landmarks[None], CAMERA, np.array([[0.0, 0.0, 3.0]]), np.eye(3)[None])[0]
    np.testing.assert_allclose(seen[0], [0.5, 0.2, -2.0, 1.0])
    assert seen[1:, 3].tolist() == [0.0, 0.0, 0.0]  # beside the picture, not in the scene, behind the camera


def test_a_turned_camera_turns_places() -> None:
    turned = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # its x axis is the world's y
    seen = in_camera(np.array([[[0.0, 0.7, -2.0, 1.0]]]), CAMERA, np.zeros((1, 3)), turned[None])[0]
    np.testing.assert_allclose(seen[0], [0.7, 0.0, -2.0, 1.0], atol=1e-7)
