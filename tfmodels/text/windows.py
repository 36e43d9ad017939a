"""Texts of any length in windows for an encoder, and the words of the windows.

In: texts. Out: a batch of overlapping windows with a maximum number of tokens, the place of each
word's first piece in them, and the way back from the encoder's outputs to one row of words a
text. For training also the labels of the words, and batches of windows of nearly equal length.
The words and windows are those of `cutting.py`. Blank lines separate paragraphs, which are read one
by one: a long document gets the tags that its paragraphs get. Ops only.

B = texts, P = paragraphs of all texts, T = tokens of a text, N = windows of all texts, S = their
padded length, W = words of a window, L = words of a text, C = channels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tfmodels.text import batching
from tfmodels.text.cutting import FAR, Cut, best_windows, check_windows, cut_texts, tokens_of
from tfmodels.text.packing import pack
from tfmodels.text.wordpiece import WordPieceTokenizer


class Words(NamedTuple):
    """The words of a batch of texts, and where they are in its windows.

    A word is taken from the window with the most context on the word's shorter side. A side on
    which the window reaches the end of the text counts as complete.
    """

    starts: tf.Tensor  # int32 [B, L]: first character of each word, -1 for padding
    ends: tf.Tensor  # int32 [B, L]: character after its last one, -1 for padding
    mask: tf.Tensor  # bool [B, L]: True for a word
    window: tf.Tensor  # int32 [B, L]: the window, among N, to take it from
    place: tf.Tensor  # int32 [B, L]: which word of that window it is
    window_text: tf.Tensor  # int32 [N]: the text, among B, of each window
    window_words: tf.Tensor  # int32 [N, W]: which words of the text it has, -1 for padding


class Paragraphs(NamedTuple):
    """The texts between the blank lines of a batch of texts."""

    text: tf.Tensor  # string [P]: none is empty or white space
    row: tf.Tensor  # int64 [P]: the text, among B, of each paragraph; in order
    origin: tf.Tensor  # int32 [P]: its first character in that text
    texts: tf.Tensor  # int64: B

    def moved(self, characters: tf.Tensor) -> tf.Tensor:
        """Return places in paragraphs, int32 [P, ...] with -1 for none, as places in the texts."""
        return tf.where(characters >= 0, characters + self.origin[:, None], -1)

    def joined(self, values: tf.Tensor, mask: tf.Tensor, padding: Any) -> tf.Tensor:
        """Join rows of paragraphs to rows of texts.

        Args:
            values: [P, M].
            mask: bool [P, M]: which values to keep.
            padding: value that fills the shorter rows.

        Returns:
            [B, K], of the type of `values`.
        """
        rows = tf.ragged.boolean_mask(values, mask)
        rows = tf.RaggedTensor.from_value_rowids(rows, self.row, self.texts, validate=False)
        return rows.merge_dims(1, 2).to_tensor(padding)


def paragraphs(text: tf.Tensor) -> Paragraphs:
    """Split texts, string [B], at blank lines; a text of white space has no paragraph."""
    with tf.device("CPU:0"):
        # The same number of characters, so that all places stay.
        text = tf.strings.regex_replace(text, "\r\n\r\n", "\n\n\n\n")
        parts = tf.strings.split(text, "\n\n")  # [B, (parts)]
        lengths = tf.strings.unicode_decode(parts.values, "UTF-8").row_lengths() + 2
        before = tf.cumsum(lengths, exclusive=True)
        row = parts.value_rowids()
        first = tf.gather(tf.pad(before, [[0, 1]]), parts.row_starts())  # [B]
        origin = before - tf.gather(first, row)
        filled = tf.strings.strip(parts.values) != ""
        return Paragraphs(
            parts.values[filled], row[filled], tf.cast(origin[filled], tf.int32), parts.nrows()
        )


def tag_inputs(
    tokenizer: WordPieceTokenizer, text: tf.Tensor, max_length: int, stride: int
) -> tuple[dict[str, tf.Tensor], Words]:
    """Return texts as windows for an encoder that tags words.

    A window begins with a word, at most `max_length - 2 - stride` tokens after the one before;
    only a word that is too long for that is cut. Words are in every window that contains their
    first piece.

    Args:
        tokenizer: a `WordPieceTokenizer`.
        text: string [B].
        max_length: maximum number of tokens of a window, with the special ones.
        stride: minimum number of tokens that two windows share.

    Returns:
        `(batch, words)`: the batch of N windows in the order of the texts, at least one a text
        (without words for an empty one): `token_ids`, `segment_ids` int32 [N, S],
        `padding_mask` bool [N, S], `word_positions` int32 [N, W] (of each word's first piece, 0
        for padding) and `word_mask` bool [N, W] (True for a word); and `Words`.

    Raises:
        InputError: `max_length` or `stride` is out of range.
    """
    check_windows(max_length, stride)
    with tf.device("CPU:0"):
        cut = cut_texts(tokens_of(tokenizer, text), max_length - 2, stride)
        batch = pack(tokenizer, cut.ids, max_length)
        batch["word_positions"] = cut.positions.to_tensor(0)
        lengths = cut.positions.row_lengths()
        batch["word_mask"] = tf.sequence_mask(lengths, tf.shape(batch["word_positions"])[1])
        return batch, words_of(cut)


def merge_words(values: tf.Tensor, words: Words) -> tf.Tensor:
    """Return what was computed for the words of windows, as one row of words a text.

    Args:
        values: [N, W, C].
        words: of `tag_inputs`.

    Returns:
        [B, L, C], zero in the padding (`words.mask`).
    """
    # One more column of zeros, because a window without words has none to gather from.
    values = tf.pad(values, [[0, 0], [0, 1], [0, 0]])
    merged = tf.gather_nd(values, tf.stack([words.window, words.place], -1))
    return tf.where(words.mask[..., None], merged, tf.zeros([], values.dtype))


def word_labels(
    words: Words, types: tf.RaggedTensor, starts: tf.RaggedTensor, ends: tf.RaggedTensor
) -> tf.Tensor:
    """Return the labels of the words of windows, from the entities of the texts.

    A word belongs to an entity if they share a character, so an entity that begins or ends inside
    of a word grows to the whole word; a word that two entities touch belongs to the first, and
    an entity that has no other word is lost. Every window is a separate example: an entity that
    began in the window before begins anew with a `B-`.

    Args:
        words: of `tag_inputs`.
        types: integer [B, (E)], ragged: type of each entity.
        starts: integer [B, (E)], ragged: its first character. In order, without overlap.
        ends: likewise, the character after it.

    Returns:
        int32 [N, W]: 0 outside, 1 + 2t and 2 + 2t for the first and the other words of an entity
        of type t (as `tags.labels_of`), -1 for padding.
    """
    with tf.device("CPU:0"):
        labels = text_labels(words.starts, words.ends, types, starts, ends)  # [B, L]
        held = words.window_words
        # One more column, for windows without words.
        labels = tf.gather(tf.pad(labels, [[0, 0], [0, 1]]), words.window_text)  # [N, L + 1]
        labels = tf.gather(labels, tf.maximum(held, 0), batch_dims=1)  # [N, W]
        return tf.where(held >= 0, _begun(labels), -1)


def tagged_batches(
    chunks: tf.data.Dataset, tokenizer: WordPieceTokenizer, batch_size: int, max_length: int,
    stride: int, seed: int | None = None,
) -> tf.data.Dataset:  # fmt: skip
    """Return batches of windows of similar length with the labels of their words.

    No window crosses a blank line. Windows without words are left out; all others come once, in
    an order like that of `batching.length_bucketed`. W is S - 2, the maximum number of words, so
    that there are as few shapes as padded lengths.

    Args:
        chunks: dataset of `(text, types, starts, ends)`: string [C] and ragged integer [C, (E)];
            see `word_labels`.
        tokenizer: a `WordPieceTokenizer`.
        batch_size: windows of a batch, on all replicas together.
        max_length: see `tag_inputs`.
        stride: likewise.
        seed: for training; None keeps the windows that are sorted together in their order.

    Returns:
        dataset of `(batch dict, labels)`: see `tag_inputs` and `word_labels`.

    Raises:
        InputError: `max_length` or `stride` is out of range.
    """

    def windows(text, *entities):
        parts = paragraphs(text)
        cut = cut_texts(tokens_of(tokenizer, parts.text), max_length - 2, stride)
        lengths = cut.positions.row_lengths()
        words = words_of(cut)
        words = words._replace(starts=parts.moved(words.starts), ends=parts.moved(words.ends))
        labels = word_labels(words, *(tf.gather(values, parts.row) for values in entities))
        labels = tf.RaggedTensor.from_tensor(labels, lengths=lengths)
        filled = tf.where(lengths > 0)[:, 0]
        return tuple(tf.gather(values, filled) for values in (cut.ids, cut.positions, labels))

    check_windows(max_length, stride)
    return packed_batches(chunks, windows, tokenizer, batch_size, max_length, seed)


def packed_batches(
    chunks: tf.data.Dataset, windows: Callable, tokenizer: WordPieceTokenizer, batch_size: int,
    max_length: int, seed: int | None,
) -> tf.data.Dataset:  # fmt: skip
    """Return batches of the windows of chunks with the labels of their words.

    Args:
        chunks, tokenizer, batch_size, max_length, seed: see `tagged_batches`.
        windows: function of a chunk that gives ids, positions, labels and perhaps segments of its
            windows, all ragged, [N, (tokens)] or [N, (words)].
    """

    def packed(ids, positions, labels, segments=None):
        batch = batching.packed_to_few_lengths(tokenizer, ids, max_length)
        length = tf.shape(batch["token_ids"])[1]
        if segments is not None:
            batch["segment_ids"] = packed_segments(segments, length)
        words = length - 2
        shape = tf.stack([-1, words])
        batch["word_positions"] = positions.to_tensor(0, shape=shape)
        batch["word_mask"] = tf.sequence_mask(positions.row_lengths(), words)
        return batch, labels.to_tensor(-1, shape=shape)

    examples = batching.mapped(chunks, windows).unbatch()
    batches = batching.by_length(examples, batch_size, seed)
    return batching.mapped(batches, packed).prefetch(tf.data.AUTOTUNE)


def packed_segments(segments: tf.RaggedTensor, length: tf.Tensor) -> tf.Tensor:
    """Return the segments of packed rows, int32 [N, S], of those of their texts, [N, (tokens)]."""
    shape = tf.stack([-1, tf.cast(length, tf.int64)])
    return tf.pad(segments.to_tensor(0, shape=shape), [[0, 0], [1, 0]])[:, :-1]


def words_of(cut: Cut) -> Words:
    """Return the `Words` of texts that are cut."""
    word, chosen = cut.words.values, best_windows(cut)
    window = tf.gather(cut.words.value_rowids(), chosen)  # [words of texts]
    place = chosen - tf.gather(cut.words.row_starts(), window)

    def by_text(values, padding):
        values = tf.cast(values, tf.int32)
        return cut.starts.with_values(values).to_tensor(padding)  # [B, L]

    starts = by_text(cut.starts.values, -1)
    first = tf.gather(tf.gather(cut.starts.row_starts(), cut.text), cut.words.value_rowids())
    return Words(
        starts=starts,
        ends=by_text(cut.ends.values, -1),
        mask=starts >= 0,
        window=by_text(window, 0),
        place=by_text(place, 0),
        window_text=tf.cast(cut.text, tf.int32),
        window_words=cut.words.with_values(tf.cast(word - first, tf.int32)).to_tensor(-1),
    )


def text_labels(
    word_starts: tf.Tensor, word_ends: tf.Tensor, types: tf.RaggedTensor, starts: tf.RaggedTensor,
    ends: tf.RaggedTensor,
) -> tf.Tensor:  # fmt: skip
    """Return the labels of the words of whole texts.

    Args:
        word_starts: integer [B, L]: first character of each word, as of `Words`.
        word_ends: likewise, the character after each word.
        types: see `word_labels`, for `starts` and `ends` as well.

    Returns:
        int32 [B, L]: as of `word_labels`, but 0 in the padding.
    """
    # Characters are counted over all texts, so that one search serves all.
    row, starts, ends = starts.value_rowids(), starts.values, ends.values  # [entities]
    starts, ends = tf.cast(starts, tf.int64), tf.cast(ends, tf.int64)
    size = tf.reduce_max(tf.concat([ends, tf.reshape(tf.cast(word_ends, tf.int64), [-1])], 0))
    size = tf.maximum(size, 0) + 2
    origin = tf.range(tf.shape(word_starts, tf.int64)[0])[:, None] * size  # [B, 1]
    word_starts = tf.cast(word_starts, tf.int64) + origin
    word_ends = tf.cast(word_ends, tf.int64) + origin

    # The first entity that ends after the word has begun: no other before it can share more.
    entity = tf.searchsorted(ends + row * size, tf.reshape(word_starts, [-1]), side="right")
    entity = tf.reshape(entity, tf.shape(word_starts))  # [B, L]
    begin = tf.concat([starts + row * size, [FAR]], 0)
    entity = tf.where(tf.gather(begin, entity) < word_ends, entity, -1)
    same = entity == tf.pad(entity, [[0, 0], [1, 0]], constant_values=-1)[:, :-1]
    kind = tf.pad(tf.cast(types.values, tf.int32), [[0, 1]])
    label = 1 + 2 * tf.gather(kind, tf.maximum(entity, 0)) + tf.cast(same, tf.int32)
    return tf.where(entity >= 0, label, 0)


def _begun(labels):
    """Turn an `I-` at the beginning of a window into a `B-`: int32 [N, W]."""
    first, rest = labels[:, :1], labels[:, 1:]
    return tf.concat([first - tf.cast((first > 0) & (first % 2 == 0), tf.int32), rest], 1)
