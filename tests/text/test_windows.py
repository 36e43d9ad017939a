"""Windows and words: everything once, in order, whatever the windows; labels written by hand."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfmodels.errors import InputError
from tfmodels.text.windows import (
    merge_words,
    paragraphs,
    tag_inputs,
    tagged_batches,
    word_labels,
)
from tfmodels.text.wordpiece import SPECIAL_TOKENS, WordPieceTokenizer

LETTERS = [chr(ord("a") + i) for i in range(26)]
TOKENIZER = WordPieceTokenizer([*SPECIAL_TOKENS, *LETTERS, *(f"##{c}" for c in LETTERS), ".", "中"])
PAD, UNK, CLS, SEP = 0, 1, 2, 3


def ragged(rows):
    return tf.ragged.constant(rows, tf.int32, ragged_rank=1)


def cut(texts, max_length=12, stride=3):
    return tag_inputs(TOKENIZER, tf.constant(texts, tf.string), max_length, stride)


def graph_of(max_length, stride):
    """In a graph: what windows hold, and the ids of the first pieces merged again."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def graph(text):
        batch, words = tag_inputs(TOKENIZER, text, max_length, stride)
        first = tf.gather(batch["token_ids"], batch["word_positions"], batch_dims=1)
        return batch, words, merge_words(tf.stack([first, -first], -1), words)

    return graph


SETTINGS = [(3, 0), (6, 1), (8, 5), (128, 32)]
GRAPHS = {setting: graph_of(*setting) for setting in SETTINGS}
WORDS = st.text("abz.中é", min_size=1, max_size=12) | st.just("x" * 101)
TEXTS = st.lists(WORDS, max_size=40).map(" ".join)


def first_pieces(text):
    """Ids, first and last characters of the words of a text, by the tokenizer alone."""
    ids, starts, ends = (r.to_list()[0] for r in TOKENIZER.tokenize_with_offsets([text]))
    first = [i for i, n in enumerate(ids) if not TOKENIZER.vocabulary[n].startswith("##")]
    last = [i - 1 for i in [*first, len(ids)][1:]]
    return [ids[i] for i in first], [starts[i] for i in first], [ends[i] for i in last]


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=3), st.sampled_from(SETTINGS))
def test_every_word_comes_back_once_in_order(texts, setting):
    batch, words, merged = GRAPHS[setting](tf.constant(texts))
    for i, text in enumerate(texts):
        ids, starts, ends = first_pieces(text)
        real = words.mask[i].numpy()
        assert merged[i].numpy()[real].tolist() == [[n, -n] for n in ids]
        assert words.starts[i].numpy()[real].tolist() == starts
        assert words.ends[i].numpy()[real].tolist() == ends
        assert not merged[i].numpy()[~real].any() and (words.starts[i].numpy()[~real] == -1).all()
    check_windows(texts, batch, words, *setting)


def windows_of(ids, max_length, stride):
    """The same cut as a loop over one text: tokens of each window."""
    begins = [not TOKENIZER.vocabulary[token].startswith("##") for token in ids]
    room, start, windows = max_length - 2, 0, []
    while True:
        windows.append(ids[start : start + room])
        if start + room >= len(ids):
            return windows
        following = at = start + room - stride
        while not begins[at]:
            at -= 1
        start = at if at > start else following


def check_windows(texts, batch, words, max_length, stride):
    """Every window is the expected stretch of its text, and says where its words are."""
    ids = TOKENIZER.tokenize(texts).to_list()
    expected = [(i, w) for i, row in enumerate(ids) for w in windows_of(row, max_length, stride)]
    assert words.window_text.numpy().tolist() == [i for i, _ in expected]
    assert not batch["segment_ids"].numpy().any()
    for n, (_, tokens) in enumerate(expected):
        row = {key: value[n].numpy() for key, value in batch.items()}
        assert row["token_ids"][row["padding_mask"]].tolist() == [CLS, *tokens, SEP]
        assert (row["token_ids"][~row["padding_mask"]] == PAD).all()
        begins = [not TOKENIZER.vocabulary[token].startswith("##") for token in tokens]
        is_word, positions = row["word_mask"], row["word_positions"]
        assert positions[is_word].tolist() == (np.flatnonzero(begins) + 1).tolist()
        assert (positions[~is_word] == 0).all()
        np.testing.assert_array_equal(words.window_words[n].numpy() >= 0, is_word)


def test_a_window_by_hand():
    batch, words = cut(["ab c. de", ""], max_length=6, stride=1)
    # Tokens: a ##b | c | . | d ##e; windows of four that share one or more.
    a, b, c, d, e, dot = (TOKENIZER.vocabulary.index(t) for t in ("a", "##b", "c", "d", "##e", "."))
    assert batch["token_ids"].numpy().tolist() == [
        [CLS, a, b, c, dot, SEP], [CLS, dot, d, e, SEP, PAD], [CLS, SEP, PAD, PAD, PAD, PAD]
    ]  # fmt: skip
    assert batch["padding_mask"].numpy().sum(1).tolist() == [6, 5, 2]
    assert batch["word_positions"].numpy().tolist() == [[1, 3, 4], [1, 2, 0], [0, 0, 0]]
    assert batch["word_mask"].numpy().sum(1).tolist() == [3, 2, 0]
    assert words.starts.numpy().tolist() == [[0, 3, 4, 6], [-1] * 4]
    assert words.ends.numpy().tolist() == [[2, 4, 5, 8], [-1] * 4]
    # "." is the last token of the first window and the first of the second: on a tie the first.
    assert words.window[0].numpy().tolist() == [0, 0, 0, 1]
    assert words.place[0].numpy().tolist() == [0, 1, 2, 1]
    assert words.window_words.numpy().tolist() == [[0, 1, 2], [2, 3, -1], [-1, -1, -1]]


def test_a_word_is_taken_where_its_shorter_side_is_longest():
    _, words = cut([" ".join("abcdefghijklmnopqrst")], max_length=14, stride=6)
    # Windows of words 0-11, 6-17 and 12-19; the first and the last reach the ends of the text.
    seen = {0: (0, 12), 1: (6, 18), 2: (12, 20)}

    def room(word, window):
        start, limit = seen[window]
        left = 99 if start == 0 else word - start
        return min(left, 99 if limit == 20 else limit - 1 - word)

    for word, window in enumerate(words.window[0].numpy()):
        holding = [w for w, (start, limit) in seen.items() if start <= word < limit]
        assert room(word, window) == max(room(word, w) for w in holding)
    assert words.window[0].numpy().tolist() == [0] * 9 + [1] * 6 + [2] * 5


@pytest.mark.parametrize("texts", [[""], [" ", "\t\n"], ["\x07", ""], []])
def test_texts_without_words(texts):
    batch, words, merged = GRAPHS[6, 1](tf.constant(texts, tf.string))
    assert merged.shape == (len(texts), 0, 2) and words.mask.shape == (len(texts), 0)
    assert batch["padding_mask"].numpy().sum() == 2 * len(texts)
    assert word_labels(words, *[ragged([[]] * len(texts))] * 3).shape == (len(texts), 0)


@pytest.mark.parametrize(
    ("max_length", "stride", "problem"),
    [
        (2, 0, "max_length=2 leaves no room for text"),
        (8, 6, "stride=6 with max_length=8; give a stride from 0 to 5"),
        (8, -1, "stride=-1"),
    ],
)
def test_windows_that_cannot_be(max_length, stride, problem):
    with pytest.raises(InputError, match=problem):
        cut(["a"], max_length, stride)
    with pytest.raises(InputError, match=problem):
        tagged_batches(None, TOKENIZER, 2, max_length, stride)


# Paragraphs

BROKEN = st.text("ab 中\n\r👩", max_size=20).map(str.encode) | st.sampled_from([b"\xe4", b"\xff\n"])
DOCUMENTS = st.lists(BROKEN, max_size=8).map(b"\n\n".join)
PARTED = tf.function(paragraphs, input_signature=[tf.TensorSpec([None], tf.string)])


@settings(max_examples=80, deadline=None)
@given(st.lists(DOCUMENTS, max_size=3))
def test_paragraphs_are_what_stands_between_blank_lines(documents):
    parts = PARTED(tf.constant(documents, tf.string))
    found = list(zip(parts.text.numpy(), parts.row.numpy(), parts.origin.numpy(), strict=True))
    assert all(part.strip() and b"\n\n" not in part for part, _, _ in found)
    for row, document in enumerate(documents):
        whole = document.decode("utf-8", "replace").replace("\r\n\r\n", "\n" * 4)
        kept = [part for part in whole.split("\n\n") if part.strip(" \t\r\n\v\f")]
        mine = [(part.decode("utf-8", "replace"), at) for part, r, at in found if r == row]
        assert [part for part, _ in mine] == kept
        assert all(whole[at : at + len(part)] == part for part, at in mine)
    assert parts.texts == len(documents)


def test_rows_of_paragraphs_become_rows_of_texts():
    parts = paragraphs(["a b\n\nc", "", "\n\n\n\n", "\n\nd"])
    values = tf.constant([[5, 6], [7, -1], [8, -1]])
    moved = parts.moved(values)
    assert moved.numpy().tolist() == [[5, 6], [12, -1], [10, -1]]
    joined = parts.joined(moved, values >= 0, -1)
    assert joined.numpy().tolist() == [[5, 6, 12], [-1] * 3, [-1] * 3, [10, -1, -1]]


def test_no_window_of_training_reaches_over_a_blank_line():
    text = tf.constant(["a b\n\nc d e\r\n\r\nf", "\n\n"])
    entities = [(0, 2, 6), (1, 9, 10)]  # "b\n\nc": a paragraph begins inside of it; and "e"
    rows = [ragged([list(column), []]) for column in zip(*entities, strict=True)]
    chunks = tf.data.Dataset.from_tensors((text, *rows))
    ((batch, label),) = tagged_batches(chunks, TOKENIZER, 8, 32, 6)
    found = {}
    for ids, word_mask, row in zip(batch["token_ids"], batch["word_mask"], label, strict=True):
        words = [TOKENIZER.vocabulary[n] for n in ids.numpy() if n not in (PAD, CLS, SEP)]
        found[" ".join(words)] = row[word_mask].numpy().tolist()
    assert found == {"a b": [0, 1], "c d e": [1, 0, 3], "f": [0]}


# Labels


def labels(text, entities, max_length=40, stride=3):
    """Labels of one text's windows; entities are `(type, start, end)`."""
    _, words = cut([text], max_length, stride)
    columns = zip(*entities, strict=True) if entities else [[]] * 3
    return word_labels(words, *(ragged([list(column)]) for column in columns)).numpy().tolist()


@pytest.mark.parametrize(
    ("text", "entities", "expected"),
    [
        ("ann lee met bo", [], [0, 0, 0, 0]),
        ("ann lee met bo", [(0, 0, 7), (1, 12, 14)], [1, 2, 0, 3]),
        ("ann lee", [(0, 0, 3), (0, 4, 7)], [1, 1]),  # two that touch
        ("u.s. x", [(1, 0, 4)], [3, 4, 4, 4, 0]),
        ("中中 中a", [(2, 1, 4)], [0, 5, 6, 0]),
        ("ab cd", [(0, 1, 2)], [1, 0]),  # inside of a word
        ("ab cd", [(0, 1, 4)], [1, 2]),  # from the middle of a word to the middle of the next
        ("abcd x", [(0, 0, 2), (1, 2, 4)], [1, 0]),  # two in one word: the first
        ("abcd x", [(0, 0, 2), (1, 2, 6)], [1, 3]),
        ("a  b", [(0, 1, 3)], [0, 0]),  # only blanks
        ("a b", [(0, 0, 2)], [1, 0]),  # and one at the end
        ("👩 a", [(0, 0, 1)], [1, 0]),  # an unknown word
        ("e\u0301 a", [(0, 1, 2)], [1, 0]),  # its accent alone
    ],
)
def test_labels_by_hand(text, entities, expected):
    assert labels(text, entities) == [expected]


@pytest.mark.parametrize(
    ("text", "entities", "expected"),
    [
        ("abc d", [(0, 0, 2), (1, 2, 3)], [1, 2, 3, 0]),  # two in one word
        ("a\u0301b 中c", [(0, 0, 2), (1, 5, 6)], [1, 0, 0, 3]),  # an accent is of its letter
        ("\u200bab.", [(0, 0, 3)], [1, 2, 0]),
    ],
)
def test_labels_of_characters(text, entities, expected):
    _, words = tag_inputs(TOKENIZER.by_characters(), tf.constant([text]), 40, 3)
    columns = (ragged([list(column)]) for column in zip(*entities, strict=True))
    assert word_labels(words, *columns).numpy().tolist() == [expected]


def test_labels_of_several_texts_and_padding():
    _, words = cut(["a b c", "", "b", "a b"])
    found = word_labels(
        words, ragged([[1], [], [], [0]]), ragged([[2], [], [], [0]]), ragged([[5], [], [], [3]])
    )
    assert found.dtype == tf.int32
    assert found.numpy().tolist() == [[0, 3, 4], [-1, -1, -1], [0, -1, -1], [1, 2, -1]]


def test_an_entity_begins_anew_in_the_next_window():
    # Words 0-3, 3-6 and 6-7 in windows of four that share one.
    found = labels("a b c d e f g h", [(0, 2, 9), (1, 12, 13)], max_length=6, stride=1)
    assert found == [[0, 1, 2, 2], [1, 2, 0, 3], [3, 0, -1, -1]]


# Batches


ROWS = [" ".join("ab" for _ in range(n)) for n in np.random.default_rng(0).integers(0, 60, 300)]


def chunks(size=64):
    def entities(text):
        end = tf.minimum(tf.strings.length(text), 5)  # the first two words
        rows = tf.RaggedTensor.from_row_lengths(end[end > 0], tf.cast(end > 0, tf.int64))
        return text, tf.zeros_like(rows), tf.zeros_like(rows), rows

    return tf.data.Dataset.from_tensor_slices(ROWS).batch(size).map(entities)


def test_batches_hold_every_window_once_in_few_shapes():
    data = tagged_batches(chunks(), TOKENIZER, 8, 32, 6, seed=1)
    found = list(data.as_numpy_iterator())
    real = []
    for batch, label in found:
        rows, length = batch["token_ids"].shape
        assert length in {4, 8, 12, 16, 20, 24, 28, 32}
        assert label.shape == batch["word_mask"].shape == batch["word_positions"].shape
        assert label.shape == (rows, length - 2) and label.dtype == np.int32
        np.testing.assert_array_equal(label >= 0, batch["word_mask"])
        first = np.take_along_axis(batch["token_ids"], batch["word_positions"], 1)
        assert (first[batch["word_mask"]] == TOKENIZER.vocabulary.index("a")).all()
        real += rows_of(batch)
    held, _ = cut(ROWS, 32, 6)
    held = {name: values.numpy() for name, values in held.items()}
    has_words = held["word_mask"].any(1)
    assert sorted(real) == sorted(itertools.compress(rows_of(held), has_words))
    assert sorted(len(label) for _, label in found)[1:] == [8] * (len(real) // 8)
    assert sum((label == 1).sum() for _, label in found) == sum(bool(row) for row in ROWS)
    fill = sum(map(len, real)) / sum(batch["padding_mask"].size for batch, _ in found)
    assert fill > 0.85


def rows_of(batch):
    rows = zip(batch["token_ids"], batch["padding_mask"], strict=True)
    return [row[mask].tolist() for row, mask in rows]
