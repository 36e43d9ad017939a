"""Integrated gradients: against closed forms and a fine sum; the words and the page of a task."""

import html
import re

import numpy as np
import pytest
import tensorflow as tf

import tfmodels
from tfmodels.errors import InputError
from tfmodels.tasks.explanation import as_html, integrated_gradients

TEXTS = ["a warm funny film", "a dull empty film", "I loved it", "I hated it"] * 12
LABELS = ["pos", "neg"] * 24


@pytest.fixture(scope="module")
def task():
    task = tfmodels.TextClassifier.from_scratch(
        TEXTS, size="tiny", vocabulary_size=80, max_length=16
    )
    task.compile(learning_rate=2e-3, ema=0.0)
    task.fit(TEXTS, LABELS, epochs=8, batch_size=16, verbose=0)
    return task


def with_gradients(function):
    """A score of `integrated_gradients`."""

    def score(at):
        with tf.GradientTape() as tape:
            tape.watch(at)
            value = function(at)
        return value, tape.gradient(value, at)

    return score


def test_a_product_is_shared_equally_and_a_sum_as_it_is():
    inputs = tf.constant([[[3.0], [4.0]], [[-2.0], [5.0]]])  # [B, S, 1]
    product = with_gradients(lambda x: x[:, 0, 0] * x[:, 1, 0])
    found = integrated_gradients(product, inputs, tf.zeros_like(inputs))
    np.testing.assert_allclose(found.parts, [[6, 6], [-5, -5]], atol=1e-5)
    weighted = with_gradients(lambda x: 2 * x[:, 0, 0] - x[:, 1, 0] + 7)
    found = integrated_gradients(weighted, inputs, tf.ones_like(inputs))
    np.testing.assert_allclose(found.parts, [[4, -3], [-6, -4]], atol=1e-5)
    np.testing.assert_allclose(found.baseline, [8, 8])
    assert found.complete.all()


def test_values_are_those_of_a_fine_sum():
    """The oracle: the midpoint rule with 20,000 steps, in float64, gradients by hand."""
    rng = np.random.default_rng(0)
    inputs, baseline = rng.normal(size=(2, 3, 4, 5))  # [B, S, H] each
    weights = rng.normal(size=(4, 5))
    at = (np.arange(20_000) + 0.5) / 20_000
    on_line = baseline[None] + at[:, None, None, None] * (inputs - baseline)
    inner = (on_line * weights).sum((-2, -1))  # [steps, B]
    slope = 3 / np.cosh(3 * inner) ** 2
    wanted = slope.mean(0)[:, None] * (weights * (inputs - baseline)).sum(-1)  # [B, S]
    score = with_gradients(lambda x: tf.tanh(3 * tf.reduce_sum(x * weights, [-2, -1])))
    found = integrated_gradients(score, *(tf.constant(x, tf.float32) for x in (inputs, baseline)))
    assert found.complete.all()
    np.testing.assert_allclose(found.parts, wanted, atol=0.01 * abs(wanted).max())
    gain = found.score - found.baseline
    np.testing.assert_allclose(found.parts.sum(-1), gain, atol=0.01 * abs(gain).max())


def test_what_cannot_be_integrated_says_so():
    step = with_gradients(lambda x: tf.cast(x[:, 0, 0] > 0.5, tf.float32) + 0 * x[:, 0, 0])
    found = integrated_gradients(step, tf.ones([1, 1, 1]), tf.zeros([1, 1, 1]))
    assert not found.complete.any()


def test_parts_of_words_add_up_to_the_log_odds(task):
    texts = [*TEXTS[:4], "I loved it " * 9, "", "film"]
    answers = task.explain(texts)
    probabilities = task.probabilities(texts).astype(float)
    for text, answer, row in zip(texts, answers, probabilities, strict=True):
        explained = answer["explanation"]
        assert answer["text"] == text and explained["label"] == answer["label"]
        p = row[task.labels.index(answer["label"])]
        assert explained["score"] == pytest.approx(np.log(p / (1 - p)), abs=1e-2)
        gain = explained["score"] - explained["baseline"]
        total = sum(word["part"] for word in explained["words"])
        assert explained["complete"] and abs(total - gain) <= 0.01 * max(abs(gain), 0.1) + 1e-4
    assert answers[5]["explanation"]["words"] == []
    assert len(answers[4]["explanation"]["words"]) == 14  # of 27: max_length 16
    best = max(answers[2]["explanation"]["words"], key=lambda word: word["part"])
    assert best["word"] == "loved"


def test_the_other_label_of_two_has_the_opposite_parts(task):
    for_, against = (task.explain(TEXTS[:3], label=label) for label in ("pos", "neg"))
    for one, other in zip(for_, against, strict=True):
        parts = [[w["part"] for w in a["explanation"]["words"]] for a in (one, other)]
        np.testing.assert_allclose(parts[0], -np.array(parts[1]), atol=1e-3)
    with pytest.raises(InputError, match="label 'good': give one of neg, pos"):
        task.explain(TEXTS[:1], label="good")


def test_a_batch_changes_nothing(task):
    together = task.explain([*TEXTS[:4], "film " * 14])
    for text, answer in zip(TEXTS[:4], together, strict=False):
        alone = task.explain([text])[0]
        for one, other in zip(*(a["explanation"]["words"] for a in (answer, alone)), strict=True):
            assert one["part"] == pytest.approx(other["part"], abs=2e-3)


def test_words_are_characters_of_the_text_and_the_page_shows_them_as_text(task):
    text = "<b onclick='x'>Unlöved</b>\n 电影 & \u1100\u1161 it"
    (answer,) = answers = task.explain([text])
    for word in answer["explanation"]["words"]:
        assert text[word["start"] : word["end"]] == word["word"]
    page = as_html(answers)
    body = page.split("<p>")[1].split("</p>")[0]
    assert set(re.findall(r"<(/?\w+)", body)) == {"span", "/span"}
    assert html.unescape(re.sub(r"<[^>]*>", "", body)) == text


def test_pairs_several_labels_and_scores():
    """Words of both texts, cut as the model reads them; the value itself where it is a score."""
    pairs = [(text, other) for text, other in zip(TEXTS, TEXTS[1:], strict=False)]
    scored = tfmodels.TextClassifier.from_scratch(
        [text for pair in pairs for text in pair], target="score", pair=True, size="tiny",
        vocabulary_size=80, max_length=12,
    )  # fmt: skip
    answers = scored.explain([*pairs[:3], ("I loved it " * 5, "a dull film")])
    for answer in answers:
        explained = answer["explanation"]
        assert explained["score"] == pytest.approx(answer["value"], abs=1e-4)
        parts = [word["part"] for name in ("words", "pair_words") for word in explained[name]]
        gain = explained["score"] - explained["baseline"]
        assert abs(sum(parts) - gain) <= 0.01 * max(abs(gain), 0.1) + 1e-4
    last = answers[-1]["explanation"]
    assert [len(last[name]) for name in ("words", "pair_words")] == [6, 3]  # 9 of 18 tokens
    assert answers[-1]["pair"] == "a dull film"
    assert as_html(answers).count("<p>") == 8
    several = tfmodels.TextClassifier.from_scratch(
        TEXTS, ["a", "b", "c"], target="labels", size="tiny", vocabulary_size=80, max_length=12
    )
    (answer,) = several.explain(TEXTS[:1], label="b")
    p = answer["probabilities"]["b"]
    assert answer["explanation"]["score"] == pytest.approx(np.log(p / (1 - p)), abs=1e-3)
    (answer,) = several.explain(TEXTS[:1])
    best = max(answer["probabilities"], key=answer["probabilities"].get)
    assert answer["explanation"]["label"] == best
