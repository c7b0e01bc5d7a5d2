"""The `foreact` command: Typer in front of the command table. Importing it loads no room and no heavy package."""

import inspect
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from foreact.cli.commands import COMMANDS, DOCTOR, Command
from foreact.cli.execute import Request, execute, failures_as_blocks

__all__ = ["add_command", "app", "main"]

app = typer.Typer(
    name="foreact",
    help="Foresee, then act: train a policy in simulation, compress it, run it on the robot.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="Overrides, such as out=data/x or tasks=\\[reach,push].", show_default=False
    ),
]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the figures as JSON.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Start from the run.json of an earlier run.", exists=True, dir_okay=False
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show every key and its value, and stop.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the whole trace of a failure.")]

KEY_OPTIONS: dict[str, Any] = {
    "device": Annotated[str | None, typer.Option("--device", metavar="cpu|cuda|cuda:N", help="Where to compute.")],
    "seed": Annotated[int | None, typer.Option("--seed", metavar="N", help="What everything random comes from.")],
    "agent": Annotated[
        str | None, typer.Option("--agent", metavar="zero|random|expert", help="Play without a policy, as a check.")
    ],
    "web": Annotated[bool | None, typer.Option("--web", help="Serve a viewer to the browser of this machine.")],
    "anonymise": Annotated[
        str | None, typer.Option("--anonymise", metavar="MODEL", help="Blur what this ONNX detector finds.")
    ],
}
SHARED: dict[str, tuple[Any, Any]] = {
    "overrides": (Overrides, None),
    "json_file": (JsonFile, None),
    "config_file": (ConfigFile, None),
    "dry_run": (DryRun, False),
    "debug": (Debug, False),
}


def _wrapper(command: Command) -> Callable[..., None]:
    """Make the function Typer calls: shared options, and the keys this command also takes as options."""
    declared = dict(SHARED) | {key: (KEY_OPTIONS[key], None) for key in command.options}

    def wrapper(**given: Any) -> None:
        options = {key: str(given[key]) for key in command.options if given[key] is not None}
        execute(
            command,
            Request(
                tuple(given["overrides"] or ()),
                options,
                given["json_file"],
                given["config_file"],
                given["dry_run"],
                given["debug"],
            ),
        )

    kind = inspect.Parameter.KEYWORD_ONLY
    wrapper.__signature__ = inspect.Signature(
        [inspect.Parameter(name, kind, default=value, annotation=hint) for name, (hint, value) in declared.items()]
    )
    wrapper.__annotations__ = {name: hint for name, (hint, _) in declared.items()}
    wrapper.__doc__ = command.help
    return wrapper


def _epilog(command: Command) -> str:
    example = command.example.replace("[", "\\[")
    key = command.by or next(iter(command.positional), "")
    variants = ((name.replace("*", "..."), each) for name, each in command.variants.items())
    named = ((name if "=" in name else f"{key}={name}", each) for name, each in variants)
    others = [f"{name}: {each.help}" for name, each in named if each is not None]
    return "\n\n".join([f"Example: {example}", *others])


def add_command(to: typer.Typer, command: Command) -> None:
    """Give a Typer application one more command.

    Args:
        to: the application.
        command: a row of the command table.
    """
    to.command(command.name, help=command.help, epilog=_epilog(command))(_wrapper(command))


for _command in COMMANDS:
    add_command(app, _command)


@app.command("doctor")
def doctor(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[dataset PATH]", help="A data set to examine instead of the machine.")
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Import every package, render and decode a picture.")] = False,
    json_file: JsonFile = None,
    debug: Debug = False,
) -> None:
    """Show machine, versions, devices, renderer and decoder; say what is missing and what to type."""
    if what:
        execute(DOCTOR, Request(tuple(what), {}, json_file, debug=debug))
        return
    from foreact.cli.doctor import run_doctor

    with failures_as_blocks("doctor", debug=debug):
        if not run_doctor(deep=deep, json_file=json_file):
            raise typer.Exit(1)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"foreact {metadata.version('foreact')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Hold the options that come before a command's name."""


def main() -> None:
    """Run the command line."""
    app()
