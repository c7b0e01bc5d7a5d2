"""Layout seeds never meet."""

import itertools

import pytest

from foreact.sim.seeds import INDEX_LIMIT, SEED_LIMIT, layout_seed

SPLITS = ("train", "eval", "calibration")


def test_worked_values() -> None:
    assert layout_seed("train", 0, 7) == 7
    assert layout_seed("train", 1, 0) == 2**20
    assert layout_seed("eval", 0, 0) == 2**48
    assert layout_seed("calibration", 3, 5) == 2 * 2**48 + 3 * 2**20 + 5


def test_corners_of_all_ranges_are_distinct() -> None:
    corners = itertools.product(SPLITS, (0, 1, SEED_LIMIT - 1), (0, 1, INDEX_LIMIT - 1))
    seeds = [layout_seed(*corner) for corner in corners]
    assert len(set(seeds)) == 27
    assert max(seeds) < 2**50


def test_ranges_of_splits_do_not_overlap() -> None:
    bounds = [(layout_seed(s, 0, 0), layout_seed(s, SEED_LIMIT - 1, INDEX_LIMIT - 1)) for s in SPLITS]
    for (_, end), (start, _) in itertools.pairwise(bounds):
        assert end < start


@pytest.mark.parametrize(
    ("split", "seed", "index", "named"),
    [("test", 0, 0, "split"), ("train", -1, 0, "seed"), ("train", SEED_LIMIT, 0, "seed"), ("eval", 0, -1, "index"),
     ("eval", 0, INDEX_LIMIT, "index")],
)  # fmt: skip
def test_out_of_range_is_refused(split: str, seed: int, index: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        layout_seed(split, seed, index)  # pyright: ignore[reportArgumentType]
