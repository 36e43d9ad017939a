"""KerasHub's encoders under our heads: states, tokens, entities, training, export, directories."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.checkpoints import hub_presets
from tests.checkpoints.conftest import message
from tests.serving.fresh import ask
from tfmodels import TextClassifier, TokenClassifier, load
from tfmodels.checkpoints.presets import load_backbone
from tfmodels.serving.compatibility import check
from tfmodels.text.batching import encode

keras_hub = pytest.importorskip("keras_hub")
LENGTH = hub_presets.SHAPE["max_sequence_length"]
NAMES = ("entity", "start", "end")
SENTENCES = [
    "Ada Lovelace flew to Paris in 1842.",
    "\tnaïve  cafés 🙂 of Zürich, 北京 façades 👩‍👩‍👧!",
    "the quick\tbrown fox's sea-shore (she sells)",
    "",
    "…ﬁ ﷺ ①２ｋｇ x",
]


def states_of_hub(backbone, batch, pad_id):
    """KerasHub's states of a batch; without a mask, of rows that are as long as possible."""
    batch = {name: np.array(batch[name]).astype("int32") for name in batch}
    length = batch["token_ids"].shape[1]
    if "padding_mask" not in backbone.input:
        more = [[0, 0], [0, LENGTH - length]]
        batch = {
            "token_ids": np.pad(batch["token_ids"], more, constant_values=pad_id),
            "segment_ids": np.pad(batch["segment_ids"], more),
        }
    outputs = backbone({name: batch[name] for name in backbone.input})
    outputs = outputs["sequence_output"] if isinstance(outputs, dict) else outputs
    return np.array(outputs)[:, :length]


@pytest.mark.parametrize("family", hub_presets.ENCODERS)
def test_states_tokens_and_pairs_are_those_of_kerashub(family, presets):
    directory, backbone, tokenizer = presets(family)
    task = TextClassifier.from_preset(directory, labels=["a", "b"], max_length=LENGTH)
    texts = hub_presets.TEXTS
    batch = encode(task.tokenizer, tf.constant(texts), LENGTH)
    mask = batch["padding_mask"].numpy()
    wanted = states_of_hub(backbone, batch, task.tokenizer.pad_id)
    states = np.array(task.backbone(batch))
    np.testing.assert_allclose(states[mask], wanted[mask], atol=1e-5, rtol=0)
    longer = {name: np.pad(batch[name], [[0, 0], [0, 5]]) for name in batch}
    states = np.array(task.backbone(longer))[:, : mask.shape[1]]
    np.testing.assert_allclose(states[mask], wanted[mask], atol=1e-5, rtol=0)
    tokens = task.tokenizer.tokenize(tf.constant(texts)).to_list()
    assert tokens == [[int(i) for i in row] for row in tokenizer(texts)]
    assert task.tokenizer.vocabulary_size == tokenizer.vocabulary_size()
    packer = getattr(keras_hub.models, f"{family}TextClassifierPreprocessor", None)
    if packer is not None:  # ELECTRA has none
        pair = tf.constant(["the fox"]), tf.constant(["a joy"])
        batch = encode(task.tokenizer, pair[0], LENGTH, pair[1])
        # Without `y=None` it would take the second text for the label.
        packed = packer(tokenizer, sequence_length=LENGTH)(pair, y=None)
        for name in packed:
            length = batch[name].shape[1]
            np.testing.assert_array_equal(batch[name], np.array(packed[name])[:, :length])
    for words in (task.tokenizer, task.tokenizer.by_characters()):
        ids, *places = map(tf.RaggedTensor.to_list, words.tokenize_with_offsets(SENTENCES))
        for text, starts, ends in zip(SENTENCES, *places, strict=True):
            for start, end in zip(starts, ends, strict=True):
                assert 0 <= start < end <= len(text) and text[start:end].strip()
        assert ids[0] and not ids[3]


def classes():
    """64 rows that a word decides."""
    random = np.random.default_rng(0)
    words = ["the", "quick", "brown", "fox", "over", "lazy", "dog", "she", "sells", "sea"]
    rows = [" ".join(random.choice(words, 5)) for _ in range(64)]
    labels = ["good" if i % 2 else "bad" for i in range(64)]
    decisive = {"good": "joy", "bad": "bore"}
    return [f"{row} {decisive[label]}" for row, label in zip(rows, labels, strict=True)], labels


# `benchmarks.hub` does the next two for every encoder.


def test_a_classifier_learns_is_saved_and_exported(presets, tmp_path):
    task = TextClassifier.from_preset(presets("XLMRoberta")[0], max_length=32, dropout=0.0)
    texts, labels = classes()
    task.compile(learning_rate=3e-3, ema=0)
    task.fit(texts, labels, batch_size=16, epochs=25, verbose=0)
    assert task.evaluate(texts, labels)["accuracy"] == 1.0
    wanted = task.probabilities(SENTENCES)
    task.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    np.testing.assert_allclose(again.probabilities(SENTENCES), wanted, atol=1e-6)
    assert again.labels == ["bad", "good"]
    keras_hub.models.Backbone.from_preset(str(tmp_path / "saved"))
    version = task.export(tmp_path / "served")
    check(version)
    _, (answer,) = ask(version, ("serving_default", {"text": ("string", SENTENCES)}))
    np.testing.assert_allclose(answer["probabilities"], wanted, atol=1e-5)


def test_entities_of_an_export_are_parts_of_the_text(presets, tmp_path):
    task = TokenClassifier.from_preset(presets("Roberta")[0], max_length=24, dropout=0.0, crf=False)
    words = [["Ada", "Lovelace", "flew", "to", "Paris", "."], ["a", "joy", "in", "Zürich", "!"]] * 8
    tags = [["B-PER", "I-PER", "O", "O", "B-LOC", "O"], ["O", "O", "O", "B-LOC", "O"]] * 8
    task.compile(learning_rate=3e-3, ema=0)
    task.fit(words, tags, batch_size=8, epochs=40, verbose=0)
    assert task.evaluate(words, tags)["f1"] == 1.0
    task.save(tmp_path / "saved")
    answers = task.predict(SENTENCES)
    assert load(tmp_path / "saved").predict(SENTENCES) == answers
    version = task.export(tmp_path / "served")
    check(version)
    _, (answer,) = ask(version, ("serving_default", {"text": ("string", SENTENCES)}))
    found = 0
    for row, text in enumerate(SENTENCES):
        for entity, start, end in zip(*(answer[n][row] for n in NAMES), strict=True):
            if start >= 0:
                found += 1
                assert text[start:end] == entity
    assert found == sum(map(len, answers)) > 0


def test_a_preset_goes_out_again(presets, tmp_path):
    directory, backbone, tokenizer = presets("XLMRoberta")
    task = TextClassifier.from_preset(directory, labels=["a", "b"])
    task.save_to_preset(tmp_path / "out")
    again = keras_hub.models.Backbone.from_preset(str(tmp_path / "out"))
    for one, other in zip(backbone.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    written = keras_hub.models.Tokenizer.from_preset(str(tmp_path / "out"))
    texts = hub_presets.TEXTS
    assert [list(row) for row in written(texts)] == [list(row) for row in tokenizer(texts)]


def test_pretrained_poolers_layers_and_what_needs_a_bert(presets, tmp_path):
    directory, backbone, _ = presets("Albert")
    task = TextClassifier.from_preset(directory, labels=["a", "b"], pooling="first")
    np.testing.assert_array_equal(
        task.model.pooler.dense.get_weights()[0], backbone.pooled_dense.get_weights()[0]
    )
    task.model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    batch = encode(task.tokenizer, tf.constant(hub_presets.TEXTS), LENGTH)
    np.testing.assert_array_equal(again(batch), task.model(batch))
    task.freeze(1)
    assert not task.backbone.embeddings.trainable
    assert all("logits" in w.path or "pooler" in w.path for w in task.model.trainable_weights)
    task.tokenizer.inner.fold = True  # as that of Hugging Face's ALBERT
    task.save(tmp_path / "folded")
    assert load(tmp_path / "folded").tokenizer.inner.fold
    assert "takes token ids only; use a BERT" in message(task.explain, ["a joy"])
    assert "remat: works for blocks of tfmodels" in message(task.model.rematerialize)


@pytest.mark.parametrize("name", ["Roberta", "DistilBert"])
def test_published_without_a_head_or_pickled(name, tmp_path):
    """KerasHub's converters read safetensors of a model with a head alone."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    sizes = {
        "Roberta": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
                    "intermediate_size": 64, "max_position_embeddings": 50, "type_vocab_size": 1,
                    "layer_norm_eps": 1e-5, "pad_token_id": 1, "vocab_size": 90},
        "DistilBert": {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64,
                       "max_position_embeddings": 48, "sinusoidal_pos_embds": True,
                       "vocab_size": len(hub_presets.WORD_PIECES)},
    }[name]  # fmt: skip
    model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**sizes))
    model.save_pretrained(tmp_path / "bare")
    shutil.copytree(tmp_path / "bare", tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pickled" / "pytorch_model.bin")
    ids = np.random.default_rng(0).integers(5, 60, (2, 9))
    with torch.no_grad():
        expected = model.eval()(input_ids=torch.tensor(ids)).last_hidden_state.numpy()
    for directory in (tmp_path / "bare", tmp_path / "pickled"):
        backbone = load_backbone(directory)
        states = backbone({"token_ids": ids, "padding_mask": np.ones_like(ids)})
        np.testing.assert_allclose(np.array(states), expected, atol=1e-4, rtol=0)
