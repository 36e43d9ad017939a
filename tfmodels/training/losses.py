"""The losses and their metrics: cross-entropy over the labels that count, and those of texts with
several labels or a number.

In: int labels `[...]`, where a negative one (`IGNORED`) does not count, and float logits
`[..., C]`. Out: means over the labels that count, of the whole global batch or of all
batches since the last reset. What is padding, not masked, or not the first piece of a word
follows from the labels alone, so no pipeline has to carry weights beside them.
"""

import threading
from typing import Any

import keras
from keras import KerasTensor, ops

from tfmodels.errors import InputError

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
else:
    tf = None

IGNORED = -1  # the label of a position that does not count; so does any negative one

# `(loss, number of labels)` of the losses of a step: for an optimizer that puts batches together,
# and to which Keras gives gradients alone. Of each thread: replicas are traced in their own.
_last = threading.local()


@keras.saving.register_keras_serializable("tfmodels")
class Crossentropy(keras.losses.Loss):
    """The mean cross-entropy over the labels that count, of all replicas together.

    Keras' own losses average over each replica's part of a batch and then over the
    replicas, so that a label counts the more, the fewer stand beside it. Here the sum
    is divided by the number of labels (or the sum of their weights) in the global batch,
    so that one device and many give the same gradients.

    Args:
        label_smoothing: share of the probability that is spread over all classes, 0 to 1
            (Szegedy et al. 2016).
        labels_per_row: of labels `[B, W]`, see `divisor`.

    Call arguments:
        y_true: int `[...]`.
        y_pred: float `[..., C]`, logits.
        sample_weight: float `[B]` or `[...]`; weights of the labels.

    Call returns:
        float32 scalar; 0 where no label counts.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        labels_per_row: float | None = None,
        name: str = "crossentropy",
    ) -> None:
        super().__init__(name=name, reduction=None)
        self.label_smoothing = label_smoothing
        self.labels_per_row = labels_per_row

    def __call__(
        self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: KerasTensor | None = None
    ) -> KerasTensor:
        labels = int_labels(y_true, y_pred)
        weights = label_weights(labels, sample_weight)
        losses = label_losses(labels, y_pred, self.label_smoothing)
        number = divisor(labels, weights, self.labels_per_row)
        return global_mean(self, ops.sum(losses * weights), number)

    def get_config(self) -> dict:
        return {
            "label_smoothing": self.label_smoothing,
            "labels_per_row": self.labels_per_row,
            "name": self.name,
        }


class _LabelMean(keras.metrics.Mean):
    """A mean over the labels that count, of batches of any width."""

    def _add(self, values, labels, sample_weight):
        # Flat: of several axes Keras takes a mean in each row first, in which a label of a
        # wide batch counts less.
        weights = label_weights(labels, sample_weight)
        super().update_state(ops.reshape(values, (-1,)), ops.reshape(weights, (-1,)))


@keras.saving.register_keras_serializable("tfmodels")
class BinaryCrossentropy(keras.losses.Loss):
    """The mean cross-entropy of independent labels, each there or not, of all replicas together.

    Args:
        label_smoothing: share by which 0 and 1 move towards 0.5.

    Call arguments:
        y_true: 0 or 1, `[B, C]`.
        y_pred: float `[B, C]`, logits.
        sample_weight: float `[B]`.

    Call returns:
        float32 scalar: the mean over the rows of the mean over the labels.
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "binary_crossentropy") -> None:
        super().__init__(name=name, reduction=None)
        self.label_smoothing = label_smoothing

    def __call__(
        self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: KerasTensor | None = None
    ) -> KerasTensor:
        logits, there = ops.cast(y_pred, "float32"), ops.cast(y_true, "float32")
        there = there * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        losses = ops.softplus(logits) - there * logits  # [B, C]
        return row_mean(self, ops.mean(losses, -1), sample_weight)

    def get_config(self) -> dict:
        return {"label_smoothing": self.label_smoothing, "name": self.name}


@keras.saving.register_keras_serializable("tfmodels")
class SquaredError(keras.losses.Loss):
    """The mean squared error of one number a row, of all replicas together.

    Call arguments:
        y_true: float `[B]` or `[B, 1]`.
        y_pred: float `[B, 1]`.
        sample_weight: float `[B]`.

    Call returns:
        float32 scalar.
    """

    def __init__(self, name: str = "squared_error") -> None:
        super().__init__(name=name, reduction=None)

    def __call__(
        self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: KerasTensor | None = None
    ) -> KerasTensor:
        error = ops.cast(ops.reshape(y_pred, (-1,)), "float32")
        error = error - ops.cast(ops.reshape(y_true, (-1,)), "float32")
        return row_mean(self, ops.square(error), sample_weight)

    def get_config(self) -> dict:
        return {"name": self.name}


def row_mean(
    loss: keras.losses.Loss, losses: KerasTensor, sample_weight: KerasTensor | None
) -> KerasTensor:
    """Return `global_mean` of the losses of rows, float32 `[B]`, with the weights of the rows."""
    weights = ops.ones_like(losses)
    if sample_weight is not None:
        weights = ops.cast(ops.reshape(sample_weight, (-1,)), "float32")
    return global_mean(loss, ops.sum(losses * weights), ops.sum(weights))


@keras.saving.register_keras_serializable("tfmodels")
class Accuracy(_LabelMean):
    """The share of the labels that count for which the largest logit is right.

    Call arguments: as `Crossentropy`.
    """

    _direction = "up"  # which Keras' `EarlyStopping` and others look for

    def __init__(self, name: str = "accuracy", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(
        self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: KerasTensor | None = None
    ) -> None:
        labels = int_labels(y_true, y_pred)
        right = ops.equal(labels, ops.cast(ops.argmax(y_pred, -1), labels.dtype))
        self._add(ops.cast(right, "float32"), labels, sample_weight)


@keras.saving.register_keras_serializable("tfmodels")
class MeanCrossentropy(_LabelMean):
    """The mean cross-entropy over the labels that count, in nats, over all batches.

    What Keras shows as the loss is the mean of the batches' means, in which a label of a
    batch with few of them counts more.

    Call arguments: as `Crossentropy`.
    """

    _direction = "down"

    def __init__(self, name: str = "crossentropy", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(
        self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: KerasTensor | None = None
    ) -> None:
        labels = int_labels(y_true, y_pred)
        self._add(label_losses(labels, y_pred), labels, sample_weight)


def pretraining_objective(next_sentence: bool = True) -> dict:
    """Return the losses and metrics of a `BertPretrainer`, as arguments of `compile`.

    The total loss is the sum of both heads' (Devlin et al. 2018, appendix A.2).

    Example:
        >>> model.compile(AdamW(1e-4), **pretraining_objective())
    """
    heads = ["masked_lm", *(["next_sentence"] if next_sentence else [])]
    # Keras puts the name of the output before that of a metric, unless there is one output.
    before = "" if next_sentence else "masked_lm_"
    metrics = (Accuracy, "accuracy"), (MeanCrossentropy, "crossentropy")
    return {
        "loss": {head: Crossentropy() for head in heads},
        "metrics": {head: [metric(before + name) for metric, name in metrics] for head in heads},
    }


def label_losses(
    labels: KerasTensor, logits: KerasTensor, label_smoothing: float = 0.0
) -> KerasTensor:
    """Return the cross-entropy of each label, float32 `[...]`; of class 0 where it is negative."""
    logits = ops.cast(logits, "float32")
    labels = ops.maximum(labels, 0)
    losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    if not label_smoothing:
        return losses
    # The mean over all classes of -log p.
    spread = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
    return (1.0 - label_smoothing) * losses + label_smoothing * spread


def int_labels(y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
    """Return labels as int32, of the shape of the logits without their last axis.

    Raises:
        InputError: they are strings, or a probability for each class.
    """
    y_true, rank = ops.convert_to_tensor(y_true), len(y_pred.shape)
    dtype, shape = keras.backend.standardize_dtype(y_true.dtype), y_true.shape
    remedy = None
    if dtype == "string":
        remedy = "give the number of each label's class"
    elif len(shape) == rank and shape[-1] not in (1, None):
        remedy = "use argmax, or CategoricalCrossentropy(from_logits=True) of keras.losses"
    if remedy:
        wanted, got = (", ".join(["B", *map(str, s[1:])]) for s in (y_pred.shape[:-1], shape))
        raise InputError(f"labels are int [{wanted}], got {dtype} [{got}]: {remedy}")
    labels = ops.cast(y_true, "int32")
    return ops.squeeze(labels, -1) if len(shape) == rank else labels  # Keras may give `[B, 1]`


def label_weights(labels: KerasTensor, sample_weight: KerasTensor | None = None) -> KerasTensor:
    """Return 1 where a label counts, else 0, times its own or its row's weight: float32 `[...]`."""
    weights = ops.cast(labels >= 0, "float32")
    if sample_weight is None:
        return weights
    sample_weight = ops.cast(sample_weight, "float32")
    if len(sample_weight.shape) > len(weights.shape):
        sample_weight = ops.squeeze(sample_weight, -1)
    while len(sample_weight.shape) < len(weights.shape):
        sample_weight = ops.expand_dims(sample_weight, -1)
    return weights * sample_weight


def divisor(
    labels: KerasTensor, weights: KerasTensor, labels_per_row: float | None = None
) -> KerasTensor:
    """What the sum of the losses of a batch is divided by.

    Batches of rows of similar length have few labels or many. Divided by its own number of
    labels, a batch of short rows moves the weights as far as one of long rows, so that a label in
    a short row counts several times as much as one in a long row. Divided by the number that as
    many rows have on average, every label counts the same.

    Args:
        labels: int `[B, ...]`.
        weights: float, of the shape of `labels`: see `label_weights`.
        labels_per_row: mean number of labels of a row of the training data; `None` divides by
            the sum of the weights.

    Returns:
        float32 scalar, which the replicas can add up.
    """
    if labels_per_row is None:
        return ops.sum(weights)
    counted = ops.sum(ops.cast(labels >= 0, "float32"), -1)
    return labels_per_row * ops.sum(ops.sum(weights, -1) / ops.maximum(counted, 1.0))


def global_mean(loss: keras.losses.Loss, total: KerasTensor, number: KerasTensor) -> KerasTensor:
    """Return the mean over all replicas, as Keras wants it of each of them.

    Keras adds up the gradients of the replicas, so each one's is that of its part. The value is
    the whole mean over the number of replicas on every one of them: what Keras reports is then
    the mean, also where replicas have different numbers of rows.

    Args:
        loss: whose mean it is.
        total: float scalar, the sum over the labels of this replica.
        number: float scalar, how many these are.

    Returns:
        float scalar; 0 where there are none.
    """
    replicas = tf.distribute.get_replica_context() if tf is not None else None
    if replicas is None or replicas.num_replicas_in_sync == 1:
        _note(loss, number)
        return total / ops.maximum(number, 1e-12)
    sums = replicas.all_reduce(tf.distribute.ReduceOp.SUM, tf.stack([total, number]))
    total_of_all, number = tf.stop_gradient(sums[0]), tf.stop_gradient(sums[1])
    _note(loss, number)
    number = ops.maximum(number, 1e-12)
    part = total / number
    value = total_of_all / number / replicas.num_replicas_in_sync
    return value + part - tf.stop_gradient(part)


def labels_of_step() -> KerasTensor | None:
    """Return how many labels the gradients of this step are the mean over, of all replicas.

    To be asked once a step, after the loss and in its graph, by who gets its gradients.

    Returns:
        float32 scalar: the number, or the sum of their weights; or None where none of the losses
        here was taken, or several were, whose labels are different ones.
    """
    noted, _last.notes = getattr(_last, "notes", []), []
    # What `evaluate` left is of another graph; in eager mode, of a loss that has come again since.
    here = [number for _, number in noted if _is_of_this_graph(number)]
    return here[0] if len(here) == 1 else None


def _note(loss, number):
    if tf is None:
        return
    # Nothing of another graph is held; this one's is, until the next.
    noted = [note for note in getattr(_last, "notes", []) if _is_of_this_graph(note[1])]
    if tf.executing_eagerly():
        noted = [note for note in noted if note[0] != id(loss)]
    _last.notes = [*noted, (id(loss), number)]


def _is_of_this_graph(tensor):
    if tf.executing_eagerly():
        return not tf.is_symbolic_tensor(tensor)
    graph = tf.compat.v1.get_default_graph()
    while graph is not None and graph is not getattr(tensor, "graph", None):
        graph = getattr(graph, "outer_graph", None)
    return graph is not None
