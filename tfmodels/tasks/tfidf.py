"""A linear model on TF-IDF: what every classifier of texts has to beat, in seconds.

In: rows of texts, or pairs of texts, with labels. Out: predictions and metrics; no model is
written. The features are words, pairs of words, and runs of one to four characters inside of what
white space separates, which are the words of a Chinese text. The two texts of a pair have features
of their own, and those that both have. The model is a linear support vector machine, as in Wang and
Manning 2012 (ACL, P12-2018), one for each of several labels, or ridge regression of a score.
scikit-learn computes all of it.
"""

import itertools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tfmodels.data.labels import separated
from tfmodels.data.rows import Source, canonical_label
from tfmodels.errors import InputError
from tfmodels.metrics.classification import classification_metrics
from tfmodels.metrics.label_sets import LabelOutcomes
from tfmodels.metrics.scores import ScoreOutcomes
from tfmodels.tasks.targets import number_of

CHARACTERS = (1, 4)  # length of the runs
# Number of training rows of a quick measurement, and of these times the number of classes.
QUICK_ROWS, QUICK = 20_000, 1_000_000
LATENCY_TEXTS = 50  # number of texts that are answered one by one, for the time of an answer


class Measured(NamedTuple):
    """What the baseline reached on held-out rows.

    Attributes:
        metrics: dict of numbers, those of the target; see `TextClassifier.evaluate`.
        predictions: list of dicts of `text` (and `pair`), `true` and `predicted`.
        seconds: of the training.
        latency: seconds for one text.
        size: bytes of the features' names and the weights.
        rows: number of training rows.
    """

    metrics: dict[str, Any]
    predictions: list[dict]
    seconds: float
    latency: float
    size: int
    rows: int


class Tfidf:
    """TF-IDF with a linear model.

    Args:
        target: "class", "labels" or "score", as of `TextClassifier`.

    Example:
        >>> model = Tfidf().fit(["a joy", "a bore"], ["good", "bad"])
        >>> model.predict(["what a joy"])
        ['good']

    Raises:
        InputError: scikit-learn is not installed.
    """

    def __init__(self, target: str = "class") -> None:
        try:
            from sklearn.feature_extraction.text import TfidfVectorizer
            from sklearn.linear_model import Ridge
            from sklearn.multiclass import OneVsRestClassifier
            from sklearn.pipeline import FeatureUnion
            from sklearn.preprocessing import MultiLabelBinarizer
            from sklearn.svm import LinearSVC
        except ModuleNotFoundError as error:
            raise InputError(
                "the TF-IDF baseline needs scikit-learn; run: pip install scikit-learn"
            ) from error
        common = {"sublinear_tf": True, "dtype": np.float32}
        words = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2), **common)
        characters = TfidfVectorizer(analyzer="char_wb", ngram_range=CHARACTERS, **common)
        self._features = FeatureUnion([("words", words), ("characters", characters)])
        self._names = MultiLabelBinarizer() if target == "labels" else None
        svm = LinearSVC(random_state=0)
        models = {"class": svm, "labels": OneVsRestClassifier(svm), "score": Ridge()}
        self._model: Any = models[target]

    def fit(self, texts: Sequence, labels: Sequence) -> "Tfidf":
        """Train on texts, or pairs of texts, with their labels.

        Args:
            texts: str, or tuples of two.
            labels: str, tuples of str or float, by the target.

        Raises:
            InputError: the labels are all the same, or no text has a character.
        """
        if len(set(labels)) < 2:
            raise InputError(f"all labels are {labels[0]!r}; give rows of two or more")
        wanted = labels if self._names is None else self._names.fit_transform(labels)
        try:
            self._features.fit([side for text in texts for side in _sides(text)])
            self._model.fit(self._transformed(texts), wanted)
        except ValueError as error:  # "empty vocabulary"
            raise InputError(f"the TF-IDF baseline: {error}; give rows with text") from error
        return self

    def predict(self, texts: Sequence) -> list:
        """Return the label, the tuple of labels or the score of each text."""
        found = self._model.predict(self._transformed(texts))
        return found.tolist() if self._names is None else self._names.inverse_transform(found)

    def _transformed(self, texts):
        from scipy.sparse import hstack

        sides = [self._features.transform(side) for side in zip(*map(_sides, texts), strict=True)]
        both = [sides[0].multiply(sides[1])] if len(sides) == 2 else []
        return hstack([*sides, *both], format="csr")

    @property
    def size(self) -> int:
        """Bytes of the names of the features, of their frequencies and of the weights."""
        models = getattr(self._model, "estimators_", [self._model])
        weights = sum(np.size(getattr(model, "coef_", ())) for model in models)
        names = self._features.get_feature_names_out()
        return sum(len(name.encode()) for name in names) + 4 * (len(names) + weights)


def measure(
    rows: Source, held_out: Source, target: str = "class", label_separator: str | None = None,
    quick: bool = False,
) -> Measured:  # fmt: skip
    """Train on rows, measure on held-out ones.

    Args:
        rows: with one or two columns of texts and a column of labels.
        held_out: likewise.
        target: see `Tfidf`.
        label_separator: between several labels in one text.
        quick: whether to train on some of the rows only, drawn at random, which takes seconds.

    Raises:
        InputError: as of `Tfidf`; or rows cannot be read.
    """
    texts, labels = _columns(rows, target, label_separator, quick)
    start = time.perf_counter()
    model = Tfidf(target).fit(texts, labels)
    seconds, number = time.perf_counter() - start, len(texts)
    texts, true = _columns(held_out, target, label_separator)
    predicted = model.predict(texts)
    some = texts[:LATENCY_TEXTS]
    start = time.perf_counter()
    for text in some:
        model.predict([text])
    latency = (time.perf_counter() - start) / max(len(some), 1)
    metrics = METRICS[target](labels, true, predicted)
    predictions = [
        {**dict(zip(("text", "pair"), _sides(text), strict=False)),
         "true": label, "predicted": answer}
        for text, label, answer in zip(texts, true, predicted, strict=True)
    ]  # fmt: skip
    return Measured(metrics, predictions, seconds, latency, model.size, number)


def _sides(text):
    return text if isinstance(text, tuple) else (text,)


def _columns(rows: Source, target: str, separator: str | None, quick: bool = False) -> tuple:
    """Return the texts and the labels of rows."""
    column = len([name for name in rows.columns if name != "weight"]) - 1
    name = rows.columns[column]
    if target == "labels" and not rows.several:
        rows = separated(rows, name, separator or ",")
    read = itertools.islice(rows.rows(seed=0 if quick else None), QUICK_ROWS if quick else None)
    values = [values for _, values in read]
    texts = [row[0] if column == 1 else row[:column] for row in values]
    labels: list[Any] = [row[column] for row in values]
    if target == "score":
        try:
            labels = [number_of(label) for label in labels]
        except KeyError as error:
            raise InputError(
                f"{rows.name}: {error} in column {name!r} is no number; give --target class"
            ) from None
    elif target == "class":
        labels = [canonical_label(label) for label in labels]
    most = QUICK // max(len(set(labels)), 1) if quick and target == "class" else None
    return texts[:most], labels[:most]


def _of_classes(labels, true, predicted):
    names = sorted({*labels, *true})
    number = {name: place for place, name in enumerate(names)}
    confusion = np.zeros((len(names), len(names)), int)
    np.add.at(confusion, tuple([number[name] for name in side] for side in (true, predicted)), 1)
    return classification_metrics(confusion, names)


def _of_several(labels, true, predicted):
    names = sorted({name for row in (*labels, *true) for name in row})
    there = [np.array([[name in row for name in names] for row in side]) for side in
             (true, predicted)]  # fmt: skip
    outcomes = LabelOutcomes(names)
    outcomes.add(there[0], there[1].astype(float), there[1])
    metrics = outcomes.result()
    del metrics["calibration_error"]  # there are no probabilities
    return metrics


def _of_scores(labels, true, predicted):
    outcomes = ScoreOutcomes()
    outcomes.add(np.asarray(true), np.asarray(predicted))
    return outcomes.result()


METRICS = {"class": _of_classes, "labels": _of_several, "score": _of_scores}
