"""The page: one HTML file that needs no network and no other file. Shape letters: K = imagined futures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from foreact.worldmodels.imagine.charts import colour, letter
from foreact.worldmodels.imagine.comparison import LEVEL, State, percent
from foreact.worldmodels.imagine.sheets import Film, moments
from foreact.worldmodels.model_scores import RISK

__all__ = ["Shown", "page", "verdict"]

TEMPLATE = "page.html.j2"
QUALITY = 85


@dataclass(frozen=True)
class Shown:
    """A state as it is shown.

    Attributes:
        state: The state.
        films: What happened, then imagined futures.
        charts: PNG.
        poster: PNG, one picture that says it all.
    """

    state: State
    films: Sequence[Film]
    charts: bytes
    poster: bytes


def page(shown: Sequence[Shown], figures: Mapping[str, Any], about: Mapping[str, str]) -> str:
    """The page as text.

    Args:
        shown: States, in the order of the page.
        figures: Of all states together.
        about: Where all this comes from: names and values.
    """
    import jinja2

    template = resources.files("foreact.worldmodels.imagine").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    scene = shown[0].state.scene
    return environment.from_string(template).render(
        scene=scene, figures=figures, about=about, states=[_state(each) for each in shown], level=LEVEL, risk=RISK,
        touches=scene.contact is not None,
    )  # fmt: skip


def verdict(state: State) -> str:
    """In words, how what happened lay among what was imagined."""
    near, scores = state.nearest, state.scores
    weight = percent(state.weights[near])
    text = f"What happened came within {100 * scores['nearest']:.1f} cm of imagined future {letter(near)}, "
    if near == 0:
        text += f"the most probable one ({weight})."
    else:
        text += f"which had been given {weight}; the most probable one, A ({percent(state.weights[0])}), "
        text += f"was {100 * scores['likeliest']:.1f} cm off."
    others = 100 * float(np.median(state.others_apart.mean(1)))
    text += f" Another true future is {others:.1f} cm from it (median): so much of it nobody could have known."
    happened = state.truth[0][:, list(state.scene.tracked)]
    outside = ((happened < state.band[0]) | (happened > state.band[1])).any(1)
    if outside.any():
        first = state.time_s[int(outside.argmax())]
        left = f"It left the {percent(LEVEL)} band of some element in {percent(outside.mean())} of the steps"
        return f"{text} {left}, first after {first:.2f} s."
    return f"{text} It stayed inside the {percent(LEVEL)} band of every element."


def _state(shown: Shown) -> dict[str, Any]:
    state = shown.state
    return {
        "number": state.number,
        "commanded": state.commanded,
        "verdict": verdict(state),
        "scores": state.scores,
        "charts": _uri(shown.charts, "png"),
        "times": [f"{step / state.scene.rate_hz:.1f} s" if step else "now" for step in moments(state)],
        "rows": [_row(state, film) for film in shown.films],
        "hidden": max(0, len(state.weights) - len(shown.films) + 1),
        "rest": float(state.weights[len(shown.films) - 1 :].sum()),
    }


def _row(state: State, film: Film) -> dict[str, Any]:
    number = film.number
    found = {"film": _strip(film.pictures), "colour": "var(--ink)", "name": "what happened", "weight": None}
    if number < 0:
        return found | {
            "left": float(state.true_left[0]), "apart": None, "nearest": False,
            "success": float(state.true_success[0, -1]), "contact": float(state.true_contact[0].max()),
        }  # fmt: skip
    return found | {
        "name": letter(number), "colour": colour(number), "weight": float(state.weights[number]),
        "left": float(state.left[number]), "apart": float(state.apart[number].mean()),
        "nearest": number == state.nearest, "success": float(state.success[number, -1]),
        "contact": float(state.contact[number].max()),
    }  # fmt: skip


def _strip(pictures: np.ndarray) -> dict[str, Any]:
    """Pictures side by side, JPEG."""
    from PIL import Image

    whole = np.concatenate(list(pictures), axis=1)
    content = io.BytesIO()
    Image.fromarray(whole).save(content, format="JPEG", quality=QUALITY)
    return {"uri": _uri(content.getvalue(), "jpeg"), "height": whole.shape[0], "width": whole.shape[1]}


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
