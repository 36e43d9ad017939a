"""Damaged files, in the short form of `benchmarks/readers.py`."""

import json
import random

import pytest

from benchmarks.readers import KINDS, main, problem_of
from tfmodels.errors import InputError


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_are_read(kind, tmp_path):
    make, reader = KINDS[kind]
    for name, content in make(random.Random(0)).items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert problem_of(reader, tmp_path, seconds=30) is None


def test_damaged_files_are_read_or_refused(capsys):
    assert main(["--mutations", "200", "--seconds", "30"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["failures"] == [] and found["read"] > 20 and found["refused"] > 20


def test_what_counts_as_a_failure(tmp_path):
    def reader(error):
        def read(folder):
            raise error

        return read

    assert problem_of(reader(InputError("a.csv:1: no")), tmp_path, 1) == ""
    assert "a message of 2 lines" in problem_of(reader(InputError("a\nb")), tmp_path, 1)
    assert problem_of(reader(KeyError("x")), tmp_path, 1) == "KeyError: 'x'"

    def hang(folder):
        while True:
            pass

    assert problem_of(hang, tmp_path, 0.1) == "TimeoutError: longer than 0.1 s"
