"""Multi-head attention: self, cross, causal and cached attention in one class.

In: queries `[B, Q, H]`, optionally values `[B, K, H]`, a bool mask, a cache. Out:
`[B, Q, H]`. Scaled dot-product attention (Vaswani et al. 2017, section 3.2). The call
decides the kind: self-attention without values, cross-attention with values, causal
attention with a causal mask (see `masks`).

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

    Args:
        num_heads: N, must divide `hidden_dim`.
        hidden_dim: H.
        dropout: fraction of the attention weights to drop in training.
        initializer_range: standard deviation of the truncated normal kernel initializer.

    Call arguments:
        query: float `[B, Q, H]`.
        value: float `[B, K, H]` to attend to; defaults to `query`.
        attention_mask: bool that broadcasts to `[B, Q, K]`, `True` = may be attended to.
        cache: pair of keys and values, float `[B, N, K, D]` each: from `new_cache` for
            incremental self-attention, from `project` for cross-attention.
        cache_index: scalar int. If given, the keys and values of `query` are written to the
            cache from this position on, and the call returns the new cache too (without
            `cache`, a cache of `query` alone, K = Q). If not given, `cache` is used unchanged
            and `value` is ignored.
            Unwritten positions of the cache must be zero and masked, and the cache must have
            room: `cache_index + Q <= K` (not checked if the index is a tensor).
        return_attention_scores: whether to return the attention weights too, as
            `keras.layers.MultiHeadAttention` does.
        training: bool.

    Call returns:
        float `[B, Q, H]`, or a tuple of it, the new cache (if `cache_index` is given) and the
        weights float `[B, N, Q, K]` (if `return_attention_scores`).

    Raises:
        ValueError: if `num_heads` does not divide `hidden_dim`.
    """

    def __init__(
        self, num_heads: int, hidden_dim: int, dropout: float = 0.0,
        initializer_range: float = 0.02, **kwargs: Any,
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
        self.seed_generator = keras.random.SeedGenerator()
        self.query, self.key, self.value, self.output_projection = (
            dense(hidden_dim, initializer_range, dtype=self.dtype_policy, name=name)
            for name in ("query", "key", "value", "output")
        )

    def build(self, query_shape: tuple, value_shape: tuple | None = None) -> None:
        self.query.build(query_shape)
        self.key.build(value_shape or query_shape)
        self.value.build(value_shape or query_shape)
        self.output_projection.build((*query_shape[:-1], self.hidden_dim))

    def new_cache(self, batch_size: int | KerasTensor, length: int | KerasTensor) -> tuple:
        """Return an empty cache for `length` positions: a pair of zeros `[B, N, length, D]`."""
        shape = (batch_size, self.num_heads, length, self.head_dim)
        return tuple(ops.zeros(shape, dtype=self.compute_dtype) for _ in range(2))

    def project(self, value: KerasTensor, training: bool = False) -> tuple:
        """Return keys and values of `value` `[B, K, H]` as a cache: two float `[B, N, K, D]`."""
        keys = self._heads(self.key(value, training=training))
        return keys, self._heads(self.value(value, training=training))

    def call(
        self, query: KerasTensor, value: KerasTensor | None = None,
        attention_mask: KerasTensor | None = None, cache: tuple | None = None,
        cache_index: int | KerasTensor | None = None, return_attention_scores: bool = False,
        training: bool = False,
    ) -> KerasTensor | tuple:  # fmt: skip
        queries = self._heads(self.query(query, training=training))  # [B, N, Q, D]
        if cache is None:
            cache = self.project(query if value is None else value, training)
        elif cache_index is not None:
            length, room = query.shape[1], cache[0].shape[2]
            if isinstance(cache_index, int) and room is not None and cache_index + length > room:
                raise ValueError(
                    f"a cache of {room} positions has no room for {length} more at {cache_index}"
                )
            new = self.project(query, training)
            cache = tuple(
                kernels.write_cache(old, ops.cast(part, old.dtype), cache_index)
                for old, part in zip(cache, new, strict=True)
            )
        keys, values = cache
        mask = attention_mask
        if mask is not None:
            mask = ops.expand_dims(mask, -3)  # [B, 1, Q, K]; axis -3, as B may be missing
        attended, scores = kernels.attend(
            queries,
            keys,
            values,
            mask,
            1.0 / math.sqrt(self.head_dim),
            training,
            self.dropout,
            self.seed_generator.next() if training and self.dropout else None,
        )
        attended = ops.transpose(attended, (0, 2, 1, 3))  # [B, Q, N, D]
        attended = ops.reshape(attended, (-1, ops.shape(query)[1], self.hidden_dim))
        output = self.output_projection(attended, training=training)
        outputs = (output,) if cache_index is None else (output, cache)
        outputs = (*outputs, scores) if return_attention_scores else outputs
        return outputs[0] if len(outputs) == 1 else outputs

    def _heads(self, x):
        """Reshape `[B, S, H]` to `[B, N, S, D]`."""
        x = ops.reshape(x, (-1, ops.shape(x)[1], self.num_heads, self.head_dim))
        return ops.transpose(x, (0, 2, 1, 3))

    def compute_output_shape(self, query_shape: tuple, *args: Any, **kwargs: Any) -> tuple:
        return (*query_shape[:-1], self.hidden_dim)
