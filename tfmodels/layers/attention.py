"""Multi-head attention: self, cross, causal and cached attention in one class.

In: queries `[B, Q, H]`, or flat `[B * Q, H]`; optionally values `[B, K, H]`, a bool mask, a cache.
Out: as the queries. Scaled dot-product attention (Vaswani et al. 2017, section 3.2). Attention is
causal with a causal mask (see `masks`).

B batch, Q queries, K keys, H hidden, N heads, D head size.
"""

import math
from typing import Any

import keras
from keras import KerasTensor, ops

from tfmodels.layers import kernels
from tfmodels.layers.dense import Layer, dense


@keras.saving.register_keras_serializable("tfmodels")
class Attention(Layer):
    """Multi-head scaled dot-product attention.

    The projections of the same states are one product: of queries, keys and values in
    self-attention, of keys and values in cross-attention.

    Args:
        num_heads: N, must divide `hidden_dim`.
        hidden_dim: H.
        dropout: fraction of the attention weights to drop in training.
        initializer_range: standard deviation of the truncated normal kernel initializer.
        cross: whether the layer attends to `value` (cross-attention) and not to `query`.

    Call arguments:
        query: float `[B, Q, H]`; or flat `[B * Q, H]`, with `length`.
        value: float `[B, K, H]` to attend to, for cross-attention.
        attention_mask: bool that broadcasts to `[B, Q, K]`, `True` = may be attended to.
        cache: pair of keys and values, float `[B, N, K, D]` each: from `new_cache` for
            incremental self-attention, from `project` for cross-attention.
        cache_index: scalar int, or its `kernels.cache_places`. If given, the keys and values of
            `query` are written to the cache from this position on, and the call returns the new
            cache too (without `cache`, a cache of `query` alone, K = Q).
            Unwritten positions of the cache must be zero and masked, and the cache must have
            room: `cache_index + Q <= K` (not checked if the index is a tensor).
        length: Q, an int or a scalar int tensor, if `query` is flat.
        real: `kernels.Real`, if flat states have no padding: `[T, H]` for T real positions.
        return_attention_scores: whether to return the attention weights too, as
            `keras.layers.MultiHeadAttention` does.
        training: bool.

    Call returns:
        float of the shape of `query`, or a tuple of it, the new cache (if `cache_index` is given)
        and the weights float `[B, N, Q, K]` (if `return_attention_scores`).

    Raises:
        ValueError: `num_heads` does not divide `hidden_dim`; or there is a `value` without
            `cross`, or neither `value` nor `cache` with it.
    """

    def __init__(
        self, num_heads: int, hidden_dim: int, dropout: float = 0.0,
        initializer_range: float = 0.02, cross: bool = False, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        if hidden_dim % num_heads:
            raise ValueError(
                f"hidden_dim must be a multiple of num_heads, got hidden_dim={hidden_dim} "
                f"and num_heads={num_heads}"
            )
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.head_dim = hidden_dim // num_heads
        self.dropout = dropout
        self.initializer_range = initializer_range
        self.cross = cross
        self.seed_generator = keras.random.SeedGenerator()

        def projection(name, parts=1):
            width = parts * hidden_dim
            return dense(width, initializer_range, dtype=self.dtype_policy, name=name)

        if cross:
            self.query, self.key_value = projection("query"), projection("key_value", 2)
        else:
            self.query_key_value = projection("query_key_value", 3)
        self.output_projection = projection("output")

    def build(self, query_shape: tuple, value_shape: tuple | None = None) -> None:
        if self.cross:
            self.query.build(query_shape)
            self.key_value.build(value_shape or query_shape)
        else:
            self.query_key_value.build(query_shape)
        self.output_projection.build((*query_shape[:-1], self.hidden_dim))

    def new_cache(self, batch_size: int | KerasTensor, length: int | KerasTensor) -> tuple:
        """Return an empty cache for `length` positions: a pair of zeros `[B, N, length, D]`."""
        shape = (batch_size, self.num_heads, length, self.head_dim)
        return tuple(ops.zeros(shape, dtype=self.compute_dtype) for _ in range(2))

    def project(self, value: KerasTensor, training: bool = False) -> tuple:
        """Return keys and values of `value` `[B, K, H]` as a cache: two float `[B, N, K, D]`."""
        projected = self.key_value(ops.reshape(value, (-1, value.shape[-1])), training=training)
        return tuple(self._heads(projected, ops.shape(value)[1], 2))

    def call(
        self, query: KerasTensor, value: KerasTensor | None = None,
        attention_mask: KerasTensor | None = None, cache: tuple | None = None,
        cache_index: int | KerasTensor | None = None, length: int | KerasTensor | None = None,
        real: kernels.Real | None = None, return_attention_scores: bool = False,
        training: bool = False,
    ) -> KerasTensor | tuple:  # fmt: skip
        length = ops.shape(query)[1] if len(query.shape) == 3 else length
        x = ops.reshape(query, (-1, query.shape[-1]))
        if self.cross:
            (queries,) = self._heads(self.query(x, training=training), length, 1)
            if value is None and cache is None:
                raise ValueError("cross-attention needs value or cache; give one of them")
            cache = self.project(value, training) if cache is None else cache
        else:
            if value is not None:
                raise ValueError("value is for cross-attention; give Attention(..., cross=True)")
            projected = self.query_key_value(x, training=training)
            projected = projected if real is None else real.spread(projected)
            queries, *new = self._heads(projected, length, 3)
            cache = tuple(new) if cache is None else self._write(cache, new, cache_index, length)
        mask = attention_mask
        if mask is not None:
            mask = ops.expand_dims(mask, -3)  # [B, 1, Q, K]; axis -3, as B may be missing
        seed = self.seed_generator.next() if training and self.dropout else None
        scale = 1.0 / math.sqrt(self.head_dim)
        keys, values = cache
        attended, scores = kernels.attend(
            queries, keys, values, mask, scale, training, self.dropout, seed,
            return_attention_scores,
        )  # fmt: skip
        if not _is_one(length):
            attended = ops.transpose(attended, (0, 2, 1, 3))  # [B, Q, N, D]
        attended = ops.reshape(attended, (-1, self.hidden_dim))
        attended = attended if real is None else real.only(attended)
        output = self.output_projection(attended, training=training)
        if len(query.shape) == 3:
            output = ops.reshape(output, (-1, length, self.hidden_dim))
        outputs = (output,) if cache_index is None else (output, cache)
        outputs = (*outputs, scores) if return_attention_scores else outputs
        return outputs[0] if len(outputs) == 1 else outputs

    def _write(self, cache, new, index, length):
        """Return the cache with keys and values of `length` positions written from `index` on."""
        room = cache[0].shape[2]
        known = all(isinstance(number, int) for number in (index, length, room))
        if known and index + length > room:
            raise ValueError(
                f"a cache of {room} positions has no room for {length} more at {index}"
            )
        return tuple(
            kernels.write_cache(old, ops.cast(part, old.dtype), index)
            for old, part in zip(cache, new, strict=True)
        )

    def _heads(self, x, length, parts):
        """Return the parts of flat `[B * S, parts * H]`, each `[B, N, S, D]`."""
        if _is_one(length):  # in place of a transposition for each token that is generated
            return ops.unstack(
                ops.reshape(x, (-1, parts, self.num_heads, 1, self.head_dim)), parts, axis=1
            )
        x = ops.reshape(x, (-1, length, parts, self.num_heads, self.head_dim))
        return ops.unstack(ops.transpose(x, (2, 0, 3, 1, 4)), parts, axis=0)

    def compute_output_shape(self, query_shape: tuple, *args: Any, **kwargs: Any) -> tuple:
        return (*query_shape[:-1], self.hidden_dim)


def _is_one(length):
    return isinstance(length, int) and length == 1
