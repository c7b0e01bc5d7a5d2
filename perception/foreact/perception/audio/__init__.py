"""Hearing: log-mel frames, a streaming encoder at 12.5 Hz, spoken commands, and when things touch."""
