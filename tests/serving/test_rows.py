"""Rows of answers of different widths: put together and compared."""

import numpy as np
import pytest

from tfmodels.serving.rows import difference, joined


def entities(*rows):
    """An answer with a width of its own, as a tagger gives it."""
    width = max(map(len, rows))
    names = [[*row, *[b""] * (width - len(row))] for row in rows]
    starts = [[*range(len(row)), *[-1] * (width - len(row))] for row in rows]
    scores = [[*[0.5] * len(row), *[0.0] * (width - len(row))] for row in rows]
    return {
        "entity": np.array(names, object).reshape(len(rows), width),
        "start": np.array(starts, np.int32).reshape(len(rows), width),
        "score": np.array(scores, np.float32).reshape(len(rows), width),
    }


def test_parts_are_padded_as_one_batch_is():
    parts = [entities([b"a"]), entities([], [b"b", b"c"]), entities([])]
    whole = entities([b"a"], [], [b"b", b"c"], [])
    found = joined(parts)
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in whole.items()
    }
    assert {name: value.dtype for name, value in found.items()} == {
        name: value.dtype for name, value in whole.items()
    }


def test_positions_of_predicates_are_padded_as_others():
    """Padding is -1, also of roles, whose predicates have positions too."""
    parts = [{"predicate_start": np.array([row], np.int32)} for row in ([4, 9], [2])]
    assert joined(parts)["predicate_start"].tolist() == [[4, 9], [2, -1]]


def test_padding_is_no_difference():
    narrow, wide = entities([b"a"]), entities([b"a"], [b"b", b"c", b"d"])
    for name, value in narrow.items():
        assert difference(name, wide[name][:1], value) == 0.0
        assert difference(name, value, wide[name][:1]) == 0.0


@pytest.mark.parametrize(
    "name, answer, expected, found",
    [
        ("entity", entities([b"a", b"b"])["entity"], entities([b"a"])["entity"], None),
        ("start", np.array([[0, 7]]), np.array([[0, -1]]), None),
        ("value", np.array([1.0]), np.array([1.5]), 0.5),
        ("value", np.array([np.nan]), np.array([1.5]), "not a number"),
        ("value", np.zeros([1, 2]), np.zeros([2, 2]), None),
        ("value", np.zeros([1]), np.zeros([1, 1]), None),
        ("value", None, np.zeros([1]), None),
    ],
)
def test_what_differs(name, answer, expected, found):
    if found == "not a number":
        assert np.isnan(difference(name, answer, expected))
    else:
        assert difference(name, answer, expected) == found
