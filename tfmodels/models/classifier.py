"""`Classifier`: any encoder, one label for the whole text.

In: the batch dict that the encoder takes. Out: float32 logits `[B, C]`.
"""

import keras

from tfmodels.layers.heads import ClassificationHead, Pooler
from tfmodels.models.model import EncoderModel


@keras.saving.register_keras_serializable("tfmodels")
class Classifier(EncoderModel):
    """An encoder, a pooler and a classification head.

    Args:
        encoder: a model that takes the batch dict and gives float `[B, S, H]`, with a
            `config` that has `hidden_dim` and `initializer_range`; for example `Bert`.
        num_classes: C.
        dropout: share of the pooled vector that is dropped in training.
        pooling: `"first"` or `"mean"`, see `Pooler`.

    Call arguments:
        batch: dict, see `Bert`.
        training: bool.

    Returns:
        float32 `[B, C]`: logits.
    """

    def __init__(self, encoder, num_classes, dropout=0.1, pooling="first", **kwargs):
        super().__init__(encoder, **kwargs)
        self.num_classes = num_classes
        self.dropout = dropout
        self.pooling = pooling
        config = encoder.config
        self.pooler = Pooler(
            config.hidden_dim,
            pooling,
            config.initializer_range,
            dtype=self.dtype_policy,
            name="pooler",
        )
        self.head = ClassificationHead(
            num_classes, dropout, config.initializer_range, dtype=self.dtype_policy, name="head"
        )

    def build(self, batch_shape=None):
        hidden_dim = self.encoder.config.hidden_dim
        super().build()
        self.pooler.build((None, None, hidden_dim))
        self.head.build((None, hidden_dim))

    def call(self, batch, training=False):
        states = self.encoder(batch, training=training)  # [B, S, H]
        pooled = self.pooler(states, batch.get("padding_mask"), training=training)  # [B, H]
        return self.head(pooled, training=training)

    def compute_output_shape(self, batch_shape):
        return (batch_shape["token_ids"][0], self.num_classes)

    def compute_output_spec(self, batch, training=False):
        return keras.KerasTensor((batch["token_ids"].shape[0], self.num_classes), dtype="float32")

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "dropout": self.dropout,
            "pooling": self.pooling,
        }
