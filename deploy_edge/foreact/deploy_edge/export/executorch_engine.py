"""A .pte file run by ExecuTorch on the CPU. Its Python runtime imports torch, so no robot of ours uses it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import numpy as np

from foreact.deploy_edge.export.pte import PTE_KIND, sidecar_path
from foreact.deploy_edge.export.pte_program import INSTALL, pte_policy
from foreact.deploy_edge.runtime.checked_file import CheckedFile
from foreact.deploy_edge.runtime.engine import contract_in
from foreact.deploy_edge.runtime.graph_runtime import GraphRuntime
from foreact.deploy_edge.runtime.protocol import RuntimeFailure, RuntimeMissing
from foreact.deploy_edge.runtime.sealed_json import read_sealed_json
from foreact.deploy_edge.runtime.signature import ACTION, chunk_format, input_formats, optional_formats

__all__ = ["ExecuTorchRuntime", "load"]


class ExecuTorchRuntime(GraphRuntime):
    """A program in ExecuTorch.

    Args:
        content: Bytes of the .pte file.
        described: Its metadata, from the description beside it.
        names: The policy's inputs, in order.
        where: The file, for messages.

    Raises:
        RuntimeMissing: ExecuTorch is not installed.
        RuntimeFailure: It cannot load the program.
        EngineError: The description carries no contract.
    """

    def __init__(self, content: bytes, described: Mapping[str, str], names: list[str], where: str) -> None:
        started = time.perf_counter()
        contract = contract_in(described, where)
        known = {**optional_formats(contract), **input_formats(contract)}
        if not set(input_formats(contract)) <= set(names) <= set(known):
            raise RuntimeFailure(f"{where}: inputs {names} are not those of its contract")
        try:
            self._chunk = pte_policy(content, names)
        except ImportError as error:
            raise RuntimeMissing(f"ExecuTorch is not installed ({error}); type: {INSTALL}") from error
        except Exception as error:  # ExecuTorch raises plain RuntimeErrors with a number
            raise RuntimeFailure(f"ExecuTorch cannot load {where}: {error}") from error
        super().__init__(
            "executorch", metadata.version("executorch"), {name: known[name] for name in names},
            {ACTION: chunk_format(contract)}, described, {"backend": "XNNPACK"},
        )  # fmt: skip
        self.load_s = time.perf_counter() - started

    def _run(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        np.copyto(outputs[ACTION][0], self._chunk(inputs))

    def _free(self) -> None:
        del self._chunk


def load(path: Path, threads: int = 1, checked: CheckedFile | None = None) -> ExecuTorchRuntime:
    """Load a .pte file, after it was compared with the description beside it.

    Args:
        path: A file that `foreact export to=pte` wrote.
        threads: Only 1: its Python runtime has no setting for it.
        checked: Not used: it is of an .onnx file.

    Raises:
        EngineError: The description is missing, altered or without a contract.
        RuntimeMissing, RuntimeFailure: See `ExecuTorchRuntime`; or the program is not the one described.
    """
    if path.suffix != ".pte" or threads != 1:
        raise RuntimeFailure(f"executorch runs .pte files on one thread, got {path} and threads={threads}")
    described = read_sealed_json(sidecar_path(path), PTE_KIND)
    held = path.read_bytes()
    if hashlib.sha256(held).hexdigest() != described.get("sha256_pte"):
        raise RuntimeFailure(f"{path} is not the program that {sidecar_path(path)} describes; export it again")
    found, rows = described.get("metadata"), described.get("inputs")
    if not isinstance(found, dict) or not isinstance(rows, list):
        raise RuntimeFailure(f"{sidecar_path(path)} lacks metadata or inputs; export it again")
    names = [str(row["name"]) for row in rows if isinstance(row, dict) and "name" in row]
    return ExecuTorchRuntime(held, {str(key): str(value) for key, value in found.items()}, names, str(path))
