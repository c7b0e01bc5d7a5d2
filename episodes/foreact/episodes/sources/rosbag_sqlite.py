"""One SQLite file of a rosbag2 bag, opened for reading alone. SQLite keeps no checksums of what it holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

from foreact.episodes.sources.protocol import SourceError
from foreact.episodes.sources.rosbag_tracks import LARGEST, Definition, Place, Track, Tracks

__all__ = ["SqliteFile"]

TABLES = {"topics": ("id", "name", "type", "serialization_format"), "messages": ("id", "topic_id", "timestamp", "data")}
DEFINITIONS = ("topic_type", "encoding", "encoded_message_definition")
HEAD = 1 << 10  # bytes of a message in which its header lies
DENIED = sqlite3.SQLITE_DENY
ALLOWED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_FUNCTION)


class SqliteFile:
    """One `.db3` file; reads from several threads wait for each other.

    Args:
        path: Of the file.
        whole: Whether messages are entered with all their bytes, because each is compressed.
    """

    def __init__(self, path: Path, *, whole: bool = False) -> None:
        self.path, self._whole = path, whole
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None

    def scan(self, tracks: Tracks) -> list[str]:
        """Enter every message; see `BagFile`.

        Raises:
            SourceError: It is no such file, or damaged.
        """
        notes: list[str] = []
        self._connection = self._open()
        try:
            self._check_tables()
            topics = self._topics(tracks, notes)
            self._messages(tracks, topics, notes)
        except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
            raise SourceError(f"{self.path} is damaged: {error}") from None
        return [f"{self.path.name}: {note}" for note in notes]

    def read(self, place: Place) -> bytes:
        """The payload of one message; see `BagFile`.

        Raises:
            SourceError: The file is damaged there or was closed.
        """
        try:
            with self._lock:
                row = next(iter(self._rows("SELECT data FROM messages WHERE id = ?", place[0])), None)
        except sqlite3.Error as error:
            raise SourceError(f"{self.path}: message {place[0]}: {error}") from None
        if row is None or not isinstance(row[0], bytes):
            raise SourceError(f"{self.path}: message {place[0]} has no payload")
        return row[0]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _open(self) -> sqlite3.Connection:
        # immutable: no lock, journal or write-ahead log is looked for, and nothing is ever written
        where = f"file:{quote(str(self.path.resolve()))}?mode=ro&immutable=1"
        try:
            connection = sqlite3.connect(where, uri=True, check_same_thread=False)
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
        except sqlite3.Error as error:
            raise SourceError(f"{self.path} is not an SQLite file: {error}") from None
        connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in ALLOWED else DENIED)
        return connection

    def _rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        if self._connection is None:
            raise SourceError(f"{self.path} was closed")
        return self._connection.execute(query, values)

    def _check_tables(self) -> None:
        """The tables are plain ones with plain columns: nothing that runs when it is read."""
        found = {row[0]: (row[1], row[2]) for row in self._rows("SELECT name, type, sql FROM sqlite_master")}
        for table, columns in TABLES.items():
            kind, sql = found.get(table, ("", ""))
            if kind != "table" or "VIRTUAL" in str(sql).upper():
                raise SourceError(f"{self.path} is not a bag: it has no plain table {table!r}")
            lacking = set(columns) - self._columns(table)
            if lacking:
                raise SourceError(f"{self.path}: table {table!r} has no column {', '.join(sorted(lacking))}")

    def _columns(self, table: str) -> set[str]:
        """Stored columns, without computed ones; the table's name is ours, not the file's."""
        return {row[1] for row in self._rows(f"PRAGMA table_xinfo({table})") if not row[6]}

    def _definitions(self) -> dict[str, tuple[str, bytes]]:
        if not set(DEFINITIONS) <= self._columns("message_definitions"):
            return {}
        rows = self._rows(f"SELECT {', '.join(DEFINITIONS)} FROM message_definitions")
        return {name: (encoding, text.encode()) for name, encoding, text in rows if _texts(name, encoding, text)}

    def _topics(self, tracks: Tracks, notes: list[str]) -> dict[int, Track]:
        definitions, topics = self._definitions(), {}
        for number, *words in self._rows("SELECT id, name, type, serialization_format FROM topics ORDER BY id"):
            if not _texts(*words):
                notes.append(f"topic {number} has no name or type; its messages are left out")
                continue
            name, kind, encoding = words
            topics[number] = tracks.topic(name, Definition(kind, encoding, *definitions.get(kind, ("", b""))))
        return topics

    def _messages(self, tracks: Tracks, topics: dict[int, Track], notes: list[str]) -> None:
        begin = "data" if self._whole else f"substr(data, 1, {HEAD})"
        lost = 0
        try:
            for row, topic, log, head in self._rows(
                f"SELECT id, topic_id, timestamp, {begin} FROM messages ORDER BY id"
            ):
                if topic not in topics or not (
                    isinstance(row, int) and isinstance(log, int) and isinstance(head, bytes)
                ):
                    lost += 1
                    continue
                tracks.add(topics[topic], log, head, (row, 0, 0))
        except sqlite3.DatabaseError as error:
            if not any(map(len, topics.values())):
                raise
            notes.append(f"the table of messages is damaged ({error}); what comes before is read")
        if lost:
            notes.append(f"{lost} messages without a known topic, a time or a payload are left out")


def _texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)
