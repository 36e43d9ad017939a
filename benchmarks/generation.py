"""What a GPT trained here reaches: Shakespeare by characters, and Penn Treebank by BPE.

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

import gzip
import math
import sys

from benchmarks.commands import evaluated, print_figures, trained

NATS = 1.88


def shakespeare(options, work):
    """Validation loss at nanoGPT's CPU settings."""
    metrics = characters(
        options, work, "shakespeare", "--num_layers", 4, "--num_heads", 4, "--hidden_dim", 128,
        "--max_length", 64, "--batch_size", 12, "--steps", 2000, "--save_steps", 250,
        "--dropout", 0, "--learning_rate", "2e-3",
    )  # fmt: skip
    return shown("shakespeare", metrics, metrics["crossentropy"] <= NATS)


def shakespeare_large(options, work):
    """The curve of nanoGPT's larger settings."""
    metrics = characters(
        options, work, "shakespeare_large", "--num_layers", 6, "--num_heads", 6,
        "--hidden_dim", 384, "--max_length", 256, "--batch_size", 16, "--steps", options.steps,
        "--save_steps", 150, "--dropout", 0.2, "--learning_rate", "1e-3",
    )  # fmt: skip
    return shown("shakespeare_large", metrics)


def characters(options, work, name, *flags):
    """Return the metrics of a GPT of characters, on the last tenth of Shakespeare."""
    text = (options.data / "tiny_shakespeare" / "input.txt").read_text(encoding="utf-8")
    part = int(len(text) * 0.9)
    train, valid = (work / f"shakespeare_{split}.txt" for split in ("train", "valid"))
    train.write_text(text[:part], encoding="utf-8")
    valid.write_text(text[part:], encoding="utf-8")
    _, metrics, seconds = trained(
        work, name, "gpt", "pretrain", "--text_files", train, "--eval_files", valid,
        "--tokenizer", "characters", "--held_out_examples", 100_000, "--sample_prompt", "ROMEO:",
        *flags,
    )  # fmt: skip
    return {**metrics, "seconds": seconds}


def ptb(options, work):
    """Perplexity of a word of Penn Treebank's test text."""
    folder = options.data / "ptb"
    text = gzip.open(folder / "ptb.train.txt.gz", "rt", encoding="utf-8").read()
    (work / "ptb.txt").write_text(text, encoding="utf-8")
    model, metrics, seconds = trained(
        work, "ptb", "gpt", "pretrain", "--text_files", work / "ptb.txt",
        "--eval_files", folder / "ptb.valid.txt", "--vocabulary_size", 4000,
        "--size", "mini", "--max_length", 128, "--batch_size", 16, "--steps", 4000, "--save_steps",
        500, "--dropout", 0.2, "--learning_rate", "1e-3", "--sample_prompt", " the company",
    )  # fmt: skip
    found = {}
    for split in ("valid", "test"):
        path = folder / f"ptb.{split}.txt"
        measured = evaluated("gpt", "--model_dir", model, "--text_files", path)
        lines = len(path.read_text(encoding="utf-8").splitlines())
        total = measured["crossentropy"] * measured["tokens"]
        # As published figures have it: the end of a line counts as a word.
        perplexity = math.exp(total / (measured["words"] + lines))
        found[split] = {**measured, "lines": lines, "word_perplexity": perplexity}
    return shown("ptb", {**metrics, "seconds": seconds, **found})


def shown(name, metrics, held=True):
    curve = [round(value, 3) for value in metrics.pop("history")["val_crossentropy"]]
    return {"figure": name, **metrics, "curve": curve, "held": held}


FIGURES = {"shakespeare": shakespeare, "ptb": ptb, "shakespeare_large": shakespeare_large}


def steps(parser):
    parser.add_argument("--steps", type=int, default=2500, help="of shakespeare_large")


if __name__ == "__main__":
    sys.exit(print_figures(__doc__.splitlines()[0], FIGURES, steps, checkpoint=False))
