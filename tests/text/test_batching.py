"""Batches by length: every row once, little padding, another order in every pass."""

import numpy as np
import pytest
import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.batching import WINDOW, in_order_batches, length_bucketed
from tfmodels.text.wordpiece import WordPieceTokenizer

TOKENIZER = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])
LENGTHS = np.random.default_rng(0).integers(0, 40, 1003)  # tokens of each text


def rows(chunk=100):
    texts = [" ".join(["a"] * int(length)) for length in LENGTHS]
    return tf.data.Dataset.from_tensor_slices((texts, range(len(texts)))).batch(chunk)


def passes(number, **settings):
    dataset = length_bucketed(rows(), TOKENIZER, 8, 512, rows=1003, **settings)
    return [list(dataset.as_numpy_iterator()) for _ in range(number)]


def numbers(batches):
    return np.concatenate([number for _, number in batches])


def test_every_row_once_in_full_batches_of_little_padding():
    (batches,) = passes(1, seed=1)
    assert sorted(numbers(batches)) == list(range(1003))
    assert sorted(len(number) for _, number in batches) == [3] + [8] * 125
    for batch, number in batches:
        real = batch["padding_mask"].sum(1) - 2  # without [CLS] and [SEP]
        np.testing.assert_array_equal(real, LENGTHS[number])
        np.testing.assert_array_equal((batch["token_ids"] == 5).sum(1), LENGTHS[number])
    assert {batch["token_ids"].shape[1] for batch, _ in batches} <= set(range(4, 49, 4))
    real = sum(batch["padding_mask"].sum() for batch, _ in batches)
    places = sum(batch["padding_mask"].size for batch, _ in batches)
    assert real / places > 0.85  # 0.54 in batches of random rows
    batches = list(length_bucketed(rows(), TOKENIZER, 8, 13))
    assert max(batch["token_ids"].shape[1] for batch, _ in batches) == 13


def test_keras_knows_the_length():
    """Else it counts one optimizer step too many a pass."""
    for given in ({}, {"rows": 1003}):
        dataset = length_bucketed(rows(), TOKENIZER, 8, 512, seed=1, **given)
        assert int(dataset.cardinality()) == len(list(dataset)) == 126
    assert int(in_order_batches(rows(), TOKENIZER, 8, 512).cardinality()) == 126
    endless = length_bucketed(rows().repeat(), TOKENIZER, 8, 512)
    assert int(endless.cardinality()) == tf.data.UNKNOWN_CARDINALITY


def test_in_order_for_predictions():
    dataset = in_order_batches(rows(), TOKENIZER, 8, 20, rows=1003)
    batches = list(dataset.as_numpy_iterator())
    assert int(dataset.cardinality()) == len(batches) == 126
    assert numbers(batches).tolist() == list(range(1003))
    for batch, number in batches:
        real = np.minimum(LENGTHS[number] + 2, 20)
        np.testing.assert_array_equal(batch["padding_mask"].sum(1), real)
        assert batch["token_ids"].shape[1] == real.max()


@pytest.mark.parametrize("seed", [1, 2])
def test_each_pass_has_its_own_order_and_the_same_in_every_run(seed):
    first, second = passes(2, seed=seed)
    assert list(numbers(first)) != list(numbers(second))
    np.testing.assert_array_equal(numbers(passes(1, seed=seed)[0]), numbers(first))


def test_position_does_not_tell_length():
    """Over the passes, batches at the same place are short and long."""
    lengths = [[batch["token_ids"].shape[1] for batch, _ in run] for run in passes(6, seed=1)]
    assert np.std(np.array(lengths)[:, :WINDOW], axis=0).mean() > 5


def test_word_dropout_hides_its_share_of_words_and_nothing_else():
    (plain,), (hidden,) = passes(1, seed=1), passes(1, seed=1, word_dropout=0.25)
    masked = words = 0
    for (before, number), (after, again) in zip(plain, hidden, strict=True):
        np.testing.assert_array_equal(number, again)
        np.testing.assert_array_equal(before["padding_mask"], after["padding_mask"])
        changed = before["token_ids"] != after["token_ids"]
        assert (before["token_ids"][changed] == 5).all()
        assert (after["token_ids"][changed] == TOKENIZER.mask_id).all()
        lengths = (before["token_ids"] == 5).sum(1)
        assert not changed[lengths < 4].any()
        masked, words = masked + changed.sum(), words + lengths[lengths >= 4].sum()
    assert abs(masked / words - 0.25) < 4 * np.sqrt(0.25 * 0.75 / words)


def test_word_dropout_hides_others_in_every_pass_and_the_same_for_a_seed():
    first, second = passes(2, seed=1, word_dropout=0.25)
    (again,) = passes(1, seed=1, word_dropout=0.25)

    def hidden(batches):
        # By the row's number: a pass has its batches in another order.
        return {
            int(n): row[row != TOKENIZER.pad_id] == TOKENIZER.mask_id
            for batch, numbers in batches
            for n, row in zip(numbers, batch["token_ids"], strict=True)
        }

    first, second, again = map(hidden, (first, second, again))
    assert first.keys() == second.keys() == again.keys()
    assert len(first) == 1003 and all((first[n] == again[n]).all() for n in first)
    assert sum((first[n] != second[n]).any() for n in first) > len(first) / 2


def test_word_dropout_needs_a_mask():
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"])
    with pytest.raises(InputError, match=r"word_dropout 0.1: the vocabulary has no \[MASK\]"):
        length_bucketed(rows(), tokenizer, 8, 512, seed=1, word_dropout=0.1)
