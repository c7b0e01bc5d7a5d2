"""The table of an engine's layers: what TensorRT made of the graph, and how long each part takes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from foreact.deploy_edge.runtime.protocol import RuntimeFailure
from foreact.deploy_edge.runtime.tensorrt.api import Api
from foreact.deploy_edge.runtime.tensorrt.callbacks import LayerTimes
from foreact.deploy_edge.runtime.tensorrt.surface import Context, Engine

__all__ = ["Layer", "describe_layers", "time_layers"]


@dataclass(frozen=True)
class Layer:
    """One layer of an engine.

    Attributes:
        name: Its name, often those of the ONNX nodes it was made of.
        kind: What it is.
        formats: Types and layouts of its inputs and outputs.
        mean_ms: Mean time of one inference [ms]; None if it was not timed.
        share: Part of the whole inference; None if it was not timed.
    """

    name: str
    kind: str
    formats: str
    mean_ms: float | None = None
    share: float | None = None


def describe_layers(engine: Engine, api: Api) -> list[Layer]:
    """All layers, without times.

    Args:
        engine: Built with `detailed`, or only names are known.
        api: TensorRT.

    Raises:
        RuntimeFailure: The engine does not tell.
    """
    inspector = engine.create_engine_inspector()
    if inspector is None:
        raise RuntimeFailure(f"{api.flavour} {api.version}: the engine cannot be inspected")
    text = inspector.get_engine_information(api.member("LayerInformationFormat", "JSON"))
    try:
        layers = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise RuntimeFailure(f"{api.flavour} {api.version}: the engine's description is no JSON of layers") from error
    return [_layer(each) for each in layers]


def time_layers(engine: Engine, context: Context, api: Api, run: Callable[[], None], rounds: int) -> list[Layer]:
    """All layers with their mean times.

    Args:
        engine: The engine.
        context: Its context.
        api: TensorRT.
        run: Puts one inference into the stream and waits for it.
        rounds: Inferences.
    """
    times = LayerTimes(api)
    context.profiler = times.profiler
    context.enqueue_emits_profile = False
    for _ in range(rounds):
        run()
        if not context.report_to_profiler():
            raise RuntimeFailure(f"{api.flavour} {api.version} gave no times of layers")
    context.profiler = None
    means = {name: sum(values) / len(values) for name, values in times.milliseconds.items()}
    total = sum(means.values()) or 1.0
    known = {layer.name: layer for layer in describe_layers(engine, api)}
    rows = [known.get(name, Layer(name, "", "")) for name in means]
    return [
        Layer(row.name, row.kind, row.formats, round(means[row.name], 6), round(means[row.name] / total, 4))
        for row in rows
    ]


def _layer(described: Any) -> Layer:
    """TensorRT gives a name alone, or an object whose keys differ between 10 and 11."""
    if not isinstance(described, dict):
        return Layer(str(described), "", "")
    ports = [*described.get("Inputs", ()), *described.get("Outputs", ())]
    formats = sorted({_format(port) for port in ports if isinstance(port, dict)})
    return Layer(str(described.get("Name", "")), str(described.get("LayerType", "")), ", ".join(filter(None, formats)))


def _format(port: dict[str, Any]) -> str:
    # 10: "Format/Datatype"; 11: "Format" and "Datatype" apart
    together = port.get("Format/Datatype")
    apart = [str(port[key]) for key in ("Format", "Datatype", "DataType") if key in port]
    return str(together) if together is not None else " ".join(apart)
