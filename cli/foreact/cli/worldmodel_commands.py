"""Rows of the command table that are about world models."""

from collections.abc import Mapping

from foreact.cli.command import Command

__all__ = ["BENCH_VARIANTS", "EVAL_VARIANTS", "FORK", "IMAGINE", "PLAN", "TRAIN_VARIANTS"]

FORK = Command(
    "fork",
    "foreact.worldmodels.branch_sets",
    "BranchesConfig",
    "branches",
    "Make sets of true futures: states of scenes, continued many times with what a robot cannot see.",
    "foreact fork out=data/futures scenes=[arm-reach,arm-push]",
    options=("seed",),
    variants={
        "*": Command(
            "fork",
            "foreact.worldmodels.pixels.drawing",
            "DrawConfig",
            "draw_futures",
            "Make a set of true futures of one scene with pictures of so many of them.",
            "foreact fork pictured=4 scene=arm-push out=data/pictured",
            options=("seed",),
        )
    },
    by="pictured",
)

IMAGINE = Command(
    "imagine",
    "foreact.worldmodels.imagine.command",
    "ImagineConfig",
    "imagine",
    "Show imagined futures beside true ones: an HTML page and a Rerun recording.",
    "foreact imagine worldmodel=runs/w out=runs/w/imagine",
    options=("device", "seed"),
)

PLAN = Command(
    "plan",
    "foreact.worldmodels.planner.closed_loop",
    "ClosedLoopConfig",
    "closed_loop",
    "Let a planner choose among imagined futures of a policy's proposals, in closed loop, beside its controls.",
    "foreact plan worldmodel=runs/w scene=arm-push out=runs/plan",
    options=("seed",),
)

TRAIN_PIXELS = Command(
    "train",
    "foreact.worldmodels.pixels.train",
    "PixelTrainConfig",
    "train_pixels",
    "Train a world model of pictures on a set of pictured futures.",
    "foreact train worldmodel=pixels data=data/pictured out=runs/p",
    options=("device", "seed"),
    conf="train-pixels",
)

TRAIN_VARIANTS: Mapping[str, Command | None] = {
    "pixels": TRAIN_PIXELS,
    "pixels-base": TRAIN_PIXELS,
    "safety": Command(
        "train",
        "foreact.worldmodels.safety.scene_value",
        "SceneValueConfig",
        "train_scene_value",
        "Learn inside a world model from where a collision can still be avoided.",
        "foreact train worldmodel=safety inside=runs/w data=data/futures/arm-reach-passer/train out=runs/v",
        options=("seed",),
        conf="train-safety",
    ),
    "*": Command(
        "train",
        "foreact.worldmodels.train",
        "WorldModelConfig",
        "train_worldmodel",
        "Train a world model, or a baseline, on a set of true futures.",
        "foreact train worldmodel=tiny data=data/futures/arm-push/train out=runs/w",
        options=("device", "seed"),
        conf="train-worldmodel",
    ),
}

EVAL_VARIANTS: Mapping[str, Command | None] = {
    "*": Command(
        "eval",
        "foreact.worldmodels.evaluate",
        "EvalWorldModelConfig",
        "evaluate_worldmodel",
        "Score a world model against true futures.",
        "foreact eval worldmodel=runs/w data=data/futures/arm-push/test",
        variants={
            "*": Command(
                "eval",
                "foreact.worldmodels.pixels.evaluate",
                "PixelEvaluationConfig",
                "evaluate_pixels",
                "Score a world model of pictures against true futures and their pictures.",
                "foreact eval worldmodel=runs/p pictures=data/q train=data/p out=runs/e",
                options=("seed",),
            )
        },
        by="pictures",
    )
}

BENCH_VARIANTS: Mapping[str, Command | None] = {
    "futures": Command(
        "bench",
        "foreact.worldmodels.bench_futures",
        "FuturesBenchConfig",
        "bench_futures",
        "Measure world models against true futures: scores, calibration, speed, risk, ranking.",
        "foreact bench futures --json figures.json",
        positional=("target",),
        options=("seed",),
    ),
    "risk": Command(
        "bench",
        "foreact.worldmodels.planner.risk",
        "RiskConfig",
        "risk_choice",
        "Plan at the same states with one future, with several and with the worst of them, and count collisions.",
        "foreact bench risk worldmodel=runs/w out=runs/risk",
        positional=("target",),
        options=("seed",),
    ),
    "ranking": Command(
        "bench",
        "foreact.worldmodels.ranking.command",
        "RankingConfig",
        "ranking",
        "Rank policies inside world models and in the simulator.",
        "foreact bench ranking models=[runs/w] scene=arm-push out=runs/ranking",
        positional=("target",),
        options=("seed",),
    ),
    "safety": Command(
        "bench",
        "foreact.worldmodels.safety.bench",
        "SafetyBenchConfig",
        "bench",
        "Learn a reachability filter from states and from pictures, against a grid solver.",
        "foreact bench safety out=runs/bench-safety",
        positional=("target",),
    ),
}
