"""Recordings re-enacted in simulation: recorded actions drive a model open loop, and the report says how far off it is.

`joints` finds which joint each recorded number drives, `robot` and `adroit_door` set the stage, `drive` plays a
recording on it, `measures` and `report` say how far off it was, `picture`, `plot` and `movie` show it.
"""

from foreact.sim.reenact.command import ReenactConfig, reenact

__all__ = ["ReenactConfig", "reenact"]
