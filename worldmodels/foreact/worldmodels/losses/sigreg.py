"""Latents that look like N(0, I); see `foreact.perception.sigreg`."""

from foreact.perception.sigreg import random_lines, sigreg

__all__ = ["random_lines", "sigreg"]
