"""The command line: overrides and options in, exit codes, one block for a failure, figures as JSON."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from foreact.cli.app import add_command, app
from foreact.cli.commands import COMMANDS, Command
from foreact.episodes.outcome import Outcome, ProgressFn
from foreact.episodes.runfolder import RunFolder

MODULE = "house_test_room"


@dataclass(frozen=True)
class Net:
    width: int = 8


@dataclass(frozen=True)
class Config:
    out: Path
    tasks: tuple[str, ...] = ("reach",)
    device: str = "cpu"
    seed: int = 0
    note: str | None = None
    net: Net = field(default_factory=Net)


class Room(ModuleType):
    """A room with one command; it remembers the configurations it was called with."""

    def __init__(self) -> None:
        super().__init__(MODULE)
        self.Config = Config
        self.calls: list[Config] = []
        self.failure: BaseException | None = None

    def work(self, config: Config, progress: ProgressFn) -> Outcome:
        self.calls.append(config)
        progress(1, 2, "working [x]")
        if self.failure is not None:
            raise self.failure
        return Outcome(config.out, {"success_mean": 0.5}, ("task [name]", "success"), (("reach", "0.5"),))


type Type = Callable[..., Result]


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    made = Room()
    monkeypatch.setitem(sys.modules, MODULE, made)
    return made


@pytest.fixture
def typed(room: Room) -> Type:
    """Type a line to an application that has the command `work`."""
    application = typer.Typer(pretty_exceptions_enable=False)
    application.callback()(lambda: None)
    add_command(
        application,
        Command("work", MODULE, "Config", "work", "Work.", "foreact work", ("out",), ("device", "seed")),
    )
    return lambda *arguments: CliRunner().invoke(application, ["work", *arguments])


def flat(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


def test_overrides_and_options_reach_the_room_as_a_dataclass(typed: Type, room: Room) -> None:
    result = typed(
        "data/a b", "tasks=[push,door-open]", "net.width=16", "note=007, ok", "--device", "cuda:1", "--seed", "3"
    )
    assert result.exit_code == 0, result.stderr
    assert room.calls == [Config(Path("data/a b"), ("push", "door-open"), "cuda:1", 3, "007, ok", Net(16))]
    assert "success" in result.stdout and "task [name]" in result.stdout
    assert result.stdout.rstrip().endswith("data/a b")
    assert "working [x]: 1/2" in result.stderr


def test_json_holds_the_figures_and_the_path(typed: Type, tmp_path: Path) -> None:
    assert typed("x", "--json", str(tmp_path / "new" / "f.json")).exit_code == 0
    written = json.loads((tmp_path / "new" / "f.json").read_text())
    assert written == {"command": "work", "path": "x", "figures": {"success_mean": 0.5}}


def test_a_failure_writes_no_json_and_shows_one_block(typed: Type, room: Room, tmp_path: Path) -> None:
    room.failure = ValueError("action.elements differ: expected ('x',), got ('y',)")
    result = typed("x", "--json", str(tmp_path / "f.json"))
    assert result.exit_code == 1
    assert "foreact work failed action.elements differ: expected ('x',), got ('y',)" in flat(result)
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_trace(typed: Type, room: Room) -> None:
    room.failure = ValueError("wrong")
    assert "Traceback" in typed("x", "--debug").stderr


def test_a_defect_says_where_and_how_to_see_the_trace(typed: Type, room: Room) -> None:
    room.failure = KeyError("lost")
    result = typed("x")
    assert result.exit_code == 1
    assert (
        "KeyError" in flat(result)
        and re.search(r"Where: \S+\.py:\d+ in \w+", result.stderr)
        and "--debug" in flat(result)
    )


def test_a_missing_package_names_its_extra(typed: Type, room: Room) -> None:
    room.failure = ModuleNotFoundError("No module named 'mujoco_warp'", name="mujoco_warp")
    result = typed("x")
    assert result.exit_code == 1 and "pip install 'foreact[sim]'" in flat(result)


def test_an_interrupt_exits_130_and_says_how_to_resume(typed: Type, room: Room) -> None:
    room.failure = KeyboardInterrupt()
    result = typed("x")
    assert result.exit_code == 130 and "type the same command again to resume" in flat(result)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "out must be given. Type: out=PATH"),
        (("x", "taks=[a]"), "unknown key 'taks'. Did you mean tasks?"),
        (("x", "tasks=push"), "Type: tasks=[push]"),
        (("x", "seed=many"), "seed must be a whole number, got 'many'"),
        (("x", "tasks=[push"), "the overrides do not make a configuration"),
        (("x", "net.widht=2"), "unknown key 'net.widht'. Did you mean net.width?"),
        (("x", "seed=1", "--seed", "2"), "seed is given twice"),
        (("x", "y"), "'y' has no key"),
        (("x", "--json", "."), "is a folder"),
    ],
)
def test_what_does_not_fit_stops_at_the_door(typed: Type, room: Room, arguments: tuple[str, ...], said: str) -> None:
    result = typed(*arguments)
    assert result.exit_code == 1 and said in flat(result)
    assert not room.calls


def test_a_run_can_be_run_again_from_its_record(typed: Type, room: Room, tmp_path: Path) -> None:
    first = Config(Path("x"), ("push",), seed=5, net=Net(32))
    run = RunFolder.create(tmp_path, "work", first, seed=5)
    assert typed("--config", str(run.path / "run.json"), "net.width=33").exit_code == 0
    assert room.calls == [Config(Path("x"), ("push",), seed=5, net=Net(33))]


def test_a_record_of_another_command_is_refused(typed: Type, room: Room, tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "record", Config(Path("x")), seed=0)
    result = typed("--config", str(run.path / "run.json"))
    assert result.exit_code == 1 and "is a run of `foreact record`" in flat(result)
    assert not room.calls


def test_a_dry_run_shows_every_key_and_does_nothing(typed: Type, room: Room) -> None:
    result = typed("x", "--dry-run")
    assert result.exit_code == 0 and not room.calls
    assert result.stdout.split() == ["out=x", "tasks=[reach]", "device=cpu", "seed=0", "note=null", "net.width=8"]


def test_an_unknown_command_exits_2_with_a_near_match() -> None:
    result = CliRunner().invoke(app, ["trian"])
    assert result.exit_code == 2 and "train" in flat(result)


def test_the_version_is_shown() -> None:
    assert re.fullmatch(r"foreact \d+\.\d+\.\d+\n", CliRunner().invoke(app, ["--version"]).stdout)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_table_names_what_exists(command: Command) -> None:
    config_type, function = command.load()
    names = {each.name for each in fields(config_type)}
    assert set(command.positional) | set(command.options) <= names
    assert callable(function)
    assert config_type.__dataclass_params__.frozen
    assert any(word.startswith(command.name) for word in command.example.split()[1:])


@pytest.mark.parametrize(
    ("typed", "config"),
    [
        ((), "BenchConfig"),
        (("kernels", "batch=2"), "BenchConfig"),
        (("seed=1", "sim"), "SimBenchConfig"),
        (("+target=sim",), "SimBenchConfig"),
    ],
)
def test_a_first_value_chooses_the_variant(typed: tuple[str, ...], config: str) -> None:
    bench = next(command for command in COMMANDS if command.name == "bench")
    chosen = bench.chosen(typed)
    assert chosen.config == config and chosen.name == "bench"
    assert chosen.load()[0].__name__ == config


@pytest.mark.parametrize(
    ("name", "typed", "config"),
    [
        ("train", ("policy=tiny",), "TrainConfig"),
        ("train", ("data=x", "worldmodel=tiny"), "WorldModelConfig"),
        ("train", ("worldmodel=pixels",), "PixelTrainConfig"),
        ("eval", ("policy=x",), "EvalConfig"),
        ("eval", ("worldmodel=x", "data=y"), "EvalWorldModelConfig"),
        ("eval", ("worldmodel=x", "pictures=y"), "PixelEvaluationConfig"),
        ("fork", ("out=x",), "BranchesConfig"),
        ("fork", ("out=x", "pictured=4"), "DrawConfig"),
    ],
)
def test_a_key_chooses_among_models_of_the_world(name: str, typed: tuple[str, ...], config: str) -> None:
    command = next(command for command in COMMANDS if command.name == name)
    assert command.chosen(typed).load()[0].__name__ == config


def test_an_unknown_variant_is_told_the_known_ones() -> None:
    result = CliRunner().invoke(app, ["bench", "simulator"])
    assert result.exit_code == 1 and "target is 'simulator': choose from kernels, sim" in flat(result)


def test_help_imports_no_room() -> None:
    code = (
        "import sys; sys.argv = ['foreact', 'train', '--help']\n"
        "from foreact.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        "rooms = [m for m in sys.modules if m.startswith(('foreact.vla', 'foreact.sim', 'hydra', 'torch'))]\n"
        "sys.exit(f'{code} {rooms}' if code or rooms else 0)"
    )
    done: Any = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_key_may_choose_a_command_of_its_own() -> None:
    train = next(command for command in COMMANDS if command.name == "train")
    chosen = {
        "data=d out=o": "vla.train",
        "worldmodel=tiny data=d": "worldmodels.train",
        "worldmodel=pixels data=d": "worldmodels.pixels.train",
        "encoder=tiny data=d": "perception.omnivorous.train",
        "++encoder=tiny data=d": "perception.omnivorous.train",
    }
    for line, module in chosen.items():
        assert train.chosen(line.split()).module == f"foreact.{module}"
