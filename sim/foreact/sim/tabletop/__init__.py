"""An arm with a gripper on a table: six manipulation tasks with scripted experts."""

from collections.abc import Callable, Mapping

from foreact.sim.tabletop.experts import EXPERTS
from foreact.sim.tabletop.passer import arm_reach_passer
from foreact.sim.tabletop.tasks import TASKS as PLAIN_TASKS
from foreact.sim.task import SimTask

TASKS: Mapping[str, Callable[[], SimTask]] = {**PLAIN_TASKS, "arm-reach-passer": arm_reach_passer}

__all__ = ["EXPERTS", "TASKS"]
