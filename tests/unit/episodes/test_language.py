import zlib

import numpy as np
import pytest

from foreact.episodes.contract import ContractError, LanguageSpec
from foreact.episodes.language import tokenize


def test_ids_by_hand() -> None:
    # the check value of CRC-32 is crc32("123456789") = 0xcbf43926 = 3421780262; id = 1 + 3421780262 mod 1023
    tokens = tokenize("Open 123456789!", LanguageSpec(length=4))
    assert tokens.dtype == np.int64
    assert tokens.tolist() == [1 + zlib.crc32(b"open") % 1023, 759, 0, 0]


def test_case_and_punctuation_do_not_matter_but_order_does() -> None:
    spec = LanguageSpec()
    assert np.array_equal(tokenize("push the PUCK", spec), tokenize("  push: the... puck\n", spec))
    assert not np.array_equal(tokenize("puck the push", spec), tokenize("push the puck", spec))


def test_long_text_is_cut_and_ids_stay_in_the_vocabulary() -> None:
    tokens = tokenize(" ".join(f"w{i}" for i in range(500)), LanguageSpec(vocabulary=2, length=300))
    assert tokens.shape == (300,)
    assert set(tokens.tolist()) == {1}


@pytest.mark.parametrize("text", ["", "  ", "?!", "\n"])
def test_text_without_words_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="holds no word"):
        tokenize(text, LanguageSpec())


@pytest.mark.parametrize("change", [{"tokenizer": "bpe"}, {"vocabulary": 1}, {"length": 0}])
def test_impossible_specs(change: dict) -> None:
    with pytest.raises(ContractError, match="language"):
        LanguageSpec(**change)
