"""What things are made of, as it sounds: frequencies, damping and gain of the modes that a blow sets ringing.

Sources: modal sound of struck things, van den Doel and Pai 1998; damping by material, Klatzky, Pai and Krotkov 2000;
ratios of frequencies of a free bar by Euler and Bernoulli (solutions of cos x cosh x = 1), of a plate by Chladni.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import mujoco

__all__ = ["MATERIALS", "Material", "Modes", "geom_materials", "modes_of"]

BAR = (1.0, 2.757, 5.404, 8.933, 13.34)
PLATE = (1.0, 1.52, 2.31, 3.39, 4.25, 5.96)
SIZE = 0.05  # radius for which a material's lowest frequency is given [m]


@dataclass(frozen=True)
class Material:
    """How it rings.

    Attributes:
        lowest: Lowest frequency of a thing of 5 cm radius [Hz]; smaller things ring higher.
        ratios: Frequencies over the lowest.
        loss: Damping over angular frequency, half the loss factor.
        damping: Damping at any frequency [1/s].
        hardness: Blows excite frequencies up to here [Hz].
        gain: Loudness.
    """

    lowest: float
    ratios: tuple[float, ...]
    loss: float
    damping: float
    hardness: float
    gain: float


MATERIALS: Mapping[str, Material] = {
    "steel": Material(900.0, BAR, 0.0008, 6.0, 9000.0, 0.8),
    "glass": Material(1300.0, PLATE, 0.0016, 12.0, 9000.0, 0.8),
    "wood": Material(450.0, BAR, 0.018, 25.0, 3000.0, 1.0),
    "plastic": Material(380.0, PLATE, 0.03, 40.0, 2500.0, 0.9),
    "rubber": Material(160.0, (1.0, 1.9, 2.8), 0.12, 70.0, 700.0, 0.7),
}


@dataclass(frozen=True)
class Modes:
    """Modes of one thing.

    Attributes:
        frequencies: [Hz].
        dampings: [1/s].
        gains: Amplitude for an impulse of 1 N s.
    """

    frequencies: np.ndarray
    dampings: np.ndarray
    gains: np.ndarray


def modes_of(material: Material, radius: float, hardness: float, rate: int) -> Modes:
    """Modes of a thing that can be heard at a sampling rate.

    Args:
        material: Of the thing.
        radius: Of a ball around it [m].
        hardness: Blows excite frequencies up to here [Hz]: that of the softer of both materials.
        rate: Samples per second [Hz].
    """
    # frequencies of things of one shape are in inverse proportion to their size; very large and small ones are cut
    frequencies = material.lowest * np.array(material.ratios) * SIZE / min(max(radius, SIZE / 4), SIZE * 4)
    frequencies = frequencies[frequencies < 0.45 * rate]
    dampings = material.damping + material.loss * 2 * np.pi * frequencies
    # a soft blow lasts longer than a period of the high modes
    gains = material.gain / (1 + np.arange(len(frequencies))) / (1 + (frequencies / hardness) ** 2)
    return Modes(frequencies, dampings, gains)


def geom_materials(model: mujoco.MjModel, named: Mapping[str, str], default: str = "plastic") -> tuple[str, ...]:
    """What each geom is made of.

    Args:
        model: Of the engine.
        named: Materials by patterns of geom or body names, such as `{"table*": "wood"}`; the first that fits holds.
        default: What everything else is made of.

    Raises:
        ValueError: No such material, or a pattern that fits nothing.
    """
    if unknown := {*named.values(), default} - MATERIALS.keys():
        raise ValueError(f"materials {sorted(unknown)} are unknown; choose from {', '.join(MATERIALS)}")
    used: set[str] = set()
    found = []
    for geom in range(model.ngeom):
        names = (model.geom(geom).name, model.body(int(model.geom_bodyid[geom])).name)
        fits = [pattern for pattern in named if any(name and fnmatchcase(name, pattern) for name in names)]
        used.update(fits)
        found.append(named[fits[0]] if fits else default)
    if unused := named.keys() - used:
        raise ValueError(f"no geom or body is named like {', '.join(sorted(unused))}")
    return tuple(found)
