"""Training with the original as teacher: the trainer's own loop, with the distance to the teacher added to its loss.

Killed runs continue from their last state and end with the same weights.
Losses after Jeon et al. 2026, "Shallow-pi: Knowledge distillation for flow-based VLAs", arXiv 2601.20262: recorded
actions, the teacher's output (for a flow its velocity at the same noise and moment), where the teacher attends.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.episodes.outcome import JSON, ProgressFn

if TYPE_CHECKING:
    from torch import Tensor, nn

    from foreact.deploy_edge.compress.recipe import DistilConfig
    from foreact.vla.chunk_policy import ChunkPolicy, TrainingDraws
    from foreact.vla.dataset import Demonstrations
    from foreact.vla.slimming import Look
    from foreact.vla.trainer import OptimisationConfig, Trainer

__all__ = ["Task", "arithmetic", "distil"]

BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}

Wrap = Callable[["ChunkPolicy"], None]


@dataclasses.dataclass(frozen=True)
class Task:
    """One training of a student.

    Attributes:
        config: How.
        samples: What on.
        folder: Where its states go.
        seed: Of everything random.
        text: What progress calls it.
        wrap: Changes the modules of the student in place before training, such as to round weights; its tensors keep
            their names.
        loss: Replaces the teacher's term: (student, teacher, batch, draws) -> scalar.
    """

    config: DistilConfig
    samples: Demonstrations
    folder: Path
    seed: int
    text: str
    wrap: Wrap | None = None
    loss: Callable[[Any, Any, Any, TrainingDraws], Tensor] | None = None


def distil(
    student: ChunkPolicy, teacher: ChunkPolicy, task: Task, progress: ProgressFn
) -> tuple[ChunkPolicy, dict[str, JSON]]:
    """Train a student, or continue its training.

    Args:
        student: Not changed.
        teacher: In evaluation mode; not changed.
        task: What and how.
        progress: Told of each tenth update.

    Returns:
        The moving average of the student's weights, in evaluation mode, and figures for the report.

    Raises:
        CheckpointError: A state on disk is damaged.
    """
    import torch

    from foreact.vla.checkpoint import read_state, write_state

    torch.set_num_threads(1)
    trainer = _trainer(student, teacher, task)
    state = read_state(task.folder)
    if state is not None:
        trainer.restore(state)
    total, losses = task.config.updates, []
    while trainer.step < total:
        figures = trainer.update()
        losses.append(figures.loss)
        if figures.step % 10 == 0 or figures.step == total:
            progress(figures.step, total, f"{task.text} (loss {figures.loss:.4f})")
        if figures.step % task.config.checkpoint_every == 0 or figures.step == total:
            write_state(task.folder, trainer.capture())
    result = student.config.build(student.contract)
    result.load_state_dict(trainer.average.state_dict())
    last = losses[-10:]
    report: dict[str, JSON] = {"updates": total, "precision": trainer.config.precision}
    return result.eval(), {**report, **({"loss_last": round(sum(last) / len(last), 5)} if last else {})}


def arithmetic(precision: str) -> str:
    """`auto` becomes bf16 where this processor has instructions for it, fp32 elsewhere."""
    if precision != "auto":
        return precision
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "fp32"
    line = next((row for row in text.splitlines() if row.startswith(("flags", "Features"))), "")
    return "bf16" if BF16_FLAGS & set(line.split()) else "fp32"


def _optimisation(config: DistilConfig, landmarks: bool) -> OptimisationConfig:
    from foreact.vla.trainer import OptimisationConfig

    return OptimisationConfig(
        updates=config.updates,
        batch=config.batch,
        learning_rate=config.learning_rate,
        warmup=config.warmup,
        ema=config.ema,
        landmark_weight=config.landmarks if landmarks else 0.0,
        precision="bf16" if arithmetic(config.precision) == "bf16" else "fp32",
    )


def _trainer(student: ChunkPolicy, teacher: ChunkPolicy, task: Task) -> Trainer:
    import copy

    from foreact.vla.slimming import anatomy_of
    from foreact.vla.trainer import Trainer

    config = task.config
    taught = _Taught(student, teacher, task)

    class Distiller(Trainer):
        def _loss(self, batch: dict[str, Tensor], generator: Any) -> Tensor:
            import torch

            draws = self._draws(batch["chunk"].shape, generator)
            weight = self.config.landmark_weight if self.policy.uses_landmarks and not frozen else 0.0
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
                return taught.loss(self.policy, batch, draws, weight)

    pupil = copy.deepcopy(student).train()
    frozen = anatomy_of(student).encoders if config.freeze == "vision" else ()
    for name, parameter in pupil.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(f"{each}." for each in frozen) or ("\0",)))
    trainer = Distiller(pupil, task.samples, _optimisation(config, bool(task.samples.landmarks)), task.seed)
    if task.wrap is not None:
        task.wrap(trainer.policy)
    return trainer


class _Taught:
    """The loss of a student beside its teacher."""

    def __init__(self, student: ChunkPolicy, teacher: ChunkPolicy, task: Task) -> None:
        from foreact.vla.slimming import anatomy_of

        self._teacher, self._config, self._term = teacher, task.config, task.loss
        anatomy, theirs = anatomy_of(student), anatomy_of(teacher)
        self._output = (anatomy.output, theirs.output)
        self._looks = _matched(anatomy.looks(student), theirs.looks(teacher)) if task.config.attention else []

    def loss(self, student: ChunkPolicy, batch: dict[str, Tensor], draws: TrainingDraws, landmarks: float) -> Tensor:
        """Truth, teacher and attention, weighted."""
        import torch

        config = self._config
        if self._term is not None and not config.truth:
            return config.teacher * self._term(student, self._teacher, batch, draws)
        with _outputs(student, [self._output[0], *(n for look, _ in self._looks for n in look.modules)]) as mine:
            truth = student.loss(batch, draws, landmarks)
        total = config.truth * truth
        if self._term is not None:
            return total + config.teacher * self._term(student, self._teacher, batch, draws)
        if not (config.teacher or config.attention):
            return total
        watched = [self._output[1], *(name for _, look in self._looks for name in look.modules)]
        with torch.no_grad(), _outputs(self._teacher, watched) as theirs:
            self._teacher.loss(batch, draws)
        difference = mine[self._output[0]].float() - theirs[self._output[1]].float()
        # a chunk is a median: absolute; a velocity is a mean: squared
        distance = difference.square().mean() if student.needs_noise else difference.abs().mean()
        return total + config.teacher * distance + config.attention * self._attention(mine, theirs)

    def _attention(self, mine: dict[str, Any], theirs: dict[str, Any]) -> Tensor | float:
        """Mean squared distance of where both attend; places and distributions of other shapes are passed over."""
        pairs = [
            (own.where(*(mine[name] for name in own.modules)), their.where(*(theirs[name] for name in their.modules)))
            for own, their in self._looks
        ]
        equal = [(a, b) for a, b in pairs if a.shape == b.shape]
        if not equal:
            return 0.0
        distances = [(a.float() - b.float()).square().mean() for a, b in equal]
        return sum(distances[1:], distances[0]) / len(distances)


def _matched(mine: list[Look], theirs: list[Look]) -> list[tuple[Look, Look]]:
    """Each look of a student with that of the teacher's block that it was copied from or stands for."""
    return [(look, theirs[(place + 1) * len(theirs) // len(mine) - 1]) for place, look in enumerate(mine)]


@contextmanager
def _outputs(policy: nn.Module, names: list[str]) -> Iterator[dict[str, Any]]:
    """Outputs of some modules during one call."""
    seen: dict[str, Any] = {}
    modules = dict(policy.named_modules())

    def keep(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: seen.__setitem__(name, output)

    handles = [modules[name].register_forward_hook(keep(name)) for name in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
