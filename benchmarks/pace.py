"""How fast rows are trained on, beside PyTorch and KerasHub, each with its own pipeline.

    python -m benchmarks.pace --train_file sst2/train.tsv --text_column sentence [--rounds 3]

In: a table of texts. Out: seconds for 1,000 rows of a MiniLM-shaped classifier (6 layers, 384
wide, random weights), batches of 32, and the ratio. Ours: batches of `task.dataset`; theirs:
`tokenizers`, random batches padded to their longest, bfloat16 autocast; KerasHub's: its
preprocessor, random batches padded to 128 tokens (its default is 512), mixed bfloat16. All read
the same rows in an order of their own. The peers take turns; nothing else should run meanwhile.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import turns
from benchmarks.speed import new_encoder, new_kerashub_classifier, new_transformers_trainer

BATCH, BATCHES, WARM_UP = 32, 100, 40
PEERS = ("tfmodels", "transformers", "kerashub")
GOALS = {"transformers": 4.0, "kerashub": 8.0}


def rows_of(file, column):
    """Return `BATCHES` + `WARM_UP` batches of rows, drawn at random from the file."""
    from tfmodels.data import open_table

    rows = (values[0] for _, values in open_table(file, column).rows(seed=0))
    return [text for text, _ in zip(rows, range(BATCH * (BATCHES + WARM_UP)), strict=False)]


def seconds(step, batches, shape_of=lambda batch: None):
    """Return the seconds of 1,000 rows.

    Not counted are the first batches, and the first of each shape: it compiles, which a training of
    thousands of steps does once.
    """
    seen, times = {None}, []
    batches = iter(batches)
    for number in itertools.count():
        start = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return statistics.mean(times) / BATCH * 1000
        step(batch)
        if number >= WARM_UP and shape_of(batch) in seen:
            times.append(time.perf_counter() - start)
        seen.add(shape_of(batch))


def run_tfmodels(texts, vocabulary):
    from tfmodels.tasks.text_classifier import TextClassifier
    from tfmodels.text.wordpiece import WordPieceTokenizer
    from tfmodels.training.losses import Crossentropy
    from tfmodels.training.optimizer import make_optimizer

    tokenizer = WordPieceTokenizer.from_file(vocabulary)
    task = TextClassifier(new_encoder("minilm"), tokenizer, ["no", "yes"])
    task.model.compile(make_optimizer(10 * BATCHES, learning_rate=5e-5), Crossentropy())
    labels = [0, 1] * (len(texts) // 2)
    batches = task.dataset(texts, labels, batch_size=BATCH, shuffle=True)
    return seconds(
        lambda batch: task.model.train_on_batch(*batch),
        batches.repeat(2),
        lambda batch: tuple(batch[0]["token_ids"].shape),
    )


def run_transformers(texts, vocabulary):
    import tokenizers
    import torch

    tokenizer = tokenizers.BertWordPieceTokenizer(str(vocabulary))
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding()
    train = new_transformers_trainer("minilm")

    def step(part):
        encoded = tokenizer.encode_batch(part)
        ids = torch.tensor([e.ids for e in encoded])
        mask = torch.tensor([e.attention_mask for e in encoded])
        train(ids, mask, torch.tensor([0, 1] * (len(part) // 2)))

    return seconds(step, (texts[i : i + BATCH] for i in range(0, len(texts), BATCH)))


def run_kerashub(texts, vocabulary):
    import keras
    import keras_hub
    import numpy as np

    tokenizer = keras_hub.models.BertTokenizer(str(vocabulary), lowercase=True)
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=128)
    model, optimizer = new_kerashub_classifier("minilm")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)

    def step(part):
        inputs, labels, _ = keras.utils.unpack_x_y_sample_weight(
            preprocessor(part, np.array([0, 1] * (len(part) // 2)))
        )
        model.train_on_batch(inputs, labels)

    return seconds(step, (texts[i : i + BATCH] for i in range(0, len(texts), BATCH)))


def main():
    """Run the peers in turn and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train_file", required=True)
    parser.add_argument("--text_column", default="text")
    parser.add_argument("--vocabulary", type=Path, help="vocab.txt; MiniLM's if not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=2, metavar=("PEER", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.vocabulary is None:
        from applications.demo import minilm

        options.vocabulary = minilm() / "vocab.txt"
    if options.child:
        peer, file = options.child
        texts = json.loads(Path(file).read_text(encoding="utf-8"))
        print(globals()[f"run_{peer}"](texts, options.vocabulary))
        return 0
    found = {peer: [] for peer in PEERS}
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".json") as file:
        json.dump(rows_of(options.train_file, options.text_column), file)
        file.flush()
        for _ in range(options.rounds):
            for peer in PEERS:
                call = ("--train_file", "-", "--vocabulary", options.vocabulary)
                taken = turns.run_once("benchmarks.pace", *call, "--child", peer, file.name)
                found[peer].append(taken)
    medians = {peer: statistics.median(times) for peer, times in found.items()}
    ratios = {peer: medians[peer] / medians["tfmodels"] for peer in GOALS}
    reached = all(ratios[peer] >= goal for peer, goal in GOALS.items())
    result = {"seconds for 1,000 rows": medians, "each": found}
    print(json.dumps({**result, "ratios": ratios, "goals": GOALS, "reached": reached}))
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
