"""What pretraining is worth: a BERT-mini made here, against the same network from zero.

    python -m benchmarks.pretraining --data DIR [--work DIR] [--steps 9000] [--seeds 0 1 2]

In: DIR with `imdb/train.tsv.gz` (columns label, text) and `imdb/unsup_first12500.tsv.gz`
(text). 5,000 of the labelled reviews are kept apart to measure on and are in no training, not
even unlabelled; the others and the unlabelled ones are what BERT is pretrained on. Then both
networks, the pretrained one and one with random weights (and the same vocabulary), are
fine-tuned on 2,000 labelled reviews. Out: a line of JSON; the loss curve as PNG in the model's
`plots/`; exit status 1 if the pretrained network is not 5 points better (median of the seeds).
A run that was stopped goes on in the same `--work`.
"""

import argparse
import gzip
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOAL = 0.05
LABELLED, KEPT_APART, TEXT_LENGTH = 2000, 5000, 128


def tfmodels(*arguments):
    """Runs a verb, with its output to ours; the seconds it took."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "applications", *map(str, arguments)]
    status = subprocess.run(command, cwd=ROOT, stdout=sys.stderr).returncode
    if status:
        sys.exit(f"{' '.join(command[2:5])} failed with status {status}")
    return time.perf_counter() - start


def rows(path):
    """The rows of a gzipped TSV as dicts, with HTML's line breaks as blanks."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        names = next(file).rstrip("\n").split("\t")
        for line in file:
            row = dict(zip(names, line.rstrip("\n").split("\t"), strict=True))
            yield {**row, "text": row["text"].replace("<br />", " ")}


def write(path, rows, columns):
    """A TSV of some columns."""
    lines = ["\t".join(columns), *("\t".join(row[name] for name in columns) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def split(data, work):
    """Writes what is pretrained on, fine-tuned on and measured on; positives and negatives
    alternate in the file, so any slice of even length is balanced."""
    labelled = list(rows(data / "imdb" / "train.tsv.gz"))
    write(work / "measure.tsv", labelled[-KEPT_APART:], ("text", "label"))
    write(work / "labelled.tsv", labelled[:LABELLED], ("text", "label"))
    unlabelled = rows(data / "imdb" / "unsup_first12500.tsv.gz")
    write(work / "text.tsv", [*labelled[:-KEPT_APART], *unlabelled], ("text",))


def pretrained(work, options):
    """The model directory of BERT-mini, and the seconds of its training."""
    records, model, clock = work / "records", work / "bert", work / "seconds"
    tfmodels(
        "bert", "prepare", "--text_files", work / "text.tsv", "--output_dir", records,
        "--vocabulary_size", 8000, "--max_length", TEXT_LENGTH, "--task", options.task,
    )  # fmt: skip
    if not model.exists():
        seconds = tfmodels(
            "bert", "pretrain", "--records_dir", records, "--output_dir", model, "--size", "mini",
            "--steps", options.steps, "--batch_size", options.batch_size, "--save_steps", 500,
            "--learning_rate", options.learning_rate, "--dropout", 0.0,
        )  # fmt: skip
        clock.write_text(str(seconds))
    return model, float(clock.read_text())


def untrained(model, directory, seed):
    """A checkpoint of the same network and vocabulary with random weights."""
    if not directory.exists():
        import keras

        from tfmodels.checkpoints.bert import save_bert
        from tfmodels.checkpoints.hugging_face import read_bert_config, read_tokenizer
        from tfmodels.models.bert import Bert

        keras.utils.set_random_seed(seed)
        tokenizer = read_tokenizer(model)
        save_bert(
            Bert(read_bert_config(model)), directory, tokenizer.vocabulary, tokenizer.get_config()
        )
    return directory


def fine_tuned(work, name, seed, *flags):
    """The accuracy of a classifier on the reviews kept apart."""
    model = work / f"{name}-{seed}"
    if not model.exists():
        tfmodels(
            "sentiment", "train", "--train_file", work / "labelled.tsv",
            "--eval_file", work / "measure.tsv", "--output_dir", model, "--seed", seed,
            "--max_length", TEXT_LENGTH, "--epochs", 6, "--patience", 6, "--dropout", 0.1, *flags,
        )  # fmt: skip
    return json.loads((model / "metrics.json").read_text(encoding="utf-8"))["accuracy"]


def main():
    """Prints the figure; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "pretraining")
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--task", default="nsp")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "text.tsv").exists():
        split(options.data.resolve(), work)
    model, seconds = pretrained(work, options)
    # The best of three learning rates: the network from zero is to be given its chance.
    found = {"pretrained": [], "random": []}
    for seed in options.seeds:
        found["pretrained"].append(fine_tuned(work, "pretrained", seed, "--checkpoint", model))
        zero = untrained(model, work / f"zero-{seed}", seed)
        found["random"].append(
            max(
                fine_tuned(
                    work, f"random-{rate}", seed, "--checkpoint", zero, "--learning_rate", rate
                )
                for rate in ("2e-4", "5e-4", "1e-3")
            )
        )
    gain = statistics.median(found["pretrained"]) - statistics.median(found["random"])
    metrics = json.loads((model / "metrics.json").read_text(encoding="utf-8"))
    metrics.pop("history")
    print(json.dumps({"gain": round(gain, 4), "goal": GOAL, **found,
                      "pretraining_seconds": round(seconds), **metrics}))  # fmt: skip
    return int(gain < GOAL)


if __name__ == "__main__":
    sys.exit(main())
