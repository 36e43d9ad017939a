"""The sets of GLUE (Wang et al. 2018), CLUE (Xu et al. 2020) and their like, by name.

In: a name such as `mrpc`, and a directory of the files of the set, or none, for TensorFlow
Datasets. Out: the rows of a split, with what is labelled and the metrics of the set.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from tfmodels.data.labels import Converted
from tfmodels.data.rows import Source
from tfmodels.data.tables import open_source
from tfmodels.errors import InputError


class NamedSet(NamedTuple):
    """A set with its columns and metrics.

    Attributes:
        columns: the texts and then the label, in TensorFlow Datasets and in files.
        tfds: name in TensorFlow Datasets; None of a set that it does not have.
        metrics: of the set, keys of what `TextClassifier.evaluate` returns.
        target: see `TextClassifier`.
        other_columns: the same columns by the names that some files give them.
        column_names: names of the columns of files without a header.
        validation: split of TensorFlow Datasets to measure on.
    """

    columns: tuple[str, ...]
    tfds: str | None = None
    metrics: tuple[str, ...] = ("accuracy",)
    target: str = "class"
    other_columns: tuple[str, ...] = ()
    column_names: tuple[str, ...] = ()
    validation: str = "validation"

    @property
    def pair(self) -> bool:
        """Whether a row has two texts."""
        return len(self.columns) == 3


PAIR = ("sentence1", "sentence2", "label")
SETS = {
    "cola": NamedSet(("sentence", "label"), "glue/cola", ("matthews",),
                     column_names=("source", "label", "star", "sentence")),
    "sst2": NamedSet(("sentence", "label"), "glue/sst2"),
    "mrpc": NamedSet(PAIR, "glue/mrpc", ("accuracy", "f1"),
                     other_columns=("#1 String", "#2 String", "Quality")),
    "qqp": NamedSet(("question1", "question2", "label"), "glue/qqp", ("accuracy", "f1"),
                    other_columns=("question1", "question2", "is_duplicate")),
    "stsb": NamedSet(PAIR, "glue/stsb", ("pearson", "spearman"), "score",
                     other_columns=("sentence1", "sentence2", "score"),
                     column_names=("genre", "file", "year", "number", "label", "sentence1",
                                   "sentence2")),
    "mnli": NamedSet(("premise", "hypothesis", "label"), "glue/mnli",
                     other_columns=("sentence1", "sentence2", "gold_label"),
                     validation="validation_matched"),
    "qnli": NamedSet(("question", "sentence", "label"), "glue/qnli"),
    "rte": NamedSet(PAIR, "glue/rte"),
    "wnli": NamedSet(PAIR, "glue/wnli"),
    "snli": NamedSet(("premise", "hypothesis", "label"), "snli",
                     column_names=("label", "premise", "hypothesis")),
    "sick": NamedSet(("sentence_A", "sentence_B", "entailment_label"), "sick",
                     other_columns=("sentence_A", "sentence_B", "entailment_judgment")),
    "afqmc": NamedSet(PAIR, column_names=PAIR),
    "lcqmc": NamedSet(PAIR, other_columns=("text_a", "text_b", "label"), column_names=PAIR),
    "bq": NamedSet(PAIR, column_names=PAIR),
    "pawsx": NamedSet(PAIR, column_names=PAIR),
    "ocnli": NamedSet(PAIR),
    "cmnli": NamedSet(PAIR),
    "bustm": NamedSet(PAIR),
    "stsb_zh": NamedSet(PAIR, None, ("pearson", "spearman"), "score", column_names=PAIR),
    "tnews": NamedSet(("sentence", "label"), other_columns=("sentence", "label_desc")),
    "iflytek": NamedSet(("sentence", "label")),
    "csldcp": NamedSet(("content", "label")),
    "eprstmt": NamedSet(("sentence", "label")),
    "chnsenticorp": NamedSet(("text_a", "label")),
}  # fmt: skip
# What the name of a file of each split has in it.
FILES = {"train": r"train", "validation": r"dev|valid|trial"}
FILE = re.compile(r"(?P<stem>.*?)\.(?P<form>tsv|csv|jsonl|json|txt)(\.gz)?", re.IGNORECASE)
NO_LABEL = "-"  # of rows on whose label people did not agree


def open_named(
    name: str, split: str = "train", directory: str | os.PathLike | None = None
) -> Source:
    """Open a split of a named set.

    Args:
        name: of `SETS`.
        split: `"train"` or `"validation"`.
        directory: of the files of the set; without it the set of TensorFlow Datasets is read.

    Raises:
        InputError: there is no such set, or it cannot be opened.
    """
    named = named_set(name)
    if directory is not None:
        rows = _open_file(_file_of(Path(directory), split), named)
    elif named.tfds is None:
        raise InputError(
            f"dataset {name}: TensorFlow Datasets does not have it; give the --data_dir of its "
            "files"
        )
    else:
        part = named.validation if split == "validation" else split
        rows = open_source(f"tfds:{named.tfds}:{part}", named.columns)
    label = len(named.columns) - 1

    def with_label(row):
        return None if row.values[label] == NO_LABEL else row.values

    return Converted(rows, rows.columns, with_label, options=(NO_LABEL,))


def named_set(name: str) -> NamedSet:
    """Return the description of a set; an unknown name is an `InputError`."""
    if name not in SETS:
        raise InputError(f"dataset {name}: unknown; give one of {', '.join(SETS)}")
    return SETS[name]


def _file_of(directory: Path, split: str) -> Path:
    """Return the file of a split in a directory."""
    found = [
        path
        for path in sorted(directory.glob("*"))
        if (match := FILE.fullmatch(path.name)) and re.search(FILES[split], match["stem"])
    ]
    plain = [path for path in found if re.fullmatch(FILES[split], path.name.split(".")[0])]
    found = plain or found
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InputError(
            f"data_dir {directory}: one file of {split} is needed, here are {names}; give the "
            "file with --train_file or --eval_file and its columns"
        )
    return found[0]


def _open_file(path: Path, named: NamedSet) -> Source:
    """Open a file of a set, by the names in its header or, without one, by those of the set."""
    match = FILE.fullmatch(path.name)
    form = "tsv" if match and match["form"].lower() == "txt" else None
    failure = None
    for columns in filter(None, (named.columns, named.other_columns)):
        try:
            return open_source(path, columns, form=form)
        except InputError as error:
            failure = failure or error
    if not named.column_names:
        raise failure or InputError(f"{path}: cannot be read")
    tab = "\t" if _has_tabs(path) else None
    return open_source(path, named.columns, column_names=named.column_names, delimiter=tab)


def _has_tabs(path: Path) -> bool:
    """Return whether the first line has tabs, as also some files named .csv have."""
    import gzip

    opened = gzip.open(path, "rb") if path.name.endswith(".gz") else open(path, "rb")
    with opened as file:
        return b"\t" in file.readline()
