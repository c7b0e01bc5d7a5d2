"""Policies exported in stages for the closed-loop evaluation: entry point `json` of the group `foreact.policies`."""

from pathlib import Path

from foreact.deploy_edge.actor import ExportedActor
from foreact.deploy_edge.runtime.stages import StagedPolicy

__all__ = ["StagedActor"]


class StagedActor(ExportedActor):
    """A policy exported in stages, as the evaluation sees it.

    Args:
        path: `stages.json` of a folder written by `foreact export to=stages`.
        device: Only `cpu`.

    Raises:
        EngineError: A file cannot be used, or another device was asked for.
        GoldenError: The stages do not compute on this machine what was exported.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        super().__init__(path, device, StagedPolicy)
