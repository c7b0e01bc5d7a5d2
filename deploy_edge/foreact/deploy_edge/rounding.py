"""Weights as small integers and scales: to the nearest, or so that a layer's results stay nearest.

Adaptive rounding follows Frantar et al. 2023, "GPTQ: accurate post-training quantization for generative pre-trained
transformers", algorithm 1: input by input, what rounding did to one weight is made good by those still to come.
Shape letters: C output channels, D inputs of a channel, G groups of inputs.
"""

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Integers", "as_matrix", "limit_of", "outputs_last", "rounded", "scales_of"]

DAMPING = 0.01  # part of the mean second moment that is added to each: directions never seen must not run away
CLIPS = np.linspace(1.0, 0.6, 21)  # candidates for the largest weight of a group, as parts of the true one


@dataclass(frozen=True)
class Integers:
    """A weight tensor in integers.

    Attributes:
        values: int8, of the shape of the weights.
        scales: One per output channel (C,), or one per group of inputs and output channel (G, C).
        axis: Axis of the weights that counts output channels.
        bits: 8 or fewer.
    """

    values: np.ndarray
    scales: np.ndarray
    axis: int
    bits: int

    @property
    def group(self) -> int | None:
        """Inputs that share a scale; None if all do."""
        return None if self.scales.ndim == 1 else self.values.size // self.scales.size

    def dequantised(self) -> np.ndarray:
        """The weights as the engine sees them, float32."""
        matrix = as_matrix(self.values, self.axis).astype(np.float32)
        matrix = matrix * _spread(self.scales, matrix.shape[1]).astype(np.float32)
        return _from_matrix(matrix, self.values.shape, self.axis)


def limit_of(bits: int) -> int:
    """Largest integer of so many bits; as many lie below zero."""
    return 2 ** (bits - 1) - 1


def scales_of(weight: np.ndarray, axis: int, bits: int, *, per_channel: bool = True) -> np.ndarray:
    """Scales (C,) with which the largest weight of each channel is the largest integer.

    Args:
        weight: float32.
        axis: Of the output channels.
        bits: Of the integers.
        per_channel: Otherwise all channels get the scale of the largest.
    """
    largest = np.abs(as_matrix(weight, axis)).max(1)
    if not per_channel:
        largest = np.full_like(largest, largest.max())
    return np.where(largest > 0, largest / limit_of(bits), 1.0).astype(np.float32)


def rounded(
    weight: np.ndarray,
    axis: int,
    bits: int,
    *,
    group: int | None = None,
    moments: np.ndarray | None = None,
    per_channel: bool = True,
) -> Integers:
    """Integers for a weight tensor.

    Args:
        weight: float32, with its output channels along `axis`.
        axis: Of the output channels.
        bits: 2 to 8.
        group: Inputs that share a scale; None for one scale per output channel.
        moments: Mean of x x^T over the layer's inputs x, (D, D): round so that the results stay nearest; None to round
            each weight to the nearest.
        per_channel: Otherwise one scale for the whole tensor.

    Raises:
        ValueError: The inputs of a channel cannot be divided into such groups.
    """
    matrix = as_matrix(weight, axis).astype(np.float64)
    if group is None:
        scales = scales_of(weight, axis, bits, per_channel=per_channel)
    else:
        scales = _group_scales(matrix, bits, group)
    if moments is None:
        steps = _spread(scales, matrix.shape[1])
        values = np.clip(np.rint(matrix / steps), -limit_of(bits), limit_of(bits))
    else:
        values = _compensated(matrix, moments, scales, bits)
    whole = _from_matrix(values.astype(np.int8), weight.shape, axis)
    return Integers(whole, scales, axis, bits)


def outputs_last(integers: Integers) -> Integers:
    """The same as a matrix (D, C), which is how a MatMul without transposition reads it."""
    if integers.axis == 1:
        return integers
    return replace(integers, values=np.ascontiguousarray(integers.values.T), axis=1)


def as_matrix(weight: np.ndarray, axis: int) -> np.ndarray:
    """Weights as (C, D)."""
    return np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)


def _from_matrix(matrix: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray:
    others = tuple(size for index, size in enumerate(shape) if index != axis)
    return np.ascontiguousarray(np.moveaxis(matrix.reshape(matrix.shape[0], *others), 0, axis))


def _spread(scales: np.ndarray, inputs: int) -> np.ndarray:
    """Scales as (C, 1), or (C, D) if each group has its own."""
    return scales[:, None] if scales.ndim == 1 else np.repeat(scales.T, inputs // len(scales), axis=1)


def _group_scales(matrix: np.ndarray, bits: int, group: int) -> np.ndarray:
    """Scales (G, C), clipping where that makes the squared error of a group smaller."""
    channels, inputs = matrix.shape
    if inputs % group:
        raise ValueError(f"{inputs} inputs cannot be divided into groups of {group}")
    parts, limit = matrix.reshape(channels, -1, group), limit_of(bits)
    full = np.maximum(np.abs(parts).max(-1), 1e-12) / limit
    best, least = full, np.full_like(full, np.inf)
    for clip in CLIPS:
        steps = (full * clip)[..., None]
        error = ((np.clip(np.rint(parts / steps), -limit, limit) * steps - parts) ** 2).sum(-1)
        best, least = np.where(error < least, full * clip, best), np.minimum(error, least)
    return np.ascontiguousarray(best.T).astype(np.float32)


def _compensated(matrix: np.ndarray, moments: np.ndarray, scales: np.ndarray, bits: int) -> np.ndarray:
    """Integers (C, D): inputs that move the results most come first, the error of each is spread over the rest."""
    inputs, limit = matrix.shape[1], limit_of(bits)
    damped = moments + (DAMPING * np.trace(moments) / inputs + 1e-12) * np.eye(inputs)
    order = np.argsort(-np.diag(damped), kind="stable")
    # U with U^T U = inverse of the moments, upper triangular
    factor = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    left = matrix[:, order].copy()
    steps = np.broadcast_to(_spread(scales, inputs), matrix.shape)[:, order].astype(np.float64)
    values = np.empty_like(left)
    for place in range(inputs):
        values[:, place] = np.clip(np.rint(left[:, place] / steps[:, place]), -limit, limit)
        error = (left[:, place] - values[:, place] * steps[:, place]) / factor[place, place]
        # w_rest <- w_rest - error * U_place,rest
        left[:, place + 1 :] -= np.outer(error, factor[place, place + 1 :])
    unsorted = np.empty_like(values)
    unsorted[:, order] = values
    return unsorted
