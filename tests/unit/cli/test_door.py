"""The door: plain values become the frozen dataclass, or an error that says what to type."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from foreact.cli.door import DoorError, build, field_type, key_names, near


@dataclass(frozen=True)
class Head:
    kind: Literal["l1", "flow"] = "l1"
    width: int = 64


@dataclass(frozen=True)
class Config:
    out: Path
    tasks: tuple[str, ...] = ("reach",)
    size: tuple[int, int] = (96, 96)
    rate: float = 0.5
    steps: int | None = None
    resume: bool = False
    scale: int | str = 1
    weights: dict[str, float] = field(default_factory=dict)
    head: Head = field(default_factory=Head)

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"rate must not be negative, got {self.rate}")


def test_everything_is_converted_to_its_declared_type() -> None:
    given = {
        "out": "~/x",
        "tasks": ["push", "reach"],
        "size": [64, 48],
        "rate": 1,
        "steps": 10,
        "resume": True,
        "scale": "auto",
        "weights": {"push": 2},
        "head": {"kind": "flow"},
    }
    config = build(Config, given)
    assert config == Config(
        Path.home() / "x", ("push", "reach"), (64, 48), 1.0, 10, True, "auto", {"push": 2.0}, Head("flow", 64)
    )
    assert type(config.rate) is float and type(config.weights["push"]) is float and type(config.tasks) is tuple


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("rate", "fast", "rate must be a number, got 'fast' (str). Type: rate=0.5"),
        ("rate", True, "rate must be a number, got True (bool)"),
        ("steps", 1.5, "steps must be a whole number, got 1.5 (float)"),
        ("resume", 1, "resume must be true or false, got 1 (int). Type: resume=true"),
        ("tasks", "push", "tasks must be a list, got 'push' (str). Type: tasks=[push]"),
        ("tasks", ["push", 3], "tasks[1] must be a text, got 3 (int)"),
        ("size", [96], "size must have 2 values, got 1: [96]"),
        ("out", None, "out must be a path, got None"),
        ("head", "flow", "head must be a group of keys (kind, width)"),
        ("head", {"kind": "flwo"}, "head.kind must be one of l1, flow; got 'flwo'. Did you mean flow?"),
        ("head", {"wdith": 3}, "unknown key 'head.wdith'. Did you mean head.width?"),
        ("weights", {"push": "x"}, "weights.push must be a number"),
        ("scale", [1], "scale fits none of its types"),
        ("width", 3, "unknown key 'width'. Did you mean head.width?"),
        ("zzz", 3, "unknown key 'zzz'. Known: "),
        ("rate", -1.0, "rate must not be negative, got -1.0"),
    ],
)
def test_a_misfit_says_what_to_type(key: str, value: Any, said: str) -> None:
    with pytest.raises(DoorError) as caught:
        build(Config, {"out": "x", key: value})
    assert said in str(caught.value)


def test_a_missing_key_is_named_with_what_to_type() -> None:
    with pytest.raises(DoorError, match=r"out must be given\. Type: out=PATH"):
        build(Config, {})


def test_keys_and_their_types_are_found_by_dotted_name() -> None:
    assert "head.width" in key_names(Config)
    assert field_type(Config, "head.width") is int
    assert field_type(Config, "head.depth") is None


def test_near_matches_prefer_the_same_last_name() -> None:
    assert near("policy.width", ["head.width", "policy.depth"]).startswith(" Did you mean head.width")


@dataclass(frozen=True)
class Walking:
    gait: Literal["walk"] = "walk"
    legs: int = 2


@dataclass(frozen=True)
class Rolling:
    gait: Literal["roll"] = "roll"
    wheels: int = 4


@dataclass(frozen=True)
class Robot:
    body: Walking | Rolling = field(default_factory=Walking)


def test_dataclasses_of_a_union_are_told_apart_by_their_label() -> None:
    assert build(Robot, {"body": {"gait": "roll", "wheels": 3}}).body == Rolling(wheels=3)
    assert build(Robot, {"body": {"legs": 6}}).body == Walking(legs=6), "without the label the first is meant"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"gait": "rol"}, r"body.gait must be one of walk, roll; got 'rol'. Did you mean roll\?"),
        ({"gait": "roll", "legs": 2}, r"unknown key 'body.legs'. Known: body.gait, body.wheels"),
        ({"gait": "roll", "weels": 2}, r"unknown key 'body.weels'. Did you mean body.wheels\?"),
        ({"wheels": 2}, r"unknown key 'body.wheels'"),
    ],
)
def test_keys_of_another_member_of_a_union_are_unknown(values: dict[str, Any], said: str) -> None:
    with pytest.raises(DoorError, match=said):
        build(Robot, {"body": values})


def test_each_key_of_a_union_is_listed_once() -> None:
    assert key_names(Robot) == ["body", "body.gait", "body.legs", "body.wheels"]
