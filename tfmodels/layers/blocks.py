"""The blocks of the models: feed-forward, encoder block, decoder block.

In: float `[B, S, H]`, or flat `[B * S, H]`, which a stack of blocks does not have to reshape, and
bool masks (see `masks`). Out: float of the same shape. Vaswani et al. 2017, section 3.1;
`norm_first` selects pre-norm (Xiong et al. 2020, GPT-2).
"""

from typing import Any

import keras
from keras import KerasTensor

from tfmodels.layers import kernels
from tfmodels.layers.attention import Attention
from tfmodels.layers.dense import Layer, LayerNorm, dense


@keras.saving.register_keras_serializable("tfmodels")
class FeedForward(Layer):
    """Two dense layers with an activation between them, applied at each position.

    Args:
        hidden_dim: H.
        feedforward_dim: F.
        activation: name of a Keras activation.
        initializer_range: standard deviation of the kernel initializer.

    Call arguments:
        inputs: float `[B, S, H]`.
        training: bool.

    Call returns:
        float `[B, S, H]`.
    """

    def __init__(
        self, hidden_dim: int, feedforward_dim: int, activation: str = "gelu",
        initializer_range: float = 0.02, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.feedforward_dim = feedforward_dim
        self.activation = activation
        self.initializer_range = initializer_range
        self.inner = dense(
            feedforward_dim, initializer_range, activation, dtype=self.dtype_policy, name="inner"
        )
        self.outer = dense(hidden_dim, initializer_range, dtype=self.dtype_policy, name="outer")

    def build(self, input_shape: tuple) -> None:
        self.inner.build(input_shape)
        self.outer.build((*input_shape[:-1], self.feedforward_dim))

    def call(self, inputs: KerasTensor, training: bool = False) -> KerasTensor:
        return self.outer(self.inner(inputs, training=training), training=training)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.hidden_dim)


class _Block(Layer):
    """Base of the blocks: their arguments (see `EncoderBlock`), sublayers and residuals."""

    def __init__(
        self, hidden_dim: int, num_heads: int, feedforward_dim: int, activation: str = "gelu",
        dropout: float = 0.0, attention_dropout: float = 0.0, epsilon: float = 1e-12,
        norm_first: bool = False, initializer_range: float = 0.02, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads
        self.feedforward_dim = feedforward_dim
        self.activation = activation
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.epsilon = epsilon
        self.norm_first = norm_first
        self.initializer_range = initializer_range
        self.attention = self._attention("attention")
        self.attention_norm = self._norm("attention_norm")
        self.feedforward = FeedForward(
            hidden_dim,
            feedforward_dim,
            activation,
            initializer_range,
            dtype=self.dtype_policy,
            name="feedforward",
        )
        self.feedforward_norm = self._norm("feedforward_norm")
        # Pre-norm only: in post-norm blocks the normalization layer applies the dropout.
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="drop")

    def _attention(self, name, cross=False):
        return Attention(
            self.num_heads,
            self.hidden_dim,
            self.attention_dropout,
            self.initializer_range,
            cross,
            dtype=self.dtype_policy,
            name=name,
        )

    def _norm(self, name):
        dropout = 0.0 if self.norm_first else self.dropout
        return LayerNorm(self.epsilon, dropout, dtype=self.dtype_policy, name=name)

    def build(self, input_shape, *other_shapes):
        self.attention.build(input_shape)
        self.attention_norm.build(input_shape)
        self.feedforward.build(input_shape)
        self.feedforward_norm.build(input_shape)

    def _before(self, x, norm, training):
        """Return the input of a sublayer: `x`, normalized in a pre-norm block."""
        return norm(x, training=training) if self.norm_first else x

    def _after(self, x, output, norm, training):
        """Return `x` plus the sublayer's `output`, normalized in a post-norm block."""
        if self.norm_first:
            return x + self.drop(output, training=training)
        return norm(output, residual=x, training=training)

    def _feed_forward(self, x, training):
        output = self.feedforward(
            self._before(x, self.feedforward_norm, training), training=training
        )
        return self._after(x, output, self.feedforward_norm, training)

    def compute_output_shape(self, input_shape, *args, **kwargs):
        return input_shape


@keras.saving.register_keras_serializable("tfmodels")
class EncoderBlock(_Block):
    """Self-attention, then feed-forward.

    Args:
        hidden_dim: H.
        num_heads: N.
        feedforward_dim: F.
        activation: name of a Keras activation, of the feed-forward sublayer.
        dropout: fraction of each sublayer's output to drop in training.
        attention_dropout: fraction of the attention weights to drop in training.
        epsilon: added to the variance in the layer normalizations.
        norm_first: whether to normalize the input of each sublayer (pre-norm) instead of the
            sum after it (post-norm).
        initializer_range: standard deviation of the kernel initializer.

    Call arguments:
        inputs: float `[B, S, H]`; or flat `[B * S, H]`, with `length`.
        attention_mask: bool that broadcasts to `[B, S, S]`, `True` = may be attended to.
        length: S, an int or a scalar int tensor, if `inputs` is flat.
        real: `kernels.Real`, if flat states have no padding.
        return_attention_scores: whether to return the attention weights too; not in a functional
            model (`inspect` of a model returns those of all layers).
        training: bool.

    Call returns:
        float of the shape of `inputs`; with `return_attention_scores` a pair of it and float
        `[B, N, S, S]`.
    """

    def call(
        self, inputs: KerasTensor, attention_mask: KerasTensor | None = None,
        length: int | KerasTensor | None = None, real: kernels.Real | None = None,
        return_attention_scores: bool = False, training: bool = False,
    ) -> KerasTensor | tuple:  # fmt: skip
        x = self._before(inputs, self.attention_norm, training)
        x = self.attention(
            x, attention_mask=attention_mask, length=length, real=real,
            return_attention_scores=return_attention_scores, training=training,
        )  # fmt: skip
        x, *scores = x if return_attention_scores else (x,)
        x = self._after(inputs, x, self.attention_norm, training)
        x = self._feed_forward(x, training)
        return (x, *scores) if scores else x


@keras.saving.register_keras_serializable("tfmodels")
class DecoderBlock(_Block):
    """Causal self-attention, optionally cross-attention, then feed-forward.

    Args:
        *args: as in `EncoderBlock`.
        cross_attention: whether the block attends to the output of an encoder.
        **kwargs: as in `EncoderBlock`.

    Call arguments:
        inputs: float `[B, T, H]`; or flat `[B * T, H]`, with `length`.
        attention_mask: bool that broadcasts to `[B, T, K]`: causal, and `False` at padding.
        encoded: float `[B, S, H]`, the encoder's output.
        encoded_mask: bool that broadcasts to `[B, T, S]`.
        cache: pair of float `[B, N, K, D]` for the self-attention (see `Attention`).
        cache_index: scalar int, position in the cache of the first input.
        encoded_cache: pair of float `[B, N, S, D]`, `cross_attention.project(encoded)`,
            to give instead of `encoded`.
        sharing: number of rows of flat `inputs` that share a row of `encoded_cache` and of
            `encoded_mask`; they are next to each other.
        length: T, an int or a scalar int tensor, if `inputs` is flat.
        return_attention_scores: whether to return the weights of the self-attention too.
        return_cross_attention_scores: likewise of the cross-attention.
        training: bool.

    Call returns:
        float of the shape of `inputs`, or a tuple of it, the new cache (if `cache_index` is given),
        the self-attention weights float `[B, N, T, K]` (if `return_attention_scores`) and those of
        the cross-attention float `[B, N, T, S]` (if `return_cross_attention_scores`).
    """

    def __init__(self, *args: Any, cross_attention: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cross_attention = None
        if cross_attention:
            self.cross_attention = self._attention("cross_attention", cross=True)
        self.cross_attention_norm = self._norm("cross_attention_norm") if cross_attention else None

    def build(self, input_shape: tuple, *other_shapes: tuple) -> None:
        super().build(input_shape)
        for part in (self.cross_attention, self.cross_attention_norm):
            if part is not None:
                part.build(input_shape)

    def call(
        self, inputs: KerasTensor, attention_mask: KerasTensor | None = None,
        encoded: KerasTensor | None = None, encoded_mask: KerasTensor | None = None,
        cache: tuple | None = None, cache_index: int | KerasTensor | None = None,
        encoded_cache: tuple | None = None, sharing: int = 1,
        length: int | KerasTensor | None = None, return_attention_scores: bool = False,
        return_cross_attention_scores: bool = False, training: bool = False,
    ) -> KerasTensor | tuple:  # fmt: skip
        x = self._before(inputs, self.attention_norm, training)
        x = self.attention(
            x,
            attention_mask=attention_mask,
            cache=cache,
            cache_index=cache_index,
            length=length,
            return_attention_scores=return_attention_scores,
            training=training,
        )
        x, *others = x if isinstance(x, tuple) else (x,)
        x = self._after(inputs, x, self.attention_norm, training)
        if self.cross_attention is not None:
            if encoded is None and encoded_cache is None:
                raise ValueError(
                    "a block with cross-attention needs encoded or encoded_cache; give one of them"
                )
            attended = self.cross_attention(
                self._before(x, self.cross_attention_norm, training),
                value=encoded,
                attention_mask=encoded_mask,
                cache=encoded_cache,
                # Rows that share keys and values are as more queries to them.
                length=None if length is None else length * sharing,
                return_attention_scores=return_cross_attention_scores,
                training=training,
            )
            if return_cross_attention_scores:
                attended, scores = attended
                others.append(scores)
            x = self._after(x, attended, self.cross_attention_norm, training)
        x = self._feed_forward(x, training)
        return (x, *others) if others else x

    def get_config(self) -> dict:
        return {**super().get_config(), "cross_attention": self.cross_attention is not None}
