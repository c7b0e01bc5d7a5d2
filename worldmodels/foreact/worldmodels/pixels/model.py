"""A world model of pictures: frames become latents, and K coded futures of latents follow from one forward pass.

Futures start from a ridge regression of context and commands on latents, solved for once the encoder stands still.

Shape letters: B = states, G = frames seen (the earlier one, then that at the fork), K = futures, T = control steps,
F = pictured moments, D = latent elements, Q = elements the robot knows of itself, A = action elements,
C = 2 D + Q = elements of the context.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from foreact.worldmodels.futures import Futures
from foreact.worldmodels.models.outcomes import OUTCOMES
from foreact.worldmodels.models.predictor import Prediction, PredictorConfig, PredictorSizes, build_predictor
from foreact.worldmodels.models.signature import SignatureError
from foreact.worldmodels.pixels.decoder import DecoderConfig, FrameDecoder
from foreact.worldmodels.pixels.encoder import EncoderConfig, FrameEncoder, planes
from foreact.worldmodels.pixels.measures import fit_linear
from foreact.worldmodels.pixels.pictures import PixelBranches
from foreact.worldmodels.pixels.places import PlaceReader
from foreact.worldmodels.pixels.signature import PixelSignature, proprioception

__all__ = ["LatentFutures", "PixelModel", "PixelModelConfig"]

SMALLEST = 1e-5  # an element that varies less is a constant
RIDGE = 1e-2


@dataclass(frozen=True)
class PixelModelConfig:
    """Sizes of the model.

    Attributes:
        encoder: From a frame to a latent.
        decoder: Back, for people to look at.
        predictor: Of latents.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)

    def build(self, signature: PixelSignature) -> PixelModel:
        """A model with fresh weights."""
        return PixelModel(self, signature)


@dataclass(frozen=True)
class LatentFutures:
    """Futures at the pictured moments.

    Attributes:
        latents: (B, K, F, D).
        log_weights: (B, K).
        outcomes: Logits of success and contact, normalised reward, (B, K, F, 3).
    """

    latents: Tensor
    log_weights: Tensor
    outcomes: Tensor


class PixelModel(nn.Module):
    """Encoder, predictor, its deterministic rival, a map that reads places off latents, decoder.

    Args:
        config: Sizes.
        signature: What it is made for.

    Attributes:
        horizon: T.
        futures: K.
        context_signature: What `imagine` takes.
        rival: A predictor of one future, fitted to the same latents without changing them: what one future costs.
    """

    robot_mean: Tensor
    robot_scale: Tensor
    action_mean: Tensor
    action_scale: Tensor
    reward_mean: Tensor
    reward_scale: Tensor
    ridge: Tensor

    def __init__(self, config: PixelModelConfig, signature: PixelSignature) -> None:
        super().__init__()
        self.config, self.signature = config, signature
        self.horizon, self.futures = signature.horizon, config.predictor.codes
        latent, side = config.encoder.latent, signature.pictures.side
        self.context_signature = signature.context(latent)
        robot, actions = len(signature.robot), len(signature.actions)
        self.encoder = FrameEncoder(config.encoder, side)
        values = latent + OUTCOMES
        self._sizes = PredictorSizes(2 * latent + robot, self.horizon, actions, len(signature.moments), values)
        self.predictor = build_predictor(config.predictor, self._sizes)
        self.rival = build_predictor(replace(config.predictor, codes=1), self._sizes)
        self.places = PlaceReader(latent, signature.labels)
        self.decoder = FrameDecoder(config.decoder, latent, side, signature.labels)
        for name, size in (("robot", (robot,)), ("action", (actions,)), ("reward", ())):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))
        inputs = self._sizes.context + self.horizon * actions + 1
        self.register_buffer("ridge", torch.zeros(inputs, len(signature.moments) * latent))

    @property
    def latent(self) -> int:
        """D."""
        return self.config.encoder.latent

    @torch.no_grad()
    def prepare(self, data: PixelBranches) -> None:
        """Take from training data what is not learned by descent."""
        branches = data.branches
        self._set("robot", proprioception(branches), (0,))
        self._set("action", branches.actions, (0, 1))
        self._set("reward", branches.reward, (0, 1, 2))
        pictures = planes({name: values[:, -1] for name, values in data.seen.items()})
        self.decoder.know(pictures)
        own = (torch.from_numpy(proprioception(branches)) - self.robot_mean) / self.robot_scale
        self.places.know(pictures, own)

    @torch.no_grad()
    def start_over(self, context: Tensor, actions: Tensor, later: Tensor) -> None:
        """Solve for the ridge regression and draw predictor and rival anew; the encoder changes no more.

        Args:
            context: Of training states, (S, C).
            actions: Commanded chunks in their own units, (S, T, A).
            later: Latents of true futures, (S, P, F, D).
        """
        changes = (later - context[:, None, None, : self.latent]).mean(1).flatten(1)
        self.ridge.copy_(fit_linear(self._inputs(context, actions), changes, RIDGE).weights)
        for predictor, codes in ((self.predictor, self.config.predictor.codes), (self.rival, 1)):
            fresh = build_predictor(replace(self.config.predictor, codes=codes), self._sizes)
            predictor.load_state_dict(fresh.state_dict())

    def encode(self, frames: Mapping[str, np.ndarray], robot: np.ndarray | Tensor) -> Tensor:
        """Contexts, (B, C).

        Args:
            frames: The earlier frame and that at the fork of some kinds, as in `PixelBranches.seen`, (B, G, W, W, ...).
            robot: What the robot knows of itself, in its own units, (B, Q).

        Raises:
            SignatureError: A shape does not fit.
            ValueError: Pictures of another kind or type.
        """
        side = self.signature.pictures.side
        for name, values in frames.items():
            if values.shape[:4] != (len(robot), 2, side, side):
                raise SignatureError(f"{name}: expected ({len(robot)}, 2, {side}, {side}, ...), got {values.shape}")
        known = torch.as_tensor(robot, dtype=torch.float32, device=self.robot_mean.device)
        if known.ndim != 2 or known.shape[1] != len(self.signature.robot):
            raise SignatureError(f"robot: expected (B, {len(self.signature.robot)}), got {tuple(known.shape)}")
        pictures = {name: values.to(known.device) for name, values in planes(frames).items()}
        return self.packed(self.encoder(pictures).unflatten(0, (-1, 2)), known)

    def packed(self, latents: Tensor, robot: Tensor) -> Tensor:
        """Latents of the frames seen (B, G, D), latest first, and the robot's own numbers (B, Q) around one: (B, C)."""
        own = (robot - self.robot_mean) / self.robot_scale
        return torch.cat([latents[:, 1], latents[:, 0], own], dim=1)

    def predict(self, context: Tensor, actions: Tensor) -> LatentFutures:
        """Futures at the pictured moments.

        Args:
            context: (B, C).
            actions: Commanded chunks in their own units, (B, T, A).
        """
        return self._futures(self.predictor, context, actions)

    def predict_one(self, context: Tensor, actions: Tensor) -> LatentFutures:
        """The rival's one future, K = 1; arguments as for `predict`."""
        return self._futures(self.rival, context, actions)

    def imagine(self, context: Tensor, actions: Tensor) -> Futures:
        """Futures after every control step.

        Latents between pictured moments lie on straight lines; outcomes hold for all steps up to their moment.

        Args:
            context: What `encode` gives, (B, C).
            actions: Commanded chunks in their own units, (B, T, A).

        Raises:
            SignatureError: A shape or a type is wrong.
        """
        self.context_signature.check(context, actions)
        found = self.predict(context, actions)
        outcomes = found.outcomes.repeat_interleave(self.signature.pictures.every, dim=2)
        return Futures(
            values=self._every_step(context, found.latents),
            log_weights=found.log_weights,
            success=torch.sigmoid(outcomes[..., 0]),
            contact=torch.sigmoid(outcomes[..., 1]),
            reward=outcomes[..., 2] * self.reward_scale + self.reward_mean,
        )

    @torch.no_grad()
    def decode(self, latents: Tensor) -> dict[str, np.ndarray]:
        """Pictures of latents (..., D): `rgb`, `depth` and `segmentation` as in `PixelBranches.seen`, (..., W, W)."""
        drawn = self.decoder(latents.reshape(-1, self.latent))
        labels = torch.tensor(self.signature.labels, dtype=torch.uint8, device=latents.device)
        found = {
            "rgb": ((drawn.rgb.clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1).byte(),
            "depth": (drawn.depth[:, 0].exp() * 1000).round().clamp(1, 65535),
            "segmentation": labels[drawn.logits.argmax(1)],
        }
        leading = tuple(latents.shape[:-1])
        pictures = {name: each.cpu().numpy().reshape(*leading, *each.shape[1:]) for name, each in found.items()}
        return pictures | {"depth": pictures["depth"].astype(np.uint16)}

    def _futures(self, predictor: nn.Module, context: Tensor, actions: Tensor) -> LatentFutures:
        inputs = self._inputs(context, actions)
        found: Prediction = predictor(context, inputs[:, context.shape[1] :].view_as(actions))
        changes, outcomes = found.values.split([self.latent, OUTCOMES], -1)
        # z^k_f = z_0 + W_f [context, a, 1] + change^k_f
        start = (inputs @ self.ridge[:-1] + self.ridge[-1]).unflatten(1, (-1, self.latent))
        latents = changes + (start + context[:, None, : self.latent])[:, None]
        return LatentFutures(latents, torch.log_softmax(found.logits, -1), outcomes)

    def _inputs(self, context: Tensor, actions: Tensor) -> Tensor:
        """Context and commands around one, side by side, (B, C + T A)."""
        return torch.cat([context, ((actions - self.action_mean) / self.action_scale).flatten(1)], dim=1)

    def _every_step(self, context: Tensor, latents: Tensor) -> Tensor:
        """(B, K, F, D) at the pictured moments to (B, K, T, D)."""
        every = self.signature.pictures.every
        start = context[:, None, None, : self.latent].expand(-1, latents.shape[1], 1, -1)
        before = torch.cat([start, latents[:, :, :-1]], dim=2)
        share = (torch.arange(1, every + 1, device=latents.device) / every)[:, None]
        return torch.lerp(before[:, :, :, None], latents[:, :, :, None], share).flatten(2, 3)

    def _set(self, name: str, values: np.ndarray, axes: tuple[int, ...]) -> None:
        exact = torch.from_numpy(values).double()
        scale = exact.std(axes)
        getattr(self, f"{name}_mean").copy_(exact.mean(axes))
        getattr(self, f"{name}_scale").copy_(torch.where(scale < SMALLEST, 1.0, scale))
