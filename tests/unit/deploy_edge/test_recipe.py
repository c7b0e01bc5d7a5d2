"""What a recipe refuses, and what it asks for."""

from pathlib import Path

import pytest

from foreact.deploy_edge.compress import CompressConfig
from foreact.deploy_edge.compress.recipe import (
    DepthConfig,
    DistilConfig,
    PruneConfig,
    QatConfig,
    Recipe,
    RecoverConfig,
    SolverConfig,
    SparsityConfig,
    TrialConfig,
)
from foreact.deploy_edge.compress.trial import Result, compared, episodes_of


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PruneConfig(keep=0), "prune.keep=0 must be above 0"),
        (lambda: PruneConfig(groups={"hidden": 1.5}), "prune.groups.hidden=1.5"),
        (lambda: PruneConfig(keep_of={"mlp": {"widths": 0}}), "prune.keep_of.mlp.widths=0"),
        (lambda: PruneConfig(budget=2), "prune.budget=2"),
        (lambda: DepthConfig(every=1), "depth.every=1"),
        (lambda: RecoverConfig(rank=0), "recover.rank=0"),
        (lambda: DistilConfig(updates=0), "updates=0"),
        (lambda: DistilConfig(teacher=-1), "teacher=-1"),
        (lambda: SolverConfig(steps=0), "solver.steps=0"),
        (lambda: SparsityConfig(rank=-1), "sparsity.rank"),
        (lambda: QatConfig(bits=1), "qat.bits=1"),
        (lambda: TrialConfig(seed=0), "trial.seed=0 must be 1000 or more"),
        (lambda: Recipe(recover=RecoverConfig()), "recipe.prune.keep=0.5"),
        (lambda: Recipe(sparsity=SparsityConfig(), qat=QatConfig()), "would fill the zeros"),
        (lambda: config(Recipe(quantise=None)), "the recipe has no step"),
    ],
)
def test_what_makes_no_sense_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # pyright: ignore[reportCallIssue]


def config(recipe: Recipe) -> CompressConfig:
    return CompressConfig(Path("a.onnx"), Path("p"), Path("out.onnx"), Path("d"), recipe)


def test_steps_run_in_their_order_whatever_order_they_were_typed_in() -> None:
    recipe = Recipe(qat=QatConfig(), distil=DistilConfig(), prune=PruneConfig(), depth=DepthConfig())
    assert list(recipe.torch_steps()) == ["depth", "prune", "distil", "qat"]
    assert recipe.trained() == ["distil", "qat"]
    assert Recipe(solver=SolverConfig(distil=None)).trained() == []


def test_recipes_that_change_the_policy_are_tried_and_others_only_on_demand() -> None:
    assert episodes_of(Recipe(), TrialConfig()) == 0
    assert episodes_of(Recipe(prune=PruneConfig()), TrialConfig()) == 20
    assert episodes_of(Recipe(prune=PruneConfig()), TrialConfig(episodes=3)) == 3


def test_success_is_compared_layout_by_layout() -> None:
    before = Result({("reach", 0): True, ("reach", 1): True, ("push", 0): True, ("push", 1): False})
    after = Result({("reach", 0): True, ("reach", 1): False, ("push", 0): True, ("push", 1): False})
    figures = compared(before, after)
    assert figures["success"] == 0.5 and figures["loss"] == 0.25
    assert figures["only_original"] == 1 and figures["only_this"] == 0
    assert figures["per_task"] == {"reach": 0.5, "push": 0.5}
