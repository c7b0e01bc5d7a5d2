"""The multi-task policy: cameras, proprioception and an instruction in, an action chunk out.

Everything between raw observation and command is inside `forward`: pixel scaling, lifting of depth to 3-D points,
normalisation of the state and de-normalisation of the action. What is exported is therefore what was trained.
Shape letters: B batch, H chunk length, A action elements, S state elements, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from foreact.episodes.contract import CameraSpec, PolicyContract
from foreact.perception.language import InstructionEncoder
from foreact.perception.vision import KeypointEncoder, KeypointFeatures
from foreact.vla.cameras import CameraView, prepare_planes
from foreact.vla.chunk_policy import (
    DELAY,
    NOISE,
    PREFIX,
    ChunkPolicy,
    PolicyStage,
    TrainingDraws,
)
from foreact.vla.heads import FlowHead, HeadConfig, later
from foreact.vla.landmarks import landmark_loss
from foreact.vla.prefix import Given, known_rows

__all__ = ["CameraEye", "Encoded", "Policy", "PolicyConfig"]


@dataclass(frozen=True)
class PolicyConfig:
    """Sizes of the policy's parts.

    Attributes:
        vision: Encoder of each camera.
        language: Instruction encoder.
        head: Action head.
        anchor: State elements that 3-D points of world-mounted cameras are taken relative to.
        architecture: `keypoints`.
    """

    vision: KeypointEncoder.Config = field(default_factory=KeypointEncoder.Config)
    language: InstructionEncoder.Config = field(default_factory=InstructionEncoder.Config)
    head: HeadConfig = field(default_factory=HeadConfig)
    anchor: tuple[str, str, str] = ("hand_x", "hand_y", "hand_z")
    architecture: Literal["keypoints"] = "keypoints"

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


class CameraEye(CameraView):
    """One camera's pixels to planes to keypoints.

    Args:
        camera: Its description; depth is used if the contract lets the policy have it.
        vision: Encoder sizes.
        language: Width of the instruction embedding.
    """

    def __init__(self, camera: CameraSpec, vision: KeypointEncoder.Config, language: int) -> None:
        super().__init__(camera)
        self.encoder = vision.build(self.count, language)

    def forward(self, planes: Tensor, language: Tensor) -> KeypointFeatures:
        """Planes to places and features."""
        return self.encoder(planes, language)


class Policy(ChunkPolicy):
    """A language-conditioned visuomotor policy for one contract.

    Args:
        config: Sizes.
        contract: What it sees and commands.
    """

    anchor: Tensor
    config: PolicyConfig
    uses_landmarks = True

    def __init__(self, config: PolicyConfig, contract: PolicyContract) -> None:
        super().__init__(config, contract)
        if contract.language is None:
            raise ValueError("this policy needs a contract with language; policy=transformer does without")
        width = config.language.width
        self.language = config.language.build(contract.language.vocabulary, contract.language.length)
        self.eyes = nn.ModuleList(CameraEye(camera, config.vision, width) for camera in contract.cameras)
        anchor = [contract.state.elements.index(name) for name in config.anchor]
        self.register_buffer("anchor", torch.tensor(anchor), persistent=False)
        context = sum(_feature_width(config.vision) for _ in self.eyes) + contract.state.shape[0] + width
        self.head = config.head.build(context, width, contract.chunk_length, contract.action.shape[0])
        self.needs_noise = self.head.needs_noise
        self.prefix, self.prefix_noise = config.head.prefix, config.head.prefix_noise

    def encode(self, planes: list[Tensor], state: Tensor, tokens: Tensor) -> Encoded:
        """Encode prepared planes, raw state (B, S) and tokens (B, T)."""
        return self.encode_told(planes, state, self.language(tokens))

    def encode_told(self, planes: list[Tensor], state: Tensor, language: Tensor) -> Encoded:
        """Encode prepared planes and raw state (B, S) under an encoded instruction (B, L)."""
        seen = [eye(plane, language) for eye, plane in zip(self.eyes, planes, strict=True)]
        return Encoded(torch.cat([*map(_as_vector, seen), self.felt(state), language], dim=-1), language, seen)

    def landmark_loss(self, encoded: Encoded, state: Tensor, landmarks: Mapping[str, Tensor]) -> Tensor:
        """How far the first attended places of each camera are from the landmarks, see `foreact.vla.landmarks`.

        Args:
            encoded: From `encode`.
            state: Raw state, (B, S).
            landmarks: For each camera name, position in the camera's frame [m] and presence, (B, L, 4).
        """
        total = encoded.context.new_zeros(())
        for eye, seen in zip(self.eyes, encoded.seen, strict=True):
            known = landmarks[_eye(eye).camera.name]
            targets = _eye(eye).network_places(known[..., :3], state.index_select(1, self.anchor))
            total = total + landmark_loss(seen.points, targets, known[..., 3])
        return total

    def prepare(self, observation: Mapping[str, Tensor], shifts: list[Tensor] | None = None) -> list[Tensor]:
        """Planes of every camera; `shifts` holds one (B, 2) translation [px] per camera, for training."""
        return prepare_planes([_eye(eye) for eye in self.eyes], observation, self.anchor, shifts)

    def forward(self, *inputs: Tensor) -> Tensor:
        """See `ChunkPolicy.forward`."""
        observation = dict(zip(self.input_names, inputs, strict=True))
        encoded = self.encode(self.prepare(observation), observation["state"], observation["tokens"])
        given = self.given(observation)
        features = self.head.features(encoded.context, given)
        output = self.head.decide(features, encoded.language, observation.get(NOISE), given)
        return self.finish(output, observation.get(PREFIX), observation.get(DELAY))

    def loss(self, batch: Mapping[str, Tensor], draws: TrainingDraws, landmark_weight: float = 0.0) -> Tensor:
        """See `ChunkPolicy.loss`."""
        chunk = self.to_network(batch["chunk"])
        encoded = self.encode(self.prepare(batch, draws.shifts), batch["state"], batch["tokens"])
        given = self.training_given(chunk, draws)
        loss = self.head.loss(encoded.context, encoded.language, chunk, batch["mask"], draws.noise, draws.moment, given)
        if not landmark_weight:
            return loss
        with torch.autocast(chunk.device.type, enabled=False):  # places keep their millimetres
            return loss + landmark_weight * self.landmark_loss(encoded, batch["state"], _landmarks(batch))

    def stages(self) -> tuple[PolicyStage, ...]:
        """See `ChunkPolicy.stages`: the instruction, the pictures, the head."""
        told = (PREFIX, DELAY) if self.prefix else ()
        looked = (*self._camera_names, "state", "language", *told)
        context = PolicyStage("context", self, self._read, ("tokens",), ("language",))
        if not isinstance(self.head, FlowHead):
            vision = PolicyStage("vision", self, self._look, looked, ("features",))
            step = PolicyStage("action_step", self, self._decide, ("features", "language"), ("output",))
            return (context, vision, step, self.finish_stage())
        given = ("given",) if self.prefix else ()
        vision = PolicyStage("vision", self, self._look, looked, ("features", "time", *given))
        step = PolicyStage(
            "action_step",
            self,
            self._flow,
            ("features", "language", NOISE, "time", *given, *told[1:]),
            ("output", "later"),
            repeats=self.head.steps,
            loop=(("output", NOISE), ("later", "time")),
        )
        return (context, vision, step, self.finish_stage())

    @property
    def _camera_names(self) -> tuple[str, ...]:
        return tuple(name for name in self.contract.input_names if name.startswith("camera."))

    def _read(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return (self.language(tokens),)

    def _look(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        observation = dict(zip((*self._camera_names, "state", "language", PREFIX, DELAY), inputs, strict=False))
        state, given = observation["state"], self.given(observation)
        encoded = self.encode_told(self.prepare(observation), state, observation["language"])
        features = self.head.features(encoded.context, given)
        if not self.needs_noise:
            return (features,)
        start = torch.zeros_like(state[:, :1])
        return (features, start) if given is None else (features, start, given.chunk)

    def _decide(self, features: Tensor, language: Tensor) -> tuple[Tensor, ...]:
        return (self.head.decide(features, language, None),)

    def _flow(self, features: Tensor, language: Tensor, x: Tensor, time: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        assert isinstance(self.head, FlowHead)
        known = Given(given[0], known_rows(given[1], x.shape[1])) if given else None
        return self.head.step(features, language, x, time, known), later(time, self.head.steps)


def _landmarks(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("landmarks."): batch[name] for name in batch if name.startswith("landmarks.")}


def _eye(module: nn.Module) -> CameraEye:
    assert isinstance(module, CameraEye)
    return module


def _as_vector(seen: KeypointFeatures) -> Tensor:
    # what stands out most is ten to twenty standard deviations above the rest
    return torch.cat([seen.points.flatten(1), seen.strength * 0.1, seen.summary], dim=-1)


def _feature_width(vision: KeypointEncoder.Config) -> int:
    return 4 * vision.keypoints + vision.summary
