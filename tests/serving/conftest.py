"""Versions that several modules ask: exports take seconds."""

import pytest

from applications.__main__ import main
from tests.applications.conftest import (  # noqa: F401 - fixtures
    OPTIONS,
    bert_dir,
    documents,
    gpt_dir,
    model_dir,
    ner_dir,
    pairs,
    qa_dir,
    questions,
    reviews,
    tagged,
    writer_dir,
)


@pytest.fixture(scope="session")
def version_of(request, tmp_path_factory):
    """Function of a model's fixture that gives a version of it, exported once."""
    found = {}

    def export(name):
        if name not in found:
            root = tmp_path_factory.mktemp(name) / "served"
            where = ["--model_dir", request.getfixturevalue(name), "--export_dir", root]
            assert main(["export", *map(str, where), "--options", OPTIONS.get(name, "{}")]) == 0
            found[name] = root / "1"
        return found[name]

    return export
