"""Generation of tokens with the step function of any model.

In: the logits of the first new token, the model's state, and a function `step` from one token
and the state to the logits of the next token. Out: `Generated`. It is one `keras.ops` loop over
tensors of fixed shapes, so it runs on each Keras backend, in a `tf.function` and in a
SavedModel; `Decoding` is the same loop step by step.

B = rows, P prompt positions, T = `max_new_tokens`, V vocabulary, R = B * `num_beams`.
"""

from collections.abc import Callable
from typing import Any

from keras import KerasTensor, ops

from tfmodels.generation.beam import BeamSearch
from tfmodels.generation.constraints import ConstrainedBeamSearch
from tfmodels.generation.rows import Generated, read_rows
from tfmodels.generation.sampling import Sampling
from tfmodels.generation.settings import Generation


def generate(
    step: Callable, logits: KerasTensor, state: Any, prompt_ids: KerasTensor,
    prompt_mask: KerasTensor, settings: Generation, seeds: KerasTensor | None = None,
    rows: dict | None = None, stopped: Callable | None = None,
) -> Generated:  # fmt: skip
    """Continue prompts.

    Args:
        step: function of `token_ids` int32 `[R]`, `index` scalar int (0 for the first new
            token) and `state`, which returns the logits float `[R, V]` of the next token
            and the new state. V is static; the state keeps its structure and shapes.
        logits: float `[B, V]`, of the first new token.
        state: nested tuples and dicts of tensors whose first axis is rows. Beam search repeats
            the rows, the beams of a row next to each other, and reorders them after each
            token. If the state is a dict, its entry `"fixed"` must depend on the prompt only, and
            `step` must return it unchanged: it is neither repeated nor reordered. Beam search then
            calls `step` with `token_ids` `[B, num_beams]`; the beams of a row share what is fixed.
        prompt_ids: int32 `[B, P]`, padding left.
        prompt_mask: bool `[B, P]`, `True` = a real token. Repetition penalty and n-grams count
            the real tokens of the prompt only (`transformers` also counts padding).
        settings: a `Generation`.
        seeds: int32 `[B]`, required to sample. The draws of a row depend on its seed, the
            number of the token and its logits, not on other rows or the backend.
        rows: dict of settings per row, tensors `[B]`: `max_new_tokens` int32 (1 to
            `settings.max_new_tokens`) and, with `settings.sample`, `temperature` float32
            (0: greedy), `top_k` int32 (0: off) and `top_p` float32 (1: off). With beams also
            `required` int32 `[B, Q, L]`: phrases of tokens that the output must contain, -1 after
            the tokens of each; see `constraints`. Their values are not checked.
        stopped: function of `token_ids` int32 `[N, T]` (`pad_id` after the tokens so far) and
            `count` scalar int, the number of tokens so far, that returns bool `[N]`: whether
            each row ends. Beam search calls it with all candidates, so N may exceed R.

    Returns:
        `Generated` of T tokens for each row, or for each of its `num_return` sequences.

    Raises:
        InputError: if there are no seeds to sample with, an unknown setting in `rows`, or an
            id in `settings` that is not in the vocabulary.
    """
    decoding = Decoding(step, settings, stopped)

    def body(carry):
        return (decoding.advance(carry),)

    carry = decoding.start(logits, state, prompt_ids, prompt_mask, seeds, rows)
    (carry,) = ops.while_loop(decoding.unfinished, body, (carry,))
    return decoding.result(carry)


class Decoding:
    """`generate` step by step, to stream the tokens.

    The carry is a named tuple of tensors of fixed shapes, among them `count` and `token_ids`;
    `advance` may be compiled separately. With the output specs of a `start` compiled for prompts
    `[None, None]`, it is traced once for prompts of any length.

    The arguments are those of `generate`.

    Example:
        >>> decoding = Decoding(model.step, Generation(max_new_tokens=20))
        >>> carry = decoding.start(logits, state, prompt_ids, prompt_mask)  # has one token
        >>> while decoding.unfinished(carry):
        ...     carry = decoding.advance(carry)
        >>> generated = decoding.result(carry)
    """

    def __init__(
        self, step: Callable, settings: Generation, stopped: Callable | None = None
    ) -> None:
        kind: Any = BeamSearch if settings.num_beams > 1 else Sampling
        self._free, self._settings = kind(step, settings, stopped), settings
        self._constrained = ConstrainedBeamSearch(step, settings, stopped)
        self._parts: Any = self._free

    def start(
        self, logits: KerasTensor, state: Any, prompt_ids: KerasTensor, prompt_mask: KerasTensor,
        seeds: KerasTensor | None = None, rows: dict | None = None,
        written: KerasTensor | None = None, written_mask: KerasTensor | None = None,
    ) -> Any:  # fmt: skip
        """Return the carry with the first new token of each row; arguments as in `generate`.

        Args:
            written, written_mask: new tokens of an earlier call, int32 and bool `[B, W]`, W at most
                T, which are continued (not in beam search). `logits` and `state` are those after
                them, and `step` is called with `index` W for the token after.
        """
        own = read_rows(self._settings, logits.shape[-1], prompt_ids, prompt_mask, seeds, rows)
        self._parts = self._constrained if "required" in own.settings else self._free
        if written is None or not isinstance(self._parts, Sampling):
            return self._parts.start(logits, state, own)
        return self._parts.resume(logits, state, own, written, written_mask)

    def unfinished(self, carry: Any) -> KerasTensor:
        """Return whether any row has not ended: bool scalar."""
        return self._parts.unfinished(carry)

    def advance(self, carry: Any) -> Any:
        """Return the carry with one more token in each row that has not ended."""
        return self._parts.advance(carry)

    def result(self, carry: Any) -> Generated:
        """Return the `Generated` so far; in beam search, only sequences that have ended."""
        return self._parts.result(carry)
