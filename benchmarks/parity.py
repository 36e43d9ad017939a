"""Compares our BERT with PyTorch `transformers`: states, pooled vector, logits, round trip.

In: random weights of two published shapes, bert-tiny (2 x 128) and MiniLM (6 x 384), or
a local Hugging Face directory with `--checkpoint`; a batch with padding and two
segments. Out: a line for each with the largest absolute differences in float32. Exit
status 1 if one is above 1e-4.

    python -m benchmarks.parity [--checkpoint DIR]

"back" is `save_bert` of our model, read by `transformers`, against the first reading.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import torch
import transformers

from tfmodels.checkpoints.bert import load_classifier, save_bert

TOLERANCE = 1e-4
SHAPES = {  # name: layers, width, heads
    "bert-tiny 2 x 128": (2, 128, 2),
    "MiniLM 6 x 384": (6, 384, 12),
}
LENGTHS = (64, 40, 9, 2)  # real tokens of each row
FIRST_SEGMENTS = (20, 40, 5, 1)  # how many of them are in the first segment
NUM_CLASSES = 3


def random_reference(**fields):
    """A `BertForSequenceClassification` with no weight left at 0 or 1.

    Args:
        **fields: of `transformers.BertConfig`.
    """
    config = transformers.BertConfig(num_labels=NUM_CLASSES, **fields)
    model = transformers.BertForSequenceClassification(config).eval()
    deviation = 1.5 / config.hidden_size**0.5  # attention neither flat nor one-hot
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if name.endswith("LayerNorm.weight") else 0.0, deviation)
    return model


def random_batch(vocabulary_size, seed=0):
    """A batch with padding and two segments, as the models here take it."""
    position = np.arange(max(LENGTHS))
    mask = position < np.array(LENGTHS)[:, None]  # [B, S]
    segments = (position >= np.array(FIRST_SEGMENTS)[:, None]) & mask
    ids = np.random.default_rng(seed).integers(1, vocabulary_size, mask.shape) * mask
    return {
        "token_ids": ids.astype("int32"),
        "segment_ids": segments.astype("int32"),
        "padding_mask": mask,
    }


def reference_outputs(model, batch):
    """States at real positions, pooled vectors and logits of the `transformers` model."""
    with torch.no_grad():
        encoded = model.bert(
            torch.tensor(batch["token_ids"]).long(),
            attention_mask=torch.tensor(batch["padding_mask"]).long(),
            token_type_ids=torch.tensor(batch["segment_ids"]).long(),
        )
        logits = model.classifier(encoded.pooler_output)
    states = encoded.last_hidden_state.numpy()[batch["padding_mask"]]
    return {"states": states, "pooled": encoded.pooler_output.numpy(), "logits": logits.numpy()}


def our_outputs(model, batch):
    """The same of our `Classifier`."""
    states = model.encoder(batch)
    pooled = model.pooler(states, batch["padding_mask"])
    outputs = {"states": states, "pooled": pooled, "logits": model(batch)}
    outputs = {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}
    return {**outputs, "states": outputs["states"][batch["padding_mask"]]}


def largest_differences(expected, actual):
    """The largest absolute difference of each output."""
    return {name: float(np.abs(actual[name] - expected[name]).max()) for name in expected}


def round_trip(model, directory):
    """Our `Classifier`, written by `save_bert` to `directory`, as `transformers` reads it."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    save_bert(model, directory, special, {})
    return transformers.BertForSequenceClassification.from_pretrained(directory).eval()


def compare(name, reference, directory):
    """Prints the line of one model; returns the largest difference in it.

    Args:
        name: to print.
        reference: `transformers.BertForSequenceClassification`.
        directory: to write into.
    """
    reference.save_pretrained(directory / "reference")
    batch = random_batch(reference.config.vocab_size)
    expected = reference_outputs(reference, batch)
    model, _ = load_classifier(directory / "reference", dtype="float32")
    found = largest_differences(expected, our_outputs(model, batch))
    back = reference_outputs(round_trip(model, directory / "back"), batch)
    found["back"] = max(largest_differences(expected, back).values())
    print(f"{name:20}", *(f"{part} {value:.1e} " for part, value in found.items()), flush=True)
    return max(found.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", type=Path, help="compare this directory as well")
    arguments = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    references = {
        name: random_reference(
            num_hidden_layers=layers,
            hidden_size=width,
            num_attention_heads=heads,
            intermediate_size=4 * width,
        )
        for name, (layers, width, heads) in SHAPES.items()
    }
    if arguments.checkpoint is not None:
        references[arguments.checkpoint.name] = (
            transformers.BertForSequenceClassification.from_pretrained(
                arguments.checkpoint, num_labels=NUM_CLASSES, dtype="float32"
            ).eval()
        )
    worst = 0.0
    for name, reference in references.items():
        with tempfile.TemporaryDirectory() as directory:
            worst = max(worst, compare(name, reference, Path(directory)))
    print(f"largest difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    sys.exit(0 if worst <= TOLERANCE else 1)


if __name__ == "__main__":
    main()
