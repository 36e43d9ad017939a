"""Graphs of fixed weights: the form of exports gives the same states."""

import keras
import numpy as np
import pytest

from tfmodels.layers import kernels
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.gpt import Gpt, GptConfig
from tfmodels.models.transformer import Transformer, TransformerConfig

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are TensorFlow's"
)
SHAPE = {"vocabulary_size": 50, "num_layers": 2, "hidden_dim": 32, "num_heads": 2}
MASKS = {
    "real": np.ones((3, 7), bool),
    "mixed": np.arange(7) < np.array([[7], [2], [4]]),
    "left": np.arange(7) >= np.array([[0], [5], [3]]),
    "one_row_of_padding": np.arange(7) < np.array([[7], [0], [1]]),
    "all_padding": np.zeros((3, 7), bool),
    "no_rows": np.ones((0, 7), bool),
    "many": np.arange(7) < 1 + np.arange(40)[:, None] % 7,  # normalized by one operation
}


def states(model, batch, fold):
    import tensorflow as tf

    function = tf.function(lambda given: model(given, training=False), autograph=False)
    batch = {name: tf.constant(value) for name, value in batch.items()}
    if not fold:
        return function(batch).numpy()
    with kernels.folding():
        return function(batch).numpy()


def shaken(model):
    model.build()
    random = np.random.default_rng(0)
    for weight in model.weights:
        noise = random.normal(size=weight.shape)
        weight.assign(weight + keras.ops.cast(0.1 * noise, weight.dtype))
    return model


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("epsilon", [1e-12, 1e-5])
@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-5), ("bfloat16", 0.1)])
def test_an_encoder(mask, epsilon, dtype, atol):
    config = BertConfig(**SHAPE, feedforward_dim=64, epsilon=epsilon)
    model = shaken(Bert(config, dtype=dtype))
    ids = np.random.default_rng(1).integers(0, 50, mask.shape).astype("int32")
    batch = {"token_ids": ids, "padding_mask": mask}
    expected, found = (states(model, batch, fold).astype("float32") for fold in (False, True))
    assert found.shape == (*mask.shape, 32) and np.isfinite(found).all()
    np.testing.assert_allclose(found[mask], expected[mask], atol=atol)


def test_a_decoder():
    model = shaken(Gpt(GptConfig(**SHAPE, max_length=16)))
    ids = np.random.default_rng(1).integers(0, 50, (3, 7)).astype("int32")
    expected, found = (states(model, {"token_ids": ids}, fold) for fold in (False, True))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_no_padding_is_computed():
    """The products in the graph have a row for each real token."""
    import tensorflow as tf

    model = shaken(Bert(BertConfig(**SHAPE, feedforward_dim=64)))
    mask = MASKS["mixed"]
    rows = []

    def product(x, *arguments, **options):
        rows.append(x)
        return plain(x, *arguments, **options)

    plain, kernels.dense = kernels.dense, product
    try:
        with kernels.folding():
            states(model, {"token_ids": np.ones(mask.shape, "int32"), "padding_mask": mask}, True)

            @tf.function(autograph=False)
            def counts(ids, padding_mask):
                rows.clear()
                model({"token_ids": ids, "padding_mask": padding_mask})
                return [tf.shape(x)[0] for x in rows]

            found = counts(tf.ones(mask.shape, tf.int32), tf.constant(mask))
    finally:
        kernels.dense = plain
    assert len(found) == 8 and {int(number) for number in found} == {mask.sum()}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", ["decoder", "encoder_decoder"])
@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-5), ("bfloat16", 0.1)])
def test_steps_of_decoding(frozen, kind, dtype, atol):
    """Tokens one by one give the logits of all at once, with variables and with constants."""
    import tensorflow as tf

    ids = np.random.default_rng(1).integers(1, 50, (3, 5)).astype("int32")
    if kind == "decoder":
        model = shaken(Gpt(GptConfig(**SHAPE, max_length=16), dtype=dtype))
        batch, prompt = {"token_ids": ids}, {"token_ids": ids[:, :2]}
    else:
        shape = {**SHAPE, "num_encoder_layers": 2, "num_decoder_layers": 2, "max_length": 16}
        del shape["num_layers"]
        config = TransformerConfig(**shape)
        model = shaken(Transformer(config, dtype=dtype))
        batch = {"token_ids": ids, "decoder_token_ids": ids}
        prompt = {"token_ids": ids, "decoder_token_ids": ids[:, :2]}

    @tf.function(autograph=False)
    def one_by_one(prompt, ids):
        logits, state = model.prompt(prompt, 5)
        found = [logits]
        for index in range(3):
            logits, state = model.step(ids[:, 2 + index], index, state)
            found.append(logits)
        return tf.stack(found, 1)

    expected = model(batch).numpy()[:, 1:]
    with kernels.folding(frozen):
        found = one_by_one({name: tf.constant(x) for name, x in prompt.items()}, ids).numpy()
    np.testing.assert_allclose(found, expected, atol=atol)
