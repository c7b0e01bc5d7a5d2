"""The error of a policy file that cannot be used."""

__all__ = ["EngineError"]


class EngineError(ValueError):
    """A file that is no policy, or is damaged, or does not fit its own contract."""
