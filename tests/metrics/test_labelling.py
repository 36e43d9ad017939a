"""Metrics of classes, labels and scores equal those of scikit-learn and scipy on random cases."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from tfmodels.metrics.calibration import (
    best_temperature,
    best_threshold,
    best_thresholds,
    least_probability,
)
from tfmodels.metrics.classification import ClassOutcomes, most_confused
from tfmodels.metrics.label_sets import LabelOutcomes
from tfmodels.metrics.scores import ScoreOutcomes, ranks

NEAR = {"rel": 1e-12, "abs": 1e-12}
SEEDS = range(8)


def in_parts(outcomes, *columns):
    """Results of rows that are added in parts of different sizes."""
    for first, last in ((0, 1), (1, 40), (40, None)):
        outcomes.add(*(column[first:last] for column in columns))
    return outcomes.result()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("classes", [2, 5, 40])
def test_classes(seed, classes):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.3), 90)
    true = np.where(rng.random(90) < 0.5, probabilities.argmax(-1), rng.integers(0, classes, 90))
    predicted, names = probabilities.argmax(-1), [f"c{i}" for i in range(classes)]
    found = in_parts(ClassOutcomes(names), true, probabilities, predicted)
    numbers = range(classes)
    options = {"labels": numbers, "zero_division": 0}
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(true, predicted), **NEAR)
    macro = reference.f1_score(true, predicted, average="macro", **options)
    assert found["macro_f1"] == pytest.approx(macro, **NEAR)
    matthews = reference.matthews_corrcoef(true, predicted)
    assert found["matthews"] == pytest.approx(matthews, **NEAR)
    by_class = reference.precision_recall_fscore_support(true, predicted, **options)
    for name, *row in zip(names, *by_class, strict=True):
        kinds = ("precision", "recall", "f1", "examples")
        assert [found["classes"][name][kind] for kind in kinds] == pytest.approx(row, **NEAR)
    loss = reference.log_loss(true, np.maximum(probabilities, 1e-12), labels=numbers)
    assert found["log_loss"] == pytest.approx(loss, rel=1e-6)
    assert ("f1" in found) == (classes == 2) and ("confused" in found) == (classes > 30)
    if classes == 2:
        assert found["f1"] == pytest.approx(reference.f1_score(true, predicted), **NEAR)


def test_matthews_of_one_class_only_is_0():
    outcomes = ClassOutcomes(["a", "b"])
    outcomes.add(np.zeros(3, int), np.eye(2)[[0, 0, 0]], np.zeros(3, int))
    assert outcomes.result()["matthews"] == 0 == reference.matthews_corrcoef([0] * 3, [0] * 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_several_labels(seed):
    rng = np.random.default_rng(seed)
    probabilities, true = rng.random((90, 7)), rng.random((90, 7)) < 0.2
    predicted = probabilities > 0.7
    names = [f"l{i}" for i in range(7)]
    found = in_parts(LabelOutcomes(names), true, probabilities, predicted)
    for name, average in (("micro_f1", "micro"), ("macro_f1", "macro")):
        expected = reference.f1_score(true, predicted, average=average, zero_division=0)
        assert found[name] == pytest.approx(expected, **NEAR)
    jaccard = reference.jaccard_score(true, predicted, average="samples", zero_division=0)
    assert found["jaccard"] == pytest.approx(jaccard, **NEAR)
    assert found["exact"] == pytest.approx(reference.accuracy_score(true, predicted), **NEAR)
    by_label = reference.f1_score(true, predicted, average=None, zero_division=0)
    assert [found["classes"][name]["f1"] for name in names] == pytest.approx(by_label, **NEAR)


@pytest.mark.parametrize("seed", SEEDS)
def test_scores(seed):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 6, 90) / 2.0  # with ties
    predicted = true + rng.normal(size=90).round(1)
    found = in_parts(ScoreOutcomes(), true, predicted)
    assert found["pearson"] == pytest.approx(stats.pearsonr(true, predicted)[0], **NEAR)
    assert found["spearman"] == pytest.approx(stats.spearmanr(true, predicted)[0], **NEAR)
    assert found["r2"] == pytest.approx(reference.r2_score(true, predicted), **NEAR)
    assert found["rmse"] ** 2 == pytest.approx(reference.mean_squared_error(true, predicted))
    np.testing.assert_array_equal(ranks(predicted), stats.rankdata(predicted))


def test_scores_that_do_not_vary_have_no_correlation():
    found = in_parts(ScoreOutcomes(), np.ones(50), np.arange(50.0))
    assert found["pearson"] == found["spearman"] == found["r2"] == 0.0


def test_calibration_error_by_hand():
    """In the bin of 0.9: 10 texts, 7 right; in that of 0.6: 10 texts, 6 right."""
    sure = np.repeat([[0.9, 0.1], [0.6, 0.4]], 10, 0)
    true = np.array([0] * 7 + [1] * 3 + [0] * 6 + [1] * 4)
    found = in_parts(ClassOutcomes(["a", "b"]), true, sure, sure.argmax(-1))
    assert found["calibration_error"] == pytest.approx((10 * 0.2 + 10 * 0.0) / 20)


def test_a_temperature_undoes_a_factor():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20000, 4)) * 2
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    true = (p.cumsum(-1) > rng.random((20000, 1))).argmax(-1)
    assert best_temperature(logits, true) == pytest.approx(1.0, abs=0.05)
    assert best_temperature(3 * logits, true) == pytest.approx(3.0, abs=0.15)
    assert best_temperature(logits / 100, true) == pytest.approx(0.25)  # the smallest


def test_the_best_threshold_of_all():
    rng = np.random.default_rng(1)
    probabilities, true = rng.random(60).round(2), rng.random(60) < 0.3
    found = best_threshold(probabilities, true)
    best = reference.f1_score(true, probabilities >= found)
    every = [reference.f1_score(true, probabilities >= t) for t in np.unique(probabilities)]
    assert best == pytest.approx(max(every))
    assert best_threshold(probabilities, np.zeros(60, bool)) == 0.5
    both = np.stack([probabilities, probabilities / 2], 1)
    each = best_thresholds(both, np.stack([true, true], 1), each=True)
    assert each == pytest.approx([found, found / 2])
    assert len(set(best_thresholds(both, np.stack([true, true], 1), each=False))) == 1


def test_the_least_probability_loses_few_right_answers():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(5, 0.3), 1000)
    true = probabilities.argmax(-1)  # all right, those of class 4 are out of scope
    least = least_probability(probabilities, true, 4, lost=0.05)
    rejected = probabilities.max(-1)[true != 4] < least
    assert rejected.mean() == pytest.approx(0.05, abs=0.002)
    assert least_probability(probabilities[:0], true[:0], 4) == 0.0


def test_texts_out_of_scope():
    outcomes = ClassOutcomes(["a", "b", "oos"], "oos")
    true, predicted = np.array([0, 1, 1, 2, 2]), np.array([0, 1, 2, 2, 0])
    outcomes.add(true, np.full((5, 3), 1 / 3), predicted)
    found = outcomes.result()
    assert found["in_scope_accuracy"] == pytest.approx(2 / 3)
    assert found["out_of_scope_recall"] == 0.5


def test_the_most_confused_labels():
    confusion = np.array([[5, 2, 0], [4, 5, 1], [0, 0, 3]])
    first, second = most_confused(confusion, ["a", "b", "c"])
    assert first == {"labels": ["a", "b"], "times": 6, "as_second": 2}
    assert second == {"labels": ["b", "c"], "times": 1, "as_second": 1}
