"""Whether what a robot or a recording gives is what a policy takes."""

import dataclasses

from foreact.episodes.contract import CameraSpec, ContractMismatch, PolicyContract, require_same

__all__ = ["require_provided"]


def require_provided(policy: PolicyContract, source: PolicyContract, where: str) -> None:
    """Refuse a source whose state, action, rate, embodiment or cameras differ from what the policy was made for.

    A source may have more cameras and camera streams than the policy looks at. How long a chunk is and how an
    instruction becomes tokens is the policy's own business.

    Args:
        policy: what the policy takes and commands.
        source: what the robot, simulator or recording gives and takes.
        where: who meets whom, for the message.

    Raises:
        ContractMismatch: lists every differing field with both values.
    """
    offered = {camera.name: camera for camera in source.cameras}
    missing = [camera.name for camera in policy.cameras if camera.name not in offered]
    if missing:
        raise ContractMismatch(f"{where}: the policy expects the cameras {missing}, got only {sorted(offered)}")
    seen = tuple(_as_seen_by(policy_camera, offered[policy_camera.name]) for policy_camera in policy.cameras)
    same_business = {"cameras": seen, "chunk_length": policy.chunk_length, "language": policy.language}
    require_same(policy, dataclasses.replace(source, **same_business), where)


def _as_seen_by(wanted: CameraSpec, offered: CameraSpec) -> CameraSpec:
    """The offered camera with the policy's streams, or with its own if it lacks one: then the comparison fails."""
    enough = set(wanted.streams) <= set(offered.streams)
    return dataclasses.replace(offered, streams=wanted.streams if enough else offered.streams)
