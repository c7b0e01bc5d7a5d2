"""Engines behind one seam: many worlds of one model, their state as live arrays."""

from foreact.sim.backends.base import Fresh, SimBackend, Snapshot, WorldError, WorldsFailed, make_backend

__all__ = ["Fresh", "SimBackend", "Snapshot", "WorldError", "WorldsFailed", "make_backend"]
