"""What a text can be labelled with: one class, several labels, a score; a text or a pair."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmodels
from tfmodels.errors import InputError
from tfmodels.tasks.targets import OneClass, find_target

WORDS = ["red", "green", "blue"]
TEXTS = [f"a {one} and {other} {thing}" for one in WORDS for other in WORDS
         for thing in ("hat", "car", "box", "cup")]  # fmt: skip
LABELS = [sorted({word for word in WORDS if word in text}) for text in TEXTS]
SCORES = [1000.0 + 50 * text.count("red") - 50 * text.count("blue") for text in TEXTS]
# Which of the two texts has "red" in it: both have the same words.
PAIRS = [(f"a {one} hat", f"a {other} hat") for one in WORDS for other in WORDS] * 4
RED = ["first" if "red" in one else "second" if "red" in other else "none" for one, other in PAIRS]


def trained(x, y, epochs=30, **options):
    keras.utils.set_random_seed(1)
    task = tfmodels.TextClassifier.from_scratch(
        x, size="tiny", vocabulary_size=80, max_length=16, dropout=0.0, **options
    )
    task.compile(learning_rate=2e-3, ema=0.0)
    steps = epochs * len(x) // 12
    task.fit(x, y, 12, steps=steps, evaluate_every=steps, validation_data=(x, y), verbose=0)
    return task


@pytest.fixture(scope="module")
def tasks():
    return {
        "labels": trained(TEXTS, LABELS),
        "score": trained(TEXTS, SCORES, target="score"),
        "pairs": trained(PAIRS, RED, epochs=40, pair=True),
    }


def test_several_labels_are_learned(tasks):
    task = tasks["labels"]
    assert task.target == "labels" and task.labels == sorted(WORDS)
    metrics = task.evaluate(TEXTS, LABELS, mistakes=2)
    assert metrics["micro_f1"] > 0.9 and metrics["jaccard"] > 0.9
    assert task.predict(["a red and blue hat"])[0]["labels"] == ["blue", "red"]


def test_scores_are_learned_in_their_own_units(tasks):
    task = tasks["score"]
    metrics = task.evaluate(TEXTS, SCORES)
    assert metrics["spearman"] > 0.9 and metrics["rmse"] < 20
    assert task.predict(["a red and red hat"])[0]["value"] == pytest.approx(1100, abs=40)
    # A further training starts from where it was, though the units of the rows are others.
    before = task.predict(TEXTS[:3])
    task.compile(learning_rate=1e-9)
    task.fit(TEXTS[:12], SCORES[:12], epochs=1, verbose=0)
    for one, other in zip(before, task.predict(TEXTS[:3]), strict=True):
        assert other["value"] == pytest.approx(one["value"], abs=0.5)


def test_scores_without_end():
    """Of an endless dataset the range of the scores is not known."""
    texts, scores = tf.constant(TEXTS[:12]), tf.constant([0.0, 1.0] * 6)
    rows = tf.data.Dataset.from_tensor_slices((texts, scores)).repeat()
    task = tfmodels.TextClassifier.from_scratch(
        TEXTS, size="tiny", vocabulary_size=80, max_length=16, target="score"
    )
    history = task.fit(rows, batch_size=4, steps_per_epoch=2, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_pairs_are_read_in_both_parts(tasks):
    task = tasks["pairs"]
    assert task.evaluate(PAIRS, RED)["accuracy"] > 0.9
    assert task.evaluate(PAIRS, RED, mistakes=3)["examples"] == len(PAIRS)
    batch = next(iter(task.dataset(PAIRS, RED, batch_size=4)))[0]
    assert batch["segment_ids"].numpy().max() == 1


@pytest.mark.parametrize("name", ["labels", "score", "pairs"])
def test_saved_loaded_exported(tasks, name, tmp_path):
    """All answer alike: alone and in a batch, loaded, and as a SavedModel."""
    task, texts = tasks[name], PAIRS[:5] if name == "pairs" else [*TEXTS[:4], "blue " * 30]
    task.save(tmp_path / "model")
    again = tfmodels.load(tmp_path / "model")
    answers = task.predict(texts)
    for text, answer, loaded in zip(texts, answers, again.predict(texts), strict=True):
        (alone,) = task.predict([text])
        assert alone == near(answer) and loaded == near(answer)
    version = tf.saved_model.load(str(again.export(tmp_path / "served")))
    sides = zip(*texts, strict=True) if name == "pairs" else [texts]
    names = ("text", "pair") if name == "pairs" else ("text",)
    inputs = {key: tf.constant([*side]) for key, side in zip(names, sides, strict=True)}
    found = version.signatures["serving_default"](**inputs)
    for row, answer in enumerate(answers):
        if name == "score":
            assert float(found["value"][row]) == pytest.approx(answer["value"], abs=1e-2)
            continue
        wanted = list(answer["probabilities"].values())
        np.testing.assert_allclose(found["probabilities"][row], wanted, atol=1e-4)
        if name == "labels":
            served = [label.decode() for label in found["labels"][row].numpy() if label]
            assert served == answer["labels"]
        else:
            assert found["label"][row].numpy().decode() == answer["label"]


def near(answer):
    """An answer with its numbers made comparable."""
    if isinstance(answer, dict):
        return {key: near(value) for key, value in answer.items()}
    return pytest.approx(answer, rel=1e-4, abs=1e-4) if isinstance(answer, float) else answer


@pytest.mark.parametrize(
    ("name", "problem"),
    [("labels", "multi_label_classification"), ("score", "regression"), ("pairs", None)],
)
def test_problem_type_both_ways(tasks, name, problem, tmp_path):
    tasks[name].save(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    assert config.get("problem_type") == problem
    # As others publish it, without our settings.
    del config["tfmodels"]
    config["architectures"] = ["BertForSequenceClassification"]
    path.write_text(json.dumps(config))
    task = tfmodels.TextClassifier.from_preset(tmp_path / "model")
    assert task.target == {"pairs": "class"}.get(name, name)


def test_transformers_reads_the_same_numbers(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    for target, y in (("score", SCORES), ("labels", LABELS)):
        task = trained(TEXTS, y, epochs=1, target=target, pooling="first")
        task.save(tmp_path / target)
        model = transformers.BertForSequenceClassification.from_pretrained(tmp_path / target)
        tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / target)
        with torch.no_grad():
            logits = model.eval()(**tokenizer(TEXTS[:3], return_tensors="pt", padding=True)).logits
        found = logits if target == "score" else torch.sigmoid(logits)
        np.testing.assert_allclose(task.probabilities(TEXTS[:3]), found, rtol=1e-4, atol=1e-4)


def test_calibration_stays(tmp_path):
    """The temperature goes into the head, thresholds beside it; both are saved."""
    rng = np.random.default_rng(0)
    texts = [f"a {rng.choice(WORDS)} hat" for _ in range(120)]
    classes = [text.split()[1] if rng.random() < 0.7 else "red" for text in texts]
    task = trained(texts, classes, epochs=12)
    before = task.evaluate(texts, classes)
    logits = task.probabilities(texts)
    found = task.calibrate(texts, classes)
    after = task.evaluate(texts, classes)
    assert after["accuracy"] == before["accuracy"]
    assert after["log_loss"] <= before["log_loss"] + 1e-6
    scaled = logits ** (1 / found["temperature"])
    scaled /= scaled.sum(-1, keepdims=True)
    np.testing.assert_allclose(task.probabilities(texts), scaled, atol=1e-4)
    several = trained(texts, [[label] for label in classes], epochs=12)
    chosen = several.calibrate(texts, [[label] for label in classes])["thresholds"]
    several.save(tmp_path / "model")
    assert tfmodels.load(tmp_path / "model").thresholds == pytest.approx(chosen)
    assert several.calibrate(texts[:50], [[label] for label in classes[:50]]) == {}


def test_texts_out_of_scope():
    texts, classes = [*TEXTS, "what", "who", "why"] * 4, [*(["c"] * 36), *(["oos"] * 3)] * 4
    task = trained(texts, classes, epochs=2, out_of_scope="oos")
    found = task.calibrate(texts, classes)
    assert task.least_probability == found["least_probability"]
    metrics = task.evaluate(texts, classes)
    assert {"in_scope_accuracy", "out_of_scope_recall"} <= metrics.keys()
    task.least_probability = 1.1
    task._set_kind()
    assert task.evaluate(texts, classes)["out_of_scope_recall"] == 1.0
    with pytest.raises(InputError, match="out_of_scope nothing: no label of the rows"):
        trained(TEXTS, ["x", "y"] * 18, out_of_scope="nothing")


def test_parts_of_the_rows_side_by_side(tasks):
    groups = ["odd" if number % 2 else "even" for number in range(len(TEXTS))]
    metrics = tasks["labels"].evaluate(TEXTS, LABELS, groups=groups)
    assert {name: part["examples"] for name, part in metrics["by_group"].items()} == {
        "even": 18, "odd": 18,
    }  # fmt: skip
    texts, labels = [*TEXTS, "red " * 40], [*LABELS, ["red"]]
    metrics = tasks["labels"].evaluate(texts, labels)
    assert [part["examples"] for part in metrics["by_length"].values()] == [36, 1]
    assert metrics["truncated"] == 1 and 0 <= metrics["unknown_tokens"] < 1


COUNTS = {
    "labels": [{"a": 3, "b": 2, "a,b": 1}, {"1": 5, "27": 3, "1|27": 2}],
    "class": [{"a": 3, "b, c": 2}, {"1": 2, "2": 3}, {"1.5": 1, "x": 1, "y": 1}],
}


@pytest.mark.parametrize(("target", "counts"), [(t, c) for t in COUNTS for c in COUNTS[t]])
def test_the_kind_is_found_where_it_is_plain(target, counts):
    assert find_target(counts, "rows: column 'label'")[0] == target


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([f"{number / 10}" for number in range(36)], "has fractions such as .*--target score"),
        (["1", "1.5", "2", "2.5", "3", "3.5", "4", "4.5", "5"] * 4, "has fractions such as 1.5"),
        ([f"id{number}" for number in range(1200)], "has 1200 different values, .*--target class"),
    ],
)
def test_what_is_not_plain_is_asked(labels, message):
    texts = [f"text {number}" for number in range(len(labels))]
    with pytest.raises(InputError, match=message):
        trained(texts, labels, epochs=1)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (TEXTS, ["1.5", "x"] * 18, {"target": "score"}, "row 1: 'x' in column 'label' is no num"),
        (TEXTS, LABELS, {"target": "class"}, "has lists of labels; make the task with target="),
        (TEXTS, [1.0] * 36, {"target": "score"}, "all scores are 1; give rows that differ"),
        (TEXTS, LABELS, {"target": "tags"}, "target tags: give one of class, labels, score"),
        (TEXTS, RED, {"pair": True}, "row 0: .* instead of a pair of texts"),
    ],
)
def test_mistakes(x, y, options, message):
    with pytest.raises(InputError, match=message):
        trained(x, y, epochs=1, **options)


def test_class_weights_are_of_classes(tasks):
    with pytest.raises(InputError, match="class_weight: of one class a text, not of target 'lab"):
        tasks["labels"].fit(TEXTS, LABELS, class_weight="balanced", epochs=1, verbose=0)


def test_a_checkpoint_of_classes_learns_labels(tasks, tmp_path):
    trained(TEXTS, [labels[0] for labels in LABELS], epochs=1).save(tmp_path / "model")
    task = tfmodels.TextClassifier.from_preset(tmp_path / "model")
    task.fit(TEXTS, LABELS, epochs=1, verbose=0)
    assert task.target == "labels" and "labels" in task.predict(TEXTS[:1])[0]
    scores = tfmodels.TextClassifier.from_preset(tmp_path / "model", target="score")
    scores.fit(TEXTS, SCORES, epochs=1, verbose=0)
    assert "value" in scores.predict(TEXTS[:1])[0]


def test_a_number_that_is_no_label():
    """Numbers stand for names alone: of other numbers it would be another class."""
    assert OneClass(["0", "2"]).ids == {"0": 0, "2": 1}
    assert OneClass(["1", "2"]).ids == {"1": 0, "2": 1}
    assert OneClass(["bad", "good"]).ids == {"0": 0, "1": 1, "bad": 0, "good": 1}


def test_keras_habits():
    """A dataset without an end is refused, and a callback knows which way accuracy goes."""
    task = tfmodels.TextClassifier.from_scratch(
        TEXTS, size="tiny", vocabulary_size=80, max_length=16, labels=["no", "yes"]
    )
    labels = ["yes" if "red" in text else "no" for text in TEXTS]
    rows = tf.data.Dataset.from_tensor_slices((TEXTS, labels)).repeat()
    with pytest.raises(InputError, match="the dataset has no end; give steps_per_epoch= or steps="):
        task.fit(rows, epochs=3)
    stop = keras.callbacks.EarlyStopping(monitor="val_accuracy", patience=1)
    history = task.fit(TEXTS, labels, validation_split=0.25, epochs=2, callbacks=stop, verbose=0,
                       class_weight={"no": 2.0})  # fmt: skip
    with pytest.raises(InputError, match="class_weight: 'nein' is no class; give some of no, yes"):
        task.fit(TEXTS, labels, class_weight={"nein": 2.0})
    assert len(history.history["val_accuracy"]) == 2
