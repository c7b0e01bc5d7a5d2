"""`foreact compress`: a trained policy made smaller and faster by the steps of a recipe, compared with the original.

The steps before quantisation give a smaller policy, written beside the file; quantisation gives the file. Every step
reports what it cost and gained. Beside the result stands a control: the same model with everything rounded.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foreact.deploy_edge.compress.recipe import Recipe, TrialConfig
from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import describe_machine, write_json_atomic

__all__ = ["CompressConfig", "compress"]


@dataclass(frozen=True)
class CompressConfig:
    """What to compress, by which steps, and how near the file must come to the policy it is made from.

    Attributes:
        model: An fp32 file written by `foreact export`.
        policy: The trained policy that it was exported from.
        out: The .onnx file to write; a report, golden inputs and the slimmed policy, if there is one, go beside it.
        data: Episode store; half of its episodes calibrate, the other half is compared.
        recipe: The steps; `recipe=NAME` takes a named one, `recipe.STEP.KEY=VALUE` changes it.
        train: Store that the policy was trained on, for steps that train.
        calibration: Calibration observations.
        observations: Held-out observations.
        min_cosine: Gate instead of the recipe's own: the smallest cosine that any held-out observation may have.
        rounds: Timed inferences.
        trial: Closed loop of every step.
        seed: Of the draws.

    Raises:
        ValueError: A value is out of range.
    """

    model: Path
    policy: Path
    out: Path
    data: Path
    recipe: Recipe = field(default_factory=Recipe)
    train: Path | None = None
    calibration: int = 200
    observations: int = 64
    min_cosine: float | None = None
    rounds: int = 300
    trial: TrialConfig = field(default_factory=TrialConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.out.suffix != ".onnx" or self.out == self.model:
            raise ValueError(f"out={self.out} must end in .onnx and not be the model itself")
        for name in ("calibration", "observations", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be 1 or more")
        if self.recipe.quantise is None and not self.recipe.torch_steps():
            raise ValueError("the recipe has no step; type recipe=int8, or a step such as recipe.prune.keep=0.5")


def compress(config: CompressConfig, progress: ProgressFn = quiet) -> Outcome:
    """Run a recipe, or continue it, and write its result if it passes the gate.

    Args:
        config: What and where to.
        progress: Told of each step.

    Raises:
        EngineError: The model is missing, damaged, not fp32, or was not exported from this policy.
        CheckpointError, StoreError, ContractMismatch: The policy or a store cannot be read or do not fit, or a step
            trains and `train` was not typed.
        ParityError, GoldenError: The file differs too much from the policy it was made from; nothing is written.
        ValueError: A step does not fit the policy.
    """
    from foreact.deploy_edge.compress.chain import run_steps
    from foreact.deploy_edge.compress.result import finish
    from foreact.deploy_edge.compress.workbench import Workbench
    from foreact.deploy_edge.model_file import require_writable, write_bytes_atomic
    from foreact.deploy_edge.runtime.golden import golden_path, write_golden

    progress(0, 0, "compress: read")
    require_writable(config.out)
    bench = Workbench(config, progress)
    made, rows = run_steps(bench)
    result = finish(bench, made, rows)
    if result.slimmed is not None:
        _publish(result.slimmed, config.out.with_name(f"{config.out.stem}.policy"))
    if result.golden is None:
        golden_path(config.out).unlink(missing_ok=True)
    else:
        write_golden(config.out, result.golden)
    write_bytes_atomic(config.out, result.content)
    report: dict[str, Any] = {**result.figures, **result.details, "machine": describe_machine(), "config": config}
    write_json_atomic(config.out.with_suffix(".report.json"), report)
    return Outcome(config.out, result.figures, ("figure", "value"), result.table)


def _publish(policy: Path, out: Path) -> None:
    """Copy a policy's folder beside the result, whole or not at all."""
    from foreact.episodes.staging import staged_folder

    shutil.rmtree(out, ignore_errors=True)
    with staged_folder(out) as folder:
        for file in sorted(policy.iterdir()):
            shutil.copy2(file, folder / file.name)
