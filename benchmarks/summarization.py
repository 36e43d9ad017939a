"""Text written for a text, on real data: `tfmodels summarization` beside the lead baseline.

    python -m benchmarks.summarization --data DIR [--checkpoint DIR] [--only copy samsum ...]

In: DIR with `samsum/{train,validation}.jsonl.gz`, `gigaword_sample/{train,valid}.*.txt`,
`aeslc/{train,dev}.jsonl.gz`, `csl_title_zh/{dev,test}.tsv`, and for the latter also what `ner` and
`quality` read in Chinese; the MiniLM weights of `make demo`.
`copy`, `reverse`: sequences of letters from zero, exact matches on unseen ones. `samsum`: from
MiniLM, at most 90 minutes, beside lead 3 and the Transformer of Gliwa et al. 2019. `gigaword`,
`aeslc`: from MiniLM, beside lead 1. `csl`: titles of Chinese abstracts, from zero.
Out: a line of JSON each; exit status 1 if one of them misses its goal. A run that was stopped
trains what is not there yet in the same `--work`.
"""

import collections
import gzip
import itertools
import json
import random
import re
import string
import sys
import time

from benchmarks.commands import print_figures, run, timed
from benchmarks.ner import sentences

# Rows of the table of Gliwa et al. 2019 (arXiv:1911.12237), from memory.
TRANSFORMER = {"rouge1": 36.6, "rouge2": 11.2, "rougeL": 33.1}
MOST_SECONDS = 90 * 60
CHARACTERS = 200  # of a Chinese text
# Of MiniLM's weights; decided on SAMSum.
FROM_MINILM = ["--learning_rate", "5e-4", "--batch_size", 32, "--dropout", 0.1]


def written(path, rows):
    """Writes JSON lines with `text` and `summary`."""
    with open(path, "w", encoding="utf-8") as file:
        for text, summary in rows:
            row = {"text": text, "summary": summary}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def trained(work, name, training, held_out, *flags):
    """The metrics on all held-out rows, which the training does not see, and its seconds."""
    model, clock, found = (work / f"{name}{end}" for end in ("", ".seconds", ".metrics.json"))
    files = ["--train_file", training, "--output_dir", model]
    seconds = timed(clock, model, "summarization", "train", *files, *flags)
    if not found.exists():
        start = time.perf_counter()
        status, output, _ = run(
            "applications", "summarization", "evaluate", "--model_dir", model,
            "--eval_file", held_out, "--report_dir", work / f"{name}.report",
            "--precision", "auto", "--lead_k", 3 if name == "samsum" else 1,
        )  # fmt: skip
        if status:
            sys.exit(f"evaluate failed with status {status}")
        metrics = json.loads(output.splitlines()[-1])
        metrics["seconds"] = round(time.perf_counter() - start)
        found.write_text(json.dumps(metrics))
    metrics = json.loads(found.read_text(encoding="utf-8"))
    return metrics, round(seconds)


def sequences(name, make, work):
    """Exact matches on sequences of letters that the training has not seen."""
    rng = random.Random(0)
    texts = sorted({" ".join(rng.choices(string.ascii_lowercase, k=rng.randint(4, 10)))
                    for _ in range(21_000)})  # fmt: skip
    rng.shuffle(texts)
    pairs = [(text, make(text)) for text in texts]
    training = written(work / f"{name}-train.jsonl", pairs[1000:])
    held_out = written(work / f"{name}-unseen.jsonl", pairs[:1000])
    model = work / name
    seconds = timed(
        work / f"{name}.seconds", model,
        "summarization", "train", "--train_file", training, "--held_out", 0.05,
        "--output_dir", model, "--size", "tiny", "--vocabulary_size", 100, "--epochs", 12,
        "--batch_size", 64, "--max_length", 16, "--max_target_length", 16,
        "--learning_rate", "2e-3", "--label_smoothing", 0.0, "--dropout", 0.0,
        "--no_repeat_ngram", 0, "--num_beams", 1, "--patience", 12,
    )  # fmt: skip
    _, output, _ = run(
        "applications", "summarization", "predict", "--model_dir", model, "--input_file", held_out
    )
    found = [json.loads(line)["summary"] for line in output.splitlines()]
    exact = sum(a == b for a, (_, b) in zip(found, pairs[:1000], strict=True)) / 1000
    return {
        "figure": f"{name}: exact matches on 1,000 unseen sequences, from zero, 2 x 128",
        "exact": exact, "seconds": round(seconds),
        "held": exact >= 0.99,
    }  # fmt: skip


def figure(what, metrics, seconds, held):
    """What is reported of a data set."""
    names = ("rouge1", "rouge2", "rougeL", "rougeLsum")
    return {
        "figure": what, "examples": metrics["examples"],
        **{name: round(metrics[name], 2) for name in names},
        "lead": {name: round(metrics["lead"][name], 2) for name in names},
        "length": metrics["length"], "novel": metrics["novel"],
        "seconds": {"training": seconds, "writing": metrics["seconds"]}, "held": held,
    }  # fmt: skip


def copy(options, work):
    return sequences("copy", lambda text: text, work)


def reverse(options, work):
    return sequences("reverse", lambda text: text[::-1], work)


def of_json(work, options, name, parts, columns):
    """Files of a set of compressed JSON lines, with our columns."""
    found = []
    for part in parts:
        path = options.data / name / f"{part}.jsonl.gz"
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        pairs = [tuple(row[column] for column in columns) for row in rows]
        found.append(written(work / f"{name}-{part}.jsonl", pairs))
    return found


def samsum(options, work):
    files = of_json(work, options, "samsum", ("train", "validation"), ("dialogue", "summary"))
    metrics, seconds = trained(
        work, "samsum", *files, "--checkpoint", options.checkpoint, *FROM_MINILM,
        "--held_out", 0.02, "--epochs", options.epochs, "--max_length", 256,
        "--max_target_length", 64,
    )  # fmt: skip
    held = all(metrics[name] >= goal for name, goal in TRANSFORMER.items())
    what = f"SAMSum validation, from MiniLM, {options.epochs} epochs"
    found = figure(what, metrics, seconds, held and seconds <= MOST_SECONDS)
    return {**found, "transformer_of_the_paper": TRANSFORMER}


def beside_lead(options, work, name, what, training, held_out, *flags):
    metrics, seconds = trained(work, name, training, held_out, *flags)
    over = 5 if name != "csl" else 0
    return figure(what, metrics, seconds, metrics["rouge1"] >= metrics["lead"]["rouge1"] + over)


def gigaword(options, work):
    def pairs(split, end):
        folder = options.data / "gigaword_sample"
        files = (folder / f"{split}.{kind}{end}.txt" for kind in ("article", "title"))
        return zip(*(path.read_text(encoding="utf-8").splitlines() for path in files), strict=True)

    parts = (("train", ""), ("valid", ".filter"))
    files = [written(work / f"gigaword-{part[0]}.jsonl", pairs(*part)) for part in parts]
    return beside_lead(
        options, work, "gigaword", "Gigaword sample, valid, from MiniLM", *files,
        "--checkpoint", options.checkpoint, *FROM_MINILM, "--held_out", 0.02, "--epochs", 6,
        "--max_length", 96,
        "--max_target_length", 24,
    )  # fmt: skip


def aeslc(options, work):
    files = of_json(work, options, "aeslc", ("train", "dev"), ("email_body", "subject_line"))
    return beside_lead(
        options, work, "aeslc", "AESLC dev, from MiniLM", *files,
        "--checkpoint", options.checkpoint, *FROM_MINILM, "--held_out", 0.02, "--epochs", 3,
        "--max_length", 128,
        "--max_target_length", 16,
    )  # fmt: skip


def clauses(text):
    """The parts of a Chinese text between its marks that are 6 to 40 characters long."""
    return [part for part in re.split(r"[,，。；;!！?？:：、]|\. ", text) if 6 <= len(part) <= 40]


def salient(text):
    """The clause of which most pairs of characters come again elsewhere; `None` without one.

    After the gap sentences of Zhang et al. 2019 (arXiv:1912.08777, 3.1), but left in the text.
    """
    pairs = collections.Counter(itertools.pairwise(text))

    def score(clause):
        return sum(pairs[pair] - 1 for pair in itertools.pairwise(clause)) / len(clause) ** 0.5

    return max(clauses(text), key=score, default=None)


def csl(options, work):
    """There is no training file here: trained on one half, measured on the other.

    A network of random weights does not learn from 1,000 titles to repeat what it read, so it
    first writes the `salient` clause of these abstracts, of news and of reviews.
    """
    files = []
    for part in ("dev", "test"):
        text = (options.data / "csl_title_zh" / f"{part}.tsv").read_text(encoding="utf-8")
        rows = [line.split("\t") for line in text.splitlines()]
        files.append(written(work / f"csl-{part}.jsonl", [row[1:3] for row in rows]))
        if part == "dev":
            texts = [row[1] for row in rows]
    news = options.data / "msra_ner_zh" / "train_dh_minus_test.txt.gz"
    news = ["".join(characters) for characters, _ in sentences(news)]
    texts += ["".join(news[at : at + 3]) for at in range(0, len(news), 3)]
    reviews = (options.data / "chnsenticorp" / "train.tsv").read_text(encoding="utf-8")
    texts += [line.partition("\t")[2] for line in reviews.splitlines()[1:]]
    pairs = [(text[:CHARACTERS], salient(text[:CHARACTERS])) for text in texts]
    first = written(work / "csl-first.jsonl", [pair for pair in pairs if pair[1]])
    shape = ["--max_length", 256, "--max_target_length", 48]
    begun = work / "csl-first"
    before = timed(
        work / "csl-first.seconds", begun, "summarization", "train", "--train_file", first,
        "--output_dir", begun, "--held_out", 0.02, "--size", "tiny", "--vocabulary_size", 6000,
        "--epochs", 8, "--batch_size", 64, "--learning_rate", "2e-3", "--dropout", 0.0,
        "--label_smoothing", 0.0, "--num_beams", 1, "--patience", 8, *shape,
    )  # fmt: skip
    return beside_lead(
        options, work, "csl", f"CSL titles, 1,000 rows to train on, {before:.0f} s before on "
        f"{len(pairs)} texts without titles", *files, "--checkpoint", begun, "--held_out", 0.1,
        "--epochs", 40, "--patience", 8, "--learning_rate", "5e-4", "--batch_size", 16,
        "--num_beams", 4, *shape,
    )  # fmt: skip


FIGURES = {"copy": copy, "reverse": reverse, "samsum": samsum, "gigaword": gigaword}
FIGURES |= {"aeslc": aeslc, "csl": csl}


if __name__ == "__main__":
    status = print_figures(
        __doc__.splitlines()[0],
        FIGURES,
        lambda parser: parser.add_argument("--epochs", type=int, default=6, help="of SAMSum"),
    )
    sys.exit(status)
