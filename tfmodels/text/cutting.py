"""Tokens of texts of any length, cut into overlapping windows.

In: texts. Out: their tokens and words, and windows with a maximum number of tokens. The words are
those that the tokenizer splits into pieces: a piece that does not start with `##` begins one, so
punctuation marks and ideographs are words; of a tokenizer `by_characters` every character is. Ops
only. What the windows are for is in `windows.py` (words that are tagged), `question_windows.py`
and `marked_windows.py`.

B = texts, T = tokens of a text, N = windows of all texts, L = words of a text.
"""

from typing import NamedTuple

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.wordpiece import WordPieceTokenizer, continues, shifted

FAR = tf.int64.max  # more tokens than any window has


def default_stride(max_length: int) -> int:
    """Return the number of tokens that two windows share by default: a quarter."""
    return max_length // 4


def word_begins(
    tokenizer: WordPieceTokenizer, ids: tf.RaggedTensor, starts: tf.RaggedTensor
) -> tf.Tensor:
    """Return which tokens of texts begin a word: bool [tokens of all texts].

    Args:
        tokenizer: a `WordPieceTokenizer`.
        ids: int32 [B, (T)], of its `tokenize_with_offsets`.
        starts: int32 [B, (T)], likewise.
    """
    row = ids.value_rowids()
    if tokenizer.words_by_place:
        begins = starts.values != shifted(starts.values, -1)
    else:
        begins = tf.constant([not continues(token) for token in tokenizer.vocabulary])
        begins = tf.gather(begins, ids.values)
    return begins | (row != shifted(row, -1))


class Tokens(NamedTuple):
    """The tokens of a batch of texts. Tokens and words are counted over all texts."""

    ids: tf.RaggedTensor  # int32 [B, (T)]
    starts: tf.RaggedTensor  # int32 [B, (T)]: characters
    ends: tf.RaggedTensor  # int32 [B, (T)]
    begins: tf.Tensor  # bool [tokens]: whether a token begins a word
    pieces: tf.Tensor  # int64 [words]: first token of each
    word: tf.Tensor  # int64 [tokens]: the word of each

    @property
    def lasts(self) -> tf.Tensor:
        """Whether a token is the last of its word: bool [tokens]."""
        return tf.concat([self.begins, [True]], 0)[1:]


class Cut(NamedTuple):
    """Texts cut into windows. Tokens and words are counted over all texts of the batch."""

    ids: tf.RaggedTensor  # int32 [N, (tokens)]
    tokens: tf.RaggedTensor  # int64 [N, (tokens)]: their numbers
    positions: tf.RaggedTensor  # int32 [N, (words)]: of the first pieces, after [CLS]
    text: tf.Tensor  # int64 [N]
    words: tf.RaggedTensor  # int64 [N, (words)]: numbers of the words
    room: tf.RaggedTensor  # int64 [N, (words)]: tokens on the shorter side
    starts: tf.RaggedTensor  # int32 [B, (L)]: characters
    ends: tf.RaggedTensor  # int32 [B, (L)]


def tokens_of(tokenizer: WordPieceTokenizer, text: tf.Tensor) -> Tokens:
    """Return the `Tokens` of texts, string [B]."""
    ids, starts, ends = tokenizer.tokenize_with_offsets(text)
    begins = word_begins(tokenizer, ids, starts)
    word = tf.cumsum(tf.cast(begins, tf.int64)) - 1
    return Tokens(ids, starts, ends, begins, tf.where(begins)[:, 0], word)


def cut_texts(tokens: Tokens, room: int | tf.Tensor, stride: int) -> Cut:
    """Cut texts into windows of at most `room` tokens, an integer or int64 [B]."""
    row_starts, row_limits = tokens.ids.row_starts(), tokens.ids.row_limits()
    room = tf.zeros_like(row_starts) + tf.cast(room, tf.int64)  # [B]
    word_start = tf.gather(tokens.pieces, tokens.word)  # [tokens]: first piece of the word of each
    windows = _window_starts(row_starts, row_limits, word_start, room, stride)
    return windows_at(tokens, windows.value_rowids(), windows.values, room)


def windows_at(tokens: Tokens, of_text: tf.Tensor, first: tf.Tensor, room: tf.Tensor) -> Cut:
    """Return the windows of texts `of_text`, int64 [N], that begin at token `first`, int64 [N].

    A window has at most `room` tokens, int64 [B].
    """
    row, pieces = tokens.ids.value_rowids(), tokens.pieces
    text_limit = tf.gather(tokens.ids.row_limits(), of_text)
    limit = tf.minimum(first + tf.gather(room, of_text), text_limit)
    before = tf.concat([[0], tokens.word + 1], 0)  # words that began before a token

    words = tf.ragged.range(tf.gather(before, first), tf.gather(before, limit))  # [N, (words)]
    window = words.value_rowids()
    piece = tf.gather(pieces, words.values) - tf.gather(first, window)  # place in its window
    after = tf.gather(limit - first, window) - 1 - piece
    text_start = tf.gather(tokens.ids.row_starts(), of_text)
    left = tf.where(tf.gather(first == text_start, window), FAR, piece)
    right = tf.where(tf.gather(limit == text_limit, window), FAR, after)

    last = tf.concat([pieces, [tf.size(row, tf.int64)]], 0)[1:] - 1  # [words]: last pieces
    of_word = tf.gather(row, pieces)
    held = tf.ragged.range(first, limit)

    def by_text(values):
        number = tokens.ids.nrows()
        return tf.RaggedTensor.from_value_rowids(values, of_word, number, validate=False)

    return Cut(
        ids=tf.gather(tokens.ids.values, held),
        tokens=held,
        positions=words.with_values(tf.cast(piece + 1, tf.int32)),
        text=of_text,
        words=words,
        room=words.with_values(tf.minimum(left, right)),
        starts=by_text(tf.gather(tokens.starts.values, pieces)),
        ends=by_text(tf.gather(tokens.ends.values, last)),
    )


def _window_starts(row_starts, row_limits, word_start, room, stride):
    """Return the first token of every window of texts, ragged int64 [B, (windows)].

    Texts are the tokens from `row_starts` to `row_limits`, int64 [B]; `word_start`, int64
    [tokens], is the first token of the word of each token. A window has at most `room` tokens,
    int64 [B].
    """

    def unfinished(starts):  # [K, B], -1 after a text's last window
        return (starts[-1] >= 0) & (starts[-1] + room < row_limits)

    def with_next(starts):
        latest = starts[-1] + room - stride
        last_token = tf.size(word_start, tf.int64) - 1
        at_word = tf.gather(word_start, tf.clip_by_value(latest, 0, last_token))
        following = tf.where(at_word > starts[-1], at_word, latest)
        following = tf.where(unfinished(starts), following, -1)
        return [tf.concat([starts, following[None]], 0)]

    (starts,) = tf.while_loop(
        lambda starts: tf.reduce_any(unfinished(starts)),
        with_next,
        [row_starts[None]],
        shape_invariants=[tf.TensorShape([None, None])],
    )
    starts = tf.transpose(starts)
    return tf.ragged.boolean_mask(starts, starts >= 0)


def best_windows(cut: Cut) -> tf.Tensor:
    """Return which of the words of windows to take each word of the texts from: int64 [words]."""
    word, room = cut.words.values, cut.room.values  # [words of windows]
    number = tf.size(cut.starts.values)  # words of texts
    best = tf.gather(tf.math.unsorted_segment_max(room, word, number), word)
    place = tf.range(tf.size(word, tf.int64))
    return tf.math.unsorted_segment_min(tf.where(room == best, place, FAR), word, number)


def check_windows(max_length: int, stride: int) -> None:
    """Raise `InputError` for windows that have no room for text or do not advance."""
    if max_length < 3:
        raise InputError(
            f"windows: max_length={max_length} leaves no room for text beside the special tokens; "
            "give at least 3"
        )
    if not 0 <= stride < max_length - 2:
        raise InputError(
            f"windows: stride={stride} with max_length={max_length}; give a stride from 0 to "
            f"{max_length - 3}, the tokens that two windows share"
        )
