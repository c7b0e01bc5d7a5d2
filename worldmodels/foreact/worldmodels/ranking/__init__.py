"""How well success imagined by a world model orders policies as the simulator does."""
