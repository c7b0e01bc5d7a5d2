"""Policies: their configuration, training, evaluation and checkpoints."""

__all__: list[str] = []
