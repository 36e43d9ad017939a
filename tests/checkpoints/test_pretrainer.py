"""BERT with the heads it is pretrained with, against outputs of `transformers`."""

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.checkpoints.conftest import PRETRAINING, SMALL
from tests.checkpoints.test_bert import TOKENS, TOLERANCE, assert_states, golden
from tests.checkpoints.test_files import message
from tfmodels.checkpoints.bert import (
    bert_weights,
    load_bert,
    load_classifier,
    load_pretrainer,
    load_weights,
    save_bert,
)
from tfmodels.files import read_json
from tfmodels.models.bert import Bert
from tfmodels.models.pretrainer import BertPretrainer

TABLE = "bert.embeddings.word_embeddings.weight"
BIAS, DECODER = "cls.predictions.bias", "cls.predictions.decoder"
NEXT = ("cls.seq_relationship.weight", "cls.seq_relationship.bias")
POOLER = ("bert.pooler.dense.weight", "bert.pooler.dense.bias")


def paths(report):
    """The new weights without the model's name."""
    return [path.split("/", 1)[1] for path in report.new]


def assert_heads(model, tolerance=TOLERANCE):
    """Largest differences seen: masked_lm 3.2e-6 of 4.3, next_sentence 4.8e-7."""
    batch, expected = golden(PRETRAINING)
    logits = {name: keras.ops.convert_to_numpy(x) for name, x in model(batch).items()}
    real = batch["padding_mask"]
    for name, of in [("masked_lm", real), ("next_sentence", slice(None))]:
        if name in logits:
            np.testing.assert_allclose(logits[name][of], expected[name][of], atol=tolerance, rtol=0)
    return logits


class TestGolden:
    def test_both_heads(self):
        model, report = load_pretrainer(PRETRAINING)
        assert not report.new and not report.ignored
        assert len(report.loaded) == len(model.weights)
        assert set(assert_heads(model)) == {"masked_lm", "next_sentence"}

    def test_masked_lm_only(self):
        model, report = load_pretrainer(PRETRAINING, next_sentence=False)
        assert not report.new
        assert sorted(report.ignored) == sorted([*NEXT, *POOLER])
        assert set(assert_heads(model)) == {"masked_lm"}

    def test_masked_positions(self):
        model, _ = load_pretrainer(PRETRAINING)
        batch, expected = golden(PRETRAINING)
        positions = np.array([[1, 11], [6, 0], [2, 1], [0, 0]], np.int32)
        logits = model({**batch, "masked_positions": positions})["masked_lm"]
        at = np.take_along_axis(expected["masked_lm"], positions[..., None], axis=1)
        np.testing.assert_allclose(logits, at, atol=TOLERANCE, rtol=0)

    def test_every_weight_has_one_name(self):
        model, _ = load_pretrainer(PRETRAINING)
        named = bert_weights(model).values()
        assert sorted(map(id, named)) == sorted(map(id, model.weights))

    def test_written_again_it_is_the_same(self, tmp_path):
        model, _ = load_pretrainer(PRETRAINING)
        save_bert(model, tmp_path / "new", TOKENS, {})
        before = load_file(PRETRAINING / "model.safetensors")
        after = load_file(tmp_path / "new" / "model.safetensors")
        assert before.keys() == after.keys()
        for name, tensor in before.items():
            np.testing.assert_array_equal(after[name], tensor)
        assert read_json(tmp_path / "new" / "config.json")["architectures"] == [
            "BertForPreTraining"
        ]

    def test_written_without_next_sentence(self, tmp_path):
        model, _ = load_pretrainer(PRETRAINING, next_sentence=False)
        save_bert(model, tmp_path / "new", TOKENS, {})
        config = read_json(tmp_path / "new" / "config.json")
        assert config["architectures"] == ["BertForMaskedLM"]
        again, report = load_pretrainer(tmp_path / "new")
        assert not again.next_sentence and not report.new and not report.ignored
        assert_heads(again)

    def test_labels_are_refused(self, tmp_path):
        model, _ = load_pretrainer(PRETRAINING)
        text = message(save_bert, model, tmp_path / "new", TOKENS, {}, ["a", "b"])
        assert text == (
            "labels are for a Classifier or Tagger, and this is a BertPretrainer; leave them out"
        )


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

    def test_only_the_copy_is_there(self, pretraining):
        renamed = {BIAS: f"{DECODER}.bias", TABLE: f"{DECODER}.weight"}
        pretraining.write({renamed.get(n, n): t for n, t in pretraining.tensors.items()})
        model, report = load_pretrainer(pretraining.directory)
        assert_heads(model)
        assert f"{DECODER}.weight" in report.loaded and not report.ignored

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


class TestWhatIsNew:
    def without(self, checkpoint, *names):
        checkpoint.write({n: t for n, t in checkpoint.tensors.items() if n not in names})

    def test_encoder_alone(self, pretraining):
        heads = [n for n in pretraining.tensors if n.startswith(("cls.", "bert.pooler."))]
        self.without(pretraining, *heads)
        model, report = load_pretrainer(pretraining.directory)
        assert not model.next_sentence
        assert paths(report) == [
            f"masked_lm/{name}"
            for name in ("bias", "dense/kernel", "dense/bias", "norm/gamma", "norm/beta")
        ]
        assert "new, to be trained: " in str(report)
        assert_states(model.encoder, PRETRAINING)
        _, report = load_pretrainer(pretraining.directory, next_sentence=True)
        assert len(report.new) == 9

    def test_pooler_without_next_sentence(self, pretraining):
        self.without(pretraining, *NEXT)
        model, report = load_pretrainer(pretraining.directory, next_sentence=True)
        assert paths(report) == ["next_sentence/logits/kernel", "next_sentence/logits/bias"]
        assert_states(model.encoder, PRETRAINING)

    def test_from_a_classifier(self):
        model, report = load_pretrainer(SMALL, next_sentence=True)
        assert len(report.new) == 7
        assert sorted(report.ignored) == ["classifier.bias", "classifier.weight"]
        assert_states(model.encoder, SMALL)

    @pytest.mark.parametrize(
        "name", [BIAS, "cls.predictions.transform.LayerNorm.weight", NEXT[1], "pooler.dense.bias"]
    )
    def test_part_of_a_head(self, pretraining, name):
        self.without(pretraining, name, f"bert.{name}")
        text = message(load_pretrainer, pretraining.directory)
        assert text == (
            f"{pretraining.directory}: the weights do not fit the model: 1 missing: {name}; give "
            "the checkpoint of a BERT whose config.json describes its weights"
        )

    def test_head_of_another_vocabulary(self, pretraining):
        pretraining.write({**pretraining.tensors, BIAS: np.zeros(121, np.float32)})
        text = message(load_pretrainer, pretraining.directory)
        assert f"1 of another shape: {BIAS} 121 for 120;" in text


class TestFineTuning:
    """A classifier on a pretrained checkpoint."""

    @pytest.mark.parametrize(("pooling", "new"), [("first", 2), ("mean", 2)])
    def test_encoder_and_pooler_are_taken(self, pooling, new):
        model, report = load_classifier(PRETRAINING, 4, pooling=pooling)
        assert len(report.new) == new and all("head/logits" in path for path in report.new)
        assert report.ignored
        assert all(name.startswith(("cls.", "bert.pooler.")) for name in report.ignored)
        assert (POOLER[0] in report.ignored) == (pooling == "mean")
        batch, expected = golden(PRETRAINING)
        assert_states(model.encoder, PRETRAINING)
        if pooling == "first":
            pooled = model.pooler(model.encoder(batch))
            np.testing.assert_allclose(pooled, expected["pooled"], atol=TOLERANCE, rtol=0)

    def test_from_a_pretrainer_written_here(self, tmp_path):
        model = BertPretrainer(load_bert(SMALL)[0])
        load_weights(model, PRETRAINING)
        save_bert(model, tmp_path / "new", TOKENS, {})
        encoder = Bert(model.encoder.config)
        report = load_weights(encoder, tmp_path / "new")
        assert not report.new
        assert_states(encoder, PRETRAINING)


class TestLive:
    """Fresh random models of `transformers`; both directions."""

    @pytest.mark.parametrize("kind", ["BertForPreTraining", "BertForMaskedLM"])
    @pytest.mark.parametrize(
        ("layers", "width", "heads", "activation"), [(2, 64, 2, "gelu"), (3, 24, 3, "relu")]
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
        model, report = load_pretrainer(tmp_path / "reference")
        assert model.next_sentence == (kind == "BertForPreTraining") and not report.new

    def test_transformers_misses_nothing(self, parity, tmp_path):
        import transformers

        for next_sentence, kind in [(True, "BertForPreTraining"), (False, "BertForMaskedLM")]:
            model, _ = load_pretrainer(PRETRAINING, next_sentence=next_sentence)
            save_bert(model, tmp_path / kind, TOKENS, {})
            _, found = getattr(transformers, kind).from_pretrained(
                tmp_path / kind, output_loading_info=True
            )
            assert found and not any(found.values()), found
