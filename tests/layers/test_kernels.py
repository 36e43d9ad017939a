"""The training kernels of TensorFlow: compiled, with gradients and dropout of their own.

Each is compared with the plain form that TensorFlow differentiates. Where something is dropped,
what was dropped is read off the kernel's own output: the oracle has no part in the hash.
"""

import keras
import numpy as np
import pytest

from tests.layers.contract import B, S, normal, real_tokens
from tfmodels.layers import kernels

if keras.backend.backend() != "tensorflow":
    pytest.skip("kernels only TensorFlow has", allow_module_level=True)

import tensorflow as tf

ROWS, WIDTH = 6, 8
EPSILON, RATE, SEED = 1e-6, 0.4, tf.constant([11, 12])
# Of the largest value: rounding of float32, and of a few operations in bfloat16.
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}


def tensors(dtype, *arrays):
    return [tf.cast(tf.constant(array), dtype) for array in arrays]


def value_and_gradients(function, inputs, upstream):
    """`function(*inputs)` and the gradients of its sum weighted by `upstream`, as float32."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        output = function(*inputs)
        loss = tf.reduce_sum(tf.cast(output, "float32") * upstream)
    return [tf.cast(x, "float32").numpy() for x in (output, *tape.gradient(loss, inputs))]


def assert_close(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_bias_gelu(dtype, activation):
    x, bias = tensors(dtype, 2 * normal(ROWS, WIDTH), normal(WIDTH, seed=1))
    [kernel] = tensors(dtype, np.eye(WIDTH))
    upstream = normal(ROWS, WIDTH, seed=2)

    def compiled(x, bias):
        return kernels.dense(x, kernel, bias, activation, training=True)

    def plain(x, bias):
        return tf.nn.gelu(x + bias, approximate=activation == "gelu_tanh")

    found = value_and_gradients(compiled, [x, bias], upstream)
    autodiff = value_and_gradients(plain, tensors("float32", x, bias), upstream)
    assert_close(found, autodiff, TOLERANCE[dtype])


@pytest.mark.parametrize("rate", [0.0, RATE])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_add_norm(dtype, rate):
    x, residual = normal(ROWS, WIDTH), normal(ROWS, WIDTH, seed=1)
    gamma, beta = 1 + 0.3 * normal(WIDTH, seed=2), normal(WIDTH, seed=3)
    upstream = normal(ROWS, WIDTH, seed=4)

    def kernel(x, residual, gamma, beta):
        return kernels.add_norm(
            x, residual, gamma, beta, EPSILON, True, rate, SEED if rate else None
        )

    inputs = [*tensors(dtype, x, residual), *tensors("float32", gamma, beta)]
    found = value_and_gradients(kernel, inputs, upstream)
    # The backward pass hands the residual's gradient on to `x` where it was kept.
    kept = np.where(found[1] == 0, 0, 1 / (1 - rate)).astype("float32")
    assert (rate > 0) == (kept == 0).any()
    assert_close([found[1]], [found[2] * kept], TOLERANCE[dtype])

    # If the forward pass had dropped others than the backward, nothing here would agree.
    def plain(x, residual, gamma, beta):
        total = x * kept + residual
        mean, variance = tf.nn.moments(total, -1, keepdims=True)
        return (total - mean) / tf.sqrt(variance + EPSILON) * gamma + beta

    autodiff = value_and_gradients(plain, tensors("float32", *inputs), upstream)
    assert_close(found, autodiff, TOLERANCE[dtype])


def test_norm_without_a_residual():
    x, gamma, beta = tensors("float32", normal(ROWS, WIDTH), normal(WIDTH), normal(WIDTH, seed=1))
    trained = kernels.add_norm(x, None, gamma, beta, EPSILON, True)
    used = kernels.add_norm(x, None, gamma, beta, EPSILON)
    np.testing.assert_allclose(trained, used, atol=1e-5)


def some_masked():
    """[B, 1, 1, S] of padding, and [B, 1, S, S] where one query may look nowhere."""
    padding = real_tokens(5, 3, 1)[:, None, None]
    nowhere = np.broadcast_to(padding, (B, 1, S, S)).copy()
    nowhere[1, 0, 2] = False
    return {"none": None, "padding": padding, "nowhere": nowhere}


@pytest.mark.parametrize("rate", [0.0, RATE])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", some_masked())
def test_masked_softmax(name, dtype, rate):
    mask, scale, shape = some_masked()[name], 0.5, (B, 2, S, S)
    scores, upstream = 2 * normal(*shape), normal(*shape, seed=1)

    def kernel(scores):
        return kernels.masked_softmax(scores, mask, scale, True, rate, SEED if rate else None)

    [inputs] = tensors(dtype, scores)
    found = value_and_gradients(kernel, [inputs], upstream)
    # A weight of 0 without dropout says nothing on what was dropped, nor does it matter.
    kept = np.where(found[0] == 0, 0, 1 / (1 - rate)).astype("float32")

    def plain(scores):
        scores = scores * scale
        if mask is not None:
            scores = tf.where(mask, scores, -1e9)
        return tf.nn.softmax(scores) * kept

    autodiff = value_and_gradients(plain, tensors("float32", inputs), upstream)
    assert_close(found, autodiff, TOLERANCE[dtype])


def test_masked_keys_get_nothing():
    weights = kernels.masked_softmax(tf.zeros([1, 1, 1, 4]), np.array([True, True, False, False]))
    assert weights.numpy().tolist() == [[[[0.5, 0.5, 0.0, 0.0]]]]


SIDE = 1000


def dropped(rate, seed):
    """Of equal shares `[SIDE, SIDE]`, 1 where one was dropped and 0 where it was kept."""
    scores = tf.zeros([1, 1, SIDE, SIDE])
    shares = kernels.masked_softmax(scores, None, 1.0, True, rate, seed)[0, 0].numpy()
    np.testing.assert_allclose(np.unique(shares) * SIDE, [0, 1 / (1 - rate)], rtol=1e-5)
    return (shares == 0).astype("float64")


def assert_uncorrelated(one, other):
    """Correlation of n independent pairs has a standard deviation of 1 / sqrt(n)."""
    correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    assert abs(correlation) < 5 / np.sqrt(one.size)


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("seed", [(0, 0), (123456789, 5)])
def test_hash_drops_the_stated_share(rate, seed):
    mask = dropped(rate, seed)
    sigma = np.sqrt(rate * (1 - rate))
    assert abs(mask.mean() - rate) < 5 * sigma / SIDE
    # Every row and column too, not only the whole: 2,000 of them, so 6 deviations.
    for axis in (0, 1):
        assert (np.abs(mask.mean(axis) - rate) < 6 * sigma / np.sqrt(SIDE)).all()


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_hash_shows_no_pattern(rate):
    mask = dropped(rate, (7, 0))
    for step in (1, 2, 3, 4, 8, 16, 32, 64):
        assert_uncorrelated(mask[:, step:], mask[:, :-step])
        assert_uncorrelated(mask[step:], mask[:-step])


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_hash_is_fresh_at_every_step(rate):
    """The seeds that Keras' generator gives one layer at successive calls."""
    generator = keras.random.SeedGenerator(7)
    masks = [dropped(rate, generator.next()) for _ in range(5)]
    for number, mask in enumerate(masks):
        for other in masks[:number]:
            assert_uncorrelated(mask, other)
    assert_uncorrelated(dropped(rate, (7, 0)), dropped(rate, (8, 0)))
