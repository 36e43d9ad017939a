"""What is particular to `Gpt`: padding on both sides, the cache, its config."""

import doctest

import keras
import numpy as np
import pytest
from keras import ops

from tests.layers.contract import integers
from tests.models.test_contract import CASES
from tfmodels.models import gpt
from tfmodels.models.gpt import Gpt, GptConfig

LENGTHS = (5, 3, 1)  # of the prompts
P, T = 5, 4  # padded prompts, tokens after them; together the model's max_length
IDS = integers(11, 3, P + T)
PROMPT = np.arange(P) >= P - np.array(LENGTHS)[:, None]  # bool [B, P], padding left
ALL = np.concatenate([PROMPT, np.ones((3, T), bool)], 1)


def model(**settings):
    return CASES["gpt"].made(**settings)


def array(tensor):
    return ops.convert_to_numpy(tensor)


def alone(model, row, length=P + T):
    """Logits `[S, V]` of one text without its padding."""
    ids = IDS[row, :length][ALL[row, :length]]
    return array(model({"token_ids": ids[None]}))[0]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(side):
    made = model()
    order = slice(None, None, 1 if side == "left" else -1)
    mask = PROMPT[:, order]
    ids = np.full((3, P), 10, "int32")
    for row in range(3):
        ids[row, mask[row]] = IDS[row, :P][PROMPT[row]]
    found = array(made({"token_ids": ids, "padding_mask": mask}))
    for row in range(3):
        np.testing.assert_allclose(found[row, mask[row]], alone(made, row, P), atol=1e-5)


@pytest.mark.parametrize("length", [P + T, ops.convert_to_tensor(P + T)], ids=["int", "tensor"])
def test_cached_is_uncached(length):
    """Prompts of unequal length, then a token at a time until the context is full."""
    if keras.backend.backend() == "jax" and not isinstance(length, int):
        pytest.skip("shapes are known there")
    made = model()
    expected = [alone(made, row)[-T - 1 :] for row in range(3)]  # from the prompt's end on
    logits, state = made.prompt({"token_ids": IDS[:, :P], "padding_mask": PROMPT}, length)
    found = [array(logits)]
    for index in range(T):
        logits, state = made.step(IDS[:, P + index], index, state)
        found.append(array(logits))
    np.testing.assert_allclose(np.stack(found, 1), np.stack(expected), atol=1e-5)
    assert (np.stack(found, 1).argmax(-1) == np.stack(expected).argmax(-1)).all()


def test_a_prompt_that_fills_the_context():
    made = model()
    logits, _ = made.prompt({"token_ids": IDS}, P + T)  # no padding_mask: all are real
    np.testing.assert_allclose(array(logits), array(made({"token_ids": IDS}))[:, -1], atol=1e-5)


def test_rows_of_the_state_may_be_repeated_and_put_in_order():
    made = model()
    _, state = made.prompt({"token_ids": IDS[:, :P], "padding_mask": PROMPT}, P + T)
    assert {leaf.shape[0] for leaf in keras.tree.flatten(state)} == {3}
    expected, _ = made.step(IDS[:, P], 0, state)
    order = [2, 0, 0, 1]
    state = keras.tree.map_structure(lambda leaf: ops.take(leaf, order, axis=0), state)
    found, state = made.step(IDS[order, P], 0, state)
    np.testing.assert_allclose(array(found), array(expected)[order], atol=1e-6)


def test_step_computes_in_the_dtype_of_the_policy():
    exact = model()
    made = CASES["gpt"].twin(exact, dtype="bfloat16")
    logits, state = made.prompt({"token_ids": IDS[:, :P]}, P + T)
    assert logits.dtype == "float32"
    assert "bfloat16" in str(state["caches"][0][0].dtype)
    logits, state = made.step(IDS[:, P], 0, state)
    expected = array(exact({"token_ids": IDS[:, : P + 1]}))[:, -1]
    np.testing.assert_allclose(array(logits), expected, atol=0.05 * np.abs(expected).max())


def test_what_does_not_fit():
    made = model()
    with pytest.raises(ValueError, match="10 positions, the model has max_length=9"):
        made({"token_ids": np.zeros((1, 10), "int32")})
    with pytest.raises(ValueError, match="length is 10; it must be from 5, .* to max_length=9"):
        made.prompt({"token_ids": IDS[:, :P]}, 10)
    with pytest.raises(ValueError, match="length is 4"):
        made.prompt({"token_ids": IDS[:, :P]}, 4)


def test_decoding_in_a_graph():
    """Compiled once for all prompts, and with operations that any server has."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("graphs are TensorFlow's")
    import tensorflow as tf

    made = model()

    @tf.function(
        input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([], tf.int32)]
    )
    def continued(ids, length):
        def more(index, token, state, written):
            written = tf.concat([written, token[:, None]], 1)
            logits, state = made.step(token, index, state)
            return index + 1, tf.argmax(logits, -1, tf.int32), state, written

        logits, state = made.prompt({"token_ids": ids}, length)
        start = (
            0,
            tf.argmax(logits, -1, tf.int32),
            state,
            tf.zeros([tf.shape(ids)[0], 0], tf.int32),
        )
        shapes = tf.nest.map_structure(lambda leaf: tf.convert_to_tensor(leaf).shape, start)
        shapes = (*shapes[:-1], tf.TensorShape([None, None]))
        count = length - tf.shape(ids)[1]
        return tf.while_loop(lambda index, *_: index < count, more, start, shapes)[-1]

    for rows, length in ((3, 5), (1, 2)):
        found = continued(IDS[:rows, :length], 9)
        ids = IDS[:rows, :length]
        for _ in range(9 - length):
            next_ids = array(made({"token_ids": ids}))[:, -1].argmax(-1)
            ids = np.concatenate([ids, next_ids[:, None].astype("int32")], 1)
        np.testing.assert_array_equal(found, ids[:, length:])
    graph = continued.get_concrete_function().graph.as_graph_def()
    ops_used = {node.op for function in graph.library.function for node in function.node_def}
    assert "ScatterNdNonAliasingAdd" in ops_used
    assert not [op for op in ops_used if op.startswith("Xla")]


def test_new_weights():
    """The last layer of each of the 2 L parts starts smaller by the root of 2 L."""
    config = GptConfig.of_size("mini", vocabulary_size=11)
    made = Gpt(config)
    block = made.blocks[0]
    inner, outer = (
        np.std(array(x.kernel)) for x in (block.feedforward.inner, block.feedforward.outer)
    )
    np.testing.assert_allclose(outer / inner, 8**-0.5, rtol=0.02)
    output = np.std(array(block.attention.output_projection.kernel))
    np.testing.assert_allclose(output, outer, rtol=0.02)


def test_parameters_of_gpt2():
    """Radford et al. 2019 as published: 124.4 M. Counted by hand:

    tables (50257 + 1024) x 768, norm 2 x 768               =  39,385,344
    a layer 4 x (768 x 768 + 768) + (768 x 3072 + 3072)
            + (3072 x 768 + 768) + 4 x 768                  =   7,087,872
    """
    one_layer = Gpt(GptConfig(num_layers=1))
    assert one_layer.count_params() == 39_385_344 + 7_087_872


def test_example_of_the_docstring():
    assert doctest.testmod(gpt, extraglobs={"np": np}) == (0, 3)
