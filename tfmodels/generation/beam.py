"""Beam search: the likeliest continuation, as far as following the best few finds it.

In: the logits of the first new token and a `step` that gives those of the next, whose state
is repeated and put into another order along its first axis. Out: the best sequence of each
row and its score. Follows `transformers`' beam search, which keeps the best `num_beams` ended
sequences beside the running ones, and stops when the best running one, divided by the length it
has, would not come among them; with `early_stopping`, as soon as that many have ended.

B = rows, n = beams, K = candidates, R = B * n, T new tokens at most, V vocabulary.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import KerasTensor, ops

from tfmodels.generation.filters import penalize
from tfmodels.generation.rows import Generated, Rows, has_ended, put, read_rows
from tfmodels.generation.settings import Generation

# Added to the score of what must not be chosen: finite, as the reference has it.
NEVER = -1e9


class Searching(NamedTuple):
    """What the loop carries, of fixed shapes."""

    count: Any  # int32 scalar, tokens so far
    token_ids: Any  # int32 [B, n, T], running sequences, the best first
    log_probs: Any  # float32 [B, n]
    ended_ids: Any  # int32 [B, n, T], ended sequences, the best first
    ended_scores: Any  # float32 [B, n]; `NEVER` where there is none yet
    ended_lengths: Any  # int32 [B, n]
    is_ended: Any  # bool [B, n], whether there is one
    open: Any  # bool [B], whether the row may still get better
    rows: Rows
    state: Any  # every leaf [R, ...]


class BeamSearch:
    """Beam search, in parts; see `decoding.Decoding` for the methods."""

    def __init__(
        self, step: Callable, settings: Generation, stopped: Callable | None = None
    ) -> None:
        self.step, self.settings, self.stopped = step, settings, stopped

    def start(
        self,
        logits: KerasTensor,
        state: Any,
        prompt_ids: KerasTensor,
        prompt_mask: KerasTensor,
        seeds: KerasTensor | None = None,
        rows: dict | None = None,
    ) -> Searching:
        beams = self.settings.num_beams
        own = read_rows(self.settings, logits.shape[-1], prompt_ids, prompt_mask, seeds, rows)
        num_rows = ops.shape(own.prompt_ids)[0]
        none = ops.full((num_rows, beams, self.settings.max_new_tokens), self.settings.pad_id)
        none = ops.cast(none, "int32")
        never = ops.full((num_rows, beams), NEVER, "float32")
        return self._grown(
            ops.repeat(logits, beams, axis=0),
            Searching(
                count=ops.convert_to_tensor(0, "int32"),
                token_ids=none,
                # All beams are still the same: only the first may be continued.
                log_probs=ops.where(ops.arange(beams) == 0, 0.0, never),
                ended_ids=none,
                ended_scores=never,
                ended_lengths=ops.zeros((num_rows, beams), "int32"),
                is_ended=ops.zeros((num_rows, beams), "bool"),
                open=ops.ones((num_rows,), "bool"),
                rows=own,
                state=keras.tree.map_structure(lambda x: ops.repeat(x, beams, axis=0), state),
            ),
        )

    def unfinished(self, searching: Searching) -> KerasTensor:
        room = searching.count < self.settings.max_new_tokens
        return ops.logical_and(room, ops.any(searching.open))

    def advance(self, searching: Searching) -> Searching:
        index = searching.count - 1
        newest = ops.take(searching.token_ids, index, axis=2)  # [B, n]
        logits, state = self.step(ops.reshape(newest, (-1,)), index, searching.state)
        return self._grown(logits, searching._replace(state=state))

    def result(self, searching: Searching) -> Generated:
        place = ops.arange(self.settings.max_new_tokens, dtype="int32")
        mask = place < searching.ended_lengths[:, :1]
        return Generated(searching.ended_ids[:, 0], mask, searching.ended_scores[:, 0])

    def _grown(self, logits, searching):
        """With one token more in every running sequence."""
        beams = self.settings.num_beams
        log_probs, beam, token = self._candidates(logits, searching)  # [B, K]
        token_ids = put(_pick(searching.token_ids, beam), searching.count, token)  # [B, K, T]
        count = searching.count + 1
        ended = self._ended(token_ids, count, searching.rows)  # [B, K]

        running, chosen = ops.top_k(log_probs + ops.where(ended, NEVER, 0.0), beams)  # [B, n]
        source = _flat(_pick(beam, chosen), beams)  # [R]
        grown = searching._replace(
            count=count,
            token_ids=_pick(token_ids, chosen),
            log_probs=running,
            state=_reordered(searching.state, source),
        )
        grown = self._with_ended(grown, token_ids, log_probs, ended)

        possible = running[:, 0] / self._divisor(count)
        worst = ops.where(ops.all(grown.is_ended, 1), ops.min(grown.ended_scores, 1), NEVER)
        still = ops.logical_and(possible > worst, ops.logical_not(ops.all(ended, 1)))
        if self.settings.early_stopping:
            still = ops.logical_and(still, ops.logical_not(ops.all(grown.is_ended, 1)))
        return grown._replace(open=ops.logical_and(searching.open, still))

    def _candidates(self, logits, searching):
        """The best continuations: log-probabilities, beams, tokens, each `[B, K]`.

        So many that `num_beams` of them go on, whichever stop ids the others end with.
        """
        beams, size = self.settings.num_beams, logits.shape[-1]
        rows = searching.rows
        scores = ops.log_softmax(ops.cast(logits, "float32"), -1)
        own = (rows.prompt_ids, rows.prompt_mask, rows.settings["max_new_tokens"])
        prompt_ids, prompt_mask, most = (ops.repeat(x, beams, axis=0) for x in own)
        flat_ids = ops.reshape(searching.token_ids, (-1, self.settings.max_new_tokens))
        scores = penalize(
            scores, self.settings, prompt_ids, prompt_mask, flat_ids, searching.count, most
        )
        scores = ops.reshape(scores, (ops.shape(searching.log_probs)[0], beams, size))
        scores = scores + ops.expand_dims(searching.log_probs, -1)
        number = beams * min(max(2, 1 + len(self.settings.stop_ids)), size)
        log_probs, place = ops.top_k(ops.reshape(scores, (-1, beams * size)), number)
        return log_probs, place // size, place % size

    def _ended(self, token_ids, count, rows):
        """`has_ended` of candidates `[B, K, T]`: bool `[B, K]`."""
        _, number, length = token_ids.shape
        most = ops.repeat(rows.settings["max_new_tokens"], number, axis=0)
        flat_ids = ops.reshape(token_ids, (-1, length))
        ended = has_ended(self.settings, self.stopped, flat_ids, count, most)
        return ops.reshape(ended, (-1, number))

    def _with_ended(self, searching, token_ids, log_probs, ended):
        """Takes what has just ended among the best ended ones."""
        beams, number = self.settings.num_beams, log_probs.shape[1]
        # The candidates behind the first n are only there to go on.
        new = ops.logical_and(ended, ops.arange(number) < beams)
        scores = log_probs / self._divisor(searching.count)
        scores += ops.where(new, 0.0, NEVER)
        scores += ops.where(ops.expand_dims(searching.open, 1), 0.0, NEVER)
        scores, chosen = ops.top_k(ops.concatenate([searching.ended_scores, scores], 1), beams)
        lengths = ops.full_like(ended, searching.count, dtype="int32")

        def merged(before, added):
            return _pick(ops.concatenate([before, added], 1), chosen)

        return searching._replace(
            ended_ids=merged(searching.ended_ids, token_ids),
            ended_scores=scores,
            ended_lengths=merged(searching.ended_lengths, lengths),
            is_ended=merged(searching.is_ended, new),
        )

    def _divisor(self, count):
        return ops.power(ops.cast(count, "float32"), self.settings.length_penalty)


def _reordered(state, source):
    """The state with rows int `[R]` in place of its own, but for what is fixed: the beams of a
    row share it, and each comes from a beam of its own row."""

    def taken(part):
        return keras.tree.map_structure(lambda x: ops.take(x, source, axis=0), part)

    if not isinstance(state, dict):
        return taken(state)
    return {name: part if name == "fixed" else taken(part) for name, part in state.items()}


def _flat(index, number):
    """Places int `[B, M]` in `[B, number]` as places in `[B * number]`: int32 `[B * M]`."""
    row = ops.expand_dims(ops.arange(ops.shape(index)[0], dtype="int32"), 1)
    return ops.reshape(ops.cast(index, "int32") + row * number, (-1,))


def _pick(x, index):
    """`x` `[B, N, ...]` at places int `[B, M]` of its second axis: `[B, M, ...]`."""
    rest = tuple(x.shape[2:])
    flat = ops.take(ops.reshape(x, (-1, *rest)), _flat(index, x.shape[1]), axis=0)
    return ops.reshape(flat, (ops.shape(index)[0], index.shape[1], *rest))
