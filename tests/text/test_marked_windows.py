"""Windows around predicates: marks, places of words, labels; rows for both kinds of question."""

import pytest
import tensorflow as tf

from tests.text.test_windows import CLS, PAD, SEP, TOKENIZER
from tfmodels.errors import InputError
from tfmodels.text.marked_windows import marked_windows, role_batches

TEXTS = ["ab c de. f", "", "a " * 40 + "b " + "c " * 40]


def windows_of(places, marker, max_length=14):
    row, start, end = zip(*places, strict=True)
    found = marked_windows(
        TOKENIZER, tf.constant(TEXTS), tf.constant(row, tf.int64), tf.constant(start),
        tf.constant(end), max_length, marker,
    )  # fmt: skip
    return found, {k: v.numpy() for k, v in found.batch(TOKENIZER, max_length).items()}


@pytest.mark.parametrize("marker", ["segments", "tokens"])
def test_marks(marker):
    found, batch = windows_of([(0, 5, 7), (0, 0, 2)], marker)
    ids = TOKENIZER.tokenize(TEXTS[:1]).to_list()[0]  # ab: 2, c, de: 2, ., f
    if marker == "segments":
        assert batch["token_ids"][0].tolist() == [CLS, *ids, SEP]
        assert batch["segment_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 0, 0, 0], [0, 1, 1, *[0] * 6]]
        assert batch["word_positions"].tolist() == [[1, 3, 4, 6, 7]] * 2
    else:
        row = [CLS, *ids[:3], SEP, *ids[3:5], SEP, *ids[5:], SEP]
        assert batch["token_ids"][0].tolist() == row
        assert batch["segment_ids"][0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0]
        assert batch["word_positions"].tolist() == [[1, 3, 5, 8, 9], [2, 5, 6, 8, 9]]
    words = [TEXTS[0][a:b] for a, b in zip(found.starts[0], found.ends[0], strict=True)]
    assert words == ["ab", "c", "de", ".", "f"]
    first = [batch["token_ids"][0][at] for at in batch["word_positions"][0]]
    assert first == [ids[0], ids[2], ids[3], ids[5], ids[6]]


@pytest.mark.parametrize("marker", ["segments", "tokens"])
def test_a_long_text_is_read_around_its_predicate(marker):
    found, batch = windows_of([(2, 80, 81), (2, 0, 1), (2, 160, 161)], marker)
    room = 14 - 2 - 2 * (marker == "tokens")
    assert (batch["word_mask"].sum(1) == room).all() and (batch["token_ids"] != PAD).all()
    at = TOKENIZER.vocabulary.index("b")
    assert (batch["token_ids"][0] == at).sum() == 1 and (batch["segment_ids"].sum(1) > 0).all()
    before, behind = (found.starts[0] < 80), (found.starts[0] > 80)
    assert abs(int(before.numpy().sum()) - int(behind.numpy().sum())) <= 1
    assert found.starts[1, 0] == 0 and found.ends[2, -1] == 161


def test_rows_of_both_kinds():
    chunks = tf.data.Dataset.from_tensors(
        (
            TEXTS[:2], tf.ragged.constant([[3, 5], []], tf.int32),
            tf.ragged.constant([[4, 7], []], tf.int32), tf.ragged.constant([[1, 0], []], tf.int32),
            tf.ragged.constant([[1], []], tf.int32), tf.ragged.constant([[0], []], tf.int32),
            tf.ragged.constant([[2], []], tf.int32),
        )
    )  # fmt: skip
    ((batch, labels),) = role_batches(chunks, TOKENIZER, 8, 14, 2, "segments")
    rows = [[int(x) for x in row if x >= 0] for row in labels.numpy()]
    marks = batch["segment_ids"].numpy().sum(1).tolist()
    # The argument of c, none of de, and both as predicates of the text without a mark.
    assert sorted(zip(marks, rows, strict=True)) == [
        (0, [0, 1, 1, 0, 0]), (1, [3, 0, 0, 0, 0]), (2, [0, 0, 0, 0, 0]),
    ]  # fmt: skip
    ((_, labels),) = role_batches(chunks, TOKENIZER, 8, 14, 2, "tokens", predicates=False)
    assert len(labels) == 2


def test_mistakes():
    with pytest.raises(InputError, match="marker 'x': give one of segments, tokens"):
        windows_of([(0, 0, 1)], "x")
    with pytest.raises(InputError, match="leaves no room"):
        windows_of([(0, 0, 1)], "tokens", 4)
