"""BERT weights from published checkpoints into `Bert` and its heads, and back.

In: a directory or Hub name with `config.json` and safetensors, as `transformers` writes, or a
directory of Google's (see `google`). Out: a built model with those weights and a `LoadReport`
that says what was loaded, what is new and what was left aside; or, the other way, a directory
that `transformers` and KerasHub, or the code of google-research/bert, read. Tensors have the
names of `BertForPreTraining` and `BertForSequenceClassification` in `transformers`, after Devlin
et al. 2018.
"""

import numpy as np

from tfmodels.checkpoints.family import Family
from tfmodels.checkpoints.files import (
    check_vocabulary_size,
    config_path,
    find_checkpoint,
    is_google,
    listed,
    our_settings,
    read_labels,
)
from tfmodels.checkpoints.google import GoogleTensors, write_google_config, write_google_tensors
from tfmodels.checkpoints.tokenizers import write_vocabulary
from tfmodels.errors import InputError
from tfmodels.files import read_json, whole_directory
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.classifier import Classifier
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


def load_classifier(source, num_classes=None, *, pooling=None, revision=None, dtype=None):
    """Return a classifier on the encoder of a checkpoint, with its pooler and head if they fit.

    Args:
        source: as for `load_bert`.
        num_classes: C; as in the checkpoint's own head if not given.
        pooling: `"first"` or `"mean"`, see `Pooler`; that of the checkpoint's own head, or
            `"first"`, if not given. A head that was trained on the other is not taken.
        revision, dtype: as for `load_bert`.

    Returns:
        pair of a built `Classifier` and a `LoadReport`.

    Raises:
        InputError: as `load_bert`; or no `num_classes`, and no head in the checkpoint.
    """
    directory = find_checkpoint(source, revision)
    config, own = read_bert_config(directory), head_of(directory)
    if pooling is None:
        pooling = own if own == "mean" else "first"
    if num_classes is None:
        shape = BERT.open(directory).shapes.get(f"{HEAD}weight")
        if shape is None or own != pooling:
            raise InputError(
                f"{directory}: has no head of a classifier that tells the number of classes; "
                "give num_classes"
            )
        num_classes = shape[0]
    dropout = read_json(config_path(directory)).get("classifier_dropout")
    dropout = config.dropout if dropout is None else dropout
    activation = activation_of(directory, num_classes)
    model = Classifier(Bert(config, dtype=dtype), num_classes, dropout, pooling, activation)
    return model, load_weights(model, directory)


def load_tagger(source, labels=None, *, crf=None, revision=None, dtype=None):
    """Return a tagger on the encoder of a checkpoint, with its head if that is for the labels.

    Args:
        source: as for `load_bert`.
        labels: names of the tags; those of the checkpoint's own head if not given.
        crf: whether there is a `CRF`; as in the checkpoint if not given.
        revision, dtype: as for `load_bert`.

    Returns:
        pair of a built `Tagger` and a `LoadReport`.

    Raises:
        InputError: as `load_bert`; or no `labels`, and no head of a tagger in the checkpoint.
    """
    directory = find_checkpoint(source, revision)
    config = read_bert_config(directory)
    if labels is None:
        labels = read_labels(directory) if head_of(directory) == "tokens" else None
        if labels is None:
            raise InputError(f"{directory}: has no head of a tagger with its labels; give labels")
    if crf is None:
        crf = any(name.startswith(CHAIN) for name in BERT.open(directory).names)
    model = Tagger(Bert(config, dtype=dtype), len(labels), labels, crf, config.dropout)
    return model, load_weights(model, directory)


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


def save_bert(model, directory, tokenizer, labels=None):
    """Write a directory that `transformers`, KerasHub and `load_bert` read.

    A `Classifier` is read by `BertForSequenceClassification`, a `Tagger` by
    `BertForTokenClassification`, a `BertPretrainer` by `BertForPreTraining` or, without
    `next_sentence`, `BertForMaskedLM`, and the text by `AutoTokenizer`. A `Bert`, and a
    `Classifier` with `pooling="mean"`, for which there is no class there, are read by
    `BertModel`; their pooler is the identity, and the head of the latter is for
    `load_classifier`. The directory appears whole or not at all.

    Args:
        model: `Bert`, `BertPretrainer`, `Classifier`, or `Tagger` without a CRF. Weights are
            written as float32.
        directory: to write; must not be there yet, or be empty.
        tokenizer: `WordPieceTokenizer` of at most V tokens.
        labels: C different label names, for a `Classifier` or `Tagger`; the tagger's own, or
            `LABEL_0`, ..., if not given.

    Raises:
        InputError: a model that `transformers` has no class for (no segment embedding, another
            head), a wrong number of labels or tokens, or `directory` exists or cannot be written.
    """
    if isinstance(model, Classifier | Tagger):
        labels = _checked_labels(model, labels)
    elif labels is not None:
        raise InputError(
            f"labels are for a Classifier or Tagger, and this is a {type(model).__name__}; leave "
            "them out"
        )
    with whole_directory(directory, "another directory") as partial:
        write_bert(model, partial, tokenizer, labels)


def write_bert(model, directory, tokenizer, labels=None, ours=None):
    """Write the files of `save_bert` into a directory, for any model with a `Bert` in it.

    Args:
        model: `Bert`, or a model whose `encoder` is one.
        directory: an existing one.
        tokenizer, labels: see `save_bert`.
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


def save_google(model, directory, tokenizer):
    """Write a directory that the code of google-research/bert and `load_bert` read.

    `bert_config.json`, `vocab.txt` and the checkpoint `bert_model.ckpt`; heads that the model
    lacks are left out. No file there says how text is split: a vocabulary with upper-case
    letters means that text keeps its case. The directory appears whole or not at all.

    Args:
        model: `Bert` or `BertPretrainer`. Weights are written as float32.
        directory: to write; must not be there yet, or be empty.
        tokenizer: `WordPieceTokenizer` of at most V tokens.

    Raises:
        InputError: another model, no segment embedding, an activation or epsilon that has no
            form there, too many tokens, or `directory` exists or cannot be written.
    """
    if not isinstance(model, Bert | BertPretrainer):
        raise InputError(
            f"{type(model).__name__} cannot be written as Google's BERT; save its encoder"
        )
    _check_segments(model)
    config = BERT.backbone(model).config
    check_vocabulary_size(tokenizer, config)
    theirs = {name: getattr(config, ours) for ours, name in BERT.fields.items()}
    del theirs["layer_norm_eps"]
    with whole_directory(directory, "another directory") as partial:
        write_google_config(partial, config, theirs)
        write_vocabulary(partial, tokenizer.vocabulary)
        write_google_tensors(partial, BERT.weights_to_write(model))


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


def _checked_labels(model, labels):
    """Return `labels`, after refusing a model that `transformers` has no class for."""
    number = model.num_labels if isinstance(model, Tagger) else model.num_classes
    if getattr(model, "crf", None) is not None:
        raise InputError("a Tagger with a CRF has no class in transformers; save its encoder")
    if labels is None:
        labels = getattr(model, "labels", None) or [f"LABEL_{n}" for n in range(number)]
    if len(set(labels)) != len(labels) or len(labels) != number:
        raise InputError(f"labels are {listed(labels)}; give {number} different names, one a class")
    return list(labels)
