"""A small data set written here, and one model trained on it for all tests of a run."""

import random

import pytest

GOOD = ["a warm and funny film", "superbly acted", "I loved every minute", "很好看的电影", "a joy"]
BAD = ["a dull and empty film", "badly acted", "I hated every minute", "很难看的电影", "a bore"]
FILLER = ["from the first scene", "with my family", "last night", "in the old cinema", "again"]


def write_reviews(path, rows, seed=0):
    """Writes a TSV with the columns `text` and `label` (`neg`, `pos`), alternating."""
    rng = random.Random(seed)
    with open(path, "w", encoding="utf-8") as file:
        file.write("text\tlabel\n")
        for row in range(rows):
            phrases = [rng.choice((BAD, GOOD)[row % 2]), rng.choice(FILLER)]
            rng.shuffle(phrases)
            file.write(f"{' '.join(phrases)}\t{('neg', 'pos')[row % 2]}\n")
    return path


# Small and the same everywhere, so that the training kernels are compiled once a run.
TRAIN_FLAGS = [
    "--size", "tiny", "--vocabulary_size", "300", "--epochs", "6", "--batch_size", "16",
    "--max_length", "16", "--learning_rate", "1e-3", "--precision", "float32",
]  # fmt: skip


@pytest.fixture(scope="session")
def reviews(tmp_path_factory):
    """Path of 240 labelled reviews."""
    return write_reviews(tmp_path_factory.mktemp("data") / "reviews.tsv", 240)


@pytest.fixture(scope="session")
def model_dir(reviews, tmp_path_factory):
    """A model directory that `sentiment train` wrote."""
    from applications.__main__ import main

    path = tmp_path_factory.mktemp("model") / "sentiment"
    arguments = ["sentiment", "train", "--train_file", str(reviews), "--output_dir", str(path)]
    assert main([*arguments, *TRAIN_FLAGS]) == 0
    return path
