"""The linear-chain conditional random field (Lafferty et al. 2001) over the words of a text.

In: emissions float `[B, W, C]` (any logits), and a bool mask `[B, W]` of the words, which
are a prefix of each row. Out: log-likelihoods, best tags, marginal probabilities, all computed
in float32. W is the number of words of the longest row, C the number of tags.

The score of the tags `y` of a row with words `0..n` is

    start[y_0] + sum_t emissions[t, y_t] + sum_t transitions[y_t-1, y_t] + end[y_n]

and their probability is its softmax over all sequences. The names of the tags determine which
tags may follow each other (`iob2_constraints`).
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import KerasTensor, ops

from tfmodels.layers.kernels import MASKED_SCORE, take_positions


class CrfScores(NamedTuple):
    """The scores of a CRF besides the emissions, or bools: which tags are allowed.

    Attributes:
        start: `[C]`, of the first tag.
        transitions: `[C, C]`, from a tag (first axis) to the next one.
        end: `[C]`, of the last tag.
    """

    start: np.ndarray
    transitions: np.ndarray
    end: np.ndarray


def iob2_constraints(labels: Iterable[str]) -> CrfScores:
    """Return what the IOB2 scheme allows: I-X only after B-X or I-X, other tags anywhere.

    Args:
        labels: the C names of the tags, in order. Names that do not start with `I-` are
            allowed anywhere, so other schemes than IOB2 are not constrained; nor is an I-X
            without a B-X among them.

    Returns:
        `CrfScores` of bool arrays, `True` = allowed.

    Raises:
        ValueError: if a name is duplicated.
    """
    labels = list(labels)
    if len(set(labels)) < len(labels):
        raise ValueError(f"each label must be there once, got {labels}")
    inside = np.array([f"B-{name[2:]}" in labels and name.startswith("I-") for name in labels])
    transitions = np.tile(~inside, (len(labels), 1))
    for to in np.flatnonzero(inside).tolist():
        transitions[[labels.index(f"B-{labels[to][2:]}"), to], to] = True
    return CrfScores(~inside, transitions, np.ones(len(labels), bool))


def penalties(labels: Sequence[str] | None, num_labels: int) -> CrfScores:
    """Return the constraints as scores: 0 where `iob2_constraints` allows, else -1e9.

    They are finite because the difference of two infinite scores is NaN.

    Args:
        labels: names of the tags, or `None` for no constraints.
        num_labels: C.

    Returns:
        `CrfScores` of float32 arrays.

    Raises:
        ValueError: if there are not C names, and as in `iob2_constraints`.
    """
    if labels is None:
        shapes = ((num_labels,), (num_labels, num_labels), (num_labels,))
        return CrfScores(*(np.zeros(shape, "float32") for shape in shapes))
    if len(labels) != num_labels:
        raise ValueError(f"num_labels is {num_labels}, but labels has {len(labels)}: {labels}")
    allowed = iob2_constraints(labels)
    return CrfScores(*(np.where(part, 0.0, MASKED_SCORE).astype("float32") for part in allowed))


def viterbi(emissions: KerasTensor, mask: KerasTensor | None, crf_scores: CrfScores) -> KerasTensor:
    """Return the best sequence of tags of each row (Viterbi 1967).

    With `penalties` as `crf_scores`, these are the best tags that the scheme allows, also for
    a model that was trained without a CRF.

    Args:
        emissions: float `[B, W, C]`.
        mask: bool `[B, W]`, `True` at words, a prefix of each row; `None` for all words.
        crf_scores: `CrfScores` of float32.

    Returns:
        int32 `[B, W]`; -1 where there is no word.
    """
    emissions, mask = _with_spare(emissions, mask)
    scores = _scores(emissions, mask, crf_scores.start, crf_scores.end)
    num_tags = scores.shape[-1]
    transitions = ops.expand_dims(ops.convert_to_tensor(crf_scores.transitions), 0)  # [1, C, C]
    best = _recursion(scores, transitions, ops.max)  # [B, W, C]
    # For each tag of the next word, the best tag before it; after the last word, the same tag.
    pointers = ops.argmax(ops.expand_dims(best, -1) + ops.expand_dims(transitions, 1), axis=2)
    pointers = ops.cast(pointers, "int32")
    follows = ops.concatenate([mask[:, 1:], ops.zeros_like(mask[:, :1])], 1)  # [B, W]
    follows = ops.expand_dims(follows, -1)
    pointers = ops.where(follows, pointers, ops.arange(num_tags, dtype="int32"))

    def step(tag, pointer):  # [B], [B, C]
        tag = ops.sum(pointer * ops.one_hot(tag, num_tags, dtype="int32"), -1)
        return tag, tag

    last = take_positions(best, ops.maximum(_last(mask), 0))[:, 0]  # [B, C]
    last = ops.cast(ops.argmax(last, -1), "int32")
    _, tags = ops.scan(step, last, ops.transpose(pointers, (1, 0, 2)), reverse=True)  # [W, B]
    return ops.where(mask, ops.transpose(tags), -1)[:, :-1]


@keras.saving.register_keras_serializable("tfmodels")
class CRF(keras.layers.Layer):
    """The weights of a conditional random field, its likelihood, decoding and marginals.

    It is not called: the loss and the predictions of a model pass the emissions to its methods.
    The weights start at 0, which equals a separate softmax for each word, and are float32 under
    every dtype policy.

    Args:
        num_labels: C.
        labels: the C names of the tags. If given, tags that `iob2_constraints` forbid have
            probability 0.

    Raises:
        ValueError: see `penalties`.
    """

    def __init__(self, num_labels: int, labels: Iterable[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_labels = num_labels
        self.labels = None if labels is None else tuple(labels)
        self.penalties = penalties(self.labels, num_labels)

    def build(self, emissions_shape: tuple | None = None) -> None:
        count = self.num_labels
        kind = {"initializer": "zeros", "dtype": "float32", "autocast": False}
        self.transitions = self.add_weight((count, count), name="transitions", **kind)
        self.start = self.add_weight((count,), name="start", **kind)
        self.end = self.add_weight((count,), name="end", **kind)

    def log_likelihood(
        self, emissions: KerasTensor, labels: KerasTensor, mask: KerasTensor | None = None
    ) -> KerasTensor:
        """Return the log-likelihood of the labels, with its exact first gradient.

        Words without a label are summed over: the likelihood is that of all sequences with
        the known labels. Rows whose labels contradict the constraints are computed without
        constraints, since their loss would be infinite.

        Higher derivatives are not those of the log-likelihood.

        Args:
            emissions: float `[B, W, C]`.
            labels: int `[B, W]`; negative = unknown.
            mask: bool `[B, W]`, `True` at words, a prefix of each row; defaults to all `True`.

        Returns:
            float32 `[B]`; 0 for a row without words.
        """
        emissions, mask = _with_spare(emissions, mask)
        labels = ops.pad(ops.cast(labels, "int32"), ((0, 0), (0, 1)), constant_values=-1)
        labels = ops.where(mask, labels, -1)
        chosen = ops.one_hot(labels, self.num_labels, dtype="float32")  # [B, W, C]
        crf_scores = self._crf_scores(self._is_allowed(chosen, mask))
        scores = _scores(emissions, mask, crf_scores.start, crf_scores.end)
        # One recursion for both sums: over all sequences, and over those with the labels.
        unknown = ops.expand_dims(labels < 0, -1)
        given = ops.where(ops.logical_or(unknown, chosen > 0), scores, MASKED_SCORE)
        two = [ops.concatenate([x, x]) for x in (crf_scores.transitions, mask)]
        log_sums, tags, moves = _posterior(ops.concatenate([scores, given]), *two)
        of_all, of_given = ops.split(log_sums, 2)
        value = ops.where(ops.any(mask, 1), of_given - of_all, 0.0)
        # The derivative of a log-sum over sequences by a score is the expected number of its
        # uses. So there is no backpropagation through the recursion: the gradient is that of
        # the expected score, with constant expectations.
        tags, moves = (x[1] - x[0] for x in (ops.split(tags, 2), ops.split(moves, 2)))
        expected = ops.sum(tags * _with_ends(emissions, mask, self.start, self.end), (1, 2))
        expected = expected + ops.sum(moves * self.transitions, (1, 2))
        return value + (expected - ops.stop_gradient(expected))

    def decode(self, emissions: KerasTensor, mask: KerasTensor | None = None) -> KerasTensor:
        """Return the best tags int32 `[B, W]` under the constraints, see `viterbi`."""
        return viterbi(emissions, mask, self._crf_scores())

    def marginals(self, emissions: KerasTensor, mask: KerasTensor | None = None) -> KerasTensor:
        """Return the marginal probability of each tag of each word, without gradient.

        Args:
            emissions: as in `log_likelihood`.
            mask: as in `log_likelihood`.

        Returns:
            float32 `[B, W, C]`; 0 where there is no word.
        """
        emissions, mask = _with_spare(emissions, mask)
        crf_scores = self._crf_scores(ops.ones_like(mask[:, 0]))
        scores = _scores(emissions, mask, crf_scores.start, crf_scores.end)
        return _posterior(scores, crf_scores.transitions, mask)[1][:, :-1]

    def _crf_scores(self, constrained=None):
        """Return weights plus penalties; per row if `constrained`, a bool `[B]`, is given."""
        weights = CrfScores(self.start, self.transitions, self.end)
        if constrained is None:
            return CrfScores(*(w + p for w, p in zip(weights, self.penalties, strict=True)))
        constrained = ops.reshape(ops.cast(constrained, "float32"), (-1, 1, 1))  # [B, 1, 1]
        pairs = zip(weights, self.penalties, strict=True)
        return CrfScores(*(w + constrained * p for w, p in pairs))

    def _is_allowed(self, chosen, mask):
        """Return whether the known tags satisfy the constraints: bool `[B]`."""
        ends = _with_ends(ops.zeros_like(chosen), mask, self.penalties.start, self.penalties.end)
        after = ops.matmul(chosen[:, :-1], self.penalties.transitions)  # [B, W - 1, C]
        total = ops.sum(chosen * ends, (1, 2)) + ops.sum(after * chosen[:, 1:], (1, 2))
        return total > MASKED_SCORE / 2

    def get_config(self) -> dict:
        labels = None if self.labels is None else list(self.labels)
        return {**super().get_config(), "num_labels": self.num_labels, "labels": labels}


def _with_spare(emissions, mask):
    """Return float32 emissions and bool mask, one position longer so that W is never 0."""
    emissions = ops.cast(emissions, "float32")
    mask = ops.ones(ops.shape(emissions)[:2], "bool") if mask is None else ops.cast(mask, "bool")
    spare = ((0, 0), (0, 1))
    return ops.pad(emissions, (*spare, (0, 0))), ops.pad(mask, spare, constant_values=False)


def _scores(emissions, mask, start, end):
    """Return the scores of each word except transitions, float32 `[B, W, C]`, without gradient.

    The emissions become log-probabilities: a constant added at a word changes nothing, and
    sums over many words stay small enough for float32.
    """
    emissions = ops.log_softmax(emissions)
    emissions = ops.where(ops.expand_dims(mask, -1), emissions, 0.0)
    return ops.stop_gradient(_with_ends(emissions, mask, start, end))


def _with_ends(emissions, mask, start, end):
    """Return `emissions` plus `start` at the first word and `end` at the last (`[..., C]`)."""
    position = ops.arange(ops.shape(mask)[1], dtype="int32")
    is_first = ops.cast(ops.reshape(position == 0, (1, -1, 1)), "float32")
    is_last = ops.cast(ops.expand_dims(position == _last(mask), -1), "float32")  # [B, W, 1]
    return emissions + is_first * start + is_last * end


def _last(mask):
    """Return the index of the last word of each row, int32 `[B, 1]`; -1 if there is none."""
    return ops.sum(ops.cast(mask, "int32"), 1, keepdims=True) - 1


def _recursion(scores, transitions, reduce):
    """Return for each word and tag `reduce` of the scores of all sequences that end there.

    Scores `[B, W, C]` and transitions `[B, C, C]` or `[1, C, C]` give float32 `[B, W, C]`, which
    is undefined after the last word; `reduce` is `ops.max` or `ops.logsumexp`.
    """
    transitions = ops.stop_gradient(transitions)

    def step(before, score):  # [B, C]
        return score + reduce(ops.expand_dims(before, -1) + transitions, 1), before

    # Each step outputs its input, so the first word needs no special case.
    following = ops.concatenate([scores[:, 1:], scores[:, :1]], 1)
    _, result = ops.scan(step, scores[:, 0], ops.transpose(following, (1, 0, 2)))  # [W, B, C]
    return ops.transpose(result, (1, 0, 2))


def _posterior(scores, transitions, mask):
    """Return sums over all sequences (forward-backward, Rabiner 1989), without gradients.

    Scores `[B, W, C]`, transitions `[B, C, C]` and a mask `[B, W]` give the log partition function
    float32 `[B]`, the probability of each tag of each word `[B, W, C]`, and the expected number of
    uses of each transition `[B, C, C]`.
    """
    transitions = ops.stop_gradient(transitions)
    position = ops.arange(ops.shape(mask)[1], dtype="int32")
    reverse = ops.where(mask, _last(mask) - position, position)  # [B, W]; its own inverse
    # Backward is forward over the reversed words, so both run in one loop.
    both = _recursion(
        ops.concatenate([scores, take_positions(scores, reverse)]),
        ops.concatenate([transitions, ops.transpose(transitions, (0, 2, 1))]),
        ops.logsumexp,
    )
    forward, backward = ops.split(both, 2)
    backward = take_positions(backward, reverse)
    # Both contain the score of the word itself.
    tags = ops.softmax(forward + backward - scores)
    tags = ops.where(ops.expand_dims(mask, -1), tags, 0.0)
    moves = ops.expand_dims(forward[:, :-1], -1) + ops.expand_dims(transitions, 1)
    moves = moves + ops.expand_dims(backward[:, 1:], -2)  # [B, W - 1, C, C]
    moves = ops.exp(moves - ops.logsumexp(moves, (2, 3), keepdims=True))
    follows = ops.expand_dims(ops.expand_dims(mask[:, 1:], -1), -1)
    moves = ops.sum(ops.where(follows, moves, 0.0), 1)
    return ops.logsumexp(backward[:, 0], -1), tags, moves
