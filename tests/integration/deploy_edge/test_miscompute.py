"""A silent miscompute of an engine is caught by the golden gate, with the very session that would run the policy.

A transformer whose attention products were quantised to u8s8 (392 tokens, every MatMul) was seen to come out of
onnxruntime 1.31.1 with cosine 0.53 to 0.62 where graph optimisation was EXTENDED or ALL, on one kind of processor, and
right at BASIC. Whether it does here depends on the processor: the gate must say what is so.
"""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from foreact.deploy_edge.runtime.chunk_distance import cosine  # noqa: E402
from foreact.deploy_edge.runtime.engine import EngineError, open_policy, session_of  # noqa: E402

GOLDEN = 4


@pytest.fixture(scope="module")
def vit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vit_policy", Path(__file__).with_name("vit_policy.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(vit: Any) -> Any:
    return vit.vit_model()


@pytest.fixture(scope="module")
def everything(vit: Any, model: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return vit.quantised(model, tmp_path_factory.mktemp("vit"), lambda name: True).SerializeToString()


def chunks(content: bytes, inputs: list[dict[str, np.ndarray]], level: str) -> list[np.ndarray]:
    import onnxruntime

    chosen = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    session = session_of(content, graph_optimization_level=chosen)
    return [session.run(None, each)[0][0] for each in inputs]


def test_the_gate_says_whether_onnxruntime_computes_quantised_attention_right_here(
    vit: Any, everything: bytes, tmp_path: Path
) -> None:
    from onnx import load_model_from_string

    inputs = vit.pictures(GOLDEN, 2)
    right, used = (chunks(everything, inputs, level) for level in ("ENABLE_BASIC", "ENABLE_ALL"))
    worst = min(cosine(a, b) for a, b in zip(right, used, strict=True))
    farthest = max(float(np.abs(a - b).max()) for a, b in zip(right, used, strict=True))
    path = vit.write_vit(tmp_path / "all.onnx", load_model_from_string(everything), inputs, right)
    if worst >= 0.999 and farthest <= 0.04:
        assert open_policy(path).gate is not None, "the engine is right here, and the gate must let it pass"
    else:
        with pytest.raises(EngineError, match=r"does not compute on this machine.*golden observation \d of 4: cosine"):
            open_policy(path)


def test_a_fused_integer_product_that_goes_wrong_is_refused(vit: Any, everything: bytes, tmp_path: Path) -> None:
    """The same symptom on any processor: one integer product of attention computes with a wrong zero point."""
    from onnx import load_model_from_string, numpy_helper

    inputs = vit.pictures(GOLDEN, 2)
    right = chunks(everything, inputs, "ENABLE_BASIC")
    wrong = load_model_from_string(everything)
    # the probabilities that the first block's values are weighted with: never negative, so their zero point is 0
    (score,) = (node for node in wrong.graph.node if node.name == "block0.value")
    (undone,) = (node for node in wrong.graph.node if node.output[0] == score.input[0])
    shifted = numpy_helper.from_array(np.array(96, np.uint8), "shifted")
    wrong.graph.initializer.append(shifted)
    undone.input[2] = "shifted"
    path = vit.write_vit(tmp_path / "wrong.onnx", wrong, inputs, right)
    with pytest.raises(EngineError, match=r"in onnxruntime .* does not compute on this machine.*: cosine"):
        open_policy(path)


def test_float_attention_passes_with_the_original_as_reference(vit: Any, model: Any, tmp_path: Path) -> None:
    inputs = vit.pictures(GOLDEN, 2)
    original = chunks(model.SerializeToString(), inputs, "ENABLE_BASIC")
    mixed = vit.quantised(model, tmp_path, lambda name: not name.endswith(vit.ATTENTION))
    kinds = {node.op_type for node in mixed.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    opened = open_policy(vit.write_vit(tmp_path / "mixed.onnx", mixed, inputs, original))
    assert opened.gate is not None and opened.gate.min_cosine > 0.999
