"""Texts of any length in windows for an encoder, and the words of the windows.

In: texts. Out: a batch of overlapping windows with a maximum number of tokens, the place of each
word's first piece in them, and the way back from the encoder's outputs to one row of words a
text. For training also the labels of the words, and batches of windows of nearly equal length.

The words are those that the tokenizer splits into pieces: a piece that does not start with `##`
begins one, so punctuation marks and ideographs are words; of a tokenizer `by_characters` every
character is. Blank lines separate paragraphs, which are read one by one: a long document gets the
tags that its paragraphs get. Ops only.

B = texts, P = paragraphs of all texts, T = tokens of a text, N = windows of all texts, S = their
padded length, W = words of a window, L = words of a text, C = channels.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text import batching
from tfmodels.text.packing import pack
from tfmodels.text.wordpiece import WordPieceTokenizer, continues, shifted

_FAR = tf.int64.max  # more tokens than any window has


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


def default_stride(max_length: int) -> int:
    """Return the number of tokens that two windows share by default: a quarter."""
    return max_length // 4


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
    with tf.device("CPU:0"):
        cut = _cut(tokenizer, text, max_length, stride)
        batch = pack(tokenizer, cut.ids, max_length)
        batch["word_positions"] = cut.positions.to_tensor(0)
        lengths = cut.positions.row_lengths()
        batch["word_mask"] = tf.sequence_mask(lengths, tf.shape(batch["word_positions"])[1])
        return batch, _words(cut)


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
        cut = _cut(tokenizer, parts.text, max_length, stride)
        lengths = cut.positions.row_lengths()
        words = _words(cut)
        words = words._replace(starts=parts.moved(words.starts), ends=parts.moved(words.ends))
        labels = word_labels(words, *(tf.gather(values, parts.row) for values in entities))
        labels = tf.RaggedTensor.from_tensor(labels, lengths=lengths)
        filled = tf.where(lengths > 0)[:, 0]
        return tuple(tf.gather(values, filled) for values in (cut.ids, cut.positions, labels))

    def packed(ids, positions, labels):
        batch = batching.packed_to_few_lengths(tokenizer, ids, max_length)
        words = tf.shape(batch["token_ids"])[1] - 2
        shape = tf.stack([-1, words])
        batch["word_positions"] = positions.to_tensor(0, shape=shape)
        batch["word_mask"] = tf.sequence_mask(positions.row_lengths(), words)
        return batch, labels.to_tensor(-1, shape=shape)

    _check(max_length, stride)
    examples = batching.mapped(chunks, windows).unbatch()
    batches = batching.by_length(examples, batch_size, seed)
    return batching.mapped(batches, packed).prefetch(tf.data.AUTOTUNE)


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


class _Cut(NamedTuple):
    """Texts cut into windows. Tokens and words are counted over all texts of the batch."""

    ids: tf.RaggedTensor  # int32 [N, (tokens)]
    positions: tf.RaggedTensor  # int32 [N, (words)]: of the first pieces, after [CLS]
    text: tf.Tensor  # int64 [N]
    words: tf.RaggedTensor  # int64 [N, (words)]: numbers of the words
    room: tf.RaggedTensor  # int64 [N, (words)]: tokens on the shorter side
    starts: tf.RaggedTensor  # int32 [B, (L)]: characters
    ends: tf.RaggedTensor  # int32 [B, (L)]


def _cut(tokenizer, text, max_length, stride):
    """Tokenize texts and cut them into windows."""
    _check(max_length, stride)
    ids, starts, ends = tokenizer.tokenize_with_offsets(text)
    row, row_starts, row_limits = ids.value_rowids(), ids.row_starts(), ids.row_limits()
    begins = word_begins(tokenizer, ids, starts)  # [tokens]
    pieces = tf.where(begins)[:, 0]  # [words]: first piece of each
    before = tf.concat([[0], tf.cumsum(tf.cast(begins, tf.int64))], 0)  # words before a token
    word = before[1:] - 1  # [tokens]

    word_start = tf.gather(pieces, word)  # [tokens]: first piece of the word of each
    windows = _window_starts(row_starts, row_limits, word_start, max_length - 2, stride)
    of_text, first = windows.value_rowids(), windows.values  # [N]
    text_limit = tf.gather(row_limits, of_text)
    limit = tf.minimum(first + max_length - 2, text_limit)

    words = tf.ragged.range(tf.gather(before, first), tf.gather(before, limit))  # [N, (words)]
    window = words.value_rowids()
    piece = tf.gather(pieces, words.values) - tf.gather(first, window)  # place in its window
    after = tf.gather(limit - first, window) - 1 - piece
    left = tf.where(tf.gather(first == tf.gather(row_starts, of_text), window), _FAR, piece)
    right = tf.where(tf.gather(limit == text_limit, window), _FAR, after)

    last = tf.concat([pieces, [tf.size(row, tf.int64)]], 0)[1:] - 1  # [words]: last pieces
    of_word = tf.gather(row, pieces)

    def by_text(values):
        return tf.RaggedTensor.from_value_rowids(values, of_word, ids.nrows(), validate=False)

    return _Cut(
        ids=tf.gather(ids.values, tf.ragged.range(first, limit)),
        positions=words.with_values(tf.cast(piece + 1, tf.int32)),
        text=of_text,
        words=words,
        room=words.with_values(tf.minimum(left, right)),
        starts=by_text(tf.gather(starts.values, pieces)),
        ends=by_text(tf.gather(ends.values, last)),
    )


def _window_starts(row_starts, row_limits, word_start, room, stride):
    """Return the first token of every window of texts, ragged int64 [B, (windows)].

    Texts are the tokens from `row_starts` to `row_limits`, int64 [B]; `word_start`, int64
    [tokens], is the first token of the word of each token.
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


def _words(cut):
    """Return the `Words` of texts that are cut."""
    word, room = cut.words.values, cut.room.values  # [words of windows]
    number = tf.size(cut.starts.values)  # words of texts
    best = tf.gather(tf.math.unsorted_segment_max(room, word, number), word)
    place = tf.range(tf.size(word, tf.int64))
    chosen = tf.math.unsorted_segment_min(tf.where(room == best, place, _FAR), word, number)
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
    begin = tf.concat([starts + row * size, [_FAR]], 0)
    entity = tf.where(tf.gather(begin, entity) < word_ends, entity, -1)
    same = entity == tf.pad(entity, [[0, 0], [1, 0]], constant_values=-1)[:, :-1]
    kind = tf.pad(tf.cast(types.values, tf.int32), [[0, 1]])
    label = 1 + 2 * tf.gather(kind, tf.maximum(entity, 0)) + tf.cast(same, tf.int32)
    return tf.where(entity >= 0, label, 0)


def _begun(labels):
    """Turn an `I-` at the beginning of a window into a `B-`: int32 [N, W]."""
    first, rest = labels[:, :1], labels[:, 1:]
    return tf.concat([first - tf.cast((first > 0) & (first % 2 == 0), tf.int32), rest], 1)


def _check(max_length, stride):
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
