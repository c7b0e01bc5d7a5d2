"""The registry of operators: what each one offers to be proved and timed."""

import difflib
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Tolerance:
    """How far a result may be from the reference: |result - reference| <= absolute + relative * |reference|."""

    relative: float
    absolute: float


EXACT = Tolerance(0.0, 0.0)


@dataclass(frozen=True)
class Case:
    """One set of inputs, by the operator's argument names."""

    label: str
    inputs: Mapping[str, torch.Tensor | float | None]

    def to(self, device: torch.device) -> "Case":
        """Return the case with its tensors on `device`; the strides are kept."""
        return Case(self.label, {name: _moved(each, device) for name, each in self.inputs.items()})

    def tensors(self) -> list[torch.Tensor]:
        """Return the inputs that are present."""
        return [each for each in self.inputs.values() if isinstance(each, torch.Tensor)]


def _moved(value: torch.Tensor | float | None, device: torch.device) -> torch.Tensor | float | None:
    return value.to(device) if isinstance(value, torch.Tensor) else value


@dataclass(frozen=True)
class Operator:
    """One operator with all its implementations.

    Args:
        name: as registered.
        call: the public entry; takes the inputs of a case, `dtype` and `implementation` by name.
        tolerances: implementation name to result dtype to tolerance; "reference" comes first and is the baseline.
        unavailable: says why an implementation cannot run on a device, None if it can.
        cases: yields random and edge cases on the CPU for a seed.
        timing_case: builds the inputs to time from (batch, size [px], seed).
    """

    name: str
    call: Callable[..., torch.Tensor]
    tolerances: Mapping[str, Mapping[torch.dtype, Tolerance]]
    unavailable: Callable[[str, torch.device], str | None]
    cases: Callable[[int], Iterator[Case]]
    timing_case: Callable[[int, int, int], Case]

    def run(self, implementation: str, case: Case, dtype: torch.dtype) -> torch.Tensor:
        """Run one implementation on one case."""
        return self.call(**case.inputs, dtype=dtype, implementation=implementation)


OPERATORS: dict[str, str] = {
    "rgbd_to_planes": "foreact.kernels.preprocess.cases:RGBD_TO_PLANES",
    "rgb_to_planes": "foreact.kernels.preprocess.cases:RGB_TO_PLANES",
}


def register(name: str, path: str) -> None:
    """Add an operator.

    Args:
        name: what the tools call it.
        path: "module:attribute" of its `Operator`; imported on use.

    Raises:
        ValueError: the name is taken or the path has no colon.
    """
    if name in OPERATORS:
        raise ValueError(f"operator {name!r} is already registered as {OPERATORS[name]}")
    if path.count(":") != 1:
        raise ValueError(f'the path of operator {name!r} is {path!r}, expected "module:attribute"')
    OPERATORS[name] = path


def load(name: str) -> Operator:
    """Import and return a registered operator.

    Args:
        name: as registered.

    Raises:
        ValueError: the name is unknown; the message lists near matches.
    """
    if name not in OPERATORS:
        near = difflib.get_close_matches(name, OPERATORS) or sorted(OPERATORS)
        raise ValueError(f"unknown operator {name!r}: did you mean {' or '.join(near)}?")
    module, attribute = OPERATORS[name].split(":")
    return getattr(importlib.import_module(module), attribute)
