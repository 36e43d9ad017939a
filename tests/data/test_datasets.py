"""Rows to `tf.data`, texts to answer, and mistakes in the data on their way to the caller."""

import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tests.data.written import write
from tfmodels.data import datasets
from tfmodels.data.datasets import chunk_dataset, source_errors, text_chunks
from tfmodels.data.memory import MemorySource
from tfmodels.data.tables import open_source
from tfmodels.errors import InputError


def source_of(rows):
    texts = [f"text {i}" for i in range(rows)]
    return MemorySource({"text": texts, "label": [text[5:] for text in texts]})


def texts_of(dataset):
    return [text.decode() for chunk in dataset.as_numpy_iterator() for text in chunk[0].tolist()]


def test_chunks_have_the_shape_and_types_promised():
    dataset = chunk_dataset(
        source_of(600), lambda row: (row.values[0], row.number), (tf.string, tf.int32)
    )
    assert [spec.dtype for spec in dataset.element_spec] == [tf.string, tf.int32]
    assert [spec.shape.as_list() for spec in dataset.element_spec] == [[None], [None]]
    chunks = list(dataset.as_numpy_iterator())
    assert [len(texts) for texts, _ in chunks] == [256, 256, 88]
    rows = [row for chunk in chunks for row in zip(*chunk, strict=True)]
    assert rows == [(f"text {i}".encode(), i) for i in range(600)]


def test_every_pass_has_its_own_order_and_every_run_the_same():
    runs = []
    for _ in range(2):
        dataset = chunk_dataset(source_of(300), seed=7)
        runs.append([texts_of(dataset), texts_of(dataset)])
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[0][1]
    assert sorted(runs[0][0]) == sorted(runs[0][1]) == sorted(f"text {i}" for i in range(300))


def test_chunks_of_long_texts_are_short(monkeypatch):
    monkeypatch.setattr(datasets, "_CHUNK_CHARACTERS", 20)
    chunks = chunk_dataset(source_of(10)).as_numpy_iterator()
    assert [len(texts) for texts, _ in chunks] == [3, 3, 3, 1]


def test_a_mistake_reaches_the_caller_of_fit(tmp_path):
    import keras

    source = open_source(write(tmp_path / "a.tsv", "x\ty\n1\t2\n3\n"), ["x", "y"])
    dataset = chunk_dataset(source, lambda row: tuple(map(float, row.values)), (tf.float32,) * 2)
    dataset = dataset.map(lambda x, y: (x[:, None], y)).prefetch(2)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    message = r"a\.tsv:3: 1 columns where the header has 2"
    with pytest.raises(InputError, match=message), source_errors(source):
        model.fit(dataset, verbose=0)


def test_source_errors_leaves_other_errors_alone():
    source = source_of(2)
    with pytest.raises(KeyError), source_errors(source):
        source.failure = InputError("late")
        raise KeyError("mine")
    with source_errors(source):
        assert texts_of(chunk_dataset(source)) == ["text 0", "text 1"]
    assert source.failure is None


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.txt", "one\r\ntwo\n\nthree", [["one", "two", "", "three"]]),
        ("a.tsv", "id\ttext\n1\tone\n2\ttwo\n", [["one", "two"]]),
    ],
)
def test_texts_of_a_file(tmp_path, name, content, found):
    assert list(text_chunks([], write(tmp_path / name, content), "text")) == found
    assert list(text_chunks(["a", "b"], None, "text")) == [["a", "b"]]


@pytest.mark.parametrize(
    ("texts", "name", "content", "message"),
    [
        ([], "a.txt", "", r"a\.txt: the file is empty"),
        ([], "a.tsv", "", r"a\.tsv: the file is empty"),
        ([], "a.txt", b"ok\n\xff\n", r"a\.txt:2: byte 1 of the line is not UTF-8"),
        ([], "none.txt", None, r"none\.txt: does not exist; give a file with one text per line"),
        (["ok", "a\udcff"], "a.txt", None, r"text 2: character 2 is not UTF-8"),
    ],
)
def test_no_texts_to_answer(tmp_path, texts, name, content, message):
    path = str(tmp_path / name) if content is None else write(tmp_path / name, content)
    with pytest.raises(InputError, match=message):
        list(text_chunks(texts, path, "text"))


def test_streaming_benchmark_watches_a_command():
    script = str(Path(__file__).parents[2] / "benchmarks" / "streaming.py")
    hungry = "held = bytearray(b'x') * 300_000_000"

    def status(limit_gb, code):
        command = [sys.executable, script, "--limit_gb", limit_gb, "--command", sys.executable]
        return subprocess.run([*command, "-c", code], capture_output=True).returncode

    assert status("1", hungry) == 0
    assert status("0.2", hungry) == 1
    assert status("1", "raise SystemExit(7)") == 7
