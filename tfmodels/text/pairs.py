"""Pairs of a source and a target, as an encoder-decoder reads them.

In: texts, their tokenizer, and the tokens that begin and end them. Out: `tf.data` batches of
`(inputs, labels)`, where a label is the token after the one of the target at its place; or the
sources alone, for generation. Ops only, so both run in `tf.data` and in a SavedModel.

B = pairs, R = rows of sources (B, or more where long ones are in parts), S, T = tokens.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.batching import by_length, mapped, no_autograph, rounded_up, to_few_lengths
from tfmodels.text.bpe import LanguageTokenizer
from tfmodels.text.sentence_pieces import PieceTokenizer
from tfmodels.text.wordpiece import WordPieceTokenizer

NONE = -1  # label of a place that does not count
GROUP = 8  # batches of similar sources that are sorted by their targets
# A shape that is compiled has both lengths, so there are fewer of each.
FEWER_LENGTHS = {"parts": 4, "min_step": 8}


@dataclasses.dataclass(frozen=True)
class PairTokens:
    """The tokens around the texts of a pair that the model was trained with.

    The encoder reads a source as `bos text end`. The decoder reads a target as `start bos text`
    and predicts `bos text end`, without `bos` where it is the same token as `start`.

    Args:
        end_id: ends sources and targets.
        start_id: starts what the decoder reads.
        pad_id: padding.
        bos_id: begins sources, and targets if it is not `start_id`; `None`: neither.
    """

    end_id: int
    start_id: int
    pad_id: int = 0
    bos_id: int | None = None

    @property
    def source_bos(self) -> tuple[int, ...]:
        """The ids that a source begins with: one or none."""
        return () if self.bos_id is None else (self.bos_id,)

    @property
    def target_bos(self) -> tuple[int, ...]:
        """The ids that a target begins with, after `start_id`: one or none."""
        return () if self.bos_id == self.start_id else self.source_bos

    def source_room(self, max_length: int) -> int:
        """Return how many tokens of a text a source of `max_length` has room for."""
        return max_length - len(self.source_bos) - 1


def pair_tokens(tokenizer: WordPieceTokenizer | LanguageTokenizer) -> PairTokens:
    """Return the `PairTokens` of a new model.

    Args:
        tokenizer: a `WordPieceTokenizer`, whose texts are `[CLS] text [SEP]` on both sides
            (Rothe et al. 2019); a `PieceTokenizer`, whose targets start with the padding, as those
            of MarianMT; or one with an `end_id`, which is used for all.

    Raises:
        InputError: a tokenizer without such tokens.
    """
    if isinstance(tokenizer, WordPieceTokenizer):
        cls_id, sep_id = tokenizer.cls_id, tokenizer.sep_id
        return PairTokens(end_id=sep_id, start_id=cls_id, pad_id=tokenizer.pad_id, bos_id=cls_id)
    end_id = tokenizer.end_id
    if end_id is None:
        raise InputError("the tokenizer has no token that ends a text; give one that has")
    if isinstance(tokenizer, PieceTokenizer):
        pad_id, end_id = tokenizer.pad_id, tokenizer.special_ids[0]
        return PairTokens(end_id=end_id, start_id=pad_id, pad_id=pad_id)
    if tokenizer.end_id is None:
        raise InputError("the tokenizer has no token that ends a text; give one that has")
    return PairTokens(*[tokenizer.end_id] * 3)


def pair_batches(
    chunks: tf.data.Dataset, tokenizer: WordPieceTokenizer | LanguageTokenizer, tokens: PairTokens,
    batch_size: int, max_length: int, max_target_length: int, seed: int | None = None,
    in_order: bool = False, batch_tokens: int | None = None,
) -> tf.data.Dataset:  # fmt: skip
    """Return batches of pairs in which both sides are of similar length.

    Args:
        chunks: dataset of `(source, target)`, string `[C]` each.
        tokenizer: of both.
        tokens: the tokens around the texts.
        batch_size: B.
        max_length: maximum number of tokens of a source, with the special ones; the rest is cut.
        max_target_length: that of a target.
        seed: for training: the batches in random order.
        in_order: whether the rows stay in their order, whatever their lengths.
        batch_tokens: for training: maximum number of tokens of a side of a batch, padding included,
            in place of `batch_size`. The dataset has no end: a batch may be of two passes.

    Returns:
        dataset of `(inputs, labels)`: `token_ids` int32 and `padding_mask` bool `[B, S]`,
        `decoder_token_ids` int32 `[B, T]`; labels int32 `[B, T]`, `NONE` at padding.
    """

    def tokenized(source, target):
        source = with_ends(tokenizer.tokenize(source), tokens.source_bos, tokens, max_length)
        target = target_ids(tokenizer, target)
        target = with_ends(target, tokens.target_bos, tokens, max_target_length)
        return source, target

    # Batches of so many tokens have few shapes without that.
    lengths = {} if batch_tokens is not None else FEWER_LENGTHS

    def padded(source, target):
        labels = to_few_lengths(target, NONE, max_target_length, **lengths)  # [B, T]
        before = tf.fill([tf.shape(labels)[0], 1], tokens.start_id)
        read = tf.concat([before, labels[:, :-1]], 1)
        token_ids = to_few_lengths(source, NONE, max_length, **lengths)
        inputs = {
            "token_ids": tf.where(token_ids == NONE, tokens.pad_id, token_ids),
            "padding_mask": token_ids != NONE,
            "decoder_token_ids": tf.where(read == NONE, tokens.pad_id, read),
        }
        return inputs, labels

    def order(source, target):
        rank = tf.argsort(tf.argsort(source.row_lengths(), stable=True), stable=True)
        group = tf.cast(rank // (batch_size * GROUP), tf.int64)
        return tf.argsort(group * max_target_length + target.row_lengths(), stable=True)

    pairs = mapped(chunks if batch_tokens is None else chunks.repeat(), tokenized).unbatch()
    if batch_tokens is not None:
        batches = _by_tokens(pairs, batch_tokens, seed)
    elif in_order:
        batches = pairs.ragged_batch(batch_size)
    else:
        batches = by_length(pairs, batch_size, seed, order=order)
    return mapped(batches, padded).prefetch(tf.data.AUTOTUNE)


def _rounded(length):
    return tf.cast(rounded_up(length), tf.int64)


def _by_tokens(pairs, batch_tokens, seed):
    """Return batches of pairs with about as many tokens each, of few shapes."""

    def key(source, target):
        return _rounded(tf.maximum(tf.size(source), tf.size(target)))

    def cut(length, window):
        size = rows_of_batch(length, batch_tokens)

        def in_batches(source, target):
            order = tf.argsort(target.row_lengths() + source.row_lengths(), stable=True)
            parts = (tf.gather(side, order) for side in (source, target))
            return tf.data.Dataset.from_tensor_slices(tuple(parts)).batch(size)

        return window.ragged_batch(size * GROUP).flat_map(no_autograph(in_batches))

    grouped = pairs.group_by_window(
        no_autograph(key), no_autograph(cut),
        window_size_func=no_autograph(lambda length: rows_of_batch(length, batch_tokens) * GROUP),
    )  # fmt: skip
    return grouped.shuffle(4 * GROUP, seed=seed)


def rows_of_batch(length: tf.Tensor, batch_tokens: int) -> tf.Tensor:
    """Return how many rows of a padded length a batch of so many tokens has: int64, 1 or more."""
    rows = batch_tokens // length
    return tf.maximum(tf.where(rows > 8, rows // 8 * 8, rows), 1)


def steps_of_pass(
    chunks: tf.data.Dataset, tokenizer: Any, tokens: PairTokens, batch_tokens: int, max_length: int,
    max_target_length: int,
) -> float:  # fmt: skip
    """Return how many batches of `batch_tokens` a pass over pairs has; arguments as above."""

    def shares(source, target):
        lengths = [
            tf.minimum(ids.row_lengths() + len(bos) + 1, longest)
            for ids, bos, longest in (
                (tokenizer.tokenize(source), tokens.source_bos, max_length),
                (target_ids(tokenizer, target), tokens.target_bos, max_target_length),
            )
        ]
        longer = tf.cast(tf.maximum(*lengths), tf.int32)
        rows = rows_of_batch(_rounded(longer), batch_tokens)
        return tf.reduce_sum(1.0 / tf.cast(rows, tf.float64))

    total = mapped(chunks, shares).reduce(np.float64(0), lambda before, share: before + share)
    return float(total)


def target_ids(tokenizer: Any, text: tf.Tensor) -> tf.RaggedTensor:
    """Return the ids of targets, string [B]; some tokenizers have a model of their own for them."""
    return getattr(tokenizer, "tokenize_target", tokenizer.tokenize)(text)


def with_ends(
    ids: tf.RaggedTensor, bos: tuple[int, ...], tokens: PairTokens, max_length: int
) -> tf.RaggedTensor:
    """Put the tokens around texts, which are cut at the end.

    Args:
        ids: ragged int32 `[B, (T)]`.
        bos: the ids in front.
        tokens: the tokens around the texts.
        max_length: maximum number of tokens, with those around.

    Returns:
        ragged int32 `[B, (T)]`.
    """
    parts = [ids[:, : max_length - len(bos) - 1]]
    for place, around in ((0, bos), (2, (tokens.end_id,))):
        if around:
            column = tf.tile(tf.constant([around], tf.int32), [tf.shape(ids)[0], 1])
            parts.insert(place, tf.RaggedTensor.from_tensor(column))
    return tf.concat(parts, 1)


def source_batch(ids: tf.RaggedTensor, tokens: PairTokens, max_length: int) -> dict[str, tf.Tensor]:
    """Return sources as the batch of an encoder; `tokens` and `max_length` as of `pair_batches`.

    Args:
        ids: ragged int32 `[R, (T)]`.

    Returns:
        dict of `token_ids` int32 and `padding_mask` bool `[R, S]`.
    """
    ids = with_ends(ids, tokens.source_bos, tokens, max_length)
    length = tf.maximum(ids.bounding_shape(axis=1), 1)
    mask = tf.sequence_mask(ids.row_lengths(), length)
    token_ids = ids.to_tensor(tokens.pad_id, shape=tf.stack([-1, length]))
    return {"token_ids": token_ids, "padding_mask": mask}


def in_parts(ids: tf.RaggedTensor, room: int | tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
    """Return long texts in parts of nearly equal length.

    Args:
        ids: ragged int32 `[B, (T)]`.
        room: maximum number of tokens of a part, or int64 `[B]`, those of each text.

    Returns:
        pair of ragged int32 `[R, (T)]`, the parts of all texts one after the other, and the
        number of parts of each text: int64 `[B]`, 1 for a short or empty text.
    """
    lengths = ids.row_lengths()
    number = tf.maximum(-(-lengths // room), 1)
    size = -(-lengths // number)  # [B]
    place = tf.ragged.range(number) * tf.expand_dims(size, 1)
    starts = place + tf.expand_dims(ids.row_starts(), 1)
    return tf.RaggedTensor.from_row_starts(ids.values, starts.values), number
