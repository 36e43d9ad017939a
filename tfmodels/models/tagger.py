"""`Tagger`: an encoder with a head that labels every word.

In: the batch dict of the encoder, with `word_positions` int32 `[B, W]`, the position of the first
piece of every word. Out: float32 logits `[B, W, C]`, and from these the tags and their
probabilities. Devlin et al. 2018, section 5.3; with a CRF, Lample et al. 2016 (arXiv:1603.01360).
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, ops

from tfmodels.errors import InputError
from tfmodels.layers.crf import CRF, CrfScores, penalties, viterbi
from tfmodels.layers.heads import ClassificationHead
from tfmodels.layers.kernels import take_positions
from tfmodels.models.model import EncoderModel


@keras.saving.register_keras_serializable("tfmodels")
class Tagger(EncoderModel):
    """An encoder and a classification head over words, with or without a CRF.

    Args:
        encoder: a model that maps the batch dict to float `[B, S, H]`, with a
            `config` that has `hidden_dim` and `initializer_range`; for example `Bert`.
        num_labels: C.
        labels: the C names of the tags.
        crf: whether to add a `CRF`. The attribute `crf` is that layer, or `None`.
        dropout: fraction of the states to drop in training.
        constrained: whether `decode` returns valid IOB2 only, where `labels` are given; see
            `iob2_constraints`.

    Call arguments:
        batch: dict, see `Bert`; also `word_positions` int `[B, W]`, padded with any valid
            position. Without it, every token is a word.
        training: bool.

    Returns:
        float32 `[B, W, C]`: logits, the emissions of the CRF.

    Raises:
        ValueError: see `penalties`.

    Example:
        >>> model = Tagger(Bert(BertConfig.of_size("tiny")), 3, ["O", "B-PER", "I-PER"])
        >>> batch = {"token_ids": np.array([[101, 7592, 102]]), "word_positions": np.array([[1]])}
        >>> tuple(model(batch).shape)
        (1, 1, 3)
    """

    arguments = ("num_labels", "dropout", "constrained")
    inputs_of_export = (*EncoderModel.inputs_of_export, "word_positions")

    def __init__(
        self, encoder: keras.Model, num_labels: int, labels: Sequence[str] | None = None,
        crf: bool = False, dropout: float = 0.1, constrained: bool = True, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(encoder, **kwargs)
        self.num_labels = num_labels
        self.labels: Any = None if labels is None else tuple(labels)
        self.dropout = dropout
        self.constrained = constrained
        self.penalties = penalties(self.labels if constrained else None, num_labels)
        same = {"initializer_range": encoder.config.initializer_range, "dtype": self.dtype_policy}
        self.head = ClassificationHead(num_labels, dropout, **same, name="head")
        names = labels if constrained else None
        self.crf = CRF(num_labels, names, dtype=self.dtype_policy, name="crf") if crf else None
        self.build()

    def call(self, batch: dict, training: bool = False) -> KerasTensor:
        states = self.encoder(batch, training=training)  # [B, S, H]
        positions = batch.get("word_positions")
        if positions is not None:
            states = take_positions(states, positions)  # [B, W, H]
        return self.head(states, training=training)

    def decode(self, logits: KerasTensor, word_mask: KerasTensor | None = None) -> KerasTensor:
        """Return the best tags.

        Args:
            logits: float `[B, W, C]`, the output of the model.
            word_mask: bool `[B, W]`, `True` at words, a prefix of each row; defaults to all.

        Returns:
            int32 `[B, W]`; -1 where there is no word.
        """
        if self.crf is not None:
            return self.crf.decode(logits, word_mask)
        return viterbi(logits, word_mask, CrfScores(*self.penalties))

    def probabilities(
        self, logits: KerasTensor, word_mask: KerasTensor | None = None
    ) -> KerasTensor:
        """Return the probability of each tag of each word: CRF marginals, or the softmax.

        Args:
            logits: as in `decode`.
            word_mask: as in `decode`.

        Returns:
            float32 `[B, W, C]`; 0 where there is no word.
        """
        if self.crf is not None:
            return self.crf.marginals(logits, word_mask)
        result = ops.softmax(ops.cast(logits, "float32"))
        return result if word_mask is None else ops.where(word_mask[..., None], result, 0.0)

    def compute_output_shape(self, batch_shape: dict) -> tuple:
        words = batch_shape.get("word_positions", batch_shape["token_ids"])
        return (*words, self.num_labels)

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        """Compile as `keras.Model.compile` does; with a CRF, its loss is required.

        Raises:
            InputError: if the loss would leave the CRF, which `decode` uses, untrained.
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
            config["loss"].crf = self.crf  # the deserialized loss has a copy of the CRF
        self.compile(**config)
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def get_config(self) -> dict:
        labels = None if self.labels is None else list(self.labels)
        return {**super().get_config(), "labels": labels, "crf": self.crf is not None}
