"""Embeddings of token ids, positions and segments: the input of the first block.

In: `token_ids` int `[B, S]`, optionally `segment_ids` int `[B, S]`. Out: float
`[B, S, H]`. As in Devlin et al. 2018, figure 2: the sum of token, position and segment
embeddings, then layer normalization and dropout. GPT-2 (Radford et al. 2019) has no segments
and no normalization here, and its positions skip padding. Vaswani et al. 2017 use fixed
sinusoidal positions, and share one token table between encoder and decoder.
"""

from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from tfmodels.layers.dense import Layer, LayerNorm

POSITIONS = ("learned", "sinusoidal", "sinusoidal_halves", "none")


@keras.saving.register_keras_serializable("tfmodels")
class Embeddings(Layer):
    """The sum of token, position and segment embeddings, normalized.

    Args:
        vocabulary_size: V; 0 for a layer without a token table, which each call then receives.
        hidden_dim: H.
        max_length: maximum sequence length.
        num_segments: number of segment ids; 0 for no segment embeddings.
        epsilon: added to the variance in the normalization; `None` for no normalization.
        dropout: fraction of the result to drop in training.
        initializer_range: standard deviation of the initializer of the tables.
        positions: `"learned"`, `"sinusoidal"` or `"sinusoidal_halves"` (see `sinusoids`), or
            `"none"`.
        scale: factor of the token embeddings.

    Call arguments:
        token_ids: int `[B, S]`, 0 <= id < V.
        segment_ids: int `[B, S]`; defaults to all 0.
        position_ids: int `[B or 1, S]`, 0 <= position < max_length; defaults to 0, 1, ...
        token_table: float `[V, H]`, needed if the layer has no token table.
        token_embeddings: float `[B, S, H]` in place of those of `token_ids`, for gradients with
            respect to them.
        training: bool.

    Call returns:
        float `[B, S, H]`, of the compute dtype.

    Raises:
        ValueError: if S is known and exceeds `max_length`, or `positions` is not valid.
    """

    def __init__(
        self, vocabulary_size: int, hidden_dim: int, max_length: int, num_segments: int = 2,
        epsilon: float | None = 1e-12, dropout: float = 0.0, initializer_range: float = 0.02,
        positions: str = "learned", scale: float = 1.0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        if positions not in POSITIONS:
            raise ValueError(f"positions must be one of {', '.join(POSITIONS)}, got {positions!r}")
        self.vocabulary_size = vocabulary_size
        self.hidden_dim = hidden_dim
        self.max_length = max_length
        self.num_segments = num_segments
        self.epsilon = epsilon
        self.dropout = dropout
        self.initializer_range = initializer_range
        self.positions = positions
        self.scale = scale
        self.norm = None
        if epsilon is not None:
            self.norm = LayerNorm(epsilon, dtype=self.dtype_policy, name="norm")
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="drop")

    def build(self, token_ids_shape: tuple | None = None, *other_shapes: tuple) -> None:
        def table(rows, name):
            initializer = keras.initializers.TruncatedNormal(stddev=self.initializer_range)
            return self.add_weight((rows, self.hidden_dim), initializer=initializer, name=name)

        self.token = table(self.vocabulary_size, "token") if self.vocabulary_size else None
        self.position = None
        if self.positions == "learned":
            self.position = table(self.max_length, "position")
        elif self.positions != "none":
            halves = self.positions == "sinusoidal_halves"
            self.position = sinusoids(self.max_length, self.hidden_dim, halves)
        self.segment = table(self.num_segments, "segment") if self.num_segments else None
        if self.norm is not None:
            self.norm.build((None, None, self.hidden_dim))

    def call(
        self, token_ids: KerasTensor, segment_ids: KerasTensor | None = None,
        position_ids: KerasTensor | None = None, token_table: KerasTensor | None = None,
        token_embeddings: KerasTensor | None = None, training: bool = False,
    ) -> KerasTensor:  # fmt: skip
        length = token_ids.shape[1]
        if length is not None and length > self.max_length:
            raise ValueError(
                f"token_ids has {length} positions, the model has max_length={self.max_length}"
            )
        x = token_embeddings  # [B, S, H]
        if x is None:
            x = ops.take(self.token if token_table is None else token_table, token_ids, axis=0)
        if self.scale != 1:
            x = x * self.scale
        position = self.position
        if self.positions.startswith("sinusoidal"):
            position = ops.convert_to_tensor(position, x.dtype)
        if position_ids is None and position is not None:
            x = x + position[: ops.shape(token_ids)[1]]
        elif position is not None:
            x = x + ops.take(position, position_ids, axis=0)
        if self.segment is not None:
            if segment_ids is None:
                x = x + self.segment[0]
            elif self.num_segments == 2:
                # Interpolating between two rows is cheaper than a gather, whose gradient
                # scatters from every position into the same two rows.
                first, second = self.segment[0], self.segment[1]
                x = x + first + (second - first) * ops.cast(segment_ids, x.dtype)[..., None]
            else:
                x = x + ops.take(self.segment, segment_ids, axis=0)
        if self.norm is not None:
            x = self.norm(x, training=training)
        return self.drop(x, training=training)

    def compute_output_shape(self, token_ids_shape: tuple, *other_shapes: tuple) -> tuple:
        return (*token_ids_shape, self.hidden_dim)


def sinusoids(length: int, width: int, halves: bool = False) -> np.ndarray:
    """Return sinusoidal position embeddings (Vaswani et al. 2017, section 3.5).

    Column `2 i` is the sine of `position / 10000^(2 i / width)`, column `2 i + 1` its cosine. With
    `halves` all sines come before all cosines, as in the authors' code and in Marian.

    Returns:
        float32 array `[length, width]`.
    """
    angles = np.arange(length)[:, None] * 10000.0 ** (-np.arange(0, width, 2) / width)
    waves = np.stack([np.sin(angles), np.cos(angles)], -1)  # [length, width / 2, 2]
    if halves:
        waves = waves.swapaxes(1, 2)
    return waves.reshape(length, -1)[:, :width].astype("float32")
