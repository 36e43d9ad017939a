"""Rows of TensorFlow Datasets, of files that its own writer wrote."""

import shutil
import sys

import pytest

from tests.data.written import write_prepared
from tfmodels.data import rows as rows_module
from tfmodels.data import tfds
from tfmodels.data.tables import open_source
from tfmodels.errors import InputError

SST2 = ("sentence", "label")


def read(spec, columns):
    return [values for _, values in open_source(spec, columns).rows()]


@pytest.fixture(scope="module")
def written_set(tmp_path_factory):
    rows = [{"idx": i, "sentence": f"é {i}", "label": i * 2 // 100} for i in range(100)]
    splits = {"train": rows, "test": [{**rows[0], "label": -1}]}
    return write_prepared("glue/sst2", tmp_path_factory.mktemp("tfds"), splits)


@pytest.fixture
def prepared(written_set, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(written_set))
    return written_set


@pytest.mark.parametrize(
    ("name", "columns", "others"),
    [
        ("imdb_reviews", ("text", "label"), ()),
        ("aeslc", ("email_body", "subject_line"), ()),
        ("cnn_dailymail", ("article", "highlights"), ("id", "publisher")),
        ("samsum", ("dialogue", "summary"), ("id",)),
        ("xsum", ("document", "summary"), ()),
        ("wmt16_translate/de-en", ("en", "de"), ()),
        ("ted_hrlr_translate/pt_to_en", ("pt", "en"), ()),
    ],
)
def test_sets_that_the_applications_name(tmp_path, monkeypatch, name, columns, others):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    labels = (
        ["neg", "pos"] * 25 if columns[1] == "label" else [f"two\nlines {i}" for i in range(50)]
    )
    pairs = [(f"A: é {i}\r\nB: yes", label) for i, label in enumerate(labels)]
    rows = [dict.fromkeys(others, "x") | dict(zip(columns, pair, strict=True)) for pair in pairs]
    split = "test" if name == "imdb_reviews" else "validation"
    write_prepared(name, tmp_path, {"train": rows, split: rows[:3]})
    assert read(f"tfds:{name}", columns) == pairs
    assert open_source(f"tfds:{name}:{split}", columns).scan().rows == 3


def test_rows_in_every_order(prepared, monkeypatch):
    monkeypatch.setattr(rows_module, "_BUFFER_ROWS", 20)
    monkeypatch.setattr(tfds, "_BLOCK_ROWS", 8)
    source = open_source("tfds:glue/sst2", SST2)
    rows = list(source.rows())
    names = ["negative", "positive"]
    assert rows == [(i, (f"é {i}", names[i * 2 // 100])) for i in range(100)]
    shuffled = list(source.rows(seed=1))
    assert shuffled != rows and sorted(shuffled) == rows
    assert shuffled == list(source.rows(seed=1)) != list(source.rows(seed=2))
    scan = source.scan("label", 0.1)
    assert scan.label_counts == {"negative": 50, "positive": 50} and len(scan.held_out) == 10


def test_splits_versions_and_numbers(prepared):
    assert read("tfds:glue/sst2:train[10:12]", ["idx"]) == [("10",), ("11",)]
    assert read("tfds:glue/sst2:2.0.0:train[:1%]+train[99:]", ["idx"]) == [("0",), ("99",)]
    source = open_source("tfds:glue/sst2:train[95:]+train[:5]", ["idx"])
    assert sorted(source.rows(seed=1)) == list(source.rows())
    other = open_source("tfds:glue/sst2:train[94:]+train[:5]", ["idx"])
    assert source.fingerprint() != other.fingerprint()


@pytest.mark.parametrize(
    ("spec", "columns", "problem"),
    [
        ("tfds:glue/sst2", ("text", "label"), "no column named 'text'; the columns are ['idx', "),
        ("tfds:glue/sst2:dev", SST2, "invalid split 'dev'; give one of ['train', "),
        ("tfds:glue/sst2:train[5:5]", SST2, "has no rows"),
        ("tfds:glue/sst2:test", SST2, "row 0: -1 in column 'label' is not one of the 2 labels"),
        ("tfds:no_such_set", SST2, "unknown to TensorFlow Datasets"),
        ("tfds:glue/nope", SST2, "unknown to TensorFlow Datasets"),
        ("tfds:", SST2, "write tfds:NAME"),
    ],
)
def test_mistakes(prepared, spec, columns, problem):
    with pytest.raises(InputError) as caught:
        open_source(spec, columns).scan()
    message = str(caught.value)
    assert problem in message and "\n" not in message and message.startswith(spec)


def test_set_that_cannot_be_prepared(tmp_path, monkeypatch):
    tensorflow_datasets = pytest.importorskip("tensorflow_datasets")

    def offline(self, **kwargs):
        raise ConnectionError("no route\nto host")

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(tensorflow_datasets.core.DatasetBuilder, "download_and_prepare", offline)
    with pytest.raises(InputError, match=r"ConnectionError: no route\).*`tfds build glue/sst2 --"):
        open_source("tfds:glue/sst2", SST2)


def test_damaged_shard(prepared, tmp_path, monkeypatch):
    folder = shutil.copytree(prepared, tmp_path / "copy")
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    (shard,) = folder.rglob("*train.tfrecord-00001")
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"^tfds:glue/sst2 row \d+: cannot be read \(.*again$"):
        open_source("tfds:glue/sst2", SST2).scan()


def test_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match="pip install tensorflow-datasets"):
        open_source("tfds:glue/sst2", SST2)
