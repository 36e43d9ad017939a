"""Logits processors: penalties, forbidden and forced tokens, top-k and top-p.

In: scores (logits, or log-probabilities) float32 `[R, V]`. Out: scores, some of them lowered,
and minus infinity for forbidden tokens. Each follows the logits processor of `transformers` of
the same name, except that the padding of a prompt is ignored (see `penalize`).

R rows, P prompt positions, T = maximum new tokens, S = P + T, V vocabulary.
"""

import numpy as np
from keras import KerasTensor, ops

from tfmodels.generation.settings import Generation

# The number of most likely tokens that are sorted first, which nearly always suffices: to sort
# a whole vocabulary costs more than all other filters together.
FEW = 1024


def penalize(
    scores: KerasTensor, settings: Generation, prompt_ids: KerasTensor, prompt_mask: KerasTensor,
    token_ids: KerasTensor, count: int | KerasTensor, max_tokens: KerasTensor,
) -> KerasTensor:  # fmt: skip
    """Apply the filters that depend on the previous tokens of a row or their number.

    Repetition penalty, n-grams, `min_new_tokens`, forbidden tokens, and last the forced tokens,
    which override the others: the order of `transformers`. But `transformers` counts the padding of
    a prompt as tokens, so the scores differ for padded prompts with a penalty.

    Args:
        scores: float32 `[R, V]`.
        settings: a `Generation`.
        prompt_ids: int32 `[R, P]`, padding left.
        prompt_mask: bool `[R, P]`.
        token_ids: int32 `[R, T]`, the new tokens.
        count: scalar int, number of new tokens so far.
        max_tokens: int32 `[R]`, maximum number of new tokens of each row.

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
    if settings.forbidden_ids:
        is_forbidden = np.isin(np.arange(scores.shape[-1]), settings.forbidden_ids)  # [V]
        scores = ops.where(is_forbidden, -np.inf, scores)
    if settings.forced_first_id is not None:
        scores = ops.where(count == 0, _only(settings.forced_first_id, scores), scores)
    if settings.forced_last_id is not None:
        is_last = ops.expand_dims(max_tokens == count + 1, 1)  # [R, 1]
        scores = ops.where(is_last, _only(settings.forced_last_id, scores), scores)
    return scores


def _only(token_id, scores):
    """Return scores float32 `[V]` that forbid all tokens except this one."""
    is_it = np.arange(scores.shape[-1]) == token_id
    return np.where(is_it, 0, -np.inf).astype("float32")


def repetition_penalty(
    scores: KerasTensor, ids: KerasTensor, real: KerasTensor, penalty: float
) -> KerasTensor:
    """Lower the scores of the previous tokens (Keskar et al. 2019, arXiv:1909.05858).

    Args:
        scores: float32 `[R, V]`.
        ids: int32 `[R, S]`.
        real: bool `[R, S]`, which of the ids count.
        penalty: float, above 0.

    Returns:
        float32 `[R, V]`.
    """
    lower = ops.where(scores < 0, scores * penalty, scores / penalty)
    return ops.where(_occurring(ids, real, scores.shape[-1]), lower, scores)


def no_repeat_ngram(
    scores: KerasTensor, ids: KerasTensor, real: KerasTensor, end: int | KerasTensor, size: int
) -> KerasTensor:
    """Forbid tokens that would repeat an n-gram of the row.

    Args:
        scores: float32 `[R, V]`.
        ids: int32 `[R, S]`.
        real: bool `[R, S]`; n-grams consist of real tokens only.
        end: scalar int, the number of ids before the next one, at most S.
        size: int, number of tokens of an n-gram.

    Returns:
        float32 `[R, V]`.
    """
    length = ops.shape(ids)[1]
    before = ((0, 0), (size - 1, 0))  # a window ends at every position
    padded, is_real = ops.pad(ids, before), ops.pad(real, before, constant_values=False)
    same = real
    for place in range(size - 1):
        # The tokens at this place of all windows, and of the window that ends at the next token.
        token, counts = (x[:, place : place + length] for x in (padded, is_real))
        wanted, known = (ops.take(x, [end + place], axis=1) for x in (padded, is_real))
        same = same & counts & known & (token == wanted)
    return ops.where(_occurring(ids, same, scores.shape[-1]), -np.inf, scores)


def keep_most_likely(
    scores: KerasTensor, top_k: int | KerasTensor = 0, top_p: float | KerasTensor = 1.0
) -> KerasTensor:
    """Forbid all but the most likely tokens: top-k, then top-p among these.

    Tokens as likely as the k-th are kept. Among equally likely tokens at the threshold of
    top-p, those with the lowest ids are kept (Holtzman et al. 2019, arXiv:1904.09751).

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
        """Return the result from the `number` highest scores, and whether these suffice."""
        highest, ids = ops.top_k(scores, number)  # [R, number]
        first_k = ops.arange(number, dtype="int32") < k
        border = ops.min(ops.where(first_k, highest, np.inf), 1, keepdims=True)  # [R, 1]
        border = ops.where(k == size, -np.inf, border)
        by_k = ops.where(scores >= border, scores, -np.inf)
        suffices = ops.logical_or(k <= number, k == size)
        if not any_p:
            return by_k, ops.all(suffices)
        shares = ops.exp(highest - ops.logsumexp(by_k, 1, keepdims=True))
        shares = ops.where(highest >= border, shares, 0.0)
        before = ops.cumsum(shares, 1) - shares
        inside = ops.logical_and(highest >= border, before < p)
        lowest = ops.min(ops.where(inside, highest, np.inf), 1, keepdims=True)
        # `top_k` returns equal scores in the order of their ids.
        last = ops.max(ops.where(inside & (highest == lowest), ids, -1), 1, keepdims=True)
        tie = (scores == lowest) & (ops.arange(size, dtype="int32") <= last)
        by_p = ops.where(ops.logical_or(scores > lowest, tie), scores, -np.inf)
        staying = ops.sum(ops.cast(scores >= border, "int32"), 1, keepdims=True)
        reached = (ops.sum(shares, 1, keepdims=True) >= p) | (staying <= number) | (p >= 1)
        return ops.where(p >= 1, by_k, by_p), ops.all(suffices & reached)

    result, suffices = kept(few)
    if few == size or not any_p and fixed_k:
        return result
    return ops.cond(suffices, lambda: result, lambda: kept(size)[0])


def _occurring(ids, counts, size):
    """Return which ids of the vocabulary occur in `ids` where `counts`: bool `[R, size]`."""
    num_rows, length = ops.shape(ids)
    column = ops.where(counts, ids, size)  # an extra column for the ids that do not count
    row = ops.expand_dims(ops.arange(num_rows, dtype="int32"), 1)
    place = ops.reshape(row * (size + 1) + column, (-1, 1))
    result = ops.zeros((num_rows * (size + 1),), "float32")
    result = ops.scatter_update(result, place, ops.ones((num_rows * length,), "float32"))
    return ops.reshape(result, (num_rows, size + 1))[:, :size] > 0
