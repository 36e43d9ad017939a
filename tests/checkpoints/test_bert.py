"""Our BERT and its heads against outputs of `transformers`: stored ones, and fresh ones."""

import dataclasses
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.checkpoints.conftest import (
    OTHER,
    PRETRAINING,
    SMALL,
    TOLERANCE,
    WORDS,
    assert_logits,
    assert_states,
    golden,
    load_classifier,
    load_tagger,
    message,
    paths,
    written,
)
from tfmodels.checkpoints.bert import (
    bert_weights,
    head_of,
    load_bert,
    load_pretrainer,
    load_weights,
    read_bert_config,
    write_bert,
)
from tfmodels.checkpoints.files import read_labels
from tfmodels.files import read_json
from tfmodels.layers.heads import ClassificationHead
from tfmodels.models.bert import Bert
from tfmodels.models.model import EncoderModel

TABLE = "bert.embeddings.word_embeddings.weight"
BIAS, DECODER = "cls.predictions.bias", "cls.predictions.decoder"
NEXT = ("cls.seq_relationship.weight", "cls.seq_relationship.bias")
POOLER = ("bert.pooler.dense.weight", "bert.pooler.dense.bias")
HEAD = ("classifier.weight", "classifier.bias")
NEW_HEAD = ["head/logits/kernel", "head/logits/bias"]
TAGS = ["O", "B-PER", "I-PER"]


def assert_heads(model, tolerance=TOLERANCE):
    """Largest differences seen: masked_lm 3.2e-6 of 4.3, next_sentence 4.8e-7."""
    batch, expected = golden(PRETRAINING)
    logits = {name: keras.ops.convert_to_numpy(x) for name, x in model(batch).items()}
    real = batch["padding_mask"]
    for name, of in [("masked_lm", real), ("next_sentence", slice(None))]:
        if name in logits:
            np.testing.assert_allclose(logits[name][of], expected[name][of], atol=tolerance, rtol=0)
    return logits


def assert_same_files(one, other):
    before, after = (load_file(path / "model.safetensors") for path in (one, other))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        np.testing.assert_array_equal(after[name], tensor)


@pytest.mark.parametrize("directory", [SMALL, OTHER], ids=lambda path: path.name)
class TestGolden:
    def test_encoder(self, directory):
        encoder, report = load_bert(directory)
        assert_states(encoder, directory)
        assert len(report.loaded) == len(encoder.weights)
        assert not report.new
        assert sorted(report.ignored) == sorted((*POOLER, *HEAD))

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
        written(write_bert, model, tmp_path / "new", WORDS, ["x", "y", "z"])
        assert_same_files(directory, tmp_path / "new")
        assert read_labels(tmp_path / "new") == ["x", "y", "z"]
        assert read_bert_config(tmp_path / "new") == model.encoder.config


class TestPretraining:
    def test_both_heads(self):
        model, report = load_pretrainer(PRETRAINING)
        assert not report.new and not report.ignored
        assert len(report.loaded) == len(model.weights)
        assert set(assert_heads(model)) == {"masked_lm", "next_sentence"}
        named = [weight for variables in bert_weights(model).values() for weight in variables]
        assert sorted(map(id, named)) == sorted(map(id, model.weights))

    def test_written_again_it_is_the_same(self, tmp_path):
        written(write_bert, load_pretrainer(PRETRAINING)[0], tmp_path / "new", WORDS)
        assert_same_files(PRETRAINING, tmp_path / "new")
        config = read_json(tmp_path / "new" / "config.json")
        assert config["architectures"] == ["BertForPreTraining"]

    def test_written_without_next_sentence(self, tmp_path):
        model, report = load_pretrainer(PRETRAINING, next_sentence=False)
        assert not report.new and sorted(report.ignored) == sorted([*NEXT, *POOLER])
        written(write_bert, model, tmp_path / "new", WORDS)
        config = read_json(tmp_path / "new" / "config.json")
        assert config["architectures"] == ["BertForMaskedLM"]
        again, report = load_pretrainer(tmp_path / "new")
        assert not again.next_sentence and not report.new and not report.ignored
        assert_heads(again)

    @pytest.mark.parametrize(
        "name", [BIAS, "cls.predictions.transform.LayerNorm.weight", NEXT[1], "pooler.dense.bias"]
    )
    def test_part_of_a_head(self, pretraining, name):
        pretraining.without(name, f"bert.{name}")
        text = message(load_pretrainer, pretraining.directory)
        assert text == (
            f"{pretraining.directory}: the weights do not fit the model: 1 missing: {name}; give "
            "the checkpoint of a BERT whose config.json describes its weights"
        )

    def test_not_tied(self, pretraining):
        other = pretraining.tensors[TABLE] + 1.0
        pretraining.write({**pretraining.tensors, f"{DECODER}.weight": other})
        text = message(load_pretrainer, pretraining.directory)
        assert text == (
            f"{pretraining.directory}: {DECODER}.weight differs from {TABLE}: its output "
            "embedding is not tied and this model's is; give a checkpoint with tied embeddings, "
            "or load its encoder only"
        )
        assert_states(load_bert(pretraining.directory)[0], PRETRAINING)


class TestForms:
    """The same weights as others write them."""

    def test_old_names_and_tied_copies(self, pretraining):
        tensors = pretraining.tensors
        copies = {f"{DECODER}.weight": tensors[TABLE].copy(), f"{DECODER}.bias": tensors[BIAS] + 0}
        old = {
            name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): tensor
            for name, tensor in tensors.items()
        }
        pretraining.write({**old, **copies})
        model, report = load_pretrainer(pretraining.directory)
        assert_heads(model)
        assert "cls.predictions.transform.LayerNorm.gamma" in report.loaded
        assert sorted(report.ignored) == sorted(copies)

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

    @pytest.mark.parametrize("theirs", ["gelu_python", "swish", "gelu_new"])
    def test_names_of_activations(self, checkpoint, theirs):
        checkpoint.set_config(hidden_act=theirs)
        expected = {"gelu_python": "gelu", "swish": "silu", "gelu_new": "gelu_tanh"}[theirs]
        assert read_bert_config(checkpoint.directory).activation == expected

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("position_embedding_type", "relative_key"),
            ("is_decoder", True),
            ("add_cross_attention", True),
        ],
    )
    def test_another_computation(self, checkpoint, field, value):
        checkpoint.set_config(**{field: value})
        assert f"{field} is {value!r}" in message(read_bert_config, checkpoint.directory)

    def test_labels(self, checkpoint):
        assert read_labels(SMALL) == ["bad", "fair", "good"]
        for wrong in ({"1": "a", "2": "b"}, ["a"]):
            checkpoint.set_config(id2label=wrong)
            assert "id2label" in message(read_labels, checkpoint.directory)


class TestWhatIsNew:
    def test_without_pooler_and_head(self, checkpoint):
        checkpoint.without(*POOLER, *HEAD)
        model, report = load_classifier(checkpoint.directory, 2)
        assert len(report.loaded) == len(checkpoint.tensors) - 4
        assert paths(report) == ["pooler/dense/kernel", "pooler/dense/bias", *NEW_HEAD]
        assert "new, to be trained: " in str(report)
        assert_states(model.encoder, SMALL)

    def test_other_number_of_classes(self):
        model, report = load_classifier(SMALL, 5)
        assert paths(report) == NEW_HEAD
        assert sorted(report.ignored) == sorted(HEAD)
        assert model.num_classes == 5

    def test_head_of_tokens(self, checkpoint):
        checkpoint.set_config(architectures=["BertForTokenClassification"])
        _, report = load_classifier(checkpoint.directory, 3)
        assert paths(report) == NEW_HEAD and "classifier.weight" in report.ignored

    def test_mean_pooling(self):
        model, report = load_classifier(SMALL, 3, pooling="mean")
        assert paths(report) == NEW_HEAD
        assert sorted(report.ignored) == sorted((*POOLER, *HEAD))
        assert_states(model.encoder, SMALL)

    def test_heads_of_pretraining(self, pretraining):
        heads = [n for n in pretraining.tensors if n.startswith(("cls.", "bert.pooler."))]
        pretraining.without(*heads)
        model, report = load_pretrainer(pretraining.directory)
        assert not model.next_sentence
        assert paths(report) == [
            f"masked_lm/{name}"
            for name in ("bias", "dense/kernel", "dense/bias", "norm/gamma", "norm/beta")
        ]
        assert_states(model.encoder, PRETRAINING)
        _, report = load_pretrainer(pretraining.directory, next_sentence=True)
        assert len(report.new) == 9
        pretraining.without(*NEXT)
        _, report = load_pretrainer(pretraining.directory, next_sentence=True)
        assert paths(report) == ["next_sentence/logits/kernel", "next_sentence/logits/bias"]


class TestActivation:
    """What the logits mean, as `transformers` says it."""

    @pytest.mark.parametrize(
        ("problem", "activation"),
        [
            (None, "softmax"),
            ("single_label_classification", "softmax"),
            ("multi_label_classification", "sigmoid"),
            ("regression", "linear"),
        ],
    )
    def test_read_and_written(self, checkpoint, tmp_path, problem, activation):
        checkpoint.set_config(problem_type=problem)
        model, _ = load_classifier(checkpoint.directory)
        assert model.activation == activation
        written(write_bert, model, tmp_path / "new", WORDS)
        assert load_classifier(tmp_path / "new")[0].activation == activation

    def test_one_number(self, checkpoint):
        """As published for scores of pairs of texts, without a `problem_type`."""
        head = {name: checkpoint.tensors[name][:1] for name in HEAD}
        checkpoint.write({**checkpoint.tensors, **head})
        model, report = load_classifier(checkpoint.directory, 1)
        assert (model.num_classes, model.activation) == (1, "linear") and not report.new


class TestTagger:
    """What `BertForTokenClassification` has: a head on the states, and its labels."""

    @pytest.fixture
    def published(self, checkpoint):
        """As others publish it: without anything of ours in config.json."""
        checkpoint.set_config(
            architectures=["BertForTokenClassification"],
            id2label={str(n): tag for n, tag in enumerate(TAGS)},
        )
        checkpoint.without(*POOLER)
        return checkpoint.directory

    def test_published(self, published, tmp_path):
        assert head_of(published) == "tokens"
        model, report = load_tagger(published, read_labels(published))
        assert model.labels == tuple(TAGS)
        assert not report.new and not report.ignored
        batch, _ = golden(SMALL)
        head = {name: load_file(published / "model.safetensors")[name] for name in HEAD}
        expected = model.encoder(batch) @ head[HEAD[0]].T + head[HEAD[1]]
        np.testing.assert_allclose(model(batch), expected, atol=TOLERANCE)
        written(write_bert, model, tmp_path / "new", WORDS, TAGS)
        assert_same_files(published, tmp_path / "new")
        assert read_labels(tmp_path / "new") == TAGS

    def test_other_labels(self, published):
        for labels in (["O", "B-X", "I-X"], ["O", "B-PER", "I-PER", "B-LOC"]):
            model, report = load_tagger(published, labels)
            assert model.labels == tuple(labels) and paths(report) == NEW_HEAD

    def test_with_a_crf(self, published, tmp_path):
        model, report = load_tagger(published, TAGS, crf=True)
        assert [path.split("/")[0] for path in paths(report)] == ["crf"] * 3
        write_bert(model, tmp_path, WORDS, TAGS, {"application": "ner"})
        again, report = load_tagger(tmp_path, TAGS, crf=True)
        assert not report.new
        for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


class TestMean:
    """A classifier on the mean: no class of others has its head, and all read its encoder."""

    @pytest.fixture
    def model(self):
        return load_classifier(SMALL, 3, pooling="mean")[0]

    @pytest.fixture
    def directory(self, model, tmp_path):
        written(write_bert, model, tmp_path / "mean", WORDS, ["a", "b", "c"])
        return tmp_path / "mean"

    def test_read_again(self, model, directory):
        again, report = load_classifier(directory, pooling="mean")
        assert head_of(directory) == "mean" and not report.new
        batch, _ = golden(SMALL)
        np.testing.assert_array_equal(again(batch), model(batch))
        assert read_labels(directory) == ["a", "b", "c"]

    def test_as_a_start(self, directory):
        """The identity is not taken for a pooler that was trained."""
        assert len(load_classifier(directory, 3, pooling="first")[1].new) == 4
        assert len(load_pretrainer(directory, next_sentence=True)[1].new) == 9
        assert not load_bert(directory)[1].new

    def test_transformers_reads_the_encoder(self, parity, directory):
        import torch
        import transformers

        theirs, found = transformers.AutoModel.from_pretrained(directory, output_loading_info=True)
        assert not found["missing_keys"] and not found["mismatched_keys"]
        assert set(found["unexpected_keys"]) == {f"mean_{name}" for name in HEAD}
        batch, expected = golden(SMALL)
        with torch.no_grad():
            ids, segments, mask = (torch.tensor(batch[name]).long() for name in sorted(batch)[::-1])
            found = theirs.eval()(ids, attention_mask=mask, token_type_ids=segments)
        real = batch["padding_mask"]
        np.testing.assert_allclose(
            found.last_hidden_state[real], expected["states"][real], atol=TOLERANCE
        )

    def test_keras_hub_reads_the_encoder(self, directory):
        hub = pytest.importorskip("keras_hub", reason="compares with KerasHub")
        backbone = hub.models.BertBackbone.from_preset(str(directory))
        batch, expected = golden(SMALL)
        states = backbone(batch)["sequence_output"]
        real = batch["padding_mask"]
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(states)[real], expected["states"][real], atol=1e-3
        )


class TestDoesNotFit:
    def test_long_lists_are_cut(self, checkpoint):
        checkpoint.set_config(num_hidden_layers=4)
        text = message(load_bert, checkpoint.directory)
        assert "32 missing: " in text and "and 27 more" in text

    def test_no_bert(self):
        assert "Sequential is no Bert" in message(load_weights, keras.Sequential(), SMALL)


class TestWhereItRuns:
    def test_under_a_strategy(self, mirrored, tmp_path):
        with mirrored.scope():
            model, report = load_classifier(SMALL)
        assert not report.new
        assert_logits(model, SMALL)
        expected = load_classifier(SMALL)[0].get_weights()[0]
        for replica in mirrored.experimental_local_results(model.weights[0].value):
            np.testing.assert_array_equal(replica, expected)
        written(write_bert, model, tmp_path / "new", WORDS)
        assert_logits(load_classifier(tmp_path / "new")[0], SMALL)

    def test_without_torch_and_transformers(self, tmp_path):
        for name in ("torch", "transformers"):
            (tmp_path / f"{name}.py").write_text("raise ModuleNotFoundError")
        code = "from tfmodels.checkpoints.bert import load_bert\n"
        code += f"assert len(load_bert({str(SMALL)!r})[1].loaded) == 37"
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-c", code]
        subprocess.run(command, cwd=SMALL.parents[2], env=environment, check=True)


class TestWrite:
    @pytest.fixture
    def model(self):
        return load_classifier(SMALL)[0]

    def test_refused(self, model, tmp_path):
        plain = dataclasses.replace(model.encoder.config, num_segments=0)
        assert "num_segments" in message(write_bert, Bert(plain), tmp_path, WORDS)
        assert not list(tmp_path.iterdir())

    def test_other_heads_are_not_dropped_in_silence(self, model, tmp_path):
        class Ranker(EncoderModel):
            def __init__(self, encoder):
                super().__init__(encoder)
                self.rank = ClassificationHead(3, name="rank")
                self.rank.build((None, None, 32))
                self.build()

        ranker = Ranker(model.encoder)
        text = message(written, write_bert, ranker, tmp_path / "new", WORDS)
        assert "Ranker has weights with no name" in text and "rank/logits/kernel" in text
        assert len(load_weights(ranker, SMALL).new) == 2


class TestLive:
    """Fresh random models; both directions."""

    @pytest.mark.parametrize(
        ("kind", "layers", "width", "heads", "activation"),
        [
            ("BertForSequenceClassification", 2, 64, 2, "gelu"),
            ("BertForSequenceClassification", 3, 24, 3, "gelu_new"),
            ("BertForPreTraining", 2, 64, 2, "gelu"),
            ("BertForMaskedLM", 3, 24, 3, "relu"),
        ],
    )
    def test_both_ways(self, parity, tmp_path, kind, layers, width, heads, activation):
        import transformers

        reference = parity.random_reference(
            getattr(transformers, kind),
            vocab_size=200,
            num_hidden_layers=layers,
            hidden_size=width,
            num_attention_heads=heads,
            intermediate_size=3 * width,
            max_position_embeddings=64,
            hidden_act=activation,
        )
        assert parity.compare(kind, reference, tmp_path) <= TOLERANCE

    def test_transformers_misses_nothing(self, parity, tmp_path):
        import transformers

        models = {
            "BertForPreTraining": load_pretrainer(PRETRAINING)[0],
            "BertForMaskedLM": load_pretrainer(PRETRAINING, next_sentence=False)[0],
            "BertForSequenceClassification": load_classifier(SMALL)[0],
            "BertForTokenClassification": load_tagger(SMALL, TAGS)[0],
            "BertModel": load_bert(SMALL)[0],
        }
        for kind, model in models.items():
            labels = {"BertForSequenceClassification": ["x", "y", "z"],
                      "BertForTokenClassification": TAGS}.get(kind)  # fmt: skip
            written(write_bert, model, tmp_path / kind, WORDS, labels)
            _, found = getattr(transformers, kind).from_pretrained(
                tmp_path / kind, output_loading_info=True
            )
            assert len(found) >= 3 and not any(found.values()), (kind, found)

    def test_labels_and_text(self, parity, tmp_path):
        import transformers

        written(write_bert, load_classifier(SMALL)[0], tmp_path / "new", WORDS, ["x", "y", "z"])
        theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "new")
        assert theirs.config.id2label == {0: "x", 1: "y", 2: "z"}
        tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "new")
        assert tokenizer.model_max_length == 24
        assert tokenizer("a Éb中")["input_ids"] == [2, 5, 11, 12, 13, 3]

    @pytest.mark.parametrize("form", ["sharded", "model alone"])
    def test_as_transformers_writes_it(self, parity, tmp_path, form):
        import transformers

        theirs = transformers.BertForSequenceClassification.from_pretrained(OTHER)
        if form == "sharded":
            theirs.save_pretrained(tmp_path, max_shard_size="20KB")
            assert not (tmp_path / "model.safetensors").exists()
        else:
            theirs.bert.save_pretrained(tmp_path)
        assert_states(load_bert(tmp_path)[0], OTHER)
