"""Encoders for vision, language and proprioception."""

__all__: list[str] = []
