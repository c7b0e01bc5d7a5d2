"""Simulated tasks, scripted experts, the renderer and recording. Importing it loads no simulator."""

__all__: list[str] = []
