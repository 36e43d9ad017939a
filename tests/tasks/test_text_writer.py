"""An exported encoder-decoder: summaries in a process without any of our code."""

import numpy as np
import pytest
import tensorflow as tf

import tfmodels
from applications.__main__ import main
from tests.applications.conftest import pairs, writer_dir  # noqa: F401 - fixtures
from tests.applications.verbs import printed
from tests.serving.fresh import ask
from tfmodels.errors import InputError
from tfmodels.generation.settings import Generation
from tfmodels.tasks.text_writer import ROWS, TextWriter, joined

TEXTS = ["the old king saw the river. a small dog found some bread.", "a small dog", "",
         "every child followed two horses. " * 30, "每个孩子 😀 sold the moon.", "  "]  # fmt: skip
FLAGS = ["--max_new_tokens", "10", "--num_beams", "3", "--long_texts", "parts"]


@pytest.fixture(scope="module")
def root(writer_dir, tmp_path_factory):  # noqa: F811
    root = tmp_path_factory.mktemp("served") / "summarization"
    arguments = ["--model_dir", str(writer_dir), "--export_dir", str(root), *FLAGS]
    assert main(["summarization", "export", *arguments]) == 0
    return root / "1"


@pytest.fixture(scope="module")
def served(root):
    ids = [[2, 9, 10, 3], [2, 11, 3, 0]]
    mask = [[True] * 4, [True] * 3 + [False]]
    return ask(
        root,
        ("serving_default", {"text": ("string", TEXTS)}),
        ("serving_default", {"text": ("string", TEXTS[:1])}),
        ("serving_default", {"text": ("string", [])}),
        ("token_ids", {"token_ids": ("int32", ids), "padding_mask": ("bool", mask)}),
    )


def test_signatures(served):
    assert served[0] == {"serving_default": ["text"], "token_ids": ["padding_mask", "token_ids"]}


def test_it_answers_as_predict_does(served, writer_dir, capsys):  # noqa: F811
    answer = served[1][0]
    found = printed(capsys, "summarization", "predict", "--model_dir", writer_dir, *FLAGS, *TEXTS)
    for name in ("summary", "parts", "truncated"):
        assert answer[name] == [row[name] for row in found]
    assert answer["score"] == pytest.approx([row["score"] for row in found], abs=1e-4)
    assert answer["summary"][2] == answer["summary"][5] == ""
    assert answer["parts"][3] > 2 and any(answer["summary"])


def test_the_other_texts_of_a_request_do_not_matter(served):
    assert served[1][1]["summary"] == served[1][0]["summary"][:1]


def test_no_text(served):
    assert served[1][2] == {"summary": [], "score": [], "parts": [], "truncated": []}


def test_ids(served):
    answer = served[1][3]
    assert [len(row) for row in answer["token_ids"]] == [10, 10]
    assert [row[0] for row in answer["mask"]] == [True, True]
    assert [score < 0 for score in answer["score"]] == [True, True]


def test_many_parts_are_what_they_are_alone(writer_dir):  # noqa: F811
    """More parts than are searched for together, of texts of unequal lengths."""
    task = tfmodels.load(writer_dir)
    settings = Generation(max_new_tokens=4, num_beams=2)
    writer = TextWriter(task.model, task.tokenizer, task.tokens, settings, 8, "parts")
    words = ["the", "captain", "saw", "the", "moon", "and", "the", "old", "ship"]
    texts = [" ".join(words[i % 9] for i in range(n)) for n in (150, 3, 70)]
    together = {name: value.numpy() for name, value in writer(tf.constant(texts)).items()}
    assert sum(together["parts"]) > ROWS
    for row, text in enumerate(texts):
        alone = {name: value.numpy()[0] for name, value in writer(tf.constant([text])).items()}
        assert alone["summary"] == together["summary"][row]
        assert alone["parts"] == together["parts"][row]
        np.testing.assert_allclose(alone["score"], together["score"][row], atol=1e-4)


def test_parts_are_joined_as_the_language_does():
    parts = [
        ["One.", "Two."],
        ["第一。", "第二", "かな", "。end"],
        ["天", "", "sky"],
        ["天", "地", "人", "。"],
        [""],
        ["", "a"],
        [],
    ]
    found = joined(tf.ragged.constant(parts, dtype=tf.string)).numpy()
    expected = ["One. Two.", "第一。第二かな。end", "天 sky", "天地人。", "", "a", ""]
    assert [text.decode() for text in found] == expected


@pytest.mark.parametrize(
    "fields, others, message",
    [
        ({"max_new_tokens": 32}, {}, "positions for 32 tokens"),
        ({"max_new_tokens": 5, "sample": True}, {}, "searched for, not drawn"),
        ({"max_new_tokens": 5}, {"max_length": 33}, "positions for 32 tokens"),
        ({"max_new_tokens": 5}, {"long_texts": "both"}, "give one of cut, parts"),
    ],
)
def test_refusals(fields, others, message, writer_dir):  # noqa: F811
    task = tfmodels.load(writer_dir)
    with pytest.raises(InputError, match=message):
        TextWriter(task.model, task.tokenizer, task.tokens, Generation(**fields), **others)
