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
    loaded,
    message,
    paths,
)
from tfmodels import TextClassifier, TokenClassifier
from tfmodels.checkpoints.bert import (
    BERT,
    head_of,
    load_bert,
    load_pretrainer,
    load_weights,
    read_bert_config,
    write_bert,
)
from tfmodels.checkpoints.files import read_labels
from tfmodels.checkpoints.tokenizers import write_tokenizer
from tfmodels.files import read_json
from tfmodels.layers.heads import ClassificationHead
from tfmodels.models.bert import Bert
from tfmodels.models.classifier import Classifier
from tfmodels.models.model import EncoderModel
from tfmodels.models.pretrainer import BertPretrainer
from tfmodels.models.tagger import Tagger

TABLE = "bert.embeddings.word_embeddings.weight"
BIAS, DECODER = "cls.predictions.bias", "cls.predictions.decoder"
NEXT = ("cls.seq_relationship.weight", "cls.seq_relationship.bias")
POOLER = ("bert.pooler.dense.weight", "bert.pooler.dense.bias")
HEAD = ("classifier.weight", "classifier.bias")
NEW_HEAD = ["head/logits/kernel", "head/logits/bias"]
LABELS = ["bad", "fair", "good"]
TAGS = ["O", "B-PER", "I-PER"]


@pytest.fixture
def checkpoint(checkpoint):
    """With a tokenizer, so that tasks load it."""
    write_tokenizer(checkpoint.directory, WORDS, 24)
    return checkpoint


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
        # Query, key and value, kernel and bias: six tensors for two weights.
        assert len(report.loaded) == len(encoder.weights) + 4 * len(encoder.blocks)
        assert not report.new
        assert sorted(report.ignored) == sorted((*POOLER, *HEAD))

    def test_classifier(self, directory):
        model, report = loaded(Classifier, directory, 3)
        assert not report.new and not report.ignored
        assert_states(model.encoder, directory)
        assert_logits(model, directory)
        batch, expected = golden(directory)
        pooled = model.pooler(model.encoder(batch), batch["padding_mask"])
        np.testing.assert_allclose(pooled, expected["pooled"], atol=TOLERANCE, rtol=0)

    def test_written_again_it_is_the_same(self, directory, tmp_path):
        model, _ = loaded(Classifier, directory, 3)
        write_bert(model, tmp_path, WORDS, ["x", "y", "z"])
        assert_same_files(directory, tmp_path)
        assert read_labels(tmp_path) == ["x", "y", "z"]
        assert read_bert_config(tmp_path) == model.encoder.config


class TestPretraining:
    def test_both_heads(self):
        model, report = load_pretrainer(PRETRAINING)
        assert not report.new and not report.ignored
        assert len(report.loaded) == len(model.weights) + 4 * len(model.encoder.blocks)
        assert set(assert_heads(model)) == {"masked_lm", "next_sentence"}
        named = [weight.variable for weight in BERT.weights(model).values()]
        assert set(map(id, named)) == set(map(id, model.weights))

    def test_written_again_it_is_the_same(self, tmp_path):
        write_bert(load_pretrainer(PRETRAINING)[0], tmp_path, WORDS)
        assert_same_files(PRETRAINING, tmp_path)
        config = read_json(tmp_path / "config.json")
        assert config["architectures"] == ["BertForPreTraining"]

    def test_written_without_next_sentence(self, tmp_path):
        model, report = loaded(BertPretrainer, PRETRAINING, next_sentence=False)
        assert not report.new and sorted(report.ignored) == sorted([*NEXT, *POOLER])
        write_bert(model, tmp_path, WORDS)
        config = read_json(tmp_path / "config.json")
        assert config["architectures"] == ["BertForMaskedLM"]
        again, report = load_pretrainer(tmp_path)
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
        model, report = loaded(Classifier, checkpoint.directory, 3)
        assert_logits(model, SMALL)
        assert sorted(report.ignored) == sorted(more)
        assert "ignored: " in str(report) and "cls.predictions.bias" in str(report)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [("gelu_python", "gelu"), ("swish", "silu"), ("gelu_new", "gelu_tanh")],
    )
    def test_names_of_activations(self, checkpoint, name, expected):
        checkpoint.set_config(hidden_act=name)
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
        assert read_labels(SMALL) == LABELS
        for wrong in ({"1": "a", "2": "b"}, ["a"]):
            checkpoint.set_config(id2label=wrong)
            assert "id2label" in message(read_labels, checkpoint.directory)


class TestWhatIsNew:
    def test_without_pooler_and_head(self, checkpoint):
        checkpoint.without(*POOLER, *HEAD)
        model, report = loaded(Classifier, checkpoint.directory, 2)
        assert len(report.loaded) == len(checkpoint.tensors) - 4
        assert paths(report) == ["pooler/dense/kernel", "pooler/dense/bias", *NEW_HEAD]
        assert "new, to be trained: " in str(report)
        assert_states(model.encoder, SMALL)
        assert "has no trained head" in message(TextClassifier.load, checkpoint.directory)

    def test_other_number_of_classes(self):
        _, report = loaded(Classifier, SMALL, 5)
        assert paths(report) == NEW_HEAD
        assert sorted(report.ignored) == sorted(HEAD)

    def test_head_of_tokens(self, checkpoint):
        checkpoint.set_config(architectures=["BertForTokenClassification"])
        _, report = loaded(Classifier, checkpoint.directory, 3)
        assert paths(report) == NEW_HEAD and "classifier.weight" in report.ignored

    def test_mean_pooling(self):
        model, report = loaded(Classifier, SMALL, 3, pooling="mean")
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
        _, report = loaded(BertPretrainer, pretraining.directory)
        assert len(report.new) == 9
        pretraining.without(*NEXT)
        _, report = loaded(BertPretrainer, pretraining.directory)
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
        model = TextClassifier.load(checkpoint.directory).model
        assert (model.activation, model.pooling) == (activation, "first")
        write_bert(model, tmp_path, WORDS, LABELS)
        assert TextClassifier.load(tmp_path).model.activation == activation

    def test_two_classes_without_names(self, checkpoint):
        """As `transformers` writes the names `LABEL_0` and `LABEL_1`."""
        checkpoint.write({**checkpoint.tensors, **{x: checkpoint.tensors[x][:2] for x in HEAD}})
        checkpoint.set_config(id2label=None)
        task = TextClassifier.load(checkpoint.directory)
        assert task.labels == ["LABEL_0", "LABEL_1"] and task.model.activation == "softmax"
        np.testing.assert_array_equal(
            task.model.head.logits.kernel, checkpoint.tensors[HEAD[0]][:2].T
        )

    def test_number_of_classes_in_old_files(self, checkpoint):
        checkpoint.set_config(id2label=None, num_labels=3)
        assert TextClassifier.load(checkpoint.directory).labels == ["LABEL_0", "LABEL_1", "LABEL_2"]

    def test_dropout_and_length(self, checkpoint):
        task = TextClassifier.from_preset(checkpoint.directory)
        assert (task.model.dropout, task.max_length) == (0.1, 24)
        checkpoint.set_config(classifier_dropout=0.25, max_position_embeddings=24)
        task = TextClassifier.from_preset(checkpoint.directory)
        assert (task.model.dropout, task.backbone.config.dropout) == (0.25, 0.1)
        assert TextClassifier.from_preset(checkpoint.directory, dropout=0.3).model.dropout == 0.3
        checkpoint.set_config(classifier_dropout="0.1")
        assert "classifier_dropout is '0.1'" in message(
            TextClassifier.from_preset, checkpoint.directory
        )

    def test_one_number(self, checkpoint):
        """As published for scores of pairs of texts, without a `problem_type`."""
        head = {name: checkpoint.tensors[name][:1] for name in HEAD}
        checkpoint.write({**checkpoint.tensors, **head})
        checkpoint.set_config(id2label={"0": "score"})
        model = TextClassifier.load(checkpoint.directory).model
        assert (model.num_classes, model.activation) == (1, "linear")


class TestTagger:
    """What `BertForTokenClassification` has: a head on the states, and its labels."""

    @pytest.fixture
    def published(self, checkpoint):
        """As others publish it: without settings in config.json."""
        checkpoint.set_config(
            architectures=["BertForTokenClassification"],
            id2label={str(n): tag for n, tag in enumerate(TAGS)},
        )
        checkpoint.without(*POOLER)
        return checkpoint.directory

    def test_published(self, published, tmp_path):
        assert head_of(published) == "tokens"
        model = TokenClassifier.load(published).model
        assert model.labels == tuple(TAGS) and model.crf is None
        report = loaded(Tagger, published, 3, TAGS)[1]
        assert not report.new and not report.ignored
        batch, _ = golden(SMALL)
        head = {name: load_file(published / "model.safetensors")[name] for name in HEAD}
        expected = model.encoder(batch) @ head[HEAD[0]].T + head[HEAD[1]]
        np.testing.assert_allclose(model(batch), expected, atol=TOLERANCE)
        write_bert(model, tmp_path, WORDS, TAGS)
        assert_same_files(published, tmp_path)
        assert read_labels(tmp_path) == TAGS

    @pytest.mark.parametrize("labels", [["I-A", "I-B", "O"], ["O", "S-A", "E-A"], ["A", "B", "C"]])
    def test_labels_of_any_scheme(self, checkpoint, published, tmp_path, labels):
        """The most likely tag of each word, as `transformers` answers."""
        checkpoint.set_config(id2label={str(n): tag for n, tag in enumerate(labels)})
        texts = ["a b c d", "f e 中 a a", "ab"]
        task = TokenClassifier.load(published)
        batch = next(iter(task.dataset(texts)))
        expected = np.argmax(task.model(batch), -1)
        task.save(tmp_path / "saved")
        saved = TokenClassifier.load(tmp_path / "saved")
        assert saved.labels == labels and not saved.constrained
        for row, (*_, tags) in zip(expected, task.find(texts), strict=True):
            np.testing.assert_array_equal(tags, row[: len(tags)])
        entities = task.predict(texts)
        spans = [[(e["type"], e["start"], e["end"]) for e in row] for row in entities]
        metrics = task.evaluate(texts, spans)
        assert metrics["token_accuracy"] == 1.0
        assert metrics["f1"] == (1.0 if any(spans) else 0.0)

    def test_training_keeps_its_labels(self, checkpoint, published):
        checkpoint.set_config(id2label={"0": "S-A", "1": "E-A", "2": "O"})
        task = TokenClassifier.from_preset(published)
        data = task.dataset(["a b", "c"], [[("A", 0, 3)], []])
        assert task.labels == ["S-A", "E-A", "O"] and not task._loaded.new
        ((_, labels),) = data
        assert labels.numpy()[:, :2].tolist() == [[0, 1], [2, -1]]

    def test_names_for_labels_without_names(self, checkpoint, published):
        checkpoint.set_config(id2label={str(n): f"LABEL_{n}" for n in range(3)})
        assert TokenClassifier.load(published).labels == ["LABEL_0", "LABEL_1", "LABEL_2"]
        assert not loaded(Tagger, published, 3, TAGS)[1].new

    def test_other_labels(self, published):
        for labels in (["O", "B-X", "I-X"], ["O", "B-PER", "I-PER", "B-LOC"]):
            _, report = loaded(Tagger, published, len(labels), labels)
            assert paths(report) == NEW_HEAD

    def test_no_head(self, checkpoint):
        assert "has no trained head" in message(TokenClassifier.load, checkpoint.directory)

    def test_with_a_crf(self, published, tmp_path):
        model, report = loaded(Tagger, published, 3, TAGS, crf=True)
        assert [path.split("/")[0] for path in paths(report)] == ["crf"] * 3
        write_bert(model, tmp_path, WORDS, TAGS, {"application": "ner"})
        again, report = loaded(Tagger, tmp_path, 3, TAGS, crf=True)
        assert not report.new and not report.ignored
        for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


class TestMean:
    """A classifier on the mean: no class of others has its head, and all read its encoder."""

    @pytest.fixture
    def model(self):
        return loaded(Classifier, SMALL, 3, pooling="mean")[0]

    @pytest.fixture
    def written(self, model, tmp_path):
        write_bert(model, tmp_path, WORDS, ["a", "b", "c"])
        return tmp_path

    def test_read_again(self, model, written):
        again = TextClassifier.load(written).model
        assert again.pooling == head_of(written) == "mean"
        batch, _ = golden(SMALL)
        np.testing.assert_array_equal(again(batch), model(batch))
        assert read_labels(written) == ["a", "b", "c"]

    def test_as_a_start(self, written):
        """The identity is not loaded as a pooler that was trained."""
        assert len(loaded(Classifier, written, 3)[1].new) == 4
        assert len(loaded(BertPretrainer, written)[1].new) == 9
        assert not load_bert(written)[1].new

    def test_transformers_reads_the_encoder(self, parity, written):
        import torch
        import transformers

        model, info = transformers.AutoModel.from_pretrained(written, output_loading_info=True)
        assert not info["missing_keys"] and not info["mismatched_keys"]
        assert set(info["unexpected_keys"]) == {f"mean_{name}" for name in HEAD}
        batch, expected = golden(SMALL)
        with torch.no_grad():
            ids, segments, mask = (torch.tensor(batch[name]).long() for name in sorted(batch)[::-1])
            outputs = model.eval()(ids, attention_mask=mask, token_type_ids=segments)
        real = batch["padding_mask"]
        np.testing.assert_allclose(
            outputs.last_hidden_state[real], expected["states"][real], atol=TOLERANCE
        )

    def test_keras_hub_reads_the_encoder(self, written):
        hub = pytest.importorskip("keras_hub", reason="compares with KerasHub")
        backbone = hub.models.BertBackbone.from_preset(str(written))
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
        assert "Sequential is not a Bert" in message(load_weights, keras.Sequential(), SMALL)


class TestWhereItRuns:
    def test_under_a_strategy(self, mirrored, tmp_path):
        with mirrored.scope():
            model, report = loaded(Classifier, SMALL, 3)
        assert not report.new
        assert_logits(model, SMALL)
        expected = loaded(Classifier, SMALL, 3)[0].get_weights()[0]
        for replica in mirrored.experimental_local_results(model.weights[0].value):
            np.testing.assert_array_equal(replica, expected)
        write_bert(model, tmp_path, WORDS, LABELS)
        assert_logits(loaded(Classifier, tmp_path, 3)[0], SMALL)

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
        return loaded(Classifier, SMALL, 3)[0]

    def test_refused(self, model, tmp_path):
        tagger = Tagger(model.encoder, 3)
        for labels, text in [(["a", "b"], "a, b"), (["a", "a", "b"], "a, a, b"), (None, "missing")]:
            for each in (model, tagger):
                assert message(write_bert, each, tmp_path, WORDS, labels) == (
                    f"the labels are {text}; give 3 different names, one for each class"
                )
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
        text = message(write_bert, ranker, tmp_path, WORDS)
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
            "BertForPreTraining": loaded(BertPretrainer, PRETRAINING),
            "BertForMaskedLM": loaded(BertPretrainer, PRETRAINING, next_sentence=False),
            "BertForSequenceClassification": loaded(Classifier, SMALL, 3),
            "BertForTokenClassification": loaded(Tagger, SMALL, 3),
            "BertModel": load_bert(SMALL),
        }
        for kind, (model, _) in models.items():
            (tmp_path / kind).mkdir()
            write_bert(model, tmp_path / kind, WORDS, TAGS)
            _, info = getattr(transformers, kind).from_pretrained(
                tmp_path / kind, output_loading_info=True
            )
            assert len(info) >= 3 and not any(info.values()), (kind, info)

    def test_labels_and_text(self, parity, tmp_path):
        import transformers

        write_bert(loaded(Classifier, SMALL, 3)[0], tmp_path, WORDS, ["x", "y", "z"])
        model = transformers.BertForSequenceClassification.from_pretrained(tmp_path)
        assert model.config.id2label == {0: "x", 1: "y", 2: "z"}
        tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
        assert tokenizer.model_max_length == 24
        assert tokenizer("a Éb中")["input_ids"] == [2, 5, 11, 12, 13, 3]

    @pytest.mark.parametrize("form", ["sharded", "model alone"])
    def test_as_transformers_writes_it(self, parity, tmp_path, form):
        import transformers

        model = transformers.BertForSequenceClassification.from_pretrained(OTHER)
        if form == "sharded":
            model.save_pretrained(tmp_path, max_shard_size="20KB")
            assert not (tmp_path / "model.safetensors").exists()
        else:
            model.bert.save_pretrained(tmp_path)
        assert_states(load_bert(tmp_path)[0], OTHER)
