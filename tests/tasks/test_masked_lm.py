"""Pretraining with several examples in a row is the same training."""

import keras
import numpy as np
import pytest

from tfmodels import MaskedLM
from tfmodels.text.wordpiece import SPECIAL_TOKENS, WordPieceTokenizer

WORDS = [f"w{i}" for i in range(40)]


def documents():
    draw = np.random.default_rng(0)
    return [
        "\n".join(" ".join(draw.choice(WORDS, draw.integers(1, 8))) + "." for _ in range(length))
        for length in draw.integers(1, 5, 60)
    ]


@pytest.mark.parametrize("objective", ["nsp", "mlm"])
def test_packed_and_plain_training_are_the_same(objective):
    def trained(packing):
        keras.utils.set_random_seed(0)
        task = MaskedLM.from_scratch(
            tokenizer=WordPieceTokenizer([*SPECIAL_TOKENS, ".", *WORDS]), size="tiny",
            max_length=32, task=objective, dropout=0.0, packing=packing,
        )  # fmt: skip
        # Plain gradient descent: AdamW would make large steps of rounding.
        task.compile(keras.optimizers.SGD(0.1))
        history = task.fit(documents(), batch_size=8, epochs=1, validation_split=0.2, verbose=0)
        return history.history, task.model.get_weights()

    (packed, weights), (plain, expected) = trained(True), trained(False)
    assert packed.keys() == plain.keys()
    # Keras' own mean of the losses weights batches by their rows.
    for name in packed.keys() - {"loss", "tokens_per_second"}:
        np.testing.assert_allclose(packed[name], plain[name], rtol=1e-5, err_msg=name)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
