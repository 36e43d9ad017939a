"""Sequences in few rows: nothing is lost, and everything of a token moves with it."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfmodels.text.packed_rows import PackedRows

ROOM = 10


def test_first_fit():
    """The longest first, each in the first row with room."""
    rows = PackedRows(tf.constant([3, 7, 4, 10, 2]), ROOM)
    assert rows.sequence_ids.numpy().tolist() == [
        [1] * 10,
        [1] * 7 + [2] * 3,
        [1] * 4 + [2] * 2 + [0] * 4,
    ]


def test_tokens_and_positions():
    rows = PackedRows(tf.constant([2, 5, 3]), ROOM)
    values = tf.constant([[1, 2, 0, 0, 0], [3, 4, 5, 6, 7], [8, 9, 10, 0, 0]])
    assert rows.tokens(values, -1).numpy().tolist() == [[3, 4, 5, 6, 7, 8, 9, 10, 1, 2]]
    positions = tf.constant([[1, 0], [0, 4], [2, 0]])
    labels = tf.constant([[2, -1], [3, 7], [10, -1]])
    places, of_places = rows.positions(positions, labels)
    assert places.numpy().tolist() == [[0, 4, 7, 9]]
    assert of_places.numpy().tolist() == [[3, 7, 10, 2]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, ROOM), min_size=1, max_size=20))
def test_every_sequence_is_there_once(lengths):
    rows = PackedRows(tf.constant(lengths), ROOM)
    number = np.arange(1, len(lengths) + 1)[:, None]
    place = np.arange(ROOM)[None]
    real = place < np.array(lengths)[:, None]
    values = tf.constant(np.where(real, number * 100 + place, 0), tf.int32)
    moved, ids = rows.tokens(values, 0).numpy(), rows.sequence_ids.numpy()
    np.testing.assert_array_equal(moved > 0, ids > 0)
    found = [
        row[of == sequence].tolist()
        for row, of in zip(moved, ids, strict=True)
        for sequence in range(1, of.max() + 1)
    ]
    expected = [row[row > 0].tolist() for row in values.numpy()]
    assert sorted(found) == sorted(expected)
    # Two rows that are at most half full would have become one.
    assert sum((ids > 0).sum(1) <= ROOM // 2) <= 1
