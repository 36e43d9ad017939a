"""Vectors of tokens from how often they stand in the same text: a start for embeddings.

In: examples of token ids. Out: a vector for each token, and how often each token occurred. The
matrix of positive pointwise mutual information, its contexts smoothed, cut down to its largest
singular values: Levy, Goldberg and Dagan 2015 ("Improving distributional similarity with lessons
learned from word embeddings"), with a whole example as the window. Words that are said of the same
things, and in the same mood, lie near each other after one reading of the text, where a masked
language model needs hours to leave the frequencies of single words behind.

E examples, B of a batch, S tokens of an example, V vocabulary, C contexts, D dimensions.
"""

import numpy as np

# Contexts are the commonest tokens, as many as keep V x C float32 at 1 GB.
MOST_COUNTS = 2**28
SMOOTHING = 0.75
# Of the randomized decomposition (Halko, Martinsson and Tropp 2011): columns more than are asked
# for, and rounds.
OVERSAMPLED, ROUNDS = 32, 4


def cooccurrence_vectors(batches, vocabulary_size, dimension, ignored=(), seed=0):
    """Vectors of tokens, from the examples that they stand in.

    Args:
        batches: iterable of int arrays `[B, S]`.
        vocabulary_size: V.
        dimension: D.
        ignored: ids that do not count, for example of padding.
        seed: of the decomposition.

    Returns:
        pair of float32 `[V, D]` and int64 `[V]`: vectors whose entries have a mean square of 1,
        or are 0 for a token that stands beside no other; and how many examples each token is in.
    """
    indicators = _indicators(batches, vocabulary_size, ignored)  # [E, V]
    occurrences = np.asarray(indicators.sum(0)).ravel().astype(np.int64)
    most = min(MOST_COUNTS // vocabulary_size, vocabulary_size)
    contexts = np.argsort(-occurrences, kind="stable")[:most]
    counts = (indicators.T @ indicators[:, contexts]).toarray()  # [V, C]
    vectors = _left_vectors(_positive_information(counts), dimension, seed)
    scale = np.sqrt(np.mean(vectors**2, axis=1, keepdims=True))
    return np.where(scale > 1e-6, vectors / np.maximum(scale, 1e-6), 0.0), occurrences


def _indicators(batches, vocabulary_size, ignored):
    """Whether a token stands in an example: sparse float32 `[E, V]` of 1 and 0."""
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
    found = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, tokens)), shape=shape)
    found.data[:] = 1.0  # the constructor has added up a token that stands there twice
    return found


def _positive_information(counts):
    """`max(0, log p(token, context) / (p(token) q(context)))`, in the place of the counts."""
    tokens = counts.sum(1, keepdims=True)
    contexts = counts.sum(0, keepdims=True) ** SMOOTHING
    contexts /= max(contexts.sum(), 1e-12)
    counts /= np.maximum(tokens * contexts, 1e-12)
    np.maximum(counts, 1.0, out=counts)
    return np.log(counts, out=counts)


def _left_vectors(matrix, dimension, seed):
    """The left singular vectors times the roots of the singular values: float32 `[V, D]`."""
    wide = min(dimension + OVERSAMPLED, *matrix.shape)
    start = np.random.default_rng(seed).standard_normal((matrix.shape[1], wide), np.float32)
    for _ in range(ROUNDS):
        start, _ = np.linalg.qr(matrix.T @ np.linalg.qr(matrix @ start)[0])
    left, values, _ = np.linalg.svd(matrix @ start, full_matrices=False)
    vectors = (left * np.sqrt(values))[:, :dimension]
    return np.pad(vectors, [(0, 0), (0, dimension - vectors.shape[1])])
