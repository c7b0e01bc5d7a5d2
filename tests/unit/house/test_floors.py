"""A room imports only rooms on lower floors; what runs on the robot imports almost nothing."""

import ast
import importlib
import re
import sys
import tomllib
from typing import Any

import pytest

from foreact.cli.installed import extra_of

FLOORS: dict[str, set[str]] = {
    "kernels": set(),
    "episodes": set(),
    "perception": {"kernels", "episodes"},
    "sim": {"episodes"},
    "worldmodels": {"kernels", "episodes", "perception", "sim"},
    "vla": {"kernels", "episodes", "perception", "sim", "worldmodels"},
    "deploy_edge": {"episodes"},
    "cli": {"kernels", "episodes", "perception", "sim", "worldmodels", "vla", "deploy_edge"},
}
# Compressing and exporting take a policy apart, a simulated robot needs a simulator; what runs on a real one neither.
ALSO = {
    "foreact.deploy_edge.compress": {"kernels", "perception", "vla"},
    "foreact.deploy_edge.export": {"kernels", "perception", "vla"},
    "foreact.deploy_edge.simulated_robot": {"sim"},
}
ROBOT = "foreact.deploy_edge.runtime"
ROBOT_MAY = {"numpy", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "cuda", "foreact"} | set(
    sys.stdlib_module_names
)
DOTTED = re.compile(r"foreact\.([a-z_]+)(\.\w+)*(:\w+)?")


def imported(tree: ast.AST) -> list[tuple[int, str]]:
    """Every imported module with its line, also inside functions, and modules named in strings for a later import."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and DOTTED.fullmatch(node.value):
            found.append((node.lineno, node.value))
    return found


def inside(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def allowed_rooms(room: str, module: str) -> set[str]:
    also = [rooms for package, rooms in ALSO.items() if inside(module, (package,))]
    return FLOORS[room].union({room}, *also)


def trespasses(room: str, module: str, tree: ast.AST) -> list[str]:
    allowed = allowed_rooms(room, module)
    rows = []
    for line, name in imported(tree):
        match = DOTTED.match(name)
        if match and match[1] in FLOORS and match[1] not in allowed:
            rows.append(f"{module}, line {line}: imports {name}, but {room} may import {sorted(allowed)}")
    return rows


def test_every_import_keeps_to_the_floors(sources: list[Any]) -> None:
    rows = [row for source in sources for row in trespasses(source.room, source.module, source.tree)]
    assert not rows, "\n" + "\n".join(rows)


def test_the_robot_runtime_imports_only_numpy_and_one_engine(sources: list[Any]) -> None:
    runtime = [source for source in sources if inside(source.module, (ROBOT,))]
    assert runtime, f"{ROBOT} was not found"
    rows = [
        f"{source.module}, line {line}: {name}"
        for source in runtime
        for line, name in imported(source.tree)
        if name.partition(".")[0] not in ROBOT_MAY
    ]
    assert not rows, "\n" + "\n".join(rows)


# Its worlds live on a device, where arrays are tensors.
ARRAYS_ARE_TENSORS = ("foreact.sim.backends.warp",)


def test_nothing_imports_torch_directly_in_the_data_rooms(sources: list[Any]) -> None:
    rows = [
        f"{source.module}, line {line}: {name}"
        for source in sources
        if source.room in ("episodes", "sim") and source.module not in ARRAYS_ARE_TENSORS
        for line, name in imported(source.tree)
        if name.partition(".")[0] in ("torch", "torchvision")
    ]
    assert not rows, "\n" + "\n".join(rows)


# A rival to be measured against, installed by whoever wants to; the error where it is missing says how.
BY_HAND = {"envpool", "envpool_assets"}


def test_every_third_party_import_is_brought_by_the_base_or_an_extra(sources: list[Any]) -> None:
    free = {"foreact", "_typeshed"} | set(sys.stdlib_module_names) | BY_HAND
    names = {name.partition(".")[0] for source in sources for _, name in imported(source.tree)} - free
    assert {"numpy", "torch"} <= names
    assert not {name: extra_of(name) for name in names if extra_of(name) in (None, "dev")}


@pytest.mark.parametrize(
    ("module", "code", "caught"),
    [
        ("foreact.episodes.x", "def f():\n    import foreact.sim.pictures", True),
        ("foreact.episodes.x", "from foreact import cli", True),
        ("foreact.sim.x", "from foreact.vla.policy import Policy", True),
        ("foreact.sim.x", "TABLE = {'a': 'foreact.vla.policy:Policy'}", True),
        ("foreact.deploy_edge.runtime.loop", "from foreact.sim.pictures import WorldPictures", True),
        ("foreact.deploy_edge.simulated_robot", "from foreact.vla.policy import Policy", True),
        ("foreact.deploy_edge.export", "from foreact.vla.checkpoint import load_policy", False),
        ("foreact.vla.x", "from foreact.sim.pictures import WorldPictures", False),
        ("foreact.sim.x", "'see foreact.vla for policies'", False),
        ("foreact.sim.x", "GROUP = 'foreact.tasks'", False),
    ],
)
def test_the_check_itself_sees_trespasses(module: str, code: str, caught: bool) -> None:
    assert bool(trespasses(module.split(".")[1], module, ast.parse(code))) is caught


def test_root_folders_are_not_packages(root: Any) -> None:
    assert not [*root.glob("*/__init__.py"), *root.glob("*/foreact/__init__.py")]
    assert not list((root / "tests").rglob("__init__.py"))


def test_every_entry_point_of_the_project_names_something_that_exists(root: Any) -> None:
    groups = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]
    targets = [target for group in groups.values() for target in group.values()]
    assert targets
    for target in targets:
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))
