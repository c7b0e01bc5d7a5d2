import re

import numpy as np
import pytest

from foreact.deploy_edge.runtime.gate import ActionGate
from foreact.episodes.contract import PolicyContract


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_good_actions_pass_unchanged(contract: PolicyContract) -> None:
    gate = ActionGate(contract.action)
    for action in (vector(0.5, -1.0), vector(1.0, 1.0)):
        assert gate.passed(action) is action
    assert gate.refused == 0


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (vector(np.nan, 0.0), "x = nan"),
        (vector(0.0, np.inf), "y = inf"),
        (vector(0.0, -1.1), "y = -1.1"),
        (vector(0.0), r"shape \(1,\)"),
    ],
)
def test_a_bad_action_is_held_back(contract: PolicyContract, bad: np.ndarray, reason: str) -> None:
    gate = ActionGate(contract.action)
    assert gate.passed(bad) is None
    good = vector(0.25, 0.5)
    gate.passed(good)
    assert gate.passed(bad) is good
    assert gate.refused == 2
    assert re.search(reason, gate.reason)


def test_rounding_of_a_clipped_value_is_no_fault(contract: PolicyContract) -> None:
    gate = ActionGate(contract.action)
    assert gate.passed(vector(1.000001, -1.000001)) is not None and gate.refused == 0
