"""`Classifier`: an encoder with a head that classifies the whole text.

In: the batch dict of the encoder. Out: float32 logits `[B, C]`, and probabilities from them.
"""

from typing import Any

import keras
from keras import KerasTensor, ops

from tfmodels.errors import InputError
from tfmodels.layers.heads import ClassificationHead, Pooler
from tfmodels.models.model import EncoderModel

# The functions from logits to predictions.
ACTIVATIONS = {
    "softmax": ops.softmax,
    "sigmoid": ops.sigmoid,
    "linear": lambda logits: logits,
}


@keras.saving.register_keras_serializable("tfmodels")
class Classifier(EncoderModel):
    """An encoder, a pooler and a classification head.

    Args:
        encoder: a model that maps the batch dict to float `[B, S, H]`, with a
            `config` that has `hidden_dim` and `initializer_range`; for example `Bert`.
        num_classes: C.
        dropout: fraction of the pooled vector to drop in training.
        pooling: `"first"` or `"mean"`, see `Pooler`.
        activation: `"softmax"` for single-label classification, `"sigmoid"` for multi-label
            (or binary with one class), `"linear"` for regression. It is applied by
            `probabilities`; the model itself always returns logits.

    Call arguments:
        batch: dict, see `Bert`.
        training: bool.

    Call returns:
        float32 `[B, C]`: logits.

    Raises:
        InputError: if `activation` is not valid, or a softmax over one class.
    """

    arguments = ("num_classes", "dropout", "pooling", "activation")

    def __init__(
        self, encoder: keras.Model, num_classes: int, dropout: float = 0.1, pooling: str = "first",
        activation: str = "softmax", **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(encoder, **kwargs)
        if activation not in ACTIVATIONS:
            raise InputError(f"activation must be one of {', '.join(ACTIVATIONS)}: {activation!r}")
        if num_classes == 1 and activation == "softmax":
            raise InputError(
                'num_classes=1: a softmax of one class is always 1; give activation="sigmoid" '
                'for a yes or no, or "linear" for a score'
            )
        self.num_classes = num_classes
        self.activation = activation
        self.dropout = dropout
        self.pooling = pooling
        config = encoder.config
        same = {"initializer_range": config.initializer_range, "dtype": self.dtype_policy}
        self.pooler = Pooler(config.hidden_dim, pooling, **same, name="pooler")
        self.head = ClassificationHead(num_classes, dropout, **same, name="head")
        self.build()

    def call(self, batch: dict, training: bool = False) -> KerasTensor:
        states = self.encoder(batch, training=training)  # [B, S, H]
        pooled = self.pooler(states, batch.get("padding_mask"), training=training)  # [B, H]
        return self.head(pooled, training=training)

    def probabilities(self, logits: KerasTensor) -> KerasTensor:
        """Return `activation` applied to the logits: float32 `[B, C]`."""
        return ACTIVATIONS[self.activation](ops.cast(logits, "float32"))

    def compute_output_shape(self, batch_shape: dict) -> tuple:
        return (batch_shape["token_ids"][0], self.num_classes)
