"""An exported classifier: what a server sees, in a process without any of our code."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.fresh import ask
from tfmodels.errors import InputError
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.serving import warmup
from tfmodels.tasks.text_classifier import TextClassifier
from tfmodels.text.batching import encode
from tfmodels.text.wordpiece import WordPieceTokenizer

TEXTS = ["a joy", "a dull and empty film 😀", "很难看的电影", "", "  ", "bore " * 500, "x" * 9_999]


@pytest.fixture(scope="module")
def exported(version_of):
    return version_of("model_dir")


@pytest.fixture(scope="module")
def answers(exported, model_dir):
    """What the fresh process says, and the task."""
    task = TextClassifier.load(model_dir)
    batch = encode(task.tokenizer, tf.constant(TEXTS), task.max_length)
    types = {"token_ids": "int32", "segment_ids": "int32", "padding_mask": "bool"}
    ids = {name: (types[name], value.numpy().tolist()) for name, value in batch.items()}
    signatures, (text, empty, from_ids) = ask(
        exported,
        ("serving_default", {"text": ("string", TEXTS)}),
        ("serving_default", {"text": ("string", [])}),
        ("token_ids", ids),
    )
    served = {"signatures": signatures, "text": text, "empty": empty, "ids": from_ids}
    return served, task


@pytest.mark.parametrize("signature", ["text", "ids"])
def test_answers_are_those_of_predict(signature, answers):
    served, task = answers
    probabilities = task.probabilities(TEXTS)
    np.testing.assert_allclose(served[signature]["probabilities"], probabilities, atol=1e-6)
    assert served[signature]["label"] == [row["label"] for row in task.predict(TEXTS)]


def small_task(**options):
    sizes = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "feedforward_dim": 32}
    config = BertConfig(vocabulary_size=6, max_length=20, **sizes)
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])
    return TextClassifier(Bert(config), tokenizer, ["x", "y"], **options)


def test_an_empty_batch_of_a_model_that_reads_the_first_token():
    """Its rows are gathered by position, where an empty batch has none."""
    function, _ = small_task(pooling="first").signatures()["serving_default"]
    assert function(tf.constant([], tf.string))["probabilities"].shape == (0, 2)


def test_a_model_with_few_positions(tmp_path):
    """Warm-up requests are as wide as the model reads, not the usual 96 tokens."""
    version = small_task().export(tmp_path)
    widths = [inputs["token_ids"].shape[1] for name, inputs in warmup.read(version)
              if name == "token_ids"]  # fmt: skip
    assert sorted(set(widths)) == [1, 16, 20]


def test_without_the_serving_api(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis.prediction_log_pb2", None)
    with pytest.raises(
        InputError, match=r"^writing warm-up requests .* pip install 'tensorflow-se"
    ):
        small_task().export(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_empty_batch_has_an_empty_answer(answers):
    assert answers[0]["empty"] == {"label": [], "probabilities": [], "classes": []}


def test_no_training_graph_and_no_compiled_function_inside(exported):
    """A stock server runs neither XLA's compiler nor our training functions."""
    graph = (exported / "saved_model.pb").read_bytes()
    for forbidden in (b"_XlaMustCompile\x12\x02(\x01", b"train_function", b"Bitwise", b"PyFunc"):
        assert forbidden not in graph
