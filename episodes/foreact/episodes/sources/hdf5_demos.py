"""Demonstrations in HDF5 as robomimic, robosuite and LIBERO write them: data/demo_0/{actions,obs/*,states,...}.

Shape letters: n = steps.
"""

from __future__ import annotations

from typing import Any

from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON
from foreact.episodes.sources.hdf5_file import Hdf5
from foreact.episodes.sources.parts import Part, PartsSource
from foreact.episodes.sources.protocol import SourceError
from foreact.episodes.sources.steps import Column, Steps, column_part, distinct, numbered, timed

__all__ = ["open_demo"]

REPEATED = "next_obs"
ABOUT = {
    "states": "the simulator's state, flattened",
    "actions": "as the controller takes them; what they mean is in metadata env_args",
}


def open_demo(key: str, file: Hdf5, demo: str) -> PartsSource:
    """Open one demonstration.

    Raises:
        SourceError: It has no actions, or nothing that can be read.
    """
    group = f"data/{demo}"
    where = f"{file.path}: {demo}"
    tables = {name: table for name, table in file.tables(group, deep=True).items() if table.ndim}
    if "actions" not in tables:
        raise SourceError(f"{where} has no actions that can be read. {'; '.join(file.notes)}")
    count = len(tables["actions"])
    metadata = _metadata(file, group)
    steps = _steps(metadata)
    notes = [*steps.notes, *file.notes]
    parts: list[tuple[str, Part]] = []
    for name, table in tables.items():
        if name.startswith(f"{REPEATED}/"):
            continue
        if len(table) != count:
            notes.append(f"{name} is left out: {len(table)} steps where the actions have {count}")
            continue
        about: dict[str, Any] = {"description": ABOUT[name]} if name in ABOUT else {}
        parts.append((name, column_part(Column(f"{where}: {name}", table, 0, count), name, steps, **about)))
    if any(name.startswith(f"{REPEATED}/") for name in tables):
        notes.append(f"{REPEATED} is left out: the observations one step later")
    if metadata.get("num_samples") not in (None, count):
        notes.append(f"num_samples says {metadata['num_samples']}, there are {count} actions")
    return PartsSource(key, distinct(parts), task=_task(metadata), metadata=metadata, notes=notes, close=file.close)


def _metadata(file: Hdf5, group: str) -> dict[str, JSON]:
    """Attributes of the data set and of the demonstration; JSON in them is parsed, models of the scene are left out."""
    found = {**file.attributes("data"), **file.attributes(group)}
    if found.pop("model_file", None) is not None:
        file.notes.append("model_file, the scene as MJCF, is left out of the metadata")
    for name, value in found.items():
        if isinstance(value, str) and value.startswith(("{", "[")):
            try:
                found[name] = strictjson.loads(value)
            except (ValueError, RecursionError):
                continue  # not JSON after all: the text stays
    return found


def _steps(metadata: dict[str, JSON]) -> Steps:
    arguments = metadata.get("env_args")
    kwargs = arguments.get("env_kwargs") if isinstance(arguments, dict) else None
    if isinstance(kwargs, dict) and "control_freq" in kwargs:
        return timed(kwargs["control_freq"], "env_args.env_kwargs.control_freq")
    return numbered()


def _task(metadata: dict[str, JSON]) -> str:
    """LIBERO says it in problem_info, RoboCasa in ep_meta; robomimic not at all."""
    for field, name in (("problem_info", "language_instruction"), ("ep_meta", "lang")):
        about = metadata.get(field)
        text = about.get(name) if isinstance(about, dict) else None
        if isinstance(text, str):
            return text.strip().strip('"')
    return ""
