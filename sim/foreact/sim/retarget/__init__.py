"""Human hands to grippers, to robot hands and to arms that must reach what the hand reached."""

__all__: list[str] = []
