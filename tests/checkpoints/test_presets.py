"""KerasHub's presets become our models, and ours become presets: the same numbers and tokens."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.checkpoints import hub_presets
from tests.checkpoints.conftest import message
from tfmodels import CausalLM, MaskedLM, Seq2SeqLM, TextClassifier, load
from tfmodels.checkpoints.files import find_checkpoint

keras_hub = pytest.importorskip("keras_hub")
TASKS = {"Bert": TextClassifier, "GPT2": CausalLM, "Bart": Seq2SeqLM}
TOLERANCE = 1e-5


def numpy_of(values):
    return keras.ops.convert_to_numpy(values)


def batch_of(family):
    """A batch with padding, and KerasHub's form of it."""
    random = np.random.default_rng(1)
    ids = random.integers(5, 40, (3, 9))
    mask = np.arange(9) < np.array([[9], [6], [2]])
    ids = np.where(mask, ids, 1)
    if family != "Bart":
        ours = {"token_ids": ids, "padding_mask": mask}
        given = {"token_ids": ids, "padding_mask": mask.astype("int32")}
        if family == "Bert":
            ours["segment_ids"] = given["segment_ids"] = np.where(np.arange(9) > 3, 1, 0) * mask
        return ours, given, mask
    target = random.integers(5, 40, (3, 5))
    given = {"encoder_token_ids": ids, "encoder_padding_mask": mask.astype("int32")}
    given |= {"decoder_token_ids": target, "decoder_padding_mask": np.ones_like(target)}
    return {"token_ids": ids, "padding_mask": mask, "decoder_token_ids": target}, given, None


def outputs_of_hub(family, backbone, batch):
    """What KerasHub computes: states, or the logits of its language model."""
    outputs = backbone(batch)
    if family == "Bert":
        return numpy_of(outputs["sequence_output"])
    states = outputs["decoder_sequence_output"] if family == "Bart" else outputs
    return numpy_of(backbone.token_embedding(states, reverse=True))


def outputs_of(task, batch):
    model = task.backbone if isinstance(task, TextClassifier) else task.model
    return numpy_of(model(batch))


@pytest.mark.parametrize("family", TASKS)
def test_a_preset_becomes_a_model_with_the_same_outputs_and_tokens(family, presets):
    directory, backbone, tokenizer = presets(family)
    task = TASKS[family].from_preset(directory)
    ours, given, mask = batch_of(family)
    mine, wanted = outputs_of(task, ours), outputs_of_hub(family, backbone, given)
    if family == "GPT2":  # whose attention to padding is never looked at
        mask = np.where(mask[:, :1], mask, False)
    at = slice(None) if mask is None else mask
    np.testing.assert_allclose(mine[at], wanted[at], atol=TOLERANCE, rtol=0)
    assert np.abs(wanted).max() > 0.1
    texts = hub_presets.TEXTS if family != "Bert" else hub_presets.TEXTS[:5]
    tokens = task.tokenizer.tokenize(tf.constant(texts)).to_list()
    assert tokens == [list(map(int, row)) for row in tokenizer(texts)]
    if family == "Bert":
        assert task.backbone.config.activation == "gelu_tanh"


@pytest.mark.parametrize("family", TASKS)
def test_ours_become_presets_and_come_back_without_a_difference(family, presets, tmp_path):
    directory, _, tokenizer = presets(family)
    task = TASKS[family].from_preset(directory)
    task.save_to_preset(tmp_path / "out")
    of_hub = keras_hub.models.Backbone.from_preset(str(tmp_path / "out"))
    written = keras_hub.models.Tokenizer.from_preset(str(tmp_path / "out"))
    ours, given, mask = batch_of(family)
    mine, wanted = outputs_of(task, ours), outputs_of_hub(family, of_hub, given)
    at = slice(None) if mask is None else mask
    np.testing.assert_allclose(mine[at], wanted[at], atol=TOLERANCE, rtol=0)
    texts = hub_presets.TEXTS
    assert [list(row) for row in written(texts)] == [list(row) for row in tokenizer(texts)]
    again = TASKS[family].from_preset(tmp_path / "out")
    before, after = (getattr(t, "backbone", t.model if t._model else None) for t in (task, again))
    for one, other in zip(before.get_weights(), after.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert before.config == after.config
    assert again.tokenizer.vocabulary == task.tokenizer.vocabulary


def test_a_text_classifier_of_kerashub_keeps_its_head_both_ways(presets, tmp_path):
    _, backbone, tokenizer = presets("Bert")
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=16)
    classifier = keras_hub.models.BertTextClassifier(backbone, 3, preprocessor)
    classifier.save_to_preset(str(tmp_path / "classifier"))
    texts = hub_presets.TEXTS[:4]
    wanted = np.asarray(classifier.predict(texts, verbose=0))
    task = TextClassifier.load(tmp_path / "classifier")
    logits = task._outputs("logits", texts, 4)[0]
    np.testing.assert_allclose(logits, wanted, atol=TOLERANCE, rtol=0)
    task.labels = ["bad", "fair", "good"]
    task._set_kind()
    task.save_to_preset(tmp_path / "ours")
    again = keras_hub.models.TextClassifier.from_preset(str(tmp_path / "ours"))
    logits = np.asarray(again.predict(texts, verbose=0))
    np.testing.assert_allclose(logits, wanted, atol=TOLERANCE, rtol=0)
    assert load(tmp_path / "ours").labels == ["bad", "fair", "good"]


def test_a_model_on_the_mean_becomes_a_backbone(presets, tmp_path):
    task = TextClassifier.from_preset(presets("Bert")[0], labels=["a", "b"])
    assert task.pooling == "mean"
    task.save_to_preset(tmp_path / "out")
    keras_hub.models.Backbone.from_preset(str(tmp_path / "out"))
    again = TextClassifier.from_preset(tmp_path / "out", labels=["a", "b"], pooling="first")
    assert any("pooler" in path for path in again._loaded.new)  # the identity is no pooler


def test_what_kerashub_computes_in_another_way_is_refused(presets, tmp_path):
    texts = ["a b c d e f g h"] * 3
    task = TextClassifier.from_scratch(texts, ["a", "b"], size="tiny", vocabulary_size=40)
    refused = message(task.save_to_preset, tmp_path / "out")
    assert "hidden_act is 'gelu'" in refused and "approximate_gelu=True" in refused
    assert not (tmp_path / "out").exists()
    task.save_to_preset(tmp_path / "out", approximate_gelu=True)
    keras_hub.models.Backbone.from_preset(str(tmp_path / "out"))
    gru = TextClassifier.from_scratch(
        texts, ["a", "b"], size="tiny", vocabulary_size=40, architecture="gru"
    )
    assert "in no backbone of KerasHub" in message(gru.save_to_preset, tmp_path / "gru")
    paper = Seq2SeqLM.from_scratch(texts, size="tiny", vocabulary_size=40)
    assert "in no backbone of KerasHub" in message(paper.save_to_preset, tmp_path / "paper")


def test_a_preset_of_another_task_or_of_an_unknown_backbone_is_refused(presets, tmp_path):
    bert, gpt = presets("Bert")[0], presets("GPT2")[0]
    assert "a preset of GPT2Backbone; give one of BertBackbone" in message(
        TextClassifier.from_preset, gpt
    )
    assert "a preset of BertBackbone; give one of GPT2Backbone" in message(
        CausalLM.from_preset, bert
    )
    assert "a preset of RobertaBackbone; give one of BertBackbone" in message(
        MaskedLM.from_preset, presets("Roberta")[0]
    )
    other = changed(bert, tmp_path / "other", class_name="LlamaBackbone")
    assert "a preset of 'LlamaBackbone'" in message(TextClassifier.from_preset, other)


def test_a_preset_of_a_newer_keras_hub_is_refused(presets, tmp_path):
    newer = changed(presets("Bert")[0], tmp_path / "newer", rotary=2)
    metadata = json.loads((newer / "metadata.json").read_text())
    (newer / "metadata.json").write_text(json.dumps({**metadata, "keras_hub_version": "0.99.0"}))
    refused = message(TextClassifier.from_preset, newer)
    assert "'rotary', which is not known here (written by keras-hub '0.99.0')" in refused


def test_missing_and_damaged_files_are_named(presets, tmp_path):
    for file, words in {
        "model.weights.h5": "has no model.weights.h5; give a preset with weights",
        "tokenizer.json": "the preset has no tokenizer; add that of the model",
        "assets/tokenizer/vocabulary.txt": "copy or download the directory of the preset again",
    }.items():
        directory = tmp_path / file.replace("/", "_")
        shutil.copytree(presets("Bert")[0], directory)
        (directory / file).unlink()
        assert words in message(TextClassifier.from_preset, directory)
    directory = tmp_path / "damaged"
    shutil.copytree(presets("Bert")[0], directory)
    (directory / "model.weights.h5").write_bytes(b"no weights")
    assert "KerasHub cannot load its weights" in message(TextClassifier.from_preset, directory)
    other = changed(presets("Bert")[0], tmp_path / "shape", hidden_dim=32)
    assert "KerasHub cannot load its weights" in message(TextClassifier.from_preset, other)
    text = changed(presets("Bert")[0], tmp_path / "text", num_layers="two")
    assert "num_layers is 'two' and must be a number" in message(TextClassifier.from_preset, text)


def test_names_of_kerashub_are_fetched_where_there_is_a_network(monkeypatch, presets):
    kagglehub = pytest.importorskip("kagglehub")
    asked = []

    def download(handle):
        asked.append(handle)
        return str(presets("Bert")[0])

    monkeypatch.setattr(kagglehub, "model_download", download)
    assert find_checkpoint("bert_base_en_uncased") == presets("Bert")[0]
    find_checkpoint("kaggle://someone/bert/keras/own")
    assert asked[0].startswith("keras/bert/keras/bert_base_en_uncased")
    assert asked[1] == "someone/bert/keras/own"
    assert "no preset of keras-hub" in message(find_checkpoint, "bert_of_nobody")

    def fail(*arguments, **options):
        raise ConnectionError("no network")

    monkeypatch.setattr(kagglehub, "model_download", fail)
    refused = message(find_checkpoint, "bert_base_en_uncased")
    assert "from Kaggle failed" in refused and "give the path of the local directory" in refused
    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    refused = message(find_checkpoint, "hf://keras/bert_base_en")
    assert "from the Hugging Face Hub failed" in refused and "local directory" in refused


def changed(source, directory, class_name=None, **arguments):
    """A copy of a preset with another class or other arguments in its config.json."""
    shutil.copytree(source, directory)
    path = directory / "config.json"
    content = json.loads(path.read_text())
    content["config"] |= arguments
    content["class_name"] = class_name or content["class_name"]
    path.write_text(json.dumps(content))
    return directory
