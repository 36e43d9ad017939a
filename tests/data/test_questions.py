"""Questions of every kind of file, and what is refused in one line."""

import gzip
import json

import pytest

from tests.data.written import write_prepared
from tfmodels.data import lines
from tfmodels.data.questions import as_questions, open_questions
from tfmodels.data.split import split
from tfmodels.errors import InputError

CONTEXT = "Ada left Rome at noon. Bo left Rome at night."
ROWS = [
    ("Who left at noon?", CONTEXT, (("Ada", 0),), "q1"),
    ("Where was Bo?", CONTEXT, (("Rome", 31), ("Rome", 9)), "q2"),
    ("Who came?", CONTEXT, (), "q3"),
]


def squad(rows=ROWS):
    questions = [
        {
            "id": name, "question": question, "is_impossible": not answers,
            "answers": [{"text": text, "answer_start": start} for text, start in answers],
        }
        for question, _, answers, name in rows
    ]  # fmt: skip
    return {"data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": questions}]}]}


def read(path, **options):
    return [values for _, values in open_questions(path, **options).rows()]


def test_squad(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps(squad()))
    assert read(path) == ROWS
    with gzip.open(tmp_path / "train.json.gz", "wt") as file:
        json.dump(squad(), file)
    source = open_questions(tmp_path / "train.json.gz")
    assert [values for _, values in sorted(source.rows(seed=1))] == ROWS
    assert source.scan().label_counts == {"answer": 2, "no answer": 1}


def test_lines_and_tables(tmp_path):
    lines = tmp_path / "rows.jsonl"
    of_hub = {"text": ["Rome", "Rome"], "answer_start": [31, 9]}
    rows = [
        {"id": "q1", "question": ROWS[0][0], "context": CONTEXT, "answer": "Ada", "start": 0},
        {"id": "q2", "question": ROWS[1][0], "context": CONTEXT, "answers": of_hub},
        {"id": "q3", "question": ROWS[2][0], "context": CONTEXT, "answers": []},
    ]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read(lines) == ROWS
    table = tmp_path / "rows.csv"
    table.write_text(f"q,context,answer,start\nWho?,{CONTEXT},Bo,23\nWhen?,{CONTEXT},,\n")
    found = read(table, question_column="q")
    assert [row[2] for row in found] == [(("Bo", 23),), ()]


def test_tfds(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    rows = [
        {
            "id": name, "title": "t", "context": context, "question": question,
            "answers": {"text": [t for t, _ in answers], "answer_start": [s for _, s in answers]},
        }
        for question, context, answers, name in ROWS[:2]
    ]  # fmt: skip
    write_prepared("squad", tmp_path, {"train": rows, "validation": rows})
    assert read("tfds:squad") == ROWS[:2]
    with pytest.raises(InputError, match="no column 'question' as SQuAD has it"):
        write_prepared(
            "samsum", tmp_path, {"train": [{"id": "1", "dialogue": "a", "summary": "b"}]}
        )
        open_questions("tfds:samsum")


def test_answers_beside_their_start(capsys):
    """The nearest occurrence, before or behind."""
    pairs, answers = (
        [("Where?", CONTEXT)] * 4,
        [("Rome", 28), ("Rome", 14), ("Rome", 9), ("Bo", -1)],
    )
    rows = as_questions(pairs, answers)
    assert [values[2][0] for _, values in rows.rows()] == [
        ("Rome", 31), ("Rome", 9), ("Rome", 9), ("Bo", 23),
    ]  # fmt: skip
    said = capsys.readouterr().err
    assert "3 answers do not stand at their start" in said and "first row 0 'Rome'" in said
    list(rows.rows())
    assert not capsys.readouterr().err


def test_one_of_several_answers_is_not_in_its_context(capsys):
    """As in CMRC 2018, where a reference may be worded freely: it is kept, behind the others."""
    rows = as_questions(
        [("Who?", CONTEXT)] * 2, [[("Ada L.", 0), ("Ada", 0)], [("Bo", 23), ("Ada", 0)]]
    )
    assert [values[2] for _, values in rows.rows()] == [
        (("Ada", 0), ("Ada L.", -1)), (("Bo", 23), ("Ada", 0)),
    ]  # fmt: skip
    said = capsys.readouterr().err
    assert "1 questions have an answer that their context does not have" in said
    assert "first row 0 'Ada L.'" in said and "counts in the metrics alone" in said


def test_whole_contexts_are_held_out():
    pairs = [(f"Who {n}?", f"Ada {n // 4} left.") for n in range(80)]
    train, held_out = split(as_questions(pairs, [("Ada", 0)] * 80), 0.2)
    contexts = [{values[1] for _, values in part.rows()} for part in (train, held_out)]
    assert not contexts[0] & contexts[1] and list(map(len, contexts)) == [16, 4]
    assert (train.scan().rows, held_out.scan().rows) == (64, 16)
    alone = split(as_questions([("Who?", CONTEXT)] * 10, [("Ada", 0)] * 10), 0.2)
    assert [part.scan().rows for part in alone] == [8, 2]


def test_what_answers_may_be():
    rows = as_questions([("Who?", CONTEXT)] * 3, [{"text": "Ada", "start": 0}, [("Bo", 23)], None])
    assert [values[2] for _, values in rows.rows()] == [(("Ada", 0),), (("Bo", 23),), ()]


@pytest.mark.parametrize(
    ("answer", "context", "problem"),
    [
        (("Eve", 3), CONTEXT, "row 0: the context does not have the answer 'Eve'"),
        (("Ada", "0"), CONTEXT, "the start of the answer 'Ada' is '0', no integer"),
        (("Ada", 0), "  ", "the context is empty"),
        ((" ", 3), CONTEXT, "an answer is empty"),
        (["Ada"], CONTEXT, "the answer is 'Ada'"),
    ],
)
def test_rows_that_are_refused(answer, context, problem):
    with pytest.raises(InputError, match=problem):
        as_questions([("Who?", context)], [answer])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text[: len(text) // 2], "not valid JSON"),
        (lambda text: text.replace('"id": "q2"', '"name": "q2"'), r"qas\[1\]: no 'id'"),
        (lambda text: text.replace('"Ada", "answer', '"Eve", "answer'), r"qas\[0\]: the context"),
        (lambda text: text.replace('"data"', '"rows"'), 'no list "data"'),
        (lambda text: text.replace("Who came?", " "), r"qas\[2\]: the question is empty"),
        (lambda text: text.replace('"answers": []', '"answers": 3'), "'answers' is 3, no list"),
        (lambda text: text.replace("Who came?", "\\ud800"), "surrogate"),
    ],
)
def test_squad_files_that_are_refused(tmp_path, change, problem):
    path = tmp_path / "train.json"
    path.write_text(change(json.dumps(squad())))
    with pytest.raises(InputError, match=problem) as error:
        open_questions(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.jsonl", '{"question": "Who?", "answer": "Ada"}\n', "a.jsonl:1: no key 'context'"),
        (
            "a.jsonl",
            '{"question": "Q", "context": "C", "answers": {"text": ["C"]}}\n',
            "same length",
        ),
        ("a.csv", "question,context,answer\nWho?,Ada,Ada\n", "no column named 'start'"),
        ("a.csv", "question,context,answer,start\nWho?,Ada,Ada,first\n", "the start is 'first'"),
        ("a.csv", "question,context,answer,start\nWho?,Ada,Bo,0\n", "a.csv:2: the context does"),
    ],
)
def test_lines_that_are_refused(tmp_path, name, text, problem):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=problem):
        list(open_questions(tmp_path / name).rows())


def test_a_line_of_any_length(tmp_path, monkeypatch):
    """SQuAD's own files are one line of 30 MB and more."""
    monkeypatch.setattr(lines.LineFile, "_row_bytes", 100)
    path = tmp_path / "train.json"
    path.write_text(json.dumps(squad()))
    assert path.stat().st_size > 300 and read(path) == ROWS


def test_blanks_around_an_answer():
    rows = as_questions([("Where?", CONTEXT)] * 3, [(" Rome ", 8), ("Rome ", 9), (" night.", 38)])
    found = [answers for *_, answers, _ in (values for _, values in rows.rows())]
    assert found == [(("Rome", 9),), (("Rome", 9),), (("night.", 39),)]


def test_words_that_mean_nothing_elsewhere_are_answers(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("question,context,answer,start\nWhat?,Just NA or None here,None,11\n")
    assert read(path) == [("What?", "Just NA or None here", (("None", 11),), "2")]
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "How many?", "context": "Of 20", "answer": 0, "start": 4}\n')
    assert read(path) == [("How many?", "Of 20", (("0", 4),), "1")]


def test_questions_without_answers_are_read_to_be_answered(tmp_path):
    data = squad()
    for item in data["data"][0]["paragraphs"][0]["qas"]:
        del item["answers"]
    path = tmp_path / "test.json"
    path.write_text(json.dumps(data))
    assert [row[2] for row in read(path, answers=False)] == [()] * 3
    with pytest.raises(InputError, match="no 'answers'"):
        read(path)
