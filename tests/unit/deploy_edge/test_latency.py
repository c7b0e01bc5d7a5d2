from foreact.deploy_edge.latency import DROPPED, TURN, WARM_UP, interleaved


def test_calls_take_turns_and_are_timed_apart() -> None:
    order: list[str] = []

    def slow() -> None:
        order.append("slow")
        sum(range(100_000))

    rounds = 2 * (TURN - DROPPED) - 1
    result = interleaved({"slow": slow, "fast": lambda: order.append("fast")}, rounds)
    assert order == (["slow"] * TURN + ["fast"] * TURN) * (2 + WARM_UP)
    assert result["slow"].cpu_ms > result["fast"].cpu_ms
    assert result["slow"].wall_p99_ms >= result["slow"].wall_ms > 0
