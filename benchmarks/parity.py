"""Compare BERT, GPT-2 and BART with those of PyTorch `transformers`: states, logits, round trip.

In: random weights of two published shapes, bert-tiny (2 x 128) and MiniLM (6 x 384), each
with a classifier's head and with the heads of pretraining, or a local Hugging Face
directory with `--checkpoint`; a batch with padding and two segments. And random weights of
two shapes of GPT-2, with padding left and right, and of BART. Out: a line for each with the
largest absolute differences in float32. Exit status 1 if one is above 1e-4.

    python -m benchmarks.parity [--checkpoint DIR]

"back" is the model as `write_bert`, `write_gpt` or `write_bart` writes it, read by `transformers`,
against the first reading.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import torch
import transformers

from tfmodels.checkpoints.bart import load_bart, write_bart
from tfmodels.checkpoints.bert import load_weights, read_bert_config, write_bert
from tfmodels.checkpoints.gpt2 import load_gpt, write_gpt
from tfmodels.models.bert import Bert
from tfmodels.models.classifier import Classifier
from tfmodels.models.pretrainer import BertPretrainer
from tfmodels.text.bpe import END_OF_TEXT, BytePairTokenizer, printable_bytes
from tfmodels.text.wordpiece import WordPieceTokenizer

TOLERANCE = 1e-4
SHAPES = {  # name: layers, width, heads
    "bert-tiny 2 x 128": (2, 128, 2),
    "MiniLM 6 x 384": (6, 384, 12),
}
GPT_SHAPES = {  # name: layers, width, heads, width inside the feed-forward parts
    "GPT-2 2 x 128": (2, 128, 2, None),
    "GPT-2 6 x 384": (6, 384, 12, 1000),
}
BART_SHAPES = {  # name: encoder layers, decoder layers, width, heads, feed-forward width
    "BART 2 + 2 x 128": (2, 2, 128, 2, 512),
    "BART 6 + 3 x 384": (6, 3, 384, 12, 1000),
}
KINDS = {  # what stands on it: class
    "": transformers.BertForSequenceClassification,
    ", pretraining": transformers.BertForPreTraining,
}
LENGTHS = (64, 40, 9, 2)  # real tokens of each row
FIRST_SEGMENTS = (20, 40, 5, 1)  # how many of them are in the first segment
NUM_CLASSES = 3
NORMS = ("LayerNorm", "ln_1", "ln_2", "ln_f", "layer_norm", "layernorm_embedding")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def random_reference(kind=transformers.BertForSequenceClassification, **fields):
    """Return a model of `transformers` with no weight left at 0 or 1.

    Args:
        kind: its class; also `BertForPreTraining`, `BertForMaskedLM`, `GPT2LMHeadModel`,
            `BartForConditionalGeneration`.
        **fields: of its config.
    """
    config = kind.config_class(num_labels=NUM_CLASSES, **fields)
    model = kind(config).eval()
    deviation = 1.5 / config.hidden_size**0.5  # attention neither flat nor one-hot
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = name.endswith(tuple(f"{norm}.weight" for norm in NORMS))
            parameter.normal_(1.0 if norm else 0.0, deviation)
    return model


def random_batch(vocabulary_size, seed=0):
    """Return a batch with padding and two segments, as the models here take it."""
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
    """Return states at real positions, pooled vectors and logits of the `transformers` model."""
    with torch.no_grad():
        encoded = model.bert(
            torch.tensor(batch["token_ids"]).long(),
            attention_mask=torch.tensor(batch["padding_mask"]).long(),
            token_type_ids=torch.tensor(batch["segment_ids"]).long(),
        )
        outputs = {"states": encoded.last_hidden_state}
        if encoded.pooler_output is not None:
            outputs["pooled"] = encoded.pooler_output
        if isinstance(model, transformers.BertForPreTraining):
            outputs["masked_lm"], outputs["next_sentence"] = model.cls(*outputs.values())
        elif isinstance(model, transformers.BertForMaskedLM):
            outputs["masked_lm"] = model.cls(outputs["states"])
        else:
            outputs["logits"] = model.classifier(outputs["pooled"])
    return _at_real({name: output.numpy() for name, output in outputs.items()}, batch)


def keras_outputs(model, batch):
    """Return the same of a `Classifier` or `BertPretrainer`."""
    outputs = {"states": model.encoder(batch)}
    if model.pooler is not None:
        outputs["pooled"] = model.pooler(outputs["states"], batch["padding_mask"])
    heads = model(batch)
    outputs |= {"logits": heads} if isinstance(model, Classifier) else heads
    outputs = {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}
    return _at_real(outputs, batch)


def _at_real(outputs, batch):
    """Return those outputs that are of every position, at the real ones only."""
    mask = batch["padding_mask"]
    return {name: x[mask] if x.ndim == 3 else x for name, x in outputs.items()}


def largest_differences(expected, actual):
    """Return the largest absolute difference of each output."""
    return {name: float(np.abs(actual[name] - expected[name]).max()) for name in expected}


def _printed(name, errors):
    """Print the line of one model; return the largest difference in it."""
    print(f"{name:32}", *(f"{part} {value:.1e} " for part, value in errors.items()), flush=True)
    return max(errors.values())


def compare(name, reference, directory):
    """Print the line of one model; return the largest difference in it.

    Args:
        name: to print.
        reference: a model of `random_reference`.
        directory: to write into.
    """
    reference.save_pretrained(directory / "reference")
    batch = random_batch(reference.config.vocab_size)
    expected = reference_outputs(reference, batch)
    encoder, labels = Bert(read_bert_config(directory / "reference"), dtype="float32"), None
    if isinstance(reference, transformers.BertForSequenceClassification):
        model, labels = Classifier(encoder, NUM_CLASSES), [*map(str, range(NUM_CLASSES))]
    else:
        pretrains = isinstance(reference, transformers.BertForPreTraining)
        model = BertPretrainer(encoder, next_sentence=pretrains)
    load_weights(model, directory / "reference")
    errors = largest_differences(expected, keras_outputs(model, batch))
    back = directory / "back"
    back.mkdir()
    write_bert(model, back, WordPieceTokenizer(SPECIAL), labels)
    back = type(reference).from_pretrained(back).eval()
    errors["back"] = max(largest_differences(expected, reference_outputs(back, batch)).values())
    return _printed(name, errors)


def random_gpt(layers, width, heads, inner=None, **fields):
    """Return a `GPT2LMHeadModel` as of `random_reference`."""
    fields = {"vocab_size": 300, "n_positions": 128, **fields}
    end = {"bos_token_id": None, "eos_token_id": None}  # the default is outside this vocabulary
    return random_reference(
        transformers.GPT2LMHeadModel,
        n_layer=layers, n_embd=width, n_head=heads, n_inner=inner, **fields, **end,
    )  # fmt: skip


def gpt_batch(vocabulary_size, left):
    """Return a batch of texts with padding left or right."""
    batch = random_batch(vocabulary_size)
    del batch["segment_ids"]
    return {name: x[:, ::-1] if left else x for name, x in batch.items()}


def gpt_logits(model, batch):
    """Return logits at real positions of a `GPT2LMHeadModel`; its positions count real tokens."""
    mask = torch.tensor(batch["padding_mask"].copy()).long()
    with torch.no_grad():
        logits = model(
            torch.tensor(batch["token_ids"].copy()).long(),
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        ).logits
    return logits.numpy()[batch["padding_mask"]]


def compare_gpt(name, reference, directory):
    """As `compare`, of a `random_gpt`."""
    reference.save_pretrained(directory / "reference")
    model, _ = load_gpt(directory / "reference", dtype="float32")
    tokenizer = BytePairTokenizer([*printable_bytes(), END_OF_TEXT], [])
    back = directory / "back"
    back.mkdir()
    write_gpt(model, back, tokenizer)
    back = transformers.GPT2LMHeadModel.from_pretrained(back).eval()
    errors = {"back": 0.0}
    for side in ("left", "right"):
        batch = gpt_batch(reference.config.vocab_size, side == "left")
        expected = gpt_logits(reference, batch)
        logits = keras.ops.convert_to_numpy(model(batch))[batch["padding_mask"]]
        errors[f"padding {side}"] = float(np.abs(logits - expected).max())
        errors["back"] = max(errors["back"], np.abs(gpt_logits(back, batch) - expected).max())
    return _printed(name, errors)


def random_bart(encoder_layers, decoder_layers, width, heads, inner, **fields):
    """Return a `BartForConditionalGeneration` as of `random_reference`."""
    fields = {"vocab_size": 300, "max_position_embeddings": 128, **fields}
    model = random_reference(
        transformers.BartForConditionalGeneration,
        encoder_layers=encoder_layers, decoder_layers=decoder_layers, d_model=width,
        encoder_attention_heads=heads, decoder_attention_heads=heads,
        encoder_ffn_dim=inner, decoder_ffn_dim=inner, **fields,
    )  # fmt: skip
    model.final_logits_bias.normal_()
    return model


def bart_batch(vocabulary_size):
    """Return a batch of sources, and of targets that are longest where the sources are shortest."""
    batch, target = (random_batch(vocabulary_size, seed) for seed in (0, 1))
    del batch["segment_ids"]
    target = {f"decoder_{name}": target[name][::-1] for name in batch}
    return batch | target


def bart_outputs(model, batch):
    """Return encoder states and logits, at real positions, of a `BartForConditionalGeneration`."""
    tensors = {name: torch.tensor(x.copy()).long() for name, x in batch.items()}
    with torch.no_grad():
        outputs = model(
            tensors["token_ids"],
            attention_mask=tensors["padding_mask"],
            decoder_input_ids=tensors["decoder_token_ids"],
            decoder_attention_mask=tensors["decoder_padding_mask"],
        )
    return {
        "states": outputs.encoder_last_hidden_state.numpy()[batch["padding_mask"]],
        "logits": outputs.logits.numpy()[batch["decoder_padding_mask"]],
    }


def keras_bart_outputs(model, batch):
    """Return the same of a `Transformer`."""
    states, logits = (keras.ops.convert_to_numpy(x) for x in (model.encode(batch), model(batch)))
    return {
        "states": states[batch["padding_mask"]],
        "logits": logits[batch["decoder_padding_mask"]],
    }


def compare_bart(name, reference, directory):
    """As `compare`, of a `random_bart`."""
    reference.save_pretrained(directory / "reference")
    model, _ = load_bart(directory / "reference", dtype="float32")
    tokenizer = BytePairTokenizer([*printable_bytes(), END_OF_TEXT], [])
    back = directory / "back"
    back.mkdir()
    write_bart(model, back, tokenizer)
    back = transformers.BartForConditionalGeneration.from_pretrained(back).eval()
    batch = bart_batch(reference.config.vocab_size)
    expected = bart_outputs(reference, batch)
    errors = largest_differences(expected, keras_bart_outputs(model, batch))
    errors["back"] = max(largest_differences(expected, bart_outputs(back, batch)).values())
    return _printed(name, errors)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", type=Path, help="compare this directory as well")
    arguments = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    references = {
        f"{name}{what}": random_reference(
            kind,
            num_hidden_layers=layers,
            hidden_size=width,
            num_attention_heads=heads,
            intermediate_size=4 * width,
        )
        for what, kind in KINDS.items()
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
    for name, shape in GPT_SHAPES.items():
        with tempfile.TemporaryDirectory() as directory:
            worst = max(worst, compare_gpt(name, random_gpt(*shape), Path(directory)))
    for name, shape in BART_SHAPES.items():
        with tempfile.TemporaryDirectory() as directory:
            worst = max(worst, compare_bart(name, random_bart(*shape), Path(directory)))
    print(f"largest difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    sys.exit(0 if worst <= TOLERANCE else 1)


if __name__ == "__main__":
    main()
