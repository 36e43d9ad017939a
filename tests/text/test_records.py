"""Records: written by processes, interrupted, on a full disk; read back, or refused."""

import json
import os
import resource
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tfmodels.data.documents import TextFiles
from tfmodels.errors import InputError
from tfmodels.models.workers import rows_of_worker
from tfmodels.text.examples import ExampleSettings
from tfmodels.text.pretraining import training_batches
from tfmodels.text.records import (
    read_summary,
    read_tokenizer,
    record_passes,
    vocabulary_fingerprint,
    write_records,
)
from tfmodels.text.wordpiece import SPECIAL_TOKENS, WordPieceTokenizer

WORDS = [f"w{i}" for i in range(300)]
TOKENIZER = WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS, "."])
SETTINGS = ExampleSettings(max_length=32)
OPTIONS = {"shards": 4, "processes": 1, "held_out": 0.2}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("text") / "text.tsv"
    rows = [
        " ".join(
            " ".join(rng.choice(WORDS, rng.integers(1, 12))) + "."
            for _ in range(rng.integers(1, 7))
        )
        for _ in range(400)
    ]
    path.write_text("text\n" + "\n".join(rows) + "\n")
    return TextFiles(str(path))


@pytest.fixture(scope="module")
def written(text, tmp_path_factory):
    directory = tmp_path_factory.mktemp("records") / "whole"
    write_records(text, TOKENIZER, directory, SETTINGS, **OPTIONS)
    return directory


@pytest.fixture
def copy(written, tmp_path):
    return shutil.copytree(written, tmp_path / "copy")


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def rewrite(directory, **changes):
    """Change `records.json`."""
    path = directory / "records.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


class Interrupted(TextFiles):
    """The user interrupts in the middle of the text."""

    def documents(self):
        for number, sentences in super().documents():
            if number == 200:
                raise KeyboardInterrupt
            yield number, sentences


class Killed(TextFiles):
    """The process that reads the text is killed."""

    def documents(self):
        os._exit(9)


def test_a_directory_of_records_is_self_contained(written, text):
    assert sorted(contents(written)) == [
        "records.json",
        *(f"train-0000{i}-of-00004.tfrecord.gz" for i in range(4)),
        "validation-00000-of-00001.tfrecord.gz",
        "vocab.txt",
    ]
    summary = json.loads((written / "records.json").read_text())
    assert summary["texts"] == text.fingerprint()
    assert ExampleSettings(**summary["settings"]) == SETTINGS
    tokenizer = read_tokenizer(written)
    assert vocabulary_fingerprint(tokenizer) == vocabulary_fingerprint(TOKENIZER)
    documents = 0
    for split, counts in summary["splits"].items():
        strings = list(record_passes(written, tokenizer, split=split)(0))
        assert len(strings) == counts["examples"] == sum(s["examples"] for s in counts["shards"])
        documents += counts["documents"]
    assert documents == 400


def test_the_same_records_are_not_written_again(copy, text):
    def files():
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in copy.iterdir()}

    before = files()
    summary = write_records(text, TOKENIZER, copy, SETTINGS, **OPTIONS)
    assert summary == read_summary(copy) and files() == before


def test_an_interrupt_leaves_nothing(text, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_records(Interrupted(text.files), TOKENIZER, tmp_path / "out", SETTINGS, **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_directories_of_version_0_1(copy, text):
    rewrite(copy, complete=True)
    assert record_passes(copy, TOKENIZER) and write_records(
        text, TOKENIZER, copy, SETTINGS, **OPTIONS
    )
    rewrite(copy, complete=False)
    for use in (
        lambda: record_passes(copy, TOKENIZER),
        lambda: write_records(text, TOKENIZER, copy, SETTINGS, **OPTIONS),
    ):
        with pytest.raises(InputError, match="not finished; remove the directory"):
            use()


def test_processes_write_the_same(written, text, tmp_path):
    directory = tmp_path / "two"
    write_records(text, TOKENIZER, directory, SETTINGS, **OPTIONS | {"processes": 2})
    assert contents(directory) == contents(written)


def test_a_killed_process(text, tmp_path):
    with pytest.raises(InputError, match="out: a process that wrote records was killed"):
        write_records(Killed(text.files), TOKENIZER, tmp_path / "out", SETTINGS, shards=2)
    assert not list(tmp_path.iterdir())


def test_full_disk(text, tmp_path):
    """A limit on the size of files stands for the disk: writes of both processes fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with pytest.raises(InputError, match="full: cannot be written.*free space there"):
            write_records(text, TOKENIZER, tmp_path / "full", SETTINGS, shards=2, processes=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"settings": ExampleSettings(max_length=64)}, "made with max_length 32, now 64"),
        ({"shards": 5}, "made with shards 4, now 5"),
        ({"tokenizer": WordPieceTokenizer([*SPECIAL_TOKENS, "a"])}, "made with vocabulary"),
        ({"texts": None}, "made with texts"),
    ],
)
def test_other_settings_vocabulary_or_texts_are_refused(copy, text, tmp_path, change, problem):
    other = tmp_path / "other.txt"
    other.write_text("w1 w2.\n\nw3.\n")
    arguments = {
        "texts": text, "tokenizer": TOKENIZER, "directory": copy, "settings": SETTINGS
    }  # fmt: skip
    if "texts" in change:
        change = {"texts": TextFiles(str(other))}
    with pytest.raises(InputError, match=f"{problem}.*give another directory"):
        write_records(**arguments | OPTIONS | change)


def test_another_vocabulary_is_refused_with_both_fingerprints(written):
    other = WordPieceTokenizer([*SPECIAL_TOKENS, "a"])
    before, now = vocabulary_fingerprint(TOKENIZER), vocabulary_fingerprint(other)
    with pytest.raises(InputError, match=f"vocabulary {before}, and the tokenizer has {now}"):
        record_passes(written, other)
    cased = WordPieceTokenizer(TOKENIZER.vocabulary, lowercase=False)
    with pytest.raises(InputError, match="made with the vocabulary"):
        record_passes(written, cased)


def test_damaged_records(copy):
    path = copy / "train-00001-of-00004.tfrecord.gz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="train-00001-of-00004.tfrecord.gz: missing or damaged"):
        record_passes(copy, TOKENIZER)
    path.write_bytes(data[:-5])
    with pytest.raises(InputError, match="damaged"):
        record_passes(copy, TOKENIZER)
    path.unlink()
    with pytest.raises(InputError, match="missing or damaged; remove the directory"):
        record_passes(copy, TOKENIZER)


def test_directories_that_hold_no_records(written, text, tmp_path):
    with pytest.raises(InputError, match="holds no records.json"):
        read_summary(tmp_path)
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match="already exists; give another directory"):
        write_records(text, TOKENIZER, tmp_path, SETTINGS, **OPTIONS)
    with pytest.raises(InputError, match="no split 'test', only train, validation"):
        record_passes(written, TOKENIZER, split="test")


def test_order_of_passes(written):
    def order(seed, pass_number):
        return [s.numpy() for s in record_passes(written, TOKENIZER, seed=seed)(pass_number)]

    plain = order(None, 0)
    assert order(None, 1) == plain
    assert order(1, 0) == order(1, 0) != plain
    assert order(1, 1) != order(1, 0) != order(2, 0)
    assert sorted(order(1, 1)) == sorted(plain)


@pytest.mark.parametrize("drop_remainder", [True, False])
def test_resumed_batches_equal_those_of_the_uninterrupted_run(written, drop_remainder):
    one_pass = record_passes(written, TOKENIZER, seed=5)

    def batches(start):
        dataset = training_batches(
            one_pass, TOKENIZER, 32, SETTINGS, passes=3, start=start, drop_remainder=drop_remainder
        )
        batches = list(dataset.as_numpy_iterator())
        assert len(batches) == int(dataset.cardinality())
        return batches

    whole = batches(0)
    for start in (1, len(whole) // 2, len(whole) - 1):
        resumed = batches(start)
        assert len(resumed) == len(whole) - start
        for a, b in zip(resumed, whole[start:], strict=True):
            tf.nest.map_structure(np.testing.assert_array_equal, a, b)
    endless = training_batches(one_pass, TOKENIZER, 32, SETTINGS, start=len(whole) + 5)
    assert len(list(endless.take(3))) == 3


@pytest.mark.parametrize(("workers", "replicas"), [(2, 2), (3, 3), (2, 4)])
def test_workers_parse_their_own_rows(written, workers, replicas, monkeypatch):
    """Together they have the batches of one process, from any step on, and none parses others'."""
    parsed, parse = [], tf.io.parse_example
    one_pass = record_passes(written, TOKENIZER, seed=3)
    options = {"seed": 1, "start": 5, "passes": 2}
    whole = list(training_batches(one_pass, TOKENIZER, 8, SETTINGS, **options).take(20))

    def counted(strings, features):
        tf.numpy_function(lambda n: parsed.append(int(n)) or n, [tf.size(strings)], tf.int32)
        return parse(strings, features)

    monkeypatch.setattr(tf.io, "parse_example", counted)
    each = replicas // workers
    for worker in range(workers):
        parsed.clear()
        context = tf.distribute.InputContext(workers, worker, replicas)
        batches = training_batches(one_pass, TOKENIZER, 8, SETTINGS, **options)
        found = list(rows_of_worker(batches, context).take(20 * each))
        assert parsed and max(parsed) <= -(-8 // replicas)
        for step, (inputs, labels) in enumerate(whole):
            for number, part in enumerate(found[step * each : (step + 1) * each]):
                replica = worker + number * workers
                rows = slice(8 * replica // replicas, 8 * (replica + 1) // replicas)
                for values, ours in ((inputs, part[0]), (labels, part[1])):
                    for name, value in values.items():
                        np.testing.assert_array_equal(ours[name], value[rows], err_msg=name)
