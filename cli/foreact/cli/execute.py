"""Run one command: compose its configuration, say what will be done, do it, report it, or fail with one block."""

import dataclasses
import json
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from foreact.cli.commands import Command
from foreact.cli.door import DoorError, build, key_names, near
from foreact.cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, explain, print_block
from foreact.episodes.runfolder import jsonable

__all__ = ["Request", "execute", "failures_as_blocks", "flatten", "overrides_of"]


@dataclass(frozen=True)
class Request:
    """What was typed after the command's name.

    Args:
        arguments: positional arguments: overrides, and values of the command's positional keys.
        options: keys given as options, such as {"device": "cuda"}.
        json_file: where to write the figures.
        config_file: `run.json` of an earlier run whose configuration is the starting point.
        dry_run: only show the resolved configuration.
        debug: show the whole trace of a failure.
    """

    arguments: tuple[str, ...]
    options: dict[str, str]
    json_file: Path | None = None
    config_file: Path | None = None
    dry_run: bool = False
    debug: bool = False


@contextmanager
def failures_as_blocks(name: str, *, debug: bool) -> Iterator[None]:
    """Turn whatever goes wrong inside into one block on standard error and an exit code.

    Args:
        name: the command, without "foreact".
        debug: let the exception through with its trace.
    """
    console = Console(stderr=True)
    typed = f"foreact {name}"
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"{typed} was interrupted. What was finished is kept: type the same command again to resume.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if debug:
            traceback.print_exception(error)
        print_block(console, typed, explain(error, typed))
        raise typer.Exit(EXIT_FAILED) from None


def execute(command: Command, request: Request) -> None:
    """Run a command from what was typed to its exit code.

    Args:
        command: its row of the command table.
        request: what was typed after its name.

    Raises:
        typer.Exit: with a non-zero code, after a failure was printed.
    """
    from foreact.cli.progress import progress_on
    from foreact.cli.report import output_console, print_outcome, write_figures

    with failures_as_blocks(command.name, debug=request.debug):
        _refuse_folder(request.json_file)
        command = command.chosen(request.arguments)
        config_type, function = command.load()
        config = resolve(command, config_type, request)
        output = output_console()
        if request.dry_run:
            _print_lines(output, [f"{key}={_shown(value)}" for key, value in flatten(config).items()])
            return
        _print_lines(output, [f"foreact {command.name}", *_plan(config)])
        with progress_on(Console(stderr=True)) as progress:
            outcome = function(config, progress)
        if request.json_file is not None:
            write_figures(request.json_file, command.name, outcome)
        print_outcome(output, outcome)
        if getattr(outcome, "failed", False):  # reports of rooms that may not import Outcome lack it
            raise typer.Exit(EXIT_FAILED)


def resolve(command: Command, config_type: type[Any], request: Request) -> Any:
    """Compose and convert the configuration.

    Args:
        command: its row of the command table.
        config_type: its configuration dataclass.
        request: what was typed after its name.

    Raises:
        DoorError: something typed does not fit.
    """
    from foreact.cli.compose import compose

    overrides = overrides_of(command, key_names(config_type), request)
    base = _base_config(command, request.config_file) if request.config_file else None
    return build(config_type, compose(command.conf or command.name, config_type, overrides, base))


def overrides_of(command: Command, keys: Sequence[str], request: Request) -> list[str]:
    """Put positional values and options into the form of overrides.

    Args:
        command: its row of the command table.
        keys: every key of its configuration, for near matches.
        request: what was typed after its name.

    Raises:
        DoorError: more bare values than positional keys, or a key given twice.
    """
    given = {argument.lstrip("+").partition("=")[0] for argument in request.arguments if "=" in argument}
    overrides: list[str] = []
    free = [key for key in command.positional if key not in given]
    for argument in request.arguments:
        if "=" in argument or argument.startswith("~"):
            overrides.append(argument)
        elif free:
            overrides.append(f"{free.pop(0)}={argument}")
        else:
            raise DoorError(f"'{argument}' has no key. Type key=value.{near(argument, list(keys))}")
    for key, value in request.options.items():
        if key in given:
            raise DoorError(f"{key} is given twice: as --{key} {value} and as {key}=...; keep one")
        overrides.append(f"{key}={value}")
    return overrides


def _base_config(command: Command, file: Path) -> dict[str, Any]:
    record = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        raise DoorError(f"{file} is not the run.json of a run: it has no 'config'")
    if record.get("kind") != command.name:
        raise DoorError(f"{file} is a run of `foreact {record.get('kind')}`, not of `foreact {command.name}`")
    return record["config"]


def _refuse_folder(file: Path | None) -> None:
    if file is not None and file.is_dir():
        raise DoorError(f"--json {file} is a folder. Give the name of a file in it, such as {file / 'figures.json'}")


def flatten(config: object) -> dict[str, Any]:
    """List every key of a configuration with its value, nested ones under dotted names.

    Args:
        config: a configuration dataclass, or its fields by name.
    """
    flat: dict[str, Any] = {}

    def visit(value: Any, where: str) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                visit(inner, f"{where}.{key}" if where else key)
        else:
            flat[where] = value

    visit(jsonable(config), "")
    return flat


def _plan(config: object) -> list[str]:
    defaults = _defaults_of(config)
    lines = [f"  {key}={_shown(value)}" for key, value in flatten(config).items() if defaults.get(key, ...) != value]
    return [*lines, "  other keys at their defaults; see them with --dry-run"]


def _defaults_of(config: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory()
    return flatten(defaults)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(_shown(item) for item in value) + "]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _print_lines(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
