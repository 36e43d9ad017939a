"""An exported classifier: what a server sees, in a process without any of our code."""

import numpy as np
import pytest
import tensorflow as tf

from applications.__main__ import main
from applications.sentiment import load
from tests.applications.conftest import model_dir, reviews  # noqa: F401 - fixtures
from tests.serving.fresh import ask
from tfmodels.errors import InputError
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.classifier import Classifier
from tfmodels.serving.saved_model import next_version
from tfmodels.tasks.text_classifier import classification_signatures
from tfmodels.text.batching import encode
from tfmodels.text.wordpiece import WordPieceTokenizer

TEXTS = [
    "a joy",
    "a dull and empty film 😀",
    "很难看的电影",
    "",
    "  ",
    "bore " * 500,
    "x" * 9_999,
]


@pytest.fixture(scope="module")
def exported(model_dir, tmp_path_factory):  # noqa: F811
    """Version 1 of the model, exported by the command line."""
    root = tmp_path_factory.mktemp("served") / "sentiment"
    arguments = ["--model_dir", str(model_dir), "--export_dir", str(root)]
    assert main(["sentiment", "export", *arguments]) == 0
    return root / "1"


@pytest.fixture(scope="module")
def answers(exported, model_dir):  # noqa: F811
    """What the fresh process says, the model, its tokenizer and its settings."""
    model, tokenizer, settings = load(model_dir, "float32")
    batch = encode(tokenizer, tf.constant(TEXTS), settings["max_length"])
    types = {"token_ids": "int32", "segment_ids": "int32", "padding_mask": "bool"}
    ids = {name: (types[name], value.numpy().tolist()) for name, value in batch.items()}
    signatures, (text, empty, from_ids) = ask(
        exported,
        ("serving_default", {"text": ("string", TEXTS)}),
        ("serving_default", {"text": ("string", [])}),
        ("token_ids", ids),
    )
    served = {"signatures": signatures, "text": text, "empty": empty, "ids": from_ids}
    return served, tf.nn.softmax(model(batch)).numpy(), settings


def test_signatures(answers):
    assert answers[0]["signatures"] == {
        "serving_default": ["text"],
        "token_ids": ["padding_mask", "segment_ids", "token_ids"],
    }


def test_strings_are_answered_as_predict_answers(answers):
    served, expected, settings = answers
    np.testing.assert_allclose(served["text"]["probabilities"], expected, atol=1e-6)
    best = [settings["labels"][i] for i in expected.argmax(-1)]
    assert served["text"]["label"] == best


def test_ids_are_answered_alike(answers):
    served, expected, _ = answers
    np.testing.assert_allclose(served["ids"]["probabilities"], expected, atol=1e-6)


def test_an_empty_batch_of_a_model_that_reads_the_first_token():
    """Its rows are gathered by position, where an empty batch has none."""
    model = Classifier(Bert(BertConfig.of_size("tiny", vocabulary_size=9)), 2, pooling="first")
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])
    function, _ = classification_signatures(model, tokenizer, ["x", "y"])["serving_default"]
    assert function(tf.constant([], tf.string))["probabilities"].shape == (0, 2)


def test_more_tokens_than_positions_are_refused():
    config = BertConfig.of_size("tiny", vocabulary_size=9, max_length=8)
    with pytest.raises(InputError, match="max_length 9: the model has positions for 8"):
        classification_signatures(Classifier(Bert(config), 2), None, ["x", "y"], max_length=9)


def test_an_empty_batch_has_an_empty_answer(answers):
    assert answers[0]["empty"] == {"label": [], "probabilities": []}


def test_no_training_graph_and_no_compiled_function_inside(exported):
    """A stock server runs neither XLA's compiler nor our training functions."""
    graph = (exported / "saved_model.pb").read_bytes()
    for forbidden in (b"_XlaMustCompile\x12\x02(\x01", b"train_function", b"Bitwise", b"PyFunc"):
        assert forbidden not in graph


def test_versions_are_counted_up(exported, model_dir, capsys):  # noqa: F811
    root = exported.parent
    assert next_version(root) == 2
    arguments = ["--model_dir", str(model_dir), "--export_dir", str(root)]
    assert main(["sentiment", "export", *arguments]) == 0
    assert capsys.readouterr().out.strip() == str(root / "2")
    assert sorted(path.name for path in root.iterdir()) == ["1", "2"]
