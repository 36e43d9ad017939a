"""`pack` against the truncation and padding of Hugging Face's `tokenizers`."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from tokenizers.processors import BertProcessing

from tfmodels.errors import InputError
from tfmodels.text.packing import pack

PAD, CLS, SEP = 0, 2, 3
IDS = {"[PAD]": PAD, "[UNK]": 1, "[CLS]": CLS, "[SEP]": SEP} | {str(i): 10 + i for i in range(20)}
LENGTHS = range(8)
PAIRS = list(itertools.product(LENGTHS, LENGTHS))


def reference(max_length, **padding):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(IDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding(**padding)
    return tokenizer


def words(n):
    return " ".join(map(str, range(n)))


def segment(lengths, dtype=tf.int32):
    return tf.RaggedTensor.from_row_lengths(
        tf.constant([10 + i for n in lengths for i in range(n)], dtype), list(lengths)
    )


def call(lengths, max_length, **options):
    """`pack` of rows (first,) or (first, second) of so many tokens."""
    segments = [segment(column) for column in zip(*lengths, strict=True)]
    return pack(*segments, cls_id=CLS, sep_id=SEP, pad_id=PAD, max_length=max_length, **options)


def assert_equals_reference(batch, encodings):
    np.testing.assert_array_equal(batch["token_ids"], [e.ids for e in encodings])
    np.testing.assert_array_equal(batch["segment_ids"], [e.type_ids for e in encodings])
    np.testing.assert_array_equal(batch["padding_mask"], [e.attention_mask for e in encodings])
    assert batch["token_ids"].dtype == batch["segment_ids"].dtype == tf.int32
    assert batch["padding_mask"].dtype == tf.bool


@pytest.mark.parametrize("max_length", [3, 4, 6, 20])
def test_one_segment(max_length):
    encodings = reference(max_length).encode_batch([words(n) for n in LENGTHS])
    assert_equals_reference(call([(n,) for n in LENGTHS], max_length), encodings)


@pytest.mark.parametrize("max_length", [5, 6, 7, 8, 9, 12, 30])
def test_two_segments_longest_first(max_length):
    tokenizer = reference(max_length)
    encodings = tokenizer.encode_batch([(words(n), words(m)) for n, m in PAIRS])
    assert_equals_reference(call(PAIRS, max_length), encodings)


@pytest.mark.parametrize(
    ("ours", "theirs", "length"),
    [
        ({}, {}, 9),
        ({"pad_to_length": 12}, {"length": 12}, 12),
    ],
)
def test_padding(ours, theirs, length):
    encodings = reference(10, **theirs).encode_batch([words(7), words(2), ""])
    batch = call([(7,), (2,), (0,)], 10, **ours)
    assert_equals_reference(batch, encodings)
    assert batch["token_ids"].shape == (3, length)


def test_in_a_graph_with_any_batch():
    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.int64)])
    def graph(first):
        return pack(first, first, cls_id=CLS, sep_id=SEP, max_length=6, pad_to_length=8)

    for lengths in ([3, 0, 5], [1]):
        batch, expected = graph(segment(lengths, tf.int64)), call([(n, n) for n in lengths], 6)
        assert batch["token_ids"].shape == (len(lengths), 8)
        for key in expected:
            length = expected[key].shape[1]
            np.testing.assert_array_equal(batch[key][:, :length], expected[key])
    assert graph(segment([], tf.int64))["padding_mask"].shape == (0, 8)
    outputs = graph.get_concrete_function().structured_outputs
    assert outputs["token_ids"].shape.as_list() == [None, 8]


def test_other_padding_id():
    batch = pack(segment([1, 3]), cls_id=CLS, sep_id=SEP, pad_id=9, max_length=8)
    assert batch["token_ids"].numpy().tolist() == [[CLS, 10, SEP, 9, 9], [CLS, 10, 11, 12, SEP]]
    assert batch["segment_ids"].numpy().sum() == 0


@pytest.mark.parametrize(
    ("lengths", "options", "problem"),
    [
        ([(3,)], {"max_length": 2}, "max_length=2 leaves no room"),
        ([(3, 3)], {"max_length": 4}, "give at least 5"),
        ([(3,)], {"pad_to_length": 5}, "pad_to_length=5 is less than max_length=8"),
    ],
)
def test_settings_that_cannot_be_met(lengths, options, problem):
    with pytest.raises(InputError, match=problem):
        call(lengths, **({"max_length": 8} | options))


def test_dense_segments_are_refused():
    with pytest.raises(InputError, match="no ragged tensor"):
        pack(tf.constant([[1, 2]]), cls_id=CLS, sep_id=SEP, max_length=8)
