"""Training's elementwise computations on TensorFlow, compiled by XLA, with gradients written out.

In and out: tensors. One function for bias and GELU, one for residual, dropout and layer
normalization, one for masked softmax and dropout. XLA passes over memory once where separate
kernels pass five to ten times, and TensorFlow's bfloat16 elementwise kernels are slower than its
float32 ones. The matrix products are not compiled: XLA's are slower on CPUs. `kernels` calls these;
on other backends there are none.
"""

import math

import keras
from keras import KerasTensor, ops

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
else:
    tf = None

# The score of a masked key. Finite, so that a row in which all keys are masked gives
# a uniform distribution and not NaN.
MASKED_SCORE = -1e9


def normalize(x: KerasTensor, epsilon: float) -> tuple[KerasTensor, KerasTensor]:
    """Return `x` with zero mean and unit variance on the last axis, and 1 / deviation."""
    mean = ops.mean(x, axis=-1, keepdims=True)
    centred = x - mean
    scale = ops.rsqrt(ops.mean(ops.square(centred), axis=-1, keepdims=True) + epsilon)
    return centred * scale, scale


if tf is not None:
    # One traced function each, shared by all layers: XLA then compiles once a shape,
    # not once a layer and shape.
    _compiled = tf.function(jit_compile=True, reduce_retracing=True, autograph=False)

    def _with_gradients(name, forward, gradients):
        """Return an operation that has gradients of its own, as of `tf.custom_gradient`.

        That one registers a function for each call, which keeps the graph of the call alive as
        long as the process lives: every model ever trained. Here the gradients are registered
        once. Gradients are looked up there for the operations of a `tf.function` only, so the
        operation is one.

        Args:
            name: of the gradients in the registry.
            forward: function of tensors that returns `(result, saved)`; `saved` is a tuple of
                tensors for the gradients.
            gradients: function of the gradient of the result, the saved tensors and the inputs
                that returns the gradients of the first of those tensors; the others have none.
        """
        name = f"Tfmodels>{name}"

        @tf.RegisterGradient(name)
        def of_operation(operation, upstream, *_):
            _, *tensors = operation.inputs
            first = gradients(upstream, *tensors)
            return [None, *first, *[None] * (len(tensors) - len(first))]

        @tf.function(reduce_retracing=True, autograph=False)
        def operation(inputs):
            result, saved = forward(*inputs)
            graph = tf.compat.v1.get_default_graph()
            with graph.gradient_override_map({"IdentityN": name}):
                return tf.identity_n([result, *saved, *inputs])[0]

        return lambda *inputs: operation(inputs)

    def dropping(seed: KerasTensor | None, rate: float) -> tuple:
        """Return seed, threshold and scale of dropout, for the compiled functions.

        As tensors, so that one compiled function serves every rate; none where nothing is
        dropped.
        """
        if seed is None:
            return ()
        seed = tf.cast(seed, tf.uint32)
        replica = tf.distribute.get_replica_context()
        if replica is not None and replica.num_replicas_in_sync > 1:
            # Their states are the same; without this they would drop the same elements.
            number = tf.cast(replica.replica_id_in_sync_group, tf.uint32)
            seed += number * tf.constant([0x9E3779B9, 0], tf.uint32)
        return seed, _u32(round(rate * 2**32)), tf.constant(1 / (1 - rate))

    def _kept(like, drop):
        """`1 / (1 - rate)` where an element is kept and 0 where it is dropped.

        A hash of the element's number and the seed, with the 32-bit mixer "lowbias32" of
        C. Wellons' hash-prospector before and after the seed comes in: the backward pass
        finds the same elements again without storing them, and XLA fuses it, which it does
        not do with the counter-based generators (40 times slower here).
        """
        if not drop:
            return 1.0
        seed, threshold, scale = drop
        number = tf.cast(tf.range(tf.size(like)), tf.uint32)
        x = _mixed(_mixed(number) + seed[0] + seed[1] * _u32(0x9E3779B9))
        kept = tf.cast(x >= threshold, like.dtype) * tf.cast(scale, like.dtype)
        return tf.reshape(kept, tf.shape(like))

    def _mixed(x):
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _u32(shift))) * _u32(factor)
        return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _u32(16)))

    def _u32(value):
        return tf.constant(value, tf.uint32)

    def _gelu_parts(x, by_tanh):
        """`(share, slope)`: GELU is `x * share`, its derivative `share + x * slope`."""
        if not by_tanh:
            density = tf.exp(-0.5 * tf.square(x)) / math.sqrt(2.0 * math.pi)
            return 0.5 * (1.0 + tf.math.erf(x * math.sqrt(0.5))), density
        # Hendrycks and Gimpel 2016 (arXiv:1606.08415), the approximation.
        scale, cubic = math.sqrt(2.0 / math.pi), 0.044715
        tanh = tf.tanh(scale * (x + cubic * x * x * x))
        inner = scale * (1.0 + 3.0 * cubic * x * x)
        return 0.5 * (1.0 + tanh), 0.5 * (1.0 - tanh * tanh) * inner

    @_compiled
    def _bias_gelu_forward(x, bias, by_tanh):
        total = tf.cast(x, tf.float32) + tf.cast(bias, tf.float32)
        return tf.cast(total * _gelu_parts(total, by_tanh)[0], x.dtype)

    @_compiled
    def _bias_gelu_backward(x, bias, upstream, by_tanh):
        total = tf.cast(x, tf.float32) + tf.cast(bias, tf.float32)
        share, slope = _gelu_parts(total, by_tanh)
        dx = tf.cast(upstream, tf.float32) * (share + total * slope)
        return tf.cast(dx, x.dtype), tf.cast(tf.reduce_sum(dx, 0), bias.dtype)

    def _bias_gelu_of(name, by_tanh):
        def forward(x, bias):
            return _bias_gelu_forward(x, bias, by_tanh), ()

        def gradients(upstream, x, bias):
            return _bias_gelu_backward(x, bias, upstream, by_tanh)

        return _with_gradients(name, forward, gradients)

    bias_gelu = _bias_gelu_of("BiasGelu", False)
    bias_gelu_tanh = _bias_gelu_of("BiasGeluTanh", True)

    @_compiled
    def _add_norm_forward(x, residual, gamma, beta, epsilon, drop):
        total = tf.cast(x, tf.float32)
        total = total * _kept(total, drop) + tf.cast(residual, tf.float32)
        normalized, _ = normalize(total, epsilon)
        return tf.cast(normalized * gamma + beta, x.dtype)

    @_compiled
    def _add_norm_backward(x, residual, gamma, drop, upstream, epsilon):
        total = tf.cast(x, tf.float32)
        kept = _kept(total, drop)
        total = total * kept + tf.cast(residual, tf.float32)
        normalized, scale = normalize(total, epsilon)
        upstream = tf.cast(upstream, tf.float32)
        d = upstream * gamma
        d = d - tf.reduce_mean(d, -1, keepdims=True)
        d = scale * (d - normalized * tf.reduce_mean(d * normalized, -1, keepdims=True))
        return (
            tf.cast(d * kept, x.dtype),
            tf.cast(d, residual.dtype),
            tf.reduce_sum(upstream * normalized, 0),
            tf.reduce_sum(upstream, 0),
        )

    def _add_norm_gradients(upstream, x, residual, gamma, beta, epsilon, *drop):
        return _add_norm_backward(x, residual, gamma, drop, upstream, epsilon)

    add_norm = _with_gradients(
        "AddNorm",
        lambda *inputs: (_add_norm_forward(*inputs[:5], inputs[5:]), ()),
        _add_norm_gradients,
    )

    @_compiled
    def _masked_softmax_forward(scores, mask, drop, scale):
        weights = tf.where(mask, tf.cast(scores, tf.float32) * scale, MASKED_SCORE)
        weights = tf.nn.softmax(weights)
        dropped = weights * _kept(weights, drop)
        return tf.cast(dropped, scores.dtype), tf.cast(weights, scores.dtype)

    @_compiled
    def _masked_softmax_backward(weights, mask, drop, upstream, scale):
        w = tf.cast(weights, tf.float32)
        d = tf.cast(upstream, tf.float32) * _kept(w, drop)
        d = w * (d - tf.reduce_sum(w * d, -1, keepdims=True)) * scale
        # Masked keys have weight 0 already, but for rows in which all are masked.
        return tf.cast(tf.where(mask, d, 0.0), weights.dtype)

    def _masked_softmax_with_weights(scores, mask, scale, *drop):
        dropped, weights = _masked_softmax_forward(scores, mask, drop, scale)
        return dropped, (weights,)

    def _masked_softmax_gradients(upstream, weights, scores, mask, scale, *drop):
        return None, _masked_softmax_backward(weights, mask, drop, upstream, scale)

    masked_softmax = _with_gradients(
        "MaskedSoftmax", _masked_softmax_with_weights, _masked_softmax_gradients
    )
