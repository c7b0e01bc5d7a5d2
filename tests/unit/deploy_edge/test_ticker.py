from foreact.deploy_edge.runtime.ticker import Ticker


class Clock:
    """A clock that moves by sleeping, by looking at it, and by hand."""

    def __init__(self, wake_up_late_ns: int = 0) -> None:
        self.now, self.late = 1_000, wake_up_late_ns

    def __call__(self) -> int:
        self.now += 100
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1e9) + self.late


def test_deadlines_are_absolute_so_that_lateness_does_not_add_up() -> None:
    clock = Clock()
    ticker = Ticker(100.0, clock, clock.sleep)
    ticker.start()
    assert ticker.period_ns == 10_000_000
    assert ticker.wait(1) < 1_000
    clock.now += 25_000_000  # work that takes two and a half periods
    assert 15_000_000 <= ticker.wait(2) < 15_100_000
    assert 5_000_000 <= ticker.wait(3) < 5_100_000
    assert ticker.wait(4) < 1_000


def test_sleep_that_oversleeps_a_little_is_caught_by_spinning() -> None:
    clock = Clock(wake_up_late_ns=200_000)
    ticker = Ticker(100.0, clock, clock.sleep)
    ticker.start()
    assert ticker.wait(1) < 1_000


def test_past_deadlines_and_elapsed_time() -> None:
    clock = Clock()
    ticker = Ticker(100.0, clock, clock.sleep)
    ticker.start()
    clock.now += 15_000_000
    assert ticker.is_past(1) and not ticker.is_past(2)
    assert 0.015 <= ticker.elapsed_s() < 0.0151
