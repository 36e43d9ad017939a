"""Text files to documents of sentences."""

import gzip
import pickle
import time
import tracemalloc

import pytest

from tests.data.written import write
from tfmodels.data.documents import TextFiles, as_texts
from tfmodels.errors import InputError
from tfmodels.text.sentences import split_sentences


def read(files, **options):
    return list(TextFiles(files, **options).documents())


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ('He said "Go." She went.', ['He said "Go."', "She went."]),
        ("Pi is 3.14, see a.b.c now", ["Pi is 3.14, see a.b.c now"]),
        ("Wait... what?! (Yes.) No", ["Wait...", "what?!", "(Yes.)", "No"]),
        ("今天很好。我们走吧！“好的。”他说", ["今天很好。", "我们走吧！", "“好的。”", "他说"]),
        ("真的吗？！是的。 对", ["真的吗？！", "是的。", "对"]),
        (
            "误差为3.5%.结果很好!见图(1).方法A.B有效",
            ["误差为3.5%.", "结果很好!", "见图(1).", "方法A.B有效"],
        ),
        ("  padded.  ", ["padded."]),
        ("", []),
        (" \t ", []),
    ],
)
def test_sentences(line, sentences):
    assert split_sentences(line) == sentences


@pytest.mark.parametrize("text", ["." * 300_000, "。" * 300_000, '."' * 150_000, ". " * 150_000])
def test_sentences_in_linear_time_and_nothing_lost(text):
    start = time.perf_counter()
    found = split_sentences(text)
    assert time.perf_counter() - start < 5
    assert "".join(found) == text.replace(" ", "")


def test_documents_of_text_files(tmp_path):
    write(tmp_path / "b.txt", "\ufeffOne. Two.\nThree\r\n\r\n \n\nFour\n\n")
    write(tmp_path / "a.txt.gz", "Zero\n\n\n")
    write(tmp_path / "c.log", "\n \n")
    write(tmp_path / "d", "Last line")
    files = TextFiles([str(tmp_path / "*.*"), tmp_path / "d"])
    expected = [*enumerate([["Zero"], ["One.", "Two.", "Three"], ["Four"], ["Last line"]])]
    assert list(files.documents()) == expected
    assert list(pickle.loads(pickle.dumps(files)).documents()) == expected


def test_rows_are_documents(tmp_path):
    write(tmp_path / "a.tsv", "id\treview\n1\tGood. Great.\n2\t \n3\tBad.\n")
    write(tmp_path / "b.jsonl.gz", '{"review": "Two\\nlines. Here"}\n')
    files = [str(tmp_path / "a.tsv"), str(tmp_path / "b.jsonl.gz")]
    texts = TextFiles(files, text_column="review")
    sentences = [["Good.", "Great."], ["Bad."], ["Two", "lines.", "Here"]]
    assert list(texts.documents()) == [*enumerate(sentences)]
    whole = ["Good. Great.", "Bad.", "Two\nlines. Here"]
    assert list(texts.passages()) == [(n, text, True) for n, text in enumerate(whole)]
    with pytest.raises(InputError, match="no column named 'text'"):
        TextFiles(files)


def test_line_of_50_megabytes(tmp_path):
    words = b"This sentence goes on and on. " * 20 + b"anunbrokenrunofletters" * 2000 + b" "
    data = words * (50_000_000 // len(words)) + "¿ä。".encode()
    path = write(tmp_path / "long.txt", data)
    tracemalloc.start()
    start = time.perf_counter()
    total, documents, longest, most = 0, 0, 0, 0
    for _, sentences in TextFiles(path).documents():
        documents += 1
        total += sum(len(s.replace(" ", "")) for s in sentences)
        longest = max(longest, *map(len, sentences))
        most = max(most, sum(map(len, sentences)))
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == len(data.decode().replace(" ", ""))
    assert longest <= 10_000 and most <= 1_000_000 and documents >= 50
    assert peak < 20_000_000 and seconds < 20


def test_pieces_of_a_line_change_nothing(tmp_path, monkeypatch):
    """Wherever a line is cut for reading: in a character, between a mark and its quote, a blank."""
    line = "Ünï cödé. “Quoted.”  Then 3.14! 今天“好。”走吧？对。 end"
    path = write(tmp_path / "a.txt", f"{line}\n\n{line}\n")
    whole = read(path)
    assert whole == [(0, split_sentences(line)), (1, split_sentences(line))]
    for size in range(1, 40):
        monkeypatch.setattr("tfmodels.data.documents._PIECE", size)
        assert read(path) == whole


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"fine\nna\xefve\n", "bad.txt:2: not UTF-8"),
        (b"fine\n\nbin\0ary\n", "bad.txt:3: a NUL byte"),
        (b"fine\nhalf \xe4\xbb", "bad.txt:2: not UTF-8"),
        (b"", "bad.txt: no text"),
        (b"\n \n\t\n", "bad.txt: no text"),
    ],
)
@pytest.mark.parametrize("way", [TextFiles.documents, TextFiles.passages])
def test_files_that_are_no_text(tmp_path, content, problem, way):
    path = write(tmp_path / "bad.txt", content)
    with pytest.raises(InputError, match=problem):
        list(way(TextFiles(path)))


def test_damaged_gzip(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"some text\n" * 1000)[:-20])
    with pytest.raises(InputError, match=r"a.txt.gz:\d+: cannot be read.*file is complete"):
        read(str(path))


def test_names_without_files(tmp_path):
    for name, problem in [("missing.txt", "no such file"), ("*.nothing", "no such file"),
                          ("", "is a directory")]:  # fmt: skip
        with pytest.raises(InputError, match=problem):
            TextFiles([str(tmp_path / name)])
    with pytest.raises(InputError, match="no text files given"):
        TextFiles([])


def test_fingerprint(tmp_path):
    path = tmp_path / "a.txt"
    write(path, "Some text\n")
    first = TextFiles(str(path)).fingerprint()
    assert first.startswith("1 file, 10 bytes, sha256 ")
    (tmp_path / "moved").mkdir()
    moved = write(tmp_path / "moved" / "a.txt", "Some text\n")
    assert TextFiles(moved).fingerprint() == first
    write(path, "Some test\n")
    assert TextFiles(str(path)).fingerprint() != first
    assert TextFiles([moved, str(path)]).fingerprint().startswith("2 files, 20 bytes")


class TestPassages:
    def test_all_of_the_text(self, tmp_path):
        text = "".join(f"line {i}\n{'  ' if i % 7 else ''}\n" for i in range(30_000))
        one = write(tmp_path / "a.txt", "\ufeff" + text)
        two = write(tmp_path / "b.txt.gz", "short")
        write(tmp_path / "empty.txt", " \n")
        found = list(TextFiles([one, two, str(tmp_path / "empty.txt")]).passages())
        assert [number for number, _, _ in found] == [*range(len(found))]
        assert "".join(text for _, text, _ in found[:-1]) == text
        assert found[-1][1:] == ("short", True)
        assert [ends for _, _, ends in found[:-1]] == [False] * (len(found) - 2) + [True]
        assert max(len(text) for _, text, _ in found) <= 120_000

    @pytest.mark.parametrize("line", ["to be or\n", " = not = \n \n", "x\n\n", "x\n  y\nz\n"])
    def test_pieces_have_the_tokens_of_the_whole(self, tmp_path, line):
        """As GPT-2's pattern parts words, which looks at what follows white space."""
        tokenizers = pytest.importorskip("tokenizers", reason="needs the extra `vocabulary`")
        text = line * (60_000 // len(line) + 1)
        pieces = [text for _, text, _ in TextFiles(write(tmp_path / "a", text)).passages()]
        assert len(pieces) >= 3
        split = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
        words = [word for piece in pieces for word, _ in split(piece)]
        assert words == [word for word, _ in split(text)]
        assert "".join(pieces) == text

    def test_no_place_to_cut(self, tmp_path):
        text = "y" * 500_000 + "\n" + " \n\t" * 100_000
        pieces = [text for _, text, _ in TextFiles(write(tmp_path / "a", text)).passages()]
        assert "".join(pieces) == text and max(map(len, pieces)) <= 200_000


def test_names_of_files_are_no_texts(tmp_path):
    (tmp_path / "book.txt").write_text("some text")
    with pytest.raises(InputError, match="book.txt' is a file; give tfmodels.data.open_texts"):
        as_texts([str(tmp_path / "book.txt")])
