import numpy as np
import pytest

from foreact.deploy_edge.parity import STILL_LIMIT, ParityError, compare, require_parity


def chunk(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_cosine_and_difference_by_hand() -> None:
    parity = compare([chunk(1, 0), chunk(3, 4)], [chunk(1, 1), chunk(3, 4)])
    assert parity.cosine == pytest.approx([2**-0.5, 1.0])
    assert parity.max_abs == pytest.approx([1.0, 0.0])
    assert parity.min_cosine == pytest.approx(2**-0.5)


def test_the_gate_names_the_worst_observation() -> None:
    parity = compare([chunk(1, 0), chunk(0, 1)], [chunk(1, 0), chunk(0.1, 1)])
    require_parity(parity, 0.99, "export")
    with pytest.raises(ParityError, match="observation 1 of 2.*nothing was written"):
        require_parity(parity, 0.9999, "export")


def test_a_chunk_that_is_not_a_number_fails() -> None:
    with pytest.raises(ParityError):
        require_parity(compare([chunk(1, 0)], [chunk(np.nan, 0)]), 0.5, "export")


def test_standing_still_is_judged_by_the_difference() -> None:
    reference = [chunk(1, 0), chunk(0.001, 0)]
    require_parity(compare(reference, [chunk(1, 0), chunk(0, 0.001)]), 0.9999, "export")
    with pytest.raises(ParityError, match="stands still"):
        require_parity(compare(reference, [chunk(1, 0), chunk(0.001, 2 * STILL_LIMIT)]), 0.9999, "export")


def test_the_score_is_at_the_gate_where_either_gate_is_just_met() -> None:
    still = compare([chunk(1, 0), chunk(0, 0)], [chunk(1, 0), chunk(0, STILL_LIMIT)])
    assert still.score(0.9) == pytest.approx(0.9)
    moving = compare([chunk(1, 0)], [chunk(0.6, 0.8)])
    assert moving.score(0.9) == pytest.approx(0.6)


def test_nothing_or_unequal_numbers_cannot_be_compared() -> None:
    for reference, chunks in (([], []), ([chunk(1, 2)], [])):
        with pytest.raises(ValueError, match="compare"):
            compare(reference, chunks)
