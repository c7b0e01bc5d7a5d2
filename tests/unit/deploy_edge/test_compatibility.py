import dataclasses
from typing import Any

import pytest

from foreact.deploy_edge.runtime.compatibility import require_provided
from foreact.episodes.contract import CameraSpec, ContractMismatch, PolicyContract


def camera(contract: PolicyContract, **changed: Any) -> tuple[CameraSpec, ...]:
    return (dataclasses.replace(contract.cameras[0], **changed),)


def test_the_same_contract_is_provided(contract: PolicyContract) -> None:
    require_provided(contract, contract, "policy and robot")


def test_more_cameras_streams_and_other_chunks_are_no_obstacle(contract: PolicyContract) -> None:
    extra = dataclasses.replace(contract.cameras[0], name="side", width=2)
    streams = camera(contract, streams=("rgb", "depth", "segmentation"))
    richer = dataclasses.replace(contract, cameras=(extra, *streams), chunk_length=99, language=None)
    require_provided(contract, richer, "policy and robot")


def test_the_order_of_actions_matters(contract: PolicyContract) -> None:
    other = dataclasses.replace(contract, action=dataclasses.replace(contract.action, elements=("y", "x")))
    with pytest.raises(ContractMismatch, match=r"action.elements: expected \('x', 'y'\), got \('y', 'x'\)"):
        require_provided(contract, other, "policy and robot")


def test_the_unit_of_actions_matters(contract: PolicyContract) -> None:
    other = dataclasses.replace(contract, action=dataclasses.replace(contract.action, units=("cm", "cm")))
    with pytest.raises(ContractMismatch, match=r"action.units: expected \('m', 'm'\), got \('cm', 'cm'\)"):
        require_provided(contract, other, "policy and robot")


def test_the_size_of_images_matters(contract: PolicyContract) -> None:
    with pytest.raises(ContractMismatch, match=r"cameras.top.width: expected 6, got 8"):
        require_provided(contract, dataclasses.replace(contract, cameras=camera(contract, width=8)), "policy and robot")


def test_the_rate_matters(contract: PolicyContract) -> None:
    with pytest.raises(ContractMismatch, match=r"control_rate_hz: expected 50.0, got 80.0"):
        require_provided(contract, dataclasses.replace(contract, control_rate_hz=80.0), "policy and robot")


def test_a_missing_camera_or_stream_is_named(contract: PolicyContract) -> None:
    with pytest.raises(ContractMismatch, match=r"expects the cameras \['top'\], got only \['side'\]"):
        require_provided(contract, dataclasses.replace(contract, cameras=camera(contract, name="side")), "here")
    with pytest.raises(ContractMismatch, match=r"cameras.top.streams: expected \('rgb', 'depth'\), got \('rgb',\)"):
        require_provided(contract, dataclasses.replace(contract, cameras=camera(contract, streams=("rgb",))), "here")
