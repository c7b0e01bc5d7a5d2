"""ALOHA's two tasks for two ViperX 300 arms, and scripted experts for them."""

from __future__ import annotations

from collections.abc import Callable

from foreact.sim.aloha.experts import EXPERTS
from foreact.sim.aloha.tasks import insertion, transfer_cube
from foreact.sim.task import SimTask

__all__ = ["EXPERTS", "TASKS"]

TASKS: dict[str, Callable[[], SimTask]] = {"aloha-transfer-cube": transfer_cube, "aloha-insertion": insertion}
