"""One token a step for each row: the likeliest, or one drawn.

In: the logits of the first new token and a `step` that gives those of the next. Out: tokens,
and where they end. `decoding.py` says what the arguments are.

B = rows, P prompt positions, T new tokens at most, V vocabulary.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import KerasTensor, ops

from tfmodels.generation.filters import keep_likeliest, penalize
from tfmodels.generation.noise import gumbel
from tfmodels.generation.rows import Generated, Rows, has_ended, put, read_rows
from tfmodels.generation.settings import Generation

COLDEST = 1e-6  # a row's temperature of 0 takes the likeliest token


class Growing(NamedTuple):
    """What the loop carries, of fixed shapes."""

    count: Any  # int32 scalar, tokens so far
    token_ids: Any  # int32 [B, T]
    lengths: Any  # int32 [B], tokens of each row
    scores: Any  # float32 [B]
    finished: Any  # bool [B]
    rows: Rows
    state: Any


class Sampling:
    """Greedy decoding and sampling, in parts; see `decoding.Decoding` for the methods."""

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
    ) -> Growing:
        own = read_rows(self.settings, logits.shape[-1], prompt_ids, prompt_mask, seeds, rows)
        num_rows = ops.shape(own.prompt_ids)[0]
        shape = (num_rows, self.settings.max_new_tokens)
        return self._grown(
            logits,
            Growing(
                count=ops.convert_to_tensor(0, "int32"),
                token_ids=ops.full(shape, self.settings.pad_id, "int32"),
                lengths=ops.zeros((num_rows,), "int32"),
                scores=ops.zeros((num_rows,), "float32"),
                finished=own.settings["max_new_tokens"] < 1,
                rows=own,
                state=state,
            ),
        )

    def unfinished(self, growing: Growing) -> KerasTensor:
        room = growing.count < self.settings.max_new_tokens
        return ops.logical_and(room, ops.logical_not(ops.all(growing.finished)))

    def advance(self, growing: Growing) -> Growing:
        index = growing.count - 1
        newest = ops.take(growing.token_ids, index, axis=1)
        logits, state = self.step(newest, index, growing.state)
        return self._grown(logits, growing._replace(state=state))

    def result(self, growing: Growing) -> Generated:
        place = ops.arange(self.settings.max_new_tokens, dtype="int32")
        mask = place < ops.expand_dims(growing.lengths, 1)
        return Generated(growing.token_ids, mask, growing.scores)

    def _grown(self, logits, growing):
        """With one token more in each row that has not finished."""
        count, finished, rows = growing.count, growing.finished, growing.rows
        # A model may know less of the number of rows than the loop does.
        shape = (ops.shape(growing.token_ids)[0], logits.shape[-1])
        logits = ops.reshape(ops.cast(logits, "float32"), shape)
        token = self._chosen(logits, growing)
        chosen = ops.take_along_axis(logits, ops.expand_dims(token, 1), 1)[:, 0]
        chosen = chosen - ops.logsumexp(logits, 1)
        token_ids = put(growing.token_ids, count, ops.where(finished, self.settings.pad_id, token))
        most = rows.settings["max_new_tokens"]
        ended = has_ended(self.settings, self.stopped, token_ids, count + 1, most)
        return growing._replace(
            count=count + 1,
            token_ids=token_ids,
            lengths=growing.lengths + ops.where(finished, 0, 1),
            scores=growing.scores + ops.where(finished, 0.0, chosen),
            finished=ops.logical_or(finished, ended),
        )

    def _chosen(self, logits, growing):
        """The next token of each row, int32 `[B]`."""
        settings, own, rows = self.settings, growing.rows.settings, growing.rows
        scores = penalize(
            logits,
            settings,
            rows.prompt_ids,
            rows.prompt_mask,
            growing.token_ids,
            growing.count,
            own["max_new_tokens"],
        )
        if settings.sample:
            if "temperature" in own:
                scores /= ops.expand_dims(ops.maximum(own["temperature"], COLDEST), 1)
            elif settings.temperature != 1:
                scores /= settings.temperature
            top_k, top_p = (own.get(name, getattr(settings, name)) for name in ("top_k", "top_p"))
            scores = keep_likeliest(scores, top_k, top_p)
            scores += gumbel(rows.seeds, growing.count, scores.shape[-1])
        return ops.cast(ops.argmax(scores, 1), "int32")
