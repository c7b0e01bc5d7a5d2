"""The arithmetic of the steps before quantisation, on numbers worked out by hand."""

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from foreact.deploy_edge.compress.importance import choose_counts, taylor_scores, units_to_keep  # noqa: E402
from foreact.deploy_edge.compress.qat import round_through, rounded_weight  # noqa: E402
from foreact.deploy_edge.compress.recipe import PruneConfig  # noqa: E402
from foreact.deploy_edge.compress.recover import correction  # noqa: E402
from foreact.deploy_edge.compress.sparsity import is_two_of_four, magnitude_mask, with_factors  # noqa: E402
from foreact.vla.slimming import Group, Part, Probe  # noqa: E402


class Two(torch.nn.Module):
    """Two hidden units: y = 3 relu(x) + 1 relu(-x)."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = torch.nn.Linear(1, 2, bias=False), torch.nn.Linear(2, 1, bias=False)
        self.enter.weight = torch.nn.Parameter(torch.tensor([[1.0], [-1.0]]))
        self.leave.weight = torch.nn.Parameter(torch.tensor([[3.0, 1.0]]))

    def forward(self, x: Any) -> Any:
        return self.leave(torch.relu(self.enter(x)))


PARTS = (Part("enter.weight", 0), Part("leave.weight", 1))
GROUP = Group("hidden", "hidden", 2, PARTS, (Probe("leave", "input"),))


def test_importance_is_activation_times_gradient_sample_by_sample() -> None:
    policy: Any = Two()
    x = torch.tensor([[2.0], [-5.0], [1.0]])
    # L = sum y: dL/da = (3, 1); a = (2, 0), (0, 5), (1, 0): unit 0 has |6| + |3|, unit 1 has |5|
    scores = taylor_scores(policy, [GROUP], iter([lambda: policy(x).sum()]))
    assert scores["hidden"].tolist() == [9.0, 5.0]
    # signs of samples must not cancel: L = sum s y with s = (1, 1, -2): 6 + 6 and 5
    signs = torch.tensor([[1.0], [1.0], [-2.0]])
    assert taylor_scores(policy, [GROUP], iter([lambda: (signs * policy(x)).sum()]))["hidden"].tolist() == [12.0, 5.0]


def test_the_most_important_units_stay_in_order_and_named_ones_always() -> None:
    group = Group("eye", "keypoints", 6, (), (), named=2)
    scores = {"eye": torch.tensor([0.0, 1.0, 5.0, 2.0, 9.0, 3.0])}
    assert units_to_keep([group], scores, {"keypoints": 4}) == {"eye": [0, 1, 2, 4]}


def policy_of(**sizes: tuple[int, ...]) -> Any:
    parameters = {name: torch.zeros(shape) for name, shape in sizes.items()}
    return SimpleNamespace(named_parameters=lambda: parameters.items(), state_dict=lambda: parameters)


def test_counts_are_multiples_near_the_share() -> None:
    groups = [Group("a", "wide", 100, (), ()), Group("b", "heads.0", 6, (), (), channels=32)]
    config = PruneConfig(keep=0.5, multiple=16)
    assert choose_counts(policy_of(), groups, {}, config) == {"wide": 48, "heads.0": 3}
    named = PruneConfig(keep=1.0, groups={"heads": 0.34}, multiple=16)
    assert choose_counts(policy_of(), groups, {}, named) == {"wide": 100, "heads.0": 2}
    with pytest.raises(ValueError, match="prune.groups.head: this policy has no such units; it has wide, heads.0"):
        choose_counts(policy_of(), groups, {}, PruneConfig(groups={"head": 0.5}))


def test_a_budget_takes_units_where_a_parameter_matters_least() -> None:
    groups = [
        Group("a", "a", 8, (Part("a", 0),), ()),
        Group("b", "b", 8, (Part("b", 0),), ()),
    ]
    policy = policy_of(a=(8, 10), b=(8, 10))
    scores = {"a": torch.tensor([0.0] * 6 + [1.0, 1.0]), "b": torch.ones(8)}
    config = PruneConfig(keep=0.125, budget=0.7, multiple=1)
    # 160 parameters, 112 may stay: five units of 10, all of them from a, where nothing is lost
    assert choose_counts(policy, groups, scores, config) == {"a": 3, "b": 8}
    with pytest.raises(ValueError, match="cannot be met: 120 parameters are left"):
        choose_counts(policy, groups, scores, PruneConfig(keep=0.8, budget=0.1, multiple=1))


def test_recovery_finds_the_weights_that_are_missing() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 6, generator=generator)
    truth, shift = torch.randn(3, 6, generator=generator), torch.tensor([1.0, -2.0, 0.5])
    gap, bias = correction(x, x @ truth.T + shift, 1e-6, None)
    assert torch.allclose(gap, truth, atol=1e-3) and torch.allclose(bias, shift, atol=1e-3)
    one, _ = correction(x, x @ truth.T, 1e-6, 1)
    assert torch.linalg.matrix_rank(one, atol=1e-4) == 1
    errors = [(x @ (truth - correction(x, x @ truth.T, 1e-6, rank)[0]).T).square().mean() for rank in (1, 2, 3)]
    assert errors[0] > errors[1] > errors[2] < 1e-6


def test_a_low_rank_counts_what_inputs_there_are_not_only_weights() -> None:
    # the larger weight sees an input that hardly moves: the direction worth keeping is the other
    x = torch.tensor([[0.01, 1.0], [-0.01, -1.0], [0.01, -1.0], [-0.01, 1.0]])
    gap, _ = correction(x, x @ torch.diag(torch.tensor([10.0, 1.0])), 1e-6, 1)
    assert abs(gap[1, 1] - 1) < 1e-2 and abs(gap[0, 0]) < 1e-2


def test_two_of_four_keeps_the_largest_along_inputs() -> None:
    weight = torch.tensor([[1.0, -4.0, 3.0, 2.0, 0.0, 0.0, 5.0, 0.1]])
    assert (weight * magnitude_mask(weight)).tolist() == [[0.0, -4.0, 3.0, 0.0, 0.0, 0.0, 5.0, pytest.approx(0.1)]]
    kernel = torch.randn(3, 8, 2, 2)
    assert is_two_of_four(kernel * magnitude_mask(kernel)) and not is_two_of_four(kernel)
    assert not is_two_of_four(torch.tensor([[1.0, 1.0, 1.0, 0.0]]))


@pytest.mark.parametrize("layer", [torch.nn.Linear(8, 5), torch.nn.Conv2d(8, 5, 3, stride=2, padding=1)])
def test_factors_beside_a_sparse_layer_compute_what_was_lost(layer: Any) -> None:
    torch.manual_seed(0)
    policy: Any = torch.nn.Sequential(layer)
    sparse = layer.weight.detach() * magnitude_mask(layer.weight.detach())
    up = torch.randn(5, 2)
    down = torch.randn(2, *sparse.shape[1:])
    split = with_factors(policy, {"0.sparse": sparse, "0.up": up, "0.down": down})
    x = torch.randn(2, 8) if sparse.ndim == 2 else torch.randn(2, 8, 6, 6)
    layer.weight = torch.nn.Parameter(sparse + (up @ down.flatten(1)).view_as(sparse))
    assert torch.allclose(split(x), policy(x), atol=1e-5)


def test_rounding_passes_gradients_straight_through_inside_the_limits() -> None:
    x = torch.tensor([0.26, -0.74, 9.0], requires_grad=True)
    rounded = round_through(x, torch.tensor(0.5), 7)
    assert rounded.tolist() == [0.5, -0.5, 3.5]
    rounded.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [1.0, 1.0, 0.0]


def test_weights_round_by_output_or_by_group_of_inputs() -> None:
    weight = torch.tensor([[7.0, 3.4, 0.07, 0.034]])
    assert rounded_weight(weight, 4, 0).tolist() == [[7.0, 3.0, 0.0, 0.0]]
    assert rounded_weight(weight, 4, 2)[0].tolist() == pytest.approx([7.0, 3.0, 0.07, 0.03])
