"""Token ids as the batches that models read: `[CLS] text [SEP]`, or prompts padded on the left.

In: ragged ids of one text a row. Out: the batch dictionary, truncated like by Hugging Face's
`tokenizers` and padded to the longest row. Ops only, so it runs in `tf.data` and in a SavedModel.

B = texts, T = tokens of a text, S, P = padded lengths.
"""

from typing import Any

import tensorflow as tf
import tensorflow_text as tf_text

from tfmodels.errors import InputError
from tfmodels.text.wordpiece import WordPieceTokenizer


def pack(
    tokenizer: WordPieceTokenizer, ids: tf.RaggedTensor, max_length: int
) -> dict[str, tf.Tensor]:
    """Return texts with their special tokens, truncated and padded.

    Args:
        tokenizer: a `WordPieceTokenizer`.
        ids: int32 `[B, (T)]`, of its `tokenize`.
        max_length: maximum number of tokens of a text, with the special ones; the rest is cut.

    Returns:
        dict of `token_ids`, `segment_ids` int32 `[B, S]` and `padding_mask` bool `[B, S]`
        (True: a token).

    Raises:
        InputError: `max_length` leaves no room for text.
    """
    if max_length < 3:
        raise InputError(
            f"pack: max_length={max_length} leaves no room for text beside the special tokens; "
            "give at least 3"
        )
    token_ids, segment_ids = tf_text.combine_segments(
        [ids[:, : max_length - 2]], tokenizer.cls_id, tokenizer.sep_id
    )  # [B, (S)]
    length = tf.maximum(token_ids.bounding_shape(axis=1), 1)
    shape = tf.stack([-1, tf.cast(length, tf.int64)])
    return {
        "token_ids": token_ids.to_tensor(tokenizer.pad_id, shape=shape),
        "segment_ids": segment_ids.to_tensor(0, shape=shape),
        "padding_mask": tf.sequence_mask(token_ids.row_lengths(), length),
    }


def longer_than(room: int, tokenizer: Any, text: tf.Tensor) -> tf.Tensor:
    """Return which texts have more than `room` tokens: bool `[B]`."""
    place = tf.where(tf.strings.length(text) > room)  # a token has a byte or more
    lengths = tokenizer.tokenize(tf.gather(text, place[:, 0])).row_lengths()
    longer = tf.cast(lengths > room, tf.int32)
    return tf.scatter_nd(place, longer, tf.shape(text, tf.int64)) > 0


def pack_prompts(ids: tf.RaggedTensor, pad_id: int, start_id: int) -> dict[str, tf.Tensor]:
    """Return prompts for a decoder, padded on the left, so that all end at the same place.

    Args:
        ids: int32 [B, (T)].
        pad_id: token of the padding.
        start_id: the one token of an empty prompt.

    Returns:
        `token_ids` int32 [B, P] and `padding_mask` bool [B, P], P at least 1.
    """
    empty = tf.expand_dims(ids.row_lengths() == 0, 1)
    start = tf.ragged.boolean_mask(tf.fill(tf.shape(empty), start_id), empty)
    ids = tf.concat([ids, start], 1)
    lengths = tf.cast(ids.row_lengths(), tf.int32)
    length = tf.maximum(tf.reduce_max(lengths), 1)
    padding_mask = tf.range(length)[None] >= length - lengths[:, None]  # [B, P]
    places = tf.cast(tf.where(padding_mask), tf.int32)
    shape = tf.shape(padding_mask)
    token_ids = tf.tensor_scatter_nd_update(tf.fill(shape, pad_id), places, ids.flat_values)
    return {"token_ids": token_ids, "padding_mask": padding_mask}
