"""Hydra configuration of the commands: defaults by name, one file per command that has any."""
