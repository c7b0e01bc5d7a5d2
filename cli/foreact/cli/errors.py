"""One clear block for a failure: what was wrong, where, and what to type."""

import traceback
from pathlib import Path

from rich.console import Console

__all__ = ["EXIT_FAILED", "EXIT_INTERRUPTED", "EXIT_USAGE", "explain", "print_block"]

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

USER_ERRORS = (ValueError, OSError, RuntimeError)


def explain(error: BaseException, command: str) -> str:
    """Turn an exception into what was wrong, where, and what to type.

    Args:
        error: what a command raised.
        command: the command as typed, for the hint.
    """
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _explain_missing(error, error.name)
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{error.filename} does not exist. Check the path you gave to `{command}`."
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror or error}: {error.filename}"
    if isinstance(error, USER_ERRORS) and str(error):
        return str(error)
    where = _last_frame(error)
    return (
        f"foreact itself failed: {type(error).__name__}: {error}\n"
        f"Where: {where}\nThis is a defect; see the whole trace with: {command} --debug"
    )


def _explain_missing(error: ModuleNotFoundError, module: str) -> str:
    from foreact.cli.installed import extra_of

    extra = extra_of(module)
    if extra is None:
        return f"{error}. Where: {_last_frame(error)}"
    name = f"foreact[{extra}]" if extra else "foreact"
    return f"this command needs the package '{module}', which is not installed. Type: pip install '{name}'"


def _last_frame(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "unknown"
    own = [frame for frame in frames if "foreact" in Path(frame.filename).parts] or frames
    return f"{own[-1].filename}:{own[-1].lineno} in {own[-1].name}"


def print_block(console: Console, command: str, text: str) -> None:
    """Print one failure.

    Args:
        console: the console of standard error.
        command: which command failed, such as "foreact train".
        text: what was wrong, where, and what to type.
    """
    console.print(f"[bold red]{command} failed[/bold red]")
    console.print(text, markup=False, highlight=False, soft_wrap=True)
