"""Parallel files, translation memories, and what is done with their rows."""

import gzip

import pytest

from tfmodels import data
from tfmodels.data.cleaning import clean
from tfmodels.data.parallel import (
    Joined,
    grouped,
    languages_of,
    reversed_pairs,
    with_languages,
)
from tfmodels.errors import InputError

TMX = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header/><body>
<tu><tuv xml:lang="en-US"><seg>A <bpt i="1">&lt;b></bpt>small<ept i="1">&lt;/b></ept> dog &amp;
 a cat</seg></tuv><tuv xml:lang="DE"><seg>Ein kleiner Hund</seg></tuv></tu>
<tu><tuv xml:lang="en-US"><seg>alone</seg></tuv></tu>
<tu><tuv xml:lang="en-US"><seg>two</seg></tuv><tuv xml:lang="DE"><seg>zwei</seg></tuv></tu>
</body></tmx>"""


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def refused(call, *arguments, **options):
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def values(rows, **options):
    return [row for _, row in rows.rows(**options)]


class TestFiles:
    def test_lines_are_pairs(self, tmp_path):
        source = write(tmp_path / "a.en", "one", "", "two words")
        target = tmp_path / "a.de.gz"
        with gzip.open(target, "wt", encoding="utf-8") as file:
            file.write("eins\r\n \r\nzwei Wörter")
        rows = data.open_parallel(source, target)
        assert values(rows) == [("one", "eins"), ("two words", "zwei Wörter")]
        assert sorted(values(rows, seed=3)) == values(rows)
        assert rows.fingerprint() == data.open_parallel(source, target).fingerprint()

    def test_several_references(self, tmp_path):
        files = [write(tmp_path / name, f"{name} 1", f"{name} 2") for name in "abc"]
        assert values(data.open_parallel(*files)) == [
            ("a 1", ("b 1", "c 1")), ("a 2", ("b 2", "c 2")),
        ]  # fmt: skip

    def test_unequal_numbers_of_lines(self, tmp_path):
        long, short = write(tmp_path / "a", *"123"), write(tmp_path / "b", *"12")
        for files in ((long, short), (short, long)):
            text = refused(values, data.open_parallel(*files))
            assert text.startswith(f"{short}:2: ends here") and f"{long} has 3 lines" in text

    def test_an_empty_side(self, tmp_path, capsys):
        full, part = write(tmp_path / "a", *"123"), write(tmp_path / "b", "1", "", "3")
        text = refused(values, data.open_parallel(full, part))
        assert text.startswith(f"{part}:2: the line is empty") and "--missing skip" in text
        assert values(data.open_parallel(full, part, missing="skip")) == [("1", "1"), ("3", "3")]
        assert "1 lines that are empty" in capsys.readouterr().err

    def test_what_is_no_text(self, tmp_path):
        binary = tmp_path / "b"
        binary.write_bytes(b"a\0b\n")
        good = write(tmp_path / "a", "x")
        assert f"{binary}:1: a NUL byte" in refused(values, data.open_parallel(good, binary))
        assert "give two or more" in refused(data.open_parallel, good)
        assert "does not exist" in refused(data.open_parallel, good, tmp_path / "none")
        empty = write(tmp_path / "c")
        assert "the files are empty" in refused(values, data.open_parallel(empty, empty))


class TestTmx:
    def test_units(self, tmp_path, capsys):
        path = write(tmp_path / "memory.tmx", TMX)
        assert values(data.open_tmx(path, "en", "de")) == [
            ("A small dog &  a cat", "Ein kleiner Hund"), ("two", "zwei"),
        ]  # fmt: skip
        assert "1 units without a text" in capsys.readouterr().err
        assert values(data.open_tmx(path, "de", "en-us"))[1] == ("zwei", "two")
        with gzip.open(tmp_path / "m.tmx.gz", "wb") as file:
            file.write(TMX.replace("UTF-8", "UTF-16").encode("utf-16"))
        assert len(values(data.open_tmx(tmp_path / "m.tmx.gz", "en", "de"))) == 2

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('<!DOCTYPE tmx [<!ENTITY a "b">]>\n<tmx/>', "declares the entity 'a'"),
            ('<!DOCTYPE tmx [<!ENTITY a SYSTEM "/etc/hosts">]>\n<tmx/>', "declares the entity"),
            ("<tmx><body><tu>", "no well-formed XML"),
            ("<html/>", "its root is <html>"),
            ('<?xml version="1.0" encoding="gb18030"?><tmx/>', "save it as UTF-8"),
            ('<?xml version="1.0" encoding="none-such"?><tmx/>', "save it as UTF-8"),
            ('<tmx><tu><tuv xml:lang="fr"><seg>a</seg></tuv></tu></tmx>', "languages are fr"),
        ],
    )
    def test_refused(self, tmp_path, text, expected):
        rows = data.open_tmx(write(tmp_path / "memory.tmx", text), "en", "de")
        assert expected in refused(values, rows)


class TestRows:
    @pytest.fixture
    def rows(self, tmp_path):
        lines = ["text\ttranslation\tlanguage", "a\tA\tde", "b\tB\tfr", "a\tAA\tde"]
        path = write(tmp_path / "pairs.tsv", *lines)
        return data.open_table(path, "text", "translation", "language")

    def test_reversed(self, rows):
        assert values(reversed_pairs(rows))[1] == ("B", "b", "fr")

    def test_languages(self, rows, tmp_path):
        named = with_languages(rows)
        assert values(named)[:2] == [(">>de<< a", "A"), (">>fr<< b", "B")]
        assert languages_of(named) == ["de", "fr"] and languages_of(rows) == []
        assert values(with_languages(rows, "nl"))[0] == (">>nl<< a", "A")
        path = write(tmp_path / "bad.tsv", "text\ttranslation\tlanguage", "a\tA\tno way")
        bad = with_languages(data.open_table(path, "text", "translation", "language"))
        assert f"{path}:2: column 'language' has 'no way'" in refused(values, bad)

    def test_grouped(self, rows):
        together = grouped(rows)
        assert values(together) == [("a", ("A", "AA"), "de"), ("b", ("B",), "fr")]
        assert together.several == {"translation"}

    def test_grouped_by_language(self, tmp_path):
        lines = ["text\ttranslation\tlanguage", "a\tA\tde", "a\tB\tfr", "a\tC\tde"]
        rows = data.open_table(write(tmp_path / "p.tsv", *lines), "text", "translation", "language")
        assert values(grouped(rows)) == [("a", ("A", "C"), "de"), ("a", ("B",), "fr")]

    def test_joined(self, rows):
        both = Joined([rows, rows])
        assert both.scan().rows == 6
        assert len({number for number, _ in both.rows(seed=1)}) == 6
        assert sorted(values(both, seed=1)) == sorted(values(rows) * 2)

    def test_the_place_of_a_joined_row(self, rows, tmp_path):
        other = write(tmp_path / "more.tsv", "text\ttranslation\tlanguage", "c\tC\tde")
        more = data.open_table(other, "text", "translation", "language")
        both = Joined([rows, more])
        places = {row.values[0]: both.place(row.line) for row in both.stream(2)}
        assert places["b"] == f"{rows.name}:3" and places["c"] == f"{other}:2"


class TestCleaning:
    def test_counts(self, tmp_path):
        pairs = [(f"a good sentence {n}", f"ein guter Satz {n}") for n in range(20)]
        pairs += [pairs[0], ("the same", "The Same"), ("short", "nicht kurz " * 20),
                  ("a sentence", "предложение")]  # fmt: skip
        sides = zip(*pairs, strict=True)
        files = [write(tmp_path / str(n), *side) for n, side in enumerate(sides)]
        cleaned = clean(data.open_parallel(*files))
        assert cleaned.counts == {
            "duplicates": 1, "identical sides": 1, "length ratio": 1, "script": 1,
        }  # fmt: skip
        assert values(cleaned.rows) == pairs[:20]
        assert "left out 4 pairs: duplicates 1" in str(cleaned)

    def test_lengths_of_other_languages(self, tmp_path):
        """Chinese is a third as long, always, and Japanese has scripts of its own."""
        files = [write(tmp_path / "zh", *(f"这是第{n}个句子" for n in "一二三四")),
                 write(tmp_path / "en", *(f"this is sentence number {n} here" for n in "1234")),
                 write(tmp_path / "ja", *(f"これは{n}番目です" for n in "一二三四"))]  # fmt: skip
        assert not sum(clean(data.open_parallel(*files[:2])).counts.values())
        assert not sum(clean(data.open_parallel(*files[1:])).counts.values())

    def test_the_language_in_front_is_no_text(self, tmp_path):
        """It is the same in every row: neither letters of a script nor a difference."""
        pairs = [(f"第{n}个句子", f"sentence number {n}") for n in "一二三四五六"]
        pairs += [("你好", "hello"), ("OK then", "ok then")]
        files = [write(tmp_path / str(n), *side) for n, side in enumerate(zip(*pairs, strict=True))]
        rows = with_languages(data.open_parallel(*files), "eng_Latn")
        cleaned = clean(rows)
        assert cleaned.counts == {
            "duplicates": 0, "identical sides": 1, "length ratio": 0, "script": 0,
        }  # fmt: skip
        assert values(cleaned.rows)[-1] == (">>eng_Latn<< 你好", "hello")

    def test_each_language_has_its_script(self, tmp_path):
        german = [(f">>de<< a good sentence {n}", f"ein guter Satz {n}") for n in range(12)]
        chinese = [(f">>zh<< a good sentence {n}", f"第{n}个很好的句子") for n in range(10)]
        russian = [(f">>de<< хорошее предложение {n}", f"ein Satz {n}") for n in range(4)]
        wrong = [(">>zh<< a sentence", "предложение")]
        pairs = [*german, *chinese, *russian, *wrong]
        files = [write(tmp_path / str(n), *side) for n, side in enumerate(zip(*pairs, strict=True))]
        cleaned = clean(data.open_parallel(*files))
        assert values(cleaned.rows) == pairs[:-1] and cleaned.counts["script"] == 1

    def test_refused(self, tmp_path):
        file = write(tmp_path / "a", "same text", "another text")
        assert "cleaning leaves no pair of 2" in refused(clean, data.open_parallel(file, file))
        assert "give 1 or more" in refused(clean, data.open_parallel(file, file), 0.5)
