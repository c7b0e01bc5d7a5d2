"""Recordings of others behind one protocol: what they hold, when, and the values, read when asked for."""

from foreact.episodes.sources.detect import open_collection
from foreact.episodes.sources.protocol import Collection, Kind, Source, SourceError, Stream, Value

__all__ = ["Collection", "Kind", "Source", "SourceError", "Stream", "Value", "open_collection"]
