import pytest
import torch

from foreact.episodes.contract import CameraSpec
from foreact.vla.landmarks import landmark_loss, picture_coordinates


def test_absent_landmarks_and_further_points_do_not_count() -> None:
    points = torch.tensor([[[0.0, 0.0, 0.0], [9.0, 9.0, 9.0], [5.0, 5.0, 5.0]]])
    targets = torch.tensor([[[0.3, -0.6, 0.0], [0.0, 0.0, 0.0]]])
    assert landmark_loss(points, targets, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(0.3)
    assert landmark_loss(points, targets, torch.zeros(1, 2)).item() == 0.0


def test_a_camera_without_depth_sees_places_across_its_picture() -> None:
    camera = CameraSpec("front", 20, 10, ("rgb",), 10, 10, 10, 5, "world", (0, 0, 0), (1, 0, 0, 0))
    # 2 m ahead, 1 m right, 0.5 m up: 5 px right of the centre of 20, 2.5 px above the centre of 10
    seen = picture_coordinates(torch.tensor([[[1.0, 0.5, -2.0]]]), camera)
    assert seen[0, 0].tolist() == pytest.approx([0.5, -0.5, 0.0])
