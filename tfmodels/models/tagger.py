"""`Tagger`: any encoder, one label for every word.

In: the batch dict that the encoder takes, with `word_positions` int32 `[B, W]`, the position
of the first piece of every word. Out: float32 logits `[B, W, C]`, and from these the tags
and their probabilities. Devlin et al. 2018, section 5.3; with a chain over the words, as
Lample et al. 2016 (arXiv:1603.01360).
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, ops

from tfmodels.errors import InputError
from tfmodels.layers.crf import CRF, Chain, penalties, viterbi
from tfmodels.layers.heads import ClassificationHead
from tfmodels.layers.kernels import take_positions
from tfmodels.models.model import EncoderModel


@keras.saving.register_keras_serializable("tfmodels")
class Tagger(EncoderModel):
    """An encoder and a classification head over words, with or without a chain.

    Args:
        encoder: a model that takes the batch dict and gives float `[B, S, H]`, with a
            `config` that has `hidden_dim` and `initializer_range`; for example `Bert`.
        num_labels: C.
        labels: the C names of the tags. If given, `decode` keeps to IOB2, see
            `iob2_constraints`.
        crf: whether there is a `CRF`; then `crf` is that layer, else `None`.
        dropout: share of the states that is dropped in training.

    Call arguments:
        batch: dict, see `Bert`; also `word_positions` int `[B, W]`, in which any valid
            position stands where there is no word. Without it, every token is a word.
        training: bool.

    Call returns:
        float32 `[B, W, C]`: logits, which are the emissions of the chain.

    Raises:
        ValueError: see `penalties`.

    Example:
        >>> model = Tagger(Bert(BertConfig.of_size("tiny")), 3, ["O", "B-PER", "I-PER"])
        >>> batch = {"token_ids": np.array([[101, 7592, 102]]), "word_positions": np.array([[1]])}
        >>> tuple(model(batch).shape)
        (1, 1, 3)
    """

    arguments = ("num_labels", "dropout")
    inputs_of_export = (*EncoderModel.inputs_of_export, "word_positions")

    def __init__(
        self,
        encoder: keras.Model,
        num_labels: int,
        labels: Sequence[str] | None = None,
        crf: bool = False,
        dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, **kwargs)
        self.num_labels = num_labels
        self.labels: Any = None if labels is None else tuple(labels)
        self.dropout = dropout
        self.penalties = penalties(self.labels, num_labels)
        same = {"initializer_range": encoder.config.initializer_range, "dtype": self.dtype_policy}
        self.head = ClassificationHead(num_labels, dropout, **same, name="head")
        self.crf = CRF(num_labels, labels, dtype=self.dtype_policy, name="crf") if crf else None
        self.build()

    def call(self, batch: dict, training: bool = False) -> KerasTensor:
        states = self.encoder(batch, training=training)  # [B, S, H]
        positions = batch.get("word_positions")
        if positions is not None:
            states = take_positions(states, positions)  # [B, W, H]
        return self.head(states, training=training)

    def decode(self, logits: KerasTensor, word_mask: KerasTensor | None = None) -> KerasTensor:
        """The best tags.

        Args:
            logits: float `[B, W, C]`, what the model gives.
            word_mask: bool `[B, W]`, `True` at words, a prefix of each row; all if not given.

        Returns:
            int32 `[B, W]`; -1 where there is no word.
        """
        if self.crf is not None:
            return self.crf.decode(logits, word_mask)
        return viterbi(logits, word_mask, Chain(*self.penalties))

    def probabilities(
        self, logits: KerasTensor, word_mask: KerasTensor | None = None
    ) -> KerasTensor:
        """The probability of each tag of each word: of the chain, or the softmax.

        Args:
            logits: as of `decode`.
            word_mask: as of `decode`.

        Returns:
            float32 `[B, W, C]`; 0 where there is no word.
        """
        if self.crf is not None:
            return self.crf.marginals(logits, word_mask)
        found = ops.softmax(ops.cast(logits, "float32"))
        return found if word_mask is None else ops.where(word_mask[..., None], found, 0.0)

    def compute_output_shape(self, batch_shape: dict) -> tuple:
        words = batch_shape.get("word_positions", batch_shape["token_ids"])
        return (*words, self.num_labels)

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        """Compile as `keras.Model.compile`; with a CRF the loss must be its own.

        Raises:
            InputError: the loss would leave the CRF untrained, which `decode` uses.
        """
        if self.crf is not None and loss is not None and getattr(loss, "crf", None) is not self.crf:
            raise InputError(
                f"loss {loss!r}: it would leave the CRF untrained; give "
                "model.compile(optimizer, **tagging_objective(model)), which has SequenceLoss"
            )
        super().compile(optimizer, loss, *args, **kwargs)

    def compile_from_config(self, config: dict) -> None:
        config = keras.saving.deserialize_keras_object(config)
        if hasattr(config.get("loss"), "crf"):
            config["loss"].crf = self.crf  # it was read with a chain of its own
        self.compile(**config)
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def get_config(self) -> dict:
        labels = None if self.labels is None else list(self.labels)
        return {**super().get_config(), "labels": labels, "crf": self.crf is not None}
