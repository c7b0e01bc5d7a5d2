"""Bits for each layer within a budget: those first that save most error for what they cost."""

import heapq
from collections.abc import Mapping, Sequence

from foreact.deploy_edge.sensitivity import SensitivityRow

__all__ = ["average_bits", "cost_bits", "spend_budget"]

SCALE_BITS = 32  # of a scale, which a group shares


def spend_budget(rows: Sequence[SensitivityRow], budget: float) -> dict[str, int]:
    """Greedy knapsack: every layer begins with the fewest bits, then the best upgrade is bought as long as it fits.

    Errors of layers are independent, so their squares add up.

    Args:
        rows: From `scan`: for each weight tensor one row per number of bits that it may have.
        budget: Average bits of a weight, scales of groups included.

    Returns:
        Bits of each weight tensor.

    Raises:
        ValueError: Even the fewest bits cost more than the budget.
    """
    choices: dict[str, list[SensitivityRow]] = {}
    for row in sorted(rows, key=lambda each: each.bits):
        choices.setdefault(row.weight, []).append(row)
    total = sum(each[0].weights for each in choices.values())
    left = budget * total - sum(cost_bits(each[0]) for each in choices.values())
    if left < 0:
        least = sum(cost_bits(each[0]) for each in choices.values()) / total
        raise ValueError(f"budget={budget} bits per weight cannot be met; this model needs {least:.2f} at least")
    place = dict.fromkeys(choices, 0)
    waiting = [each for weight in choices if (each := _upgrade(choices, weight, 0)) is not None]
    heapq.heapify(waiting)
    while waiting:
        _, weight, step, cost = heapq.heappop(waiting)
        if cost <= left:
            left -= cost
            place[weight] = step
            following = _upgrade(choices, weight, step)
            if following is not None:
                heapq.heappush(waiting, following)
    return {weight: choices[weight][step].bits for weight, step in place.items()}


def cost_bits(row: SensitivityRow) -> float:
    """Bits that a layer's weights and the scales of its groups take."""
    return row.weights * (row.bits + (SCALE_BITS / row.group if row.group else 0))


def average_bits(rows: Sequence[SensitivityRow], bits: Mapping[str, int]) -> float:
    """Average bits of a weight under a plan, scales of groups included."""
    chosen = [row for row in rows if bits[row.weight] == row.bits]
    return sum(map(cost_bits, chosen)) / sum(row.weights for row in chosen)


def _upgrade(
    choices: Mapping[str, Sequence[SensitivityRow]], weight: str, step: int
) -> tuple[float, str, int, float] | None:
    """The next step of a layer: minus the error saved per bit, the layer, the step and its cost."""
    if step + 1 == len(choices[weight]):
        return None
    now, then = choices[weight][step], choices[weight][step + 1]
    cost = cost_bits(then) - cost_bits(now)
    return -(now.squared_error - then.squared_error) / cost, weight, step + 1, cost
