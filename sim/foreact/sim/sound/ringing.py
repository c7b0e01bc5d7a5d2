"""Sound of struck things: each blow sets modes ringing, and all that rings is added up, as long as it can be heard.

A sample depends on its number alone, so a stream rendered in pieces of any length is the same, bit for bit.
Shape letters: S samples, M modes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foreact.sim.sound.impacts import Impact
from foreact.sim.sound.materials import MATERIALS, Modes, modes_of

if TYPE_CHECKING:
    import mujoco

__all__ = ["ContactSound", "Ringing"]

INAUDIBLE = 1e-4  # amplitude at which a mode is over: 80 dB below full scale
LOUDNESS = 1.0  # amplitude for an impulse of 1 N s, before the gains of modes


class Ringing:
    """Renders modes as a stream.

    Args:
        rate: Samples per second [Hz].

    Attributes:
        position: Samples rendered.
    """

    def __init__(self, rate: int = 16_000) -> None:
        self.rate, self.position = rate, 0
        # start and end [samples], angular frequency and damping [1/sample], amplitude; a column per mode
        self._modes = np.zeros((5, 0))

    def strike(self, sample: int, modes: Modes, amplitude: float) -> None:
        """Let modes ring.

        Args:
            sample: When; not rendered yet.
            modes: What rings.
            amplitude: Of gain 1.

        Raises:
            ValueError: That sample was rendered already.
        """
        if sample < self.position:
            raise ValueError(f"a blow at sample {sample} comes too late: {self.position} are rendered")
        amplitudes = amplitude * modes.gains
        heard = amplitudes > INAUDIBLE
        dampings, amplitudes = modes.dampings[heard] / self.rate, amplitudes[heard]
        # a exp(-d n) = inaudible
        ends = sample + np.ceil(np.log(amplitudes / INAUDIBLE) / dampings)
        turns = 2 * np.pi * modes.frequencies[heard] / self.rate
        new = np.stack([np.full(len(ends), float(sample)), ends, turns, dampings, amplitudes])
        self._modes = np.concatenate([self._modes, new], axis=1)

    def render(self, count: int) -> np.ndarray:
        """The next samples, float32 (S,); loud ones are not clipped.

        Args:
            count: S.
        """
        numbers = np.arange(self.position, self.position + count, dtype=np.float64)
        out = np.zeros(count)
        for start, end, turn, damping, amplitude in self._modes.T:
            first, last = max(0, int(start) - self.position), min(count, int(end) - self.position)
            if first < last:
                since = numbers[first:last] - start
                # y(n) = a exp(-d n) sin(w n)
                out[first:last] += amplitude * np.exp(-damping * since) * np.sin(turn * since)
        self.position += count
        self._modes = self._modes[:, self._modes[1] > self.position]
        return out.astype(np.float32)


class ContactSound:
    """Lets both bodies of an impact ring.

    Args:
        model: Of the engine.
        materials: Of each geom.
        rate: Samples per second [Hz].
    """

    def __init__(self, model: mujoco.MjModel, materials: tuple[str, ...], rate: int = 16_000) -> None:
        if len(materials) != model.ngeom:
            raise ValueError(f"{len(materials)} materials for {model.ngeom} geoms; make them with geom_materials")
        self._model, self._materials, self.ringing = model, materials, Ringing(rate)

    def strike(self, impact: Impact, sample: int | None = None) -> None:
        """Let an impact sound.

        Args:
            impact: What happened.
            sample: When; by default at the impact's time.

        Raises:
            ValueError: That sample was rendered already.
        """
        rate = self.ringing.rate
        at = round(impact.time * rate) if sample is None else sample
        kinds = [MATERIALS[self._materials[geom]] for geom in impact.geoms]
        hardness = min(each.hardness for each in kinds)
        for geom, kind in zip(impact.geoms, kinds, strict=True):
            radius = float(self._model.geom_rbound[geom]) or np.inf  # planes have none
            self.ringing.strike(at, modes_of(kind, radius, hardness, rate), LOUDNESS * impact.impulse)
