"""`fit`: every batch once, whenever it is measured; stopped and resumed; the best weights kept."""

import itertools
import json
import os
import re
import signal
import time
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.test_state import BATCH, IDS, LABELS, STEPS, model
from tfmodels.errors import InputError, LostWorker
from tfmodels.training.loop import evaluation_steps, fit, lost_workers, regular_steps
from tfmodels.training.state import LEFT, STATE, states

ENDS = [4, 7, STEPS]


def batches(step=0):
    dataset = tf.data.Dataset.from_tensor_slices((IDS, LABELS)).batch(BATCH)
    return dataset.repeat().skip(step)


def trained(directory, *callbacks, ends=ENDS, **options):
    """A model that is trained to its end from what lies in a directory, and its history."""
    classifier = model()
    options = {"monitor": "val_accuracy", "verbose": 0, "states": directory, **options}
    history = fit(
        classifier, batches, STEPS, ends, validation=batches().take(5), callbacks=callbacks,
        **options,
    )  # fmt: skip
    return classifier, history


class At(keras.callbacks.Callback):
    """Does something after a batch of the whole training."""

    def __init__(self, step, action):
        super().__init__()
        self.step, self.action = step, action

    def on_train_batch_end(self, batch, logs=None):
        self.step -= 1
        if self.step == 0:
            self.action(self.model)


class Gives(keras.callbacks.Callback):
    """Puts values into the logs, one an evaluation."""

    def __init__(self, **values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs.update({name: values[epoch] for name, values in self.values.items()})


class Weight(keras.callbacks.Callback):
    """The one weight of `bits`, at each evaluation."""

    def on_train_begin(self, logs=None):
        self.found = []

    def on_epoch_end(self, epoch, logs=None):
        self.found.append(int(self.model.weights[0].numpy()[0, 0]))


def bits(strategy):
    """A model whose weight adds up 2 to the power of the number of each batch it is given."""
    with strategy.scope():
        classifier = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        classifier.layers[0].kernel.assign([[0.0]])
        classifier.compile(keras.optimizers.SGD(1.0), lambda y, found: -found)
    return classifier


def trained_bits(ends, **options):
    """The history of a training of `bits` on one device, and its weight."""
    classifier = bits(tf.distribute.get_strategy())
    options = {"batches": numbered, "verbose": 0, **options}
    history = fit(classifier, steps=ends[-1], ends=ends, **options)
    return history, int(classifier.get_weights()[0][0, 0])


def numbered(step=0):
    numbers = tf.data.Dataset.range(20).map(lambda n: tf.repeat(2.0 ** tf.cast(n, "float32"), 2))
    return numbers.map(lambda x: (x[:, None], x[:, None])).repeat().skip(step)


def test_steps_of_evaluations():
    assert evaluation_steps(10, 1, 1) == regular_steps(10, None) == [10]
    assert evaluation_steps(10, 2, 3) == [3, 7, 10, 13, 17, 20]
    assert evaluation_steps(2, 1, 5) == [1, 2]
    assert regular_steps(10, 4) == [4, 8, 10] and regular_steps(8, 4) == [4, 8]


@pytest.mark.parametrize("devices", [1, 2])
def test_every_batch_once_however_often_it_is_measured(devices, mirrored, recwarn):
    """Of unknown length is the data that is measured on, as from a filter or a generator."""
    classifier = bits(mirrored if devices == 2 else tf.distribute.get_strategy())
    validation = numbered().take(3).filter(lambda x, y: True)
    weight, ends = Weight(), evaluation_steps(10, 1, 7)
    arguments = {"callbacks": [weight], "validation": validation, "verbose": 0}
    history = fit(classifier, numbered, 10, ends, **arguments)
    assert weight.found == [2**end - 1 for end in ends]
    assert history.epoch == list(range(7)) and len(history.history["val_loss"]) == 7
    assert history.best is None and history.ended == "all 10 steps were taken"
    assert not [warning for warning in recwarn if "ran out of data" in str(warning.message)]


@pytest.mark.parametrize(("step", "seen"), [(3, [1, 7]), (4, [1, 15])])
def test_a_callback_may_end_it(step, seen):
    """Within a stretch, and together with one."""
    stop, weight = At(step, lambda model: setattr(model, "stop_training", True)), Weight()
    history, _ = trained_bits([1, 4, 6], callbacks=[stop, weight])
    assert weight.found == seen
    assert history.ended == f"stopped by a callback after step {step} of 6"


def test_keras_early_stopping_ends_it():
    early = keras.callbacks.EarlyStopping("val_f1", patience=1, mode="max")
    gives = Gives(val_f1=[0.5, 0.4, 0.6, 0.7])
    assert trained_bits([1, 2, 3, 4], callbacks=[gives, early])[1] == 0b11


def test_batches_that_end_are_named():
    with pytest.raises(ValueError, match="ended after step 3 of 4; repeat the dataset"):
        trained_bits([4], batches=lambda step: numbered().take(3))


def test_the_device_is_not_waited_for_at_every_step(monkeypatch):
    seen = []
    tensor = type(tf.constant(0.0)).__mro__[1]
    numpy = tensor.numpy
    monkeypatch.setattr(tensor, "__float__", lambda self: seen.append(1) or float(numpy(self)))
    monkeypatch.setattr(tensor, "numpy", lambda self: seen.append(1) or numpy(self))
    trained_bits([40])
    assert 0 < len(seen) < 20


def test_killed_anywhere_and_resumed(tmp_path):
    def kill(model):
        raise KeyboardInterrupt

    whole, history = trained(tmp_path / "alone")
    assert len(history.history["val_accuracy"]) == len(ENDS)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", At(7, kill), save_every=2)
    assert states(tmp_path / "killed")[-1].name == "step-000000006"  # within a stretch
    again, resumed = trained(tmp_path / "killed", save_every=2)
    assert resumed.epoch == history.epoch and resumed.best == history.best
    for name in ("val_accuracy", "val_loss"):
        assert resumed.history[name] == history.history[name]
    assert [step for step, *_ in resumed.points] == list(range(1, STEPS + 1))
    np.testing.assert_allclose(resumed.points, history.points, rtol=1e-4)
    assert resumed.steps == history.steps == ENDS
    for one, other in ((whole, again), (whole.optimizer, again.optimizer)):
        for a, b in zip(one.variables, other.variables, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=a.path)
    again, resumed = trained(tmp_path / "alone")  # nothing is left to train
    assert resumed.history == history.history and resumed.ended == history.ended
    assert resumed.points == history.points and resumed.steps == ENDS
    np.testing.assert_array_equal(again.weights[0], whole.weights[0])
    message = "of 12 steps with 3 evaluations, and now it is 12 with 1; give the same"
    with pytest.raises(InputError, match=message):
        trained(tmp_path / "alone", ends=[STEPS])


def test_sigterm_saves_and_leaves(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        trained(tmp_path / "run", At(5, lambda _: os.kill(os.getpid(), signal.SIGTERM)))
    assert left.value.code == LEFT == 143
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(InputError, match="monitor"):
        trained(tmp_path / "other", monitor="f1")
    assert signal.getsignal(signal.SIGTERM) is before
    assert json.loads((states(tmp_path / "run")[-1] / STATE).read_text())["step"] == 5
    again, _ = trained(tmp_path / "run")
    for a, b in zip(again.weights, trained(None)[0].weights, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=a.path)


def test_the_last_weights_are_the_averages(tmp_path):
    """Also where a callback has ended the training early."""
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append([np.asarray(w) for w in note.model.weights])
    )
    stop = At(7, lambda model: setattr(model, "stop_training", True))
    for callbacks, evaluations in (([note], 3), ([note, stop], 2)):
        seen.clear()
        classifier, _ = trained(None, *callbacks, monitor=None)
        assert len(seen) == evaluations
        for weight, noted in zip(classifier.weights, seen[-1], strict=True):
            np.testing.assert_allclose(weight, noted, atol=1e-6)


def best_of(capsys, patience, warmup_steps=0, **values):
    """A training of 6 evaluations, of `bits`; its history, its weight and the last line."""
    gives = Gives(**{"val_loss": [1.0] * 6, **values})
    options = {"monitor": "val_f1", "patience": patience, "warmup_steps": warmup_steps}
    found = trained_bits([1, 2, 3, 4, 5, 6], callbacks=[gives], verbose="auto", **options)
    return *found, capsys.readouterr().err.splitlines()[-1]


def test_the_best_weights_are_kept_and_said(capsys):
    history, weight, line = best_of(capsys, 2, val_f1=[0.1, 0.7, 0.6, 0.7, 0.9, 0.9])
    assert history.best == 1 and weight == 0b11 and history.epoch == [0, 1, 2, 3]
    assert history.ended == "stopped early: no better evaluation in 2 (patience)"
    assert line == f"kept the weights of evaluation 2 of 4 (val_f1 0.7000); {history.ended}"


def test_patience_counts_after_the_warm_up(capsys):
    values = [0.2, 0.1, 0.1, 0.1, 0.1, 0.3]
    assert best_of(capsys, 2, val_f1=values)[0].best == 0
    assert best_of(capsys, 2, warmup_steps=3, val_f1=values)[0].epoch == [0, 1, 2, 3, 4]
    history, weight, line = best_of(capsys, 2, warmup_steps=4, val_f1=values)
    assert history.best == 5 and weight == 0b111111
    assert line.endswith("evaluation 6 of 6 (val_f1 0.3000); all 6 steps were taken")


def test_ties_are_broken_by_the_loss(capsys):
    losses = [3.0, 2.5, 2.7, 2.0, 1.5, np.nan]
    history, weight, _ = best_of(capsys, 2, val_f1=[0.0] * 6, val_loss=losses)
    assert history.best == 4 and weight == 0b11111


def test_a_value_that_is_not_measured_is_named():
    with pytest.raises(InputError, match="monitor val_f1: measured are loss"):
        trained_bits([1], monitor="val_f1")


def test_progress_is_a_line_an_evaluation_in_the_users_epochs(capsys):
    options = {"callbacks": [Gives(val_accuracy=[0.5, 0.75])], "epochs": 3, "tokens": 10}
    history, _ = trained_bits([3, 6], verbose="auto", **options)
    shown = capsys.readouterr()
    first, second = shown.err.splitlines()
    assert first.startswith("epoch 1.50 of 3, step 3 of 6, loss ")
    assert ", val_accuracy 0.5, " in first and " tokens/s, " in first and first.endswith("left")
    assert second.startswith("epoch 3.00 of 3, step 6 of 6, loss ") and not shown.out
    assert len(history.history["tokens_per_second"]) == 2


@pytest.mark.parametrize(("seconds", "least", "most"), [(0.0, 0.0, 0.4), (0.2, 0.5, 1.0)])
def test_waiting_for_input_is_shown(seconds, least, most, capsys):
    """A step of 20 ms hides the work on a batch that is prefetched, but not 200 ms of it."""

    def slow(x, y):
        return tf.numpy_function(lambda x: time.sleep(seconds) or x, [x], tf.float32), y

    def batches(step):
        spec = tf.TensorSpec([2, 1], tf.float32)
        found = numbered(step).map(slow).map(lambda x, y: (tf.ensure_shape(x, spec.shape), y))
        return found.prefetch(tf.data.AUTOTUNE)

    step = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.02))
    options = {"batches": batches, "callbacks": [step], "verbose": "auto"}
    history, weight = trained_bits([10, 20], **options)
    assert weight == 2**20 - 1 and least <= history.input_wait_share <= most
    for line in capsys.readouterr().err.splitlines():
        assert re.search(r" steps/s, waiting for input [\d.]+%", line)


def test_the_loss_is_recorded_at_regular_steps(tmp_path):
    """Of each step alone, though Keras shows means; and the same for TensorBoard."""
    options = {"states": tmp_path / "states", "epochs": 2}
    history, _ = trained_bits([3, 7, 8], **options)
    losses = [-(2.0**step - 1) * 2**step for step in range(8)]  # the weight times the input
    assert [point[::2] for point in history.points] == [[step, 1.0] for step in range(1, 9)]
    np.testing.assert_allclose([loss for _, loss, _ in history.points], losses, rtol=1e-4)
    assert history.steps == [3, 7, 8] and history.steps_per_epoch == 4
    (file,) = (tmp_path / "logs" / "steps").iterdir()
    events = [event.step for event in tf.compat.v1.train.summary_iterator(str(file))
              for value in event.summary.value if value.tag == "loss"]  # fmt: skip
    assert events == list(range(1, 9))


def test_a_long_training_has_no_more_points_than_a_plot_shows():
    batches = numbered().take(1).repeat()
    points = trained_bits([700, 1203], batches=lambda step: batches)[0].points
    assert len(points) <= 501 and {step for step, *_ in points} >= {3, 702, 1203}


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_within_a_stretch(terminal, capsys, monkeypatch):
    """A line in ten seconds; on a terminal the same line again, which never wraps."""
    clock = mock.Mock(perf_counter=itertools.count(step=2.0).__next__)
    monkeypatch.setattr("tfmodels.training.callbacks.time", clock)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    trained_bits([20], verbose="auto")
    shown = capsys.readouterr()
    lines = shown.err.splitlines() if not terminal else shown.err.split("\r")[1:]
    assert ("\r" in shown.err) == terminal and not shown.out
    assert len(lines) == (19 if terminal else 5) and "step 20 of 20, loss" in lines[-1]
    if terminal:
        assert all(len(line.removesuffix("\x1b[K")) < 40 for line in lines[:-1])
    else:
        pattern = r"epoch 0\.\d+ of 1, step \d+ of 20, loss \S+, \S+ steps/s, \d+ s left"
        assert all(re.fullmatch(pattern, line) for line in lines[:-1])


class Spoiled:
    """A loss that is not finite in one batch, whose first label is 7."""

    def __call__(self, labels, logits):
        loss = keras.losses.sparse_categorical_crossentropy(labels % 2, logits, from_logits=True)
        return tf.where(labels[0] == 7, np.nan, 1.0) * tf.reduce_mean(loss)


def spoiled(path, number, **options):
    """Trains two stretches of three steps, one of them not finite; `(model, history)`."""
    classifier, labels = model(), LABELS.copy()
    classifier.compile(classifier.optimizer, Spoiled())
    labels[(number - 1) * BATCH] = 7
    dataset = tf.data.Dataset.from_tensor_slices((IDS, labels)).batch(BATCH)
    history = fit(
        classifier, lambda step: dataset.repeat().skip(step), 6, [3, 6], states=path, verbose=0,
        **options,
    )  # fmt: skip
    return classifier, history


def test_a_loss_that_is_not_finite_stops_with_the_state_before(tmp_path):
    with pytest.raises(
        InputError, match="steps 4 to 6: the loss is not finite; do this, or leave such batches out"
    ):
        spoiled(tmp_path / "run", 5, advice="do this", save_every=1)
    # Neither that of the step nor those after it, whose means show it still.
    assert json.loads((states(tmp_path / "run")[-1] / STATE).read_text())["step"] == 4


@pytest.mark.parametrize("number", [5, 6])
def test_a_batch_without_a_finite_loss_is_left_out(number, tmp_path, capsys):
    classifier, history = spoiled(tmp_path / "run", number, nonfinite="skip")
    said = f"step {number}: the loss is not finite; the batch is left out"
    assert said in capsys.readouterr().err
    assert len(history.history["loss"]) == 2
    for value in (*history.history["loss"], *classifier.get_weights()):
        assert np.isfinite(value).all() and np.any(value)


def test_a_lost_worker_is_told_from_other_errors():
    several = mock.Mock(tf.distribute.MultiWorkerMirroredStrategy)
    for strategy, error in ((several, LostWorker), (object(), tf.errors.UnavailableError)):
        with pytest.raises(error), lost_workers(mock.Mock(distribute_strategy=strategy)):
            raise tf.errors.UnavailableError(None, None, "connection reset")
