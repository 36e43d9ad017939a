"""Layers against `reference.py`: NumPy in float64, written independently."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.layers import reference
from tests.layers.contract import B, H, S
from tests.layers.test_contract import CASES, CAUSAL, ENCODED, STATES, TO_ENCODED, TO_KEYS
from tfmodels.layers.attention import Attention
from tfmodels.layers.blocks import DecoderBlock, EncoderBlock
from tfmodels.layers.dense import LayerNorm
from tfmodels.layers.embeddings import Embeddings

SOME = np.random.default_rng(0).random((S, S)) < 0.7
SOME[:, 0] = True


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("value", "mask"),
    [
        (STATES, TO_KEYS),
        (STATES, CAUSAL),
        (ENCODED, TO_ENCODED),
        (STATES, None),
        (STATES, SOME),
        (STATES, SOME[None]),
    ],
    ids=["self", "causal", "cross", "no_mask", "mask_of_2_axes", "mask_of_all_rows"],
)
def test_attention(value, mask, training):
    layer = CASES["self_attention" if value is STATES else "cross_attention"].made()
    full = None if mask is None else np.broadcast_to(mask, (B, S, value.shape[1]))
    expected = reference.attention(STATES, value, full, reference.weights_of(layer), 2)
    given = {} if value is STATES else {"value": value}
    found = layer(STATES, **given, attention_mask=mask, training=training)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_layer_norm_of_residual(training):
    case = CASES["norm_of_residual"]
    layer = case.made()
    weights = reference.weights_of(layer)
    total = case.inputs["inputs"] + case.inputs["residual"]
    expected = reference.layer_norm(total, weights["gamma"], weights["beta"], 1e-12)
    np.testing.assert_allclose(case.run(layer, training=training), expected, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_the_residual_is_added_in_float32(training):
    """In bfloat16, 256 and a half are 256."""
    layer = LayerNorm(dtype="bfloat16")
    residual = np.full((1, 4), 256.0, "float32")
    small = np.array([[0.5, -0.5, 0.25, -0.25]], "float32")
    found = layer(ops.cast(small, "bfloat16"), ops.cast(residual, "bfloat16"), training=training)
    expected = reference.layer_norm((small + residual).astype("float64"), 1.0, 0.0, 1e-12)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(found, "float32")), expected, rtol=1e-2
    )


@pytest.mark.parametrize("name", ["norm", "self_attention", "encoder_block_post_norm"])
def test_without_dropout_no_seed_is_drawn(name):
    case = CASES[name]
    for settings, drawn in (({}, False), (case.dropout, True)):
        layer = case.made(**settings)
        seeds = [v for v in layer.non_trainable_variables if "seed" in v.path]
        before = [v.numpy() for v in seeds]
        case.run(layer, training=True)
        moved = [not np.array_equal(v.numpy(), b) for v, b in zip(seeds, before, strict=True)]
        assert any(moved) == drawn


@pytest.mark.parametrize("mask", [None, TO_KEYS])
def test_attention_scores(mask):
    """As `keras.layers.MultiHeadAttention` returns them, with the same weights."""
    case = CASES["self_attention"]
    layer = case.made()
    output, scores = layer(STATES, attention_mask=mask, return_attention_scores=True)
    np.testing.assert_allclose(output, layer(STATES, attention_mask=mask), atol=1e-6)
    keras_layer = keras.layers.MultiHeadAttention(2, H // 2)
    keras_layer.build((B, S, H), (B, S, H))
    ours = reference.weights_of(layer)
    for kind in ("kernel", "bias"):
        parts = np.split(ours.pop(f"query_key_value/{kind}"), 3, -1)
        names = [f"{name}/{kind}" for name in ("query", "key", "value")]
        ours |= dict(zip(names, parts, strict=True))
    for weight in keras_layer.weights:
        name = "/".join(weight.path.split("/")[-2:]).replace("attention_output", "output")
        weight.assign(ours[name].reshape(weight.shape))
    _, expected = keras_layer(STATES, STATES, attention_mask=mask, return_attention_scores=True)
    np.testing.assert_allclose(scores, ops.convert_to_numpy(expected), atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_feed_forward(training):
    case = CASES["feed_forward"]
    layer = case.made()
    expected = reference.feed_forward(STATES, reference.weights_of(layer))
    np.testing.assert_allclose(case.run(layer, training=training), expected, atol=1e-5)


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_block(norm_first):
    """Both orders of normalization, from their two papers."""
    case = CASES["encoder_block_pre_norm" if norm_first else "encoder_block_post_norm"]
    layer = case.made()
    weights = reference.weights_of(layer)

    def part(name):
        return {k[len(name) + 1 :]: v for k, v in weights.items() if k.startswith(f"{name}/")}

    def norm(x, name):
        return reference.layer_norm(x, **part(name), epsilon=1e-12)

    def attend(x):
        return reference.attention(x, x, TO_KEYS, part("attention"), 2)

    def feed_forward(x):
        return reference.feed_forward(x, part("feedforward"))

    if norm_first:
        x = STATES + attend(norm(STATES, "attention_norm"))
        expected = x + feed_forward(norm(x, "feedforward_norm"))
    else:
        x = norm(STATES + attend(STATES), "attention_norm")
        expected = norm(x + feed_forward(x), "feedforward_norm")
    np.testing.assert_allclose(case.run(layer), expected, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_nothing_to_attend_to_is_finite(training):
    """A row of padding only: half of the last batch under a strategy may be one."""
    layer = EncoderBlock(H, 2, 16)
    mask = np.zeros((B, 1, S), bool)
    output = layer(STATES, attention_mask=mask, training=training)
    assert np.isfinite(ops.convert_to_numpy(output)).all()


def test_every_kernel_starts_from_its_own_numbers():
    block = DecoderBlock(H, 2, 16)
    block.build((None, None, H))
    kernels = [w.numpy()[:H, :H] for w in block.weights if w.name == "kernel"]
    assert len(kernels) == 7
    for number, one in enumerate(kernels):
        assert not any(np.allclose(one, other) for other in kernels[:number])


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match=r"hidden_dim=8 and num_heads=3"):
        Attention(3, 8)
    with pytest.raises(ValueError, match=r"pooling must be one of .*, got 'last'"):
        CASES["pooler_first"].make(pooling="last")
    with pytest.raises(ValueError, match=r"positions must be .*, got 'rotary'"):
        CASES["embeddings_of_waves"].make(positions="rotary")


def test_too_long_a_sequence_is_refused():
    layer = CASES["embeddings_with_2_segments"].make()
    with pytest.raises(ValueError, match="token_ids has 10 positions.*max_length=9"):
        layer(np.zeros((1, 10), "int32"))


def test_pooler_by_hand():
    states = np.array([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]]])
    pooler = CASES["pooler_mean"].make()
    padding_mask = np.array([[True, True, False]])
    found = ops.convert_to_numpy(pooler(states, padding_mask=padding_mask))
    np.testing.assert_allclose(found, [[2.0, 3.0]])
    nothing = ops.convert_to_numpy(pooler(states, padding_mask=np.zeros((1, 3), bool)))
    np.testing.assert_array_equal(nothing, [[0.0, 0.0]])
    found = CASES["pooler_max"].make()(-states, padding_mask=padding_mask)
    np.testing.assert_array_equal(ops.convert_to_numpy(found), [[-1.0, -2.0]])


def test_embeddings_by_hand():
    """Token 10 or 20, position 1 or 2, segment 0.1 or 0.5, before the normalization."""
    layer = CASES["embeddings_with_2_segments"].make()
    layer.build((None, None))
    layer.norm.call = lambda x, training=False: x
    column = np.eye(1, H)
    layer.token.assign(np.array([[10.0], [20.0], *[[0.0]] * 9]) * column)
    layer.position.assign(np.array([[1.0], [2.0], *[[0.0]] * 7]) * column)
    layer.segment.assign(np.array([[0.1], [0.5]]) * column)
    found = layer(np.array([[1, 0]], "int32"), np.array([[0, 1]], "int32"))
    np.testing.assert_allclose(ops.convert_to_numpy(found)[0, :, 0], [21.1, 12.5], rtol=1e-6)


def test_embeddings_with_the_table_of_another():
    owner = CASES["embeddings_of_waves"].made()
    layer = Embeddings(0, H, 9, num_segments=0, positions="sinusoidal", scale=2.0)
    ids = np.array([[1, 0, 10]], "int32")
    layer.build((None, None))
    layer.norm.set_weights(owner.norm.get_weights())
    found = layer(ids, token_table=owner.token)
    expected = ops.convert_to_numpy(owner(ids))
    np.testing.assert_array_equal(ops.convert_to_numpy(found), expected)


def test_waves_by_hand():
    """Twice token 10 or 20, position (1, 0) in its two columns, before the normalization."""
    layer = CASES["embeddings_of_waves"].make(epsilon=None)
    layer.build((None, None))
    layer.token.assign(np.array([[10.0], [20.0], *[[0.0]] * 9]) * np.eye(1, H))
    found = ops.convert_to_numpy(layer(np.array([[1, 0]], "int32")))[0]
    expected = [[40.0, 1.0, 0.0, 1.0], [20.0 + np.sin(1), np.cos(1), np.sin(0.1), np.cos(0.1)]]
    np.testing.assert_allclose(found[:, :4], expected, rtol=1e-6)
    later = layer(np.array([[2]], "int32"), position_ids=np.array([[7]], "int32"))
    for column in range(H):
        wave = np.cos if column % 2 else np.sin
        expected = wave(7 / 10000 ** (2 * (column // 2) / H))
        np.testing.assert_allclose(ops.convert_to_numpy(later)[0, 0, column], expected, rtol=1e-5)
