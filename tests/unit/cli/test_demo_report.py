"""The page needs nothing but itself, says the figures, and can be read by machines that read to people."""

import base64
import html.parser
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from foreact.cli import demo_plots
from foreact.cli.commands import Report
from foreact.cli.demo_pictures import Strip, data_uri, depth_picture, poster
from foreact.cli.demo_report import Clip, Material, lateness_bins, render
from foreact.episodes.outcome import Outcome

PIXEL = data_uri(b"\x89PNG", "image/png")
TASKS = ("reach-v3", "push-v3")


class Page(html.parser.HTMLParser):
    """Every element with its attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def evaluation(rates: tuple[float, float]) -> Outcome:
    per_task = {
        task: {"success": rate, "interval": [rate - 0.1, min(1, rate + 0.1)], "episodes": 20}
        for task, rate in zip(TASKS, rates, strict=True)
    }
    figures: dict[str, Any] = {
        "success_mean": sum(rates) / 2, "success_interval": [0.7, 0.95], "success_per_task": per_task,
        "episodes": 40, "contract_hash": "c0ffee", "protocol_hash": "beef",
    }  # fmt: skip
    return Outcome(Path("x"), figures, ("a",), ())


def material() -> Material:
    plain = Outcome(Path("x"), {}, ("figure", "value"), (("layers <int8>", "12"),))
    tables: dict[str, Report] = {name: plain for name in ("record", "train", "export", "compress", "run")}
    strips = [Strip(task, "camera.front.rgb", PIXEL, 80, 10, f"{task}, front") for task in TASKS]
    clips = [
        Clip("reach-v3", 0, True, "reach the <goal> & stop", 1.25, data_uri(b"film", "video/mp4"), PIXEL),
        Clip("push-v3", 4, False, "push the puck", 6.25, data_uri(b"film", "video/mp4"), PIXEL),
    ]
    tables |= {"eval": evaluation((0.85, 0.95)), "eval int8": evaluation((0.8, 0.9))}
    return Material(tables, {"record": "foreact record out=x"}, ([20, 40, 60], [1.0, 0.3, 0.1]), strips, clips, 2)


def summary() -> dict[str, Any]:
    return {
        "success_mean": 0.9, "success_interval": [0.7, 0.95], "success_int8_mean": 0.85, "size_ratio": 3.91,
        "parity_min_cosine": 0.99934, "latency_ratio_int8": 4.2, "cpu_seconds": 1034.4, "wall_seconds": 543.2,
        "peak_rss_mb": 2210.0, "stages": {"train": {"wall_s": 330.0, "cpu_s": 640.0}},
        "lateness": {"rate_wanted_hz": 80.0, "steps": 3, "misses": 1, "buckets_us": [[0, 1, 2], [900, 960, 1]]},
        "machine": {"cpu": "some CPU", "cores": 2, "memory_bytes": 8e9, "platform": "Linux", "python": "3.12.1"},
        "versions": {"torch": "2.11.0", "absent": None}, "git": {"commit": "abc123", "dirty": True},
        "seeds": {"train": 0}, "protocol_hash": "beef",
    }  # fmt: skip


@pytest.fixture(scope="module")
def text() -> str:
    return render(material(), summary())


def test_the_page_needs_no_network_and_no_other_file(text: str) -> None:
    page = Page(text)
    for tag, attributes in page.elements:
        for name in ("src", "href", "poster", "srcset", "data", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), f"<{tag} {name}={value}>"
    assert not page.all("script") and not page.all("iframe")
    assert not re.search(r"https?://|url\(|@import|//cdn", text)


def test_the_page_says_the_figures(text: str) -> None:
    words = " ".join(Page(text).text.split())
    for figure in ("0.900", "0.850", "3.9 x", "4.2 x", "0.9993", "9:03 min", "1034 s", "2.2 GB", "70 to 95 %"):
        assert figure in words
    for figure in ("0.85", "0.75 to 0.95", "c0ffee", "beef", "abc123 with uncommitted changes", "torch 2.11.0"):
        assert figure in words
    assert "over 2 starts" in words and "1 of 3 ticks missed" in words and "foreact record out=x" in words
    assert "absent" not in words


def test_text_from_outside_is_text(text: str) -> None:
    assert "reach the &lt;goal&gt; &amp; stop" in text and "layers &lt;int8&gt;" in text
    assert "<goal>" not in text


def test_films_and_pictures_are_inside_and_described(text: str) -> None:
    page = Page(text)
    films, pictures = page.all("video"), page.all("img")
    assert [base64.b64decode(str(film["src"]).partition(",")[2]) for film in films] == [b"film", b"film"]
    assert all("controls" in film and film["poster"] == PIXEL for film in films)
    assert [film["aria-label"] for film in films] == [
        "Film of reach-v3, episode 0, success: reach the <goal> & stop",
        "Film of push-v3, episode 4, failure: push the puck",
    ]
    assert [picture["alt"] for picture in pictures] == ["reach-v3, front", "push-v3, front"]
    assert [word for word in Page(text).text.split() if word in ("success", "failure")].count("failure") >= 1


def test_the_page_can_be_read_aloud_and_on_a_phone(text: str) -> None:
    page = Page(text)
    assert page.all("html") == [{"lang": "en"}]
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert all(header.get("scope") in ("col", "row") for header in page.all("th")) and page.all("th")
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in page.all("svg"))
    assert len(page.all("h1")) == 1 and "prefers-color-scheme: dark" in text


def test_a_page_without_films_or_ticks_says_so() -> None:
    bare = Material(material().tables, {}, ([], []), [], [])
    figures = summary()
    figures["git"], figures["lateness"]["buckets_us"] = None, []
    words = Page(render(bare, figures)).text
    assert "No episode was filmed." in words and "not a checkout" in words


PLOTS = {
    "line": demo_plots.line_chart([20, 40], [1.0, 0.1], "update", "loss", "a < b"),
    "flat": demo_plots.line_chart([20], [0.5], "update", "loss", "one point"),
    "histogram": demo_plots.histogram([(0.001, 0.002, 3), (1, 2, 1)], "lateness [ms]", "ticks", "late"),
    "bars": demo_plots.bars([("a & b", 1.0, 2.0), ("none", 0.0, 0.0)], ("wall", "CPU"), "s", "cost"),
    "interval": demo_plots.interval(0.9, 0.7, 1.0, "fill-a", "0.9"),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_sound_svg_inside_its_frame(name: str) -> None:
    root = ElementTree.fromstring(PLOTS[name])
    width, height = (float(side) for side in root.attrib["viewBox"].split()[2:])
    assert root.attrib["aria-label"]
    for shape in root.iter("rect"):
        x, y, w, h = (float(shape.attrib[side]) for side in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width + 1 and 0 <= y <= y + h <= height
    for line in root.iter("polyline"):
        points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
        assert [x for x, _ in points] == sorted(x for x, _ in points)


def test_a_longer_bar_is_a_larger_value() -> None:
    root = ElementTree.fromstring(demo_plots.bars([("a", 10.0, 20.0), ("b", 40.0, 5.0)], ("w", "c"), "s", "t"))
    widths = [float(bar.attrib["width"]) for bar in root.iter("rect")][2:]
    assert np.allclose(np.array(widths) / widths[0], [1, 2, 4, 0.5], atol=0.02)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0, 1200, [0, 500, 1000]), (0.3, 1.1, [0.4, 0.6, 0.8, 1.0])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert demo_plots.ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[], [1.0, 0.0]])
def test_a_logarithmic_plot_refuses_what_has_no_logarithm(values: list[float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        demo_plots.line_chart(list(range(len(values))), values, "x", "y", "t")


def test_lateness_bins_keep_every_tick_in_its_place() -> None:
    bins = lateness_bins([[0, 1, 2], [1, 2, 3], [1000, 1024, 4], [1024, 1088, 5], [1100, 1150, 1]])
    assert [count for _, _, count in bins] == [5, 4, 6]
    assert bins[0][0] == pytest.approx(0.001) and bins[2][0] == pytest.approx(1.024)
    assert all(high == pytest.approx(low * 2**0.25) for low, high, _ in bins)
    assert lateness_bins([]) == []


def test_near_is_light_and_nothing_is_black() -> None:
    picture = depth_picture(np.array([[400, 900], [650, 0]], np.uint16))
    assert picture.shape == (2, 2, 3) and picture.dtype == np.uint8
    assert picture[0, 0, 0] > picture[1, 0, 0] > picture[0, 1, 0] and picture[1, 1, 0] == 0
    assert depth_picture(np.zeros((2, 2), np.uint16)).max() == 0


def test_a_poster_is_a_jpeg() -> None:
    content = base64.b64decode(poster(np.zeros((8, 8, 3), np.uint8)).partition(",")[2])
    assert content.startswith(b"\xff\xd8\xff")
