"""Choosing what to do by imagined futures, and how long to go on with it."""
