"""The constant inputs of each row in a generation loop, and the condition that ends a row.

In: the arguments of `generate`. Out: `Rows`, tensors that are loop variables, so that a compiled
step serves every call of the same shapes.

B = prompts, P prompt positions, T = maximum new tokens, R = B, or more in a beam search.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import KerasTensor, ops

from tfmodels.errors import InputError
from tfmodels.generation.settings import Generation

# Settings that may differ between rows: their dtypes.
ROW_SETTINGS = {
    "max_new_tokens": "int32",
    "temperature": "float32",
    "top_k": "int32",
    "top_p": "float32",
    "required": "int32",
}


class Rows(NamedTuple):
    """`prompt_ids` int32 `[B, P]`, `prompt_mask` bool `[B, P]`, `seeds` int32 `[B]`, `settings`: a
    dict of tensors `[B, ...]`, `max_new_tokens` and the other given ones of `ROW_SETTINGS`."""

    prompt_ids: Any
    prompt_mask: Any
    seeds: Any
    settings: dict


class Generated(NamedTuple):
    """The result of a generation.

    `token_ids` int32 `[B, T]`, `pad_id` after the end; `mask` bool `[B, T]`, `False` after the
    end; `scores` float32 `[B]`: the sum of the model's log-probabilities of the tokens, before
    filters and temperature; in beam search, after penalties and divided by the length, as
    `sequences_scores` of `transformers`.
    """

    token_ids: Any
    mask: Any
    scores: Any


def read_rows(
    generation: Generation, vocabulary_size: int, prompt_ids: KerasTensor, prompt_mask: KerasTensor,
    seeds: KerasTensor | None, settings: dict | None,
) -> Rows:  # fmt: skip
    """Return the `Rows` from the arguments of `generate`.

    Raises:
        InputError: if there are no seeds to sample with, `settings` has an unknown name or a
            name without effect, or an id is not in the vocabulary.
    """
    settings = dict(settings or {})
    sampling = ("temperature", "top_k", "top_p")
    for name in settings:
        if name not in ROW_SETTINGS:
            raise InputError(f"rows: no setting {name!r}; give {', '.join(ROW_SETTINGS)}")
        if name in sampling and not generation.sample:
            raise InputError(f"rows: {name} has no meaning without sample=True; leave it out")
        if name == "required" and generation.num_beams == 1:
            raise InputError("rows: required has no meaning without beams; give num_beams")
    for name in ("stop_ids", "forbidden_ids", "pad_id", "forced_first_id", "forced_last_id"):
        value = getattr(generation, name)
        ids = value if isinstance(value, tuple) else (value,)
        if any(token_id is not None and token_id >= vocabulary_size for token_id in ids):
            raise InputError(
                f"{name}={value!r}; the vocabulary has {vocabulary_size} tokens, "
                f"give ids from 0 to {vocabulary_size - 1}"
            )
    if seeds is None and generation.sample:
        raise InputError("seeds: sample=True needs an integer for each row")
    prompt_ids = ops.cast(prompt_ids, "int32")
    num_rows = ops.shape(prompt_ids)[0]
    own = {name: ops.cast(values, ROW_SETTINGS[name]) for name, values in settings.items()}
    own.setdefault("max_new_tokens", ops.full((num_rows,), generation.max_new_tokens, "int32"))
    seeds = ops.zeros((num_rows,), "int32") if seeds is None else ops.cast(seeds, "int32")
    return Rows(prompt_ids, ops.cast(prompt_mask, "bool"), seeds, own)


def has_ended(
    generation: Generation, stopped: Callable | None, token_ids: KerasTensor,
    count: int | KerasTensor, max_tokens: KerasTensor,
) -> KerasTensor:  # fmt: skip
    """Return whether the newest token ends its row.

    Args:
        generation: a `Generation`.
        stopped: additional condition, or `None`; see `generate`.
        token_ids: int32 `[R, T]`.
        count: scalar int, 1 or more: number of new tokens so far.
        max_tokens: int32 `[R]`, maximum number of new tokens of each row.

    Returns:
        bool `[R]`.
    """
    newest = ops.take(token_ids, count - 1, axis=1)
    ended = ops.zeros_like(newest, dtype="bool")
    for stop_id in generation.stop_ids:
        ended = ended | (newest == stop_id)
    if stopped is not None:
        ended = ended | stopped(token_ids, count)
    return (ended & (count >= generation.min_new_tokens)) | (count >= max_tokens)


def put(token_ids: KerasTensor, count: int | KerasTensor, tokens: KerasTensor) -> KerasTensor:
    """Return `token_ids` `[..., T]` with `tokens` `[...]` at index `count` of the last axis."""
    here = ops.arange(token_ids.shape[-1], dtype="int32") == count
    return ops.where(here, ops.expand_dims(tokens, -1), token_ids)
