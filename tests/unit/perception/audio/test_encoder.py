import numpy as np
import pytest
import torch

from foreact.perception.audio.encoder import EncoderConfig, delay_condition, delay_tokens
from foreact.perception.audio.layers import SlidingAttention, rotated
from foreact.perception.audio.listen import Listener, transcribe
from foreact.perception.audio.model import SpeechModel, SpeechModelConfig, speech_losses
from foreact.perception.audio.streams import Vocabulary
from foreact.perception.audio.waveform import AudioError

WORDS = Vocabulary(("close", "door", "open"))


def model(window: int = 5, echo: bool = True, size: str = "tiny") -> SpeechModel:
    torch.manual_seed(3)
    made = SpeechModelConfig(EncoderConfig(size=size, window=window, echo=echo)).build(WORDS).eval()
    for name, each in made.named_parameters():
        if ".leave." in name:  # as if trained: a fresh model does not heed the delay
            torch.nn.init.normal_(each, std=0.3)
    return made.requires_grad_(False)


def sound(size: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, size, generator=torch.Generator().manual_seed(1)) * 0.1


@pytest.mark.parametrize("window", [5, 400])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_stream_in_random_chunks_gives_the_logits_of_the_whole(seed: int, window: int) -> None:
    hears, audio, delay = model(window), sound(24_000), torch.tensor([1, 6])
    random, state, start, parts = np.random.default_rng(seed), None, 0, []
    state = hears.start(2)
    while start < 24_000:
        size = int(random.choice([1, 37, 160, 1280, 1500, 9000]))
        parts.append(hears.step(audio[:, start : start + size], 16_000, delay, state))
        start += size
    whole = hears(audio, 16_000, delay)
    assert whole.shape == (2, 18, len(WORDS)) and whole.std() > 0.1
    assert (torch.cat(parts, 1) - whole).abs().max() < 1e-5


def test_logits_know_nothing_of_what_comes_later() -> None:
    hears, audio, delay = model(), sound(16_000), torch.tensor([6, 6])
    other = audio.clone()
    other[:, 8 * 1280 :] = 0.5
    first, second = hears(audio, 16_000, delay), hears(other, 16_000, delay)
    assert torch.equal(first[:, :8], second[:, :8]) and not torch.allclose(first[:, 8], second[:, 8], atol=1e-3)


def test_the_window_is_all_that_is_remembered() -> None:
    hears, audio = model(window=2, echo=False), sound(32_000)
    other = audio.clone()
    other[:, :1600] = 0.5  # tokens 0 and 1, and by the convolutions' context token 2
    first, second = (hears(each, 16_000, torch.tensor([6, 6])) for each in (audio, other))
    moved = (first - second).abs().amax((0, 2)) > 1e-6
    assert moved[2] and not moved[7:].any()  # three blocks look back one token each


def test_the_delay_is_heeded_by_each_sequence() -> None:
    hears, audio = model(), sound(16_000)
    one, two, both = (hears(audio, 16_000, torch.tensor(each)) for each in ([1, 1], [30, 30], [1, 30]))
    assert not torch.allclose(one, two, atol=1e-2)
    assert torch.allclose(both[0], one[0], atol=1e-5) and torch.allclose(both[1], two[1], atol=1e-5)
    with pytest.raises(ValueError, match="1 to 30 tokens of 80 ms"):
        hears(audio, 16_000, torch.tensor([0, 31]))
    assert len({tuple(each.tolist()) for each in delay_condition(torch.arange(1, 31)).round(decimals=2)}) == 30
    assert [delay_tokens(each) for each in (80, 480, 2400)] == [1, 6, 30]
    with pytest.raises(ValueError, match="multiple of 80"):
        delay_tokens(100)


def test_the_echo_is_the_token_of_just_then() -> None:
    hears = model(window=1)
    audio = torch.zeros(1, 20 * 1280)
    other = audio.clone()
    other[:, 3 * 1280 : 4 * 1280] = sound(1280, 1)
    moved = (hears(audio, 16_000, torch.tensor([6])) - hears(other, 16_000, torch.tensor([6]))).abs().amax((0, 2))
    # token 3 and, by the convolutions' context, the next two; and all again 6 tokens later
    assert set(torch.nonzero(moved > 1e-5).flatten().tolist()) == {3, 4, 5, 9, 10, 11}


def test_only_distances_matter_even_after_a_day() -> None:
    queries, keys = torch.randn(1, 1, 4, 32), torch.randn(1, 1, 4, 32)
    near, far = (
        rotated(queries, torch.arange(4) + first) @ rotated(keys, torch.arange(4) + first).transpose(2, 3)
        for first in (0, 1_080_000)
    )
    assert torch.allclose(near, far, atol=1e-4)
    attention, ring = SlidingAttention(8, 2, 3), SlidingAttention(8, 2, 3).start(1)
    attention.step(torch.randn(1, 7, 8), ring, 0)
    assert sorted(ring.positions.tolist()) == [4, 5, 6]


def test_losses_by_hand() -> None:
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1.0, 1.0, 1.0]]])) + 2.0
    found = speech_losses(logits, torch.tensor([[0, 2, -1]]), pad_weight=0.5, z_weight=0.1)
    assert found["words"].item() == pytest.approx((0.5 * np.log(2) - np.log(0.8)) / 1.5, rel=1e-5)
    assert found["z"].item() == pytest.approx(0.1 * 4.0, rel=1e-5)


def test_a_listener_hears_what_transcribe_hears() -> None:
    hears, audio = model(), sound(30_000, 1)[0].numpy().clip(-1, 1)
    text = transcribe(hears, audio, delay_ms=160)
    assert text
    listener = Listener(hears, delay_ms=160)
    heard = [each for piece in np.array_split(audio, 50) for each in listener.hear(piece)]
    assert " ".join(each.word for each in (*heard, *listener.finish())) == text
    assert [each.said_at for each in heard] == sorted(each.said_at for each in heard)
    with pytest.raises(AudioError, match="8000 samples a second"):
        transcribe(hears, audio, rate=8000)
    with pytest.raises(AudioError, match="NaN"):
        listener.hear(np.array([np.nan], np.float32))
    with pytest.raises(AudioError, match="int16"):
        listener.hear(np.zeros(5, np.int16))
    with pytest.raises(AudioError, match=r"S > 0"):
        transcribe(hears, np.zeros(0, np.float32))


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_sizes_are_built_and_others_refused(size: str) -> None:
    assert model(size=size).head.in_features == EncoderConfig(size).width
    with pytest.raises(ValueError, match="choose from tiny, small, base"):
        EncoderConfig("huge")
