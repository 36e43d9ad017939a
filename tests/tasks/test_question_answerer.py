"""`QuestionAnswerer` in a script: long contexts, thresholds, published heads."""

import numpy as np
import pytest

import tfmodels
from tfmodels.errors import InputError
from tfmodels.models.span_finder import NEVER

LEFT, HERE = "Ada left at noon.", "Bo is in Rome today."
PAIRS = [("who left?", LEFT), ("where is Bo?", HERE), ("when did Ada leave?", LEFT)]
PAIRS += [("who is here?", HERE)]
ANSWERS = [("Ada", 0), ("Rome", 9), ("noon", 12), None]


@pytest.fixture(scope="module")
def task():
    texts = [text for pair in PAIRS for text in pair]
    task = tfmodels.QuestionAnswerer.from_scratch(
        texts, size="tiny", vocabulary_size=120, max_length=24, dropout=0.0
    )
    task.compile(learning_rate=2e-3)
    task.fit(PAIRS * 8, ANSWERS * 8, batch_size=16, epochs=8, verbose=0)
    return task


def test_learns_what_it_is_told(task):
    answers = task.predict(PAIRS[:3])
    assert [a["answer"] for a in answers] == ["Ada", "Rome", "noon"]
    assert task.evaluate(PAIRS[:3], ANSWERS[:3])["exact_match"] == 100


def test_a_long_context_is_answered_as_its_windows_are(task):
    """20,000 words: of the answers to the windows alone the best, at its place."""
    from tfmodels.text.question_windows import question_windows

    context = "Bo is in Rome. " * 2500 + "Ada left at noon. " + "it is late. " * 3300
    (best,) = task.find([("who left?", context)])[0]
    assert context[best["start"] : best["end"]] == best["answer"]
    windows = question_windows(task.tokenizer, ["who left?"], [context], **task._reading())
    batch = windows.batch(task.tokenizer, task.max_length)
    number = len(batch["token_ids"])
    assert number > 1000
    logits = np.concatenate(
        [task.model({k: v[i : i + 256] for k, v in batch.items()}) for i in range(0, number, 256)]
    )
    tops = (
        np.where(windows.begins, logits[:, 0], NEVER)[:, :, None]
        + np.where(windows.lasts, logits[:, 1], NEVER)[:, None]
    )
    tops = np.where(np.triu(np.ones(tops.shape[1:])) > 0, tops, NEVER)
    row, start, end = np.unravel_index(tops.argmax(), tops.shape)
    assert best["start"] == windows.starts[row, start] and best["end"] == windows.ends[row, end]
    null = (logits[:, 0, 0] + logits[:, 1, 0]).min()
    assert best["null_score"] == pytest.approx(1 / (1 + np.exp(tops.max() - null)), abs=1e-4)


def test_answers_do_not_depend_on_the_batch(task):
    contexts = [("who left?", text * n) for n in (1, 9) for _, text in PAIRS]
    together = task.predict(contexts)
    for pair, answer in zip(contexts, together, strict=True):
        (alone,) = task.predict([pair])
        assert (alone["start"], alone["end"]) == (answer["start"], answer["end"])
        assert alone["score"] == pytest.approx(answer["score"], abs=1e-5)


def test_threshold_is_fitted_and_kept(task, tmp_path):
    assert task.calibrate(PAIRS[:3], ANSWERS[:3]) == {} and task.threshold is None
    found = task.calibrate(PAIRS, ANSWERS)
    assert task.threshold == found["threshold"] and found["f1"] >= 75
    assert task.evaluate(PAIRS, ANSWERS)["f1"] == pytest.approx(found["f1"])
    task.threshold = 1e-9
    answer = task.predict(PAIRS[:1])[0]
    assert (answer["answer"], answer["start"], answer["end"]) == ("", -1, -1)
    task.save(tmp_path / "model")
    again = tfmodels.load(tmp_path / "model")
    assert again.threshold == 1e-9 and again.predict(PAIRS) == task.predict(PAIRS)
    task.threshold = None
    assert task.predict(PAIRS[:1])[0]["answer"]


def test_mistakes_have_their_context(task):
    metrics = task.evaluate(PAIRS[:1], [("at noon", 9)], mistakes=5)
    (mistake,) = metrics["worst_mistakes"]
    assert mistake["gold"] == ["Ada left [at noon]."] and mistake["predicted"].startswith("[Ada]")


def test_transformers_reads_the_head_and_ours_reads_it(task, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    task.save(tmp_path / "ours")
    model = transformers.BertForQuestionAnswering.from_pretrained(tmp_path / "ours").eval()
    (batch,) = task.dataset(PAIRS[:2], batch_size=2)
    logits = task.model(batch).numpy()
    ids, mask, segments = (
        torch.tensor(batch[n].numpy()).long() for n in ("token_ids", "padding_mask", "segment_ids")
    )
    with torch.no_grad():
        found = model(ids, attention_mask=mask, token_type_ids=segments)
    real = logits > NEVER / 2
    expected = np.stack([found.start_logits, found.end_logits], 1)
    np.testing.assert_allclose(logits[real], expected[real], atol=1e-5)
    model.config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    model.save_pretrained(tmp_path / "published")
    for name in ("vocab.txt", "tokenizer_config.json"):
        (tmp_path / "published" / name).write_bytes((tmp_path / "ours" / name).read_bytes())
    config = (tmp_path / "published" / "config.json").read_text()
    (tmp_path / "published" / "config.json").write_text(config.replace('"tfmodels"', '"other"'))
    again = tfmodels.load(tmp_path / "published")
    assert isinstance(again, tfmodels.QuestionAnswerer)
    np.testing.assert_allclose(again.model(batch), logits, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda task: task.predict(["who?"]), r"row 0: 'who\?' instead of a \(question, context\)"),
        (lambda task: task.predict([("who?", "")]), "row 0: the context is empty"),
        (lambda task: task.evaluate(PAIRS), "answers are missing"),
        (lambda task: task.evaluate(PAIRS, ANSWERS[:2]), "x has 4 rows and y 2"),
        (lambda task: task.evaluate(PAIRS, ANSWERS, metric="bleu"), "metric 'bleu'"),
        (lambda task: task.fit(PAIRS, ANSWERS, sample_weight=[1]), "questions have no weights"),
    ],
)
def test_mistakes_of_the_caller(task, call, problem):
    with pytest.raises(InputError, match=problem):
        call(task)


def test_windows_share_twice_an_answer(task):
    """Each word begins an answer in one window only, which has room for the rest of it."""
    others = {"max_length": 48, "max_question_length": 6}
    for most, stride in ((8, 16), (40, 19)):
        other = tfmodels.QuestionAnswerer(
            task.model, task.tokenizer, max_answer_length=most, **others
        )
        assert other.stride == stride


def test_answers_that_cannot_be_found_are_counted(capsys):
    long = LEFT + " " + "Ada left at noon, " * 9
    pairs = [("who left?", LEFT), ("who left?", long), ("where is Bo?", LEFT)]
    task = tfmodels.QuestionAnswerer.from_scratch(
        [text for pair in PAIRS for text in pair], size="tiny", vocabulary_size=120, max_length=20,
        max_question_length=6, stride=2, max_answer_length=2,
    )  # fmt: skip
    task.fit(pairs * 4, [("Ada left at", 0), (long[:150], 0), None] * 4, epochs=1, batch_size=4)
    said = capsys.readouterr().err
    assert "12 training questions, 4 of them without an answer" in said
    assert "; 4 answers are whole in no window and count as none" in said
    assert "; 4 answers are never found: they have more than max_answer_length 2 tokens" in said
