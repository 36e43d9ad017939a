"""Training on few rows: the pairs, their loss and the head against oracles, and the whole."""

import itertools

import keras
import numpy as np
import pytest

import tfmodels
from tfmodels.errors import InputError
from tfmodels.tasks.few_shot import class_batches, fitted_head
from tfmodels.training.contrastive import SimilarityLoss

TEXTS = ["a warm funny film", "a dull empty film", "I loved it", "I hated it", "what is this?"] * 4
LABELS = ["pos", "neg", "pos", "neg", "ask"] * 4


def test_batches_have_several_texts_of_each_of_their_classes():
    classes, lengths = np.repeat(np.arange(10), 8), np.tile([5, 50] * 4, 10)
    batches = list(class_batches(classes, lengths, 32, 6, seed=3))
    for rows in batches:
        _, numbers = np.unique(classes[rows], return_counts=True)
        assert len(rows) <= 32 and (numbers % 4 == 0).all()
    first, second = np.concatenate(batches[:3]), np.concatenate(batches[3:])
    assert sorted(first) == sorted(second) == list(range(80))
    assert first.tolist() != second.tolist()
    # Long texts are with long ones: nothing is padded but in the batch between.
    assert sum(len(set(lengths[rows])) > 1 for rows in batches) == 2
    again = list(class_batches(classes, lengths, 32, 6, seed=3))
    assert all(map(np.array_equal, batches, again))


def test_a_batch_has_texts_of_several_classes():
    classes, lengths = np.repeat([0, 1], 16), np.repeat([5, 50], 16)
    for rows in class_batches(classes, lengths, 16, 8, seed=0):
        assert set(classes[rows]) == {0, 1}


@pytest.mark.parametrize("batch_size", [2, 3, 32])
def test_few_rows_are_not_repeated_in_a_batch(batch_size):
    classes = np.array([0, 0, 0, 1, 1, 2])
    for rows in class_batches(classes, np.arange(6), batch_size, 9, seed=0):
        assert 0 < len(rows) == len(set(rows.tolist())) <= batch_size


def test_loss_is_that_of_a_loop_over_pairs():
    states = np.random.default_rng(0).normal(size=(6, 4))
    classes, errors = [0, 1, 0, 2, 1, 0], {True: [], False: []}
    for i, j in itertools.combinations(range(6), 2):
        cosine = states[i] @ states[j] / np.linalg.norm(states[i]) / np.linalg.norm(states[j])
        same = classes[i] == classes[j]
        errors[same].append((cosine - same) ** 2)
    wanted = (np.mean(errors[True]) + np.mean(errors[False])) / 2
    found = SimilarityLoss()(np.array(classes), states.astype("float32"))
    assert float(found) == pytest.approx(wanted, rel=1e-5)
    one_class = SimilarityLoss()(np.zeros(6), states.astype("float32"))
    assert np.isfinite(float(one_class))


def test_head_is_the_logistic_regression_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 4, 60)
    states = 5 + rng.normal(size=(4, 8))[classes] + rng.normal(size=(60, 8))
    kernel, bias = fitted_head(states, classes, 4)
    oracle = linear_model.LogisticRegression(tol=1e-8, max_iter=5000).fit(states, classes)
    wanted = oracle.predict_proba(states)
    found = keras.ops.convert_to_numpy(keras.ops.softmax(states @ kernel + bias))
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.fixture(scope="module")
def task():
    task = tfmodels.TextClassifier.from_scratch(
        TEXTS, size="tiny", vocabulary_size=80, max_length=16
    )
    task.compile(learning_rate=1e-3, ema=0.0)
    task.fit(
        TEXTS, LABELS, method="few_shot", batch_size=12, epochs=2, verbose=0,
        validation_data=(TEXTS, LABELS),
    )  # fmt: skip
    return task


def test_result_is_an_ordinary_classifier(task, tmp_path):
    assert task.history.history["val_accuracy"] == [1.0]
    assert task.labels == ["ask", "neg", "pos"]
    task.save(tmp_path / "model")
    again = tfmodels.load(tmp_path / "model")
    assert again.predict(TEXTS[:5]) == task.predict(TEXTS[:5])
    assert [answer["label"] for answer in again.predict(TEXTS[:5])] == LABELS[:5]


def test_refused(task):
    with pytest.raises(InputError, match="method fast: give one of fine_tuning, few_shot"):
        task.fit(TEXTS, LABELS, method="fast")
    with pytest.raises(InputError, match="class_weight: has no effect with method few_shot"):
        task.fit(TEXTS, LABELS, method="few_shot", class_weight="balanced")
    with pytest.raises(InputError, match="patience: has no effect with method few_shot"):
        task.fit(TEXTS, LABELS, method="few_shot", patience=3)
    other = tfmodels.TextClassifier(task.backbone, task.tokenizer)
    other.compile(loss="mse")
    with pytest.raises(InputError, match="loss: few_shot has its own"):
        other.fit(TEXTS, LABELS, method="few_shot")
    with pytest.raises(InputError, match="the rows are of one class"):
        task.fit(TEXTS[:1] * 8, ["pos"] * 8, method="few_shot")
    first = tfmodels.TextClassifier(task.backbone, task.tokenizer, pooling="first")
    with pytest.raises(InputError, match="not for target class with pooling first"):
        first.fit(TEXTS, LABELS, method="few_shot")
