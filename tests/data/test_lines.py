"""Encodings and line ends, in every kind of text file."""

import io
import sys

import pytest

from tests.data.written import write
from tfmodels import data
from tfmodels.data import lines
from tfmodels.data.datasets import text_chunks
from tfmodels.errors import InputError

TABLE = "text\tlabel\n很好 ā\t1\nĊ\t0\n"  # with a byte of a line feed in a character of UTF-16
ROWS = [("很好 ā", "1"), ("Ċ", "0")]
ENCODINGS = {
    "utf-8-sig": None, "utf-16": None, "utf-32": None, "utf-16-le": "utf-16-le",
    "utf-16-be": "UTF_16BE", "gb18030": "GB18030",
}  # fmt: skip


def encoded(content, encoding, end="\n"):
    return content.replace("\n", end).encode(encoding)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_kind_of_file(tmp_path, monkeypatch, encoding, packed, end):
    monkeypatch.setattr(lines, "_READ_BYTES", 64)
    given = ENCODINGS[encoding]
    path = write(tmp_path / f"a.tsv{packed}", encoded(TABLE, encoding, end))
    table = data.open_table(path, encoding=given)
    assert [row for _, row in table.rows()] == ROWS
    assert sorted(row for _, row in table.rows(seed=1)) == sorted(ROWS)
    path = write(tmp_path / f"a.txt{packed}", encoded("很好。\n\nĊ b\n", encoding, end))
    assert [text for _, text in data.open_texts(path, encoding=given).documents()] == [
        ["很好。"], ["Ċ b"]
    ]  # fmt: skip
    assert list(text_chunks([], path, "text", given)) == [["很好。", "", "Ċ b"]]
    path = write(tmp_path / f"a.conll{packed}", encoded("很 B-X\n好 O\n\nĊ O\n", encoding, end))
    found = [row for _, row in data.open_entities(path, encoding=given).rows()]
    assert found == [("很好", (("X", 0, 1),)), ("Ċ", ())]


@pytest.mark.parametrize(
    ("text", "encoding"), [("这部电影很好看", "gb18030"), ("a naïve café", "cp1252")]
)
@pytest.mark.parametrize("kind", ["tsv", "txt"])
def test_the_remedy_for_another_encoding(tmp_path, text, encoding, kind):
    path = write(tmp_path / f"a.{kind}", f"text\n{text}\n".encode(encoding))

    def texts(**options):
        if kind == "tsv":
            return [text for _, (text,) in data.open_table(path, "text", **options).rows()]
        return [text for _, text, _ in data.open_texts(path, **options).passages()]

    message = rf"a\.{kind}:2: .*not UTF-8; as {encoding} it reads '{text}': give --encoding"
    with pytest.raises(InputError, match=f"{message} {encoding} "):
        texts()
    assert text in texts(encoding=encoding)[0]
    with pytest.raises(InputError, match="not ASCII; .*give another --encoding"):
        texts(encoding="ascii")


def test_damaged_utf16_is_refused_in_its_line(tmp_path):
    whole = encoded("text\na\nb\nc\n", "utf-16-le")
    for content in (whole[:12] + b"\x00\xd8" + whole[14:], whole[:-1]):
        path = write(tmp_path / "a.tsv", b"\xff\xfe" + content)
        with pytest.raises(InputError, match=r"a\.tsv:\d: "):
            list(data.open_table(path, "text").rows())


@pytest.mark.parametrize("name", ["utf8x", "rot13", "undefined", "base64"])
def test_unknown_encodings(tmp_path, name):
    with pytest.raises(InputError, match=f"encoding {name}: unknown; give one such as utf-8"):
        data.open_table(write(tmp_path / "a.tsv", TABLE), encoding=name)
    with pytest.raises(InputError, match="unknown"):
        data.open_texts(write(tmp_path / "a.txt", "a"), encoding=name)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_standard_input(monkeypatch, encoding):
    stream = io.TextIOWrapper(io.BytesIO("很好\nb".encode(encoding)))
    monkeypatch.setattr(sys, "stdin", stream)
    assert list(text_chunks([], None, "text", ENCODINGS.get(encoding))) == [["很好"], ["b"]]
