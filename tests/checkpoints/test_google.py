"""Google's checkpoints: the weights of the reference model under their published names."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.checkpoints.conftest import (
    PRETRAINING,
    TOKENS,
    TOLERANCE,
    Checkpoint,
    golden,
    loaded,
    message,
    paths,
)
from tests.checkpoints.test_bert import assert_heads
from tfmodels.checkpoints.bert import (
    load_bert,
    load_pretrainer,
    load_weights,
    read_bert_config,
)
from tfmodels.checkpoints.files import (
    config_path,
    find_checkpoint,
    is_google,
    kind_of,
    read_labels,
)
from tfmodels.checkpoints.tokenizers import read_tokenizer
from tfmodels.models.bert import Bert
from tfmodels.models.classifier import Classifier
from tfmodels.models.pretrainer import BertPretrainer

L, H, N, F, V, P = 2, 32, 2, 128, 120, 24  # of the reference model
CONFIG = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": H,
    "initializer_range": 0.02,
    "intermediate_size": F,
    "max_position_embeddings": P,
    "num_attention_heads": N,
    "num_hidden_layers": L,
    "type_vocab_size": 2,
    "vocab_size": V,
}
# The reference model's tensors in words: name there, name in transformers.
EMBEDDINGS = ("word_embeddings", "position_embeddings", "token_type_embeddings")
PUBLISHED = [(f"bert/embeddings/{name}", f"bert.embeddings.{name}.weight") for name in EMBEDDINGS]
PUBLISHED += [
    ("cls/predictions/output_bias", "cls.predictions.bias"),
    ("cls/seq_relationship/output_weights", "cls.seq_relationship.weight"),
    ("cls/seq_relationship/output_bias", "cls.seq_relationship.bias"),
]
BLOCK = ("attention/self/query", "attention/self/key", "attention/self/value",
         "attention/output/dense", "attention/output/LayerNorm", "intermediate/dense",
         "output/dense", "output/LayerNorm")  # fmt: skip
LAYERS = {
    f"bert/encoder/layer_{n}/{x}": f"bert/encoder/layer/{n}/{x}" for n in (0, 1) for x in BLOCK
}
LAYERS |= {x: x for x in ("bert/embeddings/LayerNorm", "bert/pooler/dense",
                          "cls/predictions/transform/dense",
                          "cls/predictions/transform/LayerNorm")}  # fmt: skip
for there, here in LAYERS.items():
    kinds = ("gamma", "beta") if there.endswith("LayerNorm") else ("kernel", "bias")
    for kind, parameter in zip(kinds, ("weight", "bias"), strict=True):
        PUBLISHED.append((f"{there}/{kind}", f"{here}/{parameter}".replace("/", ".")))


class GoogleCheckpoint:
    """A directory in the layout of google-research/bert, with the reference model's weights.

    Attributes:
        directory: its `Path`.
        tensors: dict of published name to array.
    """

    def __init__(self, directory):
        reference = Checkpoint(PRETRAINING, directory.with_name("reference")).tensors
        self.directory = directory
        directory.mkdir()
        self.tensors = {}
        for there, name in PUBLISHED:
            tensor = reference[name]
            self.tensors[there] = tensor.T if there.endswith("/kernel") else tensor
        assert len(reference) == len(self.tensors)
        self.set_config()
        (directory / "vocab.txt").write_text("".join(f"{token}\n" for token in TOKENS))
        self.write(self.tensors)

    def set_config(self, **fields):
        (self.directory / "bert_config.json").write_text(json.dumps({**CONFIG, **fields}))

    def write(self, tensors, name="bert_model.ckpt"):
        tf.raw_ops.SaveV2(
            prefix=str(self.directory / name),
            tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors),
            tensors=[tf.constant(tensor) for tensor in tensors.values()],
        )

    def without(self, *names):
        self.write({name: t for name, t in self.tensors.items() if name not in names})


@pytest.fixture
def google(tmp_path):
    return GoogleCheckpoint(tmp_path / "google")


def assert_same(model, other):
    """That two models have the same outputs, bit for bit."""
    batch, _ = golden(PRETRAINING)
    one, two = model(batch), other(batch)
    for x, y in zip(keras.tree.flatten(one), keras.tree.flatten(two), strict=True):
        np.testing.assert_array_equal(x, y)


class TestRead:
    def test_config(self, google):
        assert is_google(google.directory) and kind_of(google.directory) == "bert"
        assert config_path(google.directory).name == "bert_config.json"
        assert read_bert_config(google.directory) == read_bert_config(PRETRAINING)
        assert read_labels(google.directory) is None

    def test_pretrainer(self, google):
        model, report = load_pretrainer(google.directory)
        assert sorted(report.loaded) == sorted(google.tensors)
        assert not report.new and not report.ignored
        assert_heads(model)
        assert_same(model, load_pretrainer(PRETRAINING)[0])

    def test_classifier(self, google):
        model, report = loaded(Classifier, google.directory, 3)
        assert paths(report) == ["head/logits/kernel", "head/logits/bias"]
        batch, expected = golden(PRETRAINING)
        pooled = model.pooler(model.encoder(batch))
        np.testing.assert_allclose(pooled, expected["pooled"], atol=TOLERANCE, rtol=0)

    def test_their_own_classifier(self, google):
        head = {
            "output_weights": np.arange(3 * H, dtype="float32").reshape(3, H),
            "output_bias": np.arange(3, dtype="float32"),
        }
        google.write({**google.tensors, **head})
        model, report = loaded(Classifier, google.directory, 3)
        assert not report.new
        np.testing.assert_array_equal(model.head.logits.kernel, head["output_weights"].T)
        np.testing.assert_array_equal(model.head.logits.bias, head["output_bias"])
        assert {"output_weights", "output_bias"} <= set(
            load_pretrainer(google.directory)[1].ignored
        )

    def test_what_belongs_to_training_is_ignored(self, google):
        name = "bert/encoder/layer_0/output/dense/bias"
        slots = {f"{name}/adam_m": np.zeros(H), f"{name}/adam_v": np.zeros(H)}
        slots["global_step"] = np.array(7)
        google.write({**google.tensors, **slots}, "model.ckpt-7")
        for path in google.directory.glob("bert_model.*"):
            path.unlink()
        model, report = load_pretrainer(google.directory)
        assert sorted(report.ignored) == sorted(slots)
        assert_heads(model)

    def test_safetensors_beside_it_come_first(self, google):
        for name in ("config.json", "model.safetensors"):
            shutil.copy(PRETRAINING / name, google.directory)
        assert not is_google(google.directory)
        assert_heads(load_pretrainer(google.directory)[0])


class TestDoesNotFit:
    def test_all_problems_on_one_line(self, google):
        tensors = dict(google.tensors)
        del tensors["bert/encoder/layer_1/output/dense/bias"]
        tensors["bert/encoder/layer_0/intermediate/dense/kernel"] = np.zeros((F, H), np.float32)
        tensors["bert/encoder/layer_2/output/dense/bias"] = np.zeros(H, np.float32)
        google.write(tensors)
        assert message(load_bert, google.directory) == (
            f"{google.directory}: the weights do not fit the model: "
            "1 missing: bert/encoder/layer_1/output/dense/bias; "
            "1 unexpected: bert/encoder/layer_2/output/dense/bias; "
            "1 of another shape: bert/encoder/layer_0/intermediate/dense/kernel 128x32 for "
            "32x128; give the checkpoint of a BERT whose bert_config.json describes its weights"
        )

    def test_turned_head(self, google):
        name = "cls/seq_relationship/output_weights"
        google.write({**google.tensors, name: google.tensors[name].T})
        text = message(load_pretrainer, google.directory)
        assert f"1 of another shape: {name} 32x2 for 2x32;" in text

    def test_no_floats(self, google):
        name = "bert/embeddings/LayerNorm/beta"
        google.write({**google.tensors, name: np.zeros(H, np.int32)})
        text = message(load_bert, google.directory)
        assert text.endswith(f"bert_model.ckpt: {name} is of type int32; give one of floats")


class TestFiles:
    def data(self, google):
        return google.directory / "bert_model.ckpt.data-00000-of-00001"

    @pytest.mark.parametrize("size", [0, 1000, -3])
    def test_damaged_data(self, google, size):
        path = self.data(google)
        path.write_bytes(path.read_bytes()[:size])
        model = BertPretrainer(Bert(read_bert_config(google.directory)))
        model.build()
        before = model.get_weights()
        text = message(load_weights, model, google.directory)
        assert text.startswith(f"{google.directory}/bert_model.ckpt: damaged or cut off (")
        for one, other in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)  # nothing is assigned

    @pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n" * 3])
    def test_damaged_index(self, google, content):
        (google.directory / "bert_model.ckpt.index").write_bytes(content)
        assert "bert_model.ckpt: damaged or cut off (" in message(load_bert, google.directory)

    @pytest.mark.parametrize(
        ("ending", "renamed", "expected"),
        [
            (
                "data-00000-of-00001", None,
                "/bert_model.ckpt: has an index but no data file "
                "(bert_model.ckpt.data-00000-of-00001); copy or download it as well",
            ),
            (
                "data-00000-of-00001", "data-00000-of-00002",
                "/bert_model.ckpt: 1 of its 2 data files are there; copy or download all of them",
            ),
            (
                "index", None,
                ": has bert_config.json but no bert_model.ckpt.index and no model.safetensors; "
                "give a directory that has one of them",
            ),
        ],
    )  # fmt: skip
    def test_file_missing(self, google, ending, renamed, expected):
        path = google.directory / f"bert_model.ckpt.{ending}"
        path.rename(path.with_name(f"bert_model.ckpt.{renamed}" if renamed else "elsewhere"))
        assert message(load_bert, google.directory) == f"{google.directory}{expected}"

    def test_several_checkpoints(self, google):
        google.write({**google.tensors, "bert/pooler/dense/bias": np.ones(H)}, "model.ckpt-100")
        text = message(load_bert, google.directory)
        assert text == (
            f"{google.directory}: has 2 checkpoints (bert_model.ckpt, model.ckpt-100); "
            f"give the path of one, such as {google.directory}/model.ckpt-100"
        )
        path = find_checkpoint(text.rpartition(" ")[2])
        assert path.name == "model.ckpt-100" and kind_of(path) == "bert"
        np.testing.assert_array_equal(loaded(Classifier, path, 3)[0].pooler.dense.bias, np.ones(H))
        assert read_tokenizer(path).vocabulary == tuple(TOKENS)
        state = 'model_checkpoint_path: "/elsewhere/model.ckpt-100"\n'
        (google.directory / "checkpoint").write_text(state)
        model = loaded(Classifier, google.directory, 3)[0]
        np.testing.assert_array_equal(model.pooler.dense.bias, np.ones(H))

    @pytest.mark.parametrize(
        "name", ["bert_model.ckpt", "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"]
    )
    def test_path_of_a_checkpoint(self, google, name):
        path = find_checkpoint(google.directory / name)
        assert path == google.directory / "bert_model.ckpt"
        assert_heads(load_pretrainer(path)[0])
        assert "has no revision" in message(find_checkpoint, path, revision="v1")

    @pytest.mark.parametrize("config", ["bert_config_large.json", "config.json"])
    def test_other_names(self, google, config):
        (google.directory / "bert_config.json").rename(google.directory / config)
        for path in google.directory.glob("bert_model.ckpt*"):
            path.rename(path.with_name(path.name.replace("bert_model", "roberta_zh_large_model")))
        assert_heads(load_pretrainer(google.directory)[0])

    def test_output_of_a_training(self, google):
        (google.directory / "bert_config.json").unlink()
        assert message(load_bert, google.directory) == (
            f"{google.directory}: has a checkpoint of TensorFlow but no bert_config.json; copy "
            "that of the model that its training started from there, and vocab.txt"
        )
