"""A recording against a contract: names, shapes, units, rates and ranges.

Shape letters: k = rows given at once, E = elements of a sample.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from foreact.episodes.arrays import StoreError
from foreact.episodes.checks.finding import Finding
from foreact.episodes.contract import UNKNOWN, ContractError, FeatureSpec, PolicyContract
from foreact.episodes.sources import Source, Stream

__all__ = ["Range", "check_contract", "range_of", "read_contract"]

ROUNDING = 1e-6  # of the range: float32 of a limit may lie beyond it
RATE_OFF = 0.02
NAMED = 6


def read_contract(path: Path) -> PolicyContract:
    """A contract from a JSON file or a file that holds one under `contract`, or from an episode store.

    Args:
        path: The file or the store's folder.

    Raises:
        ContractError: It holds none.
        FileNotFoundError: Nothing is there.
    """
    path = Path(path)
    if path.is_dir():
        from foreact.episodes.store import EpisodeStore

        try:
            return EpisodeStore.open(path).contract
        except StoreError as error:
            raise ContractError(f"contract={path}: {error}. Give the JSON file of a contract or a store") from error
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ContractError(f"contract={path} is no JSON: {error}") from error
    inner = content.get("contract", content) if isinstance(content, dict) else content
    try:
        return PolicyContract.from_json(json.dumps(inner))
    except ContractError as error:
        raise ContractError(f"contract={path}: {error}") from error


def check_contract(source: Source, contract: PolicyContract) -> Iterator[Finding]:
    """Streams of a recording that are not what the contract says.

    Args:
        source: The recording.
        contract: What is asked for.
    """
    for feature in (contract.state, contract.action):
        stream = source.streams.get(feature.name)
        if stream is None:
            yield Finding(feature.name, "grave", "contract names", "the contract asks for it and it is not there")
        else:
            yield from _feature(stream, feature, contract.control_rate_hz)
    for camera in contract.cameras:
        for kind in camera.streams:
            name = f"{'camera' if kind == 'rgb' else kind}.{camera.name}"
            shape = camera.stream_shape(kind)
            stream = source.streams.get(name)
            if stream is None:
                yield Finding(name, "grave", "contract names", "the contract asks for it and it is not there")
            elif stream.shape != shape:
                what = f"a picture is {stream.shape}, the contract says {shape}"
                yield Finding(name, "grave", "contract names", what)


def _feature(stream: Stream, feature: FeatureSpec, rate_hz: float) -> Iterator[Finding]:
    name = stream.name
    if stream.shape != feature.shape:
        yield Finding(name, "grave", "contract names", f"has shape {stream.shape}, the contract says {feature.shape}")
        return
    if stream.elements and stream.elements != feature.elements:
        differ = [f"{a} for {b}" for a, b in zip(stream.elements, feature.elements, strict=True) if a != b]
        what = f"{len(differ)} elements have other names than in the contract: {', '.join(differ[:NAMED])}"
        yield Finding(name, "grave", "contract names", what)
    units = [each.strip() for each in stream.unit.split(",")] if stream.unit else []
    units = units * len(feature.units) if len(units) == 1 else units
    if len(units) == len(feature.units):
        pairs = zip(feature.elements, units, feature.units, strict=True)
        differ = [f"{element} in {a or '?'} for {b}" for element, a, b in pairs if a != b and UNKNOWN not in (a, b)]
        if differ:
            what = f"{len(differ)} elements have other units than in the contract: {', '.join(differ[:NAMED])}"
            yield Finding(name, "grave", "contract names", what)
    if stream.rate_hz and abs(stream.rate_hz / rate_hz - 1) > RATE_OFF:
        what = f"has {stream.rate_hz:g} Hz, the contract says {rate_hz:g} Hz"
        yield Finding(name, "remark", "contract names", what)


class Range:
    """Counts the elements of one stream that lie outside the contract's range.

    Args:
        name: Of the stream.
        feature: What the contract says of it.
    """

    def __init__(self, name: str, feature: FeatureSpec) -> None:
        self._name, self._feature = name, feature
        low, high = np.array(feature.low), np.array(feature.high)
        slack = ROUNDING * np.maximum(high - low, np.maximum(np.abs(low), np.abs(high)))
        self._low, self._high = low - slack, high + slack
        self._outside = self._at_end = np.zeros(len(low), np.int64)
        self._beyond = np.zeros(len(low))
        self._slack, self._rows = slack, 0

    def add(self, rows: np.ndarray) -> None:
        """Take in rows, float64 (k, E); what is not finite counts neither in nor out."""
        if rows.shape[1] != len(self._low):
            return
        rows = np.where(np.isfinite(rows), rows, (self._low + self._high) / 2)
        beyond = np.maximum(self._low - rows, rows - self._high)
        self._outside = self._outside + (beyond > 0).sum(0)
        self._at_end = self._at_end + (np.abs(beyond + self._slack) <= 2 * self._slack).sum(0)
        self._beyond = np.maximum(self._beyond, beyond.max(0, initial=0.0))
        self._rows += len(rows)

    def findings(self) -> Iterator[Finding]:
        """Which elements are outside, how often, and by how much; which stand at their limit."""
        elements, units = self._feature.elements, self._feature.units
        outside = sorted(np.flatnonzero(self._outside), key=lambda index: -self._outside[index])
        if len(outside):
            known = ["" if unit == UNKNOWN else f" {unit}" for unit in units]
            listed = [
                f"{elements[index]} in {100 * self._outside[index] / self._rows:.3g} % of {self._rows} samples, by up "
                f"to {self._beyond[index] + self._slack[index]:.4g}{known[index]}"
                for index in outside[:NAMED]
            ]
            more = f" and {len(outside) - NAMED} more" if len(outside) > NAMED else ""
            severity = "grave" if self._feature.name == "action" else "remark"
            yield Finding(
                self._name, severity, "contract range", f"outside the contract: {'; '.join(listed)}{more}"
            )  # fmt: skip
        at_end = [
            f"{elements[index]} in {100 * self._at_end[index] / self._rows:.0f} %"
            for index in np.flatnonzero(self._at_end > 0.2 * max(self._rows, 1))
        ]
        if at_end:
            more = f" and {len(at_end) - NAMED} more" if len(at_end) > NAMED else ""
            what = f"at the limit of the contract: {', '.join(at_end[:NAMED])} of samples{more}"
            yield Finding(self._name, "remark", "saturated", what)


def range_of(name: str, contract: PolicyContract | None) -> Range | None:
    """What counts for a stream; None where the contract says nothing of it."""
    if contract is None:
        return None
    feature = {"state": contract.state, "action": contract.action, "action.executed": contract.action}.get(name)
    return None if feature is None else Range(name, feature)
