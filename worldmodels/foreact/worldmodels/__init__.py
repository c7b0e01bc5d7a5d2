"""Models that imagine several futures of a scene under a chunk of actions, measured against true ones."""
