"""Pictures of scenes that nobody acts in, to learn seeing from: rooms, the arm, Meta-World; all kinds aligned."""
