"""Computations that TensorFlow can run faster than `keras.ops` does.

In and out: tensors; no layers, no variables. Each function has up to three
implementations of the same computation:

* other backends: `keras.ops`;
* inference on TensorFlow: matrix product, `BiasAdd` and activation in sequence on
  two-dimensional tensors, the pattern that TensorFlow's graph optimizer fuses and
  that a stock server runs;
* training on TensorFlow: matrix products, and the elementwise operations of `compiled`.

There is no dropout without a `seed`. Of `layers` and `models`, only this module, `compiled`
and `models.workers` import TensorFlow.
"""

import contextlib
import contextvars
import math
from collections.abc import Iterator
from typing import NamedTuple

import keras
from keras import KerasTensor, ops

from tfmodels.layers import compiled
from tfmodels.layers.compiled import MASKED_SCORE, normalize

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
else:
    tf = None

_FUSED_EPSILON = 1e-3
# Up to so many states plain operations are faster than one of oneDNN, which is compiled in every
# call (0.1 ms).
_FEW = 64
# Activations that Keras does not know, or defines differently.
OWN_ACTIVATIONS = ("gelu", "gelu_tanh")


class _Form(NamedTuple):
    """How graphs of fixed weights are traced."""

    frozen: bool
    one_token: bool = False


_folding: contextvars.ContextVar[_Form | None] = contextvars.ContextVar("folding", default=None)


@contextlib.contextmanager
def folding(frozen: bool = False) -> Iterator[None]:
    """Trace graphs of fixed weights: in the form that TensorFlow's graph optimizer fuses most.

    The scale and shift of each normalization become constants, with which the optimizer makes one
    operation of it; scale and mask of the attention are added in the product's operation.

    Args:
        frozen: whether the weights of `one_token` become constants too. oneDNN keeps constant
            weights in its own order; inside a loop, only what is made there is constant to it.
    """
    with _traced_as(_Form(frozen)):
        yield


@contextlib.contextmanager
def one_token() -> Iterator[None]:
    """Trace a step of decoding, with one state for each row, in `folding`; else no effect."""
    form = _folding.get()
    with _traced_as(form and form._replace(one_token=True)):
        yield


@contextlib.contextmanager
def _traced_as(form):
    token = _folding.set(form)
    try:
        yield
    finally:
        _folding.reset(token)


def is_frozen() -> bool:
    """Return whether the weights of `one_token` become constants."""
    form = _folding.get()
    return form is not None and form.frozen


def _is_one_token(frozen=False):
    form = _folding.get()
    return form is not None and form.one_token and (form.frozen or not frozen)


class Real(NamedTuple):
    """The positions of a batch `[B, S]` that are not padding, T of them, counted over all rows."""

    places: KerasTensor  # int [T]
    back: KerasTensor  # int [B * S]: which of the T stands there; at padding any

    def only(self, x: KerasTensor) -> KerasTensor:
        """Return the `[T, ...]` of `[B * S, ...]`."""
        return tf.gather(x, self.places)  # `ops.take` would count negative ones from the end

    def spread(self, x: KerasTensor) -> KerasTensor:
        """Return `[B * S, ...]` of `[T, ...]`."""
        return tf.gather(x, self.back)


def real_positions(padding_mask: KerasTensor | None) -> Real | None:
    """Return the real positions, in graphs of `folding`; None otherwise, and without a mask.

    Layers compute T states in place of B * S there. In training, batches of similar lengths have
    little padding.
    """
    if tf is None or padding_mask is None or not _folding.get():
        return None
    mask = tf.reshape(padding_mask, [-1])
    mask |= tf.range(tf.size(mask)) == 0  # all may be padding, and T must not be 0
    return Real(tf.where(mask)[:, 0], tf.cumsum(tf.cast(mask, tf.int32)) - 1)


def dense(
    x: KerasTensor, kernel: KerasTensor, bias: KerasTensor | None = None,
    activation: str | None = None, training: bool = False,
) -> KerasTensor:  # fmt: skip
    """Compute `activation(x @ kernel + bias)`.

    Args:
        x: float `[..., I]`.
        kernel: float `[I, O]`, of the dtype of `x`.
        bias: float `[O]`, of the dtype of `x`, or `None`.
        activation: name of a Keras activation, or `None`; `"gelu"` is the exact GELU,
            `"gelu_tanh"` its tanh approximation.
        training: whether gradients will be computed.

    Returns:
        float `[..., O]`.
    """
    if tf is None:
        y = ops.matmul(x, kernel)
        y = y if bias is None else y + bias
        return _activate(y, activation)
    if _is_one_token(frozen=True):
        kernel = _constant(kernel, x.dtype)
        bias = None if bias is None else _constant(bias, x.dtype)
    y = tf.matmul(x if x.shape.rank == 2 else tf.reshape(x, [-1, kernel.shape[0]]), kernel)
    if training and activation in OWN_ACTIVATIONS and bias is not None:
        # In eager mode, functions with gradients of their own accept tensors only, no variables.
        exact = activation == "gelu"
        gelu = compiled.bias_gelu if exact else compiled.bias_gelu_tanh
        y = gelu(y, tf.convert_to_tensor(bias))
    else:
        y = y if bias is None else tf.nn.bias_add(y, bias)
        y = tf.nn.gelu(y, approximate=False) if activation == "gelu" else _activate(y, activation)
    if x.shape.rank == 2:
        return y
    return tf.reshape(y, tf.concat([tf.shape(x)[:-1], [kernel.shape[1]]], 0))


def add_norm(
    x: KerasTensor, residual: KerasTensor | None, gamma: KerasTensor, beta: KerasTensor,
    epsilon: float, training: bool = False, rate: float = 0.0, seed: KerasTensor | None = None,
) -> KerasTensor:  # fmt: skip
    """Compute `LayerNorm(residual + dropout(x))` over the last axis (Ba et al. 2016).

    Sum, mean and variance are float32 for every dtype of `x`.

    Args:
        x: float `[..., H]`.
        residual: float `[..., H]`, or `None`.
        gamma: float32 `[H]`.
        beta: float32 `[H]`.
        epsilon: float, added to the variance.
        training: whether gradients will be computed.
        rate: fraction of `x` to drop; the rest is scaled up.
        seed: int `[2]`, new in every call; `None` for no dropout.

    Returns:
        float `[..., H]`, of the dtype of `x`.
    """
    if tf is not None and training:
        width = gamma.shape[0]
        residual = tf.zeros_like(x) if residual is None else residual
        y = compiled.add_norm(
            tf.reshape(x, [-1, width]), tf.reshape(residual, [-1, width]),
            tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta),
            tf.constant(epsilon), *compiled.dropping(seed, rate),
        )  # fmt: skip
        return tf.reshape(y, tf.shape(x))
    if tf is not None and _folding.get():
        return _folded_norm(x, residual, gamma, beta, epsilon)
    if seed is not None:
        x = keras.random.dropout(x, rate, seed=seed)
    return _plain_norm(x, residual, gamma, beta, epsilon)


def _plain_norm(x, residual, gamma, beta, epsilon):
    total = ops.cast(x, "float32")
    if residual is not None:
        total = total + ops.cast(residual, "float32")
    normalized, _ = normalize(total, epsilon)
    return ops.cast(normalized * gamma + beta, x.dtype)


def attend(
    queries: KerasTensor, keys: KerasTensor, values: KerasTensor, mask: KerasTensor | None,
    scale: float, training: bool = False, rate: float = 0.0, seed: KerasTensor | None = None,
    return_weights: bool = True,
) -> tuple[KerasTensor, KerasTensor | None]:  # fmt: skip
    """Compute `dropout(softmax(scale * queries @ keys^T)) @ values`, see `masked_softmax`.

    On other backends than TensorFlow, Keras' own attention computes it where nothing is dropped
    and the weights are not needed: on a GPU, in bfloat16, without writing them to memory.

    Args:
        queries: float `[B, N, Q, D]`.
        keys: float `[B, N, K, D]`.
        values: float `[B, N, K, D]`.
        mask: bool that broadcasts to `[B, N, Q, K]`, or `None`.
        scale: see `masked_softmax`.
        training: see there.
        rate: see there.
        seed: see there.
        return_weights: whether the caller needs the weights.

    Returns:
        pair of float `[B, N, Q, D]` and the weights `[B, N, Q, K]`; `None` may stand for weights
        that are not needed.
    """
    if tf is None and seed is None and not return_weights:
        # [B, Q, N, D], and a mask for every query: cuDNN's attention takes no other.
        parts = (ops.transpose(x, (0, 2, 1, 3)) for x in (queries, keys, values))
        if mask is not None:
            rows_and_heads = (1, *mask.shape)[-4:-2]
            mask = ops.broadcast_to(mask, (*rows_and_heads, queries.shape[2], keys.shape[2]))
        attended = ops.dot_product_attention(*parts, mask=mask, scale=scale)
        return ops.transpose(attended, (0, 2, 1, 3)), None
    if tf is None:
        scores = ops.matmul(queries, ops.transpose(keys, (0, 1, 3, 2)))
    else:
        # Eigen and oneDNN need no transposed copy of the keys; `ops` would make one.
        scores = tf.matmul(queries, keys, transpose_b=True)
    weights = masked_softmax(scores, mask, scale, training, rate, seed)  # [B, N, Q, K]
    return ops.matmul(weights, values), weights


def masked_softmax(
    scores: KerasTensor, mask: KerasTensor | None, scale: float = 1.0, training: bool = False,
    rate: float = 0.0, seed: KerasTensor | None = None,
) -> KerasTensor:  # fmt: skip
    """Compute `dropout(softmax(scale * scores))` over the last axis, 0 at masked keys.

    The softmax is float32 for every dtype of `scores`.

    Args:
        scores: float `[B, N, Q, K]`.
        mask: bool that broadcasts to `[B, N, Q, K]`, `True` = may be attended to,
            or `None`.
        scale: float.
        training: whether gradients will be computed.
        rate: fraction of the weights to drop.
        seed: int `[2]`, new in every call; `None` for no dropout.

    Returns:
        float `[B, N, Q, K]`, of the dtype of `scores`.
    """
    if tf is not None and training:
        mask = tf.ones([1, 1, 1, 1], tf.bool) if mask is None else mask
        return compiled.masked_softmax(
            scores, mask, tf.constant(scale), *compiled.dropping(seed, rate)
        )
    if tf is not None and _folding.get():
        scores = scores * tf.constant(scale, scores.dtype)
        if mask is not None:
            scores += tf.cast(tf.where(mask, 0.0, MASKED_SCORE), scores.dtype)
        if not _is_one_token():
            return tf.nn.softmax(scores)
        # As with normalizations, oneDNN's operation takes longer to start than this to end.
        weights = tf.cast(scores, tf.float32)
        weights = tf.exp(weights - tf.reduce_max(weights, -1, keepdims=True))
        weights /= tf.reduce_sum(weights, -1, keepdims=True)
        return tf.cast(weights, scores.dtype)
    weights = ops.cast(scores, "float32") * scale
    if mask is not None:
        weights = ops.where(mask, weights, MASKED_SCORE)
    # Keras' softmax warns of an axis of length 1, which a prompt of one token has.
    softmax = ops.softmax if tf is None else tf.nn.softmax
    weights = ops.cast(softmax(weights, axis=-1), scores.dtype)
    if seed is not None:
        weights = keras.random.dropout(weights, rate, seed=seed)
    return weights


def product_with_rows(
    x: KerasTensor, table: KerasTensor, bias: KerasTensor | None = None
) -> KerasTensor:
    """Compute `x @ table^T + bias`: the similarity of every state to every row of the table.

    Args:
        x: float `[..., H]`.
        table: float `[V, H]`.
        bias: float32 `[V]`.

    Returns:
        float32 `[..., V]`; the product is of the dtype of `x`.
    """
    if tf is None:
        y = ops.cast(ops.matmul(x, ops.transpose(ops.cast(table, x.dtype))), "float32")
        return y if bias is None else y + bias
    constant = _is_one_token(frozen=True)
    table = _constant(table, x.dtype) if constant else ops.cast(table, x.dtype)
    # Two-dimensional as in `dense`, and without a transposed copy of the table.
    y = tf.matmul(tf.reshape(x, [-1, table.shape[1]]), table, transpose_b=True)
    own = bias is not None and y.dtype == tf.float32  # else it is added in float32, below
    if constant:
        # oneDNN keeps the weights of products with a bias only, and a bias of zeros is removed.
        added = _constant(bias, y.dtype) if own else tf.zeros([table.shape[0]], y.dtype)
        y = tf.nn.bias_add(y, tf.where(added == 0, tf.constant(1e-37, y.dtype), added))
    elif own:
        y = tf.nn.bias_add(y, tf.cast(bias, y.dtype))
    y = tf.cast(y, tf.float32)
    y = y if own or bias is None else y + bias
    return tf.reshape(y, tf.concat([tf.shape(x)[:-1], [table.shape[0]]], 0))


def cache_places(
    cache: KerasTensor, index: int | KerasTensor, length: int | KerasTensor
) -> KerasTensor:
    """Return what `write_cache` takes as `index`, computed once for caches of one shape.

    Args:
        cache: float `[B, N, K, D]`.
        index: int or scalar int tensor.
        length: number of positions to write.
    """
    if tf is None:
        return index
    axes = (tf.range(tf.shape(cache)[0]), tf.range(cache.shape[1]), index + tf.range(length))
    return tf.stack(tf.meshgrid(*axes, indexing="ij"), -1)  # int32 [B, N, length, 3]


def write_cache(cache: KerasTensor, new: KerasTensor, index: int | KerasTensor) -> KerasTensor:
    """Return the cache with `new` written from position `index` on, where it must be zero.

    Args:
        cache: float `[B, N, K, D]`.
        new: float `[B, N, Q, D]`, of the dtype of `cache`; `index + Q <= K`.
        index: int or scalar int tensor, or the `cache_places` of one.

    Returns:
        float `[B, N, K, D]`.
    """
    if tf is None:
        return ops.slice_update(cache, (0, 0, index, 0), new)
    # TensorFlow's only operation that updates a tensor in place if nothing else refers to it,
    # as in a loop: `tensor_scatter_nd_update` always copies, and `slice_update` is an XLA
    # operation. It adds to the old values, hence the zeros.
    if len(getattr(index, "shape", ())) == 0:
        index = cache_places(cache, index, tf.shape(new)[2])
    return tf.raw_ops.ScatterNdNonAliasingAdd(input=cache, indices=index, updates=new)


def take_positions(states: KerasTensor, positions: KerasTensor) -> KerasTensor:
    """Return the states at the given positions of each row.

    Args:
        states: float `[B, S, H]`.
        positions: int `[B, M]`, 0 <= position < S.

    Returns:
        float `[B, M, H]`.
    """
    if tf is None:
        return ops.take_along_axis(states, ops.expand_dims(positions, -1), axis=1)
    return tf.gather(states, positions, batch_dims=1)


def _activate(x, activation):
    if activation is None:
        return x
    if activation in OWN_ACTIVATIONS:
        return ops.gelu(x, approximate=activation == "gelu_tanh")
    return keras.activations.get(activation)(x)


def _folded_norm(x, residual, gamma, beta, epsilon):
    """`LayerNorm(residual + x)`, whichever form is faster for so many states."""
    x = x if residual is None else x + residual
    width = gamma.shape[0]

    def plain():
        weights = (_constant(weight, tf.float32) for weight in (gamma, beta))
        return _plain_norm(x, None, *weights, epsilon)

    def fused():
        weights = (_constant(weight, x.dtype) for weight in (gamma, beta))
        return _fused_norm(x, *weights, epsilon)

    return plain() if _is_one_token() else tf.cond(tf.size(x) <= _FEW * width, plain, fused)


def _fused_norm(x, gamma, beta, epsilon):
    """The pattern that becomes one operation of oneDNN.

    That operation always adds 1e-3 to the variance. So that epsilon is what counts, the states
    are scaled up before: exactly, or, where fewer bits are kept, by a power of two.
    """
    factor = math.sqrt(_FUSED_EPSILON / epsilon)
    factor = factor if x.dtype == tf.float32 else 2.0 ** round(math.log2(factor))
    x *= tf.constant(factor, x.dtype)
    last = x.shape.rank - 1
    mean = tf.reduce_mean(x, last, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(x, mean), last, keepdims=True)
    scale = tf.math.rsqrt(variance + tf.constant(_FUSED_EPSILON, x.dtype)) * gamma
    return x * scale + (beta - mean * scale)


def _constant(weight, dtype):
    with tf.init_scope():
        weight = tf.cast(weight, dtype).numpy()
    return tf.constant(weight)
