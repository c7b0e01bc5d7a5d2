"""The demo's settings against the real commands: everything it would type fits, and what does not is refused."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from foreact.cli.demo import DemoConfig, demo
from foreact.cli.demo_stages import check, plan
from foreact.cli.door import DoorError


@pytest.fixture
def config(tmp_path: Path) -> DemoConfig:
    return DemoConfig(tmp_path / "latest")


def test_every_stage_fits_its_command(config: DemoConfig) -> None:
    check(plan(config))
    check(plan(dataclasses.replace(config, train={"policy": "base", "optimisation": {"updates": 3}})))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": {"optimisation": {"update": 3}}}, r"optimisation\.update'.*Did you mean optimisation\.updates"),
        ({"compress": {"recipe": "int3"}}, "recipe=int3.*Did you mean int8"),
        ({"run": {"secnds": 3}}, "Did you mean seconds"),
    ],
)
def test_a_setting_that_does_not_fit_ends_the_demo_before_it_begins(
    changes: dict[str, Any], words: str, config: DemoConfig
) -> None:
    with pytest.raises(DoorError, match=words):
        demo(dataclasses.replace(config, **changes))
    assert not config.out.exists()


def test_an_unknown_task_ends_the_demo_before_it_begins(config: DemoConfig) -> None:
    with pytest.raises(ValueError, match="push"):
        demo(dataclasses.replace(config, tasks=("reach", "pusch")))
    assert not config.out.exists()
