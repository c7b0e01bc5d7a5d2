"""Recordings as training batches: shuffled windows of several rates, read ahead by processes. Never imports torch."""
