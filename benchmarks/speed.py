"""Training and inference speed beside PyTorch `transformers` and KerasHub, as ratios.

    python -m benchmarks.speed [--sizes minilm base] [--rounds 5]

In: nothing; random weights and ids, lengths as in film reviews' sentences. Out: a table of
milliseconds a step and of ratios. Each peer runs in a process of its own; the processes take
turns, round by round, and the median of the rounds' medians is printed, so that a change in the
machine's speed falls on all of them. Nothing else should run meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SHAPES = {"minilm": (6, 384, 12, 1536), "base": (12, 768, 12, 3072)}
BATCHES = {"minilm": [(32, 16), (32, 32), (32, 128)], "base": [(16, 128)]}
PEERS = ("tfmodels", "transformers", "kerashub")
VOCABULARY, STEPS = 30522, 8


def timed(step):
    """Return the median milliseconds of a step, after two that are not counted."""
    step(), step()
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def random_batch(batch, length):
    """Return ids and labels, the same for every peer."""
    import numpy as np

    numbers = np.random.default_rng(0)
    return numbers.integers(1000, VOCABULARY, (batch, length)), numbers.integers(0, 2, batch)


def keras_steps(model, inputs, labels, optimizer):
    """Return the train and forward steps of a Keras model of logits."""
    import keras
    import tensorflow as tf

    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    inputs = {name: tf.constant(value) for name, value in inputs.items()}
    labels = tf.constant(labels)
    forward = tf.function(lambda batch: model(batch, training=False))

    def train():
        model.train_on_batch(inputs, labels)

    train.by_fit = lambda: model.fit(inputs, labels, batch_size=len(labels), verbose=0)
    return train, lambda: forward(inputs)


def new_encoder(size):
    """Return our encoder of a shape, in the precision that is fast here."""
    from tfmodels.models.bert import Bert, BertConfig
    from tfmodels.training.precision import dtype_policy

    layers, hidden, heads, feedforward = SHAPES[size]
    config = BertConfig(
        vocabulary_size=VOCABULARY, num_layers=layers, hidden_dim=hidden, num_heads=heads,
        feedforward_dim=feedforward,
    )  # fmt: skip
    return Bert(config, dtype=dtype_policy("auto"))


def run_tfmodels(size, batch, length):
    import numpy as np

    from tfmodels.models.classifier import Classifier
    from tfmodels.training.optimizer import AdamW

    ids, labels = random_batch(batch, length)
    inputs = {
        "token_ids": ids.astype("int32"),
        "segment_ids": np.zeros_like(ids, "int32"),
        "padding_mask": np.ones_like(ids, bool),
    }
    model = Classifier(new_encoder(size), 2)
    return keras_steps(model, inputs, labels, AdamW(5e-5, global_clipnorm=1.0))


def run_kerashub(size, batch, length):
    import keras
    import keras_hub
    import numpy as np

    from tfmodels.training.precision import dtype_policy

    keras.config.set_dtype_policy(dtype_policy("auto"))
    layers, hidden, heads, feedforward = SHAPES[size]
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=VOCABULARY, num_layers=layers, num_heads=heads, hidden_dim=hidden,
        intermediate_dim=feedforward, dropout=0.1, max_sequence_length=512,
    )  # fmt: skip
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=2, preprocessor=None)
    ids, labels = random_batch(batch, length)
    inputs = {
        "token_ids": ids.astype("int32"),
        "segment_ids": np.zeros_like(ids, "int32"),
        "padding_mask": np.ones_like(ids, "int32"),
    }
    optimizer = keras.optimizers.AdamW(5e-5, global_clipnorm=1.0)
    return keras_steps(model, inputs, labels, optimizer)


def new_transformers_trainer(size):
    """Return a function of ids, mask and labels that trains a new PyTorch model by one step."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from tfmodels.training.precision import dtype_policy

    half = dtype_policy("auto") != "float32"
    torch.set_num_threads(os.cpu_count())
    layers, hidden, heads, feedforward = SHAPES[size]
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCABULARY, num_hidden_layers=layers, hidden_size=hidden,
            num_attention_heads=heads, intermediate_size=feedforward,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), 5e-5)

    def train(ids, mask, labels):
        model.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    def forward(ids, mask):
        model.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            model(input_ids=ids, attention_mask=mask)

    train.forward = forward
    return train


def run_transformers(size, batch, length):
    import torch

    ids, labels = (torch.from_numpy(array) for array in random_batch(batch, length))
    mask = torch.ones_like(ids)
    train = new_transformers_trainer(size)
    return lambda: train(ids, mask, labels), lambda: train.forward(ids, mask)


def measure(peer, size):
    """Print, in a child process, milliseconds of train and forward for each batch."""
    found = {}
    for batch, length in BATCHES[size]:
        train, forward = globals()[f"run_{peer}"](size, batch, length)
        found[f"{batch}x{length}"] = (timed(train), timed(forward))
    print(json.dumps(found))


def main():
    """Run the peers in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["minilm"], choices=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=2, metavar=("PEER", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return measure(*options.child)
    print(
        "| size, batch | " + " | ".join(f"{p} train / forward, ms" for p in PEERS) + " | ratios |"
    )
    print("|---" * (len(PEERS) + 2) + "|")
    for size in options.sizes:
        rounds = {peer: [] for peer in PEERS}
        for _ in range(options.rounds):
            for peer in PEERS:
                command = [sys.executable, "-m", "benchmarks.speed", "--child", peer, size]
                done = subprocess.run(command, capture_output=True, check=True)
                rounds[peer].append(json.loads(done.stdout.splitlines()[-1]))
        for name in rounds["tfmodels"][0]:
            medians = {
                peer: [statistics.median(r[name][kind] for r in found) for kind in (0, 1)]
                for peer, found in rounds.items()
            }
            row = [f"{medians[p][0]:.0f} / {medians[p][1]:.0f}" for p in PEERS]
            ratios = "; ".join(
                f"{medians[p][0] / medians['tfmodels'][0]:.2f} / "
                f"{medians[p][1] / medians['tfmodels'][1]:.2f} times {p}"
                for p in PEERS[1:]
            )
            print(f"| {size} {name} | " + " | ".join(row) + f" | {ratios} |", flush=True)
    return None


if __name__ == "__main__":
    sys.exit(main())
