"""Our view of TensorRT's API is a part of it: compared with NVIDIA's stubs and with the installed TensorRT-RTX."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CLASSES = {
    "Builder": "Builder", "BuilderConfig": "IBuilderConfig", "Context": "IExecutionContext", "Engine": "ICudaEngine",
    "HostMemory": "IHostMemory", "Inspector": "EngineInspector", "Network": "INetworkDefinition",
    "Parser": "OnnxParser", "ParserError": "ParserError", "ParserRefitter": "OnnxParserRefitter",
    "Refitter": "Refitter", "Runtime": "Runtime", "Tensor": "ITensor", "TimingCache": "ITimingCache", "Dims": "Dims",
}  # fmt: skip
# No generation since 10.0 has the first, 11 has lost the others.
CONTROL = """

class Removed(Protocol):
    max_workspace_size: int


def control(x: tensorrt.IBuilderConfig) -> Removed:
    return x
"""


def test_the_stubs_have_all_of_our_surface(stubs: Path, tmp_path: Path) -> None:
    source = (
        "from typing import Protocol\n\nimport tensorrt\nfrom foreact.deploy_edge.runtime.tensorrt import surface\n"
    )
    source += "\nmodule: surface.TensorRt = tensorrt\n"
    for ours, theirs in CLASSES.items():
        source += f"\n\ndef check_{ours}(x: tensorrt.{theirs}) -> surface.{ours}:\n    return x\n"
    assert pyright(stubs, tmp_path, source) == []
    (row,) = pyright(stubs, tmp_path, source + CONTROL)
    assert '"max_workspace_size" is not present' in row


def pyright(stubs: Path, folder: Path, source: str) -> list[str]:
    """Errors of a program that is checked against repaired stubs."""
    shutil.copytree(stubs, folder / "stubs", dirs_exist_ok=True)
    pyi = folder / "stubs/tensorrt_bindings/tensorrt.pyi"
    # they forget an import, hide `bool` behind a constant of that name, and give None where a text is wanted
    text = (stubs / "tensorrt_bindings/tensorrt.pyi").read_text()
    text = text.replace("import typing\n", "import builtins\nimport typing\nimport typing_extensions\n", 1)
    text = re.sub(r"(->|:) bool\b", r"\1 builtins.bool", text).replace(": str = None", ": str | None = None")
    pyi.write_text(text)
    (folder / "check.py").write_text(source)
    root = Path(__file__).parents[2]
    settings = {
        "include": ["check.py"], "extraPaths": [str(root / "deploy_edge"), str(root / "episodes"), "stubs"],
        "venvPath": str(root), "venv": ".venv", "pythonVersion": "3.12", "typeCheckingMode": "standard",
    }  # fmt: skip
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    program = Path(sys.executable).with_name("pyright")
    done = subprocess.run(
        [program, "-p", str(folder), "--outputjson"], capture_output=True, text=True, check=False, timeout=150
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    return [row["message"] for row in report["generalDiagnostics"] if row["severity"] == "error"]


@pytest.mark.parametrize("ours", sorted(CLASSES))
def test_rtx_has_all_of_our_surface(rtx: Any, surface: Any, ours: str) -> None:
    theirs, protocol = getattr(rtx.module, CLASSES[ours]), getattr(surface, ours)
    wanted = {name for name in vars(protocol) if not name.startswith("_") or name in ("__len__", "__getitem__")}
    wanted |= set(getattr(protocol, "__annotations__", {}))
    assert wanted and not {name for name in wanted if not hasattr(theirs, name)}


def test_rtx_has_what_the_module_is_asked_for(rtx: Any, surface: Any) -> None:
    wanted = {name for name in vars(surface.TensorRt) if not name.startswith("_")}
    assert len(wanted) > 12 and not {name for name in wanted if not hasattr(rtx.module, name)}
    assert rtx.creation_flags() == 1 << int(rtx.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def test_rtx_has_no_precision_flags(rtx: Any) -> None:
    assert not {"FP16", "INT8", "BF16", "FP8", "INT4"} & set(rtx.members("BuilderFlag"))
