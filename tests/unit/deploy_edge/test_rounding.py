import numpy as np
import pytest

from foreact.deploy_edge.rounding import as_matrix, limit_of, outputs_last, rounded, scales_of

RNG = np.random.default_rng(0)


def test_scales_by_hand() -> None:
    weight = np.array([[1.27, -0.5], [0.0, 0.0], [0.1, -0.254]], np.float32)
    assert scales_of(weight, 0, 8) == pytest.approx([0.01, 1.0, 0.002])
    assert scales_of(weight, 1, 8) == pytest.approx([0.01, 0.5 / 127])
    assert scales_of(weight, 0, 4) == pytest.approx([1.27 / 7, 1.0, 0.254 / 7])
    assert scales_of(weight, 0, 8, per_channel=False) == pytest.approx([0.01] * 3)
    assert limit_of(8) == 127 and limit_of(4) == 7


@pytest.mark.parametrize(("shape", "axis"), [((5, 7), 0), ((7, 5), 1), ((5, 3, 2, 2), 0)])
def test_nearest_integers_are_half_a_step_away_at_most(shape: tuple[int, ...], axis: int) -> None:
    weight = RNG.normal(size=shape).astype(np.float32)
    made = rounded(weight, axis, 8)
    assert made.values.shape == shape and made.values.dtype == np.int8 and made.group is None
    steps = made.scales.reshape([-1 if index == axis else 1 for index in range(len(shape))])
    assert (np.abs(made.dequantised() - weight) <= steps * 0.5001).all()


def test_groups_have_scales_of_their_own() -> None:
    weight = np.concatenate([np.full((2, 16), 0.7), np.full((2, 16), 0.07)], 1).astype(np.float32)
    made = rounded(weight, 0, 4, group=16)
    assert made.scales.shape == (2, 2) and made.group == 16
    assert made.dequantised() == pytest.approx(weight, rel=1e-5)
    # one scale for all would round the small half to nothing better than a seventh of the large one
    assert np.abs(rounded(weight, 0, 4).dequantised() - weight).max() > 0.02
    with pytest.raises(ValueError, match="groups of 64"):
        rounded(weight, 0, 4, group=64)


def test_a_turned_matrix_says_the_same() -> None:
    weight = RNG.normal(size=(6, 32)).astype(np.float32)
    for group in (None, 16):
        made = rounded(weight, 0, 4, group=group)
        turned = outputs_last(made)
        assert turned.values.shape == (32, 6) and turned.axis == 1
        assert np.array_equal(turned.dequantised().T, made.dequantised())


@pytest.mark.parametrize("bits", [4, 8])
def test_adaptive_rounding_keeps_results_nearer(bits: int) -> None:
    mixed = RNG.normal(size=(12, 40)) * np.linspace(0.1, 3, 40)
    inputs = RNG.normal(size=(300, 12)) @ mixed + 0.05 * RNG.normal(size=(300, 40))
    weight = RNG.normal(size=(9, 40)).astype(np.float32)
    moments = inputs.T @ inputs / len(inputs)
    errors = [
        np.square(inputs @ (as_matrix(rounded(weight, 0, bits, moments=each).dequantised(), 0) - weight).T).mean()
        for each in (None, moments)
    ]
    assert errors[1] < 0.3 * errors[0]


def test_adaptive_rounding_by_hand() -> None:
    # two inputs that are always equal: what the first weight loses, the second takes over
    made = rounded(np.array([[127.0, 0.4], [127.0, 0.3]], np.float32) / 127, 0, 8, moments=np.ones((2, 2)))
    assert made.values.tolist() == [[127, 0], [127, 0]]
    weight = np.array([[0.4, 0.4, 10.0]], np.float32)
    linked = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    step = 10.0 / 7
    made = rounded(weight, 0, 4, moments=linked)
    # 0.8 / step = 0.56 rounds to one step in all; each alone rounds to none
    assert made.values[0, :2].sum() * step == pytest.approx(step)
    assert rounded(weight, 0, 4).values.tolist() == [[0, 0, 7]]
