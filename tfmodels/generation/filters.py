"""What changes the scores of the next token: penalties, bans, top-k and top-p.

In: scores (logits, or log-probabilities) float32 `[R, V]`. Out: the same with some lower and
those forbidden at minus infinity. Each follows the logits processor of `transformers` of the
same name, except that padding of the prompt is no token there (see `penalize`).

R rows, P prompt positions, T new tokens at most, S = P + T, V vocabulary.
"""

import numpy as np
from keras import KerasTensor, ops

from tfmodels.generation.settings import Generation

# Sorting a vocabulary costs more than all other filters together, and the likeliest tokens
# nearly always suffice.
FEW = 1024


def penalize(
    scores: KerasTensor,
    settings: Generation,
    prompt_ids: KerasTensor,
    prompt_mask: KerasTensor,
    token_ids: KerasTensor,
    count: int | KerasTensor,
    most: KerasTensor,
) -> KerasTensor:
    """What hangs on the tokens a row has, or on their number.

    Repetition penalty, n-grams, `min_new_tokens`, and last the forced tokens: the order of
    `transformers`, so that what is forced overrules the others. It counts the padding of a
    prompt as tokens that the row has; here the real ones count only, so the numbers differ
    where a padded prompt meets a penalty.

    Args:
        scores: float32 `[R, V]`.
        settings: a `Generation`.
        prompt_ids: int32 `[R, P]`, padding left.
        prompt_mask: bool `[R, P]`.
        token_ids: int32 `[R, T]`, the new tokens.
        count: scalar int, how many there are.
        most: int32 `[R]`, the most tokens of each row.

    Returns:
        float32 `[R, V]`.
    """
    if settings.repetition_penalty != 1 or settings.no_repeat_ngram:
        new = ops.broadcast_to(ops.arange(token_ids.shape[1]) < count, ops.shape(token_ids))
        ids = ops.concatenate([prompt_ids, token_ids], 1)  # [R, S]
        real = ops.concatenate([prompt_mask, new], 1)
        if settings.repetition_penalty != 1:
            scores = repetition_penalty(scores, ids, real, settings.repetition_penalty)
        if settings.no_repeat_ngram:
            end = ops.shape(prompt_ids)[1] + count
            scores = no_repeat_ngram(scores, ids, real, end, settings.no_repeat_ngram)
    if settings.min_new_tokens and settings.stop_ids:
        is_stop = np.isin(np.arange(scores.shape[-1]), settings.stop_ids)  # [V]
        forbidden = ops.logical_and(count < settings.min_new_tokens, is_stop)
        scores = ops.where(forbidden, -np.inf, scores)
    if settings.forced_first_id is not None:
        scores = ops.where(count == 0, _only(settings.forced_first_id, scores), scores)
    if settings.forced_last_id is not None:
        is_last = ops.expand_dims(most == count + 1, 1)  # [R, 1]
        scores = ops.where(is_last, _only(settings.forced_last_id, scores), scores)
    return scores


def _only(token_id, scores):
    """Scores float32 `[V]` that leave nothing but this token."""
    is_it = np.arange(scores.shape[-1]) == token_id
    return np.where(is_it, 0, -np.inf).astype("float32")


def repetition_penalty(
    scores: KerasTensor, ids: KerasTensor, real: KerasTensor, penalty: float
) -> KerasTensor:
    """Makes the tokens of a row less likely (Keskar et al. 2019, arXiv:1909.05858).

    Args:
        scores: float32 `[R, V]`.
        ids: int32 `[R, S]`.
        real: bool `[R, S]`, which of the ids count.
        penalty: float, above 0.

    Returns:
        float32 `[R, V]`.
    """
    lower = ops.where(scores < 0, scores * penalty, scores / penalty)
    return ops.where(_found(ids, real, scores.shape[-1]), lower, scores)


def no_repeat_ngram(
    scores: KerasTensor, ids: KerasTensor, real: KerasTensor, end: int | KerasTensor, size: int
) -> KerasTensor:
    """Forbids what would make an n-gram that the row has already.

    Args:
        scores: float32 `[R, V]`.
        ids: int32 `[R, S]`.
        real: bool `[R, S]`; an n-gram holds real tokens only.
        end: scalar int, the number of ids before the next one: `S` or less.
        size: int, tokens of an n-gram.

    Returns:
        float32 `[R, V]`.
    """
    length = ops.shape(ids)[1]
    before = ((0, 0), (size - 1, 0))  # so that a window ends at every position
    padded, is_real = ops.pad(ids, before), ops.pad(real, before, constant_values=False)
    same = real
    for place in range(size - 1):
        # The place in every window, and in the window that the next token will end.
        token, counts = (x[:, place : place + length] for x in (padded, is_real))
        wanted, known = (ops.take(x, [end + place], axis=1) for x in (padded, is_real))
        same = same & counts & known & (token == wanted)
    return ops.where(_found(ids, same, scores.shape[-1]), -np.inf, scores)


def keep_likeliest(
    scores: KerasTensor, top_k: int | KerasTensor = 0, top_p: float | KerasTensor = 1.0
) -> KerasTensor:
    """Forbids all but the likeliest tokens: first top-k, then of these top-p.

    Tokens as likely as the k-th stay. Of equally likely ones at the border of top-p the first
    of the vocabulary stay, as many as it takes (Holtzman et al. 2019, arXiv:1904.09751).

    Args:
        scores: float32 `[R, V]`.
        top_k: int, or int32 `[R]`; 0 (or less) keeps all.
        top_p: float, or float32 `[R]`, above 0; 1 (or more) keeps all.

    Returns:
        float32 `[R, V]`.
    """
    size = scores.shape[-1]
    fixed_k, any_p = isinstance(top_k, int), not (isinstance(top_p, float | int) and top_p >= 1)
    if fixed_k and not top_k and not any_p:
        return scores
    few = min(size, top_k if fixed_k and top_k else FEW)
    k = ops.reshape(ops.convert_to_tensor(top_k, "int32"), (-1, 1))  # [R or 1, 1]
    k = ops.where(ops.logical_or(k <= 0, k > size), size, k)
    p = ops.reshape(ops.convert_to_tensor(top_p, "float32"), (-1, 1))

    def kept(number):
        """The result from the `number` highest scores, and whether these suffice."""
        highest, ids = ops.top_k(scores, number)  # [R, number]
        first_k = ops.arange(number, dtype="int32") < k
        border = ops.min(ops.where(first_k, highest, np.inf), 1, keepdims=True)  # [R, 1]
        border = ops.where(k == size, -np.inf, border)
        found = ops.where(scores >= border, scores, -np.inf)
        suffices = ops.logical_or(k <= number, k == size)
        if not any_p:
            return found, ops.all(suffices)
        shares = ops.exp(highest - ops.logsumexp(found, 1, keepdims=True))
        shares = ops.where(highest >= border, shares, 0.0)
        before = ops.cumsum(shares, 1) - shares
        inside = ops.logical_and(highest >= border, before < p)
        lowest = ops.min(ops.where(inside, highest, np.inf), 1, keepdims=True)
        # Equal scores come in the order of the vocabulary.
        last = ops.max(ops.where(inside & (highest == lowest), ids, -1), 1, keepdims=True)
        tie = (scores == lowest) & (ops.arange(size, dtype="int32") <= last)
        by_p = ops.where(ops.logical_or(scores > lowest, tie), scores, -np.inf)
        staying = ops.sum(ops.cast(scores >= border, "int32"), 1, keepdims=True)
        reached = (ops.sum(shares, 1, keepdims=True) >= p) | (staying <= number) | (p >= 1)
        return ops.where(p >= 1, found, by_p), ops.all(suffices & reached)

    found, suffices = kept(few)
    if few == size or not any_p and fixed_k:
        return found
    return ops.cond(suffices, lambda: found, lambda: kept(size)[0])


def _found(ids, counts, size):
    """Which entries of the vocabulary are among the ids that count: bool `[R, size]`."""
    num_rows, length = ops.shape(ids)
    column = ops.where(counts, ids, size)  # one column more, for those that do not count
    row = ops.expand_dims(ops.arange(num_rows, dtype="int32"), 1)
    place = ops.reshape(row * (size + 1) + column, (-1, 1))
    found = ops.zeros((num_rows * (size + 1),), "float32")
    found = ops.scatter_update(found, place, ops.ones((num_rows * length,), "float32"))
    return ops.reshape(found, (num_rows, size + 1))[:, :size] > 0
