"""Rows of the command table that are about encoders of pictures and sound."""

from collections.abc import Mapping

from foreact.cli.command import Command

__all__ = ["EMBED", "EVAL_SENSES", "RECORD_SENSES", "TRAIN_SENSES"]

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
    "speech=*": Command(
        "train",
        "foreact.perception.audio.train",
        "TrainSpeechConfig",
        "train_speech",
        "Train an encoder that writes down commands while they are spoken.",
        "foreact train speech=tiny data=data/speech out=runs/s",
        options=("device", "seed"),
        conf="train-speech",
    ),
    "onsets=*": Command(
        "train",
        "foreact.perception.audio.onset_train",
        "TrainOnsetsConfig",
        "train_onsets",
        "Train a network that hears when things strike each other.",
        "foreact train onsets=tiny data=data/sounds out=runs/o",
        options=("device", "seed"),
        conf="train-onsets",
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
    "speech=*": Command(
        "eval",
        "foreact.perception.audio.evaluate",
        "EvaluateSpeechConfig",
        "evaluate_speech",
        "Score a speech model on voices it never heard: words and whole sentences, by delay.",
        "foreact eval speech=runs/s data=data/speech_held_out",
        options=("device", "seed"),
    ),
    "onsets=*": Command(
        "eval",
        "foreact.perception.audio.onset_train",
        "EvaluateOnsetsConfig",
        "evaluate_onsets",
        "Score a network that hears onsets on sounds it never heard.",
        "foreact eval onsets=runs/o data=data/sounds_held_out",
        options=("device", "seed"),
    ),
}

RECORD_SENSES: Mapping[str, Command | None] = {
    "scenes": Command(
        "record",
        "foreact.sim.still.record",
        "RecordScenesConfig",
        "record_scenes",
        "Draw many scenes in colours, depth, segments and classes, to learn seeing from.",
        "foreact record scenes scenes=4096 out=data/scenes",
        positional=("target",),
        options=("seed", "device"),
        conf="record-scenes",
    ),
    "speech": Command(
        "record",
        "foreact.perception.audio.synthesis",
        "RecordSpeechConfig",
        "record_speech",
        "Let many voices say sentences, to learn hearing from.",
        "foreact record speech sentences=[push the cube,open the drawer] out=data/speech",
        positional=("target",),
        options=("seed",),
        conf="record-speech",
    ),
    "sounds": Command(
        "record",
        "foreact.sim.sound.record",
        "RecordSoundsConfig",
        "record_sounds",
        "Render what contacts of simulated things sound like, with when they struck.",
        "foreact record sounds out=data/sounds",
        positional=("target",),
        options=("seed",),
        conf="record-sounds",
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
