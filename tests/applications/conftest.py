"""A small data set written here, and one model trained on it for all tests of a run."""

import json
import os
import random

import pytest

from tfmodels.files import locked


def once(factory, name, make):
    """The directory that `make` writes, made by one process of the run for all of them."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    path = root / "shared" / name / "model"  # nothing beside it: the tests look
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(root / "shared" / f"{name}.lock"):
        if not path.exists():
            make(path)
    return path


def trained(factory, application, verb, *flags):
    """The model directory that a command writes."""

    def make(path):
        from applications.__main__ import main

        assert main([application, verb, "--output_dir", str(path), *map(str, flags)]) == 0

    return once(factory, application, make)


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
    flags = ["--train_file", reviews, *TRAIN_FLAGS]
    return trained(tmp_path_factory, "sentiment", "train", *flags)


NAMES = ["the old king", "a small dog", "my sister", "every child", "the captain", "her friend"]
VERBS = ["saw", "found", "painted", "followed", "forgot", "sold"]
THINGS = ["a red house", "the river", "some bread", "an old book", "the moon", "two horses"]

# One shape for all trainings of a run, as above.
PRETRAIN_FLAGS = [
    "--size", "tiny", "--vocabulary_size", "200", "--batch_size", "16", "--max_length", "32",
    "--learning_rate", "1e-3", "--precision", "float32", "--dropout", "0.1",
]  # fmt: skip


def write_documents(path, documents, seed=0):
    """Writes documents of two to eight short sentences, with blank lines between them."""
    rng = random.Random(seed)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(documents):
            name = rng.choice(NAMES)
            for _ in range(rng.randint(2, 8)):
                file.write(f"{name} {rng.choice(VERBS)} {rng.choice(THINGS)}.\n")
            file.write("\n")
    return path


@pytest.fixture(scope="session")
def documents(tmp_path_factory):
    """Path of 300 documents."""
    return write_documents(tmp_path_factory.mktemp("text") / "documents.txt", 300)


@pytest.fixture(scope="session")
def bert_dir(documents, tmp_path_factory):
    """A model directory that `bert pretrain` wrote."""
    flags = ["--text_files", documents, *PRETRAIN_FLAGS, "--steps", 60, "--save_steps", 30]
    return trained(tmp_path_factory, "bert", "pretrain", *flags, "--held_out", 0.1)


PEOPLE = ["Ada Lovelace", "Grace Hopper", "Alan Turing", "李小龙", "Zoë Müller"]
PLACES = ["Paris", "New York", "北京", "St. Gallen", "Rio de Janeiro"]
SENTENCES = ["{0} flew to {1} .", "in {1} , {0} wrote a letter .", "{0} and {2} met in {1} .",
             "nobody was there .", "{1} is large and {3} is small ."]  # fmt: skip


def write_conll(path, sentences, seed=0):
    """Writes CoNLL columns (token, part of speech, IOB2 tag) with people and places."""
    rng = random.Random(seed)
    with open(path, "w", encoding="utf-8") as file:
        file.write("-DOCSTART- X O\n\n")
        for _ in range(sentences):
            kinds = ((PEOPLE, "PER"), (PLACES, "LOC"), (PEOPLE, "PER"), (PLACES, "LOC"))
            names = [(rng.choice(kind), tag) for kind, tag in kinds]
            for word in rng.choice(SENTENCES).split():
                if not word.startswith("{"):
                    file.write(f"{word} X O\n")
                    continue
                name, tag = names[int(word[1])]
                for number, token in enumerate(name.split()):
                    file.write(f"{token} X {'I' if number else 'B'}-{tag}\n")
            file.write("\n")
    return path


@pytest.fixture(scope="session")
def tagged(tmp_path_factory):
    """Path of 300 tagged sentences."""
    return write_conll(tmp_path_factory.mktemp("tagged") / "sentences.txt", 300)


@pytest.fixture(scope="session")
def ner_dir(tagged, tmp_path_factory):
    """A model directory that `ner train` wrote."""
    flags = ["--train_file", tagged, *TRAIN_FLAGS, "--epochs", 8]
    return trained(tmp_path_factory, "ner", "train", *flags)


GPT_FLAGS = [
    "--size", "tiny", "--vocabulary_size", "300", "--batch_size", "8", "--max_length", "32",
    "--learning_rate", "2e-3", "--precision", "float32", "--dropout", "0",
]  # fmt: skip


@pytest.fixture(scope="session")
def gpt_dir(documents, tmp_path_factory):
    """A model directory that `gpt pretrain` wrote."""
    flags = ["--text_files", documents, "--eval_files", documents, *GPT_FLAGS, "--steps", 80]
    flags += ["--save_steps", 40, "--sample_tokens", 8]
    return trained(tmp_path_factory, "gpt", "pretrain", *flags)


PAIR_FLAGS = [
    "--size", "tiny", "--vocabulary_size", "200", "--epochs", "8", "--batch_size", "16",
    "--max_length", "32", "--max_target_length", "12", "--learning_rate", "2e-3",
    "--precision", "float32", "--dropout", "0", "--rouge_examples", "16",
]  # fmt: skip


def write_pairs(path, rows, seed=0):
    """Writes JSON lines: `text`, two short sentences; `summary`, the last of them."""
    rng = random.Random(seed)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(rows):
            sentences = [
                f"{rng.choice(NAMES)} {rng.choice(VERBS)} {rng.choice(THINGS)}." for _ in range(2)
            ]
            row = {"text": " ".join(sentences), "summary": sentences[-1]}
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    """Path of 320 texts with their summaries."""
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", 320)


@pytest.fixture(scope="session")
def writer_dir(pairs, tmp_path_factory):
    """A model directory that `summarization train` wrote."""
    return trained(tmp_path_factory, "summarization", "train", "--train_file", pairs, *PAIR_FLAGS)


# What `tfmodels export --options` is given for the models above.
OPTIONS = {"gpt_dir": '{"max_new_tokens": 8}', "writer_dir": '{"max_new_tokens": 8}'}
