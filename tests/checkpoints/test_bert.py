"""Our BERT against outputs of `transformers`: stored ones, and fresh ones where torch is."""

import subprocess
import sys

import keras
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.checkpoints.conftest import OTHER, SMALL, Checkpoint
from tests.checkpoints.test_files import message
from tfmodels.checkpoints.bert import (
    encoder_weights,
    load_bert,
    load_classifier,
    load_weights,
    save_bert,
    write_bert,
)
from tfmodels.checkpoints.hugging_face import read_bert_config, read_labels
from tfmodels.layers.heads import ClassificationHead
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.model import Model

# States and logits are about 1. Largest differences seen in float32: states 2.2e-6,
# pooled 1.9e-6, logits 9.5e-7.
TOLERANCE = 1e-4
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdf", "é", "e", "##b", "中"]
PREFIX = "bert."


def golden(directory):
    """The stored batch and the stored outputs."""
    with np.load(directory / "expected.npz", allow_pickle=False) as arrays:
        arrays = dict(arrays)
    batch = {key: arrays.pop(key) for key in ("token_ids", "segment_ids", "padding_mask")}
    return batch, arrays


def assert_states(encoder, directory, tolerance=TOLERANCE):
    batch, expected = golden(directory)
    states = keras.ops.convert_to_numpy(keras.ops.cast(encoder(batch), "float32"))
    real = batch["padding_mask"]
    np.testing.assert_allclose(states[real], expected["states"][real], atol=tolerance, rtol=0)


def assert_logits(model, directory):
    batch, expected = golden(directory)
    logits = keras.ops.convert_to_numpy(model(batch))
    np.testing.assert_allclose(logits, expected["logits"], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("directory", [SMALL, OTHER], ids=lambda path: path.name)
class TestGolden:
    def test_encoder(self, directory):
        encoder, report = load_bert(directory)
        assert_states(encoder, directory)
        assert len(report.loaded) == len(encoder.weights)
        assert not report.new
        assert sorted(report.ignored) == [
            "bert.pooler.dense.bias",
            "bert.pooler.dense.weight",
            "classifier.bias",
            "classifier.weight",
        ]

    def test_classifier(self, directory):
        model, report = load_classifier(directory)
        assert model.num_classes == 3
        assert not report.new and not report.ignored
        assert_states(model.encoder, directory)
        assert_logits(model, directory)
        batch, expected = golden(directory)
        pooled = model.pooler(model.encoder(batch), batch["padding_mask"])
        np.testing.assert_allclose(pooled, expected["pooled"], atol=TOLERANCE, rtol=0)

    def test_written_again_it_is_the_same(self, directory, tmp_path):
        model, _ = load_classifier(directory)
        save_bert(model, tmp_path / "new", TOKENS, {}, ["x", "y", "z"])
        before = load_file(directory / "model.safetensors")
        after = load_file(tmp_path / "new" / "model.safetensors")
        assert before.keys() == after.keys()
        for name, tensor in before.items():
            np.testing.assert_array_equal(after[name], tensor)
        assert read_labels(tmp_path / "new") == ["x", "y", "z"]
        assert read_bert_config(tmp_path / "new") == model.encoder.config


class TestForms:
    """The same weights as others write them."""

    def test_shards(self, checkpoint):
        checkpoint.write_shards()
        assert_logits(load_classifier(checkpoint.directory)[0], SMALL)

    def test_without_prefix(self, checkpoint):
        checkpoint.write({n.removeprefix(PREFIX): t for n, t in checkpoint.tensors.items()})
        assert_logits(load_classifier(checkpoint.directory)[0], SMALL)

    def test_gamma_and_beta(self, checkpoint):
        def old(name):
            name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            return name.replace("LayerNorm.bias", "LayerNorm.beta")

        checkpoint.write({old(name): t for name, t in checkpoint.tensors.items()})
        model, report = load_classifier(checkpoint.directory)
        assert_logits(model, SMALL)
        assert "bert.embeddings.LayerNorm.gamma" in report.loaded

    @pytest.mark.parametrize(
        ("dtype", "tolerance"), [(np.float16, 1e-2), (ml_dtypes.bfloat16, 5e-2)]
    )
    def test_halves(self, checkpoint, dtype, tolerance):
        checkpoint.write({name: t.astype(dtype) for name, t in checkpoint.tensors.items()})
        encoder, _ = load_bert(checkpoint.directory)
        assert {weight.dtype for weight in encoder.weights} == {"float32"}
        assert_states(encoder, SMALL, tolerance)

    def test_heads_of_pretraining_are_ignored_by_name(self, checkpoint):
        more = {
            "bert.embeddings.position_ids": np.arange(24)[None],
            "cls.predictions.bias": np.zeros(120, np.float32),
            "cls.seq_relationship.weight": np.zeros((2, 32), np.float32),
        }
        checkpoint.write({**checkpoint.tensors, **more})
        model, report = load_classifier(checkpoint.directory)
        assert_logits(model, SMALL)
        assert sorted(report.ignored) == sorted(more)
        assert "ignored: " in str(report) and "cls.predictions.bias" in str(report)


class TestWhatIsNew:
    def test_without_pooler_and_head(self, checkpoint):
        names = [n for n in checkpoint.tensors if not n.startswith(("bert.pooler", "classifier"))]
        checkpoint.write({name: checkpoint.tensors[name] for name in names})
        text = message(load_classifier, checkpoint.directory)
        assert "give num_classes" in text
        model, report = load_classifier(checkpoint.directory, 2)
        assert len(report.loaded) == len(names)
        assert [path.split("/", 1)[1] for path in report.new] == [
            "pooler/dense/kernel",
            "pooler/dense/bias",
            "head/logits/kernel",
            "head/logits/bias",
        ]
        assert "new, to be trained: " in str(report)
        assert_states(model.encoder, SMALL)

    def test_other_number_of_classes(self):
        model, report = load_classifier(SMALL, 5)
        assert len(report.new) == 2 and all("head" in path for path in report.new)
        assert sorted(report.ignored) == ["classifier.bias", "classifier.weight"]
        assert model.num_classes == 5

    def test_head_of_tokens(self, checkpoint):
        checkpoint.set_config(architectures=["BertForTokenClassification"])
        _, report = load_classifier(checkpoint.directory, 3)
        assert len(report.new) == 2 and "classifier.weight" in report.ignored

    def test_mean_pooling(self):
        assert "give num_classes" in message(load_classifier, SMALL, pooling="mean")
        model, report = load_classifier(SMALL, 3, pooling="mean")
        assert len(report.new) == 2 and len(report.ignored) == 4
        assert_states(model.encoder, SMALL)

    def test_model_written_here_with_mean_pooling(self, tmp_path):
        model, _ = load_classifier(SMALL, 3, pooling="mean")
        write_bert(model, tmp_path, TOKENS, {}, ["a", "b", "c"], {"pooling": "mean"})
        again, report = load_classifier(tmp_path, pooling="mean")
        assert not report.new and not report.ignored
        batch, _ = golden(SMALL)
        np.testing.assert_array_equal(again(batch), model(batch))
        assert len(load_classifier(tmp_path, 3)[1].new) == 4  # the head is of the other pooling


class TestDoesNotFit:
    def test_all_problems_on_one_line(self, checkpoint):
        tensors = dict(checkpoint.tensors)
        del tensors["bert.encoder.layer.1.output.dense.bias"]
        tensors["bert.embeddings.LayerNorm.bias"] = np.zeros(31, np.float32)
        tensors["bert.encoder.layer.2.output.dense.bias"] = np.zeros(32, np.float32)
        checkpoint.write(tensors)
        text = message(load_bert, checkpoint.directory)
        assert "1 missing: encoder.layer.1.output.dense.bias;" in text
        assert "1 unexpected: encoder.layer.2.output.dense.bias;" in text
        assert "1 of another shape: embeddings.LayerNorm.bias 31 for 32;" in text

    def test_long_lists_are_cut(self, checkpoint):
        checkpoint.set_config(num_hidden_layers=4)
        text = message(load_bert, checkpoint.directory)
        assert "32 missing: " in text and "and 27 more" in text

    def test_fewer_layers_than_weights(self, checkpoint):
        checkpoint.set_config(num_hidden_layers=1)
        assert "16 unexpected: " in message(load_bert, checkpoint.directory)

    def test_half_a_pooler(self, checkpoint):
        tensors = dict(checkpoint.tensors)
        del tensors["bert.pooler.dense.bias"]
        checkpoint.write(tensors)
        assert "1 missing: pooler.dense.bias" in message(load_classifier, checkpoint.directory)

    def test_one_weight_twice(self, checkpoint):
        name = "bert.embeddings.LayerNorm.bias"
        twice = {**checkpoint.tensors, name.removeprefix(PREFIX): checkpoint.tensors[name]}
        checkpoint.write(twice)
        assert "are the same weight" in message(load_bert, checkpoint.directory)

    @pytest.mark.parametrize("field", [{"num_heads": 4}, {"activation": "relu"}, {"epsilon": 1e-6}])
    def test_settings_that_shapes_do_not_tell(self, field):
        ours = {**read_bert_config(SMALL).__dict__, **field}
        text = message(load_weights, Bert(BertConfig(**ours)), SMALL)
        assert f"the model has {next(iter(field.values()))!r}" in text

    def test_no_bert(self):
        assert "Sequential is no Bert" in message(load_weights, keras.Sequential(), SMALL)

    def test_nothing_is_assigned(self, checkpoint):
        encoder = Bert(read_bert_config(SMALL))
        encoder.build()
        before = encoder.get_weights()
        tensors = dict(checkpoint.tensors)
        del tensors["bert.encoder.layer.1.output.dense.bias"]
        checkpoint.write(tensors)
        message(load_weights, encoder, checkpoint.directory)
        for one, other in zip(before, encoder.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


class TestWhereItRuns:
    def test_every_weight_has_one_name(self):
        encoder, _ = load_bert(OTHER)
        named = encoder_weights(encoder).values()
        assert sorted(map(id, named)) == sorted(map(id, encoder.weights))

    def test_dtype_policies(self):
        mixed, _ = load_bert(SMALL, dtype="mixed_bfloat16")
        assert {weight.dtype for weight in mixed.weights} == {"float32"}
        assert_states(mixed, SMALL, 0.2)
        half, _ = load_bert(SMALL, dtype="bfloat16")
        for weight, exact in zip(half.weights, mixed.weights, strict=True):
            expected = np.asarray(exact).astype(weight.dtype)
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight.value), expected)
        assert "bfloat16" in {weight.dtype for weight in half.weights}

    def test_under_a_strategy(self, mirrored, tmp_path):
        with mirrored.scope():
            model, report = load_classifier(SMALL)
        assert not report.new
        assert_logits(model, SMALL)
        expected = load_classifier(SMALL)[0].get_weights()[0]
        for replica in mirrored.experimental_local_results(model.weights[0].value):
            np.testing.assert_array_equal(replica, expected)
        save_bert(model, tmp_path / "new", TOKENS, {})
        assert_logits(load_classifier(tmp_path / "new")[0], SMALL)

    def test_without_torch_and_transformers(self):
        code = (
            "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
            "from tfmodels.checkpoints.bert import load_bert\n"
            f"print(load_bert({str(SMALL)!r})[1])"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code],
            cwd=SMALL.parents[2], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "37 tensors loaded" in ran.stdout, ran.stderr


class TestSave:
    @pytest.fixture
    def model(self):
        return load_classifier(SMALL)[0]

    def test_encoder(self, model, tmp_path):
        save_bert(model.encoder, tmp_path / "new", TOKENS, {"lowercase": False})
        encoder, report = load_bert(tmp_path / "new")
        assert not report.ignored
        assert_states(encoder, SMALL)

    def test_refused(self, model, tmp_path):
        where = tmp_path / "new"
        small = [f"t{number}" for number in range(121)]
        mean = load_classifier(SMALL, 3, pooling="mean")[0]
        assert "pooling 'mean'" in message(save_bert, mean, where, TOKENS, {})
        assert "labels are a, b; give 3" in message(save_bert, model, where, TOKENS, {}, ["a", "b"])
        assert "give 3 different" in message(save_bert, model, where, TOKENS, {}, ["a", "a", "b"])
        assert "121 tokens and the model 120" in message(save_bert, model, where, small, {})
        assert "leave them out" in message(save_bert, model.encoder, where, TOKENS, {}, ["a"])
        plain = Bert(
            BertConfig(
                vocabulary_size=120,
                num_layers=1,
                hidden_dim=8,
                num_heads=2,
                feedforward_dim=8,
                max_length=8,
                num_segments=0,
            )
        )
        assert "num_segments" in message(save_bert, plain, where, TOKENS, {})
        assert list(tmp_path.iterdir()) == []

    def test_other_heads_are_not_dropped_in_silence(self, model, tmp_path):
        class Tagger(Model):
            def __init__(self, encoder):
                super().__init__()
                self.encoder = encoder
                self.head = ClassificationHead(3, name="classification_head")

            def build(self, batch_shape=None):
                self.head.build((None, None, 32))

        tagger = Tagger(model.encoder)
        assert "Tagger" in message(save_bert, tagger, tmp_path / "new", TOKENS, {})
        text = message(write_bert, tagger, tmp_path, TOKENS, {})
        assert "weights with no name" in text and "head/logits/kernel" in text
        assert len(load_weights(tagger, SMALL).new) == 2

    def test_nothing_is_overwritten(self, model, tmp_path):
        save_bert(model, tmp_path / "a" / "new", TOKENS, {})
        assert "already exists" in message(save_bert, model, tmp_path / "a" / "new", TOKENS, {})
        (tmp_path / "file").touch()
        assert "already exists" in message(save_bert, model, tmp_path / "file", TOKENS, {})
        assert "cannot be written" in message(
            save_bert, model, tmp_path / "file" / "new", TOKENS, {}
        )

    def test_nothing_is_left_after_an_interruption(self, model, tmp_path, monkeypatch):
        def stop(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("tfmodels.checkpoints.bert.write_tensors", stop)
        with pytest.raises(KeyboardInterrupt):
            save_bert(model, tmp_path / "new", TOKENS, {})
        assert list(tmp_path.iterdir()) == []


class TestLive:
    """Fresh random models; both directions."""

    @pytest.mark.parametrize(
        ("layers", "width", "heads", "activation"), [(2, 64, 2, "gelu"), (3, 24, 3, "gelu_new")]
    )
    def test_both_ways(self, parity, tmp_path, layers, width, heads, activation):
        reference = parity.random_reference(
            vocab_size=200,
            num_hidden_layers=layers,
            hidden_size=width,
            num_attention_heads=heads,
            intermediate_size=3 * width,
            max_position_embeddings=64,
            hidden_act=activation,
        )
        assert parity.compare("random", reference, tmp_path) <= TOLERANCE

    def test_labels_and_text(self, parity, tmp_path):
        import transformers

        model, _ = load_classifier(SMALL)
        save_bert(model, tmp_path / "new", TOKENS, {}, ["x", "y", "z"])
        theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "new")
        assert theirs.config.id2label == {0: "x", 1: "y", 2: "z"}
        tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "new")
        assert tokenizer.model_max_length == 24
        assert tokenizer("a Éb中")["input_ids"] == [2, 5, 11, 12, 13, 3]

    def test_encoder_alone(self, parity, tmp_path):
        import torch
        import transformers

        encoder, _ = load_bert(SMALL)
        cased = {"lowercase": False, "strip_accents": False, "split_cjk": False}
        save_bert(encoder, tmp_path / "new", TOKENS, cased)
        theirs = transformers.BertModel.from_pretrained(tmp_path / "new").eval()
        batch, expected = golden(SMALL)
        with torch.no_grad():
            states = theirs(
                torch.tensor(batch["token_ids"]).long(),
                attention_mask=torch.tensor(batch["padding_mask"]).long(),
                token_type_ids=torch.tensor(batch["segment_ids"]).long(),
            ).last_hidden_state
        real = batch["padding_mask"]
        np.testing.assert_allclose(states[real], expected["states"][real], atol=TOLERANCE, rtol=0)
        tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "new")
        assert tokenizer("é 中中")["input_ids"] == [2, 10, 1, 3]

    @pytest.mark.parametrize("form", ["sharded", "model alone", "tokenizer of transformers"])
    def test_as_transformers_writes_it(self, parity, tmp_path, form):
        import transformers

        theirs = transformers.BertForSequenceClassification.from_pretrained(OTHER)
        if form == "sharded":
            theirs.save_pretrained(tmp_path, max_shard_size="20KB")
            assert not (tmp_path / "model.safetensors").exists()
        elif form == "model alone":
            theirs.bert.save_pretrained(tmp_path)
        else:
            from tfmodels.checkpoints.hugging_face import read_vocabulary, write_tokenizer

            write_tokenizer(tmp_path, TOKENS, {}, 24)
            tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path, config=theirs.config)
            (tmp_path / "vocab.txt").unlink()
            tokenizer.save_pretrained(tmp_path)
            theirs.save_pretrained(tmp_path)
            assert read_vocabulary(tmp_path) == TOKENS
        assert_states(load_bert(tmp_path)[0], OTHER)


def test_copies_leave_the_reference_alone(tmp_path):
    copy = Checkpoint(SMALL, tmp_path / "copy")
    copy.set_config(num_hidden_layers=9)
    assert read_bert_config(SMALL).num_layers == 2
