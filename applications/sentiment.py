"""Classify texts, for example by sentiment: `tfmodels sentiment VERB`.

In: a table with a text and a label column, of any number of classes. Out: a model directory,
metrics, answers as JSON lines, a SavedModel. It is `classification` with one class a text.
"""

from dataclasses import dataclass
from typing import Literal

from applications import classification
from applications.classification import (
    Classification,
    EvaluateOnFile,
    Predict,
    TrainOnFile,
)


@dataclass(kw_only=True)
class Train(TrainOnFile):
    """Train a classifier and write a model directory."""

    target: Literal["class", "labels", "score"] | None = "class"


@dataclass(kw_only=True)
class Export(classification.Export):
    """Write a SavedModel that takes strings, as the next version in export_dir."""

    export_dir: str = "saved_models/sentiment"


class Sentiment(Classification):
    """Classify texts, for example by sentiment."""

    name = "sentiment"


APPLICATION = Sentiment()
VERBS = APPLICATION.verbs(train=Train, evaluate=EvaluateOnFile, predict=Predict, export=Export)
