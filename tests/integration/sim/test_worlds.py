"""Worlds with pictures: alone, together and reordered they are the same."""

import numpy as np
import pytest

pytest.importorskip("mujoco_warp")

from foreact.sim.controllers import controller
from foreact.sim.metaworld import default_cameras
from foreact.sim.worlds import Worlds

CAMERAS = default_cameras(24, 16)
NAMES = ["push-v3", "drawer-open-v3", "push-v3", "push-v3", "push-v3", "push-v3"]
SEEDS = [5, 6, 7, 8, 9, 10]

Frames = dict[str, np.ndarray]


def _rollout(names: list[str], seeds: list[int]) -> tuple[np.ndarray, Frames]:
    worlds = Worlds(names, CAMERAS, segmentation=True)
    worlds.reset(seeds)
    policy = controller("expert", seeds)
    for _ in range(20):
        worlds.step(policy(worlds, np.ones(len(names), bool)))
    return worlds.states(), worlds.render()


@pytest.fixture(scope="module")
def together() -> tuple[np.ndarray, Frames]:
    return _rollout(NAMES, SEEDS)


def test_pictures_show_something_and_worlds_differ(together: tuple[np.ndarray, Frames]) -> None:
    _, images = together
    assert images["camera.front.rgb"].shape == (6, 24, 24, 3)
    assert images["camera.wrist.depth"].shape == (6, 16, 16)
    for name in ("camera.front.rgb", "camera.wrist.rgb", "camera.front.segmentation"):
        assert all(images[name][index].std() > 1 for index in range(6)), name
        assert not np.array_equal(images[name][0], images[name][2]), name
    assert 200 < np.median(images["camera.front.depth"]) < 3000  # [mm]


def test_one_world_at_a_time_gives_the_same_pictures(together: tuple[np.ndarray, Frames]) -> None:
    for index in (0, 1, 5):
        state, images = _rollout([NAMES[index]], [SEEDS[index]])
        np.testing.assert_array_equal(state[0], together[0][index])
        for key, values in together[1].items():
            np.testing.assert_array_equal(images[key][0], values[index], err_msg=key)


def test_permuting_worlds_permutes_pictures(together: tuple[np.ndarray, Frames]) -> None:
    order = [4, 1, 5, 0, 2, 3]
    state, images = _rollout([NAMES[i] for i in order], [SEEDS[i] for i in order])
    np.testing.assert_array_equal(state, together[0][order])
    for key, values in together[1].items():
        np.testing.assert_array_equal(images[key], values[order], err_msg=key)


def test_only_masked_worlds_are_drawn(together: tuple[np.ndarray, Frames]) -> None:
    worlds = Worlds(NAMES, CAMERAS, segmentation=True)
    worlds.reset(SEEDS)
    mask = np.array([False, True, False, False, True, True])
    images, everything = worlds.render(mask), worlds.render()
    for key, values in images.items():
        assert not values[~mask].any()
        np.testing.assert_array_equal(values[mask], everything[key][mask], err_msg=key)
