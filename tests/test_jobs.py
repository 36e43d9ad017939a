"""Both pages on scripts: every block runs in turn; the table counts the lines of its eight jobs."""

import contextlib
import io
import os
import re
import shutil

import pytest

import tfmodels
from tests.test_docs import ROOT, blocks, run

PAGE, CHINESE = "docs/scripts.md", "docs/zh/scripts.md"
JOBS = 8
PRINTED = (
    "[{'label': '", "[{'label': '", "[[", "['", "['", "{'token': '", "", "tive\n",
    "accuracy", "kept evaluation", "joy", "(8, 2)", "[{'answer': '", "[[",
)  # fmt: skip
TRANSLATED = {"accuracy": "准确率", "kept evaluation": "保留的评估"}


@pytest.fixture(scope="module", params=[PAGE, pytest.param(CHINESE, marks=pytest.mark.slow)])
def printed(request, tmp_path_factory):
    """What each block printed, on both streams, with small files of the page's names."""
    folder, before = tmp_path_factory.mktemp("jobs"), os.getcwd()
    os.chdir(folder)
    try:
        _write_files(folder)
        names, said = {}, []
        for number, code in enumerate(blocks(request.param, "python"), 1):
            out, error = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
                run(request.param, number, code, names)
            said.append((out.getvalue(), error.getvalue()))
            if number == 7:
                assert names["task"].model.distribute_strategy.num_replicas_in_sync == 2
                assert names["task"].model.dtype_policy.name == "mixed_bfloat16"
        yield said
    finally:
        os.chdir(before)


def _write_files(folder):
    rows = ['"A warm, funny film.",positive', '"A cold, dull bore.",negative'] * 20
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    pairs = ["good morning\tguten Morgen", "good night\tgute Nacht"] * 10
    (folder / "en-de.tsv").write_text("\n".join(["en\tde", *pairs]), encoding="utf-8")
    shutil.copy(ROOT / "examples" / "story.txt", folder / "story.txt")
    texts = ["A warm, funny film. The captain looked at the sea. Ada flew to Paris, Rome."] * 4
    bert = tfmodels.MaskedLM.from_scratch(texts, size="tiny", vocabulary_size=200, max_length=32)
    for name in ("uncased", "cased", "chinese"):
        bert.save(folder / f"google-bert/bert-base-{name}")
    bert.save(folder / "runs" / "bert")


def test_every_block_prints_its_answer(printed):
    assert len(printed) == len(PRINTED)
    for number, ((said, _), wanted) in enumerate(zip(printed, PRINTED, strict=True), 1):
        assert wanted in said or TRANSLATED.get(wanted, wanted) in said, (number, said)


def test_progress_counts_the_epochs_that_were_asked_for(printed):
    assert "epoch 2.00 of 2, step" in printed[3][1]


def test_the_table_counts_the_lines():
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    table = re.findall(r"^\| ([a-zA-Z ,-]+) \| (\d+) \| (\d+) \| (?:\d+|none) \|$", text, re.M)
    titles = re.findall(r"^### (.*)$", text, re.M)
    assert [name.lower() for name, *_ in table] == [title.lower() for title in titles]
    counted = [sum(bool(line.strip()) for line in code.splitlines())
               for code in blocks(PAGE, "python")[:JOBS]]  # fmt: skip
    assert [int(ours) for _, ours, _ in table] == counted
    assert len(table) == JOBS and all(int(ours) <= int(theirs) for _, ours, theirs in table)
