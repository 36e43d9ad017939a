"""Frames of every kind of columns and of JSONL, and what is refused in one line."""

import json

import pytest

from tests.data.written import write
from tfmodels.data.roles import as_roles, marked, open_roles, role_dataset
from tfmodels.errors import InputError

TEXT = "Ada wanted to leave"
FRAMES = (
    (4, 10, (("A0", 0, 3), ("A1", 11, 19))),
    (14, 19, (("A0", 0, 3),)),
)
PROPBANK = """# doc-1
0\tAda\tNNP\t-\t-\t(A0*)\t(A0*)
1\twanted\tVBD\twant\twant.01\t(V*)\t*
2\tto\tTO\t-\t-\t(A1*\t*
3\tleave\tVB\tleave\tleave.01\t*)\t(V*)

# doc-2
0\tnobody\tNN\t-\t-
"""
CONLL_2005 = """Ada NNP (S* - (A0*) (A0*)
wanted VBD * want (V*) *
to TO * - (A1* *
leave VB *) leave *) (V*)

# # * - *
ran VBD * run (V*)
"""
CONLL_2012 = """#begin document (a); part 000
a 0 0 Ada NNP (TOP* - - - s1 * (A0*) (A0*) (1)
a 0 1 wanted VBD * want 01 1 s1 * (V*) * -
a 0 2 to TO * - - - s1 * (A1* * -
a 0 3 leave VB *) leave 01 1 s1 * *) (V*) -

#end document
"""
CONLL_U = """# sent_id = 1
# text = Ada wanted to leave
1\tAda\tAda\tPROPN\tNNP\t_\t2\tnsubj\t_\t_\tA0\tA0
2\twanted\twant\tVERB\tVBD\t_\t0\troot\tY\twant.01\t_\t_
3-4\tto leave\t_\t_\t_\t_\t_\t_\t_\t_
2.1\tseen\tsee\tVERB\tVBD\t_\t_\t_\t_\t_\t_\t_
3\tto\tto\tPART\tTO\t_\t4\tmark\t_\t_\t_\t_
4\tleave\tleave\tVERB\tVB\t_\t2\txcomp\tY\tleave.01\tA1\t_
"""


def read(path):
    return [values for _, values in open_roles(path).rows()]


@pytest.mark.parametrize(
    ("name", "content"), [("a.conll", PROPBANK), ("a.conll.gz", CONLL_2012), ("a.txt", CONLL_2005)]
)
def test_columns(tmp_path, name, content):
    rows = read(write(tmp_path / name, content))
    assert rows[0] == (TEXT, FRAMES)
    assert rows[1:] == {
        PROPBANK: [("nobody", ())], CONLL_2012: [], CONLL_2005: [("# ran", ((2, 5, ()),))],
    }[content]  # fmt: skip


def test_heads(tmp_path):
    """Roles of Universal Propositions stand at the heads."""
    heads = ((4, 10, (("A0", 0, 3), ("A1", 14, 19))), FRAMES[1])
    assert read(write(tmp_path / "a.conllu", CONLL_U)) == [(TEXT, heads)]
    number = "\t".join(["1", "1", "1", "NUM", "CD", "_", "0", "root", "_", "_"]) + "\n\n"
    assert read(write(tmp_path / "b.conllu", number + CONLL_U)) == [("1", ()), (TEXT, heads)]


def test_lines_and_memory(tmp_path):
    words = {
        "words": TEXT.split(),
        "frames": [
            {"predicate": 1, "arguments": [["A0", 0, 1], ["A1", 2, 4]]},
            {"predicate": 3, "arguments": [["A0", 0, 1]]},
        ],
    }
    characters = {
        "text": TEXT,
        "frames": [
            {"start": 4, "end": 10, "arguments": [{"role": "A0", "start": 0, "end": 3},
                                                  {"role": "A1", "start": 11, "end": 19}]},
            {"start": 14, "end": 19, "arguments": [{"role": "A0", "start": 0, "end": 3}]},
        ],
    }  # fmt: skip
    lines = "".join(json.dumps(row) + "\n" for row in (words, characters))
    source = open_roles(write(tmp_path / "a.jsonl", lines))
    assert [values for _, values in source.rows()] == [(TEXT, FRAMES)] * 2
    assert source.scan().label_counts == {"A0": 4, "A1": 2}
    rows = as_roles([words["words"], TEXT], [words["frames"], characters["frames"]])
    assert [values for _, values in rows.rows()] == [(TEXT, FRAMES)] * 2


def test_predicates_to_answer():
    assert marked(TEXT, 0) == (TEXT, None)
    assert marked((TEXT.split(), [1]), 0) == (TEXT, [(4, 10)])
    assert marked((TEXT, [(14, 19)]), 0) == (TEXT, [(14, 19)])
    assert marked((TEXT.split(), [3, 1]), 0) == (TEXT, [(14, 19), (4, 10)])
    assert marked((["在", "北京"], [1]), 0) == ("在北京", [(1, 3)])
    for item, problem in (
        ((TEXT.split(), [4]), "row 2: the predicate is word 4, but the words are 0 to 3"),
        ((TEXT, [(14, 30)]), "outside the text"),
        ((TEXT, [1]), "row 2: .* or the list of words and the number of one"),
        ((TEXT.split(), ["1"]), "give the number of a word"),
        (3, "row 2: '3'; give a text"),
    ):
        with pytest.raises(InputError, match=problem):
            marked(item, 2)


def test_chunks(tmp_path):
    source = open_roles(write(tmp_path / "a.conll", PROPBANK))
    (chunk,) = role_dataset(source, ["V", "A0", "A1"])
    text, *columns = chunk
    assert text.numpy().tolist() == [TEXT.encode(), b"nobody"]
    assert [column.to_list() for column in columns] == [
        [[4, 14], []], [[10, 19], []], [[2, 1], []], [[1, 2, 1], []], [[0, 11, 0], []],
        [[3, 19, 3], []],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: s.replace("want.01\t(V*)\t*", "want.01\t(V*)"), ":3: 6 columns, but 7"),
        (lambda s: s.replace("want\twant.01", "-\t-"), ":2: 1 predicates in column 4"),
        (lambda s: s.replace("(A1*\t*", "(A1*\t*)"), r":4: '\*\)' closes no argument"),
        (lambda s: s.replace("*)\t(V*)", "*\t(V*)"), r":4: \(A1\* is not closed"),
        (lambda s: s.replace("*)\t(V*)", "(A2*)\t(V*)"), r"one argument after the other"),
        (lambda s: s.replace("(A1*\t*", "A1\t*"), r"'A1' in a column of arguments"),
    ],
)
def test_columns_that_are_refused(tmp_path, change, problem):
    path = write(tmp_path / "a.conll", PROPBANK.split("\n\n")[1] + "\n\n" + PROPBANK)
    good = PROPBANK.split("\n\n")[0].replace("# doc-1\n", "")
    path = write(tmp_path / "a.conll", f"{good}\n\n# bad\n{change(good)}\n")
    shift = {":2": ":7", ":3": ":8", ":4": ":9"}
    for old, new in shift.items():
        problem = problem.replace(old, new)
    with pytest.raises(InputError, match=problem) as error:
        read(path)
    assert str(error.value).startswith(path) and "\n" not in str(error.value)


def test_files_that_are_refused(tmp_path):
    with pytest.raises(InputError, match="the file has no words"):
        open_roles(write(tmp_path / "a.conll", "\n\n"))
    with pytest.raises(InputError, match="in none of which there are as many predicates"):
        open_roles(write(tmp_path / "b.conll", "Ada B-PER\nleft O\n"))
    with pytest.raises(InputError, match='no list "frames"'):
        list(open_roles(write(tmp_path / "c.jsonl", '{"words": ["a"]}\n')).rows())
    with pytest.raises(InputError, match="the words 0 to 9, exclusive, but there are 1"):
        as_roles([["a"]], [[{"predicate": 0, "arguments": [("A0", 0, 9)]}]])
    with pytest.raises(InputError, match="no argument in 1 texts"):
        as_roles([["a"]], [[]]).scan()


def test_columns_of_releases(tmp_path):
    """PropBank's releases name the document first, and a table may count words from 1."""
    rows = [line.split("\t") for line in PROPBANK.split("\n\n")[0].splitlines()[1:]]
    release = "".join(
        " ".join(["a/b.eng", "0", number, word, tag, "*", lemma, roleset, *cells]) + "\n"
        for number, word, tag, lemma, roleset, *cells in rows
    )
    from_one = "".join("\t".join([str(int(row[0]) + 1), *row[1:]]) + "\n" for row in rows)
    for name, content in (("a.gold_conll", release), ("b.conll", from_one)):
        assert read(write(tmp_path / name, content)) == [(TEXT, FRAMES)]
    numbered = "".join(f"a/b.eng {' '.join(row[1:])}\n" for row in rows)
    with pytest.raises(InputError, match="in none of which there are as many predicates"):
        open_roles(write(tmp_path / "c.conll", numbered))


def test_words_like_the_numbers_of_contractions(tmp_path):
    line = "1990-91 CD * O * O - (AM-TMP*) *\nrained VBD * O * O rain (V*) *\n"
    again = "ended VBD * O * O end * (V*)\n"
    (row,) = read(write(tmp_path / "a.conll", line + again))
    assert row[0] == "1990-91 rained ended" and row[1][0][2] == (("AM-TMP", 0, 7),)


def test_a_fault_is_named_by_its_line(tmp_path):
    bad = "".join(line.rpartition(" ")[0] + "\n" for line in CONLL_2005.splitlines()[:4])
    path = write(tmp_path / "a.txt", (CONLL_2005 + "\n") * 5 + bad)
    source = open_roles(path)
    with pytest.raises(InputError, match="a.txt:41: 2 predicates in column 3 of the sentence"):
        list(source.rows())


def test_frames_that_are_refused_or_left_out(tmp_path):
    for row, problem in (
        ({"words": ["a", "\ud800"], "frames": [{"predicate": 0}]}, "surrogate"),
        ({"words": ["a"], "frames": [{"predicate": 0, "arguments": None}]}, "'None', no list"),
        ({"words": ["a"], "frames": [{"predicate": 0, "arguments": [[]]}]}, "is no argument"),
    ):
        with pytest.raises(InputError, match=rf"c.jsonl:1: .*{problem}"):
            list(open_roles(write(tmp_path / "c.jsonl", json.dumps(row) + "\n")).rows())
    frame = {"predicate": 1, "arguments": [["V", 1, 2], ["A0", 0, 1], ["C-V", 3, 4]]}
    rows = as_roles([TEXT.split()], [[frame]])
    assert [values for _, values in rows.rows()] == [(TEXT, ((4, 10, (("A0", 0, 3),)),))]
