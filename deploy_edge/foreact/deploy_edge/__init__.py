"""Compression, export and the runtime that drives a robot."""

__all__: list[str] = []
