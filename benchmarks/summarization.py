"""Text written for a text, on real data: `tfmodels summarization` beside the lead baseline.

    python -m benchmarks.summarization --data DIR [--checkpoint DIR] [--only copy samsum ...]

In: DIR with `samsum/{train,validation}.jsonl.gz`, `gigaword_sample/{train,valid}.*.txt`,
`aeslc/{train,dev}.jsonl.gz` and `csl_title_zh/{dev,test}.tsv`; the MiniLM weights of `make demo`.
`copy`, `reverse`: sequences of letters from zero, exact matches on unseen ones. `samsum`: from
MiniLM, at most 90 minutes, beside lead 3 and the Transformer of Gliwa et al. 2019. `gigaword`,
`aeslc`: from MiniLM, beside lead 1. `csl`: titles of Chinese abstracts, from zero.
Out: a line of JSON each; exit status 1 if one of them misses its goal. A run that was stopped
trains what is not there yet in the same `--work`.
"""

import gzip
import json
import random
import string
import sys
import time

from benchmarks.commands import print_figures, run, timed

# Rows of the table of Gliwa et al. 2019 (arXiv:1911.12237), from memory.
TRANSFORMER = {"rouge1": 36.6, "rouge2": 11.2, "rougeL": 33.1}
MOST_SECONDS = 90 * 60
# Of MiniLM's weights; decided on SAMSum.
FROM_MINILM = ["--learning_rate", "5e-4", "--batch_size", 16, "--dropout", 0.1]


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
        "--checkpoint", options.checkpoint, *FROM_MINILM, "--held_out", 0.02, "--epochs", 3,
        "--max_length", 96,
        "--max_target_length", 24,
    )  # fmt: skip


def aeslc(options, work):
    files = of_json(work, options, "aeslc", ("train", "dev"), ("email_body", "subject_line"))
    return beside_lead(
        options, work, "aeslc", "AESLC dev, from MiniLM", *files,
        "--checkpoint", options.checkpoint, *FROM_MINILM, "--held_out", 0.02, "--epochs", 2,
        "--max_length", 96,
        "--max_target_length", 16,
    )  # fmt: skip


def csl(options, work):
    """There is no training file here: trained on one half, measured on the other."""
    files = []
    for part in ("dev", "test"):
        text = (options.data / "csl_title_zh" / f"{part}.tsv").read_text(encoding="utf-8")
        rows = [line.split("\t") for line in text.splitlines()]
        files.append(written(work / f"csl-{part}.jsonl", [row[1:3] for row in rows]))
    return beside_lead(
        options, work, "csl", "CSL titles, 1,000 rows to train on, from zero", *files,
        "--size", "tiny", "--vocabulary_size", 4000, "--epochs", 40, "--patience", 8,
        "--evaluations", 1, "--learning_rate", "1e-3", "--batch_size", 16, "--max_length", 256,
        "--max_target_length", 48,
    )  # fmt: skip


FIGURES = {"copy": copy, "reverse": reverse, "samsum": samsum, "gigaword": gigaword}
FIGURES |= {"aeslc": aeslc, "csl": csl}


if __name__ == "__main__":
    status = print_figures(
        __doc__.splitlines()[0],
        FIGURES,
        lambda parser: parser.add_argument("--epochs", type=int, default=2, help="of SAMSum"),
    )
    sys.exit(status)
