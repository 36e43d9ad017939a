"""An exported classifier: what a server sees, in a process without any of our code."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from applications.__main__ import main
from applications.sentiment import load
from tests.applications.conftest import model_dir, reviews  # noqa: F401 - fixtures
from tfmodels.errors import InputError
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.classifier import Classifier
from tfmodels.serving.classification import classification_signatures
from tfmodels.serving.saved_model import next_version
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

# Loads the SavedModel where `tfmodels`, `applications` and `keras` cannot be imported, and prints
# the signatures and the answers of both. As in a server there are TF-Text's ops and not its
# Python, which imports Keras.
FRESH_PROCESS = """
import json, sys
for name in ("tfmodels", "applications", "keras"):
    sys.modules[name] = None
import importlib.util, pathlib
import tensorflow as tf
text = pathlib.Path(importlib.util.find_spec("tensorflow_text").submodule_search_locations[0])
for library in sorted(text.glob("python/ops/_*.so")):
    tf.load_op_library(str(library))
directory, texts, ids = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
loaded = tf.saved_model.load(directory)
def plain(answer):
    return {name: [v.decode() if isinstance(v, bytes) else v for v in value.numpy().tolist()]
            for name, value in answer.items()}
types = {"token_ids": tf.int32, "segment_ids": tf.int32, "padding_mask": tf.bool}
print(json.dumps({
    "signatures": {name: sorted(f.structured_input_signature[1]) for name, f in
                   loaded.signatures.items()},
    "text": plain(loaded.signatures["serving_default"](text=tf.constant(texts))),
    "empty": plain(loaded.signatures["serving_default"](text=tf.constant([], tf.string))),
    "ids": plain(loaded.signatures["token_ids"](
        **{name: tf.constant(value, types[name]) for name, value in ids.items()})),
}))
"""


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
    ids = {name: value.numpy().tolist() for name, value in batch.items()}
    command = [sys.executable, "-c", FRESH_PROCESS, exported, json.dumps(TEXTS), json.dumps(ids)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": ""}
    done = subprocess.run(
        command, capture_output=True, cwd=exported, timeout=120, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return json.loads(done.stdout.splitlines()[-1]), tf.nn.softmax(model(batch)).numpy(), settings


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
