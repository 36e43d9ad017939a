"""Training steps on batches of several sequences in a row, beside the same sequences one a row.

    python -m benchmarks.packing --data DIR [--sets wikitext-nsp ...] [--rounds 7]

In: DIR as of `benchmarks.padding`. Out: a Markdown table of real tokens a second, medians of the
rounds, both by turns in one process; a network of 4 x 256. Pretraining examples are batches of 32
in the order of the text. Responses are batches of 16: sorted by length as `fit` makes them, beside
the same rows in random order, packed into rows of 512 tokens. Nothing else should run meanwhile.
"""

import argparse
import statistics
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from benchmarks.padding import SETS
from tfmodels.tasks.causal_lm import CausalLM
from tfmodels.text.batching import WINDOW
from tfmodels.text.examples import ExampleSettings
from tfmodels.text.packed_rows import PackedRows
from tfmodels.text.pretraining import text_passes, training_batches
from tfmodels.training.losses import Crossentropy, pretraining_objective
from tfmodels.training.optimizer import AdamW
from tfmodels.training.precision import dtype_policy

RESPONSES = 16


def pretraining(task, texts, number):
    """Return batches of examples, one a row and packed."""
    settings = ExampleSettings(task.max_length, task.task)

    def batches(packing):
        passes = text_passes(texts, task.tokenizer, settings)
        return [*training_batches(passes, task.tokenizer, 32, settings, packing=packing)
                .skip(10).take(number)]  # fmt: skip

    return batches(False), batches(True)


def responses(task, rows, number):
    """Return batches of prompts with responses: sorted by length, and packed at random."""
    window = task.dataset(rows, batch_size=RESPONSES, shuffle=True).take(WINDOW)
    batches = [*window.shuffle(WINDOW, seed=0).take(number)]

    def padded(values, filler):
        width = [[0, 0], [0, task.max_length - values.shape[1]]]
        return np.pad(values.numpy(), width, constant_values=filler)

    masks, ids, labels = (
        np.concatenate([padded(part, filler) for part in parts])
        for parts, filler in (
            ([inputs["padding_mask"] for inputs, _ in batches], False),
            ([inputs["token_ids"] for inputs, _ in batches], 0),
            ([labels for _, labels in batches], -1),
        )
    )
    packed = []
    for at in np.array_split(np.random.default_rng(0).permutation(len(ids)), number):
        rows = PackedRows(tf.constant(masks[at].sum(1, dtype="int32")), task.max_length)
        inputs = {"token_ids": rows.tokens(ids[at], 0), "sequence_ids": rows.sequence_ids}
        packed.append((inputs, rows.tokens(labels[at], -1)))
    return batches, packed


def real_tokens(batches):
    masks = [inputs.get("padding_mask", inputs.get("sequence_ids")) for inputs, _ in batches]
    return sum(int(np.count_nonzero(mask)) for mask in masks)


def measured(task, rows, number, rounds):
    """Return real tokens a second of both ways, and the seconds of the first pass over each."""
    language = isinstance(task, CausalLM)
    model = type(task).from_scratch(
        tokenizer=task.tokenizer, size="mini", max_length=task.max_length,
        dtype=dtype_policy("auto"), **({} if language else {"task": task.task}),
    ).model  # fmt: skip
    objective = {"loss": Crossentropy()} if language else pretraining_objective(task.task != "mlm")
    model.compile(AdamW(1e-4, global_clipnorm=1.0), **objective)
    ways = (responses if language else pretraining)(task, rows, number)
    tokens = [real_tokens(batches) for batches in ways]
    assert tokens[0] == tokens[1]

    def seconds(batches):
        start = time.perf_counter()
        for inputs, labels in batches:
            model.train_on_batch(inputs, labels)
        return time.perf_counter() - start

    first = [seconds(batches) for batches in ways]
    times = [[seconds(batches) for batches in ways] for _ in range(rounds)]
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    return [tokens[0] / median for median in medians], first


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["wikitext-nsp", "imdb-nsp"])
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print("| rows | one a row, tokens/s | packed, tokens/s | ratio | first pass over each, s |")
    print("|---|---|---|---|---|")
    for name in options.sets:
        what, make = SETS[name]
        keras.utils.set_random_seed(0)
        (one, packed), first = measured(*make(options.data), options.batches, options.rounds)
        seconds = " / ".join(f"{value:.1f}" for value in first)
        print(f"| {what} | {one:,.0f} | {packed:,.0f} | {packed / one:.2f} | {seconds} |",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
