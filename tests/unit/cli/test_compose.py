"""Composition: named configurations select YAML files, texts are taken as typed."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from foreact.cli.compose import compose, normalise
from foreact.cli.door import DoorError


@dataclass(frozen=True)
class Policy:
    width: int = 1
    name: str = ""


@dataclass(frozen=True)
class Config:
    out: Path = Path("x")
    policy: Policy = field(default_factory=Policy)
    names: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class WithGroupName:
    fit: Path | None = None


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A configuration package with one command, `fit`, and two named policies."""
    folder = tmp_path / "house_conf" / "fit" / "policy"
    folder.mkdir(parents=True)
    (tmp_path / "house_conf" / "__init__.py").write_text('"""Test configuration."""\n')
    (tmp_path / "house_conf" / "fit.yaml").write_text("defaults:\n  - fit/policy@policy: tiny\n  - _self_\n")
    (folder / "tiny.yaml").write_text("width: 8\nname: tiny\n")
    (folder / "base.yaml").write_text("width: 64\nname: base\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("foreact.cli.compose.CONF", "house_conf")
    return "fit"


def test_defaults_by_name_are_composed(conf: str) -> None:
    assert compose(conf, Config, []) == {"policy": {"width": 8, "name": "tiny"}}


def test_a_named_configuration_replaces_the_default_and_keys_refine_it(conf: str) -> None:
    composed = compose(conf, Config, ["policy=base", "policy.width=65"])
    assert composed == {"policy": {"width": 65, "name": "base"}}


def test_an_unknown_name_lists_near_matches(conf: str) -> None:
    with pytest.raises(DoorError, match=r"policy=tny: there is no such named configuration\. Did you mean tiny"):
        compose(conf, Config, ["policy=tny"])


def test_an_earlier_run_is_the_base_and_a_named_configuration_overrides_it(conf: str) -> None:
    base = {"out": "old", "policy": {"width": 9, "name": "mine"}}
    assert compose(conf, Config, [], base) == base
    assert compose(conf, Config, ["policy=base"], base) == {"out": "old", "policy": {"width": 64, "name": "base"}}


def test_a_named_configuration_leaves_nothing_of_the_base_under_its_key(conf: str) -> None:
    base = {"out": "old", "policy": {"width": 9, "name": "mine", "wheels": 4}}
    composed = compose(conf, Config, ["policy=base", "policy.width=7"], base)
    assert composed == {"out": "old", "policy": {"width": 7, "name": "base"}}
    assert base["policy"] == {"width": 9, "name": "mine", "wheels": 4}


def test_a_command_without_a_yaml_file_composes_from_overrides_alone(conf: str) -> None:
    assert compose("other", Config, ["policy.width=3"]) == {"policy": {"width": 3}}


@pytest.mark.parametrize(
    "text", ["a b", "~/x", "it's", "007", "a,b", "x=y", "back\\slash", "a\\'b", "end\\", "[1]", "{a}", "true"]
)
def test_texts_and_paths_are_taken_as_typed(conf: str, text: str) -> None:
    composed = compose(conf, Config, [f"out={text}", f"policy.name={text}"])
    assert composed["out"] == text and composed["policy"]["name"] == text


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("[24]", ["24"]), ("[00,1.0,true]", ["00", "1.0", "true"]), ("[]", []), ("[a, b c ,d]", ["a", "b c", "d"]),
        ("[action=hold, audio.*]", ["action=hold", "audio.*"]), ("['a,b',\"c\"]", ["a,b", "c"]),
    ],
)  # fmt: skip
def test_texts_of_a_list_are_taken_as_typed(conf: str, typed: str, names: list[str]) -> None:
    assert compose(conf, Config, [f"names={typed}", "counts=[24]"])["names"] == names
    assert compose(conf, Config, [f"names={typed}", "counts=[24]"])["counts"] == [24]


@pytest.mark.parametrize("override", ["alone", "=3", ""])
def test_what_is_no_override_is_refused(override: str) -> None:
    with pytest.raises(DoorError, match="is not an override"):
        normalise("fit", Config, override)


def test_a_key_may_be_called_like_a_folder_of_configurations(conf: str) -> None:
    assert compose("other", WithGroupName, ["fit=data/x"]) == {"fit": "data/x"}
    assert compose("other", WithGroupName, ["fit=data/x"], {"fit": "old", "seed": 1}) == {"fit": "data/x", "seed": 1}
