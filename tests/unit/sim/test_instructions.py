"""The sentences of the 50 tasks."""

import re

import numpy as np
import pytest

from foreact.episodes.contract import LanguageSpec
from foreact.episodes.language import tokenize
from foreact.sim.instructions import metaworld_task_names, metaworld_text

TEXTS = {name: metaworld_text(name) for name in metaworld_task_names()}
SENTENCES = [(name, sentence) for name, text in TEXTS.items() for sentence in (*text.train, text.held_out)]


def test_every_metaworld_task_has_its_sentences() -> None:
    env_dict = pytest.importorskip("metaworld.env_dict")
    assert set(metaworld_task_names()) == set(env_dict.ALL_V3_ENVIRONMENTS)
    assert len(metaworld_task_names()) == 50


def test_each_task_has_a_main_sentence_four_paraphrases_and_one_held_out() -> None:
    for name, text in TEXTS.items():
        assert len(text.train) == 5, name
        assert text.main == text.train[0]
        assert text.held_out not in text.train, name
        assert text.success, name


def test_no_sentence_occurs_twice() -> None:
    sentences = [sentence for _, sentence in SENTENCES]
    assert len(set(sentences)) == len(sentences) == 300


def test_sentences_are_at_most_sixteen_plain_words() -> None:
    for name, sentence in SENTENCES:
        assert re.fullmatch(r"[a-z0-9]+( [a-z0-9]+){0,15}", sentence), (name, sentence)


def test_token_sequences_and_bags_tell_tasks_apart() -> None:
    # words are hashed to 1023 ids and do collide: a sequence, or the set of its ids, must still belong to one task
    owner: dict[tuple[int, ...], str] = {}
    for name, sentence in SENTENCES:
        tokens = tokenize(sentence, LanguageSpec())
        for code in (tuple(tokens.tolist()), (-1, *np.unique(tokens).tolist())):
            assert owner.setdefault(code, name) == name, (name, owner[code], sentence)


def test_a_held_out_sentence_holds_no_word_unseen_in_training() -> None:
    seen = {word for text in TEXTS.values() for sentence in text.train for word in sentence.split()}
    for name, text in TEXTS.items():
        assert set(text.held_out.split()) <= seen, name
