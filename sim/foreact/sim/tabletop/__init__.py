"""An arm with a gripper on a table: five manipulation tasks with scripted experts."""

from foreact.sim.tabletop.experts import EXPERTS
from foreact.sim.tabletop.tasks import TASKS

__all__ = ["EXPERTS", "TASKS"]
