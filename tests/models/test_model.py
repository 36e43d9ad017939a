"""What all models share: built when made, named, batches as people give them, Keras' files."""

import dataclasses
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from tests.models.test_contract import BATCH, CASES
from tests.models.test_tagger import CASES as TAGGERS
from tfmodels.errors import InputError
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.classifier import Classifier
from tfmodels.models.gpt import Gpt, GptConfig
from tfmodels.models.tagger import Tagger
from tfmodels.models.transformer import Transformer, TransformerConfig
from tfmodels.training.losses import Crossentropy
from tfmodels.training.optimizer import AdamW
from tfmodels.training.sequence import tagging_objective

ROOT = Path(__file__).parents[2]
TENSORFLOW = keras.backend.backend() == "tensorflow"
ALL = {**CASES, **TAGGERS}
IDS, MASK = BATCH["token_ids"], BATCH["padding_mask"]


def small(**settings):
    return CASES["classifier_first"].made(**settings)


def array(tensor):
    return ops.convert_to_numpy(tensor)


# Built when made


@pytest.mark.parametrize("name", ALL)
def test_a_model_is_built_when_made(name, tmp_path):
    model = ALL[name].make()
    layers = list(model._flatten_layers())
    assert len(layers) > 5 and all(layer.built for layer in layers if layer.weights)
    number = model.count_params()
    model.summary(print_fn=(lines := []).append)
    assert f"{number:,}" in "".join(lines)
    weights = model.weights
    model.build()
    model.build({"token_ids": (None, None)})
    ALL[name].run(model)
    assert [id(w) for w in model.weights] == [id(w) for w in weights]
    model.save_weights(tmp_path / "model.weights.h5")
    again = ALL[name].make()
    again.load_weights(tmp_path / "model.weights.h5")
    for one, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_paths_of_weights_are_the_same_for_every_model():
    first, second = (small() for _ in range(2))
    paths = [weight.path for weight in first.weights]
    assert paths == [weight.path for weight in second.weights]
    assert "encoder/block_0/attention/query_key_value/kernel" in paths
    assert "classifier/head/logits/kernel" in paths
    assert Bert(BertConfig.of_size("tiny", vocabulary_size=11), name="mine").name == "mine"


def test_backup_and_restore_before_the_first_call(tmp_path):
    model = small()
    model.compile("sgd", Crossentropy())
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    model.fit(BATCH, np.array([0, 1, 2]), callbacks=[backup], verbose=0)


@pytest.mark.parametrize(
    ("kind", "default"), [(BertConfig, "base"), (GptConfig, "small"), (TransformerConfig, "base")]
)
def test_configs(kind, default):
    assert kind.of_size(default) == kind()
    for size, (layers, width) in kind.sizes.items():
        config = kind.of_size(size, max_length=7)
        assert {getattr(config, stack) for stack in kind.stacks} == {layers}
        assert config.hidden_dim == width == 64 * config.num_heads
        assert (config.feedforward_dim, config.max_length) == (4 * width, 7)
    with pytest.raises(InputError, match="size must be one of tiny, .*, got 'huge'"):
        kind.of_size("huge")
    with pytest.raises(TypeError, match="hidden_size"):
        kind(hidden_size=8)
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind().dropout = 0.5


@pytest.mark.parametrize(
    ("model", "config", "number"),
    [
        (Bert, BertConfig(num_layers=1), 23_837_184 + 7_087_872),
        (Gpt, GptConfig(num_layers=1), 39_385_344 + 7_087_872),
        (
            Transformer,
            TransformerConfig(num_encoder_layers=1, num_decoder_layers=1),
            40_229_721 + 7_087_872 + 9_451_776,
        ),
    ],
)
def test_parameters_as_published(model, config, number):
    """BERT-base without its pooler 108.9 M, GPT-2 124.4 M, BART-base 139.4 M. Counted by hand:

    tables of BERT (30522 + 512 + 2) x 768, norm 2 x 768                     = 23,837,184
    of GPT-2 (50257 + 1024) x 768, norm 2 x 768                              = 39,385,344
    of BART (50265 + 2 x 1024) x 768, norms 2 x 2 x 768, bias 50265          = 40,229,721
    a layer 4 x (768 x 768 + 768) + (768 x 3072 + 3072)
            + (3072 x 768 + 768) + 4 x 768                                   =  7,087,872
    a layer with cross-attention: that, 4 x (768 x 768 + 768) and 2 x 768    =  9,451,776
    """
    assert model(config).count_params() == number


@pytest.mark.parametrize("name", ["bert", "gpt", "transformer"])
def test_example_of_the_docstring(name):
    module = importlib.import_module(f"tfmodels.models.{name}")
    assert doctest.testmod(module, extraglobs={"np": np}) == (0, 3)


def test_classifier_keeps_weights_and_dtype_of_its_encoder():
    """The encoder of a fine-tuning comes built, with weights from a checkpoint."""
    case = CASES["bert"]
    encoder = case.made()
    states = case.run(encoder)
    classifier = Classifier(encoder, num_classes=3, pooling="mean")
    real = BATCH["padding_mask"][..., None]
    pooled = (states * real).sum(1) / real.sum(1)
    kernel, bias = classifier.head.get_weights()
    np.testing.assert_allclose(array(classifier(BATCH)), pooled @ kernel + bias, atol=1e-5)
    mixed = CASES["classifier_first"].make(dtype="mixed_bfloat16")
    assert mixed.dtype_policy.name == "mixed_bfloat16"
    assert mixed.pooler.compute_dtype == "bfloat16"


# Batches


@pytest.mark.parametrize(
    "change",
    [
        {"token_ids": IDS.tolist(), "padding_mask": MASK.tolist()},
        {"token_ids": IDS.astype("float32"), "padding_mask": MASK.astype("float32")},
        {"token_ids": IDS.astype("int64"), "padding_mask": 2 * MASK.astype("int32")},
    ],
    ids=["lists", "floats", "numbers"],
)
def test_numbers_of_other_types(change):
    model = small()
    np.testing.assert_array_equal(array(model({**BATCH, **change})), array(model(BATCH)))


def test_float_ids_are_exact_in_low_precision():
    """Keras makes inputs bfloat16 there, which knows no odd number above 256."""
    model = Bert(BertConfig.of_size("tiny", vocabulary_size=999, num_layers=0), dtype="bfloat16")
    ids = np.array([[257, 259, 998]])
    found = array(ops.cast(model({"token_ids": ids.astype("float32")}), "float32"))
    expected = array(ops.cast(model({"token_ids": ids}), "float32"))
    np.testing.assert_array_equal(found, expected)


MISTAKES = {
    "array": (IDS, r"called with a ndarray: give a dict, model\(\{\"token_ids\": ids"),
    "list": ([[1, 2]], "called with a list: give a dict"),
    "text": ("a text", "called with a str: give a dict"),
    "texts": ({"token_ids": np.array([["a", "b"]])}, "token_ids: strings; .* TextClassifier"),
    "hugging_face": (
        {"input_ids": IDS, "attention_mask": MASK},
        "no token_ids: input_ids is called token_ids here",
    ),
    "mask": ({"token_ids": IDS, "attention_mask": MASK}, "attention_mask: it is called padding_"),
    "segments": ({"token_ids": IDS, "token_type_ids": IDS}, "it is called segment_ids here"),
    "ragged": ({"token_ids": [[1, 2], [3]]}, "token_ids: rows of unequal length; pad them"),
    "one_row": ({"token_ids": IDS[0]}, r"shape \(5,\), not \[batch, length\]; batch the dataset"),
    "three_axes": ({"token_ids": IDS[None]}, r"shape \(1, 3, 5\), not \[batch, length\]; give a d"),
    "tuple": ((BATCH, [0, 1, 2]), "called with a tuple: give a dict"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name):
    given, message = MISTAKES[name]
    with pytest.raises(InputError, match=message) as error:
        small()(given)
    assert "\n" not in str(error.value)


def test_a_target_is_missed_by_name():
    with pytest.raises(InputError, match="the batch has no decoder_token_ids"):
        CASES["bart"].make()(BATCH)


@pytest.mark.parametrize("verb", ["fit", "predict"])
def test_rows_that_are_not_batched(verb):
    tf = pytest.importorskip("tensorflow")
    model = small()
    model.compile("sgd", Crossentropy())
    rows = tf.data.Dataset.from_tensor_slices((BATCH, np.array([0, 1, 2])))
    with pytest.raises(InputError, match=r"batch the dataset: dataset.batch\(32\)"):
        getattr(model, verb)(rows, verbose=0)


def test_other_names_reach_fit_in_one_sentence():
    model = small()
    model.compile("sgd", Crossentropy())
    with pytest.raises(InputError, match="input_ids is called token_ids here"):
        model.fit({"input_ids": IDS}, np.array([0, 1, 2]), verbose=0)


# Files of Keras


@pytest.mark.skipif(not TENSORFLOW, reason="SavedModel")
@pytest.mark.parametrize("name", ["classifier_mean", "chain", "gpt", "bart", "next_sentence"])
def test_export_of_keras(name, tmp_path):
    """After a call of one length, an exported model answers another."""
    import tensorflow as tf

    case = ALL[name]
    model = case.made()
    model.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    longer = case.padded()
    if name == "next_sentence":
        longer["masked_positions"] = np.array([[1], [0], [0]], "int32")
    found, expected = exported.serve(longer), model(longer)
    for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(one, array(other), atol=1e-5)


def test_what_keras_cannot_do_is_refused(tmp_path):
    model = small()
    with pytest.raises(InputError, match="quantize.*not supported"):
        model.quantize("int8")
    with pytest.raises(InputError, match="saved as .keras"):
        model.save(tmp_path / "model.h5")


LOAD = """
import sys, tfmodels
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
assert type(model.optimizer).__name__ == "AdamW" and type(model.loss).__name__ == sys.argv[3]
np.save(sys.argv[2], model.predict({"token_ids": np.array([[1, 2, 3]])}, verbose=0))
print(model.optimizer.iterations.numpy())
"""


@pytest.mark.skipif(not TENSORFLOW, reason="the optimizer")
@pytest.mark.parametrize("crf", [False, True])
def test_a_keras_file_needs_no_import_but_the_package(crf, tmp_path):
    from tfmodels.training.optimizer import AdamW, WarmupLinear

    encoder = Bert(BertConfig.of_size("tiny", vocabulary_size=11))
    if crf:
        model = Tagger(encoder, 3, ["O", "B-A", "I-A"], crf=True)
        objective, labels = tagging_objective(model), np.array([[0, 1, 2]])
    else:
        model = Classifier(encoder, 3)
        objective, labels = {"loss": Crossentropy()}, np.array([1])
    batch = {"token_ids": np.array([[1, 2, 3]])}
    model.compile(AdamW(WarmupLinear(1e-3, 10, 2)), **objective)
    model.fit(batch, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    paths = [str(tmp_path / "model.keras"), str(tmp_path / "found.npy")]
    command = [sys.executable, "-c", LOAD, *paths, "SequenceLoss" if crf else "Crossentropy"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "1"
    expected = model.predict(batch, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-6)


def test_every_class_in_files_is_known_to_keras():
    import tfmodels

    modules = [path.relative_to(ROOT) for path in (ROOT / "tfmodels").rglob("*.py")]
    registering = {
        ".".join(path.with_suffix("").parts[1:])
        for path in modules
        if "@keras.saving.register_keras_serializable" in (ROOT / path).read_text("utf-8")
    }
    assert registering == set(tfmodels._SERIALIZABLE)
    for module in registering:
        importlib.import_module(f"tfmodels.{module}")
    names = " ".join(tfmodels._SERIALIZABLE.values()).split()
    saved = {f"tfmodels>{name}" for name in names}
    known = keras.saving.get_custom_objects()
    assert saved == {name for name in known if name.startswith("tfmodels>")}
    assert all(isinstance(known[name], type) for name in saved)


# What a head says


def test_probabilities_are_what_the_head_is_of():
    logits = np.array([[3.1, -1.0]], "float32")
    softmax = np.exp(logits) / np.exp(logits).sum()
    expected = {"softmax": softmax, "sigmoid": 1 / (1 + np.exp(-logits)), "linear": logits}
    for activation, values in expected.items():
        encoder = Bert(BertConfig.of_size("tiny", vocabulary_size=11))
        model = Classifier(encoder, 2, activation=activation)
        again = Classifier.from_config(model.get_config())
        np.testing.assert_allclose(array(again.probabilities(logits)), values, rtol=1e-5)


def test_heads_that_cannot_be():
    encoder = Bert(BertConfig.of_size("tiny", vocabulary_size=11))
    with pytest.raises(InputError, match='num_classes=1: .* activation="sigmoid" .* "linear"'):
        Classifier(encoder, 1)
    with pytest.raises(InputError, match="activation must be one of softmax, sigmoid, linear"):
        Classifier(encoder, 2, activation="relu")
    assert Classifier(encoder, 1, activation="linear").num_classes == 1


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", Crossentropy(), "auto"])
def test_a_loss_without_the_crf_is_refused(loss):
    model = TAGGERS["chain"].make()
    with pytest.raises(InputError, match=r"CRF untrained; give model.compile\(optimizer, \*\*tagg"):
        model.compile("sgd", loss)
    model.compile("sgd", **tagging_objective(model))
    model.compile("sgd")


# Looking inside


@pytest.mark.parametrize("name", ["bert", "gpt"])
def test_inspect(name):
    case = CASES[name]
    model = case.made(**case.dropout)
    found = model.inspect(case.inputs)
    states, scores = found["hidden_states"], found["attention_scores"]
    assert [tuple(x.shape) for x in states] == [(3, 5, 8)] * 3
    assert [tuple(x.shape) for x in scores] == [(3, 2, 5, 5)] * 2
    last = array(states[-1])
    last = last if name == "bert" else last @ array(model.embeddings.token).T  # the logits
    np.testing.assert_allclose(last, case.run(model), atol=1e-5)
    for weights in map(array, scores):
        np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-5)
        assert weights[1, :, :3, 3:].max() == 0  # its last two tokens are padding


@pytest.mark.skipif(not TENSORFLOW, reason="traced by TensorFlow alone")
@pytest.mark.parametrize("verb", ["fit", "train_on_batch"])
def test_a_step_is_traced_once(verb):
    """The first step would take three times as long with variables that are made in its trace."""
    traces = []

    class Traced(Classifier):
        def train_step(self, data):
            traces.append(data)
            return super().train_step(data)

    model = Traced(Bert(BertConfig(vocabulary_size=9, num_layers=1, hidden_dim=8, num_heads=2)), 2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(AdamW(1e-3), loss, metrics=["accuracy"])
    getattr(model, verb)({"token_ids": np.ones((4, 3), "int32")}, np.zeros(4, "int32"))
    assert len(traces) == 1
