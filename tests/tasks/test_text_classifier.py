"""`TextClassifier` in a script: texts and labels in, answers out."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmodels
from tfmodels.data.memory import MemorySource
from tfmodels.errors import InputError
from tfmodels.text.wordpiece import WordPieceTokenizer

TEXTS = ["a warm funny film", "a dull empty film", "I loved it", "I hated it"] * 12
LABELS = ["pos", "neg"] * 24


def new_task(**options):
    return tfmodels.TextClassifier.from_scratch(
        TEXTS, size="tiny", vocabulary_size=80, max_length=16, **options
    )


@pytest.fixture(scope="module")
def task():
    task = new_task()
    task.compile(learning_rate=2e-3, ema=0.0)
    task.fit(TEXTS, LABELS, epochs=10, batch_size=16, validation_split=0.25, verbose=0)
    return task


def test_fit_gives_keras_history_and_learns(task):
    assert isinstance(task.history, keras.callbacks.History)
    assert len(task.history.history["val_accuracy"]) == 10
    assert task.evaluate(TEXTS, LABELS)["accuracy"] > 0.9
    assert [answer["label"] for answer in task.predict(TEXTS[:2])] == LABELS[:2]


def test_predictions_keep_the_order_of_the_texts(task):
    texts = ["I loved it " * n for n in (9, 1, 5)] + ["a dull empty film"]
    logits = task.model.predict(task.dataset(texts), verbose=0)
    wanted = [task.probabilities([text])[0] for text in texts]
    np.testing.assert_allclose(tf.nn.softmax(logits), wanted, atol=1e-5)


def test_saved_loaded_exported(task, tmp_path):
    task.save(tmp_path / "model")
    again = tfmodels.load(tmp_path / "model")
    assert again.predict(TEXTS[:4]) == task.predict(TEXTS[:4])
    version = tf.saved_model.load(str(task.export(tmp_path / "served")))
    found = version.signatures["serving_default"](text=tf.constant(TEXTS[:4]))
    assert [label.decode() for label in found["label"].numpy()] == LABELS[:4]
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["tfmodels"]["labels"] == ["neg", "pos"]


@pytest.mark.parametrize("batched", [True, False])
def test_datasets_of_any_shape_of_element(batched):
    rows = tf.data.Dataset.from_tensor_slices((TEXTS, [0, 1] * 24))
    task = new_task(labels=["good", "bad"])
    history = task.fit(rows.batch(10) if batched else rows, epochs=1, batch_size=16, verbose=0)
    assert len(history.history["loss"]) == 1
    assert task.predict(["a warm film"])[0]["label"] in ("good", "bad")


def test_an_own_loop_under_an_own_strategy(mirrored):
    with mirrored.scope():
        task = new_task(labels=["neg", "pos"])
    rows = task.dataset(TEXTS, LABELS, batch_size=16, shuffle=True)
    assert int(rows.cardinality()) == 3
    with mirrored.scope():
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        task.model.compile("adam", loss)
    task.model.fit(rows, epochs=2, verbose=0)
    assert int(task.model.optimizer.iterations.numpy()) == 6
    task.fit(TEXTS, LABELS, epochs=1, batch_size=16, verbose=0)  # and with the task's own


def test_weights_of_rows_and_classes_change_the_loss():
    def loss(**weights):
        keras.utils.set_random_seed(0)
        task = new_task(dropout=0.0)
        return task.fit(TEXTS, LABELS, epochs=1, shuffle=False, verbose=0, **weights).history[
            "loss"
        ]

    plain = loss()
    assert loss(sample_weight=[1.0] * 48) == pytest.approx(plain, abs=1e-5)
    assert loss(class_weight="balanced") == pytest.approx(plain, abs=1e-5)
    assert loss(class_weight={"neg": 5.0, "pos": 0.2}) != pytest.approx(plain, abs=1e-3)


def test_callbacks_and_nothing_of_the_process_is_changed():
    policy, seen = keras.config.dtype_policy(), []
    task = new_task(dtype="mixed_bfloat16")
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    task.fit(TEXTS, LABELS, epochs=2, evaluations=2, callbacks=[callback], verbose=0)
    assert seen == [0, 1, 2, 3]
    assert task.model.dtype_policy.name == "mixed_bfloat16"
    assert keras.config.dtype_policy().name == policy.name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.fit((TEXTS, LABELS)), "as two arguments, fit"),
        (lambda t: t.fit(TEXTS), "labels are missing"),
        (lambda t: t.fit(TEXTS, LABELS[:3]), "x has 48 rows and y 3"),
        (lambda t: t.fit([[1, 2]], ["a"]), "row 0: .* instead of a text"),
        (lambda t: t.fit(TEXTS, ["pos"] * 48), "one class only"),
        (lambda t: t.predict("a film"), "one string, 'a film'; give a list"),
        (lambda t: t.predict([3]), "row 0: 3 .int. instead of a text"),
        (lambda t: t.model, "the model has no head yet"),
        (lambda t: t.compile("adam", warmup=0.5), "warmup is a setting of optimizer='auto'"),
        (lambda t: t.fit(tf.data.Dataset.from_tensors(([1], [2]))), "int32 instead of texts"),
        (lambda t: t.compile("adam", "sparse_categorical_crossentropy"), "the model gives logits"),
        (lambda t: t.compile(loss=keras.losses.BinaryCrossentropy()), "the model gives logits"),
        (lambda t: t.compile(loss=keras.losses.categorical_crossentropy), "gives logits"),
        (lambda t: t.compile(learning_rte=1e-3), "has no setting learning_rte; give some of"),
        (lambda t: t.compile(sampler="top_k"), "sampler; a CausalLM samples after"),
        (lambda t: t.compile(warmup=4000), "warmup 4000: give a share of all steps"),
        (
            lambda t: t.compile(loss="mse", label_smoothing=0.1),
            "is a setting of loss",
        ),
        (
            lambda t: t.fit(TEXTS, LABELS, initial_epoch=2),
            "no argument initial_epoch; give st",
        ),
        (lambda t: t.fit(TEXTS, LABELS, epoch=2), r"no argument epoch; help\(task.fit\) lists"),
        (lambda t: t.fit(TEXTS, LABELS, patience=2), "patience needs held-out rows; give valid"),
        (
            lambda t: t.fit(TEXTS, LABELS, callbacks=keras.callbacks.ReduceLROnPlateau()),
            "ReduceLROnPlateau: the learning rate follows a schedule; give task.compile",
        ),
        (lambda t: t.fit(TEXTS, LABELS, class_weight=[1.0, 2.0]), "give a dict of label and wei"),
        (lambda t: t.fit(TEXTS, [[0.1, 0.9]] * 48), "row 0: the label .* has fractions; give"),
        (lambda t: new_task(labels=2), "2 .int.; give labels=.*, or num_classes=2"),
        (lambda t: new_task(labels=["a", "b"], num_classes=3), "num_classes 3: there are 2 lab"),
        (lambda t: t.from_scratch("reviews.csv"), "one string, .*or tfmodels.data.open_table"),
        (lambda t: t.from_scratch(["a text", float("nan")]), "row 1: nan .float. instead of a"),
    ],
)
def test_first_mistakes_get_the_right_form(call, message):
    with pytest.raises(InputError, match=message) as refused:
        call(new_task())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "metrics", [[keras.metrics.SparseCategoricalAccuracy()], ["acc"], [],
                [keras.metrics.sparse_categorical_accuracy]]
)  # fmt: skip
def test_own_metrics_stand_beside_those_that_choose_the_weights(metrics):
    task = new_task()
    task.compile(metrics=metrics, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    held_out = [TEXTS[:8], LABELS[:8]]  # a list is as good as a tuple
    history = task.fit(TEXTS, LABELS, None, epochs=1, validation_data=held_out, verbose=0).history
    assert "val_accuracy" in history and len(history) >= 4 + 2 * len(metrics)
    assert task.predict(TEXTS[:1], None, verbose=0) == task.predict(TEXTS[:1])


def test_a_loss_of_logits_of_ones_own():
    def crossentropy(labels, logits):
        return keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)

    task = new_task()
    task.compile(loss=crossentropy)
    callbacks = (keras.callbacks.LambdaCallback(on_train_end=lambda logs: ended.append(1))
                 for _ in range(1))  # fmt: skip
    ended: list = []
    assert task.fit(TEXTS, LABELS, epochs=1, callbacks=callbacks, verbose=0).history["loss"]
    assert ended == [1]


@pytest.mark.parametrize(
    "labels", [np.array(["neg", "pos"]), {"pos", "neg"}, ("neg", "pos"), np.array([0, 1])]
)
def test_labels_of_any_form(labels):
    names = ["0", "1"] if isinstance(labels, np.ndarray) and labels.dtype == int else ["neg", "pos"]
    assert new_task(labels=labels).labels == names


def test_a_head_serves_what_its_logits_mean(tmp_path):
    """One logit, or sigmoids, are not a softmax: what is served is what the head says."""
    from tfmodels.models.bert import Bert, BertConfig
    from tfmodels.models.classifier import Classifier
    from tfmodels.text.vocabulary import learn_wordpiece
    from tfmodels.text.wordpiece import WordPieceTokenizer

    tokenizer = WordPieceTokenizer(learn_wordpiece(TEXTS, 80))
    config = BertConfig.of_size("tiny", vocabulary_size=tokenizer.vocabulary_size)
    for number, activation in ((1, "linear"), (1, "sigmoid"), (3, "sigmoid")):
        model = Classifier(Bert(config), number, activation=activation)
        task = tfmodels.TextClassifier(model, tokenizer, list("abc")[:number], max_length=16)
        logits = task.model.predict(task.dataset(TEXTS[:2]), verbose=0)
        wanted = logits if activation == "linear" else tf.sigmoid(logits)
        np.testing.assert_allclose(task.probabilities(TEXTS[:2]), wanted, atol=1e-5)
        served = tf.saved_model.load(str(task.export(tmp_path / f"{number}{activation}")))
        found = served.signatures["serving_default"](text=tf.constant(TEXTS[:2]))
        if activation == "linear":
            np.testing.assert_allclose(found["value"], wanted[:, 0], atol=1e-5)
        else:
            np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "0 labels for 2 classes"),
        (["a"], "1 label for 2 classes; give one for each"),
        (["a", "b", "c"], "3 labels for 2 classes"),
        (["1", "1.0"], "the labels .* repeat"),
    ],
)
def test_what_does_not_fit_is_not_exported(labels, message, tmp_path):
    task = new_task(labels=["x", "y"])
    with pytest.raises(InputError, match=message):
        tfmodels.TextClassifier(task.model, task.tokenizer, labels)
    task.labels = labels
    with pytest.raises(InputError, match=message):
        task.export(tmp_path / "versions")
    larger = WordPieceTokenizer([*task.tokenizer.vocabulary, "more"])
    task.labels, task.tokenizer = ["x", "y"], larger
    with pytest.raises(InputError, match="the tokenizer has .* tokens and the model"):
        task.export(tmp_path / "versions")
    assert not (tmp_path / "versions").exists()


def test_loading_leaves_the_seeds_alone(task, tmp_path):
    task.save(tmp_path / "model")
    drawn = []
    for load in (lambda: None, lambda: tfmodels.load(tmp_path / "model")):
        keras.utils.set_random_seed(3)
        load()
        drawn.append((np.random.random(), float(tf.random.uniform([]))))
    assert drawn[0] == drawn[1]


def test_another_backend_says_so_in_one_line():
    code = "import tfmodels; tfmodels.TextClassifier"
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert "KERAS_BACKEND is jax: tasks read text with TensorFlow" in done.stderr.splitlines()[-1]


def test_importing_is_quick_and_imports_no_tensorflow():
    for package in ("tfmodels", "applications.__main__"):
        code = f"import sys, {package}; assert not {{'tensorflow', 'keras'}} & sys.modules.keys()"
        subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
    assert {"TextClassifier", "load", "__version__"} <= set(tfmodels.__all__)
    with pytest.raises(AttributeError, match="tfmodels has no 'TextClasifier'"):
        tfmodels.TextClasifier  # noqa: B018


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_a_model_without_settings(pooling, tmp_path):
    """As a published one: no application in config.json, and its own head is loaded."""
    from tests.checkpoints.conftest import SMALL, WORDS, loaded
    from tfmodels.checkpoints.bert import write_bert
    from tfmodels.models.classifier import Classifier

    model, _ = loaded(Classifier, SMALL, 3, pooling=pooling)
    write_bert(model, tmp_path, WORDS, ["bad", "fair", "good"])
    task = tfmodels.load(tmp_path)
    assert isinstance(task, tfmodels.TextClassifier) and task.labels == ["bad", "fair", "good"]
    batch = {"token_ids": np.arange(12).reshape(2, 6)}
    np.testing.assert_array_equal(task.model(batch), model(batch))


def test_rows_are_counted_once(tmp_path):
    lines = [f"{text}\t{label}\n" for text, label in zip(TEXTS, LABELS, strict=True)]
    (tmp_path / "rows.tsv").write_text("text\tlabel\n" + "".join(lines))
    passes = []

    def opened(name):
        rows = tfmodels.data.open_table(tmp_path / "rows.tsv", "text", "label")
        stream = rows.stream
        rows.stream = lambda seed: (passes.append((name, seed is None)), stream(seed))[1]
        return rows

    new_task().fit(opened("train"), validation_data=opened("held out"), epochs=2, verbose=0)
    in_order = [passes.count((name, True)) for name in ("train", "held out")]
    # To count the rows, and the texts that are cut.
    assert in_order == [2, 1 + 2]  # training reads in another order, each evaluation in this one


def test_texts_that_are_cut_are_counted():
    """Of 16 tokens, 14 are a text's; where there are none, nothing is said."""
    rows = MemorySource({"text": ["a " * 14, "a " * 15, "a", "b " * 99], "label": list("xyxy")})
    task = new_task()
    task._learn(rows)
    assert task._describe(rows) == "4 training rows, labels x, y; cut to max_length 16: 2 of them"
    assert task.evaluate(rows)["truncated"] == 2
    assert task.evaluate(["a"], ["x"])["truncated"] == 0


def test_what_cannot_be_saved_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"labels \['a', 'b', 'a'\] repeat; name each once"):
        new_task(labels=["a", "b", "a"]).save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
