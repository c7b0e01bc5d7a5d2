"""Numbers of a configuration that must not be too small."""

__all__ = ["require_at_least"]


def require_at_least(config: object, **lows: float) -> None:
    """Refuse a number that is below its least, or none.

    Args:
        config: With an attribute of each name.
        lows: The least by name.

    Raises:
        ValueError: Names the first such number and what would do.
    """
    for name, low in lows.items():
        value = getattr(config, name)
        if not value >= low:
            raise ValueError(f"{name}={value} is out of range; give {low} or more")
