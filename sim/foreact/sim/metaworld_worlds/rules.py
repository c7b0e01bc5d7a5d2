"""Success and reward of all 50 tasks by name."""

from __future__ import annotations

from foreact.sim.metaworld_worlds.fixtures import FIXTURES
from foreact.sim.metaworld_worlds.movables import MOVABLES
from foreact.sim.metaworld_worlds.scene import Rules
from foreact.sim.metaworld_worlds.tools import TOOLS

__all__ = ["RULES"]

RULES: dict[str, Rules] = {**FIXTURES, **MOVABLES, **TOOLS}
