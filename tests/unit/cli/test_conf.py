"""The YAML files that ship: each named configuration fits its dataclass and is as large as it says."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from foreact.cli import conf
from foreact.cli.commands import COMMANDS, Command
from foreact.cli.compose import compose, group_options
from foreact.cli.door import build

FOLDER = Path(conf.__file__).parent
GROUPS = sorted({file.parent.relative_to(FOLDER) for file in FOLDER.glob("*/**/*.yaml")})
REQUIRED = {
    "train": ["data=x", "out=y"],
    "train-worldmodel": ["data=x", "out=y"],
    "train-pixels": ["data=x", "out=y"],
    "train-encoder": ["data=x", "out=y"],
    "train-speech": ["data=x", "out=y"],
    "train-onsets": ["data=x", "out=y"],
    "compress": ["model=a.onnx", "policy=b", "out=c.onnx", "data=d"],
}


def rows(commands: Iterable[Command]) -> Iterator[Command]:
    """Commands with all their variants."""
    for command in commands:
        yield command
        yield from rows(each for each in command.variants.values() if each)


def command_of(name: str) -> Command:
    return next(command for command in rows(COMMANDS) if (command.conf or command.name) == name)


def configured(name: str, *overrides: str) -> Any:
    config_type, _ = command_of(name).load()
    return build(config_type, compose(name, config_type, [*REQUIRED[name], *overrides]))


def test_every_yaml_file_belongs_to_a_command() -> None:
    names = {file.relative_to(FOLDER).parts[0].removesuffix(".yaml") for file in FOLDER.glob("**/*.yaml")}
    assert names and names <= {command.conf or command.name for command in rows(COMMANDS)}


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_every_named_configuration_fits_its_dataclass(group: Path) -> None:
    command, key = group.parts[0], ".".join(group.parts[1:])
    options = group_options(command, key)
    built = [configured(command, f"{key}={option}") for option in options]
    assert len({repr(each) for each in built}) == len(options) >= 2


def test_the_smallest_policy_is_the_default_of_the_dataclass() -> None:
    from foreact.vla.policy import PolicyConfig

    assert configured("train").policy == configured("train", "policy=tiny").policy == PolicyConfig()


@pytest.mark.parametrize(("name", "millions"), [("tiny", 1.6), ("small", 5.3), ("base", 22.0)])
def test_a_policy_is_as_large_as_its_file_says(name: str, millions: float) -> None:
    from foreact.sim.metaworld import policy_contract

    policy = configured("train", f"policy={name}").policy.build(policy_contract())
    assert sum(weights.numel() for weights in policy.parameters()) / 1e6 == pytest.approx(millions, abs=0.5)
