"""The multi-task policy: cameras, proprioception and an instruction in, an action chunk out.

Everything between raw observation and command is inside `forward`: pixel scaling, lifting of depth to 3-D points,
normalisation of the state and de-normalisation of the action. What is exported is therefore what was trained.
Shape letters: B batch, H chunk length, A action elements, S state elements, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from foreact.episodes.contract import CameraSpec, FeatureSpec, PolicyContract
from foreact.kernels.preprocess import camera_rays, rgb_to_planes, rgbd_to_planes
from foreact.perception.language import InstructionEncoder
from foreact.perception.vision import KeypointEncoder, KeypointFeatures
from foreact.vla.heads import HeadConfig
from foreact.vla.landmarks import landmark_loss, picture_coordinates

__all__ = ["CameraEye", "Encoded", "Policy", "PolicyConfig", "compress", "expand"]

COMPANDING = 10.0  # how much finer than full-scale commands the network sees commands near zero
FAR = 5.0  # network units: what is over a metre away is only "far", which keeps 8-bit steps fine for what is near
LENGTH_SCALE = 0.2  # [m] a distance that becomes 1 for the network: about the reach of one chunk


@dataclass(frozen=True)
class PolicyConfig:
    """Sizes of the policy's parts.

    Attributes:
        vision: Encoder of each camera.
        language: Instruction encoder.
        head: Action head.
        anchor: State elements that 3-D points of world-mounted cameras are taken relative to.
    """

    vision: KeypointEncoder.Config = field(default_factory=KeypointEncoder.Config)
    language: InstructionEncoder.Config = field(default_factory=InstructionEncoder.Config)
    head: HeadConfig = field(default_factory=HeadConfig)
    anchor: tuple[str, str, str] = ("hand_x", "hand_y", "hand_z")

    def build(self, contract: PolicyContract) -> Policy:
        """Make the policy for a contract."""
        return Policy(self, contract)


@dataclass(frozen=True)
class Encoded:
    """An observation as the action head takes it.

    Attributes:
        context: Everything seen, felt and told, (B, D).
        language: Instruction embedding, (B, L).
        seen: What each camera's attention found.
    """

    context: Tensor
    language: Tensor
    seen: list[KeypointFeatures]


class CameraEye(nn.Module):
    """One camera's pixels to planes to keypoints.

    Args:
        camera: Its description; depth is used if the contract lets the policy have it.
        vision: Encoder sizes.
        language: Width of the instruction embedding.
    """

    rays: Tensor
    origin: Tensor
    rotation: Tensor

    def __init__(self, camera: CameraSpec, vision: KeypointEncoder.Config, language: int) -> None:
        super().__init__()
        self.camera = camera
        self.has_depth = "depth" in camera.streams
        self.in_world = camera.mount == "world"
        self.encoder = vision.build(6 if self.has_depth else 3, language)
        rotation = _rotation(camera.orientation)
        rays = camera_rays(camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height, rotation)
        self.register_buffer("rays", rays / LENGTH_SCALE, persistent=False)
        self.register_buffer("origin", torch.tensor(camera.position) / LENGTH_SCALE, persistent=False)
        self.register_buffer("rotation", rotation, persistent=False)

    def planes(self, rgb: Tensor, depth: Tensor | None, anchor: Tensor, shift: Tensor | None = None) -> Tensor:
        """Pixels to network planes.

        Args:
            rgb: uint8 (B, height, width, 3).
            depth: uint16 (B, height, width) [mm], or None for a camera without.
            anchor: Point that world points are relative to [m], (B, 3), in the base frame.
            shift: Random translation for training [px], int64 (B, 2).
        """
        if depth is None:
            return rgb_to_planes(rgb, shift)
        relative = anchor / LENGTH_SCALE if self.in_world else torch.zeros_like(anchor)
        return rgbd_to_planes(rgb, depth, self.rays, self.origin - relative, shift, far=FAR)

    def forward(self, planes: Tensor, language: Tensor) -> KeypointFeatures:
        """Planes to places and features."""
        return self.encoder(planes, language)

    def network_places(self, places: Tensor, anchor: Tensor) -> Tensor:
        """Places in this camera's frame [m], (B, L, 3), in the units of its attended points."""
        if not self.has_depth:
            return picture_coordinates(places, self.camera)
        mounted = places @ self.rotation.T / LENGTH_SCALE + self.origin
        return mounted - anchor[:, None] / LENGTH_SCALE if self.in_world else mounted


class Policy(nn.Module):
    """A language-conditioned visuomotor policy for one contract.

    Args:
        config: Sizes.
        contract: What it sees and commands.
    """

    anchor: Tensor
    state_map: Tensor
    action_map: Tensor

    def __init__(self, config: PolicyConfig, contract: PolicyContract) -> None:
        super().__init__()
        if contract.language is None:
            raise ValueError("this policy needs a contract with language")
        self.config, self.contract = config, contract
        width = config.language.width
        self.language = config.language.build(contract.language.vocabulary, contract.language.length)
        self.eyes = nn.ModuleList(CameraEye(camera, config.vision, width) for camera in contract.cameras)
        anchor = [contract.state.elements.index(name) for name in config.anchor]
        self.register_buffer("anchor", torch.tensor(anchor), persistent=False)
        context = sum(_feature_width(config.vision) for _ in self.eyes) + contract.state.shape[0] + width
        self.head = config.head.build(context, width, contract.chunk_length, contract.action.shape[0])
        self.register_buffer("state_map", _affine_to_network(contract.state), persistent=False)
        self.register_buffer("action_map", _affine_to_network(contract.action), persistent=False)

    def encode(self, planes: list[Tensor], state: Tensor, tokens: Tensor) -> Encoded:
        """Encode prepared planes, raw state (B, S) and tokens (B, T)."""
        language = self.language(tokens)
        seen = [eye(plane, language) for eye, plane in zip(self.eyes, planes, strict=True)]
        felt = state * self.state_map[0] + self.state_map[1]
        return Encoded(torch.cat([*map(_as_vector, seen), felt, language], dim=-1), language, seen)

    def landmark_loss(self, encoded: Encoded, state: Tensor, landmarks: Mapping[str, Tensor]) -> Tensor:
        """How far the first attended places of each camera are from the landmarks, see `foreact.vla.landmarks`.

        Args:
            encoded: From `encode`.
            state: Raw state, (B, S).
            landmarks: For each camera name, position in the camera's frame [m] and presence, (B, L, 4).
        """
        total = encoded.context.new_zeros(())
        for eye, seen in zip(self.eyes, encoded.seen, strict=True):
            assert isinstance(eye, CameraEye)
            known = landmarks[eye.camera.name]
            targets = eye.network_places(known[..., :3], state.index_select(1, self.anchor))
            total = total + landmark_loss(seen.points, targets, known[..., 3])
        return total

    def prepare(self, observation: Mapping[str, Tensor], shifts: list[Tensor] | None = None) -> list[Tensor]:
        """Planes of every camera; `shifts` holds one (B, 2) translation [px] per camera, for training."""
        anchor = observation["state"].index_select(1, self.anchor)
        prepared = []
        for index, eye in enumerate(self.eyes):
            assert isinstance(eye, CameraEye)
            name = f"camera.{eye.camera.name}"
            depth = observation[f"{name}.depth"] if eye.has_depth else None
            prepared.append(eye.planes(observation[f"{name}.rgb"], depth, anchor, shifts[index] if shifts else None))
        return prepared

    def forward(self, *inputs: Tensor) -> Tensor:
        """The exported function.

        Args:
            inputs: Raw tensors in the order of `contract.input_names`, then, for a flow head, noise (B, H, A).

        Returns:
            Action chunk in action units, clipped to the contract's range, (B, H, A), float32.
        """
        names = self.contract.input_names
        observation = dict(zip(names, inputs, strict=False))
        noise = inputs[len(names)] if len(inputs) > len(names) else None
        encoded = self.encode(self.prepare(observation), observation["state"], observation["tokens"])
        chunk = expand(self.head.sample(encoded.context, encoded.language, noise).float())
        low, high = (
            torch.tensor(bound, device=chunk.device) for bound in (self.contract.action.low, self.contract.action.high)
        )
        return torch.minimum(torch.maximum((chunk - self.action_map[1]) / self.action_map[0], low), high)

    @torch.no_grad()
    def act(self, observation: Mapping[str, Tensor], noise: Tensor | None = None) -> Tensor:
        """Chunk for a batch of raw observations, see `forward`."""
        inputs = [observation[name] for name in self.contract.input_names]
        return self(*inputs, *([] if noise is None else [noise]))


def compress(action: Tensor) -> Tensor:
    """Companding: normalised commands to network units, with errors near zero weighing more.

    The last centimetre of a reach is driven by commands of a few per cent, which a distance in plain units neglects.
    A median stays the median under a monotonic map, so the L1 head still learns the expert's median command.
    """
    # y = asinh(c a) / asinh(c)
    return torch.asinh(action * COMPANDING) / math.asinh(COMPANDING)


def expand(output: Tensor) -> Tensor:
    """The inverse of `compress`, for outputs up to half beyond the full scale."""
    return torch.sinh(output.clamp(-1.5, 1.5) * math.asinh(COMPANDING)) / COMPANDING


def _as_vector(seen: KeypointFeatures) -> Tensor:
    # what stands out most is ten to twenty standard deviations above the rest
    return torch.cat([seen.points.flatten(1), seen.strength * 0.1, seen.summary], dim=-1)


def _feature_width(vision: KeypointEncoder.Config) -> int:
    return 4 * vision.keypoints + vision.summary


def _affine_to_network(feature: FeatureSpec) -> Tensor:
    """Rows a and b of x -> a * x + b."""
    if feature.normalisation == "none":
        return torch.stack([torch.ones(feature.shape), torch.zeros(feature.shape)])
    low, high = torch.tensor(feature.low), torch.tensor(feature.high)
    scale = 2 / (high - low)
    return torch.stack([scale, -low * scale - 1])


def _rotation(quaternion: tuple[float, float, float, float]) -> Tensor:
    w, x, y, z = quaternion
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
