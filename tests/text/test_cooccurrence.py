"""Vectors from counts: tokens that share their texts lie near each other; float64 NumPy agrees."""

import numpy as np

from tfmodels.text.cooccurrence import cooccurrence_vectors

PAD = 0


def two_topics(rows, rng):
    """Examples of tokens 1 to 9 or of tokens 10 to 18, with token 19 in all of them."""
    first = rng.integers(0, 2, (rows, 1)) * 9 + 1
    ids = first + rng.integers(0, 9, (rows, 12))
    ids[:, 5] = 19
    ids[:, 10:] = PAD
    return ids


def test_tokens_of_the_same_texts_are_near():
    rng = np.random.default_rng(0)
    batches = [two_topics(50, rng) for _ in range(8)]
    vectors, occurrences = cooccurrence_vectors(batches, 21, 2, ignored=[PAD])
    assert vectors.shape == (21, 2) and vectors.dtype == np.float32
    near = vectors @ vectors.T / 2  # cosines: every row has a mean square of 1
    assert near[1:10, 1:10].min() > 0.8 and near[10:19, 10:19].min() > 0.8
    assert near[1:10, 10:19].max() < 0.5
    # In every example, so it tells nothing; padding and a token that never occurs have no vector.
    assert occurrences[19] == 400 and occurrences[PAD] == occurrences[20] == 0
    assert not vectors[[PAD, 20]].any()


def test_equals_the_whole_decomposition_in_float64():
    rng = np.random.default_rng(1)
    ids = np.minimum(rng.geometric(0.15, (300, 8)), 30)
    there = np.zeros((300, 31))
    there[np.arange(300)[:, None], ids] = 1
    counts = there.T @ there
    context = counts.sum(0) ** 0.75
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(counts / counts.sum(1, keepdims=True) / (context / context.sum()))
    information = np.nan_to_num(np.maximum(information, 0))
    left, values, _ = np.linalg.svd(information)
    expected = (left * np.sqrt(values))[:, :6]
    found, _ = cooccurrence_vectors([ids[:100], ids[100:]], 31, 6)
    # Up to the sign of each direction and the length of each row: cosines have neither.
    expected /= np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-9)
    np.testing.assert_allclose(found @ found.T / 6, expected @ expected.T, atol=1e-3)


def test_more_dimensions_than_tokens_and_no_text():
    vectors, _ = cooccurrence_vectors([np.array([[1, 2], [1, 3]])], 4, 8)
    assert vectors.shape == (4, 8) and np.isfinite(vectors).all()
    vectors, occurrences = cooccurrence_vectors([], 4, 8)
    assert not vectors.any() and not occurrences.any()
