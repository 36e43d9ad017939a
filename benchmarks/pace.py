"""How fast rows are trained on, beside PyTorch `transformers`, each with its own pipeline.

    python -m benchmarks.pace --train_file sst2/train.tsv --text_column sentence [--rounds 3]

In: a table of texts. Out: seconds for 1,000 rows of a MiniLM-shaped classifier (6 layers, 384
wide, random weights), batches of 32, and the ratio. Ours: `length_bucketed` batches; theirs:
`tokenizers`, random batches padded to their longest, bfloat16 autocast. Both read the same rows
in an order of their own. The peers take turns; nothing else should run meanwhile.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.speed import SHAPES, new_transformers_trainer

BATCH, BATCHES, WARM_UP = 32, 100, 40
PEERS = ("tfmodels", "transformers")


def rows_of(file, column):
    """`BATCHES` + `WARM_UP` batches of rows, drawn at random from the file."""
    from tfmodels.data.tables import open_source

    rows = (values[0] for _, values in open_source(file, [column]).rows(seed=0))
    return [text for text, _ in zip(rows, range(BATCH * (BATCHES + WARM_UP)), strict=False)]


def seconds(step, batches, shape_of=lambda batch: None):
    """Of 1,000 rows. Not counted are the first batches, and the first of each shape: it compiles,
    which a training of thousands of steps does once.
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
    import keras
    import tensorflow as tf

    from tfmodels.models.bert import Bert, BertConfig
    from tfmodels.models.classifier import Classifier
    from tfmodels.text.batching import length_bucketed
    from tfmodels.text.wordpiece import WordPieceTokenizer
    from tfmodels.training.optimizer import AdamW
    from tfmodels.training.precision import dtype_policy

    keras.config.set_dtype_policy(dtype_policy("auto"))
    tokenizer = WordPieceTokenizer.from_file(vocabulary)
    layers, hidden, heads, feedforward = SHAPES["minilm"]
    shape = {"num_layers": layers, "hidden_dim": hidden, "num_heads": heads}
    config = BertConfig(**shape, feedforward_dim=feedforward)
    model = Classifier(Bert(config), 2, pooling="mean")
    optimizer = AdamW(5e-5, global_clipnorm=1.0, use_ema=True, ema_momentum=0.999)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    chunks = tf.data.Dataset.from_tensor_slices((texts, [0, 1] * (len(texts) // 2))).batch(256)
    batches = length_bucketed(chunks, tokenizer, BATCH, 128, seed=0)
    return seconds(
        lambda batch: model.train_on_batch(*batch),
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


def main():
    """Runs the peers in turn and prints a line of JSON."""
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
                command = [sys.executable, "-m", "benchmarks.pace", "--train_file", "-"]
                command += ["--vocabulary", options.vocabulary, "--child", peer, file.name]
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
                found[peer].append(float(done.stdout.splitlines()[-1]))
    medians = {peer: statistics.median(times) for peer, times in found.items()}
    ratio = medians["tfmodels"] / medians["transformers"]
    print(json.dumps({"seconds for 1,000 rows": medians, "ratio": ratio, "each": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
