"""2:4 sparsity: of every four neighbouring inputs of an output, two weights become zero.

NVIDIA's tensor cores since Ampere skip such zeros; TensorRT builds for them from a file that has them. On a CPU nothing
skips them, so nothing here becomes faster or smaller. Beside a sparse layer the lost directions can be put back as two
thin matrices: Jabbour et al. 2025 (GLUESTICK), arXiv 2510.08464. Shape letters: O outputs, I inputs, R rank.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from foreact.deploy_edge.compress.samples import batches, fixed_draws
from foreact.episodes.outcome import JSON

if TYPE_CHECKING:
    from torch import Tensor, nn

    from foreact.deploy_edge.compress.recipe import SparsityConfig
    from foreact.vla.chunk_policy import ChunkPolicy
    from foreact.vla.dataset import Demonstrations

__all__ = ["Factors", "is_two_of_four", "magnitude_mask", "sparse_layers", "sparsify", "with_factors"]

type Factors = dict[str, Tensor]
"""For each sparse layer NAME: `NAME.sparse` (O, I, ..), `NAME.up` (O, R) and `NAME.down` (R, I, ..)."""


def sparsify(
    policy: ChunkPolicy, config: SparsityConfig, samples: Demonstrations
) -> tuple[ChunkPolicy, Factors, dict[str, JSON]]:
    """Make the layers that can be sparse 2:4 sparse.

    Args:
        policy: In evaluation mode; not changed.
        config: How.
        samples: Recorded samples for `sparsegpt`.

    Returns:
        The policy; with a rank, its weights are the sparse ones and what was put back together, and the parts come
        second; figures for the report.

    Raises:
        ImportError: nvidia-modelopt is not installed.
    """
    import torch

    names = sparse_layers(policy)
    dense: dict[str, Tensor] = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    weights: dict[str, Tensor] = _pruned_by_modelopt(policy, samples, names) if config.method == "sparsegpt" else {}
    result = policy.config.build(policy.contract)
    factors: Factors = {}
    lost = []
    for name in names:
        key = f"{name}.weight"
        sparse = weights.get(name, dense[key] * magnitude_mask(dense[key]))
        gap = dense[key] - sparse
        lost.append(float(gap.square().sum() / dense[key].square().sum().clamp(min=1e-12)))
        if config.rank:
            # W_gap = U S V' ~ (U_r S_r) V_r'
            u, s, v = torch.linalg.svd(gap.flatten(1), full_matrices=False)
            up, down = (u[:, : config.rank] * s[: config.rank]).contiguous(), v[: config.rank].contiguous()
            factors |= {f"{name}.sparse": sparse, f"{name}.up": up, f"{name}.down": down.unflatten(1, gap.shape[1:])}
            dense[key] = sparse + (up @ down).view_as(sparse)
        else:
            dense[key] = sparse
    result.load_state_dict(dense)
    figures: dict[str, JSON] = {
        "pattern": "2:4",
        "method": config.method,
        "rank": config.rank,
        "layers": names,
        "weight_energy_lost": round(sum(lost) / max(1, len(lost)), 5),
        "runs_faster_in": "TensorRT on Ampere or newer; no CPU engine skips zeros",
    }
    return result.eval(), factors, figures


def sparse_layers(policy: ChunkPolicy) -> list[str]:
    """Linear and convolution layers whose inputs come in fours."""
    from torch import nn

    layers = [(name, m.weight.shape[1]) for name, m in policy.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return [name for name, inputs in layers if inputs % 4 == 0 and inputs >= 16]


def magnitude_mask(weight: Tensor) -> Tensor:
    """1 for the two largest of every four neighbouring inputs, 0 for the others.

    Args:
        weight: (O, I, ..).
    """
    import torch

    fours = weight.movedim(1, -1).unflatten(-1, (-1, 4)).abs()
    order = torch.argsort(fours, dim=-1, descending=True, stable=True)
    mask = torch.zeros_like(fours).scatter_(-1, order[..., :2], 1.0)
    return mask.flatten(-2).movedim(-1, 1)


def is_two_of_four(weight: Tensor) -> bool:
    """Whether at least two of every four neighbouring inputs are zero."""
    return bool(((weight.movedim(1, -1).unflatten(-1, (-1, 4)) != 0).sum(-1) <= 2).all())


def with_factors(policy: ChunkPolicy, factors: Factors) -> ChunkPolicy:
    """The same function with each sparse layer and what was put back as layers of their own, for export."""
    import copy

    result: Any = copy.deepcopy(policy)
    for name in sorted({key.rpartition(".")[0] for key in factors}):
        parent, _, last = name.rpartition(".")
        layer = result.get_submodule(name)
        parts = [factors[f"{name}.{part}"] for part in ("sparse", "up", "down")]
        setattr(result.get_submodule(parent), last, _beside(layer, *parts))
    return result


def _beside(layer: Any, sparse: Tensor, up: Tensor, down: Tensor) -> nn.Module:
    """A layer of the form W_sparse x + b + A (B x)."""
    import copy

    from torch import nn

    class SparseAndLowRank(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sparse, self.down = copy.deepcopy(layer), copy.deepcopy(layer)
            self.sparse.weight = nn.Parameter(sparse)
            self.down.weight, self.down.bias = nn.Parameter(down), None
            wide = up[..., None, None] if sparse.ndim == 4 else up
            if sparse.ndim == 4:
                self.up: nn.Module = nn.Conv2d(up.shape[1], up.shape[0], 1, bias=False)
                self.down.out_channels = up.shape[1]
            else:
                self.up = nn.Linear(up.shape[1], up.shape[0], bias=False)
                self.down.out_features = up.shape[1]
            self.up.weight = nn.Parameter(wide)

        def forward(self, x: Tensor) -> Tensor:
            return self.sparse(x) + self.up(self.down(x))

    return SparseAndLowRank()


def _pruned_by_modelopt(policy: ChunkPolicy, samples: Demonstrations, names: list[str]) -> dict[str, Tensor]:
    """Weights after modelopt's SparseGPT (Frantar and Alistarh 2023)."""
    import copy

    try:
        import modelopt.torch.sparsity as modelopt
    except ImportError as error:
        raise ImportError(
            "sparsity.method=sparsegpt needs nvidia-modelopt; type uv pip install 'foreact[compress]', "
            "or recipe.sparsity.method=magnitude"
        ) from error
    model = copy.deepcopy(policy)
    inputs = list(_model_inputs(policy, samples))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it passes over layers whose inputs do not come in fours is known
        modelopt.sparsify(model, "sparsegpt", {"data_loader": inputs, "collect_func": lambda batch: batch})
        modelopt.export(model)
    made: dict[str, Any] = dict(model.named_modules())
    found = {name: made[name].weight.detach().clone() for name in names}
    return {name: weight for name, weight in found.items() if is_two_of_four(weight)}


def _model_inputs(policy: ChunkPolicy, samples: Demonstrations) -> Iterator[tuple[Tensor, ...]]:
    for batch in batches(samples):
        draws = fixed_draws(policy, batch["chunk"], 0)
        known = {**batch, "noise": draws.noise, "prefix": batch["chunk"], "delay": draws.delay}
        yield tuple(known[name] for name in policy.input_names)
