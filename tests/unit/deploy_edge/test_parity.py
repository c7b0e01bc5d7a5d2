import numpy as np
import pytest

from foreact.deploy_edge.parity import STILL_LIMIT, Gate, ParityError, compare, require_parity, span_of
from foreact.episodes.contract import PolicyContract


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


def test_differences_are_judged_by_the_range_of_their_element() -> None:
    # 0.03 is 1.5 % of a range of 2 and 3 % of a range of 1
    reference, chunks, span = [chunk(1, 1), chunk(1, 1)], [chunk(1.03, 1), chunk(1, 1.03)], np.array([2.0, 1.0])
    parity = compare(reference, chunks, span)
    assert parity.range_fraction == pytest.approx([0.015, 0.03], abs=1e-6)
    require_parity(parity, Gate(0.99, 0.031), "compression")
    with pytest.raises(ParityError, match=r"3.00 % of an action element's range at observation 1 of 2.*gate is 2 %"):
        require_parity(parity, Gate(0.99), "compression")


def test_a_range_gate_without_ranges_fails() -> None:
    with pytest.raises(ParityError, match="range"):
        require_parity(compare([chunk(1, 1)], [chunk(1, 1)]), Gate(), "compression")


def test_the_use_of_a_gate_is_one_where_it_is_just_met() -> None:
    gate, span = Gate(0.9, 0.05), np.array([2.0, 2.0])
    assert compare([chunk(1, 0)], [chunk(1, 0.1)], span).use_of(gate) == pytest.approx(1.0)
    assert compare([chunk(1, 0)], [chunk(0.9, 0.19**0.5)], span).use_of(Gate(0.9, None)) == pytest.approx(
        (1 - 0.9 / (0.81 + 0.19) ** 0.5) / 0.1
    )
    assert np.isnan(compare([chunk(1, 0)], [chunk(1, np.nan)], span).use_of(gate))


def test_spans_come_from_the_contract(contract: PolicyContract) -> None:
    assert span_of(contract).tolist() == [2.0, 2.0]
    with pytest.raises(ValueError, match="needs a range"):
        compare([chunk(1, 1)], [chunk(1, 1)], np.array([2.0, 0.0]))
