"""Several labels a text: lists, a separator, columns of 0 and 1; and files without a header."""

import numpy as np
import pytest

from tests.data.written import write
from tfmodels.data import open_table
from tfmodels.data.memory import as_source
from tfmodels.data.split import split
from tfmodels.errors import InputError

ROWS = [("a", ("x", "y")), ("b", ()), ("c", ("y",))]


def values(source):
    return [row for _, row in source.rows()]


def test_lists_of_jsonl(tmp_path):
    path = write(tmp_path / "rows.jsonl", '{"text": "a", "label": ["x", "y"]}\n'
                 '{"text": "b", "label": []}\n{"text": "c", "label": ["y"]}\n')  # fmt: skip
    source = open_table(path, "text", "label")
    assert values(source) == ROWS and source.several == {"label"}
    with open(path, "a") as file:
        file.write('{"text": "d", "label": "x"}\n')
    with pytest.raises(InputError, match="rows.jsonl:4: 'label' is 'x', no list as in the first"):
        values(open_table(path, "text", "label"))


def test_a_separator(tmp_path):
    path = write(tmp_path / "rows.csv", 'text,label\na,"x, y"\nb,\nc,y\n')
    source = open_table(path, "text", "label", label_separator=",")
    assert values(source) == ROWS and source.several == {"label"}


def test_columns_of_0_and_1(tmp_path):
    path = write(tmp_path / "rows.tsv", "x\ttext\ty\tz\n1\ta\t1\t5\n0\tb\t0\t6\n0\tc\ttrue\t7\n")
    source = open_table(path, "text", ["x", "y"])
    assert source.columns == ("text", "labels") and values(source) == ROWS
    with pytest.raises(InputError, match="rows.tsv:2: column 'z' has '5'; several label columns"):
        values(open_table(path, "text", ["x", "z"]))


@pytest.mark.parametrize(
    "y", [[["x", "y"], [], ["y"]], [("x", "y"), (), ("y",)], [np.array(["x", "y"]), [], ["y"]]]
)
def test_lists_in_memory(y):
    y = [list(item) for item in y]
    assert values(as_source(["a", "b", "c"], y, several=True)) == ROWS


def test_an_array_of_0_and_1():
    y = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 0]])
    found = values(as_source(["a", "b", "c"], y, several=True))
    assert found == [("a", ("0", "1")), ("b", ()), ("c", ("1",))]
    with pytest.raises(InputError, match=r"y.argmax\(-1\) of one-hot labels"):
        as_source(["a", "b", "c"], np.eye(3, dtype=int), several=True)


def test_arrays_of_other_shapes():
    """A column is single labels; rows may be arrays themselves."""
    found = values(as_source(["a", "b", "c"], np.array([["x"], ["y"], ["x"]]), several=True))
    assert found == [("a", "x"), ("b", "y"), ("c", "x")]
    rows = [np.array([1, 1, 0]), np.array([0, 0, 0]), np.array([0, 1, 0])]
    assert values(as_source(["a", "b", "c"], rows, several=True))[0] == ("a", ("0", "1"))


def test_lists_where_a_task_wants_single_labels():
    rows = as_source(["a", "b"], [["x"], ["y"]], several=True)
    with pytest.raises(InputError, match="column 'label' has lists; give a column of single"):
        as_source(rows)


def test_labels_survive_a_split_and_a_shuffle(tmp_path):
    lines = "".join(f"t{i}\t{i % 2}\t{i % 3 // 2}\n" for i in range(40))
    rows = open_table(write(tmp_path / "rows.tsv", "text\tx\ty\n" + lines), "text", ["x", "y"])
    train, held_out = split(rows, 0.25)
    assert held_out.several == {"labels"} and len(values(held_out)) == 10
    shuffled = [row for _, row in train.rows(seed=3)]
    assert shuffled != values(train) and sorted(shuffled) == sorted(values(train))
    assert rows.fingerprint() == open_table(tmp_path / "rows.tsv", "text", ["x", "y"]).fingerprint()


def test_pairs_in_memory():
    rows = as_source([("a", "b"), ["c", b"d"]], ["x", "y"], columns=("text", "pair", "label"),
                     texts=2)  # fmt: skip
    assert values(rows) == [("a", "b", "x"), ("c", "d", "y")]
    with pytest.raises(InputError, match="row 1: 'c' instead of a pair of texts"):
        as_source([("a", "b"), "c"], columns=("text", "pair"), texts=2)


def test_a_file_without_a_header(tmp_path):
    """Its rows may have further columns, and quotes are text."""
    path = write(tmp_path / "rows.txt", 'x\t"a" b\tc\ny\td\te\tmore\n')
    rows = open_table(path, "one", "two", "label", column_names=["label", "one", "two"])
    assert values(rows) == [('"a" b', "c", "x"), ("d", "e", "y")]
    with pytest.raises(InputError, match="unknown kind of source"):
        open_table(path, "one")
