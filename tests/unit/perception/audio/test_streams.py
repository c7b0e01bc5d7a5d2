import numpy as np
import pytest

from foreact.perception.audio.streams import BEGIN, PAD, Reader, Vocabulary, normal_words, target_tokens
from foreact.perception.audio.word_errors import edits, word_figures


def test_targets_by_hand() -> None:
    # words 5 and 6 begin in tokens 1 and 5: announced two tokens later, said after that
    assert target_tokens([1, 5], [5, 6], 10, 2).tolist() == [0, 0, 0, BEGIN, 5, 0, 0, BEGIN, 6, 0]
    # no time to announce the second, and the third waits its turn
    assert target_tokens([1, 2, 2], [5, 6, 7], 8, 1).tolist() == [0, 0, BEGIN, 5, 6, 7, 0, 0]
    assert target_tokens([1, 1], [5, 6], 5, 1).tolist() == [0, 0, 5, 6, 0]
    assert target_tokens([3], [5], 5, 1).tolist() == [0, 0, 0, 0, BEGIN]  # the word itself would come too late


@pytest.mark.parametrize("delay", [1, 6, 30])
def test_every_word_is_said_once_in_order_whatever_the_pace(delay: int) -> None:
    random = np.random.default_rng(delay)
    vocabulary = Vocabulary(tuple("abcdef"))
    for _ in range(20):
        starts = np.sort(random.integers(0, 30, 12))
        words = (2 + np.arange(12) % 6).tolist()
        targets = target_tokens(starts.tolist(), words, 30 + delay + 13, delay)
        assert [word for _, word in Reader(vocabulary).read(targets)] == [vocabulary.word(each) for each in words]
        assert (np.flatnonzero(targets >= 2) >= starts + delay).all()


def test_a_reader_goes_on_between_chunks() -> None:
    reader = Reader(Vocabulary(("a", "b")))
    assert reader.read([PAD, BEGIN, 2]) == [(2, "a")]
    assert reader.read([2, 3, PAD, 3]) == [(1, "b"), (3, "b")]  # said in two tokens on end: one word


def test_a_vocabulary_is_of_normal_words() -> None:
    assert normal_words("Open the drawer, don't wait!") == ("open", "the", "drawer", "don't", "wait")
    words = Vocabulary.of(["Open the door", "the end"])
    assert words.words == ("door", "end", "open", "the") and words.numbers(["end", "the"]) == [3, 5] and len(words) == 6
    with pytest.raises(ValueError, match="cannot say: window"):
        words.numbers(["window"])
    with pytest.raises(ValueError, match="sorted"):
        Vocabulary(("b", "a"))


def test_edits_and_rates_by_hand() -> None:
    assert edits("a b c".split(), "a x c d".split()) == 2 and edits([], ["a", "b"]) == 2 and edits(["a"], ["a"]) == 0
    found = word_figures([["open", "the", "door"], ["close"]], [["open", "the", "door"], ["close", "it"]])
    assert found["wer"] == pytest.approx(1 / 5) and found["exact"] == 0.5
    low, high = found["wer_low"], found["wer_high"]
    assert isinstance(low, float) and isinstance(high, float) and low == 0 and high == pytest.approx(0.5)
    with pytest.raises(ValueError, match="each with words"):
        word_figures([["a"]], [[]])
