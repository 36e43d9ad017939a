"""BERT weights from published checkpoints into `Bert` and its heads, and back.

In: a directory with `config.json` and safetensors, as `transformers` writes it, or one of Google's
(see `google`). Out: a built model with those weights and a `LoadReport` of the tensors that were
loaded, the weights that are new and the tensors that were ignored; or, the other way, a directory
that `transformers` and KerasHub read. Tensors have the names of `BertForPreTraining` and
`BertForSequenceClassification` in `transformers`, after Devlin et al. 2018.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfmodels.checkpoints.family import KEY, QUERY, VALUE, Family
from tfmodels.checkpoints.files import (
    LoadReport,
    config_path,
    is_google,
    listed,
    read_entries,
    read_labels,
    saved_settings,
)
from tfmodels.errors import InputError
from tfmodels.models.bert import Bert
from tfmodels.models.pretrainer import BertPretrainer
from tfmodels.models.span_finder import SpanFinder
from tfmodels.models.tagger import Tagger

if TYPE_CHECKING:  # needs TensorFlow, see `family`
    from tfmodels.text.wordpiece import WordPieceTokenizer

POOLER, MASKED_LM, NEXT_SENTENCE = "pooler.dense", "cls.predictions", "cls.seq_relationship"
HEAD, CRF, SPANS = "classifier.", "crf.", "qa_outputs."
# Under the name of `HEAD`, `transformers` would read a head on the mean or the maximum of all
# states as one on the first.
MEAN_HEAD, OWN_HEADS = "mean_classifier.", ("mean", "max")
# Field of config.json: the pooler is the identity, written for readers that require one.
NO_POOLER = "pooler_is_identity"
# Tensors that an encoder does not use: a constant, and the heads of other tasks.
IGNORED = ("embeddings.position_ids", "cls.", f"{POOLER}.", HEAD, CRF, SPANS)
# Kind of head, see `head_of`: class in `transformers`, which has none for "mean" and "max".
HEAD_CLASS = {"first": "BertForSequenceClassification", "tokens": "BertForTokenClassification",
              "spans": "BertForQuestionAnswering"}  # fmt: skip
# `problem_type` of config.json: `activation` of a `Classifier`.
PROBLEMS = {"regression": "linear", "single_label_classification": "softmax",
            "multi_label_classification": "sigmoid"}  # fmt: skip


class BertFamily(Family):
    """See `Family`."""

    name, model_type, model_class = "BERT", "bert", Bert
    fields = {
        "vocabulary_size": "vocab_size",
        "num_layers": "num_hidden_layers",
        "hidden_dim": "hidden_size",
        "num_heads": "num_attention_heads",
        "feedforward_dim": "intermediate_size",
        "max_length": "max_position_embeddings",
        "num_segments": "type_vocab_size",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
        "epsilon": "layer_norm_eps",
        "initializer_range": "initializer_range",
    }
    required = ("vocabulary_size", "num_layers", "hidden_dim", "num_heads", "feedforward_dim")
    only = {
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
    }
    parts = {
        "embeddings.word_embeddings.weight": "embeddings.token",
        "embeddings.position_embeddings.weight": "embeddings.position",
        "embeddings.token_type_embeddings.weight": "embeddings.segment",
        "embeddings.LayerNorm": "embeddings.norm",
    }
    blocks = {
        ("encoder.layer.{}.", "blocks"): {
            "attention.self.query": QUERY,
            "attention.self.key": KEY,
            "attention.self.value": VALUE,
            "attention.output.dense": "attention.output_projection",
            "attention.output.LayerNorm": "attention_norm",
            "intermediate.dense": "feedforward.inner",
            "output.dense": "feedforward.outer",
            "output.LayerNorm": "feedforward_norm",
        }
    }
    heads = {
        POOLER: "pooler.dense",
        f"{MASKED_LM}.transform.dense": "masked_lm.dense",
        f"{MASKED_LM}.transform.LayerNorm": "masked_lm.norm",
        f"{MASKED_LM}.bias": "masked_lm.bias",
        NEXT_SENTENCE: "next_sentence_head.logits",
        "classifier": "head.logits",
        "crf": "crf",
        "qa_outputs": "span_head.logits",
    }
    optional = (POOLER, MASKED_LM, NEXT_SENTENCE, HEAD, CRF, SPANS)
    prefix = "bert."
    old_names = {
        "LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias", MEAN_HEAD: HEAD
    }  # fmt: skip
    tied = {
        "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
    tied_to = MASKED_LM
    if_not_tied = "give a checkpoint with tied embeddings, or load its encoder only"

    def is_ignored(self, name: str) -> bool:
        return name.startswith(IGNORED)

    def backbone(self, model: keras.Model) -> Bert:
        encoder = getattr(model, "encoder", model)
        if not isinstance(encoder, Bert):
            raise InputError(
                f"{type(model).__name__} is not a Bert and has no Bert as its encoder; give a "
                "Bert, or a model on one"
            )
        return encoder

    def open(self, directory: Path) -> Any:
        if not is_google(directory):
            return super().open(directory)
        from tfmodels.checkpoints.google import GoogleTensors

        return GoogleTensors(directory)

    def takes(self, part: str, directory: Path, model: keras.Model, fits: bool) -> bool:
        if part == POOLER:
            return not read_entries(directory).get(NO_POOLER)
        if part == SPANS:
            return fits
        if part not in (HEAD, CRF):
            return True
        labels = model.labels if isinstance(model, Tagger) else None
        stored = read_labels(directory) or []
        unnamed = all(re.fullmatch(r"LABEL_\d+", label) for label in stored)
        same = labels is None or list(labels) == stored or unnamed
        return fits and same and head_of(directory) == head_kind(model)

    def name_in_file(self, name: str, model: keras.Model) -> str:
        if name.startswith(HEAD) and head_kind(model) in OWN_HEADS:
            return name.replace(HEAD, MEAN_HEAD)
        of_heads = name.startswith(("cls.", HEAD, CRF, SPANS))
        without_prefix = of_heads or _class_name(model) == "BertModel"
        return name if without_prefix else self.prefix + name


BERT = BertFamily()
read_bert_config, load_bert, load_weights = BERT.read_config, BERT.load, BERT.load_weights


def load_pretrainer(directory: str | Path, dtype: Any = None) -> tuple[BertPretrainer, LoadReport]:
    """Return an encoder with the heads it is pretrained with, to predict tokens or to train on.

    Args:
        directory: of the checkpoint. There is a head for the next sentence if the checkpoint has
            one; a head for masked tokens that it lacks is new.
        dtype: dtype policy of the model; Keras' global one if not given.

    Returns:
        pair of a built `BertPretrainer` and a `LoadReport`.

    Raises:
        InputError: as `Family.load`; or a head is there in part, or not tied to the embeddings.
    """
    config, names = read_bert_config(directory), BERT.open(Path(directory)).names
    next_sentence = any(name.startswith(f"{NEXT_SENTENCE}.") for name in names)
    model = BertPretrainer(Bert(config, dtype=dtype), next_sentence)
    return model, load_weights(model, directory)


def head_of(directory: str | Path) -> str | None:
    """Return the kind of head of a checkpoint: `"first"`, `"mean"`, `"max"`, `"tokens"`, `"spans"`
    or None.

    `"first"` is that of a classifier on the pooled first state, `"mean"` and `"max"` those of one
    on the mean or the maximum of all states, which only this package writes, `"tokens"` that of a
    tagger, `"spans"` that of a `SpanFinder`.
    """
    if settings := saved_settings(directory):
        return settings.get("pooling")
    classes = read_entries(directory).get("architectures")
    if not classes:
        return "first"
    return next((kind for kind, name in HEAD_CLASS.items() if name in classes), None)


def activation_of(directory: str | Path) -> str:
    """Return the `activation` of the `Classifier` of a checkpoint.

    As in `transformers`, a head of one class gives a number unless `problem_type` is another.
    """
    default = "linear" if len(read_labels(directory) or ()) == 1 else "softmax"
    problem = read_entries(directory).get("problem_type", "")
    return saved_settings(directory).get("activation", PROBLEMS.get(problem, default))


def head_dropout(directory: str | Path) -> float | None:
    """Return the dropout before the head of a checkpoint; None for that of the encoder."""
    value = read_entries(directory).get("classifier_dropout")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and 0 <= value < 1):
        raise InputError(
            f"{config_path(directory)}: classifier_dropout is {value!r}; it must be a number from "
            "0 up, below 1"
        )
    return value


def write_bert(
    model: keras.Model, directory: str | Path, tokenizer: WordPieceTokenizer,
    labels: Sequence[str] | None = None, settings: dict | None = None,
) -> None:  # fmt: skip
    """Write the files of a model with a `Bert` in it into an existing directory.

    `transformers` reads a `Classifier` as `BertForSequenceClassification`, a `Tagger` as
    `BertForTokenClassification` (without its CRF), a `SpanFinder` as `BertForQuestionAnswering`,
    a `BertPretrainer` as `BertForPreTraining` or, without `next_sentence`, as `BertForMaskedLM`,
    and the tokenizer as `AutoTokenizer`. It has no
    class for a `Classifier` with `pooling="mean"`: that is read as `BertModel`, as is a `Bert`, and
    both by KerasHub, with a pooler that is the identity.

    Args:
        model: `Bert`, or a model whose `encoder` is one. Weights are written as float32.
        directory: to write into.
        tokenizer: of at most V tokens.
        labels: C different names, of the classes of a `Classifier` or the tags of a `Tagger`.
        settings: see `Family.write`.

    Raises:
        InputError: as `Family.write`; or a wrong number of labels, or no segment embeddings.
        OSError: a file cannot be written.
    """
    if not BERT.backbone(model).config.num_segments:
        raise InputError(
            "a published BERT has segment embeddings; save a model with num_segments of 1 or more"
        )
    entries: dict = {"architectures": [_class_name(model)]}
    head = head_kind(model)
    if head is not None:
        entries |= label_entries(model, labels)
        if settings or head in OWN_HEADS:
            settings = {**(settings or {}), "pooling": head}
    pooler: dict = {}
    if entries["architectures"] == ["BertModel"]:
        width = BERT.backbone(model).config.hidden_dim
        pooler = {f"{POOLER}.weight": np.eye(width, dtype="float32")}
        pooler[f"{POOLER}.bias"] = np.zeros(width, "float32")
        entries[NO_POOLER] = True
    BERT.write(model, directory, tokenizer, entries, settings, pooler)


def label_entries(model: keras.Model, labels: Sequence[str] | None) -> dict:
    """Return the fields of `config.json` about the head of a model.

    Raises:
        InputError: a wrong number of labels.
    """
    if isinstance(model, SpanFinder):
        return {"classifier_dropout": model.dropout}
    labels = list(labels or ())
    number = model.num_labels if isinstance(model, Tagger) else model.num_classes
    if len(labels) != number or len(set(labels)) != number:
        raise InputError(
            f"the labels are {listed(labels) or 'missing'}; give {number} different names, one "
            "for each class"
        )
    entries = {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        "classifier_dropout": model.dropout,
    }
    problems = {activation: problem for problem, activation in PROBLEMS.items()}
    if (activation := getattr(model, "activation", "softmax")) != "softmax":
        entries["problem_type"] = problems[activation]
    return entries


def head_kind(model: keras.Model) -> str | None:
    """Return as `head_of` of a model."""
    kinds = {Tagger: "tokens", SpanFinder: "spans"}
    return kinds.get(type(model)) or getattr(model, "pooling", None)


def _class_name(model):
    """Return the name of the class of `transformers` that reads a model."""
    if isinstance(model, BertPretrainer):
        return "BertForPreTraining" if model.next_sentence else "BertForMaskedLM"
    return HEAD_CLASS.get(head_kind(model), "BertModel")
