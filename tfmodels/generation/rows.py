"""What belongs to each row and stays the same while its text grows; and when it ends.

In: what the caller of `generate` gives. Out: `Rows`, tensors that go through the loop with
the rest, so that a step compiled once serves every call of the same shapes.

B = prompts, P prompt positions, T new tokens at most, R = B, or more in a search.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import KerasTensor, ops

from tfmodels.errors import InputError
from tfmodels.generation.settings import Generation

# Settings that a row may have of its own: their dtypes.
OWN_SETTINGS = {
    "max_new_tokens": "int32",
    "temperature": "float32",
    "top_k": "int32",
    "top_p": "float32",
}


class Rows(NamedTuple):
    """`prompt_ids` int32, `prompt_mask` bool `[B, P]`, `seeds` int32 `[B]`, `settings`: a dict
    of tensors `[B]`, those of `OWN_SETTINGS` that were given and always `max_new_tokens`."""

    prompt_ids: Any
    prompt_mask: Any
    seeds: Any
    settings: dict


class Generated(NamedTuple):
    """What was generated.

    `token_ids` int32 `[B, T]`, `pad_id` after the end; `mask` bool `[B, T]`, which of them are
    tokens; `scores` float32 `[B]`: the sum of the log-probabilities that the model gave
    the tokens, without filters and temperature; of beam search, with the penalties of the
    settings and divided by the length, as `sequences_scores` of `transformers`.
    """

    token_ids: Any
    mask: Any
    scores: Any


def read_rows(
    generation: Generation,
    vocabulary_size: int,
    prompt_ids: KerasTensor,
    prompt_mask: KerasTensor,
    seeds: KerasTensor | None,
    settings: dict | None,
) -> Rows:
    """The `Rows` of what `generate` was given.

    Raises:
        InputError: there are no seeds to sample with, `settings` has an unknown name or one
            that has no meaning here, or an id is not in the vocabulary.
    """
    settings = dict(settings or {})
    sampling = [name for name in OWN_SETTINGS if name != "max_new_tokens"]
    for name in settings:
        if name not in OWN_SETTINGS:
            raise InputError(f"rows: no setting {name!r}; give {', '.join(OWN_SETTINGS)}")
        if name in sampling and not generation.sample:
            raise InputError(f"rows: {name} has no meaning without sample=True; leave it out")
    for name in ("stop_ids", "pad_id", "forced_first_id", "forced_last_id"):
        value = getattr(generation, name)
        ids = value if name == "stop_ids" else (value,)
        if any(token_id is not None and token_id >= vocabulary_size for token_id in ids):
            raise InputError(
                f"{name}={value!r}; the vocabulary has {vocabulary_size} tokens, "
                f"give ids from 0 to {vocabulary_size - 1}"
            )
    if seeds is None and generation.sample:
        raise InputError("seeds: sample=True needs an integer for each row")
    prompt_ids = ops.cast(prompt_ids, "int32")
    num_rows = ops.shape(prompt_ids)[0]
    own = {name: ops.cast(values, OWN_SETTINGS[name]) for name, values in settings.items()}
    own.setdefault("max_new_tokens", ops.full((num_rows,), generation.max_new_tokens, "int32"))
    seeds = ops.zeros((num_rows,), "int32") if seeds is None else ops.cast(seeds, "int32")
    return Rows(prompt_ids, ops.cast(prompt_mask, "bool"), seeds, own)


def has_ended(
    generation: Generation,
    stopped: Callable | None,
    token_ids: KerasTensor,
    count: int | KerasTensor,
    most: KerasTensor,
) -> KerasTensor:
    """Whether the newest token ends its row.

    Args:
        generation: a `Generation`.
        stopped: further condition, or `None`; see `generate`.
        token_ids: int32 `[R, T]`.
        count: scalar int, 1 or more: how many there are.
        most: int32 `[R]`, the most tokens of each row.

    Returns:
        bool `[R]`.
    """
    newest = ops.take(token_ids, count - 1, axis=1)
    ended = ops.zeros_like(newest, dtype="bool")
    for stop_id in generation.stop_ids:
        ended = ended | (newest == stop_id)
    if stopped is not None:
        ended = ended | stopped(token_ids, count)
    return (ended & (count >= generation.min_new_tokens)) | (count >= most)


def put(token_ids: KerasTensor, count: int | KerasTensor, tokens: KerasTensor) -> KerasTensor:
    """`token_ids` `[..., T]` with `tokens` `[...]` at place `count`."""
    here = ops.arange(token_ids.shape[-1], dtype="int32") == count
    return ops.where(here, ops.expand_dims(tokens, -1), token_ids)
