"""A machine with a TensorRT of each generation and a GPU, all of them fake."""

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from foreact.deploy_edge.runtime.tensorrt.api import Api, load_api
from foreact.deploy_edge.runtime.tensorrt.build import Built, build_plan
from foreact.deploy_edge.runtime.tensorrt.cuda_device import open_cuda
from foreact.deploy_edge.runtime.tensorrt.fingerprint import Fingerprint, read_fingerprint
from foreact.deploy_edge.runtime.tensorrt.sidecar import SCHEMA, BuildConfig, Port, Sidecar, publish, sha256

GRAPH: dict[str, Any] = {
    "inputs": {"depth": ["INT32", [1, 3]], "state": ["FLOAT", [1, 2]]},
    "outputs": {"action": ["FLOAT", [1, 4]]},
    "weight": 2.0,
}
INPUTS = (Port("depth", "uint16", "int32", (1, 3)), Port("state", "float32", "float32", (1, 2)))
DEFAULT = BuildConfig()
OUTPUTS = (Port("action", "float32", "float32", (1, 4)),)


def beside(name: str) -> ModuleType:
    """A module beside this file: importlib import mode gives test folders no package."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"deploy_edge_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


FAKE_CUDA, FAKE_TENSORRT = beside("fake_cuda"), beside("fake_tensorrt")


@dataclass
class Machine:
    """One fake machine.

    Attributes:
        api: Its TensorRT, loaded the usual way.
        cuda: Its device.
        faults: What goes wrong, and what TensorRT saw.
        folder: Where plans go.
    """

    api: Api
    cuda: Any
    faults: Any
    folder: Path

    @property
    def here(self) -> Fingerprint:
        return read_fingerprint(self.api, open_cuda().properties(), self.folder)

    def build(self, config: BuildConfig = DEFAULT, graph: dict[str, Any] = GRAPH, **given: Any) -> Built:
        content = json.dumps(graph).encode()
        free = given.pop("free_bytes", 1 << 30)
        return build_plan(content, config, self.api, given.pop("here", self.here), free, **given)

    def published(self, config: BuildConfig = DEFAULT, **changed: Any) -> Path:
        """A plan that was built and published here."""
        built, graph = self.build(config), json.dumps(GRAPH).encode()
        values: dict[str, Any] = dict(
            schema=SCHEMA, foreact="0", fingerprint=self.here, builder=config, builder_sha256=config.hash,
            onnx="policy.onnx", onnx_sha256=sha256(b"policy"), graph_sha256=sha256(graph), changes=(),
            metadata={"foreact.contract_hash": "c"}, inputs=INPUTS, outputs=OUTPUTS, plan_sha256=sha256(built.plan),
            plan_bytes=len(built.plan), build_s=built.build_s, built_utc="", notes=built.notes, parity={},
        )  # fmt: skip
        path = self.folder / "policy.plan"
        publish(path, built.plan, Sidecar(**{**values, **changed}), graph if config.strip else None)
        return path


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Machine]:
    """A function that puts a fake TensorRT and a fake GPU where `import` finds them."""

    def make(generation: str = "10.13", faults: dict[str, Any] | None = None, **device: Any) -> Machine:
        kind = FAKE_TENSORRT.GENERATIONS[generation]
        cuda, wrong = FAKE_CUDA.FakeCuda(**device), FAKE_TENSORRT.Faults(**(faults or {}))
        flavour = "tensorrt-rtx" if kind.rtx else "tensorrt"
        monkeypatch.setitem(sys.modules, flavour.replace("-", "_"), FAKE_TENSORRT.module(kind, wrong, cuda))
        monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda.module())
        here = Machine(load_api(flavour), cuda, wrong, tmp_path)

        def in_this_process(graph: bytes, config: BuildConfig, *given: Any) -> Built:
            return build_plan(graph, config, here.api, *given)

        # a process of its own would not see the fakes
        monkeypatch.setattr("foreact.deploy_edge.tensorrt_export.build_apart", in_this_process)
        return here

    return make


@pytest.fixture(params=list(FAKE_TENSORRT.GENERATIONS))
def each_machine(request: pytest.FixtureRequest, machine: Callable[..., Machine]) -> Machine:
    """A machine of each generation."""
    return machine(request.param)


@pytest.fixture
def generations() -> ModuleType:
    """The module of the fakes."""
    return FAKE_TENSORRT
