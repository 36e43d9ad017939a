"""Beam search against all sequences written out."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.generation.toy import Toy, ask, numpy, prompts
from tfmodels.generation.decoding import Decoding, generate
from tfmodels.generation.settings import Generation

SIZE, LENGTH, STOP = 4, 4, 2
IDS, MASK = prompts(SIZE, 2, 4, 1)
WIDE = 64  # of 4 tokens, no more than 3^3 sequences go on: every one is followed


def run(toy, settings, ids=IDS, mask=MASK, **options):
    def function(ids, mask, rows):
        return generate(toy.step, *toy.prompt(ids, mask), ids, mask, settings, rows=rows, **options)

    rows = options.pop("rows", {})
    inputs = keras.tree.map_structure(ops.convert_to_tensor, (ids, mask, rows))
    return ask(function, *inputs)


def best(toy, prompt, length_penalty, length=LENGTH, allowed=lambda tokens: True, ends=None):
    """The best of all sequences, and its score."""
    ends = ends or (lambda tokens: tokens[-1] == STOP)
    found = []

    def extend(tokens, log_prob):
        if tokens and (len(tokens) == length or ends(tokens)):
            found.append((log_prob / len(tokens) ** length_penalty, tokens))
            return
        log_probs = toy.log_probs([*prompt, *tokens])
        for token in range(SIZE):
            if allowed([*tokens, token]):
                extend([*tokens, token], log_prob + log_probs[token])

    extend([], 0.0)
    return max(found)


def assert_best(found, toy, *arguments, **options):
    for row in range(len(IDS)):
        score, tokens = best(toy, IDS[row][MASK[row]], *arguments, **options)
        assert found.token_ids[row][found.mask[row]].tolist() == tokens
        np.testing.assert_allclose(found.scores[row], score, rtol=1e-4)
        assert not found.token_ids[row][~found.mask[row]].any()


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0, -1.0])
def test_wide_beams_find_the_best_sequence(length_penalty):
    settings = Generation(
        max_new_tokens=LENGTH, num_beams=WIDE, length_penalty=length_penalty, stop_ids=(STOP,)
    )
    lengths = set()
    for seed in range(4):
        toy = Toy(SIZE, seed=seed, scale=1.0)
        found = run(toy, settings)
        assert_best(found, toy, length_penalty)
        lengths |= set(found.mask.sum(1).tolist())
    assert len(lengths) > 1


def test_further_condition():
    toy = Toy(SIZE, seed=2, scale=1.0)

    def stopped(token_ids, count):
        before, newest = (ops.take(token_ids, count - back, axis=1) for back in (2, 1))
        return (count > 1) & (before == newest)

    settings = Generation(max_new_tokens=LENGTH, num_beams=WIDE)
    found = run(toy, settings, stopped=stopped)
    assert_best(found, toy, 1.0, ends=lambda t: len(t) > 1 and t[-1] == t[-2])


@pytest.mark.parametrize("fields", [{}, {"forced_first_id": 1, "forced_last_id": 3}], ids=str)
def test_each_row_has_its_own_length(fields):
    toy = Toy(SIZE, seed=3, scale=1.0)
    fields = {"num_beams": 3, "stop_ids": (STOP,), **fields}
    lengths = [1, 4, 2]
    own = {"max_new_tokens": np.array(lengths, "int32")}
    found = run(toy, Generation(max_new_tokens=LENGTH, **fields), rows=own)
    for row, length in enumerate(lengths):
        one = slice(row, row + 1)
        settings = Generation(max_new_tokens=length, **fields)
        alone = run(toy, settings, IDS[one], MASK[one])
        np.testing.assert_array_equal(found.token_ids[row, :length], alone.token_ids[0])
        np.testing.assert_array_equal(found.mask[row, :length], alone.mask[0])
        np.testing.assert_allclose(found.scores[row], alone.scores[0], rtol=1e-5)


def test_a_row_does_not_depend_on_the_batch():
    toy = Toy(SIZE, seed=4)
    settings = Generation(
        max_new_tokens=9, num_beams=3, stop_ids=(STOP,), repetition_penalty=1.2, no_repeat_ngram=3
    )
    together = run(toy, settings)
    for row in range(len(IDS)):
        one = slice(row, row + 1)
        alone = run(toy, settings, IDS[one][:, MASK[row]], MASK[one][:, MASK[row]])
        np.testing.assert_array_equal(alone.token_ids[0], together.token_ids[row])
        np.testing.assert_allclose(alone.scores[0], together.scores[row], rtol=1e-4)


def test_ends_when_nothing_better_can_come():
    toy = Toy(SIZE, seed=1)
    toy.output[:, STOP] = 0
    counts = []

    def step(token_ids, index, state):
        counts.append(int(index))
        logits, state = toy.step(token_ids, index, state)
        return logits + 20.0 * (np.arange(SIZE) == STOP), state

    settings = Generation(max_new_tokens=50, num_beams=2, stop_ids=(STOP,))
    decoding = Decoding(step, settings)
    carry = decoding.start(*toy.prompt(IDS, MASK), IDS, MASK)
    while decoding.unfinished(carry):
        carry = decoding.advance(carry)
    assert len(counts) < 5
    assert not numpy(decoding.result(carry)).mask[:, 5:].any()


def test_what_is_fixed_is_shared():
    """Logits of each prompt's own: the same found as if they were repeated and put into order."""
    toy = Toy(SIZE, seed=4, scale=1.0)
    own = 2 * np.random.default_rng(0).normal(size=(len(IDS), SIZE)).astype("float32")

    def searched(key):
        def step(token_ids, index, state):
            added, beams = state[key]["own"], 1
            if key == "fixed":
                beams = token_ids.shape[1]
                token_ids, added = ops.reshape(token_ids, (-1,)), ops.repeat(added, beams, 0)
            assert beams == (3 if key == "fixed" else 1)
            logits, new = toy.step(token_ids, index, state["toy"])
            return logits + added, {**state, "toy": new}

        logits, state = toy.prompt(IDS, MASK)
        state = {"toy": state, key: {"own": ops.convert_to_tensor(own)}}
        decoding = Decoding(step, Generation(max_new_tokens=4, num_beams=3, stop_ids=(STOP,)))
        carries = [decoding.start(logits + own, state, IDS, MASK)]
        while decoding.unfinished(carries[-1]):
            carries.append(decoding.advance(carries[-1]))
        return carries, numpy(decoding.result(carries[-1]))

    carries, found = searched("fixed")
    assert len(carries) > 2
    for carry in carries:
        assert carry.state["fixed"]["own"] is carries[0].state["fixed"]["own"]
    np.testing.assert_array_equal(numpy(carry.state["fixed"]["own"]), own)
    expected = searched("moved")[1]
    np.testing.assert_array_equal(found.token_ids, expected.token_ids)
    np.testing.assert_array_equal(found.scores, expected.scores)
    alone = run(toy, Generation(max_new_tokens=4, num_beams=3, stop_ids=(STOP,)))
    assert (found.token_ids != alone.token_ids).any()


def test_a_large_vocabulary():
    """Twelve tokens far apart among thousands that never come: as if there were twelve."""
    toy, apart = Toy(SIZE, seed=4, scale=1.0), 300
    never = np.full((1, SIZE * apart), -np.inf, "float32")
    place = np.arange(SIZE) * apart

    def spread(logits):
        logits = ops.expand_dims(logits, -1)
        rest = ops.broadcast_to(never[0, : apart - 1], (*logits.shape[:2], apart - 1))
        return ops.reshape(ops.concatenate([logits, rest], -1), (-1, SIZE * apart))

    def step(token_ids, index, state):
        logits, state = toy.step(token_ids // apart, index, state)
        return spread(logits), state

    def searched(step, first, stop, prompt_ids):
        logits, state = toy.prompt(IDS, MASK)
        settings = Generation(max_new_tokens=8, num_beams=3, stop_ids=(stop,))
        return numpy(generate(step, first(logits), state, prompt_ids, MASK, settings))

    few = searched(toy.step, lambda logits: logits, STOP, IDS)
    many = searched(step, spread, STOP * apart, IDS * apart)
    np.testing.assert_array_equal(many.token_ids, place[few.token_ids])
    np.testing.assert_allclose(many.scores, few.scores, rtol=1e-5)
