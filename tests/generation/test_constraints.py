"""Beam search with phrases that must occur, against all sequences written out."""

import itertools

import numpy as np
import pytest

from tests.generation.test_beam import IDS, LENGTH, MASK, SIZE, STOP, WIDE, run
from tests.generation.toy import Toy
from tfmodels.errors import InputError
from tfmodels.generation.settings import Generation

SETTINGS = Generation(max_new_tokens=LENGTH, num_beams=WIDE, stop_ids=(STOP,))


def contains(tokens, phrases):
    """Whether the phrases occur without sharing a token, in any order."""

    def fits(rest, left):
        if not left:
            return True
        return any(
            fits(rest[:at] + [-1] * len(phrase) + rest[at + len(phrase) :], left[1:])
            for phrase in left[:1]
            for at in range(len(rest) - len(phrase) + 1)
            if rest[at : at + len(phrase)] == phrase
        )

    return any(fits(list(tokens), list(order)) for order in itertools.permutations(phrases))


def best(toy, prompt, phrases):
    """The best of all sequences with the phrases, and its score."""
    found = []

    def extend(tokens, log_prob):
        if tokens and (tokens[-1] == STOP or len(tokens) == LENGTH):
            inner = tokens[:-1] if tokens[-1] == STOP else tokens
            if contains(inner, phrases):
                found.append((log_prob / len(tokens), tokens))
            return
        log_probs = toy.log_probs([*prompt, *tokens])
        for token in range(SIZE):
            extend([*tokens, token], log_prob + log_probs[token])

    extend([], 0.0)
    return max(found)


@pytest.mark.parametrize("phrases", [[[1]], [[3, 1]], [[1], [3]], [[3, 0], [1]]], ids=str)
def test_wide_beams_find_the_best_sequence_with_them(phrases):
    required = np.full((len(IDS), 2, 2), -1, np.int32)
    for place, phrase in enumerate(phrases):
        required[:, place, : len(phrase)] = phrase
    required[0] = -1  # the first row has none
    for seed in range(3):
        toy = Toy(SIZE, seed=seed, scale=1.0)
        found = run(toy, SETTINGS, rows={"required": required})
        for row in range(len(IDS)):
            wanted = phrases if row else []
            score, tokens = best(toy, IDS[row][MASK[row]], wanted)
            assert found.token_ids[row][found.mask[row]].tolist() == tokens
            np.testing.assert_allclose(found.scores[row], score, rtol=1e-4)


def test_few_beams_keep_a_place_for_what_is_unlikely():
    """A token that the model hardly ever writes."""
    toy = Toy(SIZE, seed=1)
    toy.output[:, 1] -= 3
    required = np.full((len(IDS), 1, 2), -1, np.int32)
    required[:, 0] = [1, 1]
    settings = Generation(max_new_tokens=8, num_beams=4, stop_ids=(STOP,))
    found = run(toy, settings, rows={"required": required})
    for row in range(len(IDS)):
        assert contains(found.token_ids[row][found.mask[row]].tolist(), [[1, 1]])


def test_no_room():
    """What does not fit is left out; the score is that of what is written."""
    required = np.full((len(IDS), 1, LENGTH + 1), 1, np.int32)
    toy = Toy(SIZE, seed=1)
    found = run(toy, SETTINGS, rows={"required": required})
    assert ((found.scores > -100) & (found.scores < 0)).all()


def test_several_sequences():
    toy = Toy(SIZE, seed=2, scale=1.0)
    fields = {"max_new_tokens": LENGTH, "num_beams": WIDE, "stop_ids": (STOP,)}
    several = run(toy, Generation(**fields, num_return=3))
    assert several.token_ids.shape == (3 * len(IDS), LENGTH)
    one = run(toy, Generation(**fields))
    np.testing.assert_array_equal(several.token_ids[::3], one.token_ids)
    scores = several.scores.reshape(-1, 3)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_refused():
    with pytest.raises(InputError, match="num_return 3: give at most num_beams=2"):
        Generation(num_beams=2, num_return=3)
    required = np.zeros((len(IDS), 1, 1), np.int32)
    with pytest.raises(InputError, match="required has no meaning without beams"):
        run(Toy(SIZE), Generation(max_new_tokens=2), rows={"required": required})
