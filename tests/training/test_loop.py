"""Trainings that stop inside of a Keras epoch and go on, with averages and best weights kept."""

import json
import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.test_state import BATCH, IDS, LABELS, model
from tfmodels.errors import InputError
from tfmodels.training.loop import KeepBest, NonFinite, fit_parts
from tfmodels.training.state import LEFT, STATE, SaveState, restore_newest, states

INTERVAL, PARTS = 3, 4


def batches(step=0):
    dataset = tf.data.Dataset.from_tensor_slices(({"token_ids": IDS}, LABELS)).batch(BATCH)
    return dataset.repeat().skip(step)


def trained(directory, *callbacks, patience=9, **options):
    """A model that is trained to its end from what lies in a directory, and its history."""
    classifier = model()
    best = KeepBest(classifier, "val_accuracy", patience)
    step, history = 0, {}
    if state := restore_newest(directory, classifier, best.variables):
        step, history = state["step"], state["history"]
        best.replay(history)
    saved = SaveState(directory, INTERVAL, history, start=step, more=best.variables,
                      averaged=True, **options)  # fmt: skip
    averages = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    if step < INTERVAL * PARTS and not best.ended:
        fit_parts(
            classifier, batches(step), INTERVAL, PARTS, step, [averages, best, saved, *callbacks],
            validation_data=batches().take(5), verbose=0,
        )  # fmt: skip
    best.put_back(classifier)
    return classifier, saved


class At(keras.callbacks.Callback):
    """Does something after a batch of the whole training."""

    def __init__(self, step, action):
        super().__init__()
        self.step, self.action = step, action

    def on_train_batch_end(self, batch, logs=None):
        self.step -= 1
        if self.step == 0:
            self.action()


class Killed(Exception):
    pass


def kill():
    raise Killed


def test_killed_anywhere_and_going_on(tmp_path):
    whole, saved = trained(tmp_path / "alone")
    for step in (4, 6):
        directory = tmp_path / str(step)
        with pytest.raises(Killed):
            trained(directory, At(step, kill), every=2)
        again, callback = trained(directory, every=2)
        assert callback.step == saved.step == INTERVAL * PARTS
        for name in ("val_accuracy", "val_loss"):
            assert callback.history[name] == saved.history[name]
        for a, b in zip(whole.weights, again.weights, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=f"{step} {a.path}")


def test_sigterm_saves_and_leaves(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        trained(tmp_path, At(5, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert left.value.code == LEFT == 143
    assert signal.getsignal(signal.SIGTERM) is before
    # In the list after the state's own callback: it is noticed at the end of the part.
    assert json.loads((states(tmp_path)[-1] / STATE).read_text())["step"] == 6
    again, _ = trained(tmp_path)
    for a, b in zip(again.weights, trained(tmp_path / "alone")[0].weights, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=a.path)


def test_the_best_are_kept_and_patience_counts_on(tmp_path):
    classifier = model()
    best = KeepBest(classifier, "val_accuracy", 2)
    best.set_model(classifier)
    first = [np.asarray(v) for v in classifier.trainable_variables]
    best.on_epoch_end(0, {"val_accuracy": 0.7})
    for variable in classifier.trainable_variables:
        variable.assign(variable + 1)
    best.on_epoch_end(1, {"val_accuracy": 0.7})
    assert not best.ended
    best.on_epoch_end(2, {"val_accuracy": 0.6})
    assert best.ended and classifier.stop_training
    best.put_back(classifier)
    for variable, value in zip(classifier.trainable_variables, first, strict=True):
        np.testing.assert_array_equal(variable, value)
    other = KeepBest(classifier, "val_accuracy", 2)
    other.replay({"val_accuracy": [0.7, 0.7, 0.6]})
    assert other.ended


class Spoiled:
    """A loss that is no number in one batch, whose first label is 7."""

    def __call__(self, labels, logits):
        loss = keras.losses.sparse_categorical_crossentropy(labels % 2, logits, from_logits=True)
        return tf.where(labels[0] == 7, np.nan, 1.0) * tf.reduce_mean(loss)


def spoiled(path, skip=False):
    """Trains two parts of three steps, the fifth of them without a number; `(model, saved)`."""
    classifier = model()
    classifier.compile(classifier.optimizer, Spoiled())
    labels = LABELS.copy()
    labels[4 * BATCH] = 7
    dataset = tf.data.Dataset.from_tensor_slices(({"token_ids": IDS}, labels)).batch(BATCH)
    saved = SaveState(path / "states", INTERVAL)
    guard = NonFinite(
        saved, path / "batch.npz", lambda step: next(iter(dataset.skip(step))), skip, "do this"
    )
    fit_parts(classifier, dataset.repeat(), INTERVAL, 2, 0, [saved, guard], verbose=0)
    return classifier, saved


def test_no_number_stops_with_the_batch_and_the_state_before(tmp_path):
    with pytest.raises(InputError, match=r"step 5: .* no longer a number; .*batch.npz; do this"):
        spoiled(tmp_path)
    with np.load(tmp_path / "batch.npz") as batch:
        np.testing.assert_array_equal(batch["0/token_ids"], IDS[4 * BATCH : 5 * BATCH])
        assert batch["1"][0] == 7
    assert json.loads((states(tmp_path / "states")[-1] / STATE).read_text())["step"] == 5
    restored = model()
    restore_newest(tmp_path / "states", restored)
    assert all(np.isfinite(np.asarray(v)).all() for v in restored.variables)


def test_no_number_left_out(tmp_path, capsys):
    classifier, saved = spoiled(tmp_path, skip=True)
    assert "step 5: the loss is no number; the batch is left out" in capsys.readouterr().err
    assert np.isfinite(saved.history["loss"]).all()
    assert all(np.isfinite(np.asarray(v)).all() for v in classifier.weights)
