import numpy as np
import pytest

from foreact.deploy_edge.runtime.chunks import ChunkBuffer, StaleChunk


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def sent(buffer: ChunkBuffer, steps: range) -> list[float]:
    actions = [buffer.action(step) for step in steps]
    assert all(action is not None for action in actions)
    return [round(float(action[0]), 6) for action in actions if action is not None]


def test_there_is_no_action_before_the_first_chunk() -> None:
    assert ChunkBuffer().action(0) is None


def test_actions_are_picked_by_control_step_from_the_step_of_the_observation() -> None:
    buffer = ChunkBuffer(fade=0)
    buffer.install(column(10, 11, 12, 13), observed_step=0, next_step=0)
    assert sent(buffer, range(3)) == [10, 11, 12]
    # observed at step 2, arrives before step 5: three actions of it are in the past
    buffer.install(column(22, 23, 24, 25, 26), observed_step=2, next_step=5)
    assert sent(buffer, range(5, 7)) == [25, 26]
    assert buffer.remaining(6) == 1


def test_a_seam_fades_over_by_hand_worked_weights() -> None:
    buffer = ChunkBuffer(fade=3)
    buffer.install(column(0, 0, 0, 0, 0, 0), 0, 0)
    gap = buffer.install(column(9, 8, 8, 8, 8, 8), observed_step=1, next_step=2)
    assert gap == 8
    # weights 1/4, 2/4, 3/4, then 1
    assert sent(buffer, range(2, 7)) == [2, 4, 6, 8, 8]


def test_a_third_chunk_fades_from_what_was_planned_not_from_the_second_chunk() -> None:
    buffer = ChunkBuffer(fade=1)
    buffer.install(column(0, 0, 0, 0), 0, 0)
    buffer.install(column(4, 4, 4, 4), 1, 1)  # plan: 2, 4, 4, 4
    buffer.install(column(6, 6, 6, 6), 1, 1)  # (2 + 6) / 2 = 4, then 6
    assert sent(buffer, range(1, 4)) == [4, 6, 6]


def test_a_starved_buffer_holds_the_last_action_and_counts() -> None:
    buffer = ChunkBuffer()
    buffer.install(column(1, 2), 0, 0)
    assert sent(buffer, range(5)) == [1, 2, 2, 2, 2]
    assert buffer.starved == 3


def test_a_chunk_that_comes_too_late_changes_nothing() -> None:
    buffer = ChunkBuffer()
    buffer.install(column(1, 1), 0, 0)
    with pytest.raises(StaleChunk, match="observed at step 1 came at step 3"):
        buffer.install(column(5, 5), 1, 3)
    assert sent(buffer, range(3, 4)) == [1]


def test_a_chunk_from_the_future_is_an_error() -> None:
    with pytest.raises(ValueError, match="after the next step"):
        ChunkBuffer().install(column(1), observed_step=4, next_step=3)


@pytest.mark.parametrize("seed", range(30))
def test_no_step_at_a_seam_exceeds_the_chunks_own_steps_by_more_than_the_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    length, fade = 16, int(rng.integers(0, 8))
    buffer = ChunkBuffer(fade)
    chunks = [np.cumsum(rng.normal(0, 0.2, (length, 3)), 0).astype(np.float32) for _ in range(4)]
    buffer.install(chunks[0], 0, 0)
    track = [buffer.action(0)]
    step, largest = 1, np.abs(np.diff(chunks[0], axis=0)).max()
    bound = 0.0
    for chunk in chunks[1:]:
        for _ in range(int(rng.integers(1, length))):
            track.append(buffer.action(step))
            step += 1
        delay = int(rng.integers(0, min(step, length - 1)))
        old = np.array([buffer.action(step + i) for i in range(length - delay)])
        new = chunk[delay:]
        buffer.install(chunk, step - delay, step)
        largest = max(largest, np.abs(np.diff(new, axis=0)).max(initial=0), np.abs(np.diff(old, axis=0)).max(initial=0))
        # entering the fade moves by at most 1 / (fade + 1) of the distance between the plans at that step
        bound = max(bound, float(np.abs(new - old).max()) / (fade + 1))
    track += [buffer.action(step + i) for i in range(length)]
    moves = np.abs(np.diff(np.array(track), axis=0)).max()
    assert moves <= largest + bound + 1e-5


def test_without_a_fade_the_bound_is_broken() -> None:
    moves = {}
    for fade in (0, 7):
        buffer = ChunkBuffer(fade)
        buffer.install(column(*[0.0] * 16), 0, 0)
        before = sent(buffer, range(4))
        buffer.install(column(*[8.0] * 16), 2, 4)
        moves[fade] = np.abs(np.diff(before + sent(buffer, range(4, 16)))).max()
    assert moves == {0: 8.0, 7: 1.0}


def test_committed_actions_are_those_sent_and_those_planned() -> None:
    buffer = ChunkBuffer(fade=0)
    assert buffer.committed(0, 3) is None
    buffer.install(column(0, 1, 2, 3, 4, 5), 0, 0)
    buffer.install(column(10, 11, 12, 13, 14, 15), 2, 4)  # 4 steps were sent; the new chunk's row 2 is step 4
    past = [0.0, 1.0, 2.0, 3.0]
    planned = [12.0, 13.0, 14.0, 15.0]
    committed = buffer.committed(1, 8)
    assert committed is not None and committed[:, 0].tolist() == [*past[1:], *planned, 15.0]
    assert buffer.remaining(5) == 3 and buffer.origin == 4
    buffer.install(column(*range(20, 26)), 8, 11)
    assert buffer.committed(4, 1) is None, "longer ago than a chunk"
    late = buffer.committed(7, 6)
    assert late is not None and late[:, 0].tolist() == [15.0, 15.0, 15.0, 15.0, 23.0, 24.0]
