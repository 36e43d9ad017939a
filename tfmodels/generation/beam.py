"""Beam search: an approximation of the most likely continuation.

In: the logits of the first new token and a `step` that returns those of the next; its state is
repeated and reordered along the first axis, but for what the beams of a row share. Out: the best
sequence of each row and its score.
Follows `transformers`' beam search: it keeps the `num_beams` best ended sequences besides the
running ones, and stops if the score of the best running one, at its current length, does not
exceed the worst of these; with `early_stopping`, as soon as `num_beams` sequences have ended.

B = rows, n = beams, K = candidates, R = B * n, T = maximum new tokens, V vocabulary.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import KerasTensor, ops

from tfmodels.generation.filters import penalize
from tfmodels.generation.rows import Generated, Rows, has_ended, put
from tfmodels.generation.settings import Generation

# Added to the score of forbidden candidates; finite as in `transformers`.
NEVER = -1e9
PART = 128  # of a vocabulary, see `highest`


class BeamCarry(NamedTuple):
    """The loop variables, of fixed shapes."""

    count: Any  # int32 scalar, tokens so far
    token_ids: Any  # int32 [B, n, T], running sequences, best first
    log_probs: Any  # float32 [B, n]
    ended_ids: Any  # int32 [B, n, T], ended sequences, best first
    ended_scores: Any  # float32 [B, n]; `NEVER` in empty slots
    ended_lengths: Any  # int32 [B, n]
    is_ended: Any  # bool [B, n], `False` in empty slots
    open: Any  # bool [B], whether the row may still improve
    rows: Rows
    state: Any  # every leaf [R, ...]; of "fixed" [B, ...]


class BeamSearch:
    """Beam search: the methods of `decoding.Decoding`, which reads the rows."""

    def __init__(
        self, step: Callable, settings: Generation, stopped: Callable | None = None
    ) -> None:
        self.step, self.settings, self.stopped = step, settings, stopped

    def start(self, logits: KerasTensor, state: Any, rows: Rows) -> BeamCarry:
        beams = self.settings.num_beams
        num_rows = ops.shape(rows.prompt_ids)[0]
        shape = (num_rows, beams, self.settings.max_new_tokens)
        empty = ops.full(shape, self.settings.pad_id, "int32")
        never = ops.full((num_rows, beams), NEVER, "float32")
        return self._extended(
            ops.repeat(logits, beams, axis=0),
            BeamCarry(
                count=ops.convert_to_tensor(0, "int32"),
                token_ids=empty,
                # All beams are equal: only the first may be continued.
                log_probs=ops.where(ops.arange(beams) == 0, 0.0, never),
                ended_ids=empty,
                ended_scores=never,
                ended_lengths=ops.zeros((num_rows, beams), "int32"),
                is_ended=ops.zeros((num_rows, beams), "bool"),
                open=ops.ones((num_rows,), "bool"),
                rows=rows,
                state=changed(state, lambda x: ops.repeat(x, beams, axis=0)),
            ),
        )

    def unfinished(self, carry: BeamCarry) -> KerasTensor:
        room = carry.count < self.settings.max_new_tokens
        return ops.logical_and(room, ops.any(carry.open))

    def advance(self, carry: BeamCarry) -> BeamCarry:
        index = carry.count - 1
        newest = ops.take(carry.token_ids, index, axis=2)  # [B, n]
        if not _has_fixed(carry.state):
            newest = ops.reshape(newest, (-1,))
        logits, state = self.step(newest, index, carry.state)
        return self._extended(logits, carry._replace(state=state))

    def result(self, carry: BeamCarry) -> Generated:
        place = ops.arange(self.settings.max_new_tokens, dtype="int32")
        best = self.settings.num_return
        mask = place < carry.ended_lengths[:, :best, None]  # [B, best, T]
        found = (carry.ended_ids[:, :best], mask, carry.ended_scores[:, :best])
        return Generated(*(ops.reshape(x, (-1, *x.shape[2:])) for x in found))

    def _extended(self, logits, carry):
        """Return the carry with one more token in every running sequence."""
        beams = self.settings.num_beams
        log_probs, beam, token = self._candidates(logits, carry)  # [B, K]
        token_ids = put(pick(carry.token_ids, beam), carry.count, token)  # [B, K, T]
        count = carry.count + 1
        ended = self._ended(token_ids, count, carry.rows)  # [B, K]

        running, chosen = ops.top_k(log_probs + ops.where(ended, NEVER, 0.0), beams)  # [B, n]
        source = flat(pick(beam, chosen), beams)  # [R]
        extended = carry._replace(
            count=count,
            token_ids=pick(token_ids, chosen),
            log_probs=running,
            state=changed(carry.state, lambda x: ops.take(x, source, axis=0)),
        )
        # Candidates after the first n may only continue.
        new = ops.logical_and(ended, ops.arange(log_probs.shape[1]) < beams)
        extended = self._with_ended(extended, token_ids, log_probs, new)
        return self._closed(extended, running[:, 0] / self._divisor(count), ops.all(ended, 1))

    def _closed(self, carry, possible, all_ended):
        """Return the carry with the rows closed that cannot improve.

        Args:
            carry: a `BeamCarry`.
            possible: float32 `[B]`, the best score of a running sequence at its length.
            all_ended: bool `[B]`, whether every candidate has ended.
        """
        worst = ops.where(ops.all(carry.is_ended, 1), ops.min(carry.ended_scores, 1), NEVER)
        still = ops.logical_and(possible > worst, ops.logical_not(all_ended))
        if self.settings.early_stopping:
            still = ops.logical_and(still, ops.logical_not(ops.all(carry.is_ended, 1)))
        return carry._replace(open=ops.logical_and(carry.open, still))

    def _candidates(self, logits, carry):
        """Return the best continuations: log-probabilities, beams, tokens, each `[B, K]`.

        K is large enough that at least `num_beams` of them do not end with a stop id.
        """
        beams, size = self.settings.num_beams, logits.shape[-1]
        number = beams * min(max(2, 1 + len(self.settings.stop_ids)), size)
        few = min(number, size)
        scores, token = highest(self._scores(logits, carry), few)  # [R, few]
        scores = scores + ops.reshape(carry.log_probs, (-1, 1))
        log_probs, place = ops.top_k(ops.reshape(scores, (-1, beams * few)), number)
        token = pick(ops.reshape(token, (-1, beams * few)), place)
        return log_probs, place // few, token

    def _scores(self, logits, carry):
        """Return the log-probabilities of the next tokens, filtered: float32 `[R, V]`."""
        rows, beams = carry.rows, self.settings.num_beams
        scores = ops.log_softmax(ops.cast(logits, "float32"), -1)
        own = (rows.prompt_ids, rows.prompt_mask, rows.settings["max_new_tokens"])
        prompt_ids, prompt_mask, max_tokens = (ops.repeat(x, beams, axis=0) for x in own)
        flat_ids = ops.reshape(carry.token_ids, (-1, self.settings.max_new_tokens))
        scores = penalize(
            scores, self.settings, prompt_ids, prompt_mask, flat_ids, carry.count, max_tokens
        )
        return ops.log_softmax(scores, -1) if self.settings.renormalize else scores

    def _ended(self, token_ids, count, rows):
        """Return `has_ended` of candidates `[B, K, T]`: bool `[B, K]`."""
        _, number, length = token_ids.shape
        max_tokens = ops.repeat(rows.settings["max_new_tokens"], number, axis=0)
        flat_ids = ops.reshape(token_ids, (-1, length))
        ended = has_ended(self.settings, self.stopped, flat_ids, count, max_tokens)
        return ops.reshape(ended, (-1, number))

    def _with_ended(self, carry, token_ids, log_probs, new):
        """Return the carry with the candidates that are `new` among the best ended ones."""
        beams = self.settings.num_beams
        scores = log_probs / self._divisor(carry.count)
        scores += ops.where(new, 0.0, NEVER)
        scores += ops.where(ops.expand_dims(carry.open, 1), 0.0, NEVER)
        scores, chosen = ops.top_k(ops.concatenate([carry.ended_scores, scores], 1), beams)
        lengths = ops.full_like(new, carry.count, dtype="int32")

        def merged(before, added):
            return pick(ops.concatenate([before, added], 1), chosen)

        return carry._replace(
            ended_ids=merged(carry.ended_ids, token_ids),
            ended_scores=scores,
            ended_lengths=merged(carry.ended_lengths, lengths),
            is_ended=merged(carry.is_ended, new),
        )

    def _divisor(self, count):
        return ops.power(ops.cast(count, "float32"), self.settings.length_penalty)


def _has_fixed(state):
    return isinstance(state, dict) and "fixed" in state


def changed(state: Any, change: Callable) -> Any:
    """Return the state with every leaf changed, except `"fixed"`: the beams of a row share it."""
    if not _has_fixed(state):
        return keras.tree.map_structure(change, state)
    others = {name: part for name, part in state.items() if name != "fixed"}
    return {**keras.tree.map_structure(change, others), "fixed": state["fixed"]}


def highest(scores: KerasTensor, number: int) -> tuple[KerasTensor, KerasTensor]:
    """Return what `ops.top_k` does of scores `[R, V]`, in a fraction of the time.

    The highest of all are among those of the `number` parts with the highest maxima.
    """
    size = scores.shape[-1]
    parts = -(-size // PART)
    if parts <= number:
        return ops.top_k(scores, number)
    filled = ops.pad(scores, ((0, 0), (0, parts * PART - size)), constant_values=-np.inf)
    filled = ops.reshape(filled, (-1, parts, PART))
    _, chosen = ops.top_k(ops.max(filled, -1), number)
    chosen = ops.sort(chosen, -1)  # of equal scores the first comes first
    among = ops.reshape(pick(filled, chosen), (-1, number * PART))
    found, place = ops.top_k(among, number)
    return found, pick(chosen, place // PART) * PART + place % PART


def flat(index: KerasTensor, number: int) -> KerasTensor:
    """Flatten indices int `[B, M]` into `[B, number]` to int32 `[B * M]` into `[B * number]`."""
    row = ops.expand_dims(ops.arange(ops.shape(index)[0], dtype="int32"), 1)
    return ops.reshape(ops.cast(index, "int32") + row * number, (-1,))


def pick(x: KerasTensor, index: KerasTensor) -> KerasTensor:
    """Gather `x` `[B, N, ...]` at indices int `[B, M]` of the second axis: `[B, M, ...]`."""
    rest = tuple(x.shape[2:])
    picked = ops.take(ops.reshape(x, (-1, *rest)), flat(index, x.shape[1]), axis=0)
    return ops.reshape(picked, (ops.shape(index)[0], index.shape[1], *rest))
