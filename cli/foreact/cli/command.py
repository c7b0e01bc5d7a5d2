"""One row of the command table."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from foreact.cli.door import DoorError
from foreact.episodes.outcome import ProgressFn

__all__ = ["Command", "Report"]


class Report(Protocol):
    """What a command returns: an Outcome, or the like from a room that may not import it."""

    @property
    def path(self) -> Path | None:
        """What was written or looked at; None if nothing was."""
        ...

    @property
    def figures(self) -> Mapping[str, Any]:
        """The figures for `--json`."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Table headings."""
        ...

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Table rows."""
        ...


@dataclass(frozen=True)
class Command:
    """One command: a frozen configuration dataclass and one function of it, both imported on use.

    Args:
        name: what is typed after `foreact`.
        module: the module that holds both.
        config: name of the configuration dataclass.
        function: name of `f(config, progress) -> Report`.
        help: one sentence for `foreact --help`.
        example: a line that can be typed.
        positional: keys that may be given without `key=`, in order.
        options: keys that also exist as options, such as `--device`.
        variants: what else the command is for other values of the key `by`; None is the command itself, and `*` stands
            for any value; `KEY=*` is what it is wherever that key is given.
        by: the key that chooses among variants; empty for the first positional one.
        conf: folder of its named configurations, if not its name.
    """

    name: str
    module: str
    config: str
    function: str
    help: str
    example: str
    positional: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    variants: Mapping[str, "Command | None"] = field(default_factory=dict)
    by: str = ""
    conf: str = ""

    def chosen(self, arguments: Sequence[str]) -> "Command":
        """The variant that the value of `by` names, or the command itself.

        Args:
            arguments: what was typed after the command's name, without options.

        Raises:
            DoorError: there are variants, but none of this name.
        """
        if not self.variants:
            return self
        key = self.by or self.positional[0]
        bare = key in self.positional[:1]
        parts = [argument.lstrip("+").partition("=") for argument in arguments]
        keys = {name for name, equals, _ in parts if equals}
        told = next((self.variants[f"{each}=*"] for each in keys if f"{each}=*" in self.variants), None)
        if told is not None:
            return told.chosen(arguments)
        given = next(
            (value if equals else name for name, equals, value in parts if name == key or (bare and not equals)), None
        )
        if given is not None and given not in self.variants and "*" in self.variants:
            given = "*"
        if given is not None and given not in self.variants:
            known = [each for each in self.variants if each and "=" not in each]
            raise DoorError(f"{key} is {given!r}: choose from {', '.join(known)}")
        variant = self.variants.get(given or "")
        return variant.chosen(arguments) if variant else self

    def load(self) -> tuple[type[Any], Callable[[Any, ProgressFn], Report]]:
        """Import the configuration dataclass and the function.

        Raises:
            ImportError: a package of an extra is not installed.
        """
        module = importlib.import_module(self.module)
        return getattr(module, self.config), getattr(module, self.function)
