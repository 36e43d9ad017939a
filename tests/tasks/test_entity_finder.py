"""An exported tagger: entities with their characters, in a process without any of our code."""

import random

import numpy as np
import pytest

import tfmodels
from applications.__main__ import main
from tests.applications.conftest import ner_dir, tagged  # noqa: F401 - fixtures
from tests.serving.fresh import ask

SCRIPTS = ["Ada Lovelace", "Paris", "北京", "李小龙", "👩\u200d👩\u200d👧", "e\u0301", "Ａｄａ"]
SCRIPTS += ["עדה", "بيروت", " ", "  ", "\t", ".", ",", "\u00a0", "\u3000", "\x00", "wrote", "in"]


def random_texts(number, seed=0):
    rng = random.Random(seed)
    return ["".join(rng.choices(SCRIPTS, k=rng.randint(0, 20))) for _ in range(number)]


@pytest.fixture(scope="module")
def asked(ner_dir, tmp_path_factory):  # noqa: F811
    root = tmp_path_factory.mktemp("served") / "ner"
    assert main(["ner", "export", "--model_dir", str(ner_dir), "--export_dir", str(root)]) == 0
    paragraphs = ["Ada Lovelace flew to Paris . " * n for n in (1, 100)] + random_texts(50, seed=1)
    texts = [*random_texts(200), "", "Ada Lovelace flew to Paris . " * 100]
    ids = {
        "token_ids": ("int32", [[2, 9, 10, 3, 0]]),
        "segment_ids": ("int32", [[0] * 5]),
        "padding_mask": ("bool", [[True] * 4 + [False]]),
        "word_positions": ("int32", [[1, 2, 0]]),
        "word_mask": ("bool", [[True, True, False]]),
    }
    signatures, answers = ask(
        root / "1",
        ("serving_default", {"text": ("string", texts)}),
        ("serving_default", {"text": ("string", [])}),
        ("serving_default", {"text": ("string", ["", " "])}),
        ("token_ids", ids),
        ("serving_default", {"text": ("string", paragraphs)}),
        ("serving_default", {"text": ("string", ["\n\n".join(paragraphs)])}),
    )
    return signatures, answers, texts, paragraphs


def test_signatures(asked):
    ids = ["padding_mask", "segment_ids", "token_ids", "word_mask", "word_positions"]
    assert asked[0] == {"serving_default": ["text"], "token_ids": ids}


def test_every_entity_is_a_slice_of_its_text(asked):
    answer, texts, found = asked[1][0], asked[2], 0
    for row, text in enumerate(texts):
        for entity, start, end in zip(
            answer["entity"][row], answer["start"][row], answer["end"][row], strict=True
        ):
            if start < 0:
                assert (entity, end) == ("", -1)
            else:
                found += 1
                assert text[start:end] == entity != ""
    assert found > 100


def test_answers_are_those_of_predict(asked, ner_dir):  # noqa: F811
    task = tfmodels.load(ner_dir)
    find = task.find
    answer = asked[1][0]
    for row, (entities, *_) in enumerate(find(asked[2])):
        n = len(entities)
        for name in ("entity", "type", "start", "end"):
            assert answer[name][row][:n] == [e[name] for e in entities]
        assert answer["start"][row][n:] == [-1] * (len(answer["start"][row]) - n)
        np.testing.assert_allclose(
            answer["score"][row][:n], [e["score"] for e in entities], atol=1e-5
        )


def test_nothing_asked_and_nothing_found(asked):
    none, blank = asked[1][1:3]
    assert none and all(value == [] for value in none.values())
    assert blank and all(value == [[], []] for value in blank.values())


def test_ids(asked):
    answer = asked[1][3]
    assert len(answer["tag"][0]) == 3 and answer["tag"][0][2] == "" and answer["score"][0][2] == 0
    assert all(tag == "O" or tag[:2] in ("B-", "I-") for tag in answer["tag"][0][:2])


def test_a_document_is_tagged_as_its_paragraphs_are(asked):
    alone, (together,), at, wanted = asked[1][4], rows_of(asked[1][5]), 0, []
    for paragraph, row in zip(asked[3], rows_of(alone), strict=True):
        wanted += [(*found[:2], found[2] + at, found[3] + at, found[4]) for found in row]
        at += len(paragraph) + 2
    assert len(wanted) > 200
    assert [row[:4] for row in together] == [row[:4] for row in wanted]
    np.testing.assert_allclose([row[4] for row in together], [row[4] for row in wanted], atol=1e-5)


def rows_of(answer):
    """What an answer found in each text."""
    names = ("entity", "type", "start", "end", "score")
    rows = (zip(*row, strict=True) for row in zip(*(answer[n] for n in names), strict=True))
    return [[found for found in row if found[2] >= 0] for row in rows]
