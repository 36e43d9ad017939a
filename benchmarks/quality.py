"""Every figure of docs/results.md that is about quality, in one command.

    python -m benchmarks.quality --data DIR [--checkpoint DIR] [--only sst2 ...] [--seeds 0 1 2]

In: DIR with `sst2/{train,dev}.tsv` (columns sentence, label), `chnsenticorp/{train,dev}.tsv`
(label, text_a) and what the other benchmarks read; the MiniLM weights of `make demo`. Out: a
line of JSON for each figure, with its goal; exit status 1 if a goal is missed. The best of a
run's evaluations on the dev set is its figure; `by_evaluation` holds all of them. Takes hours on
two cores.
"""

import statistics
import sys

from benchmarks.commands import evaluated, print_figures, run, trained


def accuracy(options, work, what, goal, data, *flags):
    """Return the median accuracy over the seeds, beside its goal.

    Args:
        options, work: see `print_figures`.
        what: is measured.
        goal: of the accuracy.
        data: `(folder, text column)` of `train.tsv` and `dev.tsv`.
        *flags: of `tfmodels sentiment train`.
    """
    folder, column = options.data / data[0], data[1]
    dev = ["--eval_file", folder / "dev.tsv", "--text_column", column, "--label_column", "label"]
    training = ["sentiment", "train", "--train_file", folder / "train.tsv", *dev, *flags]
    found, times, evaluations = [], [], []
    for seed in options.seeds:
        model, metrics, seconds = trained(work, f"{data[0]}-{seed}", *training, "--seed", seed)
        times.append(seconds)
        evaluations.append([round(value, 4) for value in metrics["history"]["val_accuracy"]])
        # In float32, as it is served, where the training may measure in bfloat16.
        found.append(round(evaluated("sentiment", "--model_dir", model, *dev)["accuracy"], 4))
        print(f"seed {seed}: {found[-1]}, {evaluations[-1]}", file=sys.stderr, flush=True)
    median = statistics.median(found)
    return {
        "figure": what, "median": median, "goal": goal, "each": found,
        "last_evaluation": [each[-1] for each in evaluations], "seconds": times,
        "by_evaluation": evaluations, "held": median >= goal,
    }  # fmt: skip


def sst2(options, work):
    what = "SST-2 dev accuracy, from MiniLM, 2 epochs"
    flags = ["--checkpoint", options.checkpoint, "--epochs", 2, "--batch_size", 32]
    flags += ["--word_dropout", 0.2, "--label_smoothing", 0.1, "--freeze_embeddings", "true"]
    # The dev rows have as many of each label, the training rows 56 % positive ones.
    flags += ["--layer_decay", 0.9, "--evaluations", 8, "--patience", 16]
    flags += ["--class_weights", "balanced"]
    return accuracy(options, work, what, 0.90, ("sst2", "sentence"), *flags)


def chnsenticorp(options, work):
    flags = ["--checkpoint", "none", "--size", "tiny", "--epochs", 8, "--max_length", 256]
    flags += ["--learning_rate", "1e-3"]
    what = "ChnSentiCorp dev accuracy, from scratch"
    return accuracy(options, work, what, 0.85, ("chnsenticorp", "text_a"), *flags)


def command(what, module, *names):
    """Return a figure: a command that says by its exit status whether its own figures hold.

    Args:
        what: it says.
        module: of the command.
        *names: of our options that it has, too.
    """

    def figure(options, work):
        flags = []
        for name in names:
            value = getattr(options, name)
            flags += [f"--{name}", *(value if isinstance(value, list) else [value])]
        status, output, seconds = run(f"benchmarks.{module}", *flags)
        print(output, end="", flush=True)
        return {"figure": what, "seconds": round(seconds), "held": status == 0}

    return figure


FIGURES = {
    "tokens": command("tokens equal", "tokens", "data"),
    "parity": command("outputs equal transformers'", "parity"),
    "streaming": command("2 GB under 4 GB", "streaming"),
    "pretraining": command(
        "BERT-mini pretrained here 5 points above random weights", "pretraining", "data", "seeds"
    ),
    "ner": command("entities", "ner", "data", "checkpoint"),
    "qa": command("answers", "qa", "data", "checkpoint"),
    "roles": command("roles", "roles", "data", "checkpoint"),
    "labelling": command("every labelling of texts", "labelling", "data", "checkpoint"),
    "generation": command("GPT on Shakespeare and Penn Treebank", "generation", "data"),
    "summarization": command("texts written for texts", "summarization", "data", "checkpoint"),
    "chnsenticorp": chnsenticorp,
    "sst2": sst2,
}


def seeds(parser):
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])


if __name__ == "__main__":
    sys.exit(print_figures(__doc__.splitlines()[0], FIGURES, seeds))
