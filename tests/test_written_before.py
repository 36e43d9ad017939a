"""Model directories and exported versions that version 0.1 wrote answer as they did then.

`golden/make_written.py` made them.
"""

import json
import tarfile
from pathlib import Path

import pytest
import tensorflow as tf

from tests.applications.verbs import printed

WRITTEN = sorted((Path(__file__).parent / "golden" / "written_0_1").iterdir())


@pytest.fixture(params=WRITTEN, ids=lambda path: path.name)
def kind(request):
    """Directory of one kind, and the answers of its model."""
    return request.param, json.loads((request.param / "answers.json").read_text("utf-8"))


def numbers_alike(value):
    """The value with its numbers made comparable to those of another machine."""
    if isinstance(value, dict):
        return {key: numbers_alike(part) for key, part in value.items()}
    if isinstance(value, list):
        return [numbers_alike(part) for part in value]
    return pytest.approx(value, abs=2e-4) if isinstance(value, float) else value


def test_a_model_directory(kind, capsys):
    directory, answers = kind
    flags = ["--model_dir", directory / "model", "--precision", "float32", *answers["flags"]]
    found = printed(capsys, answers["kind"], "predict", *answers["texts"], *flags)
    assert found == numbers_alike(answers["predict"])


def test_an_exported_version(kind, tmp_path, capsys):
    directory, answers = kind
    with tarfile.open(directory / "1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    (checked,) = printed(capsys, "check", tmp_path / "1")
    (key,) = checked["signatures"]["serving_default"]["inputs"]
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    outputs = loaded.signatures["serving_default"](**{key: tf.constant(answers["texts"])})
    found = {name: strings(value.numpy().tolist()) for name, value in outputs.items()}
    assert found == numbers_alike(answers["served"])


def strings(value):
    """Lists with bytes as strings."""
    if isinstance(value, list):
        return [strings(part) for part in value]
    return value.decode() if isinstance(value, bytes) else value
