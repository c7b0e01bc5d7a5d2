"""A transformer policy: patches of every camera, the state and the words are tokens, and so is every action.

An encoder mixes what was seen, felt and told; a decoder of action tokens looks at the result, either once (L1) or at
each step of a flow. Heads and inner widths are given block by block, so that pruned policies are the same architecture.
Shape letters: B batch, H chunk length, A action elements, T words, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from foreact.episodes.contract import CameraSpec, PolicyContract
from foreact.perception.attention import EncoderBlock
from foreact.vla.action_decoder import ActionDecoder, Memory
from foreact.vla.cameras import CameraView, prepare_planes
from foreact.vla.chunk_policy import DELAY, NOISE, PREFIX, ChunkPolicy, PolicyStage, TrainingDraws
from foreact.vla.heads import later, mean_over_steps
from foreact.vla.prefix import Given, known_rows

__all__ = ["PatchView", "TransformerConfig", "TransformerPolicy"]

STEM = 4  # pixels that the first convolution moves by


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of the transformer, block by block.

    Attributes:
        width: Width of tokens.
        head_width: Width of an attention head.
        heads: Heads of each encoder block.
        hidden: Inner width of each encoder block's feed-forward layer.
        action_heads: Heads of each decoder block's attention among actions.
        context_heads: Heads of each decoder block's attention to what was seen.
        action_hidden: Inner width of each decoder block's feed-forward layer.
        patch: Side of a patch [px], a multiple of 4 that divides every picture.
        stem: Channels of the convolution that patches are made from.
        kind: `l1` regresses the median chunk; `flow` samples chunks from noise.
        steps: Euler steps of the flow at inference.
        prefix: Longest delay [control steps] to train for: so many actions of a chunk can be given; 0 for none.
        prefix_noise: Standard deviation of noise on given actions in training [network units], against copying them.
        anchor: State elements that 3-D points of world-mounted cameras are taken relative to.
        architecture: `transformer`.

    Raises:
        ValueError: Blocks are described by lists of different lengths, or a size is below 1.
    """

    width: int = 192
    head_width: int = 32
    heads: tuple[int, ...] = (6, 6, 6, 6)
    hidden: tuple[int, ...] = (576, 576, 576, 576)
    action_heads: tuple[int, ...] = (6, 6)
    context_heads: tuple[int, ...] = (6, 6)
    action_hidden: tuple[int, ...] = (576, 576)
    patch: int = 16
    stem: int = 48
    kind: Literal["l1", "flow"] = "flow"
    steps: int = 5
    prefix: int = 0
    prefix_noise: float = 0.0
    anchor: tuple[str, str, str] = ("hand_x", "hand_y", "hand_z")
    architecture: Literal["transformer"] = "transformer"

    def __post_init__(self) -> None:
        for names in (("heads", "hidden"), ("action_heads", "context_heads", "action_hidden")):
            lengths = {name: len(getattr(self, name)) for name in names}
            if len(set(lengths.values())) > 1:
                raise ValueError(f"one value for each block is needed, got {lengths}")
        if not self.action_heads:
            raise ValueError("action_heads=[]: at least one decoder block is needed")
        blocks = (*self.heads, *self.hidden, *self.action_heads, *self.context_heads, *self.action_hidden)
        if min(self.width, self.head_width, self.stem, self.steps, *blocks) < 1:
            raise ValueError("widths, heads and steps must be 1 or more")
        if self.patch < STEM or self.patch % STEM:
            raise ValueError(f"patch={self.patch} must be a multiple of {STEM}")

    def build(self, contract: PolicyContract) -> TransformerPolicy:
        """Make the policy for a contract."""
        return TransformerPolicy(self, contract)


class PatchView(CameraView):
    """One camera's planes to patch tokens: overlapping convolution, then one token for each patch.

    Args:
        camera: Its description.
        config: Sizes.

    Raises:
        ValueError: The picture is not made of whole patches.
    """

    def __init__(self, camera: CameraSpec, config: TransformerConfig) -> None:
        super().__init__(camera)
        if camera.width % config.patch or camera.height % config.patch:
            size = f"{camera.width}x{camera.height}"
            raise ValueError(f"patch={config.patch} does not divide the {size} pictures of camera {camera.name}")
        cells = (camera.width // config.patch) * (camera.height // config.patch)
        self.stem = nn.Conv2d(self.count, config.stem, STEM + 2, stride=STEM, padding=1)
        self.patches = nn.Conv2d(config.stem, config.width, config.patch // STEM, stride=config.patch // STEM)
        self.places = nn.Parameter(torch.randn(cells, config.width) * 0.02)

    def forward(self, planes: Tensor) -> Tensor:
        """Planes (B, P, height, width) to tokens (B, N, D)."""
        patches = self.patches(torch.relu(self.stem(planes)))
        return patches.flatten(2).transpose(1, 2) + self.places


class TransformerPolicy(ChunkPolicy):
    """A policy made of attention, for a contract with or without cameras and language.

    Args:
        config: Sizes.
        contract: What it sees and commands.

    Raises:
        ValueError: The prefix leaves nothing to decide, or a picture is not made of whole patches.
    """

    anchor: Tensor
    config: TransformerConfig

    def __init__(self, config: TransformerConfig, contract: PolicyContract) -> None:
        super().__init__(config, contract)
        chunk, (action,) = contract.chunk_length, contract.action.shape
        if not 0 <= config.prefix < chunk:
            raise ValueError(f"prefix={config.prefix} must be 0 to {chunk - 1}: chunks have {chunk} actions")
        self.needs_noise = config.kind == "flow"
        self.prefix, self.prefix_noise = config.prefix, config.prefix_noise
        self.views = nn.ModuleList(PatchView(camera, config) for camera in contract.cameras)
        anchor = [contract.state.elements.index(name) for name in config.anchor] if contract.cameras else []
        self.register_buffer("anchor", torch.tensor(anchor, dtype=torch.int64), persistent=False)
        self.state = nn.Linear(contract.state.shape[0], config.width)
        language = contract.language
        self.words = None if language is None else nn.Embedding(language.vocabulary, config.width)
        self.word_places = None if language is None else nn.Parameter(torch.randn(language.length, config.width) * 0.02)
        self.encoder = nn.ModuleList(
            EncoderBlock(config.width, heads, config.head_width, hidden)
            for heads, hidden in zip(config.heads, config.hidden, strict=True)
        )
        self.norm = nn.LayerNorm(config.width)
        self.decoder = ActionDecoder(
            config.width, config.head_width, config.action_heads, config.context_heads, config.action_hidden,
            chunk, action, timed=self.needs_noise, prefix=bool(config.prefix),
        )  # fmt: skip

    def read(self, tokens: Tensor) -> Tensor | None:
        """The instruction's tokens (B, T) as words (B, T, D); None for a policy without language."""
        if self.words is None or self.word_places is None:
            return None
        return self.words(tokens) + self.word_places

    def remember(self, planes: list[Tensor], state: Tensor, words: Tensor | None) -> Memory:
        """What the action tokens look at, from prepared planes, raw state (B, S) and words (B, T, D)."""
        seen = [view(plane) for view, plane in zip(self.views, planes, strict=True)]
        felt = self.state(self.felt(state)).unsqueeze(1)
        tokens = torch.cat([*seen, felt, *([] if words is None else [words])], dim=1)
        for block in self.encoder:
            tokens = block(tokens)
        return self.decoder.remember(self.norm(tokens))

    def observe(self, observation: Mapping[str, Tensor], shifts: list[Tensor] | None = None) -> Memory:
        """The memory of a raw observation."""
        words = None if self.words is None else self.read(observation["tokens"])
        return self.remember(self._planes(observation, shifts), observation["state"], words)

    def forward(self, *inputs: Tensor) -> Tensor:
        """See `ChunkPolicy.forward`."""
        observation = dict(zip(self.input_names, inputs, strict=True))
        memory, given = self.observe(observation), self.given(observation)
        output = self._decide(memory, observation.get(NOISE), given)
        return self.finish(output, observation.get(PREFIX), observation.get(DELAY))

    def loss(self, batch: Mapping[str, Tensor], draws: TrainingDraws, landmark_weight: float = 0.0) -> Tensor:
        """See `ChunkPolicy.loss`."""
        chunk = self.to_network(batch["chunk"])
        given = self.training_given(chunk, draws)
        predicted, target = self.predict(self.observe(batch, draws.shifts), chunk, draws, given)
        error = predicted.float() - target
        error = error.square() if self.needs_noise else error.abs()
        return mean_over_steps(error.mean(-1), batch["mask"], given)

    def predict(
        self,
        memory: Memory,
        chunk: Tensor,
        draws: TrainingDraws,
        given: Given | None = None,
        maps: list[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What the decoder says of a training sample, and what it should say, (B, H, A) each in network units.

        Args:
            memory: From `observe`.
            chunk: In network units, (B, H, A).
            draws: Everything random.
            given: The decided beginning of the chunk.
            maps: Takes each block's attention from action tokens to the memory, (B, G, H, N), if not None.
        """
        if not self.needs_noise:
            return self.decoder(memory, None, None, given, maps), chunk
        t = draws.moment[:, :, None]
        # x_t = (1 - t) x_0 + t x_1,  u_t = x_1 - x_0
        x = (1 - t) * draws.noise + t * chunk
        return self.decoder(memory, x, draws.moment, given, maps), chunk - draws.noise

    def stages(self) -> tuple[PolicyStage, ...]:
        """See `ChunkPolicy.stages`: words; pictures and encoder; decoder."""
        remembered = tuple(
            f"{what}.{block}" for block in range(len(self.decoder.blocks)) for what in ("keys", "values")
        )
        told = (PREFIX, DELAY) if self.prefix else ()
        words = () if self.words is None else ("words",)
        start = ("time",) if self.needs_noise else ()
        given = ("given",) if self.prefix else ()
        vision = PolicyStage(
            "vision", self, self._look, (*self._seen_names, *words, *told), (*remembered, *start, *given)
        )
        inputs = (*remembered, *((NOISE, "time") if self.needs_noise else ()), *given, *told[1:])
        if self.needs_noise:
            loop = (("output", NOISE), ("later", "time"))
            step = PolicyStage("action_step", self, self._flow, inputs, ("output", "later"), self.config.steps, loop)
        else:
            step = PolicyStage("action_step", self, self._regress, inputs, ("output",))
        context = (PolicyStage("context", self, self._read, ("tokens",), words),) if words else ()
        return (*context, vision, step, self.finish_stage())

    @property
    def _seen_names(self) -> tuple[str, ...]:
        return tuple(name for name in self.contract.input_names if name != "tokens")

    def _planes(self, observation: Mapping[str, Tensor], shifts: list[Tensor] | None) -> list[Tensor]:
        views = [view for view in self.views if isinstance(view, PatchView)]
        return prepare_planes(views, observation, self.anchor, shifts)

    def _decide(self, memory: Memory, noise: Tensor | None, given: Given | None) -> Tensor:
        if noise is None:
            return self.decoder(memory, None, None, given)
        x = noise
        for step in range(self.config.steps):
            x = self._step(memory, x, torch.full_like(noise[:, 0, :1], step / self.config.steps), given)
        return x

    def _step(self, memory: Memory, x: Tensor, time: Tensor, given: Given | None) -> Tensor:
        return x + self.decoder(memory, x, time, given) / self.config.steps

    def _read(self, tokens: Tensor) -> tuple[Tensor, ...]:
        words = self.read(tokens)
        assert words is not None
        return (words,)

    def _look(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        words = () if self.words is None else ("words",)
        observation = dict(zip((*self._seen_names, *words, PREFIX, DELAY), inputs, strict=False))
        memory = self.remember(self._planes(observation, None), observation["state"], observation.get("words"))
        given = self.given(observation)
        start = (torch.zeros_like(observation["state"][:, :1]),) if self.needs_noise else ()
        return (*(each for pair in memory for each in pair), *start, *(() if given is None else (given.chunk,)))

    def _flow(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        memory, (x, time, *told) = self._remembered(inputs)
        return self._step(memory, x, time, self._known(told)), later(time, self.config.steps)

    def _regress(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        memory, told = self._remembered(inputs)
        return (self.decoder(memory, None, None, self._known(told)),)

    def _remembered(self, inputs: tuple[Tensor, ...]) -> tuple[Memory, tuple[Tensor, ...]]:
        count = 2 * len(self.decoder.blocks)
        return list(zip(inputs[0:count:2], inputs[1:count:2], strict=True)), inputs[count:]

    def _known(self, told: tuple[Tensor, ...] | list[Tensor]) -> Given | None:
        return Given(told[0], known_rows(told[1], self.contract.chunk_length)) if told else None
