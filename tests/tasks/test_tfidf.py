"""The linear model on TF-IDF."""

import numpy as np
import pytest

from tfmodels.data.memory import MemorySource, as_source
from tfmodels.errors import InputError
from tfmodels.tasks.tfidf import Tfidf, measure

ROWS = {"a warm film": "good", "a dull film": "bad", "很好看的电影": "good", "很难看的电影": "bad"}


def test_words_and_chinese_characters_decide():
    model = Tfidf().fit(list(ROWS) * 3, list(ROWS.values()) * 3)
    assert model.predict(["so warm", "dull", "好看", "难看"]) == ["good", "bad", "good", "bad"]
    assert model.size > 4 * len(ROWS)


def test_measured_on_held_out_rows():
    texts = [f"{text} {number}" for number in range(10) for text in ROWS]
    labels = list(ROWS.values()) * 10
    rows, held_out = as_source(texts[:32], labels[:32]), as_source(texts[32:], labels[32:])
    for quick in (False, True):
        found = measure(rows, held_out, quick=quick)
        assert found.metrics["accuracy"] == 1 and found.metrics["examples"] == 8
        assert found.rows == 32 and found.latency > 0 and found.seconds > 0
        assert [line["text"] for line in found.predictions] == texts[32:]
        right = [line["true"] == line["predicted"] for line in found.predictions]
        assert np.mean(right) == found.metrics["accuracy"]


def test_several_labels_scores_and_pairs():
    texts = [
        f"{one} and {other}" for one in ("red", "blue", "grey") for other in ("hat", "box")
    ] * 5
    several = MemorySource({"text": texts, "label": [",".join(t.split(" and ")) for t in texts]})
    found = measure(several, several, "labels", ",")
    assert found.metrics["jaccard"] == found.metrics["exact"] == 1
    assert found.predictions[0]["predicted"] == ("hat", "red")
    values = [str(2.5 * ("red" in text)) for text in texts]
    pairs = [text.split(" and ") for text in texts]
    columns = dict(zip(("a", "b"), zip(*pairs, strict=True), strict=True))
    scores = MemorySource({**columns, "score": values})
    found = measure(scores, scores, "score")
    assert found.metrics["pearson"] > 0.99 and found.predictions[0]["pair"] == "hat"
    with pytest.raises(InputError, match="'hat' in column 'b' is no number"):
        measure(*[MemorySource({"text": texts, "b": columns["b"]})] * 2, "score")


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["a", "b"], ["x", "x"], "rows of two or more"),
        ([" ", ""], ["x", "y"], "give rows with text"),
    ],
)
def test_refused(texts, labels, message):
    with pytest.raises(InputError, match=message):
        Tfidf().fit(texts, labels)
