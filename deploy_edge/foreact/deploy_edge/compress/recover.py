"""Low-rank recovery without training: what pruning took from each layer comes back, as far as it has inputs for it.

After Jabbour et al. 2025, "Don't run with scissors: pruning breaks VLA models but they can be recovered" (GLUESTICK),
arXiv 2510.08464: the gap between a dense and a pruned weight, cut to rank r by an SVD, is added back. Under a mask
the gap is W_dense - W_pruned. After structured pruning the columns of that gap have lost their inputs, so the gap here
is the change of the kept columns that comes nearest to what the dense layer computes from its own inputs. The kept
columns are a dense matrix, so the correction is added into them and costs nothing at inference.
Shape letters: N rows of a regression, I inputs and O outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from foreact.deploy_edge.compress.samples import batches, fixed_draws
from foreact.episodes.outcome import JSON, ProgressFn, quiet

if TYPE_CHECKING:
    from torch import Tensor, nn

    from foreact.deploy_edge.compress.recipe import RecoverConfig
    from foreact.vla.chunk_policy import ChunkPolicy
    from foreact.vla.dataset import Demonstrations

__all__ = ["correction", "low_rank", "recover"]

CELLS = 16  # of each picture of features: rows of a convolution's regression per sample


def recover(
    pruned: ChunkPolicy,
    dense: ChunkPolicy,
    kept: Mapping[str, list[int]],
    config: RecoverConfig,
    samples: Demonstrations,
    progress: ProgressFn = quiet,
) -> tuple[ChunkPolicy, dict[str, JSON]]:
    """Correct the layers of a pruned policy, one after the other in the order in which they run.

    Args:
        pruned: Made from `dense`; not changed.
        dense: The policy before pruning.
        kept: For each group, the units that stayed.
        config: Rank and damping.
        samples: Recorded samples to fit on.
        progress: Told of each layer.

    Returns:
        The corrected policy and figures for the report.
    """
    import copy

    from foreact.vla.slimming import describe_groups, kept_rows

    result = copy.deepcopy(pruned).eval()
    stay = kept_rows(dense, describe_groups(dense), kept)
    modules = dict(result.named_modules())
    names = _layers_in_order(result, samples)
    computed = _outputs_of(dense, names, samples)
    explained = {}
    for done, name in enumerate(names):
        progress(done, len(names), "recover")
        wanted, rows = computed.pop(name), stay.get((f"{name}.weight", 0))
        wanted = wanted if rows is None else wanted[:, rows]
        inputs, now = _rows_of(result, name, samples)
        gap, bias = correction(inputs, wanted - now, config.ridge, config.rank)
        _add(modules[name], gap, bias)
        left, before = wanted - now - inputs @ gap.T - bias, (wanted - now).square().mean()
        explained[name] = round(float(1 - left.square().mean() / before), 4) if float(before) > 1e-10 else 1.0
    progress(len(names), len(names), "recover")
    return result, {"rank": config.rank, "samples": len(samples), "gap_explained": explained}


def correction(inputs: Tensor, missing: Tensor, ridge: float, rank: int | None) -> tuple[Tensor, Tensor]:
    """The weights and bias that give back what is missing, damped and of limited rank.

    Args:
        inputs: (N, I).
        missing: What the outputs lack, (N, O).
        ridge: Damping, as a part of the mean square of centred inputs.
        rank: Of the weights; None for all.

    Returns:
        (O, I) and (O,).
    """
    import torch

    middle, mean = inputs.double().mean(0), missing.double().mean(0)
    x, y = inputs.double() - middle, missing.double() - mean
    # C = X'X / n + lambda I;  gap = (Y'X / n) C^-1
    covariance = x.T @ x / len(x)
    covariance += torch.eye(len(covariance), dtype=covariance.dtype) * (ridge * covariance.diagonal().mean() + 1e-9)
    gap = torch.linalg.solve(covariance, (y.T @ x / len(x)).T).T
    if rank is not None:
        gap = low_rank(gap, covariance, rank)
    return gap.float(), (mean - gap @ middle).float()


def low_rank(gap: Tensor, covariance: Tensor, rank: int) -> Tensor:
    """The matrix of this rank whose outputs are nearest to the gap's for inputs of this covariance.

    Args:
        gap: (O, I).
        covariance: (I, I), positive definite.
        rank: r.
    """
    import torch

    # min_D |(G - D) L|_F with C = L L', rank D = r: truncate the SVD of G L (Eckart and Young), then undo L
    factor = torch.linalg.cholesky(covariance)
    u, s, v = torch.linalg.svd(gap @ factor, full_matrices=False)
    kept = u[:, :rank] * s[:rank] @ v[:rank]
    return torch.linalg.solve_triangular(factor, kept, upper=False, left=False)


class _Enough(Exception):
    """What was looked for has been seen; the rest of the policy need not run."""


def _layers_in_order(policy: ChunkPolicy, samples: Demonstrations) -> list[str]:
    """Names of linear and convolution layers in the order in which they run."""
    from torch import nn

    order: list[str] = []
    layers = {name: m for name, m in policy.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    handles = [m.register_forward_hook(lambda *_, name=name: order.append(name)) for name, m in layers.items()]
    _run(policy, samples, first=True)
    for handle in handles:
        handle.remove()
    return list(dict.fromkeys(order))


def _outputs_of(policy: ChunkPolicy, names: list[str], samples: Demonstrations) -> dict[str, Tensor]:
    """Outputs (N, O) of several layers, at the cells of `_rows_of`."""
    import torch

    found: dict[str, list[Tensor]] = {name: [] for name in names}
    modules = dict(policy.named_modules())

    def keep(name: str) -> Callable[..., None]:
        return lambda module, given, result: found[name].append(_as_rows(result.float()))

    handles = [modules[name].register_forward_hook(keep(name)) for name in names]
    _run(policy, samples)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(rows) for name, rows in found.items()}


def _rows_of(policy: ChunkPolicy, name: str, samples: Demonstrations) -> tuple[Tensor, Tensor]:
    """Inputs (N, I) and outputs (N, O) of a layer: for a convolution, patches around some cells."""
    import torch

    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def look(module: Any, given: Any, result: Tensor) -> None:
        inputs.append(_patches(module, given[0].float()))
        outputs.append(_as_rows(result.float()))
        raise _Enough

    handle = dict(policy.named_modules())[name].register_forward_hook(look)
    _run(policy, samples)
    handle.remove()
    return torch.cat(inputs), torch.cat(outputs)


def _patches(module: nn.Module, x: Tensor) -> Tensor:
    import torch
    from torch import nn

    if isinstance(module, nn.Linear):
        return x.flatten(0, -2)
    assert isinstance(module, nn.Conv2d)
    unfold: Any = torch.nn.functional.unfold
    patches = unfold(x, module.kernel_size, stride=module.stride, padding=module.padding)
    return patches[..., _cells(patches.shape[-1])].transpose(1, 2).flatten(0, 1)


def _as_rows(y: Tensor) -> Tensor:
    if y.ndim != 4:
        return y.flatten(0, -2)
    flat = y.flatten(2)
    return flat[..., _cells(flat.shape[-1])].transpose(1, 2).flatten(0, 1)


def _cells(count: int) -> Tensor:
    """Some cells of a picture, the same every time: spread over it without a grid's rhythm."""
    import torch

    return torch.randperm(count, generator=torch.Generator().manual_seed(count))[:CELLS]


def _add(module: nn.Module, gap: Tensor, bias: Tensor) -> None:
    import torch

    layer: Any = module
    with torch.no_grad():
        layer.weight += gap.view_as(layer.weight)
        if layer.bias is not None:
            layer.bias += bias


def _run(policy: ChunkPolicy, samples: Demonstrations, first: bool = False) -> None:
    import contextlib

    import torch

    with torch.no_grad():
        for batch in batches(samples):
            with contextlib.suppress(_Enough):
                policy.loss(batch, fixed_draws(policy, batch["chunk"], 0))
            if first:
                return
