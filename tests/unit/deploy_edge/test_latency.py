from foreact.deploy_edge.latency import WARM_UP, interleaved


def test_calls_take_turns_and_are_timed_apart() -> None:
    order: list[str] = []

    def slow() -> None:
        order.append("slow")
        sum(range(100_000))

    result = interleaved({"slow": slow, "fast": lambda: order.append("fast")}, rounds=3)
    assert order == ["slow", "fast"] * (3 + WARM_UP)
    assert result["slow"].cpu_ms > result["fast"].cpu_ms
    assert result["slow"].wall_p99_ms >= result["slow"].wall_ms > 0
