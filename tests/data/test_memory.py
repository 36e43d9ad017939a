"""Rows that a script has: lists, arrays and `tf.data`, and one sentence for what cannot be used."""

import numpy as np
import pytest
import tensorflow as tf

from tfmodels.data.datasets import source_errors
from tfmodels.data.documents import as_texts
from tfmodels.data.memory import as_source
from tfmodels.data.split import split
from tfmodels.data.tables import open_source
from tfmodels.errors import InputError

ROWS = [("a joy", "1"), ("a bore", "0"), ("", "1")]
TEXTS, LABELS = ["a joy", "a bore", ""], [1, 0, 1]


class Frame:
    """What pandas' DataFrame has, as far as it is used."""

    iloc, columns = None, ["text", "label"]

    def __iter__(self):
        return iter(self.columns)


class NA:
    """What comparing with pandas' NA does."""

    def __ne__(self, other):
        return self

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    def __repr__(self):
        return "<NA>"


def dataset(*parts):
    return tf.data.Dataset.from_tensor_slices(parts)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (TEXTS, LABELS),
        (tuple(TEXTS), ("1", "0", "1")),
        ([text.encode() for text in TEXTS], [1.0, 0.0, 1.0]),
        (np.array(TEXTS), np.array(LABELS)),
        (np.array(TEXTS, object), np.array(LABELS, "uint8")),
        (tf.constant(TEXTS), tf.constant(LABELS)),
        (TEXTS, list(np.array(LABELS))),
        (dataset(TEXTS, LABELS), None),
        (dataset(TEXTS, ["1", "0", "1"]).batch(2), None),
    ],
)
def test_rows_of_all_forms(x, y):
    source = as_source(x, y)
    assert source.columns == ("text", "label")
    assert [values for _, values in source.rows()] == ROWS
    assert sorted(source.rows(seed=1)) == sorted(source.rows())
    scan = source.scan("label", 0.5)
    assert scan.label_counts == {"0": 1, "1": 2} and len(scan.held_out) == 1
    assert as_source(source) is source


@pytest.mark.parametrize(
    ("y", "labels"),
    [([True, False, True], ["true", "false", "true"]), ([1.5, 2.0, 3], ["1.5", "2", "3"])],
)
def test_labels_are_spelled_as_in_files(y, labels):
    assert [label for _, (_, label) in as_source(TEXTS, y).rows()] == labels


@pytest.mark.parametrize("given", [[1, 0.5, 2], np.array([1, 0.5, 2], "float32")])
def test_weights(given):
    for source in (as_source(TEXTS, LABELS, given), as_source(dataset(TEXTS, LABELS, given))):
        assert source.columns == ("text", "label", "weight")
        rows = {number: float(weight) for number, (_, _, weight) in source.rows(seed=1)}
        assert rows == {0: 1.0, 1: 0.5, 2: 2.0}


@pytest.mark.parametrize("x", [TEXTS, dataset(TEXTS), tf.data.Dataset.from_tensor_slices(TEXTS),
                               dataset(TEXTS, LABELS), as_source(TEXTS, LABELS)])  # fmt: skip
def test_texts_without_labels(x):
    found = [text for _, (text, *_) in as_source(x, columns=("text",)).rows()]
    assert found == TEXTS


def test_targets_keep_their_spelling():
    source = as_source(["a"], [" 1.0 "], columns=("source", "target"))
    assert list(source.rows()) == [(0, ("a", " 1.0 "))]


def test_a_dataset_without_end_is_not_counted():
    source = as_source(dataset(TEXTS, LABELS).repeat())
    assert source.endless and not as_source(dataset(TEXTS, LABELS)).endless
    first = [next(source.stream(None)).values for _ in range(2)]
    assert first == [ROWS[0]] * 2
    for call in (source.scan, source.fingerprint):
        with pytest.raises(InputError, match=r"is infinite and cannot be .*; use take\(n\)"):
            call()


def test_fingerprint_is_of_the_contents():
    prints = [
        as_source(*given).fingerprint()
        for given in [
            (TEXTS, LABELS),
            (dataset(TEXTS, LABELS).batch(2), None),
            (dataset(TEXTS, LABELS).shuffle(9, seed=3), None),
            (["a joy", "a bora", ""], LABELS),
            (TEXTS, [1, 1, 1]),
            (TEXTS, LABELS, [1, 1, 2]),
        ]
    ]
    assert len(set(prints[:3])) == 1 and len(set(prints)) == 4


ONE_HOT = [[0, 1], [1, 0], [0, 1]]
IDS = [[101, 7, 102], [101, 102]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("one text", [1]), r"one string, 'one text'; give a list of .* such as \['one text'\]"),
        ((b"one", [1]), "one string"),
        (((TEXTS, LABELS),), r"a tuple \(x, y\); give .* as two arguments, fit\(x, y\)"),
        (({"text": TEXTS, "label": LABELS},), r"a dict; give a list of strings, .* x\['text'\]"),
        ((Frame(), LABELS), r"a Frame; give a list of strings, .* such as one of x\['text'\]"),
        ((None, LABELS), r"None \(NoneType\); give a list of strings"),
        ((5, LABELS), r"5 \(int\); give a list of strings"),
        ((TEXTS,), r"labels are missing: give fit\(texts, labels\), or rows"),
        ((IDS, [1, 0]), r"row 0: \[101, 7, 102\] instead of a text; give strings.*task.model"),
        ((np.zeros((2, 3), int), [1, 0]), r"row 0: .*give strings, which fit tokenizes"),
        (([1, 2], [1, 0]), r"row 0: 1 \(int\) instead of a text; give a string"),
        ((["a", float("nan")], [1, 0]), r"row 1: nan \(float\) .* '' if the text is missing"),
        ((["a", None], [1, 0]), r"row 1: None \(NoneType\)"),
        (([["a", "b"]], [1]), r"row 0: .* \(list\) instead of a text"),
        ((["a", "\ud800"], [1, 0]), "row 1: the text is not UTF-8"),
        (([b"\xff"], [1]), "row 0: the text is not UTF-8"),
        ((TEXTS, [1, 0]), "x has 3 rows and y 2; give a list of labels, one for each text"),
        ((TEXTS, "pos"), "one string, 'pos'; give a list of labels"),
        ((TEXTS, ONE_HOT), r"row 0: the label \[0, 1\] is a list; .*argmax"),
        ((TEXTS, [1, None, 0]), "row 1: the label is None; give one for each text"),
        ((TEXTS, [1, float("nan"), 0]), "row 1: the label is nan"),
        ((TEXTS, [1, NA(), 0]), "row 1: the label is <NA>; give one for each text, or remove"),
        ((TEXTS, ["1", "nan", "0"]), "row 1: the label is nan; give one"),
        ((TEXTS, [1, float("inf"), 0]), "row 1: the label is inf; give a string or an integer"),
        ((["a", NA()], [1, 0]), r"row 1: <NA> \(NA\) instead of a text; .* if the text is missing"),
        ((TEXTS, [1, {}, 0]), "row 1: the label is {}; give a string or an integer"),
        ((TEXTS, LABELS, [1, 2]), "x has 3 rows and sample_weight 2; give a list of weights"),
        ((TEXTS, LABELS, [1, -1, 1]), "row 1: the weight is -1; give a number of 0 or more"),
        ((TEXTS, LABELS, [1, "x", 1]), "row 1: the weight is 'x'"),
        (([], []), "no rows; give one or more"),
        ((as_source(TEXTS, LABELS), LABELS), "y: labels are a column of the rows already"),
        ((as_source(TEXTS, LABELS), None, LABELS), "a column of .* already; remove sample_weight"),
        ((dataset(TEXTS, LABELS), LABELS), "a column of the dataset already; remove y"),
        ((as_source(TEXTS, columns=("text",)),), "columns text; open .* for text and label"),
        ((dataset(TEXTS),), r"elements of 1 parts; give a dataset of \(text, label\)"),
        ((dataset(LABELS, LABELS),), r"int32 instead of texts; .*\(text, label\) with the texts"),
        ((dataset(TEXTS, ONE_HOT),), r"elements .*give a dataset of \(text, label\), all parts"),
        ((dataset([TEXTS], [LABELS]).batch(1),), r"dataset of \(text, label\), batched or not"),
        (
            (tf.data.Dataset.from_tensor_slices({"text": TEXTS, "label": LABELS}),),
            r"dicts of text, label; .*map\(lambda row: \(row\['text'\], row\['label'\]\)\)",
        ),
        ((dataset(tf.ragged.constant(IDS), LABELS[:2]),), "RaggedTensorSpec.*; give a dataset of"),
    ],
)  # fmt: skip
def test_first_mistakes(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        as_source(*arguments)
    assert "\n" not in str(caught.value)


def test_a_dataset_that_is_distributed(mirrored):
    rows = mirrored.experimental_distribute_dataset(dataset(TEXTS, LABELS).batch(2))
    with pytest.raises(InputError, match="distributed data: give the dataset itself"):
        as_source(rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (dataset([b"fine", b"\xff"], [1, 0]), "row 1: the text is not UTF-8"),
        (dataset(["a", "b"], [1, float("nan")]), "row 1: the label is nan; give one for each"),
        (dataset(["a", "b"], ["1", "nan"]), "row 1: the label is nan; give one for each"),
    ],
)
def test_a_broken_row_of_a_dataset(rows, message):
    source = as_source(rows)
    with pytest.raises(InputError, match=message), source_errors(source):
        list(source.rows())


def test_columns_of_a_table(tmp_path):
    (tmp_path / "a.csv").write_text("text,label,weight,more\na,1,0.5,x\nb,0,2,y\n")
    weighted = open_source(tmp_path / "a.csv", ["text", "label", "weight"])
    assert as_source(weighted) is weighted
    with pytest.raises(InputError, match="a.csv: opened with the columns text, label, more"):
        as_source(open_source(tmp_path / "a.csv", ["text", "label", "more"]))
    train, _ = split(weighted, 0.5, seed=1)
    assert as_source(train) is train


# Documents


@pytest.mark.parametrize("x", [["One. Two.", " ", "Three"], dataset(["One. Two.", " ", "Three"]),
                               as_source(["One. Two.", "", "Three"], [1, 2, 3])])  # fmt: skip
def test_documents_of_strings(x):
    texts = as_texts(x)
    assert list(texts.documents()) == [(0, ["One.", "Two."]), (1, ["Three"])]
    assert list(texts.passages()) == [(0, "One. Two.", True), (1, "Three", True)]
    assert as_texts(texts) is texts
    assert texts.fingerprint() != as_texts(["One. Two"]).fingerprint()


def test_what_is_no_documents(tmp_path):
    for x in ("book.txt", tmp_path / "book.txt"):
        with pytest.raises(InputError, match=r"list of strings, or .*open_texts\('book.txt'\)"):
            as_texts(x)
    with pytest.raises(InputError, match="the rows: no text"):
        list(as_texts([" ", ""]).documents())
    with pytest.raises(InputError, match="task.model accepts token ids"):
        as_texts(IDS)


def test_rows_held_out_of_a_dataset_that_is_shuffled_anew():
    """Its rows have other numbers in every pass."""
    texts = [f"text {number}" for number in range(99)]
    rows = tf.data.Dataset.from_tensor_slices((texts, [0, 1, 2] * 33))
    for held in (rows, rows.shuffle(99, reshuffle_each_iteration=False), rows.batch(7)):
        train, out = split(as_source(held, columns=("text", "label")), 0.25)
        found = [values[0] for part in (train, out) for _, values in part.rows()]
        assert sorted(found) == sorted(texts)
    for shuffled in (rows.shuffle(99), rows.shuffle(99, seed=1).batch(7)):
        with pytest.raises(InputError, match="another order in every pass.*reshuffle_each"):
            split(as_source(shuffled, columns=("text", "label")), 0.25)
