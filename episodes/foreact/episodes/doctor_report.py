"""The page of `foreact doctor dataset out=FOLDER`: report.json and one HTML file that needs no other."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np

from foreact.episodes import doctor_plots
from foreact.episodes.checks.finding import ADVICE
from foreact.episodes.checks.pictures import Run, Thumbnail
from foreact.episodes.diagnosis import Diagnosis, shortened
from foreact.episodes.examine import Examination
from foreact.episodes.outcome import JSON
from foreact.episodes.runfolder import write_json_atomic, write_text_atomic
from foreact.episodes.timeline import COUNTED

__all__ = ["require_free", "write_report"]

PAGE, FIGURES = "report.html", "report.json"
TEMPLATE = "doctor_report.html.j2"
STREAMS_PLOTTED = 4  # of numbers, a recording
CLOCKS_PLOTTED = 4
SHOWN = 3  # names in a row
HISTOGRAMS = 28  # elements beyond which a stream is not drawn


@dataclass(frozen=True)
class Picture:
    """A picture on the page.

    Attributes:
        uri: Data URI.
        width: [px].
        height: [px].
        text: Under it, and for those who cannot see it.
    """

    uri: str
    width: int
    height: int
    text: str


@dataclass
class Section:
    """What the page shows of one recording."""

    key: str
    words: str
    findings: list[tuple[str, str, str]]
    cameras: list[tuple[str, list[Picture]]] = field(default_factory=list)
    strips: list[tuple[str, list[Picture]]] = field(default_factory=list)
    plots: list[Picture] = field(default_factory=list)
    clocks: list[tuple[str, ...]] = field(default_factory=list)


def require_free(out: Path) -> None:
    """Refuse a folder that holds something else, and say what to type if a package is missing.

    Raises:
        ValueError: It is a file, or holds files and no report of ours.
        ModuleNotFoundError: Jinja, matplotlib or Pillow is not installed.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / FIGURES).is_file()):
        raise ValueError(f"out={out} holds something else than a report; name a new folder")
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
        import PIL  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"out= draws a page and needs {error.name}, which is not installed. Type: pip install 'foreact[viz]'"
        ) from error


def write_report(out: Path, diagnosis: Diagnosis, figures: Mapping[str, JSON]) -> None:
    """Write report.json and report.html, each whole or not at all.

    Args:
        out: Folder; made if it is not there.
        diagnosis: What was found.
        figures: The same as for `--json`.
    """
    out.mkdir(parents=True, exist_ok=True)
    page = render(diagnosis)
    write_json_atomic(out / FIGURES, figures)
    write_text_atomic(out / PAGE, page)


def render(diagnosis: Diagnosis) -> str:
    """The page as text."""
    import jinja2

    template = resources.files("foreact.episodes").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    rows = [
        {"severity": severity, "what": what, "advice": ADVICE[rule], "streams": streams, "recordings": list(where),
         "short_streams": _few(streams), "short_recordings": shortened(where)}
        for (severity, rule, what, where), streams in diagnosis.merged()
    ]  # fmt: skip
    counts = {kind: sum(row["severity"] == kind for row in rows) for kind in ("grave", "remark", "note")}
    return environment.from_string(template).render(
        diagnosis=diagnosis, rows=rows, counts=counts, lengths=_lengths(diagnosis),
        sections=[_section(diagnosis, key, each) for key, each in diagnosis.examined.items()],
    )  # fmt: skip


def _few(streams: Sequence[str]) -> str:
    named = [each for each in streams if each]
    return ", ".join(named[:SHOWN]) + (f" and {len(named) - SHOWN} more" if len(named) > SHOWN else "")


def _lengths(diagnosis: Diagnosis) -> Picture | None:
    if len(diagnosis.summaries) < 2:
        return None
    lengths = {each.key: each.length for each in diagnosis.summaries}
    counted = any(each.clock in COUNTED for one in diagnosis.examined.values() for each in one.streams.values())
    plot = doctor_plots.length_plot(lengths, "steps" if counted else "s")
    return _plot(plot, "Length of each recording; the line is the median")


def _section(diagnosis: Diagnosis, key: str, examined: Examination) -> Section:
    length = examined.summary.length
    clocks = {stream.clock for stream in examined.streams.values()}
    unit = "steps" if clocks <= set(COUNTED) else "s"
    outcome = {True: ", success", False: ", no success", None: ""}[examined.summary.success]
    section = Section(
        key,
        f"{length:.4g} {unit}, {len(examined.streams)} streams, {examined.samples} samples read{outcome}",
        _by_words(examined) if len(diagnosis.keys) > 1 else [],  # of one alone the table above says it all
    )
    for name, shown in examined.shown.items():
        pictures = [_jpeg(each, f"{name}, picture {each.index}") for each in shown]
        section.cameras.append((name, pictures))
        section.strips += _strips(name, examined.runs.get(name, []))
    section.plots += _stamp_plots(examined)
    section.plots += _number_plots(diagnosis, examined)
    section.clocks = [
        (line.other, line.clock, str(line.count), f"{line.ppm:+.1f}", f"{line.ppm_error:.1f}",
         f"{line.offset_ns / 1e9:.6f}", f"{line.spread_ns / 1e6:.4g}")
        for line in examined.clocks if line.straight
    ]  # fmt: skip
    drawn = sorted((line for line in examined.clocks if line.straight), key=lambda line: -abs(line.ppm))
    if drawn[:CLOCKS_PLOTTED]:
        plot = doctor_plots.drift_plot(drawn[:CLOCKS_PLOTTED])
        section.plots.append(_plot(plot, "Second clocks against the clock that stamps, and the line through them"))
    return section


def _by_words(examined: Examination) -> list[tuple[str, str, str]]:
    """Severity, streams and words of what was found in a recording; streams of the same words share a line."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in dict.fromkeys(examined.findings):
        groups.setdefault((each.severity, each.what), []).append(each.stream)
    return [(severity, _few(streams), what) for (severity, what), streams in groups.items()]


def _strips(name: str, runs: Sequence[Run]) -> list[tuple[str, list[Picture]]]:
    found = []
    for run in runs:
        if run.pictures:
            pictures = [_jpeg(each, f"picture {each.index}") for each in run.pictures]
            found.append((f"{name} stands still from picture {run.start} to {run.stop - 1}", pictures))
    return found


def _stamp_plots(examined: Examination) -> list[Picture]:
    plots = []
    for clock in dict.fromkeys(stream.clock for stream in examined.streams.values()):
        stamps = {
            name: times
            for name, times in examined.times.items()
            if examined.streams[name].clock == clock and len(times)
        }
        if stamps:
            text = f"Samples on clock {clock}, from its first on; gaps are red"
            plots.append(_plot(doctor_plots.stamp_plot(stamps, clock), text))
    return plots


def _number_plots(diagnosis: Diagnosis, examined: Examination) -> list[Picture]:
    drawn = [name for name, (_, rows) in examined.rows.items() if rows.shape[1] <= HISTOGRAMS and len(rows) > 1]
    names = sorted(drawn, key=lambda name: _interest(examined, name))
    plots = []
    for name in names[:STREAMS_PLOTTED]:
        stream, (times, rows) = examined.streams[name], examined.rows[name]
        elements = stream.elements or tuple(f"element {index}" for index in range(rows.shape[1]))
        if len(elements) != rows.shape[1]:
            elements = tuple(f"element {index}" for index in range(rows.shape[1]))
        limits = _limits(diagnosis, name, rows.shape[1])
        plots += [
            _plot(doctor_plots.series_plot(name, times, rows, elements, stream.clock), f"{name} over time"),
            _plot(
                doctor_plots.range_plot(name, examined.statistics[name], elements, limits),
                f"{name}: least to most in grey, 1 to 99 % in blue, the median in white; red lies outside the contract",
            ),
            _plot(doctor_plots.histogram_plot(name, rows, elements), f"{name}: histograms"),
        ]
    return plots


def _interest(examined: Examination, name: str) -> int:
    """Where a stream stands in the order of plots: what a robot did, what a body did, sensors, the rest."""
    first, kind = name.split(".")[0], examined.streams[name].kind
    ranks = [first == "action", first == "state", kind in ("pose", "hand"), kind == "imu", kind == "gaze", True]
    return ranks.index(True)


def _limits(diagnosis: Diagnosis, name: str, count: int) -> tuple[np.ndarray, np.ndarray] | None:
    contract = diagnosis.contract
    if contract is None:
        return None
    feature = {"state": contract.state, "action": contract.action, "action.executed": contract.action}.get(name)
    if feature is None or len(feature.low) != count:
        return None
    return np.array(feature.low), np.array(feature.high)


def _jpeg(thumbnail: Thumbnail, text: str) -> Picture:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(thumbnail.picture)).save(buffer, "JPEG", quality=80)
    height, width = thumbnail.picture.shape[:2]
    return Picture(_uri(buffer.getvalue(), "image/jpeg"), width, height, text)


def _plot(png: bytes, text: str) -> Picture:
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # the PNG header
    return Picture(_uri(png, "image/png"), width, height, text)


def _uri(content: bytes, media: str) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"
