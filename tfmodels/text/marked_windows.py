"""A window around each predicate of a text, in which the predicate is marked.

In: texts and the places of predicates. Out: windows to pack, with the places of their words and, in
training, the labels of their words. Ops only.

B = texts, P = predicates of all texts, W = words of a window, F = predicates of a text, A =
arguments of all of them.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.cutting import cut_texts, tokens_of, windows_at
from tfmodels.text.packing import pack
from tfmodels.text.windows import (
    packed_batches,
    packed_segments,
    text_labels,
    word_labels,
    words_of,
)
from tfmodels.text.wordpiece import WordPieceTokenizer

MARKERS = ("segments", "tokens")


class MarkedWindows(NamedTuple):
    """A window around each of P predicates, in which the predicate is marked."""

    ids: tf.RaggedTensor  # int32 [P, (tokens)]
    segments: tf.RaggedTensor  # int32 [P, (tokens)]: 1 at the predicate
    positions: tf.RaggedTensor  # int32 [P, (words)]: of the first pieces, after [CLS]
    starts: tf.Tensor  # int32 [P, W]: first character of each word in its text, -1 for padding
    ends: tf.Tensor  # int32 [P, W]: likewise, the character after it

    def batch(self, tokenizer: Any, max_length: int) -> dict[str, tf.Tensor]:
        """Return the windows as of `tag_inputs`."""
        batch = pack(tokenizer, self.ids, max_length)
        batch["segment_ids"] = packed_segments(self.segments, tf.shape(batch["token_ids"])[1])
        batch["word_positions"] = self.positions.to_tensor(0)
        batch["word_mask"] = self.starts >= 0
        return batch

    def labels(self, counts: tf.RaggedTensor, *arguments: tf.RaggedTensor) -> tf.Tensor:
        """Return the labels of the words, int32 [P, W], as `text_labels`.

        Args:
            counts: int32 [B, (F)]: the number of arguments of each predicate.
            *arguments: types, first characters and those after the last one of the arguments of
                all predicates of a text, int32 [B, (A)].
        """
        lengths = tf.cast(counts.values, tf.int64)
        spans = (
            tf.RaggedTensor.from_row_lengths(values.values, lengths, validate=False)
            for values in arguments
        )
        return text_labels(self.starts, self.ends, *spans)


def marked_windows(
    tokenizer: WordPieceTokenizer, text: tf.Tensor, row: tf.Tensor, start: tf.Tensor,
    end: tf.Tensor, max_length: int, marker: str = "segments",
) -> MarkedWindows:  # fmt: skip
    """Return for each predicate the window of its text with the predicate in the middle.

    Of a text with more tokens than a window has, what is far from the predicate is left out.

    Args:
        tokenizer: a `WordPieceTokenizer`.
        text: string [B].
        row: int64 [P]: the text of each predicate.
        start: int32 [P]: its first character.
        end: int32 [P]: the character after its last one.
        max_length: maximum number of tokens of a window, with the special ones.
        marker: how the predicate is marked: `"segments"`: its tokens are of segment 1 (Shi and Lin
            2019 have it as a segment of its own); `"tokens"`: besides it stands between two [SEP].

    Raises:
        InputError: no such marker, or no room for text.
    """
    if marker not in MARKERS:
        raise InputError(f"marker {marker!r}: give one of {', '.join(MARKERS)}")
    marks = 2 if marker == "tokens" else 0
    room = max_length - 2 - marks
    if room < 1:
        raise InputError(
            f"max_length {max_length}: leaves no room for text beside the special tokens and the "
            f"marks of a predicate; give at least {3 + marks}"
        )
    with tf.device("CPU:0"):
        tokens = tokens_of(tokenizer, text)
        row_starts = tf.gather(tokens.ids.row_starts(), row)  # [P]
        row_limits = tf.gather(tokens.ids.row_limits(), row)
        # Characters are counted over all texts, so that one search serves all.
        of_token = tokens.ids.value_rowids()
        starts, ends = (tf.cast(x.values, tf.int64) for x in (tokens.starts, tokens.ends))
        size = tf.reduce_max(tf.concat([ends, tf.cast(end, tf.int64)], 0)) + 1
        first, last = (tf.cast(x, tf.int64) + row * size for x in (start, end))
        first = tf.searchsorted(ends + of_token * size, first, side="right", out_type=tf.int64)
        last = tf.searchsorted(starts + of_token * size, last, out_type=tf.int64)
        first = tf.clip_by_value(first, row_starts, tf.maximum(row_limits - 1, row_starts))
        last = tf.clip_by_value(last, first, row_limits)

        begin = first - (room - tf.minimum(last - first, room)) // 2
        begin = tf.maximum(tf.minimum(begin, row_limits - room), row_starts)
        number = tf.size(tokens.word, tf.int64)
        word = tf.gather(tokens.word, tf.clip_by_value(begin, 0, tf.maximum(number - 1, 0)))
        begin = tf.gather(tokens.pieces, word)
        rooms = tf.fill([tokens.ids.nrows()], tf.cast(room, tf.int64))
        cut = windows_at(tokens, row, begin, rooms)
        limit = begin + cut.tokens.row_lengths()
        last = tf.minimum(last, limit)

        def of_range(left, right):
            return tf.gather(tokens.ids.values, tf.ragged.range(left, right))

        inside = of_range(first, last)
        outside = of_range(begin, first), of_range(last, limit)
        mark = tf.fill(tf.stack([tf.size(row), marks // 2]), tokenizer.sep_id)
        ids = tf.concat([outside[0], mark, inside, mark, outside[1]], 1)
        zeros = [tf.zeros_like(part) for part in outside]
        ones = tf.ones_like(mark)
        segments = tf.concat([zeros[0], ones, tf.ones_like(inside), ones, zeros[1]], 1)
        words = cut.words.with_values
        token, window = tf.gather(tokens.pieces, cut.words.values), cut.words.value_rowids()
        behind = sum(
            tf.cast(token >= tf.gather(place, window), tf.int32) for place in (first, last)
        )
        return MarkedWindows(
            ids=ids,
            segments=segments,
            positions=words(cut.positions.values + behind * (marks // 2)),
            starts=words(tf.gather(cut.starts.values, cut.words.values)).to_tensor(-1),
            ends=words(tf.gather(cut.ends.values, cut.words.values)).to_tensor(-1),
        )


def role_batches(
    chunks: tf.data.Dataset, tokenizer: WordPieceTokenizer, batch_size: int, max_length: int,
    stride: int, marker: str, predicates: bool = True, seed: int | None = None,
) -> tf.data.Dataset:  # fmt: skip
    """Return batches of rows of similar length that teach predicates and their arguments.

    A text without a mark has the label of a predicate (type 0, see `word_labels`) at each of its
    predicates; with a mark at a predicate it has the labels of the arguments of that one.

    Args:
        chunks: dataset of `(text, starts, ends, counts, types, first, limit)`: string [C], ragged
            int32 [C, (F)]: characters of the predicates and the number of arguments of each; and
            ragged int32 [C, (A)]: types and characters of the arguments of all of them.
        tokenizer, batch_size, max_length, stride, seed: see `tagged_batches`.
        marker: see `marked_windows`.
        predicates: whether there are rows that teach predicates.

    Returns:
        dataset of `(batch dict, labels)`: see `tag_inputs` and `word_labels`.
    """

    def windows(text, starts, ends, counts, *arguments):
        row = starts.value_rowids()
        marked = marked_windows(
            tokenizer, text, row, starts.values, ends.values, max_length, marker
        )
        labels = marked.labels(counts, *arguments)
        labels = tf.RaggedTensor.from_tensor(labels, lengths=marked.positions.row_lengths())
        rows = marked.ids, marked.positions, labels, marked.segments
        if predicates:
            cut = cut_texts(tokens_of(tokenizer, text), max_length - 2, stride)
            labels = word_labels(words_of(cut), tf.zeros_like(starts), starts, ends)
            labels = tf.RaggedTensor.from_tensor(labels, lengths=cut.positions.row_lengths())
            plain = cut.ids, cut.positions, labels, tf.zeros_like(cut.ids)
            rows = tuple(tf.concat(pair, 0) for pair in zip(rows, plain, strict=True))
        filled = tf.where(rows[1].row_lengths() > 0)[:, 0]
        return tuple(tf.gather(values, filled) for values in rows)

    return packed_batches(chunks, windows, tokenizer, batch_size, max_length, seed)
