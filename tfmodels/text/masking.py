"""Mask words of a batch for the masked language model, in the graph.

In: a batch of token ids, which tokens continue a word, and the number of each example. Out:
the same batch with some tokens replaced, their positions, and the original tokens. Every random
number is a hash of the example's number and the pass over the data: the masks do not depend on
batch size, order or machine, and a training that is resumed sees the ones it would have seen.

Follows Devlin et al., "BERT", 2018, section 3.1, with the whole-word masking of
google-research/bert. Nothing in here loops over examples.

B = examples, S = padded length, M = maximum number of masked positions of an example,
V = vocabulary.
"""

import math

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.wordpiece import WordPieceTokenizer

# A longer word (a number, ideographs without spaces in segmented text) is masked in parts of this
# many tokens: it bounds how far one word takes an example beyond its share.
MAX_WORD_TOKENS = 8
AS_MASK, AS_RANDOM = 0.8, 0.1  # shares of the chosen tokens; the rest stays as it is
_ORDER, _BUDGET, _CROSSING, _KIND, _TOKEN = range(5)  # independent streams of random numbers
_GOLDEN = 0x9E3779B9


def max_masked(max_length: int, mask_rate: float) -> int:
    """Return M, which suffices for every example of `max_length` tokens."""
    return min(math.ceil(mask_rate * max_length) + MAX_WORD_TOKENS - 1, max_length)


def check_mask(tokenizer: WordPieceTokenizer) -> None:
    """Raise `InputError` for a tokenizer without [MASK]."""
    if tokenizer.mask_id is None:
        raise InputError(
            "the vocabulary has no [MASK], which replaces words in masked language modelling; "
            "give a vocabulary that has it, or its name as mask_token in tokenizer_config.json"
        )


class WordMasker:
    """Choose words and replace their tokens.

    Of the n tokens of an example that are not special, `mask_rate * n` are chosen in
    expectation: the budget is that number rounded at random, words are taken in random order
    while they fit, and the one that crosses the budget is taken with the probability that makes
    the expectation exact. At least one token is chosen if there is one, so very short examples
    have more than their share. Of the chosen tokens 80 % become [MASK], 10 % any token of the
    vocabulary that is not special, 10 % stay.

    Args:
        tokenizer: a `WordPieceTokenizer` whose vocabulary has [MASK].
        max_length: S.
        mask_rate: share of the tokens that is chosen, above 0 and at most 0.5.
        whole_words: whether the tokens of a word are chosen together.
        seed: of all random numbers.

    Raises:
        InputError: the vocabulary has no [MASK] or only special tokens; the rate is out of range.
    """

    def __init__(
        self, tokenizer: WordPieceTokenizer, max_length: int, mask_rate: float = 0.15,
        whole_words: bool = True, seed: int = 0,
    ):  # fmt: skip
        check_mask(tokenizer)
        self._special = [i in tokenizer.special_ids for i in range(tokenizer.vocabulary_size)]
        ordinary = [i for i, special in enumerate(self._special) if not special]
        if not ordinary:
            raise InputError("the vocabulary has special tokens only; give one with words")
        if not 0 < mask_rate <= 0.5:
            raise InputError(f"mask_rate={mask_rate}; give a share above 0 and at most 0.5")
        self._max_masked = max_masked(max_length, mask_rate)
        self._rate, self._whole_words, self._seed = mask_rate, whole_words, seed
        self._mask_id = tokenizer.mask_id
        self._ordinary = ordinary

    def __call__(
        self, token_ids: tf.Tensor, continues: tf.Tensor, numbers: tf.Tensor,
        pass_numbers: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:  # fmt: skip
        """Mask a batch.

        Args:
            token_ids: int32 [B, S]; special tokens, also those written out in a text, and
                padding are never chosen.
            continues: bool [B, S], True: belongs to the word of the token before.
            numbers: int64 [B], different for each example.
            pass_numbers: int64 [B], the pass over the data; each pass has its own masks.

        Returns:
            `token_ids` int32 [B, S] with replacements, `masked_positions` int32 [B, M],
            ascending, 0 where unused, and `masked_lm` int32 [B, M], the original tokens, -1 where
            unused.
        """
        example = hashed(tf.zeros_like(numbers), self._seed, pass_numbers, numbers)  # uint32 [B]
        chosen = self._choose(token_ids, continues, example)  # bool [B, S]

        every = tf.range(tf.shape(token_ids)[1], dtype=tf.int64)[None]  # [1, S]
        kind = _uniform(hashed(example[:, None], _KIND, every))  # [B, S]
        drawn = tf.cast(hashed(example[:, None], _TOKEN, every), tf.int64) % len(self._ordinary)
        other = tf.where(kind < AS_MASK + AS_RANDOM, tf.gather(self._ordinary, drawn), token_ids)
        replaced = tf.where(kind < AS_MASK, self._mask_id, other)

        size = tf.shape(token_ids)[1]
        places = tf.sort(tf.where(chosen, tf.cast(every, tf.int32), size), axis=1)  # [B, S]
        places = tf.pad(places, [[0, 0], [0, self._max_masked]], constant_values=size)
        places = places[:, : self._max_masked]  # [B, M]
        unused = places == size
        positions = tf.where(unused, 0, places)
        originals = tf.where(unused, -1, tf.gather(token_ids, positions, batch_dims=1))
        return tf.where(chosen, replaced, token_ids), positions, originals

    def _choose(self, token_ids, continues, example):
        """Return which tokens to predict: bool [B, S]."""
        maskable = ~tf.gather(self._special, token_ids)  # [B, S]
        if not self._whole_words:
            continues = tf.zeros_like(continues)
        before = tf.pad(maskable, [[0, 0], [1, 0]])[:, :-1]
        word, length = _words(maskable, maskable & ~(continues & before))
        # The place of each token in its word; a word that is too long becomes several.
        first = tf.cumsum(length, axis=1, exclusive=True)  # [B, S] by word
        rank = tf.cumsum(tf.cast(maskable, tf.int32), axis=1) - 1
        place = rank - tf.gather(first, word, batch_dims=1)
        word, length = _words(maskable, maskable & (place % MAX_WORD_TOKENS == 0))

        count = tf.cast(tf.reduce_sum(length, axis=1), tf.float32)  # [B]
        budget = tf.cast(self._rate * count + _uniform(hashed(example, _BUDGET)), tf.int32)
        budget = tf.maximum(budget, 1)[:, None]
        number = tf.range(tf.shape(word)[1], dtype=tf.int64)[None]
        # TensorFlow sorts signed integers; the order is as random.
        key = tf.bitcast(hashed(example[:, None], _ORDER, number), tf.int32)
        # A row has fewer words than tokens; the absent ones, of length 0, change nothing.
        order = tf.argsort(key, axis=1)  # [B, S]
        taking = tf.gather(length, order, batch_dims=1)
        total = tf.cumsum(taking, axis=1)
        gap = budget - (total - taking)  # rest of the budget at the word's turn
        draw = _uniform(hashed(example, _CROSSING))[:, None] * tf.cast(taking, tf.float32)
        crosses = (gap > 0) & ((draw < tf.cast(gap, tf.float32)) | (gap == budget))
        taken = (taking <= gap) | crosses
        taken = tf.gather(taken, tf.argsort(order, axis=1), batch_dims=1)  # by word
        return maskable & tf.gather(taken, word, batch_dims=1)


def _words(maskable, starts):
    """Return the word of each token, from 0 in its row, and the size of each word: [B, S]."""
    word = tf.maximum(tf.cumsum(tf.cast(starts, tf.int32), axis=1) - 1, 0)
    shape = tf.shape(word)
    flat = word + tf.range(shape[0])[:, None] * shape[1]
    counts = tf.math.unsorted_segment_sum(
        tf.cast(maskable, tf.int32), flat, tf.size(word, tf.int32)
    )
    return word, tf.reshape(counts, shape)


def hashed(start: tf.Tensor | int, *values: tf.Tensor | int) -> tf.Tensor:
    """Return a pseudo-random number for each combination of values.

    Args:
        start: integers: 0, or an earlier hash.
        *values: int64 tensors or int, which broadcast with `start`.

    Returns:
        uint32 tensor; `hashed_int` gives the same numbers.
    """
    x = tf.cast(start, tf.uint32)
    for value in values:
        for half in _halves(value):
            x = _mixed(x * _u32(_GOLDEN) + half)
    return x


def hashed_int(start: int, *values: int) -> int:
    """Return `hashed` of one combination of Python integers."""
    x = start & 0xFFFFFFFF
    for value in values:
        for half in (value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF):
            x = (x * _GOLDEN + half) & 0xFFFFFFFF
            for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
                x = (x ^ x >> shift) * factor & 0xFFFFFFFF
    return x


def _halves(value):
    if isinstance(value, int):
        return _u32(value & 0xFFFFFFFF), _u32(value >> 32 & 0xFFFFFFFF)
    value = tf.cast(value, tf.int64)
    return tuple(tf.cast(v & 0xFFFFFFFF, tf.uint32) for v in (value, value // (1 << 32)))


def _mixed(x):
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _u32(shift))) * _u32(factor)
    return x


def _u32(value):
    return tf.constant(value, tf.uint32)


def _uniform(x):
    """Return uint32 as float32 in [0, 1)."""
    return tf.cast(tf.bitwise.right_shift(x, _u32(8)), tf.float32) * 2.0**-24
