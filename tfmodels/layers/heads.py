"""Heads of an encoder: pooling, classification and masked language modelling.

In: states float `[B, S, H]` and the bool `padding_mask` `[B, S]`. Out: a pooled vector float
`[B, H]`, class logits float32 `[B, C]`, or vocabulary logits float32 for each state.
"""

from typing import Any

import keras
from keras import KerasTensor, ops

from tfmodels.layers import kernels
from tfmodels.layers.dense import Layer, LayerNorm, dense

POOLINGS = ("first", "mean", "max")


@keras.saving.register_keras_serializable("tfmodels")
class Pooler(Layer):
    """Pool the states of a sequence into one vector.

    Args:
        hidden_dim: H.
        pooling: `"first"`: the state of the first token through a dense layer and tanh
            (Devlin et al. 2018); `"mean"`: the mean of the states of the real tokens
            (Reimers and Gurevych 2019); `"max"`: their maximum (Kim 2014). The last two have no
            weights.
        initializer_range: standard deviation of the kernel initializer.

    Call arguments:
        states: float `[B, S, H]`.
        padding_mask: bool `[B, S]`, `True` at real tokens; defaults to all `True`.
        training: bool.

    Call returns:
        float `[B, H]`.

    Raises:
        ValueError: if `pooling` is not valid.
    """

    def __init__(
        self, hidden_dim: int, pooling: str = "first", initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {POOLINGS}, got {pooling!r}")
        self.hidden_dim = hidden_dim
        self.pooling = pooling
        self.initializer_range = initializer_range
        self.dense = None
        if pooling == "first":
            self.dense = dense(
                hidden_dim, initializer_range, "tanh", dtype=self.dtype_policy, name="dense"
            )

    def build(self, states_shape: tuple, padding_mask_shape: tuple | None = None) -> None:
        if self.dense is not None:
            self.dense.build((states_shape[0], states_shape[-1]))

    def call(
        self, states: KerasTensor, padding_mask: KerasTensor | None = None, training: bool = False
    ) -> KerasTensor:
        if self.dense is not None:
            return self.dense(states[:, 0], training=training)
        if padding_mask is None:
            padding_mask = ops.ones(ops.shape(states)[:2], "bool")
        if self.pooling == "max":
            real = ops.expand_dims(padding_mask, -1)  # [B, S, 1]
            least = ops.min(states, axis=1, keepdims=True)  # [B, 1, H]
            return ops.max(ops.where(real, states, least), axis=1)
        real = ops.expand_dims(ops.cast(padding_mask, "float32"), -1)  # [B, S, 1]
        total = ops.sum(ops.cast(states, "float32") * real, axis=1)  # [B, H]
        # A row of padding only (a partial batch under a strategy) must not divide by 0.
        return ops.cast(total / ops.maximum(ops.sum(real, axis=1), 1.0), self.compute_dtype)

    def compute_output_shape(
        self, states_shape: tuple, padding_mask_shape: tuple | None = None
    ) -> tuple:
        return (states_shape[0], self.hidden_dim)


@keras.saving.register_keras_serializable("tfmodels")
class ClassificationHead(Layer):
    """Dropout and a dense layer that returns float32 logits.

    Args:
        num_classes: C.
        dropout: fraction of the inputs to drop in training.
        initializer_range: standard deviation of the kernel initializer.

    Call arguments:
        inputs: float `[..., H]`.
        training: bool.

    Call returns:
        float32 `[..., C]`: logits, so that softmax and loss are float32 too.
    """

    def __init__(
        self, num_classes: int, dropout: float = 0.0, initializer_range: float = 0.02, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.dropout = dropout
        self.initializer_range = initializer_range
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="drop")
        self.logits = dense(num_classes, initializer_range, dtype="float32", name="logits")

    def build(self, input_shape: tuple) -> None:
        self.logits.build(input_shape)

    def call(self, inputs: KerasTensor, training: bool = False) -> KerasTensor:
        return self.logits(self.drop(inputs, training=training), training=training)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.num_classes)

    def compute_output_spec(self, inputs: KerasTensor, training: bool = False) -> KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype="float32")


@keras.saving.register_keras_serializable("tfmodels")
class MaskedLMHead(Layer):
    """Predict the token at a position, with the output weights tied to the token embeddings.

    Devlin et al. 2018, appendix A.2, and `BertLMPredictionHead` in `transformers`: dense
    layer, activation, layer normalization, the product with the encoder's token embeddings
    and a bias.

    Args:
        vocabulary_size: V.
        hidden_dim: H.
        activation: activation of the dense layer, see `Dense`.
        epsilon: added to the variance in the layer normalization.
        initializer_range: standard deviation of the kernel initializer.

    Call arguments:
        states: float `[..., H]`.
        table: float `[V, H]`, the token embeddings.
        training: bool.

    Call returns:
        float32 `[..., V]`: logits.
    """

    def __init__(
        self, vocabulary_size: int, hidden_dim: int, activation: str = "gelu",
        epsilon: float = 1e-12, initializer_range: float = 0.02, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.hidden_dim = hidden_dim
        self.activation = activation
        self.epsilon = epsilon
        self.initializer_range = initializer_range
        self.dense = dense(
            hidden_dim, initializer_range, activation, dtype=self.dtype_policy, name="dense"
        )
        self.norm = LayerNorm(epsilon, dtype=self.dtype_policy, name="norm")

    def build(self, states_shape: tuple, table_shape: tuple | None = None) -> None:
        self.dense.build(states_shape)
        self.norm.build(states_shape)
        # float32 like the logits.
        self.bias = self.add_weight(
            (self.vocabulary_size,), initializer="zeros", name="bias", dtype="float32",
            autocast=False,
        )  # fmt: skip

    def call(self, states: KerasTensor, table: KerasTensor, training: bool = False) -> KerasTensor:
        x = self.norm(self.dense(states, training=training), training=training)
        return kernels.product_with_rows(x, table, self.bias)

    def compute_output_shape(self, states_shape: tuple, table_shape: tuple | None = None) -> tuple:
        return (*states_shape[:-1], self.vocabulary_size)

    def compute_output_spec(
        self, states: KerasTensor, table: KerasTensor | None = None, training: bool = False
    ) -> KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(states.shape), dtype="float32")
