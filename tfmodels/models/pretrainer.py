"""`BertPretrainer`: BERT with its two pretraining heads.

In: the batch dict of `Bert`, with `masked_positions` int32 `[B, M]`. Out: logits over the
vocabulary at these positions, and of next-sentence prediction. Devlin et al. 2018, section
3.1; `BertForPreTraining` and `BertForMaskedLM` in `transformers`.
"""

from typing import Any

import keras
from keras import KerasTensor, ops

from tfmodels.errors import InputError
from tfmodels.layers.heads import ClassificationHead, MaskedLMHead, Pooler
from tfmodels.layers.kernels import take_positions
from tfmodels.models.model import EncoderModel


@keras.saving.register_keras_serializable("tfmodels")
class BertPretrainer(EncoderModel):
    """An encoder, a masked-LM head and an optional next-sentence head.

    Args:
        encoder: a `Bert`.
        next_sentence: whether there is a next-sentence head, which also serves for
            sentence-order prediction.

    Call arguments:
        batch: dict, see `Bert`; also `masked_positions` int `[B, M]`, the positions to
            predict; defaults to all. With several sequences in a row (`sequence_ids`) and
            `next_sentence` also `sequence_starts` int `[B, K]`, where each one begins.
        training: bool.

    Call returns:
        dict of float32 logits: `masked_lm` `[B, M, V]` (or `[B, S, V]`), and with
        `next_sentence` also `next_sentence` `[B, 2]` (or `[B, K, 2]`): class 0 if the second
        segment follows the first, class 1 if not.

    Raises:
        InputError: `sequence_ids` without `sequence_starts`, for the next-sentence head.

    Example:
        >>> model = BertPretrainer(Bert(BertConfig.of_size("tiny")))
        >>> batch = {"token_ids": np.array([[101, 103, 102]]), "masked_positions": np.array([[1]])}
        >>> {name: tuple(logits.shape) for name, logits in model(batch).items()}
        {'masked_lm': (1, 1, 30522), 'next_sentence': (1, 2)}
    """

    arguments = ("next_sentence",)
    packed = True
    inputs_of_export = (*EncoderModel.inputs_of_export, "masked_positions")

    def __init__(self, encoder: keras.Model, next_sentence: bool = True, **kwargs: Any) -> None:
        super().__init__(encoder, **kwargs)
        self.next_sentence = next_sentence
        config = encoder.config
        same = {"initializer_range": config.initializer_range, "dtype": self.dtype_policy}
        sizes = (config.vocabulary_size, config.hidden_dim, config.activation, config.epsilon)
        self.masked_lm = MaskedLMHead(*sizes, **same, name="masked_lm")
        self.pooler: Any = None
        self.next_sentence_head: Any = None
        if next_sentence:
            self.pooler = Pooler(config.hidden_dim, **same, name="pooler")
            self.next_sentence_head = ClassificationHead(2, **same, name="next_sentence")
        self.build()

    def call(self, batch: dict, training: bool = False) -> dict[str, KerasTensor]:
        states = self.encoder(batch, training=training)  # [B, S, H]
        positions = batch.get("masked_positions")
        logits = {"masked_lm": self.masked_lm_logits(states, positions, training)}
        if self.next_sentence:
            starts = batch.get("sequence_starts")
            if starts is None and batch.get("sequence_ids") is not None:
                raise InputError(
                    "the batch has sequence_ids and no sequence_starts, which the next-sentence "
                    "head reads; give them, or make the model with next_sentence=False"
                )
            if starts is not None:
                states = take_positions(states, starts)  # [B, K, H]
                states = ops.reshape(states, (-1, 1, self.config.hidden_dim))  # [B * K, 1, H]
            pooled = self.pooler(states, training=training)  # [B, H] or [B * K, H]
            pairs = self.next_sentence_head(pooled, training=training)
            if starts is not None:
                pairs = ops.reshape(pairs, (-1, ops.shape(starts)[1], 2))
            logits["next_sentence"] = pairs
        return logits

    def masked_lm_logits(
        self, states: KerasTensor, positions: KerasTensor | None = None, training: bool = False
    ) -> KerasTensor:
        """Return float32 logits `[B, M, V]` of the states `[B, S, H]` at `positions` `[B, M]`."""
        masked = states if positions is None else take_positions(states, positions)  # [B, M, H]
        return self.masked_lm(masked, self.encoder.embeddings.token, training=training)

    def compute_output_shape(self, batch_shape: dict) -> dict[str, tuple]:
        positions = batch_shape.get("masked_positions", batch_shape["token_ids"])
        shapes = {"masked_lm": (*positions, self.encoder.config.vocabulary_size)}
        if self.next_sentence:
            shapes["next_sentence"] = (*batch_shape.get("sequence_starts", positions[:1]), 2)
        return shapes
