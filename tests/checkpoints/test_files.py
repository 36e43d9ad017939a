"""The directory of a checkpoint, and every way its weight files can be unusable."""

import sys
import types

import h5py
import ml_dtypes
import numpy as np
import pytest

from tests.checkpoints.conftest import FAMILIES, SMALL, assert_states, message
from tfmodels.checkpoints.bert import load_bert
from tfmodels.checkpoints.files import (
    PICKLED,
    WEIGHTS,
    TensorFiles,
    find_checkpoint,
    kind_of,
    write_tensors,
)
from tfmodels.files import write_json


def test_every_type_of_float_is_read_as_float32(tmp_path):
    stored = {
        "half": np.array([1.5, -2.0], np.float16),
        "brain": np.array([[0.5, 3.0]], ml_dtypes.bfloat16),
        "double": np.array(0.25, np.float64),
        "count": np.array([1]),
    }
    write_tensors(tmp_path / "model.safetensors", stored)
    files = TensorFiles(tmp_path)
    assert files.shapes == {"half": (2,), "brain": (1, 2), "double": (), "count": (1,)}
    for name in ("half", "brain", "double"):
        assert files.read(name).dtype == np.float32
        np.testing.assert_array_equal(files.read(name), stored[name].astype("float32"))
    assert "count is of type I64" in message(files.read, "count")


def test_written_files_may_be_read_by_others(tmp_path):
    (tmp_path / "plain").touch()
    write_tensors(tmp_path / "model.safetensors", {"a": np.zeros(2, np.float32)})
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("size", [4, 300, -3, None], ids=["start", "header", "tensors", "lfs"])
def test_damaged_file(checkpoint, size):
    path = checkpoint.directory / "model.safetensors"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 90868376\n"
    path.write_bytes(path.read_bytes()[:size] if size else pointer)
    assert f"{path}: damaged or cut off" in message(TensorFiles, checkpoint.directory)


def test_shard_missing(checkpoint):
    checkpoint.write_shards()
    (checkpoint.directory / "model-00002-of-00002.safetensors").unlink()
    text = message(TensorFiles, checkpoint.directory)
    assert "'model-00002-of-00002.safetensors', which is not there" in text
    assert "all 2 files" in text


def test_index_does_not_lead_out_of_its_directory(checkpoint):
    checkpoint.write_shards()
    (checkpoint.directory.parent / "other.safetensors").touch()
    checkpoint.write_index({"weight_map": {"a": "../other.safetensors"}})
    assert "'../other.safetensors', which is not there" in message(
        TensorFiles, checkpoint.directory
    )


def test_index_without_files(checkpoint):
    checkpoint.write_shards()
    checkpoint.write_index({})
    assert "names no files" in message(TensorFiles, checkpoint.directory)


@pytest.fixture
def without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)


class TestOldWeights:
    """Weights as they were published before safetensors."""

    @pytest.mark.parametrize("sharded", [False, True])
    def test_pickled(self, checkpoint, sharded):
        torch = pytest.importorskip("torch", reason="only PyTorch reads its files")
        (checkpoint.directory / WEIGHTS).unlink()
        names = sorted(checkpoint.tensors)
        files = {"pytorch_model-1.bin": names[::2], "pytorch_model-2.bin": names[1::2]}
        for file, held in (files if sharded else {PICKLED: names}).items():
            tensors = {name: torch.tensor(checkpoint.tensors[name]).half() for name in held}
            torch.save(tensors, checkpoint.directory / file)
        if sharded:
            weight_map = {name: file for file, held in files.items() for name in held}
            write_json(checkpoint.directory / f"{PICKLED}.index.json", {"weight_map": weight_map})
        found = TensorFiles(checkpoint.directory)
        assert sorted(found.shapes) == names
        for name in names:
            assert found.shapes[name] == checkpoint.tensors[name].shape
            expected = checkpoint.tensors[name].astype("float16")
            np.testing.assert_array_equal(found.read(name), expected.astype("float32"))

    def test_a_file_that_would_run_code(self, checkpoint):
        torch = pytest.importorskip("torch", reason="only PyTorch reads its files")
        (checkpoint.directory / WEIGHTS).unlink()
        torch.save({"a": Runs()}, checkpoint.directory / PICKLED)
        text = message(TensorFiles, checkpoint.directory)
        assert "damaged or cut off (or not of tensors only)" in text and not Runs.done

    @pytest.mark.parametrize(
        ("kind", "auto"),
        [
            ("BertForSequenceClassification", "AutoModelForSequenceClassification"),
            ("GPT2LMHeadModel", "AutoModelForCausalLM"),
            ("BartForConditionalGeneration", "AutoModelForSeq2SeqLM"),
            ("BertModel", "AutoModel"),
        ],
    )
    def test_how_to_convert(self, checkpoint, without_torch, kind, auto):
        checkpoint.set_config(architectures=[kind])
        (checkpoint.directory / WEIGHTS).rename(checkpoint.directory / PICKLED)
        text = message(TensorFiles, checkpoint.directory)
        assert f"import {auto} as M, AutoTokenizer as T; M.from_pretrained(" in text
        assert "pip install torch" in text and text.endswith("and give checkpoint-converted")
        assert "model_type" not in text
        checkpoint.set_config(model_type=None)
        expected = f'or put "model_type": "bert" into {checkpoint.directory}/config.json and'
        assert (expected in message(TensorFiles, checkpoint.directory)) == kind.startswith("Bert")

    def test_of_tensorflow(self, tmp_path, without_torch):
        """Names and shapes as `transformers` 4 wrote them, of BERT, GPT-2 and BART."""
        kernel = np.arange(6, dtype="float32").reshape(2, 3)
        written = {
            "bert/tf_bert/bert/encoder/layer_._0/output/dense/kernel:0": kernel,
            "mlm___cls/tf_bert/mlm___cls/predictions/bias:0": kernel[0],
            "bert/tf_bert/bert/embeddings/LayerNorm/gamma:0": kernel[1],
            "transformer/tfgpt2/transformer/h_._0/attn/c_attn/bias:0": kernel[:1],
            "transformer/tfgpt2/transformer/h_._0/attn/c_attn/weight:0": kernel,
            "model/model.shared/model.shared/embeddings:0": kernel,
            "final_logits_bias/final_logits_bias:0": kernel[:1],
        }
        with h5py.File(tmp_path / "tf_model.h5", "w") as file:
            for name, array in written.items():
                file[name] = array
        expected = {
            "bert.encoder.layer.0.output.dense.weight": kernel.T,
            "cls.predictions.bias": kernel[0],
            "bert.embeddings.LayerNorm.weight": kernel[1],
            "transformer.h.0.attn.c_attn.bias": kernel[0],
            "transformer.h.0.attn.c_attn.weight": kernel,
            "model.shared.weight": kernel,
            "final_logits_bias": kernel[:1],
        }
        found = TensorFiles(tmp_path)
        assert found.shapes == {name: array.shape for name, array in expected.items()}
        for name, array in expected.items():
            np.testing.assert_array_equal(found.read(name), array)


class Runs:
    done = False

    def __reduce__(self):
        return setattr, (Runs, "done", True)


class TestModelType:
    """What tells the family where an old config.json has no `model_type`."""

    @pytest.mark.parametrize("kind", ["bert", "gpt2", "bart"])
    def test_by_its_fields(self, copy_of, kind):
        case = FAMILIES[kind]
        checkpoint = copy_of(case)
        checkpoint.set_config(model_type=None, architectures=None)
        assert kind_of(checkpoint.directory) == kind
        model = case.load(checkpoint.directory)[0]
        np.testing.assert_array_equal(case.outputs(model), case.outputs(case.random()))

    @pytest.mark.parametrize(
        "fields", [{"architectures": ["RobertaModel"]}, {"pad_token_id": 1}, {"hidden_size": None}]
    )
    def test_nothing_tells(self, checkpoint, fields):
        checkpoint.set_config(model_type=None, architectures=None)
        checkpoint.set_config(**fields)
        assert (
            "has no model_type; if it is one of bert, gpt2, bart, transformer, marian, add it: "
            in (message(kind_of, checkpoint.directory))
        )

    def test_bert_config_beside_other_weights(self, checkpoint):
        checkpoint.set_config(model_type=None)
        path = checkpoint.directory / "config.json"
        path.rename(path.with_name("bert_config.json"))
        assert_states(load_bert(checkpoint.directory)[0], SMALL)


def test_no_weights(tmp_path):
    assert "has no model.safetensors" in message(TensorFiles, tmp_path)


class TestFindCheckpoint:
    def test_directory(self):
        assert find_checkpoint(str(SMALL)) == SMALL
        assert "has no revision" in message(find_checkpoint, SMALL, revision="main")

    @pytest.mark.parametrize(
        "source", ["/no/where", "./nowhere", "a/b/c", "../x", SMALL / "config.json", "~/x"]
    )
    def test_what_is_neither_directory_nor_name(self, source, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert f"{source}: no such directory" in message(find_checkpoint, source)

    def test_name_is_fetched_without_code_or_pickles(self, monkeypatch):
        hub = pytest.importorskip("huggingface_hub", reason="fetching needs it")
        from huggingface_hub.utils import filter_repo_objects

        calls = {}
        monkeypatch.setattr(
            hub, "snapshot_download", lambda name, **options: calls.update(options) or str(SMALL)
        )
        assert find_checkpoint("someone/bert", revision="v1") == SMALL
        assert calls["revision"] == "v1"
        good = ["config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"]
        good += ["model.safetensors.index.json", "model-00001-of-00002.safetensors"]
        bad = ["pytorch_model.bin", "modeling.py", "tf_model.h5", "onnx/model.onnx"]
        patterns = calls["allow_patterns"]
        assert list(filter_repo_objects(good + bad, allow_patterns=patterns)) == good

    @pytest.mark.parametrize("torch", [True, False])
    def test_name_with_pickles_only(self, monkeypatch, tmp_path, torch):
        hub = pytest.importorskip("huggingface_hub", reason="fetching needs it")
        monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch") if torch else None)
        monkeypatch.setattr(hub, "list_repo_files", lambda name, revision: [PICKLED, "config.json"])
        fetched = []

        def snapshot(name, revision, allow_patterns):
            fetched.append(allow_patterns)
            if PICKLED in allow_patterns:
                (tmp_path / PICKLED).touch()
            return str(tmp_path)

        monkeypatch.setattr(hub, "snapshot_download", snapshot)
        if torch:
            assert find_checkpoint("someone/bert") == tmp_path and len(fetched) == 2
        else:
            text = message(find_checkpoint, "someone/bert", revision="v1")
            assert "someone/bert: has pytorch_model.bin but no model.safetensors" in text
            assert "T.from_pretrained('someone/bert', revision='v1').save_pretrained(" in text
            assert find_checkpoint("someone/bert", weights=False) == tmp_path

    def test_hub_out_of_reach(self, monkeypatch):
        hub = pytest.importorskip("huggingface_hub", reason="fetching needs it")

        def fail(name, **options):
            raise hub.errors.LocalEntryNotFoundError("No network.\nMore.")

        monkeypatch.setattr(hub, "snapshot_download", fail)
        text = message(find_checkpoint, "someone/bert", revision="v1")
        assert "someone/bert (revision v1)" in text
        assert "LocalEntryNotFoundError: No network." in text
        assert "path of the local directory" in text

    def test_without_huggingface_hub(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        assert "pip install huggingface_hub" in message(find_checkpoint, "someone/bert")
