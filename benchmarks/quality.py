"""Every figure of docs/results.md that is about quality, in one command.

    python -m benchmarks.quality --data DIR [--checkpoint DIR] [--only sst2 ...] [--seeds 0 1 2]

In: DIR with `sst2/{train,dev}.tsv` (columns sentence, label), `chnsenticorp/{train,dev}.tsv`
(label, text_a) and what the other benchmarks read; the MiniLM weights of `make demo`. Out: a
line of JSON for each figure, with its goal; exit status 1 if a goal is missed. The best of a
run's evaluations on the dev set is its figure; `by_evaluation` holds all of them. Models go to a
temporary folder. Takes hours on two cores.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.commands import run, tfmodels


def trained(*arguments):
    """Metrics and seconds of `tfmodels sentiment train` into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        seconds = tfmodels("sentiment", "train", "--output_dir", model, *arguments)
        return json.loads((model / "metrics.json").read_text(encoding="utf-8")), seconds


def tables(data, name, text_column):
    """The flags that name a data set."""
    folder = data / name
    return ["--train_file", folder / "train.tsv", "--eval_file", folder / "dev.tsv",
            "--text_column", text_column, "--label_column", "label"]  # fmt: skip


def accuracy(options, what, goal, *arguments):
    """The median accuracy over the seeds, beside its goal."""
    found = [trained(*arguments, "--seed", seed) for seed in options.seeds]
    each = [round(metrics["accuracy"], 4) for metrics, _ in found]
    return {
        "figure": what,
        "median": statistics.median(each),
        "goal": goal,
        "each": each,
        "seconds": [round(seconds) for _, seconds in found],
        "by_evaluation": [metrics["history"]["val_accuracy"] for metrics, _ in found],
    }


def sst2(options):
    flags = [*tables(options.data, "sst2", "sentence"), "--checkpoint", options.checkpoint]
    what = "SST-2 dev accuracy, from MiniLM, 2 epochs"
    flags += ["--epochs", 2, "--batch_size", 32, "--evaluations", 4, "--patience", 8]
    return accuracy(options, what, 0.90, *flags)


def chnsenticorp(options):
    flags = [*tables(options.data, "chnsenticorp", "text_a"), "--checkpoint", "none"]
    flags += ["--size", "tiny", "--epochs", 8, "--max_length", 256, "--learning_rate", "1e-3"]
    return accuracy(options, "ChnSentiCorp dev accuracy, from zero", 0.85, *flags)


def command(what, *arguments):
    """A command that says by its exit status whether its figures hold."""
    status, output, seconds = run(*arguments)
    print(output, end="", flush=True)
    return {"figure": what, "median": float(status == 0), "goal": 1.0, "seconds": [round(seconds)]}


FIGURES = {
    "tokens": lambda o: command("tokens equal", "benchmarks.tokens", "--data", o.data),
    "parity": lambda o: command("outputs equal transformers'", "benchmarks.parity"),
    "streaming": lambda o: command("2 GB under 4 GB", "benchmarks.streaming"),
    "pretraining": lambda o: command(
        "BERT-mini pretrained here 5 points above random weights",
        "benchmarks.pretraining",
        "--data",
        o.data,
        "--seeds",
        *o.seeds,
    ),
    "ner": lambda o: command(
        "entities", "benchmarks.ner", "--data", o.data, "--checkpoint", o.checkpoint
    ),
    "generation": lambda o: command(
        "GPT on Shakespeare and Penn Treebank", "benchmarks.generation", "--data", o.data
    ),
    "summarization": lambda o: command(
        "texts written for texts",
        "benchmarks.summarization",
        "--data",
        o.data,
        "--checkpoint",
        o.checkpoint,
    ),
    "chnsenticorp": chnsenticorp,
    "sst2": sst2,
}


def main():
    """Prints the figures; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--checkpoint", help="directory of MiniLM; that of `make demo` if not given"
    )
    parser.add_argument("--only", nargs="+", choices=list(FIGURES), default=list(FIGURES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"--data {options.data}: no such directory; see docs/results.md")
    options.data = options.data.resolve()
    if options.checkpoint is None:
        from applications.demo import minilm

        options.checkpoint = minilm()
    missed = 0
    for name in options.only:
        figure = FIGURES[name](options)
        missed += figure["median"] < figure["goal"]
        print(json.dumps(figure), flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
