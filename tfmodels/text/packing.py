"""Puts token ids into the batch a BERT-like model reads: [CLS] first [SEP] second [SEP].

In: ragged ids of one or two segments per example. Out: the batch dictionary
`token_ids`, `segment_ids`, `padding_mask`, cut to a length as Hugging Face's
`tokenizers` cuts and padded to the longest example or to a fixed length. Ops
only, so it runs in `tf.data` and in a SavedModel.

B = examples, T = tokens of one segment, S = padded length.
"""

import tensorflow as tf
import tensorflow_text as tf_text

from tfmodels.errors import InputError


def pack(
    first: tf.RaggedTensor,
    second: tf.RaggedTensor | None = None,
    *,
    cls_id: int,
    sep_id: int,
    pad_id: int = 0,
    max_length: int,
    pad_to_length: int | None = None,
) -> dict[str, tf.Tensor]:
    """Joins one or two segments with their special tokens, cut and padded.

    Args:
        first: integer [B, (T)].
        second: integer [B, (T)], or None.
        cls_id, sep_id, pad_id: ids of the special tokens.
        max_length: the most tokens of an example, special tokens included. Of one that is too
            long, tokens go at the end of the longer segment until both are equal, then of both
            (an odd place stays with the longer one, or the second).
        pad_to_length: S, at least `max_length`; None pads to the longest
            example of the batch.

    Returns:
        `token_ids` int32 [B, S], `segment_ids` int32 [B, S] (0: first segment
        and padding, 1: second), `padding_mask` bool [B, S] (True: a token).

    Raises:
        InputError: a setting is out of range or does not fit the inputs.

    Example:
        >>> pack(tf.ragged.constant([[7, 8, 9], [7]]), cls_id=2, sep_id=3, max_length=4)
        {'token_ids': [[2, 7, 8, 3], [2, 7, 3, 0]],
         'segment_ids': [[0, 0, 0, 0], [0, 0, 0, 0]],
         'padding_mask': [[True, True, True, True], [True, True, True, False]]}
    """
    segments = [first] if second is None else [first, second]
    _check(segments, max_length, pad_to_length)
    segments = [tf.cast(segment, tf.int32) for segment in segments]
    lengths = [tf.cast(segment.row_lengths(), tf.int32) for segment in segments]  # [B] each
    keep = _longest_first(lengths, max_length - len(segments) - 1)
    segments = [_head(segment, n) for segment, n in zip(segments, keep, strict=True)]
    token_ids, segment_ids = tf_text.combine_segments(segments, cls_id, sep_id)  # [B, (S)]

    length = pad_to_length or tf.maximum(token_ids.bounding_shape(axis=1), 1)
    shape = tf.stack([-1, tf.cast(length, tf.int64)])
    return {
        "token_ids": token_ids.to_tensor(pad_id, shape=shape),
        "segment_ids": segment_ids.to_tensor(0, shape=shape),
        "padding_mask": tf.sequence_mask(token_ids.row_lengths(), length),
    }


def _longest_first(lengths, room):
    """How many tokens each segment keeps in `room` places: int32 [B] each."""
    if len(lengths) == 1:
        return [tf.minimum(lengths[0], room)]
    first, second = lengths
    short = tf.minimum(first, second)
    # The shorter one stays whole if the other still keeps at least as many.
    short = tf.minimum(short, room // 2)
    long = room - short
    return [
        tf.minimum(first, tf.where(first > second, long, short)),
        tf.minimum(second, tf.where(first > second, short, long)),
    ]


def _head(segment, keep):
    """The first `keep` [B] tokens of each row of `segment`."""
    places = tf.ragged.range(segment.row_lengths()).flat_values
    inside = places < tf.cast(tf.gather(keep, segment.value_rowids()), tf.int64)
    return tf.ragged.boolean_mask(segment, segment.with_values(inside))


def _check(segments, max_length, pad_to_length):
    """Raises `InputError` for settings of `pack` that cannot be met."""
    for segment in segments:
        if not isinstance(segment, tf.RaggedTensor) or segment.shape.rank != 2:
            raise InputError(
                "pack: a segment is no ragged tensor of [batch, (tokens)]; "
                "give what WordPieceTokenizer.tokenize returns"
            )
    least = 2 * len(segments) + 1  # a special token and one of the text each, and [CLS]
    if max_length < least:
        raise InputError(
            f"pack: max_length={max_length} leaves no room for text beside the special tokens; "
            f"give at least {least}"
        )
    if pad_to_length is not None and pad_to_length < max_length:
        raise InputError(
            f"pack: pad_to_length={pad_to_length} is less than max_length={max_length}; "
            "give one that holds the longest example"
        )


def pack_prompts(ids: tf.RaggedTensor, pad_id: int, start_id: int) -> dict[str, tf.Tensor]:
    """Prompts for a decoder: padded on the left, so that all go on at the same place.

    Args:
        ids: int32 [B, (T)].
        pad_id: token of the padding.
        start_id: the one token of a prompt that has none.

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
