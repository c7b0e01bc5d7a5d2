"""The foreact command and its configuration. Nothing else imports this package."""

__all__: list[str] = []
