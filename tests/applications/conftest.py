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


# Questions, and what is left out of an answer in a context.
ASKED = [("who flew to {1}?", 0), ("where did {0} fly?", 1), ("what did {0} find?", 2)]
FOUND = ["a red house", "an old book", "two horses", "some bread"]


def write_questions(path, contexts, seed=0, unanswered=True):
    """Writes a file of SQuAD's form; every fourth question asks what its context does not say."""
    rng, paragraphs = random.Random(seed), []
    for number in range(contexts):
        parts = rng.choice(PEOPLE), rng.choice(PLACES), rng.choice(FOUND)
        context = "yesterday {} flew to {} and found {} there.".format(*parts)
        questions = []
        for turn, (question, part) in enumerate(ASKED):
            none = unanswered and (number + turn) % 4 == 3
            name = rng.choice([x for x in PEOPLE if x != parts[0]]) if none else parts[0]
            place = rng.choice([x for x in PLACES if x != parts[1]]) if none else parts[1]
            answer = {"text": parts[part], "answer_start": context.index(parts[part])}
            questions.append(
                {
                    "id": f"{number}-{turn}", "question": question.format(name, place),
                    "is_impossible": none, "answers": [] if none else [answer],
                }
            )  # fmt: skip
        paragraphs.append({"context": context, "qas": questions})
    text = json.dumps({"version": "2", "data": [{"title": "t", "paragraphs": paragraphs}]})
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def questions(tmp_path_factory):
    """Path of 240 questions about 80 contexts."""
    return write_questions(tmp_path_factory.mktemp("asked") / "questions.json", 80)


@pytest.fixture(scope="session")
def qa_dir(questions, tmp_path_factory):
    """A model directory that `qa train` wrote."""
    flags = ["--train_file", questions, *TRAIN_FLAGS, "--max_length", "48", "--epochs", 10]
    return trained(tmp_path_factory, "qa", "train", *flags, "--eval_file", questions)


def write_frames(path, sentences, seed=0):
    """Writes PropBank's columns: who found what where, with a second predicate now and then."""
    rng = random.Random(seed)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(sentences):
            who, what = rng.choice(["Ada", "Bo", "nobody"]), rng.choice(["bread", "books", "gold"])
            rows = [[who, "-", "(ARG0*)"], ["found", "find.01", "(V*)"], [what, "-", "(ARG1*)"]]
            if number % 2:
                rows += [["in", "-", "(ARGM-LOC*"], [rng.choice(["Rome", "Paris"]), "-", "*)"]]
            if number % 3 == 0:
                cells = ["(ARG0*)", *["*"] * (len(rows) - 1), "*", "(V*)"]
                rows += [["and", "-", "*"], ["left", "leave.01", "*"]]
                rows = [[*row, cell] for row, cell in zip(rows, cells, strict=True)]
            file.write(f"# sent-{number}\n")
            for place, (word, sense, *columns) in enumerate(rows):
                file.write("\t".join([str(place), word, "X", "-", sense, *columns]) + "\n")
            file.write("\n")
    return path


@pytest.fixture(scope="session")
def frames(tmp_path_factory):
    """Path of 160 sentences with frames."""
    return write_frames(tmp_path_factory.mktemp("frames") / "frames.conll", 160)


@pytest.fixture(scope="session")
def roles_dir(frames, tmp_path_factory):
    """A model directory that `roles train` wrote."""
    flags = ["--train_file", frames, "--eval_file", frames, *TRAIN_FLAGS]
    return trained(tmp_path_factory, "roles", "train", *flags, "--epochs", 5)


GERMAN = {
    "the old king": "der alte König", "a small dog": "ein kleiner Hund",
    "my sister": "meine Schwester", "every child": "jedes Kind",
    "the captain": "der Kapitän", "her friend": "ihr Freund",
    "saw": "sah", "found": "fand", "painted": "malte", "followed": "verfolgte",
    "forgot": "vergaß", "sold": "verkaufte",
    "a red house": "ein rotes Haus", "the river": "den Fluss", "some bread": "etwas Brot",
    "an old book": "ein altes Buch", "the moon": "den Mond", "two horses": "zwei Pferde",
}  # fmt: skip


def write_translations(folder, rows, seed=0):
    """Writes `train.en` and `train.de`: sentences of `NAMES`, and the same in German."""
    rng = random.Random(seed)
    with (
        open(folder / "train.en", "w", encoding="utf-8") as english,
        open(folder / "train.de", "w", encoding="utf-8") as german,
    ):
        for _ in range(rows):
            words = [rng.choice(part) for part in (NAMES, VERBS, THINGS)]
            english.write(" ".join(words) + ".\n")
            german.write(" ".join(GERMAN[word] for word in words) + ".\n")
    return folder / "train.en", folder / "train.de"


TRANSLATION_FLAGS = [
    "--size", "tiny", "--vocabulary_size", "330", "--epochs", "5", "--batch_tokens", "512",
    "--max_length", "40", "--max_target_length", "40", "--learning_rate", "3e-3",
    "--precision", "float32", "--dropout", "0", "--bleu_examples", "16", "--ema", "0.9",
]  # fmt: skip


@pytest.fixture(scope="session")
def translations(tmp_path_factory):
    """Paths of 400 sentences and their translations."""
    return write_translations(tmp_path_factory.mktemp("translations"), 400)


@pytest.fixture(scope="session")
def translator_dir(translations, tmp_path_factory):
    """A model directory that `translation train` wrote."""
    files = json.dumps([*map(str, translations)])
    flags = ["--train_file", files, "--held_out", "0.05", *TRANSLATION_FLAGS]
    return trained(tmp_path_factory, "translation", "train", *flags)
