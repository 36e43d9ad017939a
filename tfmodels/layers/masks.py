"""All attention masks of the package: `bool`, `True` = may be attended to.

In: padding masks and sequence ids `[B, S]`, and lengths. Out: masks that broadcast to
`[B, Q, K]` (Q query positions, K key positions), as `Attention` takes them.

Dimension letters of the whole package: B batch, S sequence, T target sequence,
Q queries, K keys, H hidden, N heads, D head size, F feed-forward, V vocabulary,
L layers, C classes.
"""

from keras import KerasTensor, ops


def padding_attention_mask(padding_mask: KerasTensor | None) -> KerasTensor | None:
    """Return a mask that lets every query attend to the real tokens of its row.

    Args:
        padding_mask: bool `[B, K]`, `True` at real tokens; `None` if there is no padding.

    Returns:
        bool `[B, 1, K]`, or `None` if `padding_mask` is `None`.
    """
    if padding_mask is None:
        return None
    return ops.expand_dims(ops.cast(padding_mask, "bool"), 1)


def sequence_attention_mask(sequence_ids: KerasTensor) -> KerasTensor:
    """Return a mask that lets each token attend to the tokens of its own sequence.

    Args:
        sequence_ids: int `[B, S]`, which of the sequences in its row a token belongs to, from 1
            on; 0 at padding.

    Returns:
        bool `[B, S, S]`.
    """
    queries, keys = ops.expand_dims(sequence_ids, 2), ops.expand_dims(sequence_ids, 1)
    return ops.logical_and(queries == keys, keys > 0)


def sequence_positions(sequence_mask: KerasTensor) -> KerasTensor:
    """Return the position of each token in its own sequence; undefined at padding.

    Args:
        sequence_mask: bool `[B, S, S]`, of `sequence_attention_mask`; the tokens of a sequence
            stand together.

    Returns:
        int32 `[B, S]`, from 0 on.
    """
    first = ops.argmax(ops.cast(sequence_mask, "int32"), axis=-1)
    return ops.arange(ops.shape(sequence_mask)[1], dtype="int32") - ops.cast(first, "int32")


def causal_attention_mask(
    num_queries: int | KerasTensor,
    num_keys: int | KerasTensor | None = None,
    first_query: int | KerasTensor = 0,
) -> KerasTensor:
    """Return a mask that lets each query attend to keys up to its own position, inclusive.

    Args:
        num_queries: Q, an int or a scalar int tensor.
        num_keys: K; defaults to `num_queries`.
        first_query: position of the first query among the keys, an int or a scalar
            int tensor (above 0 if earlier keys come from a cache).

    Returns:
        bool `[1, Q, K]`.
    """
    num_keys = num_queries if num_keys is None else num_keys
    queries = ops.arange(num_queries, dtype="int32") + first_query  # [Q]
    keys = ops.arange(num_keys, dtype="int32")  # [K]
    return ops.expand_dims(ops.expand_dims(queries, 1) >= ops.expand_dims(keys, 0), 0)


def combine_masks(*masks: KerasTensor | None) -> KerasTensor | None:
    """Return the logical and of masks; `None` allows everything.

    Args:
        *masks: bool tensors that broadcast to `[B, Q, K]`, or `None`.

    Returns:
        bool tensor, or `None` if every mask is `None`.
    """
    combined = None
    for mask in masks:
        if mask is not None:
            combined = mask if combined is None else ops.logical_and(combined, mask)
    return combined
