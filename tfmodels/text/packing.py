"""Token ids as the batches that models read: `[CLS] text [SEP]`, `[CLS] text [SEP] pair [SEP]`, or
prompts padded on the left.

In: ragged ids of one text or a pair a row. Out: the batch dictionary, truncated as by Hugging
Face's `tokenizers` and padded to the longest row. Ops only, so it runs in `tf.data` and in a
SavedModel.

B = texts, T = tokens of a text, S, P = padded lengths.
"""

from typing import Any

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.wordpiece import WordPieceTokenizer


def pack(
    tokenizer: WordPieceTokenizer, ids: tf.RaggedTensor, max_length: int,
    pair_ids: tf.RaggedTensor | None = None,
) -> dict[str, tf.Tensor]:  # fmt: skip
    """Return texts with their special tokens, truncated and padded.

    Args:
        tokenizer: a `WordPieceTokenizer`.
        ids: int32 `[B, (T)]`, of its `tokenize`.
        max_length: maximum number of tokens of a row, with the special ones; the rest is cut, see
            `truncated`.
        pair_ids: int32 `[B, (T)]`, of the second texts of pairs.

    Returns:
        dict of `token_ids`, `segment_ids` int32 `[B, S]` (1: of a second text) and `padding_mask`
        bool `[B, S]` (True: a token).

    Raises:
        InputError: `max_length` leaves no room for text.
    """
    texts = [ids] if pair_ids is None else [ids, pair_ids]
    special = special_tokens(tokenizer, len(texts))
    if max_length - special < len(texts):
        raise InputError(
            f"pack: max_length={max_length} leaves no room for text beside the special tokens; "
            f"give at least {special + len(texts)}"
        )
    # Places of the batch are filled by one gather for each text; with ragged operations the graph
    # has ten times as many nodes, which are traced for every dataset and run for every request.
    numbers = [tf.cast(number, tf.int32) for number in _kept(texts, max_length - special)]  # [B]
    size = special + tf.add_n(numbers)
    length = tf.maximum(tf.reduce_max(size), 1)
    place = tf.range(length)[None]  # [1, S]
    padding_mask = place < size[:, None]
    token_ids = tf.where(padding_mask, tokenizer.sep_id, tokenizer.pad_id)
    token_ids = tf.where(place == 0, tokenizer.cls_id, token_ids)
    before = 1
    for text, number in zip(texts, numbers, strict=True):
        inner = place - before  # [B, S]: the place in this text
        inside = (inner >= 0) & (inner < number[:, None])
        starts = tf.cast(text.row_starts(), tf.int32)
        # An empty batch has no token to gather.
        tokens = tf.concat([text.flat_values, [tokenizer.pad_id]], 0)
        found = tf.gather(tokens, tf.where(inside, starts[:, None] + inner, 0))
        token_ids = tf.where(inside, found, token_ids)
        before += number[:, None] + tokenizer.separators  # the first token of the second text
    segment_ids = tf.zeros_like(token_ids)
    if pair_ids is not None:
        second = place >= numbers[0][:, None] + 2
        segment_ids = tf.cast(second & padding_mask, tf.int32)
    return {"token_ids": token_ids, "segment_ids": segment_ids, "padding_mask": padding_mask}


def special_tokens(tokenizer: Any, texts: int) -> int:
    """Return the number of special tokens of a row of one text or two."""
    return 1 + texts + (texts - 1) * (tokenizer.separators - 1)


def truncated(texts: list[tf.RaggedTensor], room: int) -> list[tf.RaggedTensor]:
    """Return one text or a pair cut at the end, so that together they have at most `room` tokens.

    Of a pair the longer text is cut first; where both are longer than half of the room, they get
    half each and the longer one the odd token, as by `longest_first` of `tokenizers`.

    Args:
        texts: one or two of int32 `[B, (T)]`.
        room: maximum number of tokens.
    """
    if len(texts) == 1:
        return [texts[0][:, :room]]
    return [_beginning(ids, number) for ids, number in zip(texts, _kept(texts, room), strict=True)]


def _kept(texts, room):
    """Return how many tokens of each text `truncated` keeps: int64 `[B]` each."""
    lengths = [ids.row_lengths() for ids in texts]
    room = tf.cast(room, lengths[0].dtype)
    if len(texts) == 1:
        return [tf.minimum(lengths[0], room)]
    first, second = lengths
    shorter, longer = tf.minimum(first, second), tf.maximum(first, second)
    # As the reference counts: a shorter text above the room leaves the longer one as many.
    longer = tf.where(shorter > room, shorter, tf.maximum(shorter, room - shorter))
    both = shorter + longer > room
    shorter = tf.where(both, room // 2, shorter)
    longer = tf.where(both, room // 2 + room % 2, longer)
    swapped = first > second
    keep = tf.where(swapped, longer, shorter), tf.where(swapped, shorter, longer)
    whole = first + second <= room
    return [
        tf.minimum(tf.where(whole, length, number), length)
        for length, number in zip(lengths, keep, strict=True)
    ]


def _beginning(ids, number):
    """Return the first `number` tokens, `[B]`, of each row."""
    row = ids.value_rowids()
    place = tf.range(tf.size(row, row.dtype)) - tf.gather(ids.row_starts(), row)
    kept = tf.where(place < tf.gather(number, row))[:, 0]
    values = tf.gather(ids.values, kept)
    return tf.RaggedTensor.from_row_lengths(values, number, validate=False)


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
