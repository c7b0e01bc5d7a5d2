"""The policy contract, the episode store, and what reads and writes episodes. Never imports torch."""

__all__: list[str] = []
