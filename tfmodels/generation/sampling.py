"""Greedy decoding and sampling: in each step, the most likely or a drawn token for each row.

In: the logits of the first new token and a `step` that returns those of the next. Out: tokens,
and where they end. For the arguments see `decoding.generate`.

B = rows, P prompt positions, T = maximum new tokens, V vocabulary.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import KerasTensor, ops

from tfmodels.generation.filters import keep_most_likely, penalize
from tfmodels.generation.noise import gumbel
from tfmodels.generation.rows import Generated, Rows, has_ended, put
from tfmodels.generation.settings import Generation

MIN_TEMPERATURE = 1e-6  # in place of 0 for a row, which is greedy decoding


class SamplingCarry(NamedTuple):
    """The loop variables, of fixed shapes."""

    count: Any  # int32 scalar, tokens so far
    token_ids: Any  # int32 [B, T]
    lengths: Any  # int32 [B], tokens of each row
    scores: Any  # float32 [B]
    finished: Any  # bool [B]
    rows: Rows
    state: Any


class Sampling:
    """Greedy decoding and sampling: the methods of `decoding.Decoding`, which reads the rows."""

    def __init__(
        self, step: Callable, settings: Generation, stopped: Callable | None = None
    ) -> None:
        self.step, self.settings, self.stopped = step, settings, stopped

    def start(self, logits: KerasTensor, state: Any, rows: Rows) -> SamplingCarry:
        num_rows = ops.shape(rows.prompt_ids)[0]
        shape = (num_rows, self.settings.max_new_tokens)
        return self._extended(
            logits,
            SamplingCarry(
                count=ops.convert_to_tensor(0, "int32"),
                token_ids=ops.full(shape, self.settings.pad_id, "int32"),
                lengths=ops.zeros((num_rows,), "int32"),
                scores=ops.zeros((num_rows,), "float32"),
                finished=rows.settings["max_new_tokens"] < 1,
                rows=rows,
                state=state,
            ),
        )

    def resume(
        self, logits: KerasTensor, state: Any, rows: Rows, written: KerasTensor,
        written_mask: KerasTensor,
    ) -> SamplingCarry:  # fmt: skip
        """Return the carry of rows that have tokens already; see `Decoding.start`."""
        count, longest = ops.shape(written)[1], self.settings.max_new_tokens
        num_rows = ops.shape(rows.prompt_ids)[0]
        room = ops.full((num_rows, longest), self.settings.pad_id, "int32")
        token_ids = ops.concatenate([ops.cast(written, "int32"), room], 1)[:, :longest]
        token_ids = ops.reshape(token_ids, (num_rows, longest))  # T is static
        lengths = ops.sum(ops.cast(written_mask, "int32"), 1)
        # A row ended before its newest place, or with the token there.
        most, newest = rows.settings["max_new_tokens"], ops.maximum(count, 1)
        ended = has_ended(self.settings, self.stopped, token_ids, newest, most)
        finished = ops.logical_or(lengths < count, ops.logical_and(ended, count > 0))
        carry = SamplingCarry(
            count=ops.cast(count, "int32"), token_ids=token_ids, lengths=lengths,
            scores=ops.zeros((num_rows,), "float32"), finished=finished, rows=rows, state=state,
        )  # fmt: skip
        return self._extended(logits, carry)

    def unfinished(self, carry: SamplingCarry) -> KerasTensor:
        room = carry.count < self.settings.max_new_tokens
        return ops.logical_and(room, ops.logical_not(ops.all(carry.finished)))

    def advance(self, carry: SamplingCarry) -> SamplingCarry:
        index = carry.count - 1
        newest = ops.take(carry.token_ids, index, axis=1)
        logits, state = self.step(newest, index, carry.state)
        return self._extended(logits, carry._replace(state=state))

    def result(self, carry: SamplingCarry) -> Generated:
        place = ops.arange(self.settings.max_new_tokens, dtype="int32")
        mask = place < ops.expand_dims(carry.lengths, 1)
        return Generated(carry.token_ids, mask, carry.scores)

    def _extended(self, logits, carry):
        """Return the carry with one more token in each row that has not finished."""
        count, finished, rows = carry.count, carry.finished, carry.rows
        # The static number of rows may be unknown in the output of `step`.
        shape = (ops.shape(carry.token_ids)[0], logits.shape[-1])
        logits = ops.reshape(ops.cast(logits, "float32"), shape)
        token = self._chosen(logits, carry)
        chosen = ops.take_along_axis(logits, ops.expand_dims(token, 1), 1)[:, 0]
        chosen = chosen - ops.logsumexp(logits, 1)
        token_ids = put(carry.token_ids, count, ops.where(finished, self.settings.pad_id, token))
        max_tokens = rows.settings["max_new_tokens"]
        ended = has_ended(self.settings, self.stopped, token_ids, count + 1, max_tokens)
        return carry._replace(
            count=count + 1,
            token_ids=token_ids,
            lengths=carry.lengths + ops.where(finished, 0, 1),
            scores=carry.scores + ops.where(finished, 0.0, chosen),
            finished=ops.logical_or(finished, ended),
        )

    def _chosen(self, logits, carry):
        """Return the next token of each row, int32 `[B]`."""
        settings, own, rows = self.settings, carry.rows.settings, carry.rows
        scores = penalize(
            logits, settings, rows.prompt_ids, rows.prompt_mask,
            carry.token_ids, carry.count, own["max_new_tokens"],
        )  # fmt: skip
        if settings.sample:
            if "temperature" in own:
                scores /= ops.expand_dims(ops.maximum(own["temperature"], MIN_TEMPERATURE), 1)
            elif settings.temperature != 1:
                scores /= settings.temperature
            top_k, top_p = (own.get(name, getattr(settings, name)) for name in ("top_k", "top_p"))
            scores = keep_most_likely(scores, top_k, top_p)
            scores += gumbel(rows.seeds, carry.count, scores.shape[-1])
        return ops.cast(ops.argmax(scores, 1), "int32")
