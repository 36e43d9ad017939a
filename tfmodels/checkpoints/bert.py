"""BERT weights from published checkpoints into `Bert` and its heads, and back.

In: a directory or Hub name with `config.json` and safetensors, as `transformers` writes, or a
directory of Google's (see `google`). Out: a built model with those weights and a `LoadReport`
that lists what was loaded, what is new and what was ignored; or, the other way, a directory that
`transformers` and KerasHub read. Tensors have the names of `BertForPreTraining` and
`BertForSequenceClassification` in `transformers`, after Devlin et al. 2018.
"""

import numpy as np

from tfmodels.checkpoints.family import Family
from tfmodels.checkpoints.files import (
    config_path,
    find_checkpoint,
    is_google,
    our_settings,
    read_labels,
)
from tfmodels.checkpoints.google import GoogleTensors
from tfmodels.errors import InputError
from tfmodels.files import read_json
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.pretrainer import BertPretrainer
from tfmodels.models.tagger import Tagger

POOLER, MASKED_LM, NEXT_SENTENCE = "pooler.dense", "cls.predictions", "cls.seq_relationship"
HEAD, CHAIN = "classifier.", "crf."
# Names of ours in files: with that of `HEAD`, `transformers` would take a head on the mean of all
# states for one on the first.
MEAN_HEAD = "mean_classifier."
# Of config.json: the pooler is the identity, there for those who cannot do without.
NO_POOLER = "pooler_is_identity"
# What an encoder does without: a constant, and the heads of other tasks.
IGNORED = ("embeddings.position_ids", "cls.", "qa_outputs.", f"{POOLER}.", HEAD, CHAIN)
# What `HEAD` stands on: class in `transformers`, of which "mean" has none.
HEAD_CLASS = {
    "first": "BertForSequenceClassification",
    "tokens": "BertForTokenClassification",
    "mean": "BertModel",
}
# `problem_type` of config.json: `activation` of a `Classifier`.
PROBLEMS = {"regression": "linear", "single_label_classification": "softmax",
            "multi_label_classification": "sigmoid"}  # fmt: skip


class BertFamily(Family):
    """See `Family`."""

    name, model_type, config_type = "BERT", "bert", BertConfig
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
            "attention.self.query": "attention.query",
            "attention.self.key": "attention.key",
            "attention.self.value": "attention.value",
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
    }
    optional = (POOLER, MASKED_LM, NEXT_SENTENCE, HEAD, CHAIN)
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

    def is_ignored(self, name):
        return name.startswith(IGNORED)

    def backbone(self, model):
        encoder = getattr(model, "encoder", model)
        if not isinstance(encoder, Bert):
            raise InputError(
                f"{type(model).__name__} is no Bert and has none as its encoder; give a Bert, or a "
                "model on one"
            )
        return encoder

    def open(self, directory):
        if is_google(directory):
            return GoogleTensors(directory)
        return super().open(directory)

    def takes(self, part, directory, model, fits):
        if part == POOLER:
            return not read_json(config_path(directory)).get(NO_POOLER)
        if part not in (HEAD, CHAIN):
            return True
        labels = model.labels if isinstance(model, Tagger) else None
        same = labels is None or list(labels) == read_labels(directory)
        return fits and same and head_of(directory) == _stands_on(model)

    def name_in_file(self, name, model):
        if name.startswith(HEAD) and _stands_on(model) == "mean":
            return name.replace(HEAD, MEAN_HEAD)
        heads = ("cls.", HEAD, CHAIN)
        alone = _architecture(model) == "BertModel"
        return name if alone or name.startswith(heads) else self.prefix + name


BERT = BertFamily()
read_bert_config, load_weights, bert_weights = BERT.read_config, BERT.load_weights, BERT.weights


def load_bert(source, *, revision=None, dtype=None):
    """Return the encoder of any checkpoint of BERT's architecture.

    Args:
        source: directory (of Hugging Face's or Google's layout), or name on the Hugging Face
            Hub.
        revision: branch, tag or commit on the Hub.
        dtype: dtype policy of the model; the global one if not given.

    Returns:
        pair of a built `Bert` and a `LoadReport`.

    Raises:
        InputError: the checkpoint is missing, damaged or of another architecture.

    Example:
        >>> encoder, report = load_bert("google-bert/bert-base-uncased")
        >>> print(report)
    """
    directory = find_checkpoint(source, revision)
    encoder = Bert(read_bert_config(directory), dtype=dtype)
    return encoder, load_weights(encoder, directory)


def load_pretrainer(source, *, next_sentence=None, revision=None, dtype=None):
    """Return an encoder with the heads it is pretrained with, to predict tokens or to train on.

    Args:
        source: as for `load_bert`. Heads that it lacks are new.
        next_sentence: whether there is the head on two segments; as in the checkpoint if not
            given.
        revision, dtype: as for `load_bert`.

    Returns:
        pair of a built `BertPretrainer` and a `LoadReport`.

    Raises:
        InputError: as `load_bert`; or a head is there in part, or not tied to the embeddings.
    """
    directory = find_checkpoint(source, revision)
    config = read_bert_config(directory)
    if next_sentence is None:
        names = BERT.open(directory).names
        next_sentence = any(name.startswith(f"{NEXT_SENTENCE}.") for name in names)
    model = BertPretrainer(Bert(config, dtype=dtype), next_sentence)
    return model, load_weights(model, directory)


def head_of(directory):
    """Return what the head of a checkpoint reads: `"first"`, `"mean"`, `"tokens"` or None.

    `"first"` is a classifier's on the pooled first state, `"mean"` one's on the mean of all, which
    only this package writes, `"tokens"` a tagger's.
    """
    if ours := our_settings(directory):
        return ours.get("pooling")
    classes = read_json(config_path(directory)).get("architectures")
    if not classes:
        return "first"
    return next((kind for kind in ("first", "tokens") if HEAD_CLASS[kind] in classes), None)


def activation_of(directory, num_classes=None):
    """Return what the logits of a classifier's head mean: an `activation` of `Classifier`.

    As in `transformers`, a head of one class gives a number if nothing else is said.
    """
    number = len(read_labels(directory) or ()) if num_classes is None else num_classes
    default = "linear" if number == 1 else "softmax"
    problem = read_json(config_path(directory)).get("problem_type")
    return our_settings(directory).get("activation", PROBLEMS.get(problem, default))


def write_bert(model, directory, tokenizer, labels=None, ours=None):
    """Write a directory that `transformers`, KerasHub and `load_bert` read.

    A `Classifier` is read by `BertForSequenceClassification`, a `Tagger` without a CRF by
    `BertForTokenClassification`, a `BertPretrainer` by `BertForPreTraining` or, without
    `next_sentence`, `BertForMaskedLM`, and the text by `AutoTokenizer`. A `Bert`, a `Classifier`
    with `pooling="mean"` and other models, for which there is no class there, are read by
    `BertModel`; their pooler is the identity, and their heads are for this package.

    Args:
        model: `Bert`, or a model whose `encoder` is one. Weights are written as float32.
        directory: an existing one.
        tokenizer: `WordPieceTokenizer` with no more tokens than the model.
        labels: C different label names, for a `Classifier` or `Tagger`.
        ours: JSON object for `config.json`, under the key `OURS`: what a model that has no
            class in `transformers` needs to be made again.

    Raises:
        InputError: the encoder has no form there, the model has weights that
            `bert_weights` does not name, or there are more tokens than embeddings.
        OSError: a file cannot be written.
    """
    _check_segments(model)
    more, stands_on = {"architectures": [_architecture(model)]}, _stands_on(model)
    if stands_on is not None:
        more["classifier_dropout"] = model.dropout
        names = {activation: problem for problem, activation in PROBLEMS.items()}
        if (activation := getattr(model, "activation", "softmax")) != "softmax":
            more["problem_type"] = names[activation]
        if ours or stands_on == "mean":
            ours = {**(ours or {}), "pooling": stands_on}
    if labels is not None:
        more["id2label"] = {str(number): label for number, label in enumerate(labels)}
        more["label2id"] = {label: number for number, label in enumerate(labels)}
    pooler = {}
    if more["architectures"] == ["BertModel"]:
        width = BERT.backbone(model).config.hidden_dim
        pooler = {f"{POOLER}.weight": np.eye(width, dtype="float32")}
        pooler[f"{POOLER}.bias"] = np.zeros(width, "float32")
        more[NO_POOLER] = True
    BERT.write(model, directory, tokenizer, more, ours, pooler)


def _check_segments(model):
    if not BERT.backbone(model).config.num_segments:
        raise InputError(
            "a published BERT has segment embeddings; save a model with num_segments of 1 or more"
        )


def _stands_on(model):
    """Return as `head_of` of a model."""
    return "tokens" if isinstance(model, Tagger) else getattr(model, "pooling", None)


def _architecture(model):
    """Return the name of the class of `transformers` that reads a model."""
    if isinstance(model, BertPretrainer):
        return "BertForPreTraining" if model.next_sentence else "BertForMaskedLM"
    return HEAD_CLASS.get(_stands_on(model), "BertModel")
