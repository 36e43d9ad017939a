"""What a GPT trained here reaches: Shakespeare by characters, and PTB or WikiText by BPE.

    python -m benchmarks.generation --data DIR [--only NAME ...] [--work DIR]

In: DIR with `tiny_shakespeare/input.txt`, `ptb/ptb.{train.txt.gz,valid.txt,test.txt}`. Figures:

* `shakespeare`: nanoGPT's settings for a CPU (4 layers, 4 heads, 128 wide, context 64, batch 12,
  2,000 steps, no dropout; the last tenth of the text held out); goal 1.88 nats a character, the
  figure of its README.
* `shakespeare_large`: its larger ones (6 layers, 6 heads, 384 wide, context 256, dropout 0.2) at
  batch 16, as far as `--steps` go; the curve is in the model's `plots/`.
* `ptb`: a small GPT with a vocabulary of 4,000 learned there; perplexity of a word on the test
  text, with a sliding window: total loss over all tokens, divided by the number of words and
  ends of lines.

Out: one line of JSON a figure; exit status 1 if a goal is missed.
"""

import argparse
import gzip
import json
import math
import sys
from pathlib import Path

from benchmarks.commands import ROOT, run, tfmodels

NATS = 1.88


def trained(work, name, train, valid, *flags):
    """The metrics of a model directory, and the seconds that it took."""
    model, clock = work / name, work / f"{name}.seconds"
    if not model.exists():
        seconds = tfmodels(
            "gpt", "pretrain", "--text_files", train, "--eval_files", valid, "--output_dir", model,
            *flags,
        )  # fmt: skip
        clock.write_text(str(seconds))
    metrics = json.loads((model / "metrics.json").read_text(encoding="utf-8"))
    return model, {**metrics, "seconds": round(float(clock.read_text()))}


def shakespeare(data, work, options):
    """Validation loss at nanoGPT's CPU settings."""
    train, valid = _split_shakespeare(data, work)
    _, metrics = trained(
        work, "shakespeare", train, valid, "--tokenizer", "characters", "--num_layers", 4,
        "--num_heads", 4, "--hidden_dim", 128, "--max_length", 64, "--batch_size", 12, "--steps",
        2000, "--save_steps", 250, "--dropout", 0, "--learning_rate", "2e-3",
        "--held_out_examples", 100_000, "--sample_prompt", "ROMEO:",
    )  # fmt: skip
    return _shown("shakespeare", metrics, metrics["crossentropy"] <= NATS)


def shakespeare_large(data, work, options):
    """The curve of nanoGPT's larger settings."""
    train, valid = _split_shakespeare(data, work)
    _, metrics = trained(
        work, "shakespeare_large", train, valid, "--tokenizer", "characters", "--num_layers", 6,
        "--num_heads", 6, "--hidden_dim", 384, "--max_length", 256, "--batch_size", 16, "--steps",
        options.steps, "--save_steps", 150, "--dropout", 0.2, "--learning_rate", "1e-3",
        "--held_out_examples", 100_000, "--sample_prompt", "ROMEO:",
    )  # fmt: skip
    return _shown("shakespeare_large", metrics, True)


def ptb(data, work, options):
    """Perplexity of a word of Penn Treebank's test text."""
    text = gzip.open(data / "ptb" / "ptb.train.txt.gz", "rt", encoding="utf-8").read()
    (work / "ptb.txt").write_text(text, encoding="utf-8")
    model, metrics = trained(
        work, "ptb", work / "ptb.txt", data / "ptb" / "ptb.valid.txt", "--vocabulary_size", 4000,
        "--size", "mini", "--max_length", 128, "--batch_size", 16, "--steps", 4000, "--save_steps",
        500, "--dropout", 0.2, "--learning_rate", "1e-3", "--sample_prompt", " the company",
    )  # fmt: skip
    found = {}
    for split in ("valid", "test"):
        path = data / "ptb" / f"ptb.{split}.txt"
        status, output, _ = run(
            "applications", "gpt", "evaluate", "--model_dir", model, "--text_files", path
        )
        if status:
            sys.exit(f"gpt evaluate failed with status {status}")
        measured = json.loads(output.splitlines()[-1])
        lines = len(path.read_text(encoding="utf-8").splitlines())
        total = measured["crossentropy"] * measured["tokens"]
        # As published figures have it: the end of a line counts as a word.
        perplexity = math.exp(total / (measured["words"] + lines))
        found[split] = {**measured, "lines": lines, "word_perplexity": perplexity}
    return _shown("ptb", {**metrics, **found}, True)


def _split_shakespeare(data, work):
    text = (data / "tiny_shakespeare" / "input.txt").read_text(encoding="utf-8")
    part = int(len(text) * 0.9)
    paths = work / "shakespeare_train.txt", work / "shakespeare_valid.txt"
    for path, piece in zip(paths, (text[:part], text[part:]), strict=True):
        path.write_text(piece, encoding="utf-8")
    return paths


def _shown(name, metrics, reached):
    metrics = {**metrics}
    history = metrics.pop("history")
    curve = [round(value, 3) for value in history["val_crossentropy"]]
    print(json.dumps({"figure": name, **metrics, "curve": curve, "reached": reached}), flush=True)
    return reached


FIGURES = {"shakespeare": shakespeare, "ptb": ptb, "shakespeare_large": shakespeare_large}


def main():
    """Prints the figures; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "generation")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--steps", type=int, default=2500, help="of shakespeare_large")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    reached = [FIGURES[name](options.data.resolve(), work, options) for name in options.only]
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main())
