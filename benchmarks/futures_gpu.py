"""How fast are futures imagined, pictured and planned with on a GPU, and are they those of the processor?

Times are wall times between two synchronisations, medians with quartiles, the processor in one thread:

- 16-step futures of the state model, with many states in a call;
- 1,000 futures of the model of pictures, imagined and then drawn at 64 px in colours, depth and segments after every
  control step. They last 0.8 s: real time is less than that;
- plans of 64 candidates x 8 futures, from an observation on the processor to a chunk there.

Weights are untrained, for what is computed does not depend on them; futures are compared with those of the processor.
To train the larger models on a GPU: `foreact train worldmodel=base data=SETS out=RUN device=cuda`.

    .venv/bin/python -P benchmarks/futures_gpu.py --out benchmarks/results
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foreact.episodes.runfolder import describe_machine, write_dated_json
from foreact.worldmodels.bench_futures import untrained_pixels
from foreact.worldmodels.branching import HORIZON
from foreact.worldmodels.futures import FutureModel, Futures
from foreact.worldmodels.models.codes import CodesConfig
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.pixels.model import PixelModel
from foreact.worldmodels.planner.timing import PlanTimingConfig, time_plans
from foreact.worldmodels.scenes import Scene, scene
from foreact.worldmodels.throughput import one_thread

FUTURES = 1000  # pictured at once
STATES = (256, 4096, 16384)  # of a call of the state model


class Elsewhere:
    """A model on a device that takes and gives tensors of the processor.

    Args:
        model: On the processor; a copy of it is moved.
        device: Where to.
    """

    def __init__(self, model: FutureModel, device: str) -> None:
        self.horizon, self.futures, self._device = model.horizon, model.futures, device
        self._model: Any = copy.deepcopy(model).to(device)  # type: ignore[attr-defined]

    def imagine(self, context: Tensor, actions: Tensor) -> Futures:
        found = self._model.imagine(context.to(self._device), actions.to(self._device))
        return Futures(*(getattr(found, name).cpu() for name in Futures.__dataclass_fields__))


def models(place: Scene) -> tuple[Any, PixelModel]:
    """The default models of states and of pictures of a scene, untrained."""
    torch.manual_seed(0)
    signature = Signature(place.name, place.columns, place.tracked, place.actions, place.rate_hz, HORIZON)
    return CodesConfig().build(signature).eval(), untrained_pixels(place.name)


def given(signature: Signature, states: int, device: str) -> tuple[Tensor, Tensor]:
    """Made-up contexts and chunks, the same on every device."""
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(states, len(signature.columns), generator=generator)
    actions = torch.randn(states, signature.horizon, len(signature.actions), generator=generator)
    return context.to(device), actions.to(device)


def timed(work: Callable[[], object], device: str, rounds: int) -> dict[str, float]:
    """Wall times [ms]: median and quartiles."""

    def once() -> float:
        start = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start)

    for _ in range(3):
        once()
    lower, middle, upper = statistics.quantiles([once() for _ in range(rounds)], n=4)
    return {"ms": middle, "ms_lower": lower, "ms_upper": upper}


def same(model: Any, signature: Signature, device: str) -> float:
    """Largest difference of futures on the device from those on the processor, over their standard deviation."""
    here, there = (
        copy.deepcopy(model).to(each).imagine(*given(signature, 256, each)).values.cpu() for each in ("cpu", device)
    )
    return float((here - there).abs().max() / here.std())


def measure(name: str, device: str, states: tuple[int, ...], futures: int, plans: int, rounds: int) -> dict[str, Any]:
    """All figures of one run."""
    place = scene(name)
    state, pixels = models(place)
    report: dict[str, Any] = {"device": device, "scene": name, "rounds": rounds}
    with one_thread(), torch.inference_mode():
        report["difference"] = {
            "state": same(state, state.signature, device), "pixels": same(pixels, pixels.context_signature, device),
        }  # fmt: skip
        there = copy.deepcopy(state).to(device)
        report["state"] = {}
        for count in states:
            batch = given(state.signature, count, device)
            found = timed(lambda batch=batch: there.imagine(*batch), device, rounds)
            report["state"][str(count)] = found | {"rollouts_per_s": 1e3 * count * state.futures / found["ms"]}
        report["pixels"] = pictured(copy.deepcopy(pixels).to(device), futures, device, rounds)
        times = time_plans(Elsewhere(state, device), PlanTimingConfig(scene=name, plans=plans), None).took_ms
        report["plan_p50_ms"], report["plan_p99_ms"] = (
            float(torch.quantile(torch.from_numpy(times), each)) for each in (0.5, 0.99)
        )
    return report


def pictured(model: PixelModel, futures: int, device: str, rounds: int) -> dict[str, Any]:
    """Futures imagined and drawn after every control step: on the device, and with the colours brought back."""
    signature = model.context_signature
    batch = given(signature, -(-futures // model.futures), device)

    def drawn() -> Tensor:
        values = model.imagine(*batch).values.flatten(0, 1)[:futures]
        # step by step, as they would be shown
        return torch.stack([model.decoder(values[:, step]).rgb.clamp(-1, 1) for step in range(model.horizon)])

    def brought() -> Tensor:
        return drawn().add(1).mul(127.5).round().byte().cpu()

    lasts = 1e3 * signature.horizon / signature.rate_hz
    imagined, on_device, with_copy = (
        timed(work, device, rounds) for work in (lambda: model.imagine(*batch), drawn, brought)
    )
    return {
        "futures": futures, "side": model.signature.pictures.side, "frames": futures * model.horizon, "lasts_ms": lasts,
        "imagined": imagined | {"rollouts_per_s": 1e3 * futures / imagined["ms"]},
        "drawn": on_device, "drawn_and_brought_back": with_copy,
        "real_time": with_copy["ms_upper"] < lasts,
    }  # fmt: skip


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", default="arm-push")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--states", type=int, nargs="+", default=STATES, help="of a call of the state model")
    parser.add_argument("--futures", type=int, default=FUTURES, help="pictured at once")
    parser.add_argument("--plans", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path, help="folder that the dated results go into")
    typed = parser.parse_args(arguments)
    if typed.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here; type --device cpu to try the benchmark without one", file=sys.stderr)
        return 1
    report = measure(typed.scene, typed.device, tuple(typed.states), typed.futures, typed.plans, typed.rounds)
    gpu = torch.cuda.get_device_name() if typed.device == "cuda" else None
    report["machine"] = {**describe_machine(), "gpu": gpu, "torch": torch.__version__}
    print(json.dumps(report, indent=2))
    if typed.out is not None:
        print(write_dated_json(typed.out, f"futures-{typed.device}", report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
