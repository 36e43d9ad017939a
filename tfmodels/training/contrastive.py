"""The loss of sentence encoders: texts of one class close together, those of others apart.

In: the class of each text, int `[B]`, and its pooled state, float `[B, H]`. Out: a scalar. As in
SetFit (Tunstall et al. 2022, arXiv:2209.11055), it is the squared error of the cosine of two
states, which is to be 1 in a class and 0 between classes; both kinds of pairs weigh the same. The
pairs are all of a batch, so each text is read once for all its pairs.
"""

import keras
from keras import KerasTensor, ops

from tfmodels.training.losses import global_mean


@keras.saving.register_keras_serializable("tfmodels")
class SimilarityLoss(keras.losses.Loss):
    """The mean squared error of the cosines of all pairs of a batch, both kinds weighing the same.

    Call arguments:
        y_true: int `[B]` or `[B, 1]`, the classes.
        y_pred: float `[B, H]`.

    Call returns:
        float32 scalar.
    """

    def __init__(self, name: str = "similarity") -> None:
        super().__init__(name=name, reduction=None)

    def __call__(
        self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: KerasTensor | None = None
    ) -> KerasTensor:
        classes = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        states = ops.normalize(ops.cast(y_pred, "float32"), axis=-1)
        cosines = ops.matmul(states, ops.transpose(states))  # [B, B]
        same = ops.cast(classes[:, None] == classes[None], "float32")
        pair = 1.0 - ops.eye(ops.shape(classes)[0])
        errors = 0.0
        for kind, wanted in ((same * pair, 1.0), (1.0 - same, 0.0)):
            number = ops.maximum(ops.sum(kind), 1.0)
            errors += ops.sum(kind * ops.square(cosines - wanted)) / number / 2
        return global_mean(self, errors, ops.ones(()))

    def get_config(self) -> dict:
        return {"name": self.name}
