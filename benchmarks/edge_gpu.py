"""How fast does one inference of the main policy become on a GPU, and does it stay right?

In one run, in turn: torch as it is, `torch.compile`, torch as one CUDA graph, onnxruntime on the processor, and
TensorRT or TensorRT-RTX where it is installed and builds for the GPU at hand. Every time is wall time from arrays of
the processor to a chunk of the processor, with the copies; every chunk is compared with that of torch on the processor.
What cannot run here is named with its reason. Without a trained policy an untrained one of the same size is timed.

    .venv/bin/python -P benchmarks/edge_gpu.py --policy runs/r --model runs/r/policy.onnx --out benchmarks/results
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreact.deploy_edge.export import onnx_model, onnx_policy, policy_hash, torch_policy
from foreact.deploy_edge.latency import interleaved
from foreact.deploy_edge.model_file import describe, sealed_bytes
from foreact.deploy_edge.observations import Inputs
from foreact.deploy_edge.parity import compare
from foreact.deploy_edge.runtime.golden import GOLDEN_KEY, chunk_function, golden_bytes, golden_digest, write_golden
from foreact.deploy_edge.runtime.protocol import RuntimeFailure
from foreact.deploy_edge.runtime.signature import input_formats, optional_formats
from foreact.deploy_edge.runtime.tensorrt.api import Flavour
from foreact.deploy_edge.runtime.tensorrt.runner import load
from foreact.deploy_edge.tensorrt_export import TensorRtExportConfig, export_tensorrt
from foreact.episodes.runfolder import describe_machine, write_dated_json

type Chunk = Callable[[Inputs], np.ndarray]
OBSERVATIONS = 16


def observations(policy: Any) -> list[Inputs]:
    """Made-up observations: the work of an inference does not depend on what is seen."""
    rng, formats = np.random.default_rng(0), {**input_formats(policy.contract), **optional_formats(policy.contract)}
    draw: dict[str, Callable[[tuple[int, ...]], np.ndarray]] = {
        "uint8": lambda shape: rng.integers(0, 256, shape),
        "uint16": lambda shape: rng.integers(300, 1500, shape),
        "int64": lambda shape: rng.integers(1, 4, shape),
        "float32": lambda shape: rng.uniform(-0.1, 0.1, shape),
    }
    wanted = {name: formats[name] for name in policy.input_names}
    return [
        {name: draw[each.dtype](each.shape).astype(each.dtype) for name, each in wanted.items()}
        for _ in range(OBSERVATIONS)
    ]


def untrained() -> Any:
    """The main policy's architecture at its default size."""
    from foreact.sim.metaworld import default_cameras, policy_contract
    from foreact.vla.policy import PolicyConfig

    torch.manual_seed(0)
    return PolicyConfig().build(policy_contract(default_cameras(96, 64))).eval()


def exported(policy: Any, folder: Path, seen: list[Inputs]) -> Path:
    """The policy as `foreact export` writes it."""
    chunk, path = torch_policy(policy), folder / "policy.onnx"
    golden = golden_bytes(seen, [chunk(each) for each in seen])
    extra = {"foreact.precision": "float32", GOLDEN_KEY: golden_digest(golden)}
    write_golden(path, golden)
    path.write_bytes(sealed_bytes(onnx_model(policy), describe(policy.contract, policy_hash(policy), extra)))
    return path


def on_device(function: Callable[..., torch.Tensor], names: tuple[str, ...], device: str) -> Chunk:
    """A torch function of inputs on a device, from arrays to an array."""

    def chunk(inputs: Inputs) -> np.ndarray:
        with torch.no_grad():
            return function(*(torch.from_numpy(inputs[name]).to(device) for name in names)).cpu().numpy()[0]

    return chunk


def as_graph(policy: Any, names: tuple[str, ...], example: Inputs) -> Chunk:
    """The policy recorded as one CUDA graph, with pinned arrays in front of and behind it."""
    host = {name: torch.from_numpy(example[name]).pin_memory() for name in names}
    device = {name: each.to("cuda") for name, each in host.items()}
    aside = torch.cuda.Stream()
    with torch.no_grad(), torch.cuda.stream(aside):
        for _ in range(3):  # lazy work must not be recorded
            policy(*device.values())
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        result = policy(*device.values())
    answer = torch.empty(result.shape, pin_memory=True)

    def chunk(inputs: Inputs) -> np.ndarray:
        for name in names:
            host[name].copy_(torch.from_numpy(inputs[name]))
            device[name].copy_(host[name], non_blocking=True)
        graph.replay()
        answer.copy_(result, non_blocking=True)
        torch.cuda.synchronize()
        return answer.numpy()[0].copy()

    return chunk


def plan(model: Path, flavour: Flavour, folder: Path) -> tuple[Chunk, dict[str, Any]]:
    """A plan built here and loaded as on a robot."""
    out = folder / f"{flavour}.plan"
    figures = export_tensorrt(TensorRtExportConfig(model, out, flavour)).figures
    runtime = load(out)
    runtime.warmup()
    return chunk_function(runtime), {"build_s": figures["build_s"], "plan_bytes": figures["plan_bytes"],
                                     "notes": list(runtime.stats().notes)}  # fmt: skip


def candidates(
    policy: Any, model: Path, device: str, seen: list[Inputs], folder: Path
) -> tuple[dict[str, Chunk], dict[str, Any], dict[str, str]]:
    """What runs here, what is to be said of it, and why others do not."""
    names, chunks, details, missing = policy.input_names, {}, {}, {}
    chunks["onnxruntime_cpu"] = onnx_policy(model.read_bytes())
    there = policy.to(device)
    chunks["torch"] = on_device(there, names, device)
    chunks["torch_compile"] = on_device(torch.compile(there), names, device)
    if device == "cuda":
        chunks["torch_cuda_graph"] = as_graph(there, names, seen[0])
    else:
        missing["torch_cuda_graph"] = "needs --device cuda"
    flavours: tuple[Flavour, ...] = ("tensorrt", "tensorrt-rtx")
    for flavour in flavours:
        try:
            chunks[flavour], details[flavour] = plan(model, flavour, folder)
        except RuntimeFailure as error:
            missing[flavour] = str(error)
    return chunks, details, missing


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", type=Path, help="a trained policy, or the run folder of its training")
    parser.add_argument("--model", type=Path, help="its .onnx file; exported anew if not given")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--out", type=Path, help="folder that the dated results go into")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here; type --device cpu to try the benchmark without one", file=sys.stderr)
        return 1
    if given.model is not None and given.policy is None:
        print("--model needs --policy, the policy that it was exported from", file=sys.stderr)
        return 1
    torch.set_num_threads(1)
    report = measure(given.policy, given.model, given.device, given.rounds)
    print(json.dumps(report, indent=2))
    if given.out is not None:
        print(write_dated_json(given.out, f"edge-{given.device}", report))
    return 0


def measure(trained: Path | None, model: Path | None, device: str, rounds: int) -> dict[str, Any]:
    """All figures of one run."""
    from foreact.vla.checkpoint import load_policy

    policy: Any = untrained() if trained is None else load_policy(trained)
    seen = observations(policy)
    reference = [torch_policy(policy)(each) for each in seen]
    with tempfile.TemporaryDirectory() as folder:
        path = exported(policy, Path(folder), seen) if model is None else model
        chunks, details, missing = candidates(policy, path, device, seen, Path(folder))
        parity = {name: compare(reference, [chunk(each) for each in seen]) for name, chunk in chunks.items()}
        times = interleaved({name: lambda chunk=chunk: chunk(seen[0]) for name, chunk in chunks.items()}, rounds)
    rows = {
        name: {
            "wall_ms": times[name].wall_ms, "wall_p99_ms": times[name].wall_p99_ms,
            "times_faster_than_torch": round(times["torch"].wall_ms / times[name].wall_ms, 3),
            "min_cosine": round(float(parity[name].cosine.min()), 8),
            "max_abs": round(float(parity[name].max_abs.max()), 8), **details.get(name, {}),
        }
        for name in chunks
    }  # fmt: skip
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    machine = {**describe_machine(), "gpu": gpu, "torch": torch.__version__}
    parameters = sum(tensor.numel() for tensor in policy.parameters())
    return {
        "policy": None if trained is None else str(trained), "parameters": parameters, "device": device,
        "rounds": rounds, "engines": rows, "not_run": missing, "machine": machine,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
