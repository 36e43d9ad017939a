"""Masking: shares over a million tokens, whole words, and numbers that depend on nothing else."""

import numpy as np
import pytest
import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.masking import MAX_WORD_TOKENS, WordMasker, hashed, hashed_int, max_masked
from tfmodels.text.wordpiece import SPECIAL_TOKENS, WordPieceTokenizer

WORDS = 995
TOKENIZER = WordPieceTokenizer([*SPECIAL_TOKENS, *(f"w{i}" for i in range(WORDS))])
PAD, UNK, CLS, SEP, MASK = range(5)
S = 128


def batch(rows, longest_word=3, seed=0):
    """Pairs of random words of 1 to `longest_word` tokens, of all lengths up to S."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(5, 5 + WORDS, [rows, S])
    starts = np.zeros([rows, S], bool)
    for row in starts:
        row[np.cumsum(rng.integers(1, longest_word + 1, S)).clip(max=S - 1)] = True
    starts[:, 1] = True
    lengths = np.where(rng.random(rows) < 0.1, rng.integers(4, S, rows), S)
    place = np.arange(S)[None]
    ids[:, 0] = CLS
    ids[rng.random([rows, S]) < 0.01] = UNK
    ids = np.where(place == lengths[:, None] // 2, SEP, ids)
    ids = np.where(place == lengths[:, None] - 1, SEP, ids)
    ids = np.where(place >= lengths[:, None], PAD, ids)
    continues = ~starts & (ids > MASK)
    return tf.constant(ids, tf.int32), tf.constant(continues), tf.range(rows, dtype=tf.int64)


def masked(masker, inputs, pass_number=0):
    ids, continues, numbers = inputs
    passes = tf.fill(tf.shape(numbers), tf.constant(pass_number, tf.int64))
    token_ids, positions, labels = tf.function(masker)(ids, continues, numbers, passes)
    return token_ids.numpy(), positions.numpy(), labels.numpy()


def chosen_of(positions, labels, rows):
    chosen = np.zeros([rows, S], bool)
    row, place = np.nonzero(labels >= 0)
    chosen[row, positions[row, place]] = True
    return chosen


@pytest.mark.parametrize("whole_words", [True, False])
def test_shares_over_a_million_tokens(whole_words):
    rows = 36_000
    inputs = batch(rows)
    ids = inputs[0].numpy()
    masker = WordMasker(TOKENIZER, S, whole_words=whole_words)
    token_ids, positions, labels = masked(masker, inputs)
    chosen = chosen_of(positions, labels, rows)
    maskable = ids > MASK
    assert maskable.sum() > 4_000_000
    assert not (chosen & ~maskable).any()
    assert chosen.sum() == (labels >= 0).sum()  # no place twice
    assert abs(chosen.sum() / maskable.sum() - 0.15) < 0.001
    np.testing.assert_array_equal(token_ids[~chosen], ids[~chosen])
    new, old = token_ids[chosen], ids[chosen]
    np.testing.assert_array_equal(labels[labels >= 0], old)
    assert (np.diff(np.where(labels >= 0, positions, 10**6), axis=1) >= 0).all()
    assert (positions[labels < 0] == 0).all() and (labels[labels < 0] == -1).all()
    # About 600,000 chosen tokens: a standard deviation is 0.05 and 0.04 points.
    assert abs((new == MASK).mean() - 0.8) < 0.002
    assert abs((new == old).mean() - 0.1) < 0.002
    random = new[(new != MASK) & (new != old)]
    assert random.min() >= 5 and len(np.unique(random)) == WORDS
    # Every place of a row is as likely as another one.
    share = chosen[:, 2:60].sum(0) / maskable[:, 2:60].sum(0)
    assert abs(share - 0.15).max() < 0.02


def test_words_are_whole():
    rows = 2000
    inputs = batch(rows, longest_word=MAX_WORD_TOKENS)
    token_ids, positions, labels = masked(WordMasker(TOKENIZER, S), inputs)
    chosen = chosen_of(positions, labels, rows)
    same_word = inputs[1].numpy()[:, 1:] & (inputs[0].numpy()[:, :-1] > MASK)
    assert same_word.sum() > 100_000
    np.testing.assert_array_equal(chosen[:, 1:][same_word], chosen[:, :-1][same_word])
    maskable = (inputs[0].numpy() > MASK).sum()
    assert abs(chosen.sum() / maskable - 0.15) < 0.002
    alone = masked(WordMasker(TOKENIZER, S, whole_words=False), inputs)
    chosen = chosen_of(*alone[1:], rows)
    assert (chosen[:, 1:][same_word] != chosen[:, :-1][same_word]).mean() > 0.2


def test_a_word_that_is_too_long_is_hidden_in_parts():
    """A row of one word must not be all or nothing."""
    rows = 500
    ids = np.full([rows, S], 7)
    ids[:, 0], ids[:, -1] = CLS, SEP
    ids_tensor = tf.constant(ids, tf.int32)
    inputs = ids_tensor, tf.ones([rows, S], tf.bool), tf.range(rows, dtype=tf.int64)
    _, positions, labels = masked(WordMasker(TOKENIZER, S), inputs)
    counts = (labels >= 0).sum(1)
    assert counts.max() <= max_masked(S, 0.15) and counts.min() > 0
    assert abs(counts.mean() - 0.15 * 126) < 0.6
    chosen = chosen_of(positions, labels, rows)[:, 1:121].reshape(rows, -1, MAX_WORD_TOKENS)
    assert ((chosen.all(2)) == (chosen.any(2))).all()


def test_at_least_one_and_none_without_text():
    ids = np.zeros([4, S], np.int32)
    ids[:, :4] = [[CLS, 9, SEP, PAD], [CLS, SEP, PAD, PAD], [CLS, UNK, SEP, PAD], [CLS, 9, 9, SEP]]
    continues = np.zeros([4, S], bool)
    continues[3, 2] = True
    inputs = tf.constant(ids), tf.constant(continues), tf.range(4, dtype=tf.int64)
    _, positions, labels = masked(WordMasker(TOKENIZER, S), inputs)
    assert (labels >= 0).sum(1).tolist() == [1, 0, 0, 2]
    assert positions[0, 0] == 1


def test_masks_depend_on_example_and_pass_alone():
    ids, continues, numbers = batch(64)
    masker = WordMasker(TOKENIZER, S)
    whole = masked(masker, (ids, continues, numbers))
    backwards = masked(masker, (ids[::-1], continues[::-1], numbers[::-1]))
    part = masked(masker, (ids[10:13], continues[10:13], numbers[10:13]))
    for a, b, c in zip(whole, backwards, part, strict=True):
        np.testing.assert_array_equal(a, b[::-1])
        np.testing.assert_array_equal(a[10:13], c)
    assert (masked(masker, (ids, continues, numbers), 1)[1] != whole[1]).mean() > 0.5
    other_seed = WordMasker(TOKENIZER, S, seed=1)
    assert (masked(other_seed, (ids, continues, numbers))[1] != whole[1]).mean() > 0.5
    # The same text as another example, far away in number as well, has another mask.
    same = masked(masker, (ids[:1], continues[:1], numbers[:1] + 2**33))
    assert (same[1] != whole[1][:1]).any()


def test_hash_equals_that_of_integers():
    values = [0, 1, -1, 2**31, 2**32 + 5, 2**62]
    found = hashed(3, tf.constant(values, tf.int64), 7).numpy().tolist()
    assert found == [hashed_int(3, value, 7) for value in values]
    assert len({*found, hashed_int(3, 7, 0), hashed_int(4, 0, 7)}) == len(found) + 2
    many = hashed(0, tf.range(100_000, dtype=tf.int64)).numpy() / 2**32
    assert abs(np.histogram(many, 10)[0] - 10_000).max() < 500  # 5 standard deviations


@pytest.mark.parametrize(
    ("vocabulary", "options", "problem"),
    [
        (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"], {}, r"has no \[MASK\].*as mask_token"),
        (SPECIAL_TOKENS, {}, "special tokens only"),
        ([*SPECIAL_TOKENS, "a"], {"mask_rate": 0}, "mask_rate=0; give a share"),
        ([*SPECIAL_TOKENS, "a"], {"mask_rate": 0.6}, "mask_rate=0.6; give a share"),
    ],
)
def test_what_cannot_be_masked(vocabulary, options, problem):
    with pytest.raises(InputError, match=problem):
        WordMasker(WordPieceTokenizer(vocabulary), S, **options)
