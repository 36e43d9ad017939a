"""`SentenceEncoder`: one vector for a text (Reimers and Gurevych 2019, arXiv:1908.10084).

In: the batch dict of the encoder. Out: the pooled state, float `[B, H]`.
"""

from typing import Any

import keras
from keras import KerasTensor

from tfmodels.layers.heads import Pooler
from tfmodels.models.model import EncoderModel


@keras.saving.register_keras_serializable("tfmodels")
class SentenceEncoder(EncoderModel):
    """An encoder and a pooler.

    Args:
        encoder: see `Classifier`.
        pooling: "mean" or "max", see `Pooler`.

    Call arguments:
        batch: dict, see `Bert`.
        training: bool.

    Call returns:
        float32 `[B, H]`.
    """

    arguments = ("pooling",)

    def __init__(self, encoder: keras.Model, pooling: str = "mean", **kwargs: Any) -> None:
        super().__init__(encoder, **kwargs)
        self.pooling = pooling
        self.pooler = Pooler(encoder.config.hidden_dim, pooling, dtype="float32", name="pooler")
        self.build()

    def call(self, batch: dict, training: bool = False) -> KerasTensor:
        states = self.encoder(batch, training=training)  # [B, S, H]
        return self.pooler(states, batch.get("padding_mask"), training=training)

    def compute_output_shape(self, batch_shape: dict) -> tuple:
        return (batch_shape["token_ids"][0], self.config.hidden_dim)
