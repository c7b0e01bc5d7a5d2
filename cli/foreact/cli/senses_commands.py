"""Rows of the command table that are about encoders of pictures and sound."""

from collections.abc import Mapping

from foreact.cli.command import Command

__all__ = ["EMBED", "EVAL_SENSES", "TRAIN_SENSES"]

TRAIN_SENSES: Mapping[str, Command | None] = {
    "encoder=*": Command(
        "train",
        "foreact.perception.omnivorous.train",
        "EncoderTrainConfig",
        "train_encoder",
        "Train an encoder that sees colours, depth and segments alike, on recorded scenes.",
        "foreact train encoder=tiny stage=teacher data=data/scenes out=runs/teacher",
        options=("device", "seed"),
        conf="train-encoder",
    ),
}

EVAL_SENSES: Mapping[str, Command | None] = {
    "encoder=*": Command(
        "eval",
        "foreact.perception.omnivorous.evaluate",
        "EvalEncoderConfig",
        "evaluate_encoder",
        "Score an encoder on scenes it never saw: retrieval between kinds of pictures, probes, transfer.",
        "foreact eval encoder=runs/e data=data/scenes_held_out out=runs/e/eval",
        options=("device",),
    ),
}

EMBED = Command(
    "embed",
    "foreact.perception.omnivorous.embed",
    "EmbedConfig",
    "embed_set",
    "Write what an encoder sees in a set of pictures.",
    "foreact embed data/scenes encoder=runs/e out=runs/e/features",
    positional=("path",),
    options=("device",),
)
