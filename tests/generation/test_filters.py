"""The filters against `transformers`' logits processors, and where these say nothing."""

import numpy as np
import pytest
from keras import ops

from tests.generation.toy import compiled
from tfmodels.generation import filters
from tfmodels.generation.filters import (
    keep_most_likely,
    no_repeat_ngram,
    repetition_penalty,
)

ROWS, SIZE, LENGTH = 5, 40, 30


def logits(seed=0, rows=ROWS, size=SIZE):
    return (3 * np.random.default_rng(seed).normal(size=(rows, size))).astype("float32")


def ids(seed=0, size=SIZE):
    return np.random.default_rng(seed).integers(0, size, (ROWS, LENGTH), dtype="int32")


def by_transformers(name, token_ids, scores, *arguments):
    torch = pytest.importorskip("torch", reason="compares with transformers")
    process = pytest.importorskip(
        "transformers.generation.logits_process", reason="compares with transformers"
    )
    processor = getattr(process, name)(*arguments)
    return processor(torch.tensor(token_ids).long(), torch.tensor(scores)).numpy()


def run(function, scores, *arguments):
    return ops.convert_to_numpy(function(ops.convert_to_tensor(scores), *arguments))


@pytest.mark.parametrize("penalty", [1.3, 0.7])
def test_repetition_penalty(penalty):
    expected = by_transformers("RepetitionPenaltyLogitsProcessor", ids(), logits(), penalty)
    real = np.ones((ROWS, LENGTH), "bool")
    found = run(repetition_penalty, logits(), ids(), real, penalty)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 10, LENGTH])
def test_no_repeat_ngram(size, length):
    token_ids, scores = ids(size=3), logits(size=3)
    expected = by_transformers("NoRepeatNGramLogitsProcessor", token_ids[:, :length], scores, size)
    real = np.broadcast_to(np.arange(LENGTH) < length, token_ids.shape)
    np.testing.assert_array_equal(
        run(no_repeat_ngram, scores, token_ids, real, length, size), expected
    )


def test_padding_is_no_token():
    """Neither for the penalty, nor in an n-gram."""
    token_ids = np.array([[0, 0, 0, 1, 0, 2, 0]], "int32")
    real = np.array([[False, False, False, True, True, True, True]])
    scores = np.ones((1, 4), "float32")
    np.testing.assert_array_equal(
        run(repetition_penalty, scores, token_ids, real, 2.0), [[0.5, 0.5, 0.5, 1]]
    )
    # After 0 came 2; that 0 and 1 came after padding does not count.
    np.testing.assert_array_equal(
        run(no_repeat_ngram, scores, token_ids, real, 7, 2), [[1, 1, -np.inf, 1]]
    )
    short = np.array([[False] * 6 + [True]])
    np.testing.assert_array_equal(run(no_repeat_ngram, scores, token_ids, short, 7, 3), scores)


@pytest.mark.parametrize("few", [4, 1024])
@pytest.mark.parametrize("top_k", [1, 3, 39, 40, 99])
def test_top_k(top_k, few, monkeypatch):
    monkeypatch.setattr(filters, "FEW", few)
    expected = by_transformers("TopKLogitsWarper", ids(), logits(), top_k)
    np.testing.assert_array_equal(run(keep_most_likely, logits(), top_k), expected)
    own = np.full((ROWS,), top_k, "int32")
    np.testing.assert_array_equal(run(keep_most_likely, logits(), own), expected)


@pytest.mark.parametrize("few", [4, 1024])
@pytest.mark.parametrize("top_p", [0.001, 0.3, 0.9, 0.999])
def test_top_p(top_p, few, monkeypatch):
    monkeypatch.setattr(filters, "FEW", few)
    expected = by_transformers("TopPLogitsWarper", ids(), logits(), top_p)
    assert len(set(np.isfinite(expected).sum(1))) > 1 or top_p == 0.001
    np.testing.assert_array_equal(run(keep_most_likely, logits(), 0, top_p), expected)
    own = np.full((ROWS,), top_p, "float32")
    np.testing.assert_array_equal(run(keep_most_likely, logits(), 0, own), expected)


@pytest.mark.parametrize("few", [4, 1024])
def test_top_k_then_top_p_each_row_its_own(few, monkeypatch):
    monkeypatch.setattr(filters, "FEW", few)
    top_k, top_p = [0, 5, 0, 20, 3], [1.0, 0.8, 0.6, 1.0, 0.2]
    found = compiled(keep_most_likely)(
        ops.convert_to_tensor(logits()),
        ops.convert_to_tensor(top_k, "int32"),
        ops.convert_to_tensor(top_p, "float32"),
    )
    for row, (k, p) in enumerate(zip(top_k, top_p, strict=True)):
        expected = logits()[row : row + 1]
        if k:
            expected = by_transformers("TopKLogitsWarper", ids(), expected, k)
        if p < 1:
            expected = by_transformers("TopPLogitsWarper", ids(), expected, p)
        np.testing.assert_array_equal(ops.convert_to_numpy(found)[row], expected[0])
        settled = run(keep_most_likely, logits()[row : row + 1], k, p)
        np.testing.assert_array_equal(settled, expected)


@pytest.mark.parametrize("few", [2, 1024])
def test_ties(few, monkeypatch):
    monkeypatch.setattr(filters, "FEW", few)
    equal = np.zeros((1, 8), "float32")

    def stays(*arguments):
        return np.flatnonzero(np.isfinite(run(keep_most_likely, equal, *arguments)[0]))

    assert stays(3).tolist() == list(range(8))  # all as likely as the third
    assert stays(0, 0.5).tolist() == [0, 1, 2, 3]  # the smallest set
    assert stays(3, 0.5).tolist() == [0, 1, 2, 3]  # of all that top-k left
    assert stays(0, 0.01).tolist() == [0]


@pytest.mark.parametrize("arguments", [(2, 0.5), (0, 0.5), (3,)])
def test_nothing_left_stays_nothing_left(arguments):
    found = run(keep_most_likely, np.full((1, 5), -np.inf, "float32"), *arguments)
    assert not np.isnan(found).any()
