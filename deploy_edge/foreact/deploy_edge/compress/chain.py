"""The steps before quantisation one after the other, each kept on disk when it is done, measured, and tried.

A finished step is a folder named after everything that decides its result, so the same command typed again finds it,
and a recipe that begins the same way shares it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.deploy_edge.compress.steps import STEPS, Made
from foreact.deploy_edge.compress.workbench import Workbench
from foreact.deploy_edge.export.chunks import policy_hash
from foreact.deploy_edge.model_file import write_bytes_atomic
from foreact.episodes.outcome import JSON
from foreact.episodes.runfolder import jsonable, write_json_atomic

if TYPE_CHECKING:
    from foreact.vla.chunk_policy import ChunkPolicy

__all__ = ["Row", "run_steps", "step_key"]


@dataclass(frozen=True)
class Row:
    """What a step did, for the report.

    Attributes:
        name: Of the step.
        folder: Where its policy lies.
        figures: Everything measured.
    """

    name: str
    folder: Path
    figures: Mapping[str, JSON]


def run_steps(bench: Workbench) -> tuple[Made, list[Row]]:
    """Run the recipe's steps, or take those that are done from disk.

    Args:
        bench: The original and what it is measured on.

    Raises:
        ValueError: A step does not fit the policy.
        StoreError: A step trains and no training data was typed.
    """
    settings = bench.config.recipe.torch_steps()
    if bench.config.recipe.trained() and bench.config.train is None:
        _ = bench.training  # says what is missing before any work is done
    made = Made(bench.policy, {})
    rows: list[Row] = []
    for number, name in enumerate(settings):
        done = {each: settings[each] for each in list(settings)[: number + 1]}
        folder = bench.folder / f"{number + 1}-{name}-{step_key(bench, done)}"
        finished = _read(folder, made)
        if finished is None:
            finished = _perform(name, settings[name], made, bench, folder)
        made = dataclasses.replace(finished, kept=finished.kept or made.kept, dense=finished.dense or made.dense)
        rows.append(Row(name, folder, finished.figures))
    return made, rows


def step_key(bench: Workbench, settings: Mapping[str, object]) -> str:
    """Twelve hexadecimal digits for everything that decides what these steps make.

    Args:
        bench: Policy, data, seed.
        settings: Of the steps so far, in order.
    """
    config = bench.config
    decides = {
        "policy": policy_hash(bench.policy),
        "data": str(config.data.absolute()),
        "train": str(config.train.absolute()) if config.train else None,
        "seed": config.seed,
        "steps": {name: jsonable(each) for name, each in settings.items()},
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]


def _perform(name: str, settings: Any, made: Made, bench: Workbench, folder: Path) -> Made:
    from foreact.vla.checkpoint import save_policy

    bench.progress(0, 0, name)
    started, cpu = time.monotonic(), time.process_time()
    result = STEPS[name](made, settings, bench, folder / "training")
    spent: dict[str, JSON] = {
        "wall_s": round(time.monotonic() - started, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "parameters": _parameters(result.policy),
    }
    save_policy(folder / "policy", result.policy, {"made_by": f"compress {bench.config.recipe.name}: {name}"})
    if result.factors is not None:
        from safetensors.torch import save

        write_bytes_atomic(folder / "factors.safetensors", save(result.factors))
    figures: dict[str, JSON] = {**spent, **result.figures}
    # last of all: a step without it is done again
    write_json_atomic(folder / "step.json", {"figures": figures, "kept": result.kept})
    shutil.rmtree(folder / "training", ignore_errors=True)
    return dataclasses.replace(result, figures=figures)


def _read(folder: Path, before: Made) -> Made | None:
    """A finished step; None if it is not finished."""
    from foreact.vla.checkpoint import load_policy

    try:
        described = json.loads((folder / "step.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    factors = folder / "factors.safetensors"
    loaded = None
    if factors.exists():
        from safetensors.torch import load

        loaded = load(factors.read_bytes())
    kept = described["kept"]
    return Made(
        load_policy(folder / "policy"), described["figures"], kept, before.policy if kept else None, factors=loaded
    )


def _parameters(policy: ChunkPolicy) -> int:
    return sum(tensor.numel() for tensor in policy.parameters())
