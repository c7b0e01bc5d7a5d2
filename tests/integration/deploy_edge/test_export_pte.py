"""ExecuTorch lives in an environment of its own; see docs/commands/export.md."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.deploy_edge.export.pte import PTE_KIND, PteConfig, export_pte, sidecar_path
from foreact.deploy_edge.export.pte_program import require_executorch
from foreact.deploy_edge.observations import draw_observations, only
from foreact.deploy_edge.runtime.golden import GOLDEN_KEY, read_golden
from foreact.deploy_edge.runtime.protocol import RuntimeMissing
from foreact.deploy_edge.runtime.sealed_json import read_sealed_json
from foreact.episodes.contract import PolicyContract


def _present() -> bool:
    try:
        require_executorch()
    except RuntimeMissing:
        return False
    return True


needs_executorch = pytest.mark.skipif(not _present(), reason="executorch and torchao are not installed here")


@pytest.fixture(scope="module")
def pte(tmp_path_factory: pytest.TempPathFactory, policy: Path, store: Path) -> Path:
    path = tmp_path_factory.mktemp("pte") / "policy.pte"
    export_pte(PteConfig(policy, path, store, observations=4, rounds=1))
    return path


@needs_executorch
def test_the_program_answers_as_torch_does(pte: Path, policy: Path, store: Path, contract: PolicyContract) -> None:
    from foreact.deploy_edge.export import torch_policy
    from foreact.deploy_edge.export.pte_program import pte_policy
    from foreact.vla.checkpoint import load_policy

    run, original = pte_policy(pte.read_bytes(), contract.input_names), torch_policy(load_policy(policy))
    for inputs in draw_observations(store, contract, 3, 5, "held out"):
        np.testing.assert_allclose(run(inputs), original(only(inputs, contract.input_names)), atol=1e-4)
    report = json.loads(pte.with_suffix(".pte.report.json").read_text())
    assert report["delegated_layers_fraction"] == 1.0 and report["delegated_fraction"] > 0.5
    assert report["size_bytes"] == pte.stat().st_size


@needs_executorch
def test_the_sidecar_carries_the_contract_and_binds_the_file(pte: Path, contract: PolicyContract) -> None:
    described: Any = read_sealed_json(sidecar_path(pte), PTE_KIND)
    metadata = described["metadata"]
    assert PolicyContract.from_json(metadata["foreact.contract"]) == contract
    assert described["sha256_pte"] == hashlib.sha256(pte.read_bytes()).hexdigest()
    formats = {each["name"]: each["dtype"] for each in described["inputs"]}
    assert formats["camera.front.depth"] == "int32" and formats["camera.front.rgb"] == "uint8"
    golden = read_golden(sidecar_path(pte), contract, metadata[GOLDEN_KEY])
    assert len(golden.inputs) == 4


@needs_executorch
def test_int8_is_smaller_and_near(pte: Path, policy: Path, store: Path, tmp_path: Path) -> None:
    path = tmp_path / "policy.int8.pte"
    outcome = export_pte(PteConfig(policy, path, store, "int8", observations=12, rounds=1))
    layers = outcome.figures["layers_int8"]
    assert isinstance(layers, list) and len(layers) > 4
    assert path.stat().st_size < 0.8 * pte.stat().st_size


def test_without_executorch_the_error_says_what_to_type(
    policy: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from foreact.deploy_edge.export import pte_program

    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(pte_program, "part", missing)
    with pytest.raises(RuntimeMissing, match=r"pip install --no-deps executorch==1\.2\.0"):
        export_pte(PteConfig(policy, tmp_path / "p.pte", store))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="must end in .pte"):
        PteConfig(policy, tmp_path / "p.onnx", store)
