import numpy as np
import pytest

from foreact.sim.sound.materials import MATERIALS, Modes, modes_of
from foreact.sim.sound.record import RecordSoundsConfig
from foreact.sim.sound.ringing import Ringing

ONE = Modes(np.array([1000.0]), np.array([20.0]), np.array([0.5]))


def test_one_mode_by_hand() -> None:
    ringing = Ringing(8000)
    ringing.strike(100, ONE, 2.0)
    sound = ringing.render(4000)
    n = np.arange(3900)
    expected = np.exp(-20.0 * n / 8000) * np.sin(2 * np.pi * 1000 * n / 8000)
    assert not sound[:100].any() and np.abs(sound[100:] - expected).max() < 1e-4


def test_pieces_of_any_length_are_the_whole_bit_for_bit() -> None:
    random = np.random.default_rng(0)
    blows = sorted((int(at), name) for at, name in zip(random.integers(0, 20_000, 12), [*MATERIALS] * 3, strict=False))
    whole, pieces, parts = Ringing(), Ringing(), []
    for at, name in blows:
        whole.strike(at, modes_of(MATERIALS[name], 0.03, 5000.0, 16_000), 0.3)
    waiting = list(blows)
    while pieces.position < 30_000:
        size = int(random.integers(1, 900))
        while waiting and waiting[0][0] < pieces.position + size:
            at, name = waiting.pop(0)
            pieces.strike(at, modes_of(MATERIALS[name], 0.03, 5000.0, 16_000), 0.3)
        parts.append(pieces.render(size))
    sound = np.concatenate(parts)
    assert sound.std() > 0.01 and np.array_equal(sound, whole.render(len(sound)))
    with pytest.raises(ValueError, match="comes too late"):
        pieces.strike(29_999, ONE, 1.0)


def test_what_is_over_is_forgotten() -> None:
    ringing = Ringing(8000)
    ringing.strike(0, ONE, 1.0)
    assert np.abs(ringing.render(4000)[-100:]).max() < 1e-3
    assert not ringing.render(4000).any()  # 0.5 exp(-20 t) is 1e-4 after 0.43 s
    ringing.strike(ringing.position, ONE, 1e-4)  # not to be heard at all
    assert not ringing.render(100).any()


def test_small_hard_things_ring_high_and_long() -> None:
    small, large = (modes_of(MATERIALS["steel"], radius, 9000.0, 16_000) for radius in (0.02, 0.05))
    assert small.frequencies[0] == 2250 and large.frequencies[0] == 900
    assert np.allclose(large.frequencies / 900, [1.0, 2.757, 5.404][: len(large.frequencies)])
    assert (modes_of(MATERIALS["glass"], 0.05, 9000.0, 16_000).frequencies < 7200).all()
    ends = {name: modes_of(each, 0.05, each.hardness, 16_000).dampings[0] for name, each in MATERIALS.items()}
    assert ends["steel"] < ends["glass"] < ends["wood"] < ends["plastic"] < ends["rubber"]
    soft = modes_of(MATERIALS["steel"], 0.05, MATERIALS["rubber"].hardness, 16_000)
    assert soft.gains[1] / soft.gains[0] < 0.5 * large.gains[1] / large.gains[0]


@pytest.mark.parametrize(
    "change", [{"seconds": 0.0}, {"clips": 0}, {"split": "test"}, {"pause": 0.0}, {"least": 0.0}, {"target": "scenes"}]
)
def test_what_cannot_be_recorded_is_refused(change: dict[str, object], tmp_path: object) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        RecordSoundsConfig(out=tmp_path, **change)  # pyright: ignore[reportArgumentType]
