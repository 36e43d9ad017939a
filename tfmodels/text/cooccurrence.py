"""Vectors of tokens from their co-occurrence in texts: initial embeddings.

In: examples of token ids. Out: a vector for each token, and the number of its examples. The
matrix of positive pointwise mutual information, its contexts smoothed, is reduced to its largest
singular values: Levy, Goldberg and Dagan 2015 ("Improving distributional similarity with lessons
learned from word embeddings"), with a whole example as the window. So words that are used in the
same texts are near each other after one reading, where a masked language model needs hours to
learn more than the frequencies of single words.

E = examples, B = examples of a batch, S = tokens of an example, V = vocabulary, C = contexts,
D = dimensions.
"""

from collections.abc import Iterable

import numpy as np

# Contexts are the most frequent tokens; V x C float32 take at most 1 GB.
MAX_COUNTS = 2**28
SMOOTHING = 0.75
# Additional columns and rounds of the randomized decomposition (Halko, Martinsson and Tropp 2011).
OVERSAMPLED, ROUNDS = 32, 4


def cooccurrence_vectors(
    batches: Iterable[np.ndarray],
    vocabulary_size: int,
    dimension: int,
    ignored: Iterable[int] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of tokens, from the examples that contain them.

    Args:
        batches: int arrays `[B, S]`.
        vocabulary_size: V.
        dimension: D.
        ignored: ids that do not count, for example of padding.

    Returns:
        pair of float32 `[V, D]` and int64 `[V]`: vectors whose entries have a mean square of 1,
        or are 0 for a token without neighbours; and the number of examples of each token.
    """
    indicators = _indicators(batches, vocabulary_size, ignored)  # [E, V]
    occurrences = np.asarray(indicators.sum(0)).ravel().astype(np.int64)
    number = min(MAX_COUNTS // vocabulary_size, vocabulary_size)
    contexts = np.argsort(-occurrences, kind="stable")[:number]
    counts = (indicators.T @ indicators[:, contexts]).toarray()  # [V, C]
    vectors = _left_vectors(_positive_information(counts), dimension)
    scale = np.sqrt(np.mean(vectors**2, axis=1, keepdims=True))
    return np.where(scale > 1e-6, vectors / np.maximum(scale, 1e-6), 0.0), occurrences


def _indicators(batches, vocabulary_size, ignored):
    """Return whether an example contains a token: sparse float32 `[E, V]` of 1 and 0."""
    from scipy import sparse

    keep = np.ones(vocabulary_size, bool)
    keep[list(ignored)] = False
    rows, tokens, number = [], [], 0
    for ids in batches:
        row, place = np.nonzero(keep[ids])
        rows.append(row + number)
        tokens.append(ids[row, place])
        number += len(ids)
    shape = (number, vocabulary_size)
    if not number:
        return sparse.csr_matrix(shape, dtype=np.float32)
    rows, tokens = np.concatenate(rows), np.concatenate(tokens)
    indicators = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, tokens)), shape=shape)
    indicators.data[:] = 1.0  # the constructor adds up repeated tokens
    return indicators


def _positive_information(counts):
    """Replace counts by `max(0, log p(token, context) / (p(token) q(context)))`."""
    tokens = counts.sum(1, keepdims=True)
    contexts = counts.sum(0, keepdims=True) ** SMOOTHING
    contexts /= max(contexts.sum(), 1e-12)
    counts /= np.maximum(tokens * contexts, 1e-12)
    np.maximum(counts, 1.0, out=counts)
    return np.log(counts, out=counts)


def _left_vectors(matrix, dimension):
    """Return the left singular vectors times the roots of the singular values, float32 `[V, D]`."""
    wide = min(dimension + OVERSAMPLED, *matrix.shape)
    start = np.random.default_rng(0).standard_normal((matrix.shape[1], wide), np.float32)
    for _ in range(ROUNDS):
        start, _ = np.linalg.qr(matrix.T @ np.linalg.qr(matrix @ start)[0])
    left, values, _ = np.linalg.svd(matrix @ start, full_matrices=False)
    vectors = (left * np.sqrt(values))[:, :dimension]
    return np.pad(vectors, [(0, 0), (0, dimension - vectors.shape[1])])
