"""Windows of contexts behind their questions: places, labels, rows as of `tokenizers`."""

import numpy as np
import pytest
import tensorflow as tf

from tests.text.test_windows import CLS, LETTERS, PAD, SEP, TOKENIZER
from tfmodels.errors import InputError
from tfmodels.text.question_windows import question_batches, question_windows

QUESTIONS = ["ab c", "z", "a b c d e f g h"]
CONTEXTS = ["a bc d. ef g " * 4, "", "abc 中 é. d"]


def windows_of(questions=QUESTIONS, contexts=CONTEXTS, max_length=16, stride=2, longest=4):
    found = question_windows(
        TOKENIZER, tf.constant(questions), tf.constant(contexts), max_length, stride, longest
    )
    return found, found.batch(TOKENIZER, max_length)


def test_rows():
    """[CLS] question [SEP] window [SEP], with segments; each context has one window or more."""
    found, batch = windows_of()
    ids, segments = batch["token_ids"].numpy(), batch["segment_ids"].numpy()
    assert ids.shape[1] <= 16 and set(found.context.numpy()) == {0, 1, 2}
    for row, segment, number in zip(ids, segments, found.context.numpy(), strict=True):
        question = TOKENIZER.tokenize([QUESTIONS[number]]).to_list()[0][:4]
        assert row[: len(question) + 2].tolist() == [CLS, *question, SEP]
        real = row != PAD
        assert row[real][-1] == SEP and segment[real].sum() == real.sum() - len(question) - 2


def test_places():
    found, batch = windows_of()
    for row, number in enumerate(found.context.numpy()):
        for at in np.flatnonzero(found.starts[row] >= 0):
            text = CONTEXTS[number][found.starts[row, at] : found.ends[row, at]]
            token = TOKENIZER.vocabulary[batch["token_ids"][row, at]].removeprefix("##")
            assert token in (text, "[UNK]", "e") and batch["segment_ids"][row, at] == 1
    begins = tf.reduce_sum(tf.cast(found.begins, tf.int32), 1).numpy()
    # Every word begins an answer in one window only.
    words = np.bincount(found.context.numpy(), weights=begins)
    assert words.tolist() == [4 * 6, 0, 5]


def test_labels():
    answer = CONTEXTS[0].index("ef g ", 20)
    found, _ = windows_of()
    start, end = tf.constant([answer, -1, 4]), tf.constant([answer + 4, -1, 5])
    labels, hits = found.labels(start, end).numpy(), 0
    for row, number in enumerate(found.context.numpy()):
        first, last = labels[row]
        if number == 1:
            assert (first, last) == (0, 0)
        elif first:
            hits += number == 0
            text = CONTEXTS[number][found.starts[row, first] : found.ends[row, last]]
            assert text == ("ef g", "", "中")[number]
    assert hits >= 1
    # Inside of a word, it grows to the word.
    labels = found.labels(tf.constant([3, -1, 1]), tf.constant([4, -1, 2])).numpy()
    row = found.context.numpy().tolist().index(2)
    assert CONTEXTS[2][found.starts[row, labels[row, 0]] : found.ends[row, labels[row, 1]]] == "abc"


def test_batches_have_every_window_once():
    chunks = tf.data.Dataset.from_tensors((QUESTIONS, CONTEXTS, [0, -1, 4], [4, -1, 5]))
    batches = list(question_batches(chunks, TOKENIZER, 4, 16, 2, 4))
    found, batch = windows_of()
    rows = sorted(
        [i for i in row if i != PAD] for b, _ in batches for row in b["token_ids"].numpy().tolist()
    )
    expected = [[i for i in row if i != PAD] for row in batch["token_ids"].numpy().tolist()]
    assert rows == sorted(expected)
    total = sum(int(tf.math.count_nonzero(labels[:, 0])) for _, labels in batches)
    labels = found.labels(tf.constant([0, -1, 4]), tf.constant([4, -1, 5]))
    assert total == int(tf.math.count_nonzero(labels[:, 0])) > 0


def test_windows_are_those_of_tokenizers(tmp_path):
    """As a question-answering script of `transformers` cuts them, where no word is cut."""
    tokenizers = pytest.importorskip("tokenizers")
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(TOKENIZER.vocabulary), encoding="utf-8")
    reference = tokenizers.BertWordPieceTokenizer(str(path), lowercase=True)
    context = " ".join(LETTERS * 3)
    reference.enable_truncation(16, stride=3, strategy="only_second")
    first = reference.encode("a b", context)
    expected = [part.ids for part in (first, *first.overflowing)]
    _, batch = windows_of(["a b"], [context], 16, 3)
    rows = [[i for i in row if i != PAD] for row in batch["token_ids"].numpy().tolist()]
    assert rows == expected


def test_no_room():
    with pytest.raises(InputError, match="leaves no room for a context"):
        windows_of(max_length=8, longest=5)
    with pytest.raises(InputError, match="stride=9"):
        windows_of(stride=9)
