"""From texts to batches of nearly equal length, which saves most of the time of a training.

In: a `tf.data` dataset of chunks of rows, `(text, label, ...)`, and a tokenizer. Out: a
dataset of `(batch dict, label, ...)` for `model.fit`. Sentences are 10 to 30 tokens where a
fixed length is 128 or 512, and batches of sentences of all lengths are as long as their longest.

B = batch, C = rows of a chunk, T = tokens of a text, S = padded length.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.packing import pack, special_tokens, truncated
from tfmodels.text.wordpiece import WordPieceTokenizer

# Number of batches that are sorted by length together. More make batches more even and the order
# of rows less random.
WINDOW = 50
# Padded lengths are multiples of an eighth of the next power of two, but at least of
# this: few shapes occur (each new one costs the compilation of the training kernels),
# and little of a batch is padding.
MIN_STEP = 4
# Minimum number of tokens of a text, without special ones, for word dropout. In a shorter one the
# dropped word may well be the one that its label is about.
MIN_WORDS = 4


def encode(
    tokenizer: WordPieceTokenizer, text: tf.Tensor, max_length: int, pair: tf.Tensor | None = None
) -> dict[str, tf.Tensor]:
    """Return texts, string `[B]`, or pairs of them, as the batch of an encoder; see `pack`."""
    pair_ids = None if pair is None else tokenizer.tokenize(pair)
    return pack(tokenizer, tokenizer.tokenize(text), max_length, pair_ids)


def length_bucketed(
    chunks: tf.data.Dataset, tokenizer: WordPieceTokenizer, batch_size: int, max_length: int,
    seed: int | None = None, word_dropout: float = 0.0, rows: int | None = None, texts: int = 1,
) -> tf.data.Dataset:  # fmt: skip
    """Return batches of texts, or pairs of texts, of similar length.

    Rows are taken in their order, `WINDOW` batches at a time, sorted by length there
    and cut into batches, so every row is used once and every batch but the last is
    full. With a seed the batches of a window come in random order.

    Args:
        chunks: dataset of `(text, *others)`: string `[C]` and tensors `[C, ...]`; C may
            differ from chunk to chunk.
        tokenizer: a `WordPieceTokenizer`.
        batch_size: B, of all replicas together.
        max_length: maximum number of tokens of a text, with the special ones.
        seed: for training; `None` keeps each window sorted.
        word_dropout: share of the tokens of texts of 4 and more that `[MASK]` replaces, others
            in every batch and pass: for training, so that no single word decides. Needs a seed
            and a vocabulary with `[MASK]`.
        rows: number of rows, which Keras needs to know the length of the dataset; if not given,
            `chunks` of a known number are counted.
        texts: 2 if the first two parts of a row are the texts of a pair.

    Returns:
        dataset of `(batch dict, *others)`; see `encode` for the dict.

    Raises:
        InputError: word dropout without `[MASK]`.
    """
    if word_dropout and tokenizer.mask_id is None:
        raise InputError(f"word_dropout {word_dropout}: the vocabulary has no [MASK]; use 0")

    def tokenized(*row):
        ids = [tokenizer.tokenize(text) for text in row[:texts]]
        room = max_length - special_tokens(tokenizer, texts)
        return (*truncated(ids, room), *row[texts:])

    def packed_row(*row):
        return (packed_to_few_lengths(tokenizer, row[0], max_length, *row[1:texts]), *row[texts:])

    def shortest_first(*row):
        return tf.argsort(sum(ids.row_lengths() for ids in row[:texts]), stable=True)

    def with_words_dropped(number, row):
        batch, *others = row
        ids = batch["token_ids"]
        special = [tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id]
        words = tf.reduce_all(ids[..., None] != special, -1)  # [B, S]
        words &= tf.reduce_sum(tf.cast(words, tf.int32), -1, keepdims=True) >= MIN_WORDS
        drawn = tf.random.stateless_uniform(tf.shape(ids), tf.stack([seed, number]))
        ids = tf.where(words & (drawn < word_dropout), tokenizer.mask_id, ids)
        return ({**batch, "token_ids": ids}, *others)

    rows = number_of_rows(chunks) if rows is None else rows
    examples = mapped(chunks, tokenized).unbatch()
    batches = by_length(examples, batch_size, seed, rows, shortest_first)
    batches = mapped(batches, packed_row)
    if word_dropout:
        # Each pass has its own numbers, which follow from the seed.
        numbers = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
        batches = mapped(tf.data.Dataset.zip(numbers, batches), with_words_dropped)
    return batches.prefetch(tf.data.AUTOTUNE)


def in_order_batches(
    chunks: tf.data.Dataset, tokenizer: WordPieceTokenizer, batch_size: int, max_length: int,
    rows: int | None = None, texts: int = 1,
) -> tf.data.Dataset:  # fmt: skip
    """Return batches of texts in their order, each padded to its longest: for predictions.

    Args, returns: as of `length_bucketed`.
    """

    def encoded(text, *others):
        pair, others = others[: texts - 1], others[texts - 1 :]
        return (encode(tokenizer, text, max_length, *pair), *others)

    rows = number_of_rows(chunks) if rows is None else rows
    return of_length(mapped(chunks.unbatch().batch(batch_size), encoded), rows, batch_size)


def number_of_rows(chunks: tf.data.Dataset) -> int | None:
    """Read chunks once to count their rows; None where they may have no end."""
    if int(chunks.cardinality()) < 0:
        return None
    sizes = mapped(chunks, lambda first, *_: tf.shape(first, tf.int64)[0])
    return int(sizes.reduce(np.int64(0), lambda total, size: total + size))


def counted(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Read batches once to count them, and return them with their number, for Keras."""
    return batches.apply(tf.data.experimental.assert_cardinality(sum(1 for _ in batches)))


def of_length(batches: tf.data.Dataset, rows: int | None, batch_size: int) -> tf.data.Dataset:
    """Return batches of `rows` rows with their number; unchanged if `rows` is not known."""
    if rows is None:
        return batches
    return batches.apply(tf.data.experimental.assert_cardinality(-(-rows // batch_size)))


def by_length(
    examples: tf.data.Dataset, batch_size: int, seed: int | None = None, rows: int | None = None,
    order: Callable[..., tf.Tensor] | None = None,
) -> tf.data.Dataset:  # fmt: skip
    """Return batches of examples of similar length; other arguments as of `length_bucketed`.

    Args:
        examples: dataset of tuples whose first part is int32 `[T]`.
        order: function from the parts of a window to the order to cut it in; `None`: by the
            length of the first part.

    Returns:
        dataset of the same tuples, the parts with B in front: int32 `[B, (T)]`.
    """

    def batches_of(*parts):
        places = order(*parts) if order else tf.argsort(parts[0].row_lengths(), stable=True)
        ordered = tuple(tf.gather(values, places) for values in parts)
        return tf.data.Dataset.from_tensor_slices(ordered).batch(batch_size)

    batches = examples.ragged_batch(batch_size * WINDOW).flat_map(no_autograph(batches_of))
    batches = of_length(batches, rows, batch_size)
    return batches if seed is None else batches.shuffle(2 * WINDOW, seed=seed)


def mapped(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
    """Return `dataset.map(function)`, in parallel and without AutoGraph."""
    return dataset.map(no_autograph(function), num_parallel_calls=tf.data.AUTOTUNE)


def no_autograph(function: Callable) -> Callable:
    """Return a function that AutoGraph leaves as it is, which would take it seconds."""
    return tf.autograph.experimental.do_not_convert(function)


def packed_to_few_lengths(
    tokenizer: WordPieceTokenizer, ids: tf.RaggedTensor, max_length: int,
    pair_ids: tf.RaggedTensor | None = None,
) -> dict[str, tf.Tensor]:  # fmt: skip
    """Return `pack`, padded up to the next of the few lengths that batches have."""
    batch = pack(tokenizer, ids, max_length, pair_ids)
    length = tf.shape(batch["token_ids"])[1]
    missing = tf.minimum(rounded_up(length), max_length) - length
    for name, filler in (("token_ids", tokenizer.pad_id), ("segment_ids", 0)):
        batch[name] = tf.pad(batch[name], [[0, 0], [0, missing]], constant_values=filler)
    batch["padding_mask"] = tf.pad(batch["padding_mask"], [[0, 0], [0, missing]])
    return batch


def to_few_lengths(ids: tf.RaggedTensor, filler: int, max_length: int, **lengths: Any) -> tf.Tensor:
    """Return ragged `[B, (T)]` as dense `[B, S]`, S one of the few lengths that batches have.

    Args:
        ids: to pad.
        filler: value of the padding.
        max_length: maximum S.
        **lengths: see `rounded_up`.
    """
    longest = tf.cast(ids.bounding_shape(axis=1), tf.int32)
    length = tf.minimum(rounded_up(longest, **lengths), max_length)
    return ids.to_tensor(filler, shape=tf.stack([-1, tf.cast(length, tf.int64)]))


def rounded_up(length: tf.Tensor, parts: int = 8, min_step: int = MIN_STEP) -> tf.Tensor:
    """Round a length up to the next of the few lengths that batches are padded to.

    They are multiples of a part of the next power of two, and of at least `min_step`.
    """
    doublings = tf.math.log(tf.cast(length, tf.float32)) / tf.math.log(2.0)
    power = tf.cast(tf.math.ceil(doublings - 1e-4), tf.int32)
    step = tf.maximum(tf.bitwise.left_shift(1, power) // parts, min_step)
    return -(-length // step) * step
