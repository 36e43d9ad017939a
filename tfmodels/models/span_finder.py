"""`SpanFinder`: an encoder with a head that says where an answer begins and ends.

In: the batch dict of the encoder, of pairs of a question and a window of its context. Out: float32
logits `[B, 2, S]`, of the start and of the end. Devlin et al. 2018, section 4.2 and 4.3.
"""

from typing import Any

import keras
from keras import KerasTensor, ops

from tfmodels.layers.heads import ClassificationHead
from tfmodels.models.model import EncoderModel

NEVER = -1e9  # logit of a token at which no answer begins or ends


@keras.saving.register_keras_serializable("tfmodels")
class SpanFinder(EncoderModel):
    """An encoder and a head over the tokens of the second segment.

    Args:
        encoder: a model that maps the batch dict to float `[B, S, H]`, with a `config` that has
            `hidden_dim` and `initializer_range`; for example `Bert`.
        dropout: fraction of the states to drop in training.

    Call arguments:
        batch: dict, see `Bert`; `segment_ids` are 1 in the context.
        training: bool.

    Call returns:
        float32 `[B, 2, S]`: logits of the start and of the end, -1e9 at padding and in the
        question. The first token, `[CLS]`, stands for "no answer in this window".

    Example:
        >>> model = SpanFinder(Bert(BertConfig.of_size("tiny")))
        >>> batch = {"token_ids": np.array([[101, 7592, 102, 7592, 102]])}
        >>> batch["segment_ids"] = np.array([[0, 0, 0, 1, 1]])
        >>> tuple(model(batch).shape)
        (1, 2, 5)
    """

    arguments = ("dropout",)
    required = ("token_ids", "segment_ids")

    def __init__(self, encoder: keras.Model, dropout: float = 0.1, **kwargs: Any) -> None:
        super().__init__(encoder, **kwargs)
        self.dropout = dropout
        self.span_head = ClassificationHead(
            2, dropout, encoder.config.initializer_range, dtype=self.dtype_policy, name="span_head"
        )
        self.build()

    def call(self, batch: dict, training: bool = False) -> KerasTensor:
        states = self.encoder(batch, training=training)  # [B, S, H]
        logits = self.span_head(states, training=training)  # [B, S, 2]
        segment_ids, padding_mask = batch["segment_ids"], batch.get("padding_mask")
        first = ops.arange(ops.shape(segment_ids)[1]) == 0  # [S]
        allowed = ops.equal(segment_ids, 1)  # [B, S]
        if padding_mask is not None:
            allowed = ops.logical_and(allowed, padding_mask)
        allowed = ops.expand_dims(ops.logical_or(allowed, first), 1)  # [B, 1, S]
        return ops.where(allowed, ops.transpose(logits, (0, 2, 1)), NEVER)

    def compute_output_shape(self, batch_shape: dict) -> tuple:
        rows, length = batch_shape["token_ids"]
        return (rows, 2, length)
