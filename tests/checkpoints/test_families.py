"""What BERT, GPT-2 and BART have in common: written, read, and refused where it does not fit."""

import dataclasses

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.checkpoints.conftest import FAMILIES, SMALL, TOLERANCE, message
from tfmodels import Seq2SeqLM
from tfmodels.checkpoints.files import kind_of, saved_settings
from tfmodels.checkpoints.tokenizers import read_tokenizer

ACTIVATION = {"bert": "hidden_act", "gpt2": "activation_function", "bart": "activation_function"}


@pytest.fixture
def other(family):
    """A function of fields that gives the family's config with those changed."""
    return lambda **fields: dataclasses.replace(family.config, **fields)


@pytest.fixture
def directory(family, copy_of):
    return copy_of(family)


class TestRoundTrip:
    def test_what_is_written_is_read(self, family, directory):
        model, report = family.load(directory.directory)
        assert model.config == family.config
        assert len(report.loaded) == family.weights and not report.new
        assert set(report.ignored) <= {"pooler.dense.weight", "pooler.dense.bias"}
        np.testing.assert_array_equal(family.outputs(model), family.outputs(family.random()))
        assert FAMILIES[kind_of(directory.directory)] is family
        assert saved_settings(directory.directory) == {}

    def test_every_field(self, family, other, tmp_path):
        """Of a config in which each differs from the default."""
        names = {"dropout": 0.25, "attention_dropout": 0.3, "initializer_range": 0.5}
        config = other(**names, activation="silu")
        if family is not FAMILIES["bart"]:
            config = dataclasses.replace(config, epsilon=1e-6)
        family.write(family.random(config), tmp_path, family.tokenizer)
        assert family.load(tmp_path)[0].config == config

    def test_dtype_policies(self, family, directory):
        mixed, _ = family.load(directory.directory, dtype="mixed_bfloat16")
        assert {weight.dtype for weight in mixed.weights} == {"float32"}
        half, _ = family.load(directory.directory, dtype="bfloat16")
        for weight, exact in zip(half.weights, mixed.weights, strict=True):
            expected = np.asarray(exact).astype(weight.dtype)
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight.value), expected)
        assert "bfloat16" in {weight.dtype for weight in half.weights}

    def test_settings_of_a_task(self, family, tmp_path):
        family.write(family.random(), tmp_path, family.tokenizer, settings={"seed": 3})
        assert saved_settings(tmp_path) == {"seed": 3}
        family.load(tmp_path)

    def test_shards(self, family, directory):
        directory.write_shards()
        model, _ = family.load(directory.directory)
        np.testing.assert_array_equal(family.outputs(model), family.outputs(family.random()))

    def test_hub_name(self, family, directory, monkeypatch):
        hub = pytest.importorskip("huggingface_hub", reason="fetching needs it")
        models = {("someone/model", "v1"): str(directory.directory)}
        monkeypatch.setattr(
            hub, "snapshot_download", lambda name, revision, **_: models[name, revision]
        )
        options = {"max_length": 24, "max_target_length": 8} if family.task is Seq2SeqLM else {}
        task = family.task.from_preset("someone/model", revision="v1", **options)
        outputs = family.outputs(getattr(task, "backbone", task.model))
        np.testing.assert_array_equal(outputs, family.outputs(family.random()))
        tokenizer = read_tokenizer("someone/model", "v1")
        assert task.tokenizer.vocabulary == tokenizer.vocabulary == family.tokenizer.vocabulary
        text = ["the film <s>"]
        assert tokenizer.tokenize(text).to_list() == task.tokenizer.tokenize(text).to_list()


class TestDoesNotFit:
    def test_all_problems_on_one_line(self, family, directory):
        tensors = dict(directory.tensors)
        del tensors[family.first]
        tensors[family.second] = np.zeros(31, np.float32)
        tensors["surplus.weight"] = np.zeros(3, np.float32)
        directory.write(tensors)
        text = message(family.load, directory.directory)
        first, second = (_plain(name) for name in (family.first, family.second))
        assert f"1 missing: {first}; 1 unexpected: surplus.weight;" in text
        assert f"1 of another shape: {second} 31 for 32;" in text
        assert text.endswith("whose config.json describes its weights")

    def test_nothing_is_assigned(self, family, directory):
        """Neither where a tensor is missing, nor where reading one fails."""
        model = family.model(family.config)
        model.build()
        before = model.get_weights()
        directory.without(family.first)
        message(family.load_weights, model, directory.directory)
        tensors = dict(directory.tensors)
        tensors[family.first] = tensors[family.first].astype(np.int32)
        directory.write(tensors)
        assert "is of type I32" in message(family.load_weights, model, directory.directory)
        for one, other in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_one_weight_twice(self, family, directory):
        name = family.second
        copy = _plain(name) if _plain(name) != name else f"bert.{name}"
        directory.write({**directory.tensors, copy: directory.tensors[name].copy()})
        assert "are the same weight" in message(family.load, directory.directory)

    def test_damaged(self, family, directory):
        path = directory.directory / "model.safetensors"
        path.write_bytes(path.read_bytes()[:300])
        assert "damaged or cut off" in message(family.load, directory.directory)

    @pytest.mark.parametrize("field", [{"num_heads": 2}, {"activation": "tanh"}, {"epsilon": 0.1}])
    def test_settings_that_shapes_do_not_tell(self, family, other, directory, field):
        text = message(family.load_weights, family.model(other(**field)), directory.directory)
        assert f"the model has {next(iter(field.values()))!r}" in text

    def test_config(self, family, directory):
        kind = kind_of(directory.directory)
        for fields, expected in [
            ({family.heads: 5}, f"{family.heads} 5 does not divide {family.width} 32"),
            ({family.heads: True}, f"{family.heads} is True"),
            ({family.width: "32"}, f"{family.width} is '32'"),
            ({family.missing: 0}, f"{family.missing} is 0"),
            ({family.missing: None}, f"{family.missing} is missing"),
            ({ACTIVATION[kind]: "sinc"}, f"{ACTIVATION[kind]} is 'sinc'"),
            ({"model_type": "t5"}, f"model_type is 't5'; give a checkpoint of type '{kind}'"),
        ]:  # fmt: skip
            before = (directory.directory / "config.json").read_text()
            directory.set_config(**fields)
            text = message(family.load, directory.directory)
            assert expected in text and "config.json" in text
            (directory.directory / "config.json").write_text(before)
        assert message(family.load, directory.directory.parent).startswith(
            f"{directory.directory.parent}/config.json: cannot be read"
        )

    def test_no_family(self, tmp_path):
        (tmp_path / "config.json").write_text('{"model_type": "t5"}')
        assert "model_type is 't5'; give a checkpoint of type bert, gpt2" in message(
            kind_of, tmp_path
        )


@pytest.mark.parametrize("name", ["gpt2", "bart"])
class TestTied:
    def test_not_tied(self, copy_of, name):
        family = FAMILIES[name]
        directory = copy_of(family)
        copy = directory.tensors[family.table] + 1.0
        directory.write({**directory.tensors, family.output: copy})
        text = message(family.load, directory.directory)
        assert f"{family.output} differs from {family.table}" in text
        assert text.endswith("give a checkpoint with tied embeddings")

    def test_table_under_the_name_of_the_output(self, copy_of, name):
        family = FAMILIES[name]
        directory = copy_of(family)
        tensors = dict(directory.tensors)
        tensors[family.output] = tensors.pop(family.table)
        directory.write(tensors)
        model, report = family.load(directory.directory)
        assert family.output in report.loaded
        np.testing.assert_array_equal(family.outputs(model), family.outputs(family.random()))


def test_refused_to_write(family, other, tmp_path):
    size = family.tokenizer.vocabulary_size
    small = family.model(other(vocabulary_size=size - 1))
    text = message(family.write, small, tmp_path, family.tokenizer)
    assert f"{size} tokens and the model {size - 1}" in text
    unnamed = family.model(other(activation="softsign"))
    assert "'softsign' has no name" in message(family.write, unnamed, tmp_path, family.tokenizer)
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_another_family():
    for name in ("gpt2", "bart"):
        assert "model_type is 'bert'" in message(FAMILIES[name].load, SMALL)


@pytest.mark.parametrize(
    ("name", "shape", "fields"),
    [
        ("gpt", (2, 64, 2), {"layer_norm_epsilon": 1e-3}),
        ("gpt", (3, 24, 3, 40), {"activation_function": "relu"}),
        ("bart", (2, 2, 64, 2, 96), {"scale_embedding": True}),
        ("bart", (3, 1, 24, 3, 40), {"activation_function": "relu"}),
    ],
)
def test_fresh_random_models_of_transformers_and_back(parity, tmp_path, name, shape, fields):
    reference = getattr(parity, f"random_{name}")(*shape, **fields)
    assert getattr(parity, f"compare_{name}")("random", reference, tmp_path) <= TOLERANCE
    before = load_file(tmp_path / "reference" / "model.safetensors")
    after = load_file(tmp_path / "back" / "model.safetensors")
    assert before.keys() == after.keys()
    for tensor in before:
        start = 2 if "embed_positions" in tensor else 0  # rows that nothing reads
        np.testing.assert_array_equal(after[tensor][start:], before[tensor][start:])


def _plain(name):
    for prefix in ("transformer.", "model."):
        name = name.removeprefix(prefix)
    return name
