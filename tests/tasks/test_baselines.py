"""`TextClassifier` on encoders that are no Transformers: trained, saved, exported, explained."""

import json

import numpy as np
import pytest
import tensorflow as tf

import tfmodels
from tfmodels.errors import InputError
from tfmodels.models.baselines import ARCHITECTURES
from tfmodels.serving.compatibility import check_all

TEXTS = ["a warm funny film", "a dull empty film", "I loved it", "I hated it"] * 12
LABELS = ["pos", "neg"] * 24


@pytest.fixture(scope="module", params=ARCHITECTURES)
def task(request):
    task = tfmodels.TextClassifier.from_scratch(
        TEXTS, architecture=request.param, size="tiny", vocabulary_size=80, max_length=16
    )
    task.compile(learning_rate=5e-3, ema=0.0)
    task.fit(TEXTS, LABELS, epochs=8, batch_size=16, verbose=0)
    return task


def test_learned_saved_loaded_exported(task, tmp_path):
    assert task.evaluate(TEXTS, LABELS)["accuracy"] > 0.9
    texts = [*TEXTS[:4], "film " * 20, ""]
    wanted = task.probabilities(texts)
    task.save(tmp_path / "model")
    again = tfmodels.load(tmp_path / "model")
    np.testing.assert_allclose(again.probabilities(texts), wanted, atol=1e-6)
    version = task.export(tmp_path / "served")
    assert check_all(tmp_path / "served")  # its operations are in TF Serving 2.20
    served = tf.saved_model.load(str(version)).signatures["serving_default"]
    np.testing.assert_allclose(served(text=tf.constant(texts))["probabilities"], wanted, atol=1e-5)


def test_padding_changes_no_answer(task):
    alone = [task.probabilities([text])[0] for text in TEXTS[:4]]
    beside = task.probabilities([*TEXTS[:4], "film " * 20], batch_size=5)[:4]
    np.testing.assert_allclose(beside, alone, atol=1e-5)


def test_transformers_refuses_the_directory(task, tmp_path):
    task.save(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["model_type"] == f"tfmodels-{task.backbone.config.architecture}"
    transformers = pytest.importorskip("transformers")
    with pytest.raises(ValueError, match=config["model_type"]):
        transformers.AutoConfig.from_pretrained(tmp_path / "model")


def test_words_explain_the_label(task):
    (answer,) = task.explain(["a warm film"], label="pos")
    words = answer["explanation"]["words"]
    assert answer["explanation"]["complete"]
    assert max(words, key=lambda word: word["part"])["word"] == "warm"


def test_trained_further_with_other_labels(task, tmp_path):
    task.save(tmp_path / "model")
    further = tfmodels.TextClassifier.from_preset(tmp_path / "model")
    further.fit(TEXTS, ["a", "b", "c", "d"] * 12, epochs=1, verbose=0)
    assert further.labels == ["a", "b", "c", "d"]
    assert further.pooling == task.pooling


def test_parts_in_a_bag_are_those_of_a_linear_model():
    """The oracle: the logit of a bag is linear, and so are its parts; in float64, with NumPy."""
    task = tfmodels.TextClassifier.from_scratch(
        TEXTS, ["a", "b"], architecture="bag", size="tiny", vocabulary_size=80, max_length=16,
        activation="linear",
    )  # fmt: skip
    text = "hated a film I unloved"
    (answer,) = task.explain([text], label="b")
    ids, starts, _ = task.tokenizer.tokenize_with_offsets([text])
    table = task.backbone.embeddings.token.numpy().astype("float64")
    kernel = task.model.head.logits.kernel.numpy().astype("float64")[:, 1]
    difference = table[ids[0].numpy()] - table[task.tokenizer.mask_id]
    parts = difference @ kernel / (len(difference) + 2)  # with [CLS] and [SEP]
    for word in answer["explanation"]["words"]:
        inside = (starts[0] >= word["start"]) & (starts[0] < word["end"])
        assert word["part"] == pytest.approx(parts[inside.numpy()].sum(), abs=2e-6)
    assert [word["word"] for word in answer["explanation"]["words"]] == text.split()


def test_refused():
    with pytest.raises(InputError, match="architecture rnn: give one of transformer, bag"):
        tfmodels.TextClassifier.from_scratch(TEXTS, architecture="rnn")
    with pytest.raises(InputError, match="architecture gru: give one of transformer"):
        tfmodels.TokenClassifier.from_scratch(TEXTS, architecture="gru")
