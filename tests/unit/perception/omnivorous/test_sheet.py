"""The picture of what an encoder sees."""

import torch

from foreact.perception.omnivorous.model import EncoderConfig
from foreact.perception.omnivorous.sheet import cls_attention, principal_colours


def test_alike_tokens_have_the_same_colour_in_all_pictures() -> None:
    random = torch.Generator().manual_seed(0)
    kinds = torch.randn(5, 8, generator=random)
    which = torch.randint(0, 5, (3, 16), generator=random)
    colours = principal_colours(kinds[which])
    assert colours.shape == (3, 16, 3) and colours.min() >= 0 and colours.max() <= 1
    for kind in range(5):
        same = colours[which == kind]
        assert torch.allclose(same, same[:1].expand_as(same), atol=1e-4)
    assert len({tuple((colours[which == kind][0] * 20).int().tolist()) for kind in range(5)}) == 5


def test_attention_to_patches_is_what_the_whole_leaves_and_changes_nothing(small: EncoderConfig) -> None:
    trunk = small.build().eval().trunk
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    before = trunk(pictures)[1]
    weights = cls_attention(trunk, pictures)
    assert weights.shape == (2, 16) and weights.min() > 0
    assert (weights.sum(1) < 1).all() and (weights.sum(1) > 0.5).all()  # the rest goes to itself
    assert torch.equal(trunk(pictures)[1], before)
