"""What the input of pretraining costs each of several workers.

    python -m benchmarks.worker_input [--workers 2] [--batch 256] [--batches 60] [--rounds 5]

In: nothing; records of random words, 128 tokens an example, in 8 files, in a temporary directory.
Out: a line of JSON: the median milliseconds that a worker's input takes for a batch of all workers
where it takes its rows of finished batches ("finished"), where it takes them before they are parsed
and masked ("own", as pretraining does), and for reading, unpacking and shuffling alone.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfmodels.data.documents import TextFiles
from tfmodels.models.workers import rows_of_worker
from tfmodels.text.examples import ExampleSettings
from tfmodels.text.pretraining import training_batches
from tfmodels.text.records import record_passes, write_records
from tfmodels.text.wordpiece import SPECIAL_TOKENS, WordPieceTokenizer

WORDS, DOCUMENTS, SENTENCES = 5000, 6000, 24
SETTINGS = ExampleSettings(max_length=128)


def written(directory):
    """Return the tokenizer and the passes of records that are written into a directory."""
    numbers = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(WORDS)])
    with open(directory / "text.txt", "w", encoding="utf-8") as file:
        for _ in range(DOCUMENTS):
            for sentence in numbers.choice(words, (SENTENCES, 20)):
                print(" ".join(sentence) + ".", file=file)
            print(file=file)
    tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, *words, "."])
    texts, records = TextFiles(str(directory / "text.txt")), directory / "records"
    write_records(texts, tokenizer, records, SETTINGS, shards=8, processes=1)
    return tokenizer, record_passes(records, tokenizer, seed=0)


def milliseconds(dataset, batches):
    """Return the time of a batch; the first, which fills the buffers, is not counted."""
    batch = iter(dataset)
    next(batch)
    start = time.perf_counter()
    for _ in range(batches):
        next(batch)
    return 1000 * (time.perf_counter() - start) / batches


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256, help="rows of all workers together")
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = {"finished": [], "own": [], "reading": []}
    context = tf.distribute.InputContext(options.workers, 0, options.workers)
    with tempfile.TemporaryDirectory() as directory:
        tokenizer, one_pass = written(Path(directory))
        made = training_batches(one_pass, tokenizer, options.batch, SETTINGS)
        datasets = {
            # A dataset that does not say how to split it is split when its batches are finished.
            "finished": rows_of_worker(made.prefetch(tf.data.AUTOTUNE), context),
            "own": rows_of_worker(made, context),
            "reading": tf.data.Dataset.range(99).flat_map(one_pass).batch(options.batch),
        }
        for _ in range(options.rounds):
            for name, dataset in datasets.items():
                found[name].append(milliseconds(dataset, options.batches))
    medians = {name: round(statistics.median(times), 2) for name, times in found.items()}
    print(json.dumps({**vars(options), "milliseconds": medians}))


if __name__ == "__main__":
    main()
