import torch

from foreact.perception.language import InstructionEncoder


def test_padding_does_not_change_the_instruction() -> None:
    torch.manual_seed(0)
    for layers in (0, 1):
        encoder = InstructionEncoder.Config(embedding=8, width=6, layers=layers).build(32, 5).eval()
        short = encoder(torch.tensor([[3, 7, 0, 0, 0]]))
        encoder.tokens.weight.data[0] += 10  # what padding is embedded as must not matter
        assert torch.allclose(encoder(torch.tensor([[3, 7, 0, 0, 0]])), short, atol=1e-6)


def test_a_bag_of_words_is_the_mean_of_its_words() -> None:
    encoder = InstructionEncoder.Config(embedding=4, width=6).build(32, 3)
    words = encoder.tokens.weight
    expected = encoder.project((words[3] + words[7]) / 2)
    assert torch.allclose(encoder(torch.tensor([[3, 7, 0]]))[0], expected)


def test_word_order_matters_once_there_is_attention() -> None:
    torch.manual_seed(0)
    encoder = InstructionEncoder.Config(embedding=8, width=6, layers=1).build(32, 4).eval()
    torch.nn.init.normal_(encoder.places)  # pyright: ignore[reportArgumentType]
    assert not torch.allclose(encoder(torch.tensor([[3, 7, 9, 0]])), encoder(torch.tensor([[9, 7, 3, 0]])), atol=1e-4)
