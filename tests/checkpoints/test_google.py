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
    WORDS,
    Checkpoint,
    assert_states,
    golden,
    message,
    paths,
)
from tests.checkpoints.test_bert import assert_heads
from tfmodels.checkpoints.bert import (
    load_bert,
    load_classifier,
    load_pretrainer,
    load_weights,
    read_bert_config,
    save_bert,
    save_google,
)
from tfmodels.checkpoints.files import config_path, is_google, kind_of, read_labels
from tfmodels.checkpoints.tokenizers import read_tokenizer
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.classifier import Classifier
from tfmodels.models.pretrainer import BertPretrainer
from tfmodels.text.wordpiece import WordPieceTokenizer

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
# The reference model's tensors in words: name there, name in transformers, shape there.
EMBEDDINGS = ("word_embeddings", "position_embeddings", "token_type_embeddings")
TRANSFORM = ("cls/predictions/transform", "cls.predictions.transform")
TABLES = [
    (f"bert/embeddings/{name}", f"bert.embeddings.{name}.weight", (rows, H))
    for name, rows in zip(EMBEDDINGS, (V, P, 2), strict=True)
]
TABLES += [
    ("bert/embeddings/LayerNorm/gamma", "bert.embeddings.LayerNorm.weight", (H,)),
    ("bert/embeddings/LayerNorm/beta", "bert.embeddings.LayerNorm.bias", (H,)),
    ("bert/pooler/dense/kernel", "bert.pooler.dense.weight", (H, H)),
    ("bert/pooler/dense/bias", "bert.pooler.dense.bias", (H,)),
    (f"{TRANSFORM[0]}/dense/kernel", f"{TRANSFORM[1]}.dense.weight", (H, H)),
    (f"{TRANSFORM[0]}/dense/bias", f"{TRANSFORM[1]}.dense.bias", (H,)),
    (f"{TRANSFORM[0]}/LayerNorm/gamma", f"{TRANSFORM[1]}.LayerNorm.weight", (H,)),
    (f"{TRANSFORM[0]}/LayerNorm/beta", f"{TRANSFORM[1]}.LayerNorm.bias", (H,)),
    ("cls/predictions/output_bias", "cls.predictions.bias", (V,)),
    ("cls/seq_relationship/output_weights", "cls.seq_relationship.weight", (2, H)),
    ("cls/seq_relationship/output_bias", "cls.seq_relationship.bias", (2,)),
]
BLOCK = [
    ("attention/self/query/kernel", "attention.self.query.weight", (H, H)),
    ("attention/self/query/bias", "attention.self.query.bias", (H,)),
    ("attention/self/key/kernel", "attention.self.key.weight", (H, H)),
    ("attention/self/key/bias", "attention.self.key.bias", (H,)),
    ("attention/self/value/kernel", "attention.self.value.weight", (H, H)),
    ("attention/self/value/bias", "attention.self.value.bias", (H,)),
    ("attention/output/dense/kernel", "attention.output.dense.weight", (H, H)),
    ("attention/output/dense/bias", "attention.output.dense.bias", (H,)),
    ("attention/output/LayerNorm/gamma", "attention.output.LayerNorm.weight", (H,)),
    ("attention/output/LayerNorm/beta", "attention.output.LayerNorm.bias", (H,)),
    ("intermediate/dense/kernel", "intermediate.dense.weight", (H, F)),
    ("intermediate/dense/bias", "intermediate.dense.bias", (F,)),
    ("output/dense/kernel", "output.dense.weight", (F, H)),
    ("output/dense/bias", "output.dense.bias", (H,)),
    ("output/LayerNorm/gamma", "output.LayerNorm.weight", (H,)),
    ("output/LayerNorm/beta", "output.LayerNorm.bias", (H,)),
]
PUBLISHED = TABLES + [
    (f"bert/encoder/layer_{n}/{there}", f"bert.encoder.layer.{n}.{name}", shape)
    for n in range(L)
    for there, name, shape in BLOCK
]


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
        for there, name, shape in PUBLISHED:
            tensor = reference[name]
            self.tensors[there] = tensor.T if there.endswith("/kernel") else tensor
            assert self.tensors[there].shape == shape
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

    def test_encoder(self, google):
        encoder, report = load_bert(google.directory)
        assert_states(encoder, PRETRAINING)
        assert len(report.ignored) == 9
        assert {name.split("/")[0] for name in report.ignored} == {"cls", "bert"}

    def test_classifier(self, google):
        assert "give num_classes" in message(load_classifier, google.directory)
        model, report = load_classifier(google.directory, 3)
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
        model, report = load_classifier(google.directory)
        assert model.num_classes == 3 and not report.new
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

    def test_heads_that_are_not_there_are_new(self, google):
        heads = [name for name in google.tensors if name.startswith(("cls/", "bert/pooler/"))]
        google.without(*heads)
        model, report = load_pretrainer(google.directory)
        assert not model.next_sentence and len(report.new) == 5
        assert_states(model.encoder, PRETRAINING)

    def test_halves(self, google):
        google.write({name: t.astype(np.float16) for name, t in google.tensors.items()})
        assert_heads(load_pretrainer(google.directory)[0], 1e-2)

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

    def test_part_of_a_head(self, google):
        google.without("cls/predictions/output_bias", "cls/seq_relationship/output_weights")
        text = message(load_pretrainer, google.directory)
        assert (
            "2 missing: cls/predictions/output_bias, cls/seq_relationship/output_weights;" in text
        )

    def test_turned_head(self, google):
        name = "cls/seq_relationship/output_weights"
        google.write({**google.tensors, name: google.tensors[name].T})
        text = message(load_pretrainer, google.directory)
        assert f"1 of another shape: {name} 32x2 for 2x32;" in text

    def test_settings_that_shapes_do_not_tell(self, google):
        ours = {**read_bert_config(google.directory).__dict__, "num_heads": 4}
        text = message(load_weights, Bert(BertConfig(**ours)), google.directory)
        assert f"{google.directory}/bert_config.json: means num_heads=2, the model has 4" in text

    def test_unknown_keys_are_named(self, google):
        """Such as those of the object checkpoints of the Model Garden."""
        key = "encoder/layer_with_weights-0/embeddings/.ATTRIBUTES/VARIABLE_VALUE"
        google.write({**google.tensors, key: np.zeros((H, H), np.float32)})
        text = message(load_bert, google.directory)
        assert f"the weights do not fit the model: 1 unexpected: {key};" in text

    def test_no_floats(self, google):
        name = "bert/embeddings/LayerNorm/beta"
        google.write({**google.tensors, name: np.zeros(H, np.int32)})
        text = message(load_bert, google.directory)
        assert text.endswith(f"bert_model.ckpt: {name} is of type int32; give one of floats")

    def test_config_refused(self, google):
        google.set_config(hidden_act="swoosh")
        assert "bert_config.json: hidden_act is 'swoosh'" in message(load_bert, google.directory)


class TestFiles:
    def data(self, google):
        return google.directory / "bert_model.ckpt.data-00000-of-00001"

    @pytest.mark.parametrize("kept", [0, 1000, -3])
    def test_cut_off_data(self, google, kept):
        path = self.data(google)
        path.write_bytes(path.read_bytes()[:kept])
        model = BertPretrainer(Bert(read_bert_config(google.directory)))
        model.build()
        before = model.get_weights()
        text = message(load_weights, model, google.directory)
        assert text.startswith(f"{google.directory}/bert_model.ckpt: damaged or cut off (")
        assert text.endswith("); copy or download its files again")
        for one, other in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)  # nothing is assigned

    def test_damaged_data(self, google):
        path = self.data(google)
        content = bytearray(path.read_bytes())
        content[5000] ^= 1
        path.write_bytes(content)
        assert "damaged or cut off" in message(load_pretrainer, google.directory)

    @pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n" * 3])
    def test_damaged_index(self, google, content):
        (google.directory / "bert_model.ckpt.index").write_bytes(content)
        assert "bert_model.ckpt: damaged or cut off (" in message(load_bert, google.directory)

    def test_no_data(self, google):
        self.data(google).unlink()
        assert message(load_bert, google.directory) == (
            f"{google.directory}/bert_model.ckpt: has an index but no data file "
            "(bert_model.ckpt.data-00000-of-00001); copy or download it as well"
        )

    def test_one_of_two_data_files(self, google):
        path = self.data(google)
        path.rename(path.with_name("bert_model.ckpt.data-00000-of-00002"))
        assert "1 of its 2 data files are there; copy" in message(load_bert, google.directory)

    def test_no_checkpoint(self, google):
        (google.directory / "bert_model.ckpt.index").unlink()
        assert message(load_bert, google.directory) == (
            f"{google.directory}: has bert_config.json but no bert_model.ckpt.index and no "
            "model.safetensors; give a directory that has one of them"
        )

    def test_several_checkpoints(self, google):
        google.write(google.tensors, "model.ckpt-100")
        assert message(load_bert, google.directory) == (
            f"{google.directory}: has 2 checkpoints (bert_model.ckpt, model.ckpt-100); "
            "leave one there"
        )


class TestWrite:
    def test_published_names_and_shapes(self, google, tmp_path):
        model, _ = load_pretrainer(PRETRAINING)
        save_google(model, tmp_path / "new", WORDS)
        assert {path.name for path in (tmp_path / "new").iterdir()} == {
            "bert_config.json",
            "bert_model.ckpt.data-00000-of-00001",
            "bert_model.ckpt.index",
            "vocab.txt",
        }
        written = tf.train.load_checkpoint(str(tmp_path / "new" / "bert_model.ckpt"))
        assert set(written.get_variable_to_shape_map()) == {name for name, _, _ in PUBLISHED}
        for name, tensor in google.tensors.items():
            np.testing.assert_array_equal(written.get_tensor(name), tensor)
        config = json.loads((tmp_path / "new" / "bert_config.json").read_text())
        assert config == CONFIG

    def test_read_again(self, tmp_path):
        model, _ = load_pretrainer(PRETRAINING)
        save_google(model, tmp_path / "new", WORDS)
        again, report = load_pretrainer(tmp_path / "new")
        assert not report.new and not report.ignored
        assert_same(again, model)
        assert read_tokenizer(tmp_path / "new").vocabulary_size == len(TOKENS)

    def test_without_heads(self, tmp_path):
        encoder, _ = load_bert(PRETRAINING)
        save_google(encoder, tmp_path / "encoder", WORDS)
        again, report = load_bert(tmp_path / "encoder")
        assert len(report.loaded) == len(encoder.weights) and not report.ignored
        assert_same(again, encoder)
        model, _ = load_pretrainer(PRETRAINING, next_sentence=False)
        save_google(model, tmp_path / "masked", WORDS)
        again, report = load_pretrainer(tmp_path / "masked")
        assert not again.next_sentence and not report.new and not report.ignored

    def test_to_hugging_face_and_back(self, google, tmp_path):
        model, _ = load_pretrainer(google.directory)
        save_bert(model, tmp_path / "new", read_tokenizer(google.directory))
        again, _ = load_pretrainer(tmp_path / "new")
        assert_same(again, model)

    def test_refused(self, tmp_path):
        where = tmp_path / "new"
        encoder, _ = load_bert(PRETRAINING)
        text = message(save_google, Classifier(encoder, 2), where, WORDS)
        assert text == "Classifier cannot be written as Google's BERT; save its encoder"

        def other(**fields):
            return Bert(
                BertConfig(
                    vocabulary_size=120,
                    num_layers=1,
                    hidden_dim=8,
                    num_heads=2,
                    feedforward_dim=8,
                    **fields,
                )
            )

        assert "num_segments" in message(save_google, other(num_segments=0), where, WORDS)
        text = message(save_google, other(activation="silu"), where, WORDS)
        assert "activation 'silu' has no name" in text
        text = message(save_google, other(epsilon=1e-6), where, WORDS)
        assert "epsilon 1e-06 has no place" in text
        many = WordPieceTokenizer([*TOKENS, *map(str, range(200, 307))])
        assert "121 tokens and the model 120" in message(save_google, encoder, where, many)
        assert not list(tmp_path.iterdir())

    def test_nothing_is_overwritten_or_left(self, tmp_path, monkeypatch):
        encoder, _ = load_bert(PRETRAINING)
        save_google(encoder, tmp_path / "new", WORDS)
        assert "already exists" in message(save_google, encoder, tmp_path / "new", WORDS)

        def fail(**_):
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device\nmore")

        monkeypatch.setattr(tf.raw_ops, "SaveV2", fail)
        text = message(save_google, encoder, tmp_path / "full", WORDS)
        assert f"{tmp_path}/full: cannot be written" in text and "No space left" in text
        assert [path.name for path in tmp_path.iterdir()] == ["new"]
