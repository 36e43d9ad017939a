"""Training and inference speed beside PyTorch `transformers` and KerasHub, as ratios.

    python -m benchmarks.speed [--sizes minilm base] [--works train forward] [--rounds 5]

In: nothing; random weights and ids. Out: a table of milliseconds a step, medians of the rounds by
turns (`turns.py`), ratios beside their goals, and a last line of JSON. PyTorch takes part as it is
and with `torch.compile`. Exit status 1 if a goal is missed. Nothing else should run meanwhile.
"""

import argparse
import json
import os
import sys

from benchmarks import turns

SHAPES = {"minilm": (6, 384, 12, 1536), "base": (12, 768, 12, 3072)}
BATCHES = {"minilm": [(32, 16), (32, 32), (32, 128)], "base": [(16, 128)]}
GOALS = {"minilm": ["train 32x32"], "base": ["train 16x128"]}
PEERS = ("tfmodels", "transformers", "compiled", "kerashub")
VOCABULARY = 30522


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


def new_kerashub_classifier(size):
    """Return a new classifier of KerasHub and its optimizer."""
    import keras
    import keras_hub

    from tfmodels.training.precision import dtype_policy

    keras.config.set_dtype_policy(dtype_policy("auto"))
    layers, hidden, heads, feedforward = SHAPES[size]
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=VOCABULARY, num_layers=layers, num_heads=heads, hidden_dim=hidden,
        intermediate_dim=feedforward, dropout=0.1, max_sequence_length=512,
    )  # fmt: skip
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=2, preprocessor=None)
    return model, keras.optimizers.AdamW(5e-5, global_clipnorm=1.0)


def run_kerashub(size, batch, length):
    import numpy as np

    ids, labels = random_batch(batch, length)
    inputs = {
        "token_ids": ids.astype("int32"),
        "segment_ids": np.zeros_like(ids, "int32"),
        "padding_mask": np.ones_like(ids, "int32"),
    }
    model, optimizer = new_kerashub_classifier(size)
    return keras_steps(model, inputs, labels, optimizer)


def new_transformers_trainer(size, compiled=False):
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
    optimizer = torch.optim.AdamW(model.parameters(), 5e-5, fused=True)
    if compiled:
        model.compile()

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


def run_transformers(size, batch, length, compiled=False):
    import torch

    ids, labels = (torch.from_numpy(array) for array in random_batch(batch, length))
    mask = torch.ones_like(ids)
    train = new_transformers_trainer(size, compiled)
    return lambda: train(ids, mask, labels), lambda: train.forward(ids, mask)


def run_compiled(size, batch, length):
    return run_transformers(size, batch, length, compiled=True)


def answers(peer, size):
    """Return a function of a question such as "train 32x16": median milliseconds of a step."""
    made = {}

    def answer(question):
        kind, shape = question.split()
        if shape not in made:
            steps = globals()[f"run_{peer}"](size, *map(int, shape.split("x")))
            made[shape] = dict(zip(("train", "forward"), steps, strict=True))
        return turns.milliseconds(made[shape][kind])

    return answer


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["minilm"], choices=list(SHAPES))
    parser.add_argument("--works", nargs="+", default=["train", "forward"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", nargs=2, metavar=("PEER", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return turns.serve(lambda: answers(*options.serve))
    result, reached = {"machine": turns.machine()}, True
    for size in options.sizes:
        processes = {peer: turns.start("benchmarks.speed", "--serve", peer, size) for peer in PEERS}
        questions = [f"{w} {b}x{n}" for w in options.works for b, n in BATCHES[size]]
        found = turns.rounds(processes, questions, options.rounds)
        table = turns.print_table(f"{size}, ms", found, digits=0)
        for peers, goal in (["kerashub"], 2.5), (["transformers", "compiled"], 2.2):
            ratios = turns.ratios(table, ["tfmodels"], peers)
            what = f"{size}, times faster than {' and '.join(peers)}"
            goals = {question: r for question, r in ratios.items() if question in GOALS[size]}
            print("\n" + what + ": " + ", ".join(f"{r} ({q})" for q, r in ratios.items()))
            table[f"beside {peers[0]}"] = turns.print_goal(what, goals, goal)
            reached &= table[f"beside {peers[0]}"]["reached"]
        result[size] = table
    print(json.dumps(result))
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
