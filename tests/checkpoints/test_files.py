"""The directory of a checkpoint, and every way its weight files can be unusable."""

import sys

import ml_dtypes
import numpy as np
import pytest

from tests.checkpoints.conftest import SMALL, message
from tfmodels.checkpoints.files import TensorFiles, find_checkpoint, write_tensors


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


def test_pickled_weights_are_refused(checkpoint):
    path = checkpoint.directory / "model.safetensors"
    path.rename(path.with_name("pytorch_model.bin"))
    text = message(TensorFiles, checkpoint.directory)
    assert "has pytorch_model.bin but no model.safetensors; convert it first" in text


def test_no_weights(tmp_path):
    assert "has no model.safetensors" in message(TensorFiles, tmp_path)


class TestFindCheckpoint:
    def test_directory(self):
        assert find_checkpoint(str(SMALL)) == SMALL
        assert "has no revision" in message(find_checkpoint, SMALL, revision="main")

    @pytest.mark.parametrize(
        "source", ["/no/where", "./nowhere", "a/b/c", "../x", SMALL / "config.json"]
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
