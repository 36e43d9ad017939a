"""From texts to batches of nearly equal length: most of the time saved in training.

In: a `tf.data` dataset of chunks of rows, `(text, label, ...)`, and a tokenizer. Out: a
dataset of `(batch dict, label, ...)` as `model.fit` takes it. Sentences are 10 to 30
tokens where a fixed length is 128 or 512, and batches of sentences of all lengths are
as long as their longest.

B = batch, C = rows of a chunk, T = tokens of a text, S = padded length.
"""

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.packing import pack

# Batches that are sorted by length together. More make batches more even and the order
# of rows less random.
WINDOW = 50
# Padded lengths are multiples of an eighth of the next power of two, but at least of
# this: few shapes occur (each new one costs the compilation of the training kernels),
# and little of a batch is padding.
LEAST_STEP = 4
# Tokens of a text, without special ones, of which some may be hidden. In a shorter one the hidden
# word may well be the one that its label is about.
LEAST_WORDS = 4


def encode(tokenizer, text, max_length):
    """Texts, string `[B]`, as the batch that an encoder takes: see `pack`."""
    return pack(tokenizer, tokenizer.tokenize(text), max_length)


def length_bucketed(
    chunks, tokenizer, batch_size, max_length, seed=None, word_dropout=0.0, rows=None
):
    """Batches of texts of similar length.

    Rows are taken in their order, `WINDOW` batches at a time, sorted by length there
    and cut into batches, so every row is used once and every batch but the last is
    full. With a seed the batches of a window come in random order.

    Args:
        chunks: dataset of `(text, *others)`: string `[C]` and tensors `[C, ...]`; C may
            differ from chunk to chunk.
        tokenizer: a `WordPieceTokenizer`.
        batch_size: B, of all replicas together.
        max_length: maximum number of tokens of a text, with the special ones.
        seed: int, for training; `None` keeps each window sorted.
        word_dropout: share of the tokens of texts of 4 and more that `[MASK]` takes the place
            of, others in every batch and pass: for training, so that no single word decides.
            Needs a seed and a vocabulary with `[MASK]`.
        rows: number of rows in all; counted where `chunks` knows its own length. With it, Keras
            knows the length of the dataset.

    Returns:
        dataset of `(batch dict, *others)`; see `encode` for the dict.

    Raises:
        InputError: word dropout without `[MASK]`.
    """
    if word_dropout and tokenizer.mask_id is None:
        raise InputError(f"word_dropout {word_dropout}: the vocabulary has no [MASK]; use 0")

    def tokenized(text, *others):
        return (tokenizer.tokenize(text)[:, : max_length - 2], *others)

    def packed_row(ids, *others):
        return (packed_to_few_lengths(tokenizer, ids, max_length), *others)

    def with_words_dropped(number, row):
        batch, *others = row
        ids = batch["token_ids"]
        special = [tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id]
        words = tf.reduce_all(ids[..., None] != special, -1)  # [B, S]
        words &= tf.reduce_sum(tf.cast(words, tf.int32), -1, keepdims=True) >= LEAST_WORDS
        drawn = tf.random.stateless_uniform(tf.shape(ids), tf.stack([seed, number]))
        ids = tf.where(words & (drawn < word_dropout), tokenizer.mask_id, ids)
        return ({**batch, "token_ids": ids}, *others)

    rows = number_of_rows(chunks) if rows is None else rows
    batches = by_length(mapped(chunks, tokenized).unbatch(), batch_size, seed, rows)
    batches = mapped(batches, packed_row)
    if word_dropout:
        # Other numbers in every pass, and the same ones again for the same seed.
        numbers = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
        batches = mapped(tf.data.Dataset.zip(numbers, batches), with_words_dropped)
    return batches.prefetch(tf.data.AUTOTUNE)


def in_order_batches(chunks, tokenizer, batch_size, max_length, rows=None):
    """Batches of texts in their order, each padded to its longest: for predictions.

    Args, returns: as of `length_bucketed`.
    """

    def encoded(text, *others):
        return (encode(tokenizer, text, max_length), *others)

    rows = number_of_rows(chunks) if rows is None else rows
    return of_length(mapped(chunks.unbatch().batch(batch_size), encoded), rows, batch_size)


def counted(batches):
    """Read batches through once for their number, which Keras then knows."""
    return batches.apply(tf.data.experimental.assert_cardinality(sum(1 for _ in batches)))


def of_length(batches, rows, batch_size):
    """Tell a dataset of batches of `rows` rows its length; as it is where these are not known."""
    if rows is None:
        return batches
    return batches.apply(tf.data.experimental.assert_cardinality(-(-rows // batch_size)))


def number_of_rows(chunks, counted=lambda first, *others: tf.shape(first, tf.int64)[0]):
    """Count the rows of chunks; `None` where these may have no end.

    Args:
        chunks: dataset of `(values [C], *others)`.
        counted: function of a chunk that gives its number of rows.
    """
    if int(chunks.cardinality()) < 0:
        return None
    return int(mapped(chunks, counted).reduce(tf.constant(0, tf.int64), lambda a, b: a + b))


def by_length(rows, batch_size, seed=None, number=None, order=None):
    """Batches of rows of similar length.

    Args:
        rows: dataset of tuples whose first part is int32 `[T]`.
        batch_size, seed: see `length_bucketed`.
        number: number of rows, if known.
        order: function of the parts of a window that gives the order to cut it in; `None`: by
            the length of the first part.

    Returns:
        dataset of the same tuples, the parts with B in front: int32 `[B, (T)]`.
    """

    def batches_of(*parts):
        places = order(*parts) if order else tf.argsort(parts[0].row_lengths(), stable=True)
        ordered = tuple(tf.gather(values, places) for values in parts)
        return tf.data.Dataset.from_tensor_slices(ordered).batch(batch_size)

    batches = rows.ragged_batch(batch_size * WINDOW).flat_map(as_it_stands(batches_of))
    batches = of_length(batches, number, batch_size)
    return batches if seed is None else batches.shuffle(2 * WINDOW, seed=seed)


def mapped(dataset, function):
    """`dataset.map`, in parallel, of a function `as_it_stands`."""
    return dataset.map(as_it_stands(function), num_parallel_calls=tf.data.AUTOTUNE)


def as_it_stands(function):
    """Without AutoGraph, which takes seconds to rewrite a tokenizer that has nothing for it."""
    return tf.autograph.experimental.do_not_convert(function)


def packed_to_few_lengths(tokenizer, ids, max_length):
    """`pack`, padded up to the next of the few lengths that batches have."""
    batch = pack(tokenizer, ids, max_length)
    length = tf.shape(batch["token_ids"])[1]
    missing = tf.minimum(rounded_up(length), max_length) - length
    for name, filler in (("token_ids", tokenizer.pad_id), ("segment_ids", 0)):
        batch[name] = tf.pad(batch[name], [[0, 0], [0, missing]], constant_values=filler)
    batch["padding_mask"] = tf.pad(batch["padding_mask"], [[0, 0], [0, missing]])
    return batch


def to_few_lengths(ids, filler, most, **lengths):
    """Ragged `[B, (T)]` as dense `[B, S]`, S one of the few lengths that batches have.

    Args:
        filler: value of the padding.
        most: maximum S.
        lengths: see `rounded_up`.
    """
    longest = tf.cast(ids.bounding_shape(axis=1), tf.int32)
    length = tf.minimum(rounded_up(longest, **lengths), most)
    return ids.to_tensor(filler, shape=tf.stack([-1, tf.cast(length, tf.int64)]))


def rounded_up(length, parts=8, least_step=LEAST_STEP):
    """`length`, up to the next of the few lengths that batches are padded to.

    They are multiples of a part of the next power of two, and of no less than `least_step`.
    """
    doublings = tf.math.log(tf.cast(length, tf.float32)) / tf.math.log(2.0)
    power = tf.cast(tf.math.ceil(doublings - 1e-4), tf.int32)
    step = tf.maximum(tf.bitwise.left_shift(1, power) // parts, least_step)
    return -(-length // step) * step
