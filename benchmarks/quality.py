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


def accuracy(options, what, goal, data, *flags):
    """The median accuracy over the seeds, beside its goal.

    Args:
        options: of the command line.
        what: is measured.
        goal: of the accuracy.
        data: `(folder, text column)` of `train.tsv` and `dev.tsv`.
        *flags: of `tfmodels sentiment train`.
    """
    folder, column = data
    columns = ["--text_column", column, "--label_column", "label"]
    dev = ["--eval_file", folder / "dev.tsv", *columns]
    found, seconds, evaluations = [], [], []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as temporary:
            model = Path(temporary) / "model"
            arguments = ["--train_file", folder / "train.tsv", *dev, "--output_dir", model]
            seconds.append(
                round(tfmodels("sentiment", "train", *arguments, *flags, "--seed", seed))
            )
            metrics = json.loads((model / "metrics.json").read_text(encoding="utf-8"))
            evaluations.append([round(v, 4) for v in metrics["history"]["val_accuracy"]])
            # In float32, as it is served, where the training may measure in bfloat16.
            status, output, _ = run(
                "applications", "sentiment", "evaluate", "--model_dir", model, *dev
            )
            if status:
                sys.exit(f"evaluate failed with status {status}")
            found.append(round(json.loads(output.splitlines()[-1])["accuracy"], 4))
            print(f"seed {seed}: {found[-1]}, {evaluations[-1]}", file=sys.stderr, flush=True)
    return {
        "figure": what,
        "median": statistics.median(found),
        "goal": goal,
        "each": found,
        "last_evaluation": [each[-1] for each in evaluations],
        "seconds": seconds,
        "by_evaluation": evaluations,
    }


def sst2(options):
    what = "SST-2 dev accuracy, from MiniLM, 2 epochs"
    flags = ["--checkpoint", options.checkpoint, "--epochs", 2, "--batch_size", 32]
    flags += ["--word_dropout", 0.2, "--label_smoothing", 0.1, "--freeze_embeddings", "true"]
    # The dev rows have as many of each label, the training rows 56 % positive ones.
    flags += ["--layer_decay", 0.9, "--evaluations", 8, "--patience", 16]
    flags += ["--class_weights", "balanced"]
    return accuracy(options, what, 0.90, (options.data / "sst2", "sentence"), *flags)


def chnsenticorp(options):
    flags = ["--checkpoint", "none", "--size", "tiny", "--epochs", 8, "--max_length", 256]
    flags += ["--learning_rate", "1e-3"]
    what = "ChnSentiCorp dev accuracy, from zero"
    return accuracy(options, what, 0.85, (options.data / "chnsenticorp", "text_a"), *flags)


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
