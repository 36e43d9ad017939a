"""`AdamW` against Keras' own, and what it does otherwise; the schedules, written out."""

import gc

import keras
import numpy as np
import pytest

from tfmodels.errors import InputError
from tfmodels.training.optimizer import (
    AdamW,
    LossScale,
    WarmupInverseSqrt,
    WarmupLinear,
    make_optimizer,
)

if keras.backend.backend() != "tensorflow":
    pytest.skip("the compiled update is TensorFlow's", allow_module_level=True)

import tensorflow as tf

SHAPES = {"table": (5, 3), "kernel": (3, 4), "bias": (4,), "gamma": (4,), "beta": (4,)}
STEPS = 10


def new_variables():
    numbers = np.random.default_rng(0)
    return [
        keras.Variable(numbers.normal(size=shape), dtype="float32", name=name)
        for name, shape in SHAPES.items()
    ]


def gradients_of(step):
    numbers = np.random.default_rng(step)
    return [tf.constant(numbers.normal(size=shape), tf.float32) for shape in SHAPES.values()]


def trained(optimizer):
    variables = new_variables()
    for step in range(STEPS):
        optimizer.apply(gradients_of(step), variables)
    return variables


def momentum(optimizer):
    """The running means of the gradients; after one step a tenth of the gradients."""
    return [v.numpy() for v in optimizer.variables if v.path.endswith("momentum")]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_decay": 0.1, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        {"global_clipnorm": 0.5},
        {"clipnorm": 0.5},
        {"clipvalue": 0.1},
        {"use_ema": True, "ema_momentum": 0.5},
        {"learning_rate": WarmupLinear(0.01, total_steps=STEPS, warmup_steps=3)},
    ],
    ids=lambda settings: ",".join(settings) or "none",
)
def test_equals_keras(settings):
    settings = {"learning_rate": 0.01, "weight_decay": 0.01, "epsilon": 1e-6, **settings}
    theirs = keras.optimizers.AdamW(**settings)
    theirs.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    for one, other in zip(trained(AdamW(**settings)), trained(theirs), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("decay", "kept"), [(0.5, 0.95), (0.0, 1.0)])
def test_decay_alone(decay, kept):
    """With gradients of zero only decay moves: by rate x decay = 5%, matrices only."""
    variables = new_variables()
    before = [variable.numpy() for variable in variables]
    AdamW(0.1, weight_decay=decay).apply([tf.zeros(s) for s in SHAPES.values()], variables)
    for old, variable in zip(before, variables, strict=True):
        factor = kept if variable.name in ("table", "kernel") else 1.0
        np.testing.assert_allclose(variable.numpy(), factor * old, rtol=1e-6)


def test_repeated_ids_are_clipped_by_the_norm_of_their_sum():
    """Row 1 is named twice: 3 + 1 = 4 is its gradient, and 4 the norm; clipped to 1."""
    table = keras.Variable(np.zeros((3, 1)), dtype="float32", name="table")
    rows = tf.IndexedSlices(tf.constant([[3.0], [1.0]]), tf.constant([1, 1]), tf.constant([3, 1]))
    optimizer = AdamW(0.1, global_clipnorm=1.0)
    optimizer.apply([rows], [table])
    np.testing.assert_allclose(momentum(optimizer), [[[0.0], [0.1], [0.0]]], rtol=1e-6)


@pytest.mark.parametrize("gathered", [False, True])
def test_global_clip_on_two_devices_is_that_of_one(gathered, mirrored):
    """Clipped is the sum over the replicas: the same as one device sees in one batch."""
    shares = np.array([[[3.0], [1.0], [2.0]], [[-1.0], [5.0], [2.0]]], "float32")

    def gradient(share):
        if gathered:  # row 1 is named twice in each share
            return tf.IndexedSlices(share, tf.constant([0, 1, 1]), tf.constant([3, 1]))
        return share

    def apply(optimizer, table, share):
        optimizer.apply([gradient(share)], [table])

    def new():
        table = keras.Variable(np.zeros((3, 1)), dtype="float32", name="table")
        optimizer = AdamW(0.1, global_clipnorm=1.0)
        optimizer.build([table])
        return table, optimizer

    alone_table, alone = new()
    apply(alone, alone_table, tf.constant(shares.sum(0)))

    with mirrored.scope():
        table, optimizer = new()

        @tf.function
        def step(share):
            mirrored.run(apply, (optimizer, table, share))

        step(
            mirrored.experimental_distribute_values_from_function(
                lambda context: tf.constant(shares[context.replica_id_in_sync_group])
            )
        )
    np.testing.assert_allclose(momentum(optimizer), momentum(alone), rtol=1e-6)
    np.testing.assert_allclose(table.numpy(), alone_table.numpy(), rtol=1e-6)
    assert abs(np.linalg.norm(momentum(optimizer)) - 0.1) < 1e-6


def test_a_second_training_in_one_process():
    """What is compiled for a model keeps neither its variables nor more graphs than Keras."""

    def step(kind):
        variable, optimizer = keras.Variable(np.ones((2, 3))), kind(0.01)
        optimizer.build([variable])
        gradients = [tf.ones((2, 3))]
        tf.function(lambda: optimizer.apply(gradients, [variable]), autograph=False)()

    def kept(kind):
        numbers = []
        for _ in range(3):
            step(kind)
            gc.collect()
            graphs = [each for each in gc.get_objects() if type(each).__name__ == "FuncGraph"]
            numbers.append(len(graphs))
            del graphs
        return numbers[2] - numbers[1]

    assert kept(AdamW) == kept(keras.optimizers.AdamW)


def test_only_steps_are_counted():
    """Keras tries one more at the end of a dataset whose length it does not know."""
    rows = tf.data.Dataset.from_tensor_slices((np.ones((6, 3)), np.ones((6, 4)))).batch(2)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.compile(AdamW(0.01), loss="mse")
    model.fit(rows.filter(lambda x, y: True), epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 6


def test_the_schedule_of_the_transformer():
    """`width ** -0.5 * min(step ** -0.5, step * warmup_steps ** -1.5)`, Vaswani et al. 2017."""
    schedule = WarmupInverseSqrt((512 * 4000) ** -0.5, 4000)
    for step in (1, 100, 3999, 4000, 4001, 100_000):
        expected = 512**-0.5 * min(step**-0.5, step * 4000**-1.5)
        assert float(schedule(step - 1)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "schedule", [WarmupLinear(0.01, total_steps=10, warmup_steps=2), WarmupInverseSqrt(0.01, 4)]
)
def test_config_round_trip(schedule):
    optimizer = AdamW(schedule, weight_decay=0.02, epsilon=1e-5, global_clipnorm=1.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is AdamW
    assert again.get_config() == optimizer.get_config()
    for one, other in zip(trained(again), trained(optimizer), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # Five equal steps up: the fifth, step 4, is the peak. Six equal steps down.
        (
            WarmupLinear(30.0, total_steps=10, warmup_steps=4),
            [6, 12, 18, 24, 30, 25, 20, 15, 10, 5, 0, 0],
        ),
        (WarmupLinear(4.0, total_steps=4), [4, 3, 2, 1, 0, 0]),
        (WarmupLinear(2.0, total_steps=1), [2, 0]),
    ],
)
def test_schedule(schedule, expected):
    found = [float(schedule(step)) for step in range(len(expected))]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_average_of_the_weights_rises_to_its_momentum():
    """Momenta 0, 1/11, then 0.125 and no more: by hand, over three steps."""
    optimizer = AdamW(0.01, use_ema=True, ema_momentum=0.125)
    variables = new_variables()
    expected = [v.numpy() for v in variables]
    for step, momentum_then in enumerate((0, 1 / 11, 1 / 8)):
        optimizer.apply(gradients_of(step), variables)
        expected = [
            momentum_then * average + (1 - momentum_then) * v.numpy()
            for average, v in zip(expected, variables, strict=True)
        ]
    optimizer.finalize_variable_values(variables)
    for variable, average in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), average, rtol=1e-5, atol=1e-6)


def test_a_batch_of_no_numbers_is_left_out_of_those_that_are_accumulated():
    expected, found = new_variables(), new_variables()
    settings = {"learning_rate": 0.1, "epsilon": 0.1}
    AdamW(**settings).apply(gradients_of(0), expected)
    optimizer = AdamW(**settings, gradient_accumulation_steps=3)
    for gradients in (gradients_of(0), [g * np.nan for g in gradients_of(1)], gradients_of(0)):
        optimizer.apply(gradients, found)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-6)


def test_replicas_scale_alike(mirrored):
    """The gradients of one of two overflow: nothing moves, and the scale of both is halved."""
    with mirrored.scope():
        variable = keras.Variable(np.ones(3), dtype="float32", name="kernel")
        optimizer = LossScale(AdamW(0.1), initial_scale=8.0, dynamic_growth_steps=2)
        optimizer.build([variable])

    @tf.function
    def step(bad):
        def of_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            gradient = tf.where(tf.equal(replica, bad), np.float32(np.inf), 8.0)
            optimizer.apply([gradient * tf.ones(3)], [variable])

        mirrored.run(of_replica)

    def scales():
        return [
            float(s) for s in mirrored.experimental_local_results(optimizer.dynamic_scale.value)
        ]

    for bad, scale in ((1, 4.0), (0, 2.0)):
        step(tf.constant(bad))
        assert scales() == [scale, scale]
        np.testing.assert_array_equal(variable.numpy(), np.ones(3))
    for scale in (2.0, 4.0):
        step(tf.constant(-1))
        assert scales() == [scale, scale]
    assert (variable.numpy() < 1).all()


def test_scaled_learning_rates():
    """Half the rate moves by half, decay included; averages and the others as before."""
    plain, scaled = new_variables(), new_variables()
    before = [variable.numpy() for variable in plain]
    optimizers = AdamW(0.1), AdamW(0.1)
    optimizers[1].scale_learning_rate(scaled[:2], 0.5)
    for optimizer, variables in zip(optimizers, (plain, scaled), strict=True):
        optimizer.apply(gradients_of(0), variables)
    for number, (start, one, other) in enumerate(zip(before, plain, scaled, strict=True)):
        factor = 0.5 if number < 2 else 1.0
        np.testing.assert_allclose(
            other.numpy() - start, factor * (one.numpy() - start), rtol=1e-4, atol=1e-7
        )


def test_the_optimizer_of_a_training():
    """Half of 20 updates, of 2 steps each, are the warm-up; the lower layer moves half as fast."""
    layers = [keras.layers.Dense(1), keras.layers.Dense(1)]
    for layer in layers:
        layer.build((None, 1))
    options = {"warmup": 0.5, "ema": 0.0, "accumulate_steps": 2, "layer_decay": 0.5}
    optimizer = make_optimizer(40, learning_rate=0.11, layers=layers, **options)
    assert not optimizer.use_ema and optimizer.global_clipnorm == 1.0
    variables = [variable for layer in layers for variable in layer.trainable_variables]
    before = [variable.numpy() for variable in variables]
    for _ in range(2):
        optimizer.apply([tf.ones(v.shape) for v in variables], variables)
    # The first step of Adam is as long as its rate: 0.11 / (10 + 1); kernels decay as well.
    moved = [(v.numpy() - b).item() for v, b in zip(variables, before, strict=True)]
    np.testing.assert_allclose([moved[1], moved[3]], [-0.005, -0.01], rtol=1e-3)
    scaled = make_optimizer(40, learning_rate=0.1, schedule="inverse_sqrt", float16=True)
    assert type(scaled) is LossScale and scaled.inner_optimizer.ema_momentum == 0.999
    assert float(scaled.inner_optimizer.learning_rate) == pytest.approx(0.1 / 4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: WarmupLinear(0.1, 10, 10), ValueError, "got warmup_steps=10 and total_steps=10"),
        (lambda: WarmupLinear(0.1, 10, -1), ValueError, "got warmup_steps=-1 and total_steps"),
        (lambda: WarmupLinear(0.1, 0, 1), ValueError, "got warmup_steps=1 and total_steps=0"),
        (lambda: WarmupInverseSqrt(0.1, 0), ValueError, "warmup_steps must be 1 or more"),
        (lambda: AdamW(amsgrad=True), ValueError, "amsgrad"),
        (lambda: LossScale(keras.optimizers.SGD()), ValueError, "an AdamW of tfmodels, got SGD"),
        (lambda: make_optimizer(7, learning_rate=0.1, accumulate_steps=8), InputError,
         "accumulate_steps 8: the training has 7 steps, so that nothing would move"),
        (lambda: make_optimizer(7, learning_rate=0.1, schedule="cosine"), ValueError,
         "got 'cosine'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
