"""What is particular to `Gpt` and `Transformer`: reading a text in steps, with a cache."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.layers.contract import integers
from tests.models.test_contract import CASES
from tfmodels.generation.decoding import generate
from tfmodels.generation.settings import Generation
from tfmodels.models.gpt import Gpt, GptConfig
from tfmodels.models.model import cast_once
from tfmodels.models.transformer import PAPER, Transformer, TransformerConfig

LENGTH = 9  # the models' max_length
IDS = integers(11, 3, LENGTH)
# Of a `Gpt` prompts of 5, 3 and 1 tokens, padded left; of a `Transformer` sources, padded right.
PROMPT = {"gpt": 5, "bart": 2, "transformer": 2}  # tokens before the first step
REAL = np.arange(LENGTH) >= 5 - np.array([[5], [3], [1]])
SOURCE = {"token_ids": integers(11, 3, 5, seed=1), "padding_mask": REAL[:, 4::-1]}
KINDS = pytest.mark.parametrize("kind", PROMPT)


def array(tensor):
    return ops.convert_to_numpy(tensor)


def batch_of(kind, length):
    """The first tokens of the texts, or of the targets."""
    if kind == "gpt":
        return {"token_ids": IDS[:, :length], "padding_mask": REAL[:, :length]}
    return {**SOURCE, "decoder_token_ids": IDS[:, :length]}


@KINDS
@pytest.mark.parametrize("length", [LENGTH, ops.convert_to_tensor(LENGTH)], ids=["int", "tensor"])
def test_cached_is_uncached(kind, length):
    """The prompt, then a token at a time until the context is full."""
    if keras.backend.backend() == "jax" and not isinstance(length, int):
        pytest.skip("shapes are known there")
    model, first = CASES[kind].made(), PROMPT[kind]
    logits, state = model.prompt(batch_of(kind, first), length)
    found = [array(logits)]
    for index in range(LENGTH - first):
        logits, state = model.step(IDS[:, first + index], index, state)
        found.append(array(logits))
    expected = array(model(batch_of(kind, LENGTH)))[:, first - 1 :]
    np.testing.assert_allclose(np.stack(found, 1), expected, atol=1e-5)


@KINDS
def test_rows_of_the_state_may_be_repeated_and_put_in_order(kind):
    model, first = CASES[kind].made(), PROMPT[kind]
    _, state = model.prompt(batch_of(kind, first), LENGTH)
    assert {leaf.shape[0] for leaf in keras.tree.flatten(state)} == {3}
    expected, _ = model.step(IDS[:, first], 0, state)
    order = [2, 0, 0, 1]
    state = keras.tree.map_structure(lambda leaf: ops.take(leaf, order, axis=0), state)
    found, _ = model.step(IDS[order, first], 0, state)
    np.testing.assert_allclose(array(found), array(expected)[order], atol=1e-6)


@KINDS
def test_step_computes_in_the_dtype_of_the_policy(kind):
    exact, first = CASES[kind].made(), PROMPT[kind]
    model = CASES[kind].twin(exact, dtype="bfloat16")
    logits, state = model.prompt(batch_of(kind, first), LENGTH)
    assert logits.dtype == "float32"
    for pairs in (state["caches"], *([] if kind == "gpt" else [state["fixed"]["encoded"]])):
        assert "bfloat16" in str(pairs[0][0].dtype)
    logits, state = model.step(IDS[:, first], 0, state)
    expected = array(exact(batch_of(kind, first + 1)))[:, -1]
    np.testing.assert_allclose(array(logits), expected, atol=0.05 * np.abs(expected).max())


@KINDS
def test_matrices_are_cast_before_the_loop(kind):
    """And what is written stays the same, to the last bit of its scores."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the graph that is looked into is one of TensorFlow")
    import tensorflow as tf

    model, first = CASES[kind].twin(CASES[kind].made(), dtype="mixed_bfloat16"), PROMPT[kind]
    batch, settings = batch_of(kind, first), Generation(max_new_tokens=3, num_beams=2)

    def write():
        logits, state = model.prompt(batch, LENGTH)
        ids = tf.constant(IDS[:, :first])
        return generate(model.step, logits, state, ids, tf.ones_like(ids, tf.bool), settings)

    def write_with_cast_weights():
        with cast_once(model):
            return write()

    found, read = [], []
    for function in (write, write_with_cast_weights):
        traced = tf.function(function, autograph=False).get_concrete_function()
        found.append([array(part) for part in traced()])
        parts = traced.graph.as_graph_def().library.function
        (body,) = (part for part in parts if "while_body" in part.signature.name)
        read.append([node.op for node in body.node_def].count("ReadVariableOp"))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    blocks = model.config.num_layers if kind == "gpt" else model.config.num_decoder_layers
    assert read[0] - read[1] >= 6 * blocks  # four matrices of an attention, two behind it


@KINDS
def test_what_does_not_fit(kind):
    model, first = CASES[kind].made(), PROMPT[kind]
    batch = batch_of(kind, first)
    for name in {"token_ids", "decoder_token_ids"} & batch.keys():
        long = {**batch, name: np.zeros((3, 10), "int32"), "padding_mask": None}
        with pytest.raises(ValueError, match="10 positions, the model has max_length=9"):
            model(long)
    with pytest.raises(ValueError, match=f"length is 10; it must be from {first}, .*max_length=9"):
        model.prompt(batch, 10)
    with pytest.raises(ValueError, match=f"length is {first - 1};"):
        model.prompt(batch, first - 1)


def test_padding_on_the_left_changes_nothing():
    model = CASES["gpt"].made()
    found = array(model(batch_of("gpt", LENGTH)))
    for row in range(3):
        alone = array(model({"token_ids": IDS[row : row + 1, REAL[row]]}))[0]
        np.testing.assert_allclose(found[row, REAL[row]], alone, atol=1e-5)


def test_a_prompt_that_fills_the_context():
    model = CASES["gpt"].made()
    logits, _ = model.prompt({"token_ids": IDS}, LENGTH)  # no padding_mask: all are real
    np.testing.assert_allclose(array(logits), array(model({"token_ids": IDS}))[:, -1], atol=1e-5)


def test_the_source_is_projected_once():
    model = CASES["bart"].made()
    _, state = model.prompt(batch_of("bart", 1), LENGTH)
    for block in model.decoder_blocks:
        block.cross_attention.key_value.call = None
    _, after = model.step(IDS[:, 1], 0, state)
    for one, other in zip(
        keras.tree.flatten(state["fixed"]), keras.tree.flatten(after["fixed"]), strict=True
    ):
        assert one is other


@pytest.mark.parametrize("kind", ["bart", "transformer"])
def test_one_table_for_source_target_and_output(kind):
    assert sum("token" in weight.path for weight in CASES[kind].made().weights) == 1


def test_scaled_embeddings():
    """As if the table were larger by the root of H, to read but not to multiply with."""
    scaled = CASES["transformer"].made()
    plain = Transformer(TransformerConfig(**{**vars(scaled.config), "scale_embeddings": False}))
    plain.set_weights(scaled.get_weights())
    plain.embeddings.token.assign(plain.embeddings.token * 8**0.5)
    np.testing.assert_allclose(array(plain.encode(SOURCE)), array(scaled.encode(SOURCE)), atol=1e-5)


def test_base_of_the_paper():
    """Vaswani et al. 2017, table 3: N=6, d_model=512, d_ff=2048, h=8, P_drop=0.1."""
    config = TransformerConfig.of_size("small", **PAPER)
    assert (config.num_encoder_layers, config.hidden_dim, config.feedforward_dim) == (6, 512, 2048)
    assert (config.num_heads, config.dropout, config.activation) == (8, 0.1, "relu")
    assert not config.norm_first


def test_new_weights_of_gpt():
    """The last layer of each of the 2 L parts starts smaller by the root of 2 L."""
    block = Gpt(GptConfig.of_size("mini", vocabulary_size=11)).blocks[0]
    inner, outer, output = (
        np.std(array(layer.kernel))
        for layer in (
            block.feedforward.inner,
            block.feedforward.outer,
            block.attention.output_projection,
        )
    )
    np.testing.assert_allclose([outer / inner, output / outer], [8**-0.5, 1], rtol=0.02)
