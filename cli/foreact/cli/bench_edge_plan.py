"""What `foreact bench edge` has done before it measures: every step is a command that could have been typed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreact.cli.demo_stages import Stage, plan, stage_of

__all__ = ["VARIANTS", "Files", "evaluation_stages", "files_of", "model_stages", "prepare_stages"]

VARIANTS = ("fp32", "int8", "pruned-int8", "naive")
"""What is evaluated in closed loop: the exported policy, and what the recipes of these names make of it."""


@dataclass(frozen=True)
class Files:
    """Where one policy's models are.

    Attributes:
        folder: Of everything made from it.
        models: The .onnx file of each variant.
        newer: The fp32 model at the newer opset.
    """

    folder: Path
    models: Mapping[str, Path]
    newer: Path

    def evaluation(self, variant: str) -> Path:
        """Run folder of a variant's closed loop; another model is evaluated in another folder."""
        digest = hashlib.sha256(self.models[variant].read_bytes()).hexdigest()
        return self.folder / f"eval-{variant}-{digest[:12]}"


def files_of(work: Path, index: int) -> Files:
    """The files of a policy.

    Args:
        work: Folder of the benchmark.
        index: The policy's place among those given.
    """
    folder = work / f"policy-{index}"
    models = {"fp32": folder / "policy.onnx"} | {name: folder / f"{name}.onnx" for name in VARIANTS[1:]}
    return Files(folder, models, folder / "opset23.onnx")


def prepare_stages(work: Path) -> tuple[Stage, ...]:
    """Record and train as the demo does, for who has no trained policy yet; the same settings, in its own folder.

    Args:
        work: Folder of the benchmark.
    """
    from foreact.cli.demo import DemoConfig

    return plan(DemoConfig(out=work / "demo"))[:3]


def model_stages(files: Files, policy: Path, train: Path, data: Path) -> list[Stage]:
    """Export one policy and compress it by every recipe.

    Args:
        files: Where everything goes.
        policy: Run folder of its training.
        train: Store it was trained on.
        data: Held-out store, for calibration and parity.
    """
    name, fp32 = files.folder.name, files.models["fp32"]
    made = {"policy": policy, "data": data}
    stages = [
        stage_of(f"{name} export", "export", {**made, "out": fp32}, {}),
        stage_of(f"{name} export 23", "export", {**made, "out": files.newer, "opset": 23}, {}),
    ]
    for recipe in VARIANTS[1:]:
        values: dict[str, Any] = {**made, "model": fp32, "recipe": recipe, "out": files.models[recipe]}
        if recipe == "pruned-int8":
            values |= {"train": train, "trial": {"episodes": 0}}  # the closed loop comes later, on other layouts
        stages.append(stage_of(f"{name} {recipe}", "compress", values, {}))
    return stages


def evaluation_stages(files: Files, trial: Mapping[str, Any], naive: int) -> list[Stage]:
    """Evaluate every variant of one policy; the models exist.

    Args:
        files: Where they are.
        trial: Keys of `foreact eval` that all variants share: the same layouts, so outcomes are paired.
        naive: Layouts a task for the naive control, which needs few to be worse.
    """
    stages: list[Stage] = []
    for variant, model in files.models.items():
        few = {"episodes": naive} if variant == "naive" else {}
        keys = {"policy": model, "out": files.evaluation(variant), **trial, **few}
        stages.append(stage_of(f"{files.folder.name} eval {variant}", "eval", keys, {}))
    return stages
