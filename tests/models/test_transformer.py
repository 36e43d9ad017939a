"""What is particular to `Transformer`: the source's padding, the cache, its config."""

import doctest

import keras
import numpy as np
import pytest
from keras import ops

from tests.layers.contract import integers
from tests.models.test_contract import CASES
from tfmodels.models import transformer
from tfmodels.models.transformer import PAPER, Transformer, TransformerConfig

LENGTHS = (5, 3, 1)  # of the sources
S, P, T = 5, 2, 7  # padded sources, start tokens, tokens after; P + T is the model's max_length
MASK = np.arange(S) < np.array(LENGTHS)[:, None]  # bool [B, S]
SOURCE = {"token_ids": integers(11, 3, S), "padding_mask": MASK}
TARGET = integers(11, 3, P + T, seed=1)
KINDS = pytest.mark.parametrize("kind", ["bart", "transformer"])


def array(tensor):
    return ops.convert_to_numpy(tensor)


def with_target(start, stop):
    return {**SOURCE, "decoder_token_ids": TARGET[:, start:stop]}


@KINDS
def test_padding_changes_nothing(kind):
    """A source alone, and with padding of rubbish behind it: states and logits."""
    made = CASES[kind].made()
    states, logits = array(made.encode(SOURCE)), array(made(with_target(0, 9)))
    for row, length in enumerate(LENGTHS):
        alone = {
            "token_ids": SOURCE["token_ids"][row : row + 1, :length],
            "decoder_token_ids": TARGET[row : row + 1],
        }
        np.testing.assert_allclose(states[row, :length], array(made.encode(alone))[0], atol=1e-5)
        np.testing.assert_allclose(logits[row], array(made(alone))[0], atol=1e-5)


@KINDS
@pytest.mark.parametrize("length", [P + T, ops.convert_to_tensor(P + T)], ids=["int", "tensor"])
def test_cached_is_uncached(kind, length):
    """Start tokens, then a token at a time until the context is full."""
    if keras.backend.backend() == "jax" and not isinstance(length, int):
        pytest.skip("shapes are known there")
    made = CASES[kind].made()
    expected = array(made(with_target(0, P + T)))[:, P - 1 :]
    logits, state = made.prompt(with_target(0, P), length)
    found = [array(logits)]
    for index in range(T):
        logits, state = made.step(TARGET[:, P + index], index, state)
        found.append(array(logits))
    np.testing.assert_allclose(np.stack(found, 1), expected, atol=1e-5)


def test_rows_of_the_state_may_be_repeated_and_put_in_order():
    made = CASES["bart"].made()
    _, state = made.prompt(with_target(0, 1), 9)
    assert {leaf.shape[0] for leaf in keras.tree.flatten(state)} == {3}
    expected, _ = made.step(TARGET[:, 1], 0, state)
    order = [2, 0, 0, 1]
    state = keras.tree.map_structure(lambda leaf: ops.take(leaf, order, axis=0), state)
    found, state = made.step(TARGET[order, 1], 0, state)
    np.testing.assert_allclose(array(found), array(expected)[order], atol=1e-6)


def test_the_source_is_projected_once():
    made = CASES["bart"].made()
    _, state = made.prompt(with_target(0, 1), 9)
    for block in made.decoder_blocks:
        for layer in (block.cross_attention.key, block.cross_attention.value):
            layer.call = None
    _, after = made.step(TARGET[:, 1], 0, state)
    for one, other in zip(
        keras.tree.flatten(state["fixed"]), keras.tree.flatten(after["fixed"]), strict=True
    ):
        assert one is other


@KINDS
def test_step_computes_in_the_dtype_of_the_policy(kind):
    exact = CASES[kind].made()
    made = CASES[kind].twin(exact, dtype="bfloat16")
    logits, state = made.prompt(with_target(0, P), P + T)
    assert logits.dtype == "float32"
    for pairs in (state["caches"], state["fixed"]["encoded"]):
        assert "bfloat16" in str(pairs[0][0].dtype)
    logits, state = made.step(TARGET[:, P], 0, state)
    expected = array(exact(with_target(0, P + 1)))[:, -1]
    np.testing.assert_allclose(array(logits), expected, atol=0.05 * np.abs(expected).max())


def test_what_does_not_fit():
    made = CASES["bart"].made()
    long = np.zeros((1, 10), "int32")
    for batch in (
        {"token_ids": long, "decoder_token_ids": long[:, :1]},
        {"token_ids": long[:, :1], "decoder_token_ids": long},
    ):
        with pytest.raises(ValueError, match="10 positions, the model has max_length=9"):
            made(batch)
    with pytest.raises(ValueError, match="length is 10; it must be from 2, .* to max_length=9"):
        made.prompt(with_target(0, 2), 10)
    with pytest.raises(ValueError, match="length is 1;"):
        made.prompt(with_target(0, 2), 1)


def test_one_table_for_source_target_and_output():
    for name in ("bart", "transformer"):
        shared = CASES[name].made()
        assert sum("token" in weight.path for weight in shared.weights) == 1


def test_scaled_embeddings():
    """As if the table were larger by the root of H, to read but not to multiply with."""
    scaled = CASES["transformer"].made()
    plain = Transformer(TransformerConfig(**{**vars(scaled.config), "scale_embeddings": False}))
    plain(SOURCE | {"decoder_token_ids": TARGET})
    plain.set_weights(scaled.get_weights())
    plain.embeddings.token.assign(plain.embeddings.token * 8**0.5)
    np.testing.assert_allclose(array(plain.encode(SOURCE)), array(scaled.encode(SOURCE)), atol=1e-5)


def test_parameters_of_bart_base():
    """Lewis et al. 2019 as published: 139.4 M. Counted by hand, for one layer of each stack:

    tables (50265 + 2 x 1024) x 768, norms 2 x 2 x 768, bias 50265   = 40,229,721
    an encoder layer 4 x (768 x 768 + 768) + (768 x 3072 + 3072)
                     + (3072 x 768 + 768) + 4 x 768                 =  7,087,872
    a decoder layer: that, 4 x (768 x 768 + 768) and 2 x 768        =  9,451,776
    """
    model = Transformer(TransformerConfig(num_encoder_layers=1, num_decoder_layers=1))
    assert model.count_params() == 40_229_721 + 7_087_872 + 9_451_776


def test_base_of_the_paper():
    """Vaswani et al. 2017, table 3: N=6, d_model=512, d_ff=2048, h=8, P_drop=0.1."""
    config = TransformerConfig.of_size("small", **PAPER)
    assert (config.num_encoder_layers, config.hidden_dim, config.feedforward_dim) == (6, 512, 2048)
    assert (config.num_heads, config.dropout, config.activation) == (8, 0.1, "relu")
    assert not config.norm_first


def test_example_of_the_docstring():
    assert doctest.testmod(transformer, extraglobs={"np": np}) == (0, 3)
