"""The loss of labels that depend on each other, and how a tagger is compiled.

In: int labels `[B, W]`, where a negative one does not count (see `losses.py`), and the
emissions float `[B, W, C]` of sequences of words. Out: the mean over the labels that count.
"""

import keras
from keras import KerasTensor, ops

from tfmodels.layers.crf import CRF
from tfmodels.training.losses import (
    Accuracy,
    Crossentropy,
    divisor,
    global_mean,
    int_labels,
    label_losses,
    label_weights,
)


@keras.saving.register_keras_serializable("tfmodels")
class SequenceLoss(keras.losses.Loss):
    """The negative log-likelihood under a CRF, per label of all replicas together.

    The sum over the rows, divided by the number of labels in the global batch: of the size
    of `Crossentropy` (and equal to it while the CRF's weights are 0 and it has no
    constraints), and the same gradients on one device and on many.

    A row ends with its last label. Before that, words without a label are summed over,
    see `CRF.log_likelihood`.

    Args:
        crf: the `CRF` of the model that is trained.
        emission_weight: of the cross-entropy of each label by itself, which is added. A CRF
            predicts many tags from their neighbours alone, so its gradient teaches the encoder
            little about them; an encoder from scratch needs more.
        labels_per_row: see `divisor`.

    Call arguments:
        y_true: int `[B, W]`.
        y_pred: float `[B, W, C]`, emissions.
        sample_weight: float `[B]` or `[B, 1]`; weights of the rows.

    Call returns:
        float32 scalar; 0 where no label counts.

    Raises:
        ValueError: if there is a weight for each word.
    """

    def __init__(
        self, crf: CRF, emission_weight: float = 0.0, labels_per_row: float | None = None,
        name: str = "sequence_loss",
    ) -> None:  # fmt: skip
        super().__init__(name=name, reduction=None)
        self.crf = crf
        self.emission_weight = emission_weight
        self.labels_per_row = labels_per_row

    def __call__(
        self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: KerasTensor | None = None
    ) -> KerasTensor:
        labels = int_labels(y_true, y_pred)
        counted = ops.cast(labels >= 0, "int32")
        # Words up to the last label: labels from here to the end of the row, if any.
        mask = ops.flip(ops.cumsum(ops.flip(counted, 1), 1), 1) > 0
        losses = -self.crf.log_likelihood(y_pred, labels, mask)  # [B]
        if self.emission_weight:
            alone = label_losses(labels, y_pred) * ops.cast(counted, "float32")  # [B, W]
            losses = losses + self.emission_weight * ops.sum(alone, 1)
        if sample_weight is not None:
            shape = tuple(sample_weight.shape)
            if len(shape) > 1 and shape[1:] != (1,):
                raise ValueError(
                    "sample_weight must be of rows, [B], because a sequence of words has one "
                    f"likelihood; got the shape {shape}"
                )
            losses = losses * ops.cast(ops.reshape(sample_weight, (-1,)), "float32")
        number = divisor(labels, label_weights(labels, sample_weight), self.labels_per_row)
        return global_mean(self, ops.sum(losses), number)

    def get_config(self) -> dict:
        return {
            "crf": keras.saving.serialize_keras_object(self.crf),
            "emission_weight": self.emission_weight,
            "labels_per_row": self.labels_per_row,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict) -> "SequenceLoss":
        return cls(**{**config, "crf": keras.saving.deserialize_keras_object(config["crf"])})


def tagging_objective(
    model: keras.Model, emission_weight: float = 0.0, labels_per_row: float | None = None
) -> dict:
    """Return the loss and metric of a `Tagger`, as arguments of `compile`.

    Args:
        model: a `Tagger`.
        emission_weight: see `SequenceLoss`; without a CRF it changes nothing.
        labels_per_row: for batches of rows of similar length, see `divisor`.

    The metric sees the logits alone. With a CRF it is therefore called
    `emission_accuracy`: the tags of the CRF are those of `Tagger.decode`.

    Example:
        >>> model.compile(AdamW(1e-4), **tagging_objective(model))
    """
    if model.crf is None:
        return {"loss": Crossentropy(labels_per_row=labels_per_row), "metrics": [Accuracy()]}
    return {
        "loss": SequenceLoss(model.crf, emission_weight, labels_per_row),
        "metrics": [Accuracy("emission_accuracy")],
    }
