"""The small reference checkpoints, and copies of them that a test may change."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL, OTHER = GOLDEN / "bert_2x32", GOLDEN / "bert_3x48"
PRETRAINING = GOLDEN / "bert_pretraining"


class Checkpoint:
    """A copy of a reference checkpoint.

    Attributes:
        directory: its `Path`.
        tensors: dict of its tensors, as `transformers` wrote them.
    """

    def __init__(self, source, directory):
        shutil.copytree(source, directory)
        self.directory = directory
        self.tensors = load_file(directory / "model.safetensors")

    def write(self, tensors, name="model.safetensors"):
        save_file(tensors, self.directory / name)

    def set_config(self, **fields):
        """Writes `fields` into config.json; those that are `None` are taken out."""
        path = self.directory / "config.json"
        config = {**json.loads(path.read_text()), **fields}
        path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))

    def write_shards(self):
        """Moves the tensors into two files and an index; returns the index."""
        (self.directory / "model.safetensors").unlink()
        names = sorted(self.tensors)
        files = {f"model-0000{n}-of-00002.safetensors": names[n - 1 :: 2] for n in (1, 2)}
        for file, held in files.items():
            self.write({name: self.tensors[name] for name in held}, file)
        weight_map = {name: file for file, held in files.items() for name in held}
        self.write_index({"weight_map": weight_map})
        return weight_map

    def write_index(self, content):
        (self.directory / "model.safetensors.index.json").write_text(json.dumps(content))


@pytest.fixture
def checkpoint(tmp_path):
    return Checkpoint(SMALL, tmp_path / "checkpoint")


@pytest.fixture
def pretraining(tmp_path):
    return Checkpoint(PRETRAINING, tmp_path / "pretraining")


@pytest.fixture
def parity():
    """The module `benchmarks.parity`, where PyTorch is."""
    reason = "compares with PyTorch transformers; install torch and transformers"
    pytest.importorskip("torch", reason=reason)
    pytest.importorskip("transformers", reason=reason)
    from benchmarks import parity

    return parity
