"""The contract that every layer and every model keeps, one function a clause.

A `Case` says how to make the thing and what to call it with; `CLAUSES` are functions of a
case that assert. Written for any Keras backend: only `gradients` knows which one it is.

B = 3 rows, S = 5 positions, H = 8 hidden, N = 2 heads everywhere: TensorFlow compiles the
training kernels once for every shape it meets, so few shapes make quick tests.
"""

import dataclasses
import json

import keras
import numpy as np
import pytest
from keras import ops

B, S, H = 3, 5, 8


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def integers(limit, *shape, seed=0):
    """Ids of which the first row has each value at least once, if it is long enough."""
    ids = np.random.default_rng(seed).integers(0, limit, size=shape, dtype="int32")
    ids[0] = np.arange(shape[1]) % limit
    return ids


def real_tokens(*lengths, size=S):
    """Padding mask `[B, S]` of rows of these lengths."""
    return np.arange(size) < np.array(lengths)[:, None]


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer or a model and what it is called with.

    Args:
        make: makes a new one; takes `dtype` and the settings of `dropout`.
        inputs: arrays by the name of the call argument, or of the batch's entry.
        sequence_axes: the axes of each input that grow when padding is added.
        custom_objects: the classes that a reader of its config must be given.
        dropout: the settings that switch dropout on.
        dropout_keeps_mean: whether what is dropped goes through linear steps only.
        no_gradient: ends of the paths of weights that have gradient zero by nature.
        output_dtype: of the output where the compute dtype is bfloat16.
        takes_batch: whether all inputs are one argument, a dict (as for models).
        output: key of the output that is looked at, of a model with several.
        unreached: part of the paths of weights that this output does not depend on.
        bfloat16_tolerance: largest difference from float32, as a share of the largest value.
    """

    make: callable
    inputs: dict
    sequence_axes: dict
    custom_objects: tuple
    dropout: dict = dataclasses.field(default_factory=dict)
    dropout_keeps_mean: bool = False
    no_gradient: tuple = ()
    output_dtype: str = "bfloat16"
    takes_batch: bool = False
    output: str | None = None
    unreached: str | None = None
    bfloat16_tolerance: float = 0.05

    def call(self, layer, inputs, training=False):
        if self.takes_batch:
            outputs = layer(inputs, training=training)
            return outputs if self.output is None else outputs[self.output]
        (_, first), *rest = inputs.items()
        return layer(first, **dict(rest), training=training)

    def run(self, layer, inputs=None, training=False):
        """The output as a NumPy array of float32."""
        output = self.call(layer, self.inputs if inputs is None else inputs, training)
        return ops.convert_to_numpy(ops.cast(output, "float32"))

    def made(self, **settings):
        """A new one, built, whose weights are all random (no gamma 1, no bias 0)."""
        keras.utils.set_random_seed(0)
        layer = self.make(**settings)
        self.call(layer, self.inputs)
        for number, weight in enumerate(layer.weights):
            weight.assign(weight + 0.3 * normal(*weight.shape, seed=number))
        return layer

    def twin(self, layer, **settings):
        """A new one with the weights of `layer` and other settings."""
        other = self.made(**settings)
        other.set_weights(layer.get_weights())
        return other

    def functional(self, layer):
        """A functional model around `layer` that leaves the lengths of sequences open."""
        inputs = {}
        for name, array in self.inputs.items():
            axes = self.sequence_axes.get(name, ())
            shape = [None if axis in axes else n for axis, n in enumerate(array.shape)]
            inputs[name] = keras.Input(shape[1:], dtype=str(array.dtype), name=name)
        return keras.Model(inputs, self.call(layer, inputs))

    def padded(self, extra=2):
        """The inputs with `extra` more positions: masked, and with rubbish in them."""
        longer = {}
        for name, array in self.inputs.items():
            for axis in self.sequence_axes.get(name, ()):
                shape = list(array.shape)
                shape[axis] = extra
                if array.dtype == bool:
                    rubbish = np.zeros(shape, bool)
                elif array.dtype == np.int32:
                    rubbish = np.full(shape, array.max(), "int32")
                else:
                    rubbish = 10 * normal(*shape, seed=7)
                array = np.concatenate([array, rubbish], axis)
            longer[name] = array
        return longer


def gradients(case, layer, upstream):
    """Gradients of `sum(upstream * output)`, in training, in the order of the weights."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(case.call(layer, case.inputs, training=True) * upstream)
        found = tape.gradient(loss, [weight.value for weight in layer.trainable_variables])
        return [None if g is None else tf.convert_to_tensor(g).numpy() for g in found]

    import jax

    def loss(trainable):
        state = [variable.value for variable in layer.non_trainable_variables]

        def stateless(*args, **kwargs):
            return layer.stateless_call(trainable, state, *args, **kwargs)[0]

        return ops.sum(case.call(stateless, case.inputs, training=True) * upstream)

    found = jax.grad(loss)([variable.value for variable in layer.trainable_variables])
    return [np.asarray(g) for g in found]


def config_round_trip(case, tmp_path):
    layer = case.made(**case.dropout)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    with keras.saving.custom_object_scope({c.__name__: c for c in case.custom_objects}):
        again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()


def saved_and_reloaded_outputs_are_equal(case, tmp_path):
    layer = case.made()
    case.functional(layer).save_weights(tmp_path / "model.weights.h5")
    again = case.make()
    case.functional(again).load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(case.run(again), case.run(layer))


def padding_changes_nothing(case, tmp_path):
    layer = case.made()
    expected = case.run(layer)
    found = case.run(layer, case.padded())
    if expected.ndim == 3:
        found = found[:, :S]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def bfloat16_is_close_to_float32(case, tmp_path):
    layer = case.made()
    twin = case.twin(layer, dtype="mixed_bfloat16")
    assert {weight.dtype for weight in twin.weights} <= {"float32"}
    expected = case.run(layer)
    output = case.call(twin, case.inputs)
    assert keras.backend.standardize_dtype(output.dtype) == case.output_dtype
    # bfloat16 has 8 bits: 0.4% an operation, a few operations deep.
    tolerance = case.bfloat16_tolerance * np.abs(expected).max()
    for training in (False, True):
        found = case.run(twin, training=training)
        np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=f"{training=}")


def training_without_dropout_is_inference(case, tmp_path):
    layer = case.made()
    np.testing.assert_allclose(case.run(layer, training=True), case.run(layer), atol=1e-5)


def gradient_reaches_every_weight(case, tmp_path):
    layer = case.made()
    upstream = normal(*case.run(layer).shape, seed=3)
    found = gradients(case, layer, upstream)
    for gradient, weight in zip(found, layer.trainable_variables, strict=True):
        if case.unreached and case.unreached in weight.path:
            assert gradient is None or not gradient.any(), weight.path
            continue
        assert gradient is not None, weight.path
        assert np.isfinite(gradient).all(), weight.path
        largest = np.abs(gradient).max()
        if weight.path.endswith(case.no_gradient):
            assert largest < 1e-4, weight.path
        else:
            assert largest > 1e-3, weight.path


def gradient_is_the_slope(case, tmp_path):
    """Uphill, the loss rises as fast as the gradient is long (central differences)."""
    layer = case.made()
    if not layer.trainable_variables:
        pytest.skip("no weights")
    upstream = normal(*case.run(layer).shape, seed=3)
    found = gradients(case, layer, upstream)
    weights = layer.get_weights()
    found = [np.zeros_like(w) if g is None else g for g, w in zip(found, weights, strict=True)]
    length = np.sqrt(sum(np.sum(np.square(g)) for g in found))
    # Where the gradient is long the step is short: a ReLU may be about to turn.
    start, step, losses = layer.get_weights(), min(1e-2, 0.02 / length), []
    trained = [any(w is v for v in layer.trainable_variables) for w in layer.weights]
    assert all(trained), "the clause pairs gradients with weights by their order"
    for sign in (1, -1):
        layer.set_weights([w + sign * step * g / length for w, g in zip(start, found, strict=True)])
        losses.append(np.sum(case.run(layer).astype("float64") * upstream))
    slope = (losses[0] - losses[1]) / (2 * step)
    np.testing.assert_allclose(slope, length, rtol=1e-2)


def dropout_acts_in_training_only(case, tmp_path):
    if not case.dropout:
        pytest.skip("no dropout")
    layer = case.made()
    dropping = case.twin(layer, **case.dropout)
    np.testing.assert_array_equal(case.run(dropping), case.run(layer))
    first, second = (case.run(dropping, training=True) for _ in range(2))
    assert not np.allclose(first, case.run(layer), atol=1e-3)
    assert not np.allclose(first, second, atol=1e-3)


def dropout_keeps_the_mean(case, tmp_path):
    if not case.dropout_keeps_mean:
        pytest.skip("nothing is dropped, or a normalization follows")
    layer, copies = case.made(**case.dropout), 2000
    many = {name: np.repeat(array, copies, 0) for name, array in case.inputs.items()}
    found = case.run(layer, many, training=True)
    found = found.reshape(B, copies, *found.shape[1:])
    error = found.std(1) / np.sqrt(copies)
    assert (np.abs(found.mean(1) - case.run(layer)) < 5 * error + 1e-5).all()


def fit_lowers_the_loss(case, tmp_path):
    layer = case.made()
    if not layer.trainable_variables:
        pytest.skip("no weights")
    model = case.functional(layer)
    # Steps so small that plain gradient descent must go down at each of them.
    model.compile(keras.optimizers.SGD(1e-3), loss="mse")
    target = normal(*case.run(layer).shape, seed=5)
    history = model.fit(case.inputs, target, epochs=3, batch_size=B, verbose=0).history["loss"]
    assert history[0] > history[1] > history[2]


def shapes_and_dtypes_are_as_announced(case, tmp_path):
    layer = case.make(dtype="mixed_bfloat16")
    model = case.functional(layer)
    output = case.call(layer, case.inputs)
    if case.takes_batch:
        shapes = {name: array.shape for name, array in case.inputs.items()}
    else:
        shapes = next(iter(case.inputs.values())).shape
    announced = layer.compute_output_shape(shapes)
    announced = announced if case.output is None else announced[case.output]
    assert tuple(announced) == tuple(output.shape)
    symbolic = model.output.shape
    assert len(symbolic) == len(output.shape)
    assert all(s in (None, n) for s, n in zip(symbolic, output.shape, strict=True))
    assert model.output.dtype == keras.backend.standardize_dtype(output.dtype)


def symbolic_call_gives_the_same(case, tmp_path):
    layer = case.made()
    model = case.functional(layer)
    found = ops.convert_to_numpy(model(case.inputs))
    np.testing.assert_allclose(found, case.run(layer), atol=1e-6)


CLAUSES = [
    config_round_trip,
    saved_and_reloaded_outputs_are_equal,
    padding_changes_nothing,
    bfloat16_is_close_to_float32,
    training_without_dropout_is_inference,
    gradient_reaches_every_weight,
    gradient_is_the_slope,
    dropout_acts_in_training_only,
    dropout_keeps_the_mean,
    fit_lowers_the_loss,
    shapes_and_dtypes_are_as_announced,
    symbolic_call_gives_the_same,
]
