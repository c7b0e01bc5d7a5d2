"""The planner where the real parts run: the simulator as oracle, episodes, states with something to collide with."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.branching import make_branches
from foreact.worldmodels.checkpoint import load_model, save_model
from foreact.worldmodels.models.codes import CodesConfig
from foreact.worldmodels.models.predictor import PredictorConfig
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.planner.closed_loop import ClosedLoopConfig, closed_loop
from foreact.worldmodels.planner.episodes import Choice, Request, live_worlds, run_episodes
from foreact.worldmodels.planner.execution import ExecutionConfig
from foreact.worldmodels.planner.measures import clearance
from foreact.worldmodels.planner.oracle import SimulatorOracle
from foreact.worldmodels.planner.plan import PlannerConfig
from foreact.worldmodels.planner.policies import ClonedConfig, SamplingPolicy, ScriptedConfig, Situation
from foreact.worldmodels.planner.proposals import ProposalConfig
from foreact.worldmodels.planner.risk import RiskConfig, risk_choice
from foreact.worldmodels.planner.risk_states import StatesConfig, risky_states
from foreact.worldmodels.planner.timing import PlanTimingConfig, plan_timing, time_plans
from foreact.worldmodels.scenes import scene, scene_names

PASSER = scene("arm-reach-passer")
FEW = ProposalConfig(samples=3, shaken=3, straight=2, last=0)


@pytest.fixture
def worlds() -> TaskWorlds:
    return live_worlds(PASSER, 6, 1000)


def situation(worlds: TaskWorlds) -> Situation:
    every = np.arange(len(worlds))
    return Situation(worlds, every, np.array(worlds.restore(worlds.snapshot())), np.stack([every, every], 1))


def chunks(worlds: TaskWorlds, count: int) -> np.ndarray:
    return ScriptedConfig().build(PASSER, 16, 0).sample(situation(worlds), count)


def test_the_oracle_leaves_the_worlds_alone_and_repeats_itself(worlds: TaskWorlds) -> None:
    given = chunks(worlds, 2)
    before, place = worlds.snapshot(), np.array(worlds.views.qpos)
    oracle = SimulatorOracle(PASSER, futures=3, seed=7)
    first = oracle.imagine(worlds, np.arange(6), given)
    again = oracle.imagine(worlds, np.arange(6), given)
    other = SimulatorOracle(PASSER, futures=3, seed=8).imagine(worlds, np.arange(6), given)
    assert first.values.shape == (12, 3, 16, 30)
    torch.testing.assert_close(first.log_weights.exp().sum(1), torch.ones(12))
    assert torch.equal(first.values, again.values) and not torch.equal(first.values, other.values)
    np.testing.assert_array_equal(worlds.views.qpos, place)
    for name, values in worlds.snapshot().arrays.items():
        np.testing.assert_array_equal(values, before.arrays[name])


def test_all_candidates_of_a_state_meet_the_same_draws(worlds: TaskWorlds) -> None:
    same = np.repeat(chunks(worlds, 1), 2, axis=1)
    oracle = SimulatorOracle(PASSER, futures=3)
    found = oracle.imagine(worlds, np.arange(6), same).values.reshape(6, 2, 3, 16, 30)
    assert torch.equal(found[:, 0], found[:, 1])
    assert not torch.equal(found[:, 0, 0], found[:, 0, 1])  # but the futures of one differ
    # what is asked for one world alone is what is asked for it among others
    alone = oracle.imagine(worlds, np.array([4]), same[4:5])
    assert torch.equal(alone.values[0], found[4, 0])


def test_measured_clearance_agrees_with_the_simulators_contacts() -> None:
    worlds = live_worlds(PASSER, 60, 1000)
    found = SimulatorOracle(PASSER, futures=6).imagine(worlds, np.arange(60), chunks(worlds, 1))
    gap, touched = clearance(PASSER, found.values), found.contact > 0
    assert touched.sum() > 20
    assert (gap[touched] < 0.02).float().mean() > 0.95
    assert touched[gap > 0.02].float().mean() < 0.005


@pytest.mark.parametrize("name", scene_names())
def test_positions_of_true_futures_tell_success_as_the_simulator_does(name: str) -> None:
    place = scene(name)
    made = make_branches(place, "train", 60, 2, seed=1000)
    # who touches the passer-by has not solved it
    told = (place.short(made.futures) < 0) & ~made.contact
    assert made.success.any() and not made.success.all()
    np.testing.assert_array_equal(told, made.success)
    # the control: judged one centimetre more strictly they differ
    assert ((place.short(made.futures) < -0.01) & ~made.contact != made.success).any()


def test_a_policy_gives_the_same_samples_for_the_same_seeds(worlds: TaskWorlds) -> None:
    clone = ClonedConfig(updates=3, demonstrations=2).build(PASSER, 16, 0)
    for policy in (ScriptedConfig().build(PASSER, 16, 0), clone):
        first, again = (policy.sample(situation(worlds), 3) for _ in range(2))
        assert first.shape == (6, 3, 16, 4) and first.dtype == np.float32 and abs(first).max() <= 1
        np.testing.assert_array_equal(first, again)
        assert (first[:, 0] != first[:, 1]).any() and (first[0] != first[1]).any()


def followed(execution: ExecutionConfig) -> tuple[np.ndarray, np.ndarray]:
    """Plans made where the futures are right, and where the hand is imagined 10 cm beside."""
    made = []
    for wrong in (0.0, 0.1):
        worlds = live_worlds(PASSER, 6, 1000)
        policy, oracle = ScriptedConfig().build(PASSER, 16, 0), SimulatorOracle(PASSER, futures=6)

        def sample(
            live: TaskWorlds, ids: np.ndarray, seen: np.ndarray, step: int, policy: SamplingPolicy = policy
        ) -> np.ndarray:
            return policy.sample(Situation(live, ids, seen, np.stack([ids, ids + step], 1)), 1)

        def choose(request: Request, wrong: float = wrong, oracle: SimulatorOracle = oracle) -> Choice:
            futures = oracle.at(request.worlds, request.world)(torch.from_numpy(request.samples[:1]))
            values = futures.values.clone()
            values[..., 5:, 18] += wrong  # from the sixth step on
            return Choice(request.samples[0], replace(futures, values=values))

        radii = np.full(16, 0.06)
        episodes = run_episodes(PASSER, worlds, sample, choose, execution, radii)
        made.append(episodes.steps / episodes.plans)
    return made[0], made[1]


def test_a_plan_ends_early_where_reality_leaves_its_futures() -> None:
    right, wrong = followed(ExecutionConfig(shortest=2, longest=12))
    assert right.mean() > 1.3 * wrong.mean() and wrong.mean() < 8
    right, wrong = followed(ExecutionConfig(shortest=2, longest=12, adaptive=False))
    np.testing.assert_array_equal(right, wrong)  # the control: a fixed length does not notice


def test_planning_by_true_futures_avoids_collisions(tmp_path: Path) -> None:
    config = RiskConfig(
        out=tmp_path / "risk", states=StatesConfig(20), seed=1000, planner=PlannerConfig(proposals=FEW, refine=4),
        oracle_futures=4, judges=4, resamples=200,
    )  # fmt: skip
    found = risk_choice(config)
    written = json.loads((tmp_path / "risk" / "risk.json").read_text())
    collision = {name: each["value"] for name, each in written["collision"].items()}
    assert collision["oracle mean"] < 0.6 * min(collision["random"], collision["policy"])
    assert written["progress"]["oracle mean"]["value"] > written["progress"]["random"]["value"]
    assert [row[0] for row in found.rows] == ["random", "policy", "oracle mean"]
    assert (tmp_path / "risk" / "risk.png").stat().st_size > 5000


def test_states_of_risk_are_chosen_by_what_is_known_there() -> None:
    config = StatesConfig(12, left=(0.05, 0.2), clear=0.08)
    found = risky_states(PASSER, config, ScriptedConfig(), 2, seed=1000)
    assert found.samples.shape == (12, 2, 16, 4)
    left = PASSER.cost(found.observed)
    assert (left > 0.05).all() and (left < 0.2).all()
    gap = clearance(PASSER, torch.from_numpy(found.observed))
    assert (gap >= 0.08).all()
    nearer = risky_states(PASSER, replace(config, clear=0.0), ScriptedConfig(), 2, seed=1000)
    assert clearance(PASSER, torch.from_numpy(nearer.observed)).min() < 0.08  # the control


def test_a_planner_with_the_simulators_futures_helps_a_policy(tmp_path: Path) -> None:
    config = ClosedLoopConfig(
        out=tmp_path / "plan", scene="arm-reach", arms=("policy", "oracle"), episodes=16, seeds=1, seed=1000,
        policy=ScriptedConfig(bias=0.5, noise=0.5), oracle_futures=2,
        planner=PlannerConfig(proposals=FEW, refine=4), execution=ExecutionConfig(longest=12),
    )  # fmt: skip
    found = closed_loop(config)
    arms = json.loads((tmp_path / "plan" / "plan.json").read_text())["arms"]
    assert arms["oracle"]["success"] > arms["policy"]["success"] + 0.2
    assert arms["policy"]["gain"] == 0 and len(found.rows) == 2
    assert (tmp_path / "plan" / "plan.png").stat().st_size > 5000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was never trained."""
    signature = Signature(PASSER.name, PASSER.columns, PASSER.tracked, PASSER.actions, PASSER.rate_hz, 16)
    config = CodesConfig(predictor=PredictorConfig(width=16, depth=1, codes=3, code_width=8), latent=8)
    path = tmp_path_factory.mktemp("model")
    save_model(path / "model", config, signature, config.build(signature).state_dict())
    return path


def test_all_arms_run_on_the_same_episodes(model: Path, tmp_path: Path) -> None:
    config = ClosedLoopConfig(
        worldmodel=model, out=tmp_path, episodes=2, seeds=2, seed=1000, execution=ExecutionConfig(longest=16),
        policy=ClonedConfig(updates=5, demonstrations=2), planner=PlannerConfig(proposals=FEW),
        arms=("policy", "consensus", "futures", "adaptive", "shuffled", "one-future"),
    )  # fmt: skip
    found = closed_loop(config)
    again = closed_loop(replace(config, arms=("policy", "futures")))
    arms = json.loads(json.dumps(found.figures))["arms"]
    assert found.figures["episodes"] == 4 and list(arms) == list(config.arms)
    repeated = json.loads(json.dumps(again.figures))["arms"]
    assert repeated == {name: arms[name] for name in ("policy", "futures")}  # an arm does not depend on the others


def test_plans_are_timed(model: Path, tmp_path: Path) -> None:
    config = PlanTimingConfig(worldmodel=model, out=tmp_path, plans=100, planner=PlannerConfig(proposals=FEW, slice=4))
    times = time_plans(load_model(model), config, None)
    assert times.took_ms.shape == (100,) and (times.scored == 24).all() and (times.late_ms == 0).all()
    half = float(np.median(times.took_ms)) / 2
    bound = time_plans(load_model(model), config, half)
    assert bound.scored.mean() < 24
    found = plan_timing(config)
    assert [row[1] for row in found.rows] == ["24 x 3", "24 x 3, 5 ms"]
    assert (tmp_path / "plan_timing.json").exists()


def test_risk_compares_models_with_their_controls(model: Path, tmp_path: Path) -> None:
    config = RiskConfig(
        worldmodel=model, out=tmp_path, states=StatesConfig(20), seed=1000,
        planner=PlannerConfig(proposals=FEW, refine=4), oracle_futures=0, judges=4, resamples=200,
    )  # fmt: skip
    names = [row[0] for row in risk_choice(config).rows]
    assert names[2:] == [
        "one future", "K futures, mean", "K futures, CVaR", "K futures, mean, contacts dearer",
        "K futures of other chunks", "one future, by heads", "K futures, CVaR, by heads",
    ]  # fmt: skip
    written = json.loads((tmp_path / "risk.json").read_text())
    assert {"collision_ratio", "success_against_one_future", "progress_of_cvar_less"} <= written.keys()
    assert written["collision"] == json.loads(json.dumps(risk_choice(config).figures))["collision"]


def test_what_cannot_be_compared_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="arms futures, shuffled need worldmodel=FOLDER"):
        ClosedLoopConfig(arms=("policy", "futures", "shuffled"))
    with pytest.raises(ValueError, match="`policy` must be among them"):
        ClosedLoopConfig(arms=("oracle",))
    with pytest.raises(ValueError, match=r"no checkpoint in .*nothing"):
        closed_loop(ClosedLoopConfig(worldmodel=tmp_path / "nothing", out=tmp_path))
    with pytest.raises(ValueError, match="a model of arm-reach-passer, not of arm-push"):
        closed_loop(ClosedLoopConfig(worldmodel=model, scene="arm-push", out=tmp_path))
    with pytest.raises(ValueError, match=r"alpha is 1.0, expected above 0 and below 1"):
        RiskConfig(alpha=1.0)
    with pytest.raises(ValueError, match=r"states.left is \(0.2, 0.1\)"):
        StatesConfig(left=(0.2, 0.1))
    with pytest.raises(ValueError, match="widen states.left"):
        risk_choice(RiskConfig(out=tmp_path, states=StatesConfig(30, left=(5.0, 6.0))))
    assert not list(tmp_path.iterdir())
