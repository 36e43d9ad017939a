"""The masks, written out: 1 = may be attended to."""

import numpy as np
import pytest
from keras import ops

from tfmodels.layers import masks


def matrix(mask):
    assert ops.is_tensor(mask) and "bool" in str(mask.dtype)
    return ops.convert_to_numpy(mask).astype(int).tolist()


def test_padding():
    mask = masks.padding_attention_mask(np.array([[True, True, False], [True, False, False]]))
    assert matrix(mask) == [[[1, 1, 0]], [[1, 0, 0]]]


def test_padding_as_numbers():
    assert matrix(masks.padding_attention_mask(np.array([[1, 1, 0]]))) == [[[1, 1, 0]]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"num_queries": 3}, [[1, 0, 0], [1, 1, 0], [1, 1, 1]]),
        # Two queries at positions 1 and 2, in a cache of four.
        (
            {"num_queries": 2, "num_keys": 4, "first_query": 1},
            [[1, 1, 0, 0], [1, 1, 1, 0]],
        ),
        ({"num_queries": 1, "num_keys": 3, "first_query": 2}, [[1, 1, 1]]),
    ],
)
def test_causal(arguments, expected):
    arguments = dict(arguments)
    assert matrix(masks.causal_attention_mask(**arguments)) == [expected]
    # The position of the query is a tensor while a loop decodes.
    first = ops.convert_to_tensor(arguments.pop("first_query", 0), "int32")
    assert matrix(masks.causal_attention_mask(**arguments, first_query=first)) == [expected]


def test_sequences():
    mask = masks.sequence_attention_mask(np.array([[1, 1, 2, 0], [1, 2, 2, 2]]))
    assert matrix(mask) == [
        [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]],
        [[1, 0, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1]],
    ]
    positions = ops.convert_to_numpy(masks.sequence_positions(mask))
    assert positions[0, :3].tolist() == [0, 1, 0] and positions[1].tolist() == [0, 0, 1, 2]


def test_combined():
    causal = masks.causal_attention_mask(3)
    padding = masks.padding_attention_mask(np.array([[True, True, False]]))
    assert matrix(masks.combine_masks(None, causal, None, padding)) == [
        [[1, 0, 0], [1, 1, 0], [1, 1, 0]]
    ]
    assert masks.combine_masks(None, None) is None
