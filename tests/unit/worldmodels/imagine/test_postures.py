"""Where everything is, read back from what is seen: against the simulator's own state, for every scene."""

import numpy as np
import pytest

from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.branching import make_branches
from foreact.worldmodels.imagine.postures import Postures, UnmappedColumn
from foreact.worldmodels.scenes import Scene, scene, scene_names

STATES, COPIES, HORIZON = 2, 3, 4
ROUNDING = 2e-7  # of float32 [m], and of a quaternion that is scaled to length 1
JOINTS = 9  # of the arm


def followed(chosen: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is seen in true futures, and where joints and mocap bodies are then, (S * M * T, ...) each."""
    shape = (STATES, COPIES, HORIZON)
    model = chosen.task.compile()
    qpos, places = np.zeros((*shape, model.nq)), np.zeros((*shape, model.nmocap, 3))

    def watch(step: int, worlds: TaskWorlds, states: np.ndarray) -> None:
        if step > 0:
            qpos[states, :, step - 1] = worlds.views.qpos.reshape(len(states), COPIES, -1)
            if model.nmocap:
                places[states, :, step - 1] = worlds.views.mocap_pos.reshape(len(states), COPIES, -1, 3)

    made = make_branches(chosen, "test", STATES, COPIES, seed=1000, horizon=HORIZON, watch=watch)
    rows = int(np.prod(shape))
    return made.futures.reshape(rows, -1), qpos.reshape(rows, -1), places.reshape(rows, -1, 3)


@pytest.mark.parametrize("name", scene_names())
def test_what_is_seen_says_where_everything_is(name: str) -> None:
    chosen = scene(name)
    seen, qpos, places = followed(chosen)
    model = chosen.task.compile()
    states = Postures(model, chosen.columns).states(seen)
    np.testing.assert_array_equal(states.qpos[:, :JOINTS], qpos[:, :JOINTS].astype(np.float32))
    np.testing.assert_allclose(states.qpos, qpos, rtol=ROUNDING, atol=ROUNDING)
    assert len(np.unique(qpos.round(6), axis=0)) > HORIZON, "futures differ, or nothing was compared"
    if model.nmocap:
        np.testing.assert_allclose(states.mocap_pos, places, rtol=0, atol=ROUNDING)
        moved = model.body_mocapid >= 0
        np.testing.assert_array_equal(states.mocap_quat[0], model.body_quat[moved])


@pytest.mark.parametrize("name", ["cube_a", "cube_vz_speed", "elbow", "goal_qw", "joint1_x", "lid_x"])
def test_an_element_that_says_nothing_is_refused(name: str) -> None:
    chosen = scene("arm-push")
    with pytest.raises(UnmappedColumn, match=f"'{name}' is neither"):
        Postures(chosen.task.compile(), (*chosen.columns, name))


@pytest.mark.parametrize(
    ("scene_name", "without", "message"),
    [
        ("arm-push", "joint4", "where joint 'joint4' is"),
        ("arm-push", "cube_qx", "where joint 'cube' is"),
        ("arm-reach-passer", "passer_", "where 'passer' is"),
        ("arm-drawer", "handle_", "where 'cabinet' is"),
    ],
)
def test_what_nothing_tells_of_is_refused(scene_name: str, without: str, message: str) -> None:
    chosen = scene(scene_name)
    columns = [each for each in chosen.columns if not (each == without or each.startswith(f"{without}"))]
    assert len(columns) < len(chosen.columns)
    with pytest.raises(UnmappedColumn, match=message):
        Postures(chosen.task.compile(), columns)


def test_imagined_quaternions_get_length_one() -> None:
    chosen = scene("arm-lift")
    postures = Postures(chosen.task.compile(), chosen.columns)
    seen = np.zeros((2, len(chosen.columns)))
    first = chosen.columns.index("cube_qw")
    seen[:, first : first + 4] = [[0, 3, 0, 4], [0.5, 0, 0, 0]]
    np.testing.assert_allclose(postures.states(seen).qpos[:, 12:16], [[0, 0.6, 0, 0.8], [1, 0, 0, 0]])
    seen[1, first] = 0
    with pytest.raises(ValueError, match="cube_qw: a quaternion of length 0"):
        postures.states(seen)


def test_observations_that_cannot_be_drawn_are_refused() -> None:
    chosen = scene("arm-reach")
    postures = Postures(chosen.task.compile(), chosen.columns)
    with pytest.raises(ValueError, match=r"\(N, 27\), got \(1, 26\)"):
        postures.states(np.zeros((1, 26)))
    with pytest.raises(ValueError, match="not finite"):
        postures.states(np.full((1, 27), np.nan))
