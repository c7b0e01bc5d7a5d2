"""Tasks by name."""

import subprocess
import sys
from dataclasses import dataclass

import pytest

from foreact.sim import registry
from foreact.sim.registry import TaskRegistry, UnknownTask


@pytest.fixture
def small() -> TaskRegistry:
    tasks = TaskRegistry()
    tasks.register("drawer-open-v3", "no.such.module:definition", alias="drawer-open")
    tasks.register("drawer-close-v3", "foreact.sim.definitions:nothing", alias="drawer-close")
    return tasks


def test_aliases_lead_to_full_names() -> None:
    assert registry.resolve(["reach", "button-press-topdown", "push-v3"]) == (
        "reach-v3",
        "button-press-topdown-v3",
        "push-v3",
    )


def test_unknown_name_lists_near_matches() -> None:
    with pytest.raises(UnknownTask, match=r"'drawr-open': did you mean drawer-open-v3, .*foreact tasks"):
        registry.resolve(["drawr-open"])


def test_part_of_a_name_is_a_near_match() -> None:
    with pytest.raises(UnknownTask, match="handle-press-side-v3"):
        registry.resolve(["side"])


def test_nothing_near_is_said_so() -> None:
    with pytest.raises(UnknownTask, match="nothing comes near"):
        registry.resolve(["xyzzy"])


def test_no_task_and_a_task_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="no task given"):
        registry.resolve([])
    with pytest.raises(ValueError, match="reach-v3 is given more than once"):
        registry.resolve(["reach", "push", "reach-v3"])


@pytest.mark.parametrize(
    ("name", "alias"), [("drawer-open-v3", None), ("drawer-open", None), ("new", "drawer-close-v3")]
)
def test_a_taken_name_is_refused(small: TaskRegistry, name: str, alias: str | None) -> None:
    with pytest.raises(ValueError, match="already registered"):
        small.register(name, "package.module:function", alias)
    assert small.names == ("drawer-open-v3", "drawer-close-v3")


@pytest.mark.parametrize("target", ["package.module", ":function", "package:"])
def test_a_malformed_target_is_refused(small: TaskRegistry, target: str) -> None:
    with pytest.raises(ValueError, match="package.module:attribute"):
        small.register("new", target)


def test_targets_are_imported_on_use_only(small: TaskRegistry) -> None:
    assert small.resolve("drawer-open") == "drawer-open-v3"
    with pytest.raises(ModuleNotFoundError):
        small.definition("drawer-open")
    with pytest.raises(ImportError, match="has no 'nothing'"):
        small.definition("drawer-close")


@dataclass
class _Point:
    name: str
    value: str


def test_plugins_add_tasks_and_may_not_replace_one(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [_Point("stack-cubes", "builtins:str")]
    monkeypatch.setattr(registry.metadata, "entry_points", lambda group: points if group == "foreact.tasks" else [])
    registry._registry.cache_clear()
    try:
        assert registry.definition("stack-cubes") == "stack-cubes"
        points.append(_Point("reach-v3", "builtins:str"))
        registry._registry.cache_clear()
        with pytest.raises(ValueError, match="'reach-v3' is already registered"):
            registry.names()
    finally:
        registry._registry.cache_clear()


def test_a_definition_carries_the_texts_and_loads_no_simulator() -> None:
    code = (
        "import sys; from foreact.sim.registry import definition, names; d = definition('push');"
        "assert (len(names()) >= 50, d.text.main) == (True, 'push the puck to the goal');"
        "heavy = {'mujoco', 'mujoco_warp', 'warp', 'metaworld', 'torch', 'PIL', 'zarr'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
