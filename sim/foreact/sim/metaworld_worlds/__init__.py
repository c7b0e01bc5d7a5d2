"""Meta-World's 50 tasks, many worlds of one task at a time, equal to the one-world tasks bit for bit."""

from foreact.sim.metaworld_worlds.worlds import VectorMetaWorld, VectorSnapshot, VectorStep

__all__ = ["VectorMetaWorld", "VectorSnapshot", "VectorStep"]
