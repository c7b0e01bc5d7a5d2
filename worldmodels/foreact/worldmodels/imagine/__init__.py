"""Imagined futures to look at: beside the true one, with probabilities, risk, and where they were wrong."""
