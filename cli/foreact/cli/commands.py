"""The command table: what each command is called and where its configuration and its work live."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from foreact.cli.door import DoorError
from foreact.episodes.outcome import ProgressFn

__all__ = ["COMMANDS", "DOCTOR", "Command", "Report"]


class Report(Protocol):
    """What a command returns: an Outcome, or the like from a room that may not import it."""

    @property
    def path(self) -> Path | None:
        """What was written or looked at; None if nothing was."""
        ...

    @property
    def figures(self) -> Mapping[str, Any]:
        """The figures for `--json`."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Table headings."""
        ...

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Table rows."""
        ...


@dataclass(frozen=True)
class Command:
    """One command: a frozen configuration dataclass and one function of it, both imported on use.

    Args:
        name: what is typed after `foreact`.
        module: the module that holds both.
        config: name of the configuration dataclass.
        function: name of `f(config, progress) -> Report`.
        help: one sentence for `foreact --help`.
        example: a line that can be typed.
        positional: keys that may be given without `key=`, in order.
        options: keys that also exist as options, such as `--device`.
        variants: what else the command is for other values of the key `by`; None is the command itself.
        by: the key that chooses among variants; empty for the first positional one.
    """

    name: str
    module: str
    config: str
    function: str
    help: str
    example: str
    positional: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    variants: Mapping[str, "Command | None"] = field(default_factory=dict)
    by: str = ""

    def chosen(self, arguments: Sequence[str]) -> "Command":
        """The variant that the value of `by` names, or the command itself.

        Args:
            arguments: what was typed after the command's name, without options.

        Raises:
            DoorError: there are variants, but none of this name.
        """
        if not self.variants:
            return self
        key = self.by or self.positional[0]
        bare = key in self.positional[:1]
        parts = [argument.lstrip("+").partition("=") for argument in arguments]
        given = next(
            (value if equals else name for name, equals, value in parts if name == key or (bare and not equals)), None
        )
        if given is not None and given not in self.variants:
            raise DoorError(f"{key} is {given!r}: choose from {', '.join(filter(None, self.variants))}")
        return self.variants.get(given or "") or self

    def load(self) -> tuple[type[Any], Callable[[Any, ProgressFn], Report]]:
        """Import the configuration dataclass and the function.

        Raises:
            ImportError: a package of an extra is not installed.
        """
        module = importlib.import_module(self.module)
        return getattr(module, self.config), getattr(module, self.function)


DOCTOR = Command(
    "doctor",
    "foreact.episodes.doctor_dataset",
    "DoctorDatasetConfig",
    "doctor_dataset",
    "Say what is wrong with recordings.",
    "foreact doctor dataset recording.mcap",
    positional=("target", "path"),
)
"""`foreact doctor dataset PATH`; without `dataset` the command looks at the machine."""

COMMANDS: tuple[Command, ...] = (
    Command(
        "tasks",
        "foreact.sim.tasks",
        "TasksConfig",
        "tasks",
        "List the simulated tasks with their instructions, or draw a contact sheet.",
        "foreact tasks",
    ),
    Command(
        "record",
        "foreact.sim.record",
        "RecordConfig",
        "record",
        "Record scripted demonstrations into an episode store.",
        "foreact record tasks=[reach,push] episodes=50 out=data/r",
        options=("seed",),
    ),
    Command(
        "train",
        "foreact.vla.train",
        "TrainConfig",
        "train",
        "Train a policy on an episode store.",
        "foreact train policy=tiny data=data/r out=runs/r",
        options=("device", "seed"),
    ),
    Command(
        "eval",
        "foreact.vla.evaluate",
        "EvalConfig",
        "evaluate",
        "Evaluate a policy in closed loop on layouts it never saw.",
        "foreact eval policy=runs/r tasks=[reach,push] out=runs/r/eval",
        options=("device", "seed", "agent"),
    ),
    Command(
        "inspect",
        "foreact.episodes.inspect",
        "InspectConfig",
        "inspect",
        "Show what an episode store holds, and verify it.",
        "foreact inspect data/r verify=true",
        positional=("path",),
    ),
    Command(
        "replay",
        "foreact.cli.replay",
        "ReplayConfig",
        "replay",
        "Play a recording of any known format, or what a NaN guard dumped.",
        "foreact replay recording.mcap out=runs/replay",
        positional=("path",),
        options=("device", "web"),
        by="into",
        variants={
            "": None,
            "gripper": Command(
                "replay",
                "foreact.sim.retarget.retarget",
                "GripperConfig",
                "retarget_gripper",
                "Turn a person's hand into a gripper's pose and opening, and into the path of an arm.",
                "foreact replay recording.vrs into=gripper robot=franka_emika_panda.tar.xz out=runs/gripper",
                positional=("path",),
            ),
            "hand": Command(
                "replay",
                "foreact.sim.retarget.retarget",
                "HandConfig",
                "retarget_hand",
                "Turn a person's hand into the joint angles of a robot hand.",
                "foreact replay recording.vrs into=hand robot=shadow_hand.tar.xz out=runs/hand",
                positional=("path",),
            ),
            "policy": Command(
                "replay",
                "foreact.vla.shadow",
                "ShadowConfig",
                "shadow",
                "Let a policy watch recordings, and compare what it would have done with what was done.",
                "foreact replay data/r into=policy policy=runs/r out=runs/shadow",
                positional=("path",),
                options=("device",),
            ),
            "robot": Command(
                "replay",
                "foreact.sim.reenact",
                "ReenactConfig",
                "reenact",
                "Let recorded actions drive a robot in simulation, and compare it with what was recorded.",
                "foreact replay dataset into=robot robot=unitree_g1.tar.xz out=runs/reenact",
                positional=("path",),
            ),
        },
    ),
    Command(
        "convert",
        "foreact.episodes.convert",
        "ConvertConfig",
        "convert",
        "Convert recordings to our store, a LeRobotDataset or MCAP.",
        "foreact convert recording.vrs data/r to=store",
        positional=("source", "out"),
        options=("anonymise",),
    ),
    Command(
        "compress",
        "foreact.deploy_edge.compress",
        "CompressConfig",
        "compress",
        "Quantise an exported policy to int8 and report parity.",
        "foreact compress model=runs/r/policy.onnx policy=runs/r out=runs/r/policy.int8.onnx data=data/held_out",
        options=("seed",),
    ),
    Command(
        "export",
        "foreact.deploy_edge.export",
        "ExportConfig",
        "export",
        "Export a checkpoint to ONNX with its contract inside, and report parity.",
        "foreact export policy=runs/r out=runs/r/policy.onnx data=data/held_out",
        options=("seed",),
        by="to",
        variants={
            "": None,
            "onnx": None,
            "stages": Command(
                "export",
                "foreact.deploy_edge.export.stages",
                "StagesConfig",
                "export_stages",
                "Export the stages of a policy as one graph each, so that what does not change is not computed again.",
                "foreact export to=stages policy=runs/r out=runs/r/stages data=data/held_out",
                options=("seed",),
            ),
            "pte": Command(
                "export",
                "foreact.deploy_edge.export.pte",
                "PteConfig",
                "export_pte",
                "Export a policy as an ExecuTorch program for XNNPACK, and report parity.",
                "foreact export to=pte policy=runs/r out=runs/r/policy.pte data=data/held_out",
                options=("seed",),
            ),
            "engine": Command(
                "export",
                "foreact.deploy_edge.choose",
                "ChooseConfig",
                "choose",
                "Find the engine that runs a model best on this machine, and say why.",
                "foreact export to=engine model=runs/r/policy.int8.onnx candidates=[onnxruntime,openvino]",
            ),
            "tensorrt": Command(
                "export",
                "foreact.deploy_edge.tensorrt_export",
                "TensorRtExportConfig",
                "export_tensorrt",
                "Build a TensorRT plan of an exported policy for the GPU of this machine, and check it here.",
                "foreact export to=tensorrt model=runs/r/policy.onnx out=runs/r/policy.tensorrt.plan",
            ),
            "tensorrt-rtx": Command(
                "export",
                "foreact.deploy_edge.tensorrt_export",
                "TensorRtExportConfig",
                "export_tensorrt",
                "Build a TensorRT-RTX plan of an exported policy, also for GPUs that are not here.",
                "foreact export to=tensorrt-rtx model=runs/r/p.onnx out=runs/r/p.tensorrt-rtx.plan compute=[86]",
            ),
        },
    ),
    Command(
        "run",
        "foreact.deploy_edge.run",
        "RunConfig",
        "run",
        "Run an exported policy in a fixed-rate control loop.",
        "foreact run policy=runs/r/policy.int8.onnx task=reach out=runs/r/run",
        options=("seed",),
    ),
    Command(
        "bench",
        "foreact.kernels.bench",
        "BenchConfig",
        "bench",
        "Prove and time the kernels, or measure simulated worlds, recordings or compressed policies against others.",
        "foreact bench sim tasks=[cartpole,ant] --json figures.json",
        positional=("target",),
        options=("device", "seed"),
        variants={
            "kernels": None,
            "sim": Command(
                "bench",
                "foreact.sim.bench",
                "SimBenchConfig",
                "bench",
                "Time worlds of a task against the bare engine and others.",
                "foreact bench sim tasks=[cartpole,ant] --json figures.json",
                positional=("target",),
            ),
            "episodes": Command(
                "bench",
                "foreact.episodes.bench_episodes",
                "EpisodesBenchConfig",
                "bench",
                "Time reading, replaying and feeding recordings against bare PyAV and LeRobot.",
                "foreact bench episodes lerobot=data/r_lerobot --json figures.json",
                positional=("target",),
            ),
            "edge": Command(
                "bench",
                "foreact.cli.bench_edge",
                "EdgeBenchConfig",
                "bench_edge",
                "Measure what compression costs and gains: size, parity, speed, memory, paired success.",
                "foreact bench edge --json figures.json",
                positional=("target",),
                options=("seed",),
            ),
        },
    ),
    Command(
        "demo",
        "foreact.cli.demo",
        "DemoConfig",
        "demo",
        "Record, train, evaluate, compress, export and run six tasks, ending in one HTML report.",
        "foreact demo",
        options=("seed",),
    ),
)
