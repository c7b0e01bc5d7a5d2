"""The ledger keeps the first N successes whatever the order of results, the number of workers and the interruptions."""

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from foreact.sim.attempts import AttemptLedger, RecordError
from foreact.sim.demonstration import Attempt
from foreact.sim.recording_job import episode_key

WANTED = 7
OUTCOMES = [index % 3 != 1 and index not in (5, 6) for index in range(100)]  # 0 2 3 8 9 11 12 14 ... succeed


class StubStore:
    """Episodes by key, with the metadata a recording gives them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.steps: dict[str, int] = {}

    def keys(self) -> list[str]:
        return sorted(self.steps)

    def header(self, key: str) -> SimpleNamespace:
        index = int(key.rsplit("-", 1)[1])
        return SimpleNamespace(
            metadata={"attempt": index, "steps": self.steps[key], "noise_std": 0.4 if index % 2 else 0.0}
        )


def _attempt(store: StubStore, index: int) -> Attempt:
    if OUTCOMES[index]:
        store.steps[episode_key("push-v3", index)] = 100 + index
    return Attempt(index, bool(index % 2), OUTCOMES[index], 100 + index)


def _ledger(store: Any, wanted: int = WANTED) -> AttemptLedger:
    return AttemptLedger(store, "push-v3", wanted)


def _run(
    store: StubStore, rng: random.Random, workers: int, stop_after: int | None = None, wanted: int = WANTED
) -> AttemptLedger:
    """Finish open jobs in random order; stop_after abandons the rest as a kill would, some already in the store."""
    ledger, running, finished = _ledger(store, wanted), [], 0
    while True:
        while len(running) < workers and (taken := ledger.take(rng.randint(1, 3))):
            assert not set(taken) & {index for job in running for index in job}, "handed out twice"
            running.append(taken)
        if not running:
            return ledger
        job = running.pop(rng.randrange(len(running)))
        attempts = [_attempt(store, index) for index in job]
        finished += 1
        if stop_after is not None and finished > stop_after:
            return ledger
        ledger.close(attempts)


def test_one_worker_makes_attempts_in_order_until_the_last_success(tmp_path: Path) -> None:
    ledger = _run(StubStore(tmp_path), random.Random(0), workers=1)
    assert [attempt.index for attempt in ledger.attempts] == list(range(13))
    assert [attempt.index for attempt in ledger.attempts if attempt.success] == [0, 2, 3, 8, 9, 11, 12]


@pytest.mark.parametrize("seed", range(20))
def test_workers_and_interruptions_change_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    store = StubStore(tmp_path / "interrupted")
    for _ in range(3):
        _run(store, rng, workers=rng.randint(1, 5), stop_after=rng.randint(0, 3))
    ledger = _run(store, rng, workers=rng.randint(1, 5))
    plain = StubStore(tmp_path / "plain")
    reference = _run(plain, random.Random(0), workers=1)
    ledger.save()
    assert store.steps == plain.steps
    assert ledger.attempts == reference.attempts
    names = [tmp_path / run / "attempts" / "push-v3.json" for run in ("interrupted", "plain")]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_a_larger_number_extends_and_a_smaller_one_takes_nothing(tmp_path: Path) -> None:
    store = StubStore(tmp_path)
    _run(store, random.Random(1), workers=3)
    assert _ledger(store, 4).take(10) == ()
    extended = _run(store, random.Random(2), workers=3, wanted=9)
    assert [attempt.index for attempt in extended.attempts] == list(range(16))
    assert extended.stored == 9


def test_a_success_whose_episode_was_removed_is_made_again(tmp_path: Path) -> None:
    store = StubStore(tmp_path)
    _run(store, random.Random(1), workers=1)
    del store.steps["push-v3-00003"]
    assert _ledger(store).take(10) == (3,)


def test_episodes_of_a_task_with_a_longer_name_are_not_counted(tmp_path: Path) -> None:
    store = StubStore(tmp_path)
    store.steps["push-v3-wide-00000"] = 100
    assert _ledger(store).stored == 0


def test_a_hopeless_expert_is_reported(tmp_path: Path) -> None:
    ledger = _ledger(StubStore(tmp_path))
    ledger.close(Attempt(index, False, False, 500) for index in range(20))
    with pytest.raises(RecordError, match="solved 0 of 20 attempts.*noise_std"):
        ledger.take(1)


@pytest.mark.parametrize("text", ["", "{", '{"attempts": 3}', '{"attempts": [{"index": 1}]}'])
def test_a_damaged_ledger_is_reported(tmp_path: Path, text: str) -> None:
    file = tmp_path / "attempts" / "push-v3.json"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(RecordError, match="is damaged.*delete it"):
        _ledger(StubStore(tmp_path))


def test_a_foreign_episode_is_reported(tmp_path: Path) -> None:
    store = StubStore(tmp_path)
    store.steps["push-v3-0004"] = 3
    with pytest.raises(RecordError, match="push-v3-0004.*another folder"):
        _ledger(store)


def test_the_ledger_file_lists_every_attempt(tmp_path: Path) -> None:
    _run(StubStore(tmp_path), random.Random(4), workers=2)
    content = json.loads((tmp_path / "attempts" / "push-v3.json").read_text())
    assert content["task"] == "push-v3"
    assert content["attempts"][1] == {"index": 1, "noisy": True, "success": False, "steps": 101}
