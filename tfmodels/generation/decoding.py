"""Generation: prompts and a model's step in, tokens out.

In: the logits of the first new token, the model's state, and a function `step` that reads one
token and gives the logits of the next; no model is known here. Out: `Generated`. It is one
loop of `keras.ops`, all of whose tensors keep their shapes, so it runs on each Keras backend,
in a `tf.function` and in a SavedModel; `Decoding` is the same loop in parts.

B = rows, P prompt positions, T = `max_new_tokens`, V vocabulary, R = B * `num_beams`.
"""

from collections.abc import Callable
from typing import Any

from keras import KerasTensor, ops

from tfmodels.generation.beam import BeamSearch
from tfmodels.generation.rows import Generated
from tfmodels.generation.sampling import Sampling
from tfmodels.generation.settings import Generation


def generate(
    step: Callable,
    logits: KerasTensor,
    state: Any,
    prompt_ids: KerasTensor,
    prompt_mask: KerasTensor,
    settings: Generation,
    seeds: KerasTensor | None = None,
    rows: dict | None = None,
    stopped: Callable | None = None,
) -> Generated:
    """Continues prompts.

    Args:
        step: function of `token_ids` int32 `[R]`, `index` scalar int (0 for the first new
            token) and `state`, which returns the logits float `[R, V]` of the token after
            and the new state. V is known; the state keeps its structure and shapes.
        logits: float `[B, V]`, of the first new token.
        state: nested tuples and dicts of tensors, the first axis of each is the rows. Beam
            search repeats them, so that the beams of a row are neighbours, and puts them into
            another order after each token. If the state is a dict, what it has under the key
            `"fixed"` is repeated only: it belongs to the prompt and not to the tokens after, so
            that the beams of a row may share it, and `step` returns it as it was. A search then
            does not copy it at each step.
        prompt_ids: int32 `[B, P]`, padding left.
        prompt_mask: bool `[B, P]`, `True` = a real token. Both are for the repetition penalty
            and the n-grams, which look at real tokens only (`transformers` at padding too).
        settings: a `Generation`.
        seeds: int32 `[B]`, needed to sample. What a row draws depends on its seed, the number
            of the token and its logits, not on other rows or the backend.
        rows: dict of settings of each row's own, `[B]`: `max_new_tokens` int32 (1 to
            `settings.max_new_tokens`) and, where `settings.sample`, `temperature` float32
            (0 takes the likeliest token), `top_k` int32 (0: off) and `top_p` float32 (1: off).
            Tensors: their values are not checked.
        stopped: function of `token_ids` int32 `[N, T]` so far (`pad_id` after) and `count`
            scalar int, how many are there, that returns bool `[N]`: whether a row ends here.
            It is asked about candidates of beam search as well, so N may be more than R.

    Returns:
        `Generated` of T tokens a row.

    Raises:
        InputError: no seeds to sample with, an unknown setting in `rows`, or an id in
            `settings` that the vocabulary does not have.
    """
    decoding = Decoding(step, settings, stopped)

    def body(carry):
        return (decoding.advance(carry),)

    carry = decoding.start(logits, state, prompt_ids, prompt_mask, seeds, rows)
    (carry,) = ops.while_loop(decoding.unfinished, body, (carry,))
    return decoding.result(carry)


class Decoding:
    """The parts of `generate`, to see the tokens as they come.

    What is carried is a named tuple of tensors of fixed shapes, among them `count` and
    `token_ids`; `advance` may be compiled by itself. With the specs of what a compiled `start`
    of prompts `[None, None]` gives, it is traced once for prompts of any length.

    Args:
        step: as of `generate`.
        settings: as of `generate`.
        stopped: as of `generate`.

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
        kind = BeamSearch if settings.num_beams > 1 else Sampling
        self._parts = kind(step, settings, stopped)

    def start(
        self,
        logits: KerasTensor,
        state: Any,
        prompt_ids: KerasTensor,
        prompt_mask: KerasTensor,
        seeds: KerasTensor | None = None,
        rows: dict | None = None,
    ) -> Any:
        """The carry with the first new token of each row; the arguments of `generate`."""
        return self._parts.start(logits, state, prompt_ids, prompt_mask, seeds, rows)

    def unfinished(self, carry: Any) -> KerasTensor:
        """Whether there is more to come: bool scalar."""
        return self._parts.unfinished(carry)

    def advance(self, carry: Any) -> Any:
        """The carry with one token more in each row that has not ended."""
        return self._parts.advance(carry)

    def result(self, carry: Any) -> Generated:
        """The `Generated` so far; of beam search, what has ended so far."""
        return self._parts.result(carry)
