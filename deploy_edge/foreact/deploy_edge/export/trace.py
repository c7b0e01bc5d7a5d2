"""A policy as an ONNX graph of one observation, all shapes fixed."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.export.chunks import input_names
from foreact.deploy_edge.observations import Inputs
from foreact.deploy_edge.runtime.engine import NOISE
from foreact.deploy_edge.subsampling import picks_to_convolutions
from foreact.deploy_edge.tidy import maxima_to_pools, strip

if TYPE_CHECKING:
    from onnx import ModelProto

    from foreact.vla.policy import Policy

__all__ = ["OPSET", "onnx_model"]

OPSET = 18


def onnx_model(policy: Policy) -> ModelProto:
    """Trace a policy for one observation.

    Args:
        policy: In evaluation mode, on the CPU.
    """
    import torch

    names = input_names(policy)
    inputs = tuple(torch.from_numpy(array) for array in _example(policy).values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own exporter uses what torch deprecates
        program = torch.onnx.export(
            policy, inputs, dynamo=True, opset_version=OPSET, external_data=False, verbose=False,
            input_names=list(names), output_names=["action"],
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    strip(model)
    maxima_to_pools(model)
    picks_to_convolutions(model)
    return model


def _example(policy: Policy) -> Inputs:
    contract = policy.contract
    example: Inputs = {}
    for camera in contract.cameras:
        for stream in camera.streams:
            dtype = np.uint16 if stream == "depth" else np.uint8
            example[f"camera.{camera.name}.{stream}"] = np.full((1, *camera.stream_shape(stream)), 100, dtype)
    example["state"] = np.array([contract.state.low], np.float32)
    if contract.language is not None:
        example["tokens"] = np.ones((1, contract.language.length), np.int64)
    if policy.head.needs_noise:
        example[NOISE] = np.zeros((1, contract.chunk_length, *contract.action.shape), np.float32)
    return example
