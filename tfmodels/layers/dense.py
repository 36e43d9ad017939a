"""`Dense` and `LayerNorm`, the layers with weights of every block, and their base `Layer`.

In: float `[..., I]`; out: float `[..., O]`. Weight names and shapes are those of
`keras.layers.Dense` and `keras.layers.LayerNormalization`.
"""

import inspect
from typing import Any

import keras
from keras import KerasTensor

from tfmodels.layers import kernels


class Layer(keras.layers.Layer):
    """A Keras layer whose config holds its constructor arguments, read from equal attributes."""

    def get_config(self) -> dict:
        config, kinds = super().get_config(), type(self).__mro__
        for kind in kinds[: kinds.index(Layer)]:
            spec = inspect.getfullargspec(kind.__init__)  # type: ignore[misc]
            config |= {name: getattr(self, name) for name in spec.args[1:] + spec.kwonlyargs}
        return config


@keras.saving.register_keras_serializable("tfmodels")
class Dense(keras.layers.Dense):
    """`activation(inputs @ kernel + bias)`, computed by the fast `kernels.dense`.

    Args:
        units: size O of the last axis of the output.
        activation: name of a Keras activation, or `None`; `"gelu"` is the exact GELU,
            `"gelu_tanh"` its tanh approximation.
        **kwargs: as in `keras.layers.Dense`.

    Call arguments:
        inputs: float `[..., I]`.
        training: bool.

    Call returns:
        float `[..., O]`, of the compute dtype.
    """

    def __init__(self, units: int, activation: str | None = None, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        if activation not in kernels.OWN_ACTIVATIONS:
            keras.activations.get(activation)  # raises on an unknown name
        self.activation_name = activation

    def call(self, inputs: KerasTensor, training: bool = False) -> KerasTensor:
        return kernels.dense(inputs, self.kernel, self.bias, self.activation_name, training)

    def get_config(self) -> dict:
        return {**super().get_config(), "activation": self.activation_name}


@keras.saving.register_keras_serializable("tfmodels")
class LayerNorm(Layer):
    """Layer normalization (Ba et al. 2016) of `residual + dropout(inputs)`.

    Residual connection, dropout and normalization share one layer to need only one pass
    over memory.

    Args:
        epsilon: added to the variance.
        dropout: fraction of `inputs` to drop in training.

    Call arguments:
        inputs: float `[..., H]`.
        residual: float `[..., H]`, added before the normalization; optional.
        training: bool.

    Call returns:
        float `[..., H]`, of the compute dtype.
    """

    def __init__(self, epsilon: float = 1e-12, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.dropout = dropout
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, input_shape: tuple) -> None:
        width = input_shape[-1]
        # float32 under every dtype policy, like the normalized values.
        kind = {"dtype": "float32", "autocast": False}
        self.gamma = self.add_weight((width,), initializer="ones", name="gamma", **kind)
        self.beta = self.add_weight((width,), initializer="zeros", name="beta", **kind)

    def call(
        self, inputs: KerasTensor, residual: KerasTensor | None = None, training: bool = False
    ) -> KerasTensor:
        seed = self.seed_generator.next() if training and self.dropout else None
        return kernels.add_norm(
            inputs, residual, self.gamma, self.beta, self.epsilon, training, self.dropout, seed
        )

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape


def dense(
    units: int, initializer_range: float, activation: str | None = None, **kwargs: Any
) -> Dense:
    """Return a `Dense` with a truncated normal kernel initializer (as BERT).

    Every layer gets its own initializer: a shared one would give all kernels of the same
    shape the same initial values.

    Args:
        units: size of the last axis of the output.
        initializer_range: standard deviation of the distribution.
        activation: name of a Keras activation, or `None`.
        **kwargs: as in `keras.layers.Layer`.
    """
    initializer = keras.initializers.TruncatedNormal(stddev=initializer_range)
    return Dense(units, activation=activation, kernel_initializer=initializer, **kwargs)
