"""Policies of the main architecture, untrained, exported at both opsets and in int8: what real plans are built from."""

import dataclasses
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("torch")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OBSERVATIONS = 8


@pytest.fixture(scope="session")
def rtx() -> Any:
    """TensorRT-RTX, or the reason why there is none."""
    from foreact.deploy_edge.runtime.protocol import RuntimeMissing
    from foreact.deploy_edge.runtime.tensorrt.api import load_api

    try:
        return load_api("tensorrt-rtx")
    except RuntimeMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def observations() -> Callable[[Any], list[dict[str, np.ndarray]]]:
    """A function that makes up observations for a policy."""
    from foreact.deploy_edge.runtime.signature import input_formats, optional_formats

    def make(policy: Any) -> list[dict[str, np.ndarray]]:
        rng, formats = np.random.default_rng(0), {**input_formats(policy.contract), **optional_formats(policy.contract)}
        draw: dict[str, Callable[[tuple[int, ...]], np.ndarray]] = {
            "uint8": lambda shape: rng.integers(0, 256, shape),
            "uint16": lambda shape: rng.integers(300, 1500, shape),
            "int64": lambda shape: rng.integers(1, 4, shape),
            "float32": lambda shape: rng.uniform(-0.1, 0.1, shape),
        }
        names = [name for name in policy.input_names]
        return [
            {name: draw[formats[name].dtype](formats[name].shape).astype(formats[name].dtype) for name in names}
            for _ in range(OBSERVATIONS)
        ]

    return make


@pytest.fixture(scope="session")
def exported(
    tmp_path_factory: pytest.TempPathFactory, observations: Callable[[Any], list[dict[str, np.ndarray]]]
) -> Callable[..., Path]:
    """A function that exports an untrained policy, once for each architecture, opset and precision."""
    import torch

    from foreact.sim.metaworld import default_cameras, policy_contract
    from foreact.vla.architectures import config_type

    folder, contract = tmp_path_factory.mktemp("exported"), policy_contract(default_cameras(96, 64))
    blind = dataclasses.replace(contract, cameras=(), language=None)
    # fewer blocks than a policy that is used: the build takes long without a GPU
    sizes: dict[str, dict[str, Any]] = {
        "transformer": {
            "heads": (6,),
            "hidden": (576,),
            "action_heads": (6,),
            "context_heads": (6,),
            "steps": 2,
            "action_hidden": (576,),
        }
    }

    def export(architecture: str = "keypoints", opset: int = 18, precision: str = "float32") -> Path:
        path = folder / f"{architecture}-{opset}-{precision}.onnx"
        if not path.exists():
            torch.manual_seed(0)
            policy = config_type(architecture)(**sizes.get(architecture, {})).build(
                blind if architecture == "mlp" else contract
            )
            write_policy(path, policy.eval(), opset, precision, observations)
        return path

    return export


def write_policy(path: Path, policy: Any, opset: int, precision: str, observations: Any) -> None:
    """A policy as the commands write it: sealed, with golden inputs beside it."""
    from foreact.deploy_edge.export import onnx_model, policy_hash, torch_policy
    from foreact.deploy_edge.model_file import describe, sealed_bytes
    from foreact.deploy_edge.parity import Gate
    from foreact.deploy_edge.quantise_config import QuantiseConfig
    from foreact.deploy_edge.quantise_model import quantise_model
    from foreact.deploy_edge.runtime.golden import GOLDEN_KEY, golden_bytes, golden_digest, write_golden

    contract, inputs, chunk = policy.contract, observations(policy), torch_policy(policy)
    model, extra = onnx_model(policy, opset), {"foreact.precision": "float32"}
    if precision == "int8":
        span = np.array(contract.action.high) - np.array(contract.action.low)
        made = quantise_model(model, chunk, inputs, QuantiseConfig(symmetric=True), Gate(0.99, 0.1), span)
        model, extra = made.model, dict(made.properties)
    # the policy is untrained, so its gates are wide; those of trained ones are not
    golden = golden_bytes(inputs, [chunk(each) for each in inputs], min_cosine=0.9, max_abs_fraction=0.1)
    extra[GOLDEN_KEY] = golden_digest(golden)
    write_golden(path, golden)
    path.write_bytes(sealed_bytes(model, describe(contract, policy_hash(policy), extra)))


def trained_models() -> list[Path]:
    """Models of the last demo, and of folders named in FOREACT_MODELS."""
    folders = [ROOT / "runs/demo/latest/export", ROOT / "runs/demo/latest/compress"]
    folders += [Path(each) for each in os.environ.get("FOREACT_MODELS", "").split(os.pathsep) if each]
    return sorted(path for folder in folders for path in folder.glob("*.onnx"))


@pytest.fixture(params=trained_models() or [None], ids=lambda path: "none" if path is None else path.name)
def trained(request: pytest.FixtureRequest) -> Path:
    """A model of a trained policy."""
    if request.param is None:
        pytest.skip("no trained policy here; make one with: make demo, or name folders in FOREACT_MODELS")
    return request.param


@pytest.fixture(scope="session")
def stubs() -> Path:
    """Where `make test-tensorrt` has put NVIDIA's stubs."""
    folder = Path(os.environ.get("FOREACT_TENSORRT_STUBS", ROOT / ".venv/tensorrt-stubs"))
    if not (folder / "tensorrt_bindings/tensorrt.pyi").exists():
        pytest.skip(f"no tensorrt-stubs in {folder}; type: make test-tensorrt")
    return folder


@pytest.fixture(scope="session")
def surface() -> Any:
    """The protocols that our code uses TensorRT through."""
    return importlib.import_module("foreact.deploy_edge.runtime.tensorrt.surface")
