"""Training and evaluation on real pictures: killed and continued, one world and many, in one order and another."""

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from foreact.episodes.contract import ContractMismatch
from foreact.episodes.convert import ConvertConfig, convert
from foreact.episodes.store import EpisodeStore
from foreact.perception.language import InstructionEncoder
from foreact.perception.vision import KeypointEncoder
from foreact.vla.evaluate import EvalConfig, evaluate, load_results
from foreact.vla.heads import HeadConfig
from foreact.vla.policy import PolicyConfig
from foreact.vla.shadow import ShadowConfig, shadow
from foreact.vla.train import TrainConfig, train
from foreact.vla.trainer import OptimisationConfig

UPDATES = 60
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_train_and_eval import train_config
from foreact.vla.train import train
if __name__ == "__main__":
    train(train_config(Path({data!r}), Path({out!r})))
"""


def train_config(data: Path, out: Path) -> TrainConfig:
    policy = PolicyConfig(
        vision=KeypointEncoder.Config(channels=(4, 6, 8), keypoints=4, summary=8),
        language=InstructionEncoder.Config(embedding=8, width=8),
        head=HeadConfig(width=16, depth=1),
    )
    optimisation = OptimisationConfig(updates=UPDATES, batch=8, warmup=5, shift=2)
    return TrainConfig(data, out, policy, optimisation, checkpoint_every=5, log_every=5)


@pytest.fixture(scope="module")
def trained(demonstrations: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    train(train_config(demonstrations, out))
    return out


def start_training(script: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-P", str(script)], start_new_session=True)


def test_training_killed_twice_gives_the_same_bits(demonstrations: Path, trained: Path, tmp_path: Path) -> None:
    out, script = tmp_path / "run", tmp_path / "start.py"
    script.write_text(SCRIPT.format(here=str(Path(__file__).parent), data=str(demonstrations), out=str(out)))
    for after in (1, 3):  # kill once some states are on disk, then again further on
        process = start_training(script)
        while process.poll() is None and len(list((out / "checkpoints").glob("step-*"))) < min(after, 2):
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)  # the command alone: its ranks must end by themselves
        process.wait()
        assert not (out / "policy").exists()
    assert start_training(script).wait() == 0
    expected, got = (load_file(run / "policy" / "model.safetensors") for run in (trained, out))
    assert expected.keys() == got.keys()
    assert all((expected[name] == got[name]).all() for name in expected)
    assert (trained / "metrics.jsonl").read_bytes() == (out / "metrics.jsonl").read_bytes()


def test_a_run_with_other_settings_is_not_continued(demonstrations: Path, trained: Path) -> None:
    from foreact.episodes.runfolder import RunError

    changed = dataclasses.replace(train_config(demonstrations, trained), seed=9)
    with pytest.raises(RunError, match="seed"):
        train(changed)


def digest(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((out / "episodes").glob("*"))}


def eval_config(policy: Path, out: Path, **changes: object) -> EvalConfig:
    fields = {"out": out, "tasks": ("reach", "drawer-open"), "policy": policy, "episodes": 3, "horizon": 24}
    return EvalConfig(**{**fields, "videos": 0, "workers": 1, **changes})


def test_one_world_at_a_time_and_many_at_once_give_the_same_episodes(trained: Path, tmp_path: Path) -> None:
    together, alone = tmp_path / "together", tmp_path / "alone"
    evaluate(eval_config(trained, together, worlds=3))
    evaluate(eval_config(trained, alone, worlds=1, workers=2))
    assert digest(together) == digest(alone)
    # the episodes differ among themselves, so equality above means something
    assert len(set(digest(together).values())) == 6


def test_reordering_tasks_changes_no_episode(trained: Path, tmp_path: Path) -> None:
    evaluate(eval_config(trained, tmp_path / "a", worlds=2))
    evaluate(eval_config(trained, tmp_path / "b", worlds=2, tasks=("drawer-open", "reach")))
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_an_evaluation_killed_midway_is_completed(trained: Path, tmp_path: Path) -> None:
    whole, out, script = tmp_path / "whole", tmp_path / "killed", tmp_path / "start.py"
    evaluate(eval_config(trained, whole, worlds=1))
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\nfrom test_train_and_eval import eval_config\n"
        "from foreact.vla.evaluate import evaluate\n"
        f"evaluate(eval_config(Path({str(trained)!r}), Path({str(out)!r}), worlds=1))\n"
    )
    process = subprocess.Popen([sys.executable, "-P", str(script)], start_new_session=True)
    while process.poll() is None and len(list((out / "episodes").glob("*.json"))) < 2:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 2 <= len(list((out / "episodes").glob("*.json"))) < 6
    outcome = evaluate(eval_config(trained, out, worlds=1))
    assert digest(out) == digest(whole)
    assert outcome.figures["success_mean"] == json.loads((whole / "report.json").read_text())["success_mean"]
    assert len(load_results(out)) == 6


def test_a_policy_of_another_rate_is_refused(trained: Path, tmp_path: Path) -> None:
    from foreact.episodes.contract import ContractMismatch
    from foreact.vla.checkpoint import load_policy, save_policy

    policy = load_policy(trained)
    policy.contract = dataclasses.replace(policy.contract, control_rate_hz=50.0)
    save_policy(tmp_path / "slow", policy)
    with pytest.raises(ContractMismatch, match="control_rate_hz.*80.0.*50.0"):
        evaluate(eval_config(tmp_path / "slow", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_trained_policy_watches_its_demonstrations_in_any_format(
    demonstrations: Path, trained: Path, tmp_path: Path
) -> None:
    shown = shadow(ShadowConfig(demonstrations, trained, every=2, out=tmp_path / "shadow"))
    convert(ConvertConfig(demonstrations, tmp_path / "bags", "mcap"))
    again = shadow(ShadowConfig(tmp_path / "bags", trained, every=2))
    # the same moments, commands and differences: a policy does not see in what file a recording lies
    for what in ("decisions", "mean_absolute_difference", "by_element", "by_step"):
        assert shown.figures[what] == again.figures[what], what
    written = {path.name for path in (tmp_path / "shadow").iterdir()}
    assert written == {"000.png", "001.png", "002.png", "003.png", "report.json"}
    assert json.loads((tmp_path / "shadow" / "report.json").read_text())["decisions"] == shown.figures["decisions"]


def test_a_store_of_another_camera_is_not_watched(demonstrations: Path, trained: Path, tmp_path: Path) -> None:
    other = EpisodeStore.open(demonstrations)
    moved = dataclasses.replace(other.contract.cameras[0], position=(1.0, 0.0, 0.0))
    contract = dataclasses.replace(other.contract, cameras=(moved, *other.contract.cameras[1:]))
    store = EpisodeStore.create(tmp_path / "moved", contract)
    store.write("one", other.read(other.keys()[0]))
    with pytest.raises(ContractMismatch, match="cameras.front.position"):
        shadow(ShadowConfig(tmp_path / "moved", trained))
