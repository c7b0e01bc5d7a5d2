"""The ledger of one task's attempts: which were made, which succeeded, which to make next.

Attempts are numbered 0, 1, 2, ... and the recording keeps the first N successes. As many attempts are open at once as
successes are missing, never more. Therefore no success is ever one too many, and the last attempt is the N-th success,
however many workers there are and wherever a run was interrupted: the stored set depends on N and the rules alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.store import EpisodeStore
from foreact.sim.demonstration import Attempt
from foreact.sim.recording_job import episode_key

__all__ = ["AttemptLedger", "RecordError"]

# after so many attempts, an expert that succeeds less than once in ten will not fill a data set
HOPELESS_ATTEMPTS = 20
HOPELESS_RATE = 0.1


class RecordError(RuntimeError):
    """A recording cannot go on; the message says why and what to do."""


class AttemptLedger:
    """What is known of a task's attempts.

    Successes are known from the store, where they are committed; failures from a small file beside the episodes.

    Args:
        store: The episode store.
        task: Full task name.
        wanted: Successes to collect, N.

    Raises:
        RecordError: The ledger's file is damaged.
    """

    def __init__(self, store: EpisodeStore, task: str, wanted: int) -> None:
        self.task = task
        self.wanted = wanted
        self._file = Path(store.path) / "attempts" / f"{task}.json"
        self._known = {attempt.index: attempt for attempt in self._read(store)}
        self._open: set[int] = set()

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All known attempts by index."""
        return tuple(self._known[index] for index in sorted(self._known))

    @property
    def stored(self) -> int:
        """Successes stored."""
        return sum(attempt.success for attempt in self._known.values())

    def take(self, most: int) -> tuple[int, ...]:
        """Open the next attempts.

        Args:
            most: At most so many.

        Returns:
            Their indices; none if as many are open as are missing.

        Raises:
            RecordError: The expert fails too often to ever finish.
        """
        count = min(most, self.wanted - self.stored - len(self._open))
        taken: list[int] = []
        index = 0
        while len(taken) < count:
            if index not in self._known and index not in self._open:
                taken.append(index)
            index += 1
        if taken:
            self._refuse_hopeless()
        self._open.update(taken)
        return tuple(taken)

    def close(self, attempts: Iterable[Attempt]) -> None:
        """Enter the outcome of open attempts and save the ledger.

        Args:
            attempts: Their outcomes; successes are already stored.
        """
        for attempt in attempts:
            self._open.discard(attempt.index)
            self._known[attempt.index] = attempt
        self.save()

    def save(self) -> None:
        """Write the ledger beside the episodes, atomically."""
        write_json_atomic(self._file, {"task": self.task, "attempts": [asdict(attempt) for attempt in self.attempts]})

    def _refuse_hopeless(self) -> None:
        made = len(self._known)
        if made >= HOPELESS_ATTEMPTS and self.stored < HOPELESS_RATE * made:
            raise RecordError(
                f"{self.task}: the expert solved {self.stored} of {made} attempts, too few to collect {self.wanted}; "
                "lower noise_std or noise_fraction, or leave the task out"
            )

    def _read(self, store: EpisodeStore) -> list[Attempt]:
        failures = [attempt for attempt in self._read_file() if not attempt.success]
        prefix = f"{self.task}-"
        own = [key for key in store.keys() if key.startswith(prefix) and key.removeprefix(prefix).isdigit()]
        return failures + [self._from_store(store, key) for key in own]

    def _from_store(self, store: EpisodeStore, key: str) -> Attempt:
        metadata = store.header(key).metadata
        index, steps, noise_std = metadata["attempt"], metadata["steps"], metadata["noise_std"]
        if not (isinstance(index, int) and isinstance(steps, int) and isinstance(noise_std, float)):
            raise RecordError(
                f"{store.path}: episode {key} was not written by `foreact record`; record into another folder"
            )
        if key != episode_key(self.task, index):
            raise RecordError(f"{store.path}: episode {key} says it is attempt {index}; record into another folder")
        return Attempt(index, noise_std > 0, True, steps)

    def _read_file(self) -> list[Attempt]:
        if not self._file.exists():
            return []
        try:
            return [Attempt(**entry) for entry in json.loads(self._file.read_text(encoding="utf-8"))["attempts"]]
        except (ValueError, TypeError, KeyError) as error:
            raise RecordError(
                f"{self._file} is damaged ({error}); delete it, its failed attempts are then made again"
            ) from error
