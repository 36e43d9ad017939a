"""Beam search for sequences that contain given phrases.

In: as of `beam`, and phrases of tokens for each row. Out: the best sequence of each row that has
all of them, each once and whole, in any order. The beams of a row are shared out among the numbers
of tokens of phrases written, as in the dynamic beam allocation of Post and Vilar 2018
(arXiv:1804.06609): so a sequence that has written a part of a phrase, and is less likely for it, is
not lost to those that have not. There should be more beams than such tokens.

B = rows, n = beams, Q = phrases of a row, L = tokens of a phrase, K = candidates, R = B * n, V
vocabulary.
"""

from collections.abc import Callable
from typing import Any

from keras import KerasTensor, ops

from tfmodels.generation.beam import (
    NEVER,
    BeamCarry,
    BeamSearch,
    changed,
    flat,
    highest,
    pick,
)
from tfmodels.generation.rows import Generated, Rows, put
from tfmodels.generation.settings import Generation

# Taken from the score of a sequence that has no room left for a phrase: the last to be returned.
LACKING = 1e4


class ConstrainedBeamSearch(BeamSearch):
    """`BeamSearch` for rows with `required` phrases, int32 `[B, Q, L]`, -1 after their tokens.

    The state must be a dict.
    """

    def __init__(
        self, step: Callable, settings: Generation, stopped: Callable | None = None
    ) -> None:
        def step_of_model(token_ids, index, state):
            others = {name: part for name, part in state.items() if name != "written"}
            logits, others = step(token_ids, index, others)
            return logits, {**others, "written": state["written"]}

        super().__init__(step_of_model, settings, stopped)

    def start(self, logits: KerasTensor, state: Any, rows: Rows) -> BeamCarry:
        required = rows.settings["required"]
        none = ops.zeros(ops.shape(required)[:2], "int32")  # [B, Q]: how many tokens are written
        return super().start(logits, {**state, "written": none}, rows)

    def result(self, carry: BeamCarry) -> Generated:
        found = super().result(carry)
        lengths = ops.sum(ops.cast(found.mask, "int32"), -1)
        divisor = self._divisor(lengths)
        lacks = found.scores * divisor < -LACKING / 2
        return found._replace(
            scores=ops.where(lacks, found.scores + LACKING / divisor, found.scores)
        )

    def _extended(self, logits, carry):
        beams, required = self.settings.num_beams, carry.rows.settings["required"]
        phrases = required.shape[1]
        lengths = ops.sum(ops.cast(required >= 0, "int32"), -1)[:, None]  # [B, 1, Q]
        written = ops.reshape(carry.state["written"], (-1, beams, phrases))  # [B, n, Q]
        within = (written > 0) & (written < lengths)
        last = required.shape[2] - 1
        following = ops.take_along_axis(
            ops.repeat(required[:, None], beams, axis=1), ops.minimum(written, last)[..., None], -1
        )[..., 0]  # [B, n, Q]: the next token of each phrase
        begun = ops.any(within, -1, keepdims=True)

        scores = self._scores(logits, carry)  # [R, V]
        few = min(beams * 2, scores.shape[-1])
        plain, token = highest(scores, few)  # [R, few]
        plain = ops.where(begun, NEVER, ops.reshape(plain, (-1, beams, few)))
        of_phrase = ops.take_along_axis(
            ops.reshape(scores, (-1, beams, scores.shape[-1])), ops.maximum(following, 0), -1
        )
        may = within | (~begun & (written == 0) & (lengths > 0))
        of_phrase = ops.where(may, of_phrase, NEVER)
        tokens = ops.concatenate([ops.reshape(token, (-1, beams, few)), following], -1)
        log_probs = ops.concatenate([plain, of_phrase], -1) + carry.log_probs[..., None]
        width = few + phrases
        log_probs, tokens = (ops.reshape(x, (-1, beams * width)) for x in (log_probs, tokens))
        place = ops.arange(beams * width, dtype="int32")
        beam = ops.broadcast_to(place // width, ops.shape(tokens))  # [B, K]
        grown = ops.one_hot(place % width - few, phrases, dtype="int32")  # [K, Q]
        written = pick(written, beam) + grown  # [B, K, Q]
        has_all = ops.all(written == lengths, -1)

        token_ids = put(pick(carry.token_ids, beam), carry.count, tokens)  # [B, K, T]
        count = carry.count + 1
        ended = self._ended(token_ids, count, carry.rows)
        room = count < carry.rows.settings["max_new_tokens"][:, None]
        possible = log_probs > NEVER / 2
        running = ops.where(ended | ~possible, NEVER, log_probs)
        number = ops.sum(written, -1)  # [B, K]: tokens of phrases
        chosen = _shared_out(running, number, phrases * required.shape[2], beams)  # [B, n]
        source = flat(pick(beam, chosen), beams)  # [R]
        state = changed(carry.state, lambda x: ops.take(x, source, axis=0))
        state["written"] = ops.reshape(pick(written, chosen), (-1, phrases))
        extended = carry._replace(
            count=count, token_ids=pick(token_ids, chosen), log_probs=pick(running, chosen),
            state=state,
        )  # fmt: skip
        new = ended & possible & (has_all | ~room)
        extended = self._with_ended(
            extended, token_ids, ops.where(has_all, log_probs, log_probs - LACKING), new
        )
        best = ops.max(extended.log_probs, 1) / self._divisor(count)
        return self._closed(extended, best, ops.all(ended | ~possible, 1))


def _ranks(scores, number):
    """Return the rank of each candidate among those of the same number: int32 `[B, K]`."""
    place = ops.broadcast_to(ops.arange(scores.shape[1], dtype="int32"), ops.shape(scores))
    best_first = ops.argsort(-scores, axis=1)
    numbers = ops.take_along_axis(number, best_first, 1)
    by_number = ops.argsort(numbers, axis=1)  # the best of each number first
    numbers = ops.take_along_axis(numbers, by_number, 1)
    begins = ops.concatenate([place[:, :1] == 0, numbers[:, 1:] != numbers[:, :-1]], 1)
    first = ops.associative_scan(ops.maximum, ops.where(begins, place, 0), axis=1)
    ranks = ops.reshape(place - first, (-1, scores.shape[1]))  # the scan forgets the shape
    order = ops.take_along_axis(best_first, by_number, 1)
    return ops.take_along_axis(ranks, ops.argsort(order, axis=1), 1)


def _shared_out(scores, number, most, beams):
    """Return the candidates to keep: of each number of tokens the best, then the second ...

    Args:
        scores: float32 `[B, K]`.
        number: int32 `[B, K]`, 0 to `most`.

    Returns:
        int32 `[B, n]`.
    """
    rank = _ranks(scores, number)
    order = ops.cast(rank * (most + 1) + most - number, "float32")
    order = ops.where(scores > NEVER / 2, order, -NEVER)
    return ops.top_k(-order, beams)[1]
