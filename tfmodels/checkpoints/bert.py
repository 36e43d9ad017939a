"""BERT weights from a Hugging Face directory into `Bert` and its heads, and back.

In: a directory or Hub name with `config.json` and safetensors (see `files` and
`hugging_face`). Out: a built model with those weights and a `LoadReport` that says what
was loaded, what is new and what was left aside; or, the other way, a directory that
`transformers` reads. Tensor names are those of `BertModel` and
`BertForSequenceClassification` in `transformers`, after Devlin et al. 2018.
"""

import dataclasses
from operator import attrgetter
from pathlib import Path

import numpy as np
from keras import ops

from tfmodels.checkpoints.files import (
    WEIGHTS,
    TensorFiles,
    find_checkpoint,
    read_json,
    write_tensors,
)
from tfmodels.checkpoints.hugging_face import read_bert_config, write_bert_config, write_tokenizer
from tfmodels.errors import InputError
from tfmodels.files import whole_directory
from tfmodels.models.bert import Bert
from tfmodels.models.classifier import Classifier

# The whole map: our layer or table, theirs.
EMBEDDINGS = {
    "token": "embeddings.word_embeddings.weight",
    "position": "embeddings.position_embeddings.weight",
    "segment": "embeddings.token_type_embeddings.weight",
}
EMBEDDINGS_NORM = "embeddings.LayerNorm"
BLOCK = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output_projection": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feedforward.inner": "intermediate.dense",
    "feedforward.outer": "output.dense",
    "feedforward_norm": "output.LayerNorm",
}
POOLER, HEAD = "pooler.dense", "classifier"
PARAMETERS = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}

PREFIX = "bert."  # of the encoder's and pooler's names in a model with a head
OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
# What an encoder does without: a constant, and the heads of other tasks.
IGNORED = ("embeddings.position_ids", "cls.", "qa_outputs.", f"{POOLER}.", f"{HEAD}.")
# Not told by shapes, so compared with config.json.
UNSEEN_FIELDS = ("num_heads", "activation", "epsilon")

ENCODER_CLASS, CLASSIFIER_CLASS = "BertModel", "BertForSequenceClassification"
OURS = "tfmodels"  # key of config.json for what `transformers` knows nothing of
LISTED = 5  # names in a message; the rest is a number


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What happened to every tensor of a checkpoint and every weight of a model.

    Printed, it is one line.

    Args:
        directory: of the checkpoint.
        loaded: names of the tensors that were loaded.
        new: paths of the model's weights that the checkpoint has nothing for: they keep
            their initial values.
        ignored: names of the tensors that the model has no place for.
    """

    directory: Path
    loaded: tuple[str, ...]
    new: tuple[str, ...]
    ignored: tuple[str, ...]

    def __str__(self):
        parts = [f"{self.directory}: {len(self.loaded)} tensors loaded"]
        if self.new:
            parts.append(f"new, to be trained: {_listed(self.new)}")
        if self.ignored:
            parts.append(f"ignored: {_listed(self.ignored)}")
        return "; ".join(parts)


def load_bert(source, *, revision=None, dtype=None):
    """The encoder of any checkpoint of BERT's architecture.

    Args:
        source: directory, or name on the Hugging Face Hub.
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


def load_classifier(source, num_classes=None, *, pooling="first", revision=None, dtype=None):
    """A classifier on the encoder of a checkpoint, with its pooler and head if they fit.

    Args:
        source: directory, or name on the Hugging Face Hub.
        num_classes: C; as in the checkpoint's own head if not given.
        pooling: `"first"` or `"mean"`, see `Pooler`. A head of the
            checkpoint that was trained on the other is not taken.
        revision: branch, tag or commit on the Hub.
        dtype: dtype policy of the model; the global one if not given.

    Returns:
        pair of a built `Classifier` and a `LoadReport`.

    Raises:
        InputError: as `load_bert`; or no `num_classes`, and no head in the checkpoint.
    """
    directory = find_checkpoint(source, revision)
    config = read_bert_config(directory)
    if num_classes is None:
        num_classes = _num_classes(directory, pooling)
    dropout = read_json(directory / "config.json").get("classifier_dropout")
    dropout = config.dropout if dropout is None else dropout
    model = Classifier(Bert(config, dtype=dtype), num_classes, dropout, pooling)
    return model, load_weights(model, directory)


def load_weights(model, directory):
    """Loads a checkpoint into a model that was made before, for example under a strategy.

    The encoder is loaded whole or not at all. `pooler.dense` of the model is loaded if the
    checkpoint has it, and the head of a `Classifier` if the checkpoint is of a sequence
    classifier with as many classes and the same pooling (`"first"`, unless it was written
    here and says otherwise). All other weights are new.

    Args:
        model: `Bert`, or a model whose `encoder` is one. It is built if it is not yet;
            weights of any dtype.
        directory: of the checkpoint; see `find_checkpoint`.

    Returns:
        `LoadReport`.

    Raises:
        InputError: tensors missing, unexpected or of another shape (all named on one line),
            or settings in `config.json` that the shapes do not tell and the model differs in.
    """
    directory = Path(directory)
    encoder = _encoder(model)
    if not model.built:
        model.build()
    _check_settings(encoder.config, directory)
    files = TensorFiles(directory)
    stored = _plain_names(files, directory)  # plain name: name in the file
    shapes = {name: files.shapes[original] for name, original in stored.items()}

    wanted = encoder_weights(encoder)
    pooler, head = _pooler_weights(model), _head_weights(model)
    if any(name in shapes for name in pooler):
        wanted |= pooler
    fits = all(shapes.get(name) == _shape_there(variable) for name, variable in head.items())
    if fits and head and _has_head_on(directory, model.pooling):
        wanted |= head
    places = {name: _shape_there(variable) for name, variable in wanted.items()}
    missing = [name for name in places if name not in shapes]
    others = [name for name in shapes if name not in places]
    unexpected = [name for name in others if not name.startswith(IGNORED)]
    mismatched = [
        f"{name} {_times(shapes[name])} for {_times(shape)}"
        for name, shape in places.items()
        if shapes.get(name, shape) != shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": mismatched}
    if any(problems.values()):
        found = "; ".join(
            f"{len(names)} {problem}: {_listed(names)}"
            for problem, names in problems.items()
            if names
        )
        raise InputError(
            f"{directory}: the weights do not fit the model: {found}; give the checkpoint of a "
            "BERT whose config.json describes its weights"
        )
    for name, variable in wanted.items():
        tensor = files.read(stored[name])
        variable.assign(tensor.T if _is_kernel(variable) else tensor)
    assigned = {id(variable) for variable in wanted.values()}
    return LoadReport(
        directory,
        loaded=tuple(stored[name] for name in wanted),
        new=tuple(weight.path for weight in model.weights if id(weight) not in assigned),
        ignored=tuple(stored[name] for name in others),
    )


def save_bert(model, directory, vocabulary, tokenizer_options, labels=None):
    """Writes a directory that `transformers` and `load_bert` read.

    A `Classifier` is read by `BertForSequenceClassification`, a `Bert` by `BertModel`
    (whose pooler is then new; only the last hidden states are ours), and the text by
    `AutoTokenizer`. The directory appears whole or not at all.

    Args:
        model: `Bert`, or `Classifier` with `pooling="first"`. Weights are written as float32.
        directory: to write; must not be there yet, or be empty.
        vocabulary: tokens in the order of their ids, at most V.
        tokenizer_options: dict of `lowercase`, `strip_accents`, `split_cjk`.
        labels: C different label names, for a `Classifier`; `LABEL_0`, ... if not given.

    Raises:
        InputError: a model that `transformers` has no class for (mean pooling, no segment
            embedding, another head), a wrong number of labels or tokens, or `directory`
            exists or cannot be written.
    """
    if model is not _encoder(model):
        labels = _checked_labels(model, labels)
    elif labels is not None:
        raise InputError("labels are for a Classifier, and this is an encoder; leave them out")
    with whole_directory(directory, "another directory") as partial:
        write_bert(model, partial, vocabulary, tokenizer_options, labels)


def write_bert(model, directory, vocabulary, tokenizer_options, labels=None, ours=None):
    """Writes the files of `save_bert` into a directory, for any model with a `Bert` in it.

    Args:
        model: `Bert`, or a model whose `encoder` is one.
        directory: an existing one.
        vocabulary, tokenizer_options, labels: see `save_bert`.
        ours: JSON object for `config.json`, under the key `OURS`: what a model that has no
            class in `transformers` needs to be made again. With it stands the `pooling` that
            the head was trained on.

    Raises:
        InputError: the encoder has no form there, the model has weights besides encoder,
            pooler and the head of a `Classifier`, or there are more tokens than embeddings.
        OSError: a file cannot be written.
    """
    directory = Path(directory)
    encoder = _encoder(model)
    config = encoder.config
    if not config.num_segments:
        raise InputError(
            "a Hugging Face BERT has segment embeddings; save a model with num_segments of 1 "
            "or more"
        )
    if len(vocabulary) > config.vocabulary_size:
        raise InputError(
            f"vocabulary has {len(vocabulary)} tokens and the model {config.vocabulary_size}; "
            "give the vocabulary that the model was trained with"
        )
    if not model.built:
        model.build()
    architecture, dropout = ENCODER_CLASS, None
    weights = encoder_weights(encoder)
    if model is not encoder:
        weights |= _pooler_weights(model)
        weights = {PREFIX + name: variable for name, variable in weights.items()}
        weights |= _head_weights(model)
        if isinstance(model, Classifier) and model.pooling == "first":
            architecture, dropout = CLASSIFIER_CLASS, model.dropout
    written = {id(variable) for variable in weights.values()}
    left = [weight.path for weight in model.weights if id(weight) not in written]
    if left:
        raise InputError(
            f"{type(model).__name__} has weights with no name in a Hugging Face BERT "
            f"({_listed(left)}); save its encoder"
        )
    more = {} if ours is None else {OURS: ours}
    write_bert_config(directory, config, architecture, labels, dropout, more)
    write_tokenizer(directory, vocabulary, tokenizer_options, config.max_length)
    tensors = {name: _tensor(variable) for name, variable in weights.items()}
    write_tensors(directory / WEIGHTS, tensors)


def encoder_weights(encoder):
    """The variable for every tensor of a `BertModel` without its pooler.

    Args:
        encoder: a built `Bert`.

    Returns:
        dict of tensor name to Keras variable, with each weight of `encoder` once.
    """
    weights = {}
    for ours, theirs in EMBEDDINGS.items():
        table = getattr(encoder.embeddings, ours)
        if table is not None:  # a model without segments
            weights[theirs] = table
    weights |= _layer_weights(EMBEDDINGS_NORM, encoder.embeddings.norm)
    for number, block in enumerate(encoder.blocks):
        for ours, theirs in BLOCK.items():
            weights |= _layer_weights(f"encoder.layer.{number}.{theirs}", attrgetter(ours)(block))
    return weights


def _layer_weights(name, layer):
    return {f"{name}.{PARAMETERS[weight.name]}": weight for weight in layer.weights}


def _pooler_weights(model):
    """As `encoder_weights`, of `model.pooler.dense`; empty without one."""
    dense = getattr(getattr(model, "pooler", None), "dense", None)
    return {} if dense is None else _layer_weights(POOLER, dense)


def _head_weights(model):
    """As `encoder_weights`, of a head on the pooler's vector; empty without one."""
    if not isinstance(model, Classifier):
        return {}
    return _layer_weights(HEAD, model.head.logits)


def _encoder(model):
    encoder = getattr(model, "encoder", model)
    if not isinstance(encoder, Bert):
        raise InputError(
            f"{type(model).__name__} is no Bert and has none as its encoder; give a Bert, or a "
            "model on one"
        )
    return encoder


def _check_settings(config, directory):
    """Refuses a checkpoint whose shapes may fit but whose computation is another."""
    theirs = read_bert_config(directory)
    for field in UNSEEN_FIELDS:
        there, here = getattr(theirs, field), getattr(config, field)
        if there != here:
            raise InputError(
                f"{directory}: its config.json means {field}={there!r}, the model has {here!r}; "
                "make the model from read_bert_config(directory)"
            )


def _plain_names(files, directory):
    """Every tensor's name without prefix and with today's words: its name in the files."""
    stored = {}
    for original in files.shapes:
        name = original.removeprefix(PREFIX)
        for old, new in OLD_NAMES.items():
            name = name.replace(old, new)
        if name in stored:
            raise InputError(
                f"{directory}: {original} and {stored[name]} are the same weight; remove one"
            )
        stored[name] = original
    return stored


def _has_head_on(directory, pooling):
    """Whether `classifier` in the checkpoint is a head on that pooling, not on tokens."""
    config = read_json(directory / "config.json")
    if isinstance(config.get(OURS), dict):
        return config[OURS].get("pooling") == pooling
    classes = config.get("architectures")
    return pooling == "first" and (not classes or CLASSIFIER_CLASS in classes)


def _num_classes(directory, pooling):
    """C of the checkpoint's own head."""
    shape = TensorFiles(directory).shapes.get(f"{HEAD}.weight")
    if shape is None or not _has_head_on(directory, pooling):
        raise InputError(
            f"{directory}: has no head of a classifier that tells the number of classes; "
            "give num_classes"
        )
    return shape[0]


def _checked_labels(model, labels):
    """`labels`, after refusing a model that `BertForSequenceClassification` is not."""
    if not isinstance(model, Classifier):
        raise InputError(
            f"{type(model).__name__} cannot be written for transformers; save its encoder"
        )
    if model.pooling != "first":
        raise InputError(
            f"a Classifier with pooling {model.pooling!r} has no class in transformers; save "
            "its encoder, or train with pooling='first'"
        )
    if labels is None:
        return [f"LABEL_{number}" for number in range(model.num_classes)]
    if len(set(labels)) != len(labels) or len(labels) != model.num_classes:
        raise InputError(
            f"labels are {_listed(labels)}; give {model.num_classes} different names, one a class"
        )
    return list(labels)


def _is_kernel(variable):
    """Whether the variable is `[I, O]` here and `[O, I]` there, as PyTorch's Linear."""
    return variable.name == "kernel"


def _shape_there(variable):
    return tuple(variable.shape)[::-1] if _is_kernel(variable) else tuple(variable.shape)


def _tensor(variable):
    tensor = np.asarray(ops.convert_to_numpy(variable), np.float32)
    return tensor.T if _is_kernel(variable) else tensor


def _times(shape):
    return "x".join(map(str, shape)) or "scalar"


def _listed(names):
    """The first few names and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(str, names[:LISTED])) + more
