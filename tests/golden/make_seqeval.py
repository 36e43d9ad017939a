"""Makes `seqeval.json` beside this file: the numbers of `seqeval` for random tag sequences.

Out: a list of cases, each with `gold` and `predicted` (texts; tags with spaces between
them), the `spans` that are entities in `predicted`, and `report`,
what `classification_report(..., mode="strict", scheme=IOB2, output_dict=True)` gives. The
tags are drawn at random, so that many sequences break the scheme.

    python tests/golden/make_seqeval.py     (made with seqeval 1.2.2, numpy 2.4.6)
"""

import json
import random
from pathlib import Path

from seqeval.metrics import classification_report
from seqeval.scheme import IOB2, Entities

CASES = 60


def make(draw):
    types = draw.sample(["PER", "ORG", "LOC", "MISC", "work-of-art", *"ABCDEF"], draw.randint(1, 9))
    tags = ["O", *(f"{prefix}-{kind}" for kind in types for prefix in "BI")]
    gold, predicted = [], []
    for _ in range(draw.randint(1, 6)):
        words = draw.randint(1, 14)
        # Repeated tags make long entities; few changes make right ones.
        row = [draw.choice(tags)]
        while len(row) < words:
            row.append(draw.choice([draw.choice(tags), row[-1].replace("B-", "I-")]))
        gold.append(row)
        share = draw.choice([0.1, 0.3, 1.0])
        predicted.append([draw.choice(tags) if draw.random() < share else tag for tag in row])
    return gold, predicted


def plain(report):
    return {
        name: {key: value.item() if hasattr(value, "item") else value for key, value in row.items()}
        for name, row in report.items()
    }


def case(draw):
    gold, predicted = make(draw)
    while not any("B-" in tag for row in gold + predicted for tag in row):
        gold, predicted = make(draw)  # seqeval has no mean over no types
    report = classification_report(
        gold, predicted, mode="strict", scheme=IOB2, output_dict=True, zero_division=0
    )
    return {
        "gold": [" ".join(row) for row in gold],
        "predicted": [" ".join(row) for row in predicted],
        "spans": [
            [[entity.tag, entity.start, entity.end] for entity in row]
            for row in Entities(predicted, IOB2).entities
        ],
        "report": plain(report),
    }


if __name__ == "__main__":
    draw = random.Random(0)
    cases = [json.dumps(case(draw)) for _ in range(CASES)]
    text = "[\n" + ",\n".join(cases) + "\n]\n"
    Path(__file__).with_name("seqeval.json").write_text(text, encoding="utf-8")
