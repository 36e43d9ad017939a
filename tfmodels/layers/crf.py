"""The linear-chain conditional random field (Lafferty et al. 2001) over the words of a text.

In: emissions float `[B, W, C]` (any logits), and a bool mask `[B, W]` of the words, which
are a prefix of each row. Out: log-likelihoods, best tags, marginal probabilities; all of it
computed in float32. W is the number of words of the longest row; C tags.

The score of the tags `y` of a row with words `0..n` is

    start[y_0] + sum_t emissions[t, y_t] + sum_t transitions[y_t-1, y_t] + end[y_n]

and their probability is the softmax of that over all sequences. Which tags may follow each
other is said by the names of the tags (`iob2_constraints`).
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import KerasTensor, ops

from tfmodels.layers.kernels import MASKED_SCORE, take_positions


class Chain(NamedTuple):
    """What is said about a tag for its neighbours' sake: scores, or whether it is allowed.

    Attributes:
        start: `[C]`, of a first tag.
        transitions: `[C, C]`, of a tag (first axis) and the one that follows it.
        end: `[C]`, of a last tag.
    """

    start: np.ndarray
    transitions: np.ndarray
    end: np.ndarray


def iob2_constraints(labels: Iterable[str]) -> Chain:
    """What the IOB2 scheme allows: I-X only after B-X or I-X, all else anywhere.

    Args:
        labels: the C names of the tags in their order. Those that do not start with `I-`
            may stand anywhere, so names that are not IOB2 at all are not constrained.

    Returns:
        `Chain` of bool arrays, `True` = allowed.

    Raises:
        ValueError: if a name is there twice, or I-X without B-X, which could never be used.
    """
    labels = list(labels)
    if len(set(labels)) < len(labels):
        raise ValueError(f"each label must be there once, got {labels}")
    inside = np.array([label.startswith("I-") for label in labels])
    transitions = np.tile(~inside, (len(labels), 1))
    for to in np.flatnonzero(inside).tolist():
        begin = f"B-{labels[to][2:]}"
        if begin not in labels:
            raise ValueError(f"label {labels[to]!r} needs {begin!r} beside it, got {labels}")
        transitions[[labels.index(begin), to], to] = True
    return Chain(~inside, transitions, np.ones(len(labels), bool))


def penalties(labels: Sequence[str] | None, num_labels: int) -> Chain:
    """The constraints as scores: 0 where `iob2_constraints` allows, else -1e9.

    Finite, because of two infinite scores the difference is no number.

    Args:
        labels: names of the tags, or `None` for no constraints.
        num_labels: C.

    Returns:
        `Chain` of float32 arrays.

    Raises:
        ValueError: if there are not C names, and as `iob2_constraints`.
    """
    if labels is None:
        shapes = ((num_labels,), (num_labels, num_labels), (num_labels,))
        return Chain(*(np.zeros(shape, "float32") for shape in shapes))
    if len(labels) != num_labels:
        raise ValueError(f"num_labels is {num_labels}, but labels has {len(labels)}: {labels}")
    allowed = iob2_constraints(labels)
    return Chain(*(np.where(part, 0.0, MASKED_SCORE).astype("float32") for part in allowed))


def viterbi(emissions: KerasTensor, mask: KerasTensor | None, chain: Chain) -> KerasTensor:
    """The best tags (Viterbi 1967).

    With the `penalties` as the chain, these are the best tags that the scheme allows, also
    for a model that was trained without a chain.

    Args:
        emissions: float `[B, W, C]`.
        mask: bool `[B, W]`, `True` at words, a prefix of each row; `None` for all words.
        chain: `Chain` of float32 scores.

    Returns:
        int32 `[B, W]`; -1 where there is no word.
    """
    emissions, mask = _with_spare(emissions, mask)
    scores = _scores(emissions, mask, chain.start, chain.end)
    num_tags = scores.shape[-1]
    transitions = ops.expand_dims(ops.convert_to_tensor(chain.transitions), 0)  # [1, C, C]
    best = _recursion(scores, transitions, ops.max)  # [B, W, C]
    # Of each tag of the word after, the tag before it; after the last word, the same tag.
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
    """The weights of a chain, and what can be asked of it.

    It is not called: a model gives the emissions, and its loss and its answers ask here.
    The weights start at 0, where the chain is one softmax a word, and are float32 under
    every policy.

    Args:
        num_labels: C.
        labels: the C names of the tags. If given, `iob2_constraints` hold: what they
            forbid has probability 0, whatever the weights.

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
        """How probable the labels are, and the exact gradient of that.

        A word without a label is summed over: the probability is that of all sequences
        with the labels that there are. A row whose labels contradict the constraints is
        judged without them, because with them its loss would be infinite and say nothing.

        The second derivative is not that of the log-likelihood.

        Args:
            emissions: float `[B, W, C]`.
            labels: int `[B, W]`; negative = not known.
            mask: bool `[B, W]`, `True` at words, a prefix of each row; all if not given.

        Returns:
            float32 `[B]`; 0 for a row without words.
        """
        emissions, mask = _with_spare(emissions, mask)
        labels = ops.pad(ops.cast(labels, "int32"), ((0, 0), (0, 1)), constant_values=-1)
        labels = ops.where(mask, labels, -1)
        chosen = ops.one_hot(labels, self.num_labels, dtype="float32")  # [B, W, C]
        chain = self._chain(self._obeys(chosen, mask))
        scores = _scores(emissions, mask, chain.start, chain.end)
        # One recursion for both sums: over all sequences, and over those with the labels.
        unknown = ops.expand_dims(labels < 0, -1)
        given = ops.where(ops.logical_or(unknown, chosen > 0), scores, MASKED_SCORE)
        two = [ops.concatenate([x, x]) for x in (chain.transitions, mask)]
        log_sums, tags, moves = _posterior(ops.concatenate([scores, given]), *two)
        of_all, of_given = ops.split(log_sums, 2)
        value = ops.where(ops.any(mask, 1), of_given - of_all, 0.0)
        # The derivative of the log of a sum over sequences by a score is how often it is
        # expected to be used. So the gradient needs no way back through the recursion: it
        # is that of the expected score, the expectation held fast.
        tags, moves = (x[1] - x[0] for x in (ops.split(tags, 2), ops.split(moves, 2)))
        expected = ops.sum(tags * _with_ends(emissions, mask, self.start, self.end), (1, 2))
        expected = expected + ops.sum(moves * self.transitions, (1, 2))
        return value + (expected - ops.stop_gradient(expected))

    def decode(self, emissions: KerasTensor, mask: KerasTensor | None = None) -> KerasTensor:
        """The best tags int32 `[B, W]`, see `viterbi`; they keep the constraints."""
        return viterbi(emissions, mask, self._chain())

    def marginals(self, emissions: KerasTensor, mask: KerasTensor | None = None) -> KerasTensor:
        """The probability of each tag of each word, over all sequences; has no gradient.

        Args:
            emissions: as of `log_likelihood`.
            mask: as of `log_likelihood`.

        Returns:
            float32 `[B, W, C]`; 0 where there is no word.
        """
        emissions, mask = _with_spare(emissions, mask)
        chain = self._chain(ops.ones_like(mask[:, 0]))
        scores = _scores(emissions, mask, chain.start, chain.end)
        return _posterior(scores, chain.transitions, mask)[1][:, :-1]

    def _chain(self, obeys=None):
        """The scores with the penalties; of each row, if bool `[B]` says which obey them."""
        weights = Chain(self.start, self.transitions, self.end)
        if obeys is None:
            return Chain(*(w + p for w, p in zip(weights, self.penalties, strict=True)))
        obeys = ops.reshape(ops.cast(obeys, "float32"), (-1, 1, 1))  # [B, 1, 1]
        return Chain(*(w + obeys * p for w, p in zip(weights, self.penalties, strict=True)))

    def _obeys(self, chosen, mask):
        """Whether what is known of the tags keeps the constraints: bool `[B]`."""
        ends = _with_ends(ops.zeros_like(chosen), mask, self.penalties.start, self.penalties.end)
        after = ops.matmul(chosen[:, :-1], self.penalties.transitions)  # [B, W - 1, C]
        found = ops.sum(chosen * ends, (1, 2)) + ops.sum(after * chosen[:, 1:], (1, 2))
        return found > MASKED_SCORE / 2

    def get_config(self) -> dict:
        labels = None if self.labels is None else list(self.labels)
        return {**super().get_config(), "num_labels": self.num_labels, "labels": labels}


def _with_spare(emissions, mask):
    """float32 emissions and bool mask, one position longer: not even no words are empty."""
    emissions = ops.cast(emissions, "float32")
    mask = ops.ones(ops.shape(emissions)[:2], "bool") if mask is None else ops.cast(mask, "bool")
    spare = ((0, 0), (0, 1))
    return ops.pad(emissions, (*spare, (0, 0))), ops.pad(mask, spare, constant_values=False)


def _scores(emissions, mask, start, end):
    """All scores of one word, float32 `[B, W, C]`; without gradient.

    As log-probabilities: a constant more or less at a word changes nothing, and sums over
    many words stay small, where float32 is exact.
    """
    emissions = ops.log_softmax(emissions)
    emissions = ops.where(ops.expand_dims(mask, -1), emissions, 0.0)
    return ops.stop_gradient(_with_ends(emissions, mask, start, end))


def _with_ends(emissions, mask, start, end):
    """`emissions` with `start` added at the first word and `end` at the last (`[..., C]`)."""
    position = ops.arange(ops.shape(mask)[1], dtype="int32")
    is_first = ops.cast(ops.reshape(position == 0, (1, -1, 1)), "float32")
    is_last = ops.cast(ops.expand_dims(position == _last(mask), -1), "float32")  # [B, W, 1]
    return emissions + is_first * start + is_last * end


def _last(mask):
    """The index of the last word of each row, int32 `[B, 1]`; -1 if there is none."""
    return ops.sum(ops.cast(mask, "int32"), 1, keepdims=True) - 1


def _recursion(scores, transitions, reduce):
    """For each word and tag, `reduce` of the scores of the ways there, itself included.

    Scores `[B, W, C]` and transitions `[B, C, C]` or `[1, C, C]` give float32 `[B, W, C]`, which
    means nothing after the last word; `reduce` is `ops.max` or `ops.logsumexp`.
    """
    transitions = ops.stop_gradient(transitions)

    def step(before, score):  # [B, C]
        return score + reduce(ops.expand_dims(before, -1) + transitions, 1), before

    # Each step gives what it was given, so that the first word needs no step of its own.
    following = ops.concatenate([scores[:, 1:], scores[:, :1]], 1)
    _, found = ops.scan(step, scores[:, 0], ops.transpose(following, (1, 0, 2)))  # [W, B, C]
    return ops.transpose(found, (1, 0, 2))


def _posterior(scores, transitions, mask):
    """The sums over all sequences (forward-backward, Rabiner 1989), without gradients.

    Scores `[B, W, C]`, transitions `[B, C, C]` and a mask `[B, W]` give the log of the sum float32
    `[B]`, the probability of each tag of each word `[B, W, C]`, and the expected number of times
    that each tag follows each `[B, C, C]`.
    """
    transitions = ops.stop_gradient(transitions)
    position = ops.arange(ops.shape(mask)[1], dtype="int32")
    reverse = ops.where(mask, _last(mask) - position, position)  # [B, W]; its own inverse
    # Backward is forward over the reversed words, and both are one loop.
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
