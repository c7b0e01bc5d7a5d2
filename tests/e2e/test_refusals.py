"""Bad input as a user meets it: a message that says what is wrong, a non-zero exit code, nothing half written."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes.contract import PolicyContract
from foreact.episodes.store import EpisodeStore

Typed = Callable[..., Any]


def refused(done: Any, *words: str) -> None:
    """The command failed with one message, no trace, and these words."""
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1, said[-3000:]
    assert "Traceback" not in said
    for word in words:
        assert word in said, said[-3000:]


def reversed_actions(contract: PolicyContract) -> PolicyContract:
    action = contract.action
    return dataclasses.replace(contract, action=dataclasses.replace(action, elements=tuple(reversed(action.elements))))


def other_unit(contract: PolicyContract) -> PolicyContract:
    units = ("mm", *contract.state.units[1:])
    return dataclasses.replace(contract, state=dataclasses.replace(contract.state, units=units))


def smaller_camera(contract: PolicyContract) -> PolicyContract:
    first, *others = contract.cameras
    return dataclasses.replace(contract, cameras=(dataclasses.replace(first, width=48, height=48), *others))


def other_rate(contract: PolicyContract) -> PolicyContract:
    return dataclasses.replace(contract, control_rate_hz=50.0)


@pytest.fixture
def foreign(demo: Path, tmp_path: Path) -> Callable[[Callable[[PolicyContract], PolicyContract]], Path]:
    """The demo's policy with another contract."""

    def make(change: Callable[[PolicyContract], PolicyContract]) -> Path:
        from foreact.vla.checkpoint import load_policy, save_policy

        policy = load_policy(demo / "train")
        policy.contract = change(policy.contract)
        save_policy(tmp_path / "foreign", policy)
        return tmp_path / "foreign"

    return make


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (reversed_actions, ("action.elements",)),
        (other_unit, ("state.units", "mm")),
        (other_rate, ("control_rate_hz", "50", "80")),
    ],
)
def test_a_policy_for_another_robot_is_not_evaluated(
    change: Callable[[PolicyContract], PolicyContract],
    words: tuple[str, ...],
    foreign: Callable[[Callable[[PolicyContract], PolicyContract]], Path],
    typed: Typed,
    tmp_path: Path,
) -> None:
    refused(typed("eval", f"policy={foreign(change)}", "tasks=[reach]", "out=eval", "episodes=1", "workers=1"), *words)
    assert not list(tmp_path.rglob("*.mp4")) and not (tmp_path / "eval/report.json").exists()


def test_a_policy_for_another_camera_is_not_compared_with_these_pictures(
    foreign: Callable[[Callable[[PolicyContract], PolicyContract]], Path], demo: Path, typed: Typed, tmp_path: Path
) -> None:
    done = typed("export", f"policy={foreign(smaller_camera)}", "out=a.onnx", f"data={demo / 'data/calibration'}")
    refused(done, "width", "48", "96")
    assert not list(tmp_path.glob("a.*"))


@pytest.mark.parametrize("command", ["eval", "export"])
def test_a_corrupted_checkpoint_is_refused(command: str, demo: Path, typed: Typed, tmp_path: Path) -> None:
    shutil.copytree(demo / "train/policy", tmp_path / "broken")
    weights = tmp_path / "broken/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    words = {
        "eval": ("tasks=[reach]", "out=result", "episodes=1"),
        "export": ("out=result.onnx", f"data={demo / 'data/calibration'}"),
    }[command]
    refused(typed(command, "policy=broken", *words), "model.safetensors", "truncated or altered")
    assert {each.name for each in tmp_path.iterdir()} == {"broken"}


def test_a_truncated_store_is_refused(demo: Path, typed: Typed, tmp_path: Path) -> None:
    shutil.copytree(demo / "data/train", tmp_path / "cut")
    shard = next((tmp_path / "cut/episodes").glob("*/camera.front.rgb/c.*"))
    shard.write_bytes(shard.read_bytes()[:-100])
    refused(typed("inspect", "cut", "verify=true"), "truncated or altered", shard.name)
    refused(typed("train", "data=cut", "out=run", "optimisation.updates=2"), "truncated or altered", shard.name)
    assert not (tmp_path / "run").exists()


def test_a_number_that_is_none_in_an_episode_is_refused(demo: Path, typed: Typed, tmp_path: Path) -> None:
    from foreact.episodes import arrays

    shutil.copytree(demo / "data/train", tmp_path / "odd")
    store = EpisodeStore.open(tmp_path / "odd")
    name = store.keys()[0]
    episode = store.read(name)
    state = np.array(episode.streams["state"].data)
    state[3, 0] = np.nan
    streams = {**episode.streams, "state": dataclasses.replace(episode.streams["state"], data=state)}
    shutil.rmtree(tmp_path / "odd/episodes" / name)
    (tmp_path / "odd/episodes" / name).mkdir()
    arrays.write_episode(tmp_path / "odd/episodes" / name, dataclasses.replace(episode, streams=streams))
    refused(typed("inspect", "odd", "verify=true"), name, "state", "nan")
    refused(typed("train", "data=odd", "out=run", "optimisation.updates=2"), name, "state", "nan")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("record", "tasks=[reech]", "out=data"),
        ("eval", "tasks=[reech]", "out=eval", "agent=zero"),
        ("tasks", "names=[reech]", "sheet=x.png"),
    ],
)
def test_an_unknown_task_is_refused_with_near_ones(words: tuple[str, ...], typed: Typed, tmp_path: Path) -> None:
    refused(typed(*words), "reech", "reach")
    assert list(tmp_path.iterdir()) == []
