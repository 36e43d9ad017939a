"""Training that computes the inner states of blocks again: less memory, the same numbers."""

import functools

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("remat works on TensorFlow", allow_module_level=True)

from tests.models.test_contract import SHAPE
from tfmodels.errors import InputError
from tfmodels.layers.blocks import DecoderBlock, EncoderBlock
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.classifier import Classifier
from tfmodels.models.gpt import Gpt, GptConfig
from tfmodels.models.model import Model
from tfmodels.models.transformer import Transformer, TransformerConfig

DROPS = {"dropout": 0.3, "attention_dropout": 0.3}
IDS = np.arange(24, dtype="int32").reshape(4, 6) % 11
MASK = np.arange(6) < np.array([[6], [4], [2], [5]])


def classifier():
    return Classifier(Bert(BertConfig(**SHAPE, num_layers=2, **DROPS)), 3), np.arange(4) % 3


def gpt():
    return Gpt(GptConfig(**SHAPE, num_layers=2, **DROPS)), IDS


def transformer():
    layers = {"num_encoder_layers": 1, "num_decoder_layers": 2}
    return Transformer(TransformerConfig(**SHAPE, **layers, **DROPS)), IDS


def trained(make, remat, eager=False):
    """Return the weights after two steps, and how often blocks were called in them."""
    keras.utils.set_random_seed(0)
    model, labels = make()
    model.rematerialize(remat)
    batch = {"token_ids": IDS, "decoder_token_ids": IDS, "padding_mask": MASK}
    batch = {name: batch[name] for name in batch if name in (*model.inputs_of_export, "token_ids")}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=eager)
    model.fit(batch, labels.astype("int32"), batch_size=4, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


def counted(call, calls):
    """Return a method that also notes its calls; Keras reads its signature."""

    @functools.wraps(call)
    def noted(*args, **kwargs):
        calls.append(1)
        return call(*args, **kwargs)

    return noted


@pytest.mark.parametrize(
    ("make", "eager"), [(classifier, False), (gpt, False), (transformer, False), (gpt, True)]
)
def test_the_same_elements_are_dropped(make, eager, monkeypatch):
    """Weights and the states of seeds are those of a training without."""
    expected, calls = trained(make, False, eager), []
    for block in (EncoderBlock, DecoderBlock):
        monkeypatch.setattr(block, "call", counted(block.call, calls))
    found = trained(make, True, eager)
    blocks = 3 if make is transformer else 2
    assert len(calls) == 2 * blocks * (2 if eager else 1)  # once more for the gradients
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)


def test_nothing_to_compute_again():
    with pytest.raises(InputError, match="remat: works for blocks of tfmodels.layers"):
        Model().rematerialize()
