"""BERT weights from published checkpoints into `Bert` and its heads, and back.

In: a directory or Hub name with `config.json` and safetensors, as `transformers` writes
(see `files` and `hugging_face`), or a directory of Google's (see `google`). Out: a built
model with those weights and a `LoadReport` that says what was loaded, what is new and what
was left aside; or, the other way, a directory that `transformers`, or the code of
google-research/bert, reads. Tensors have the names of `BertForPreTraining` and
`BertForSequenceClassification` in `transformers`, after Devlin et al. 2018.
"""

from operator import attrgetter
from pathlib import Path

from tfmodels.checkpoints.files import (
    OURS,
    WEIGHTS,
    check_settings,
    config_path,
    find_checkpoint,
    is_google,
    listed,
    load_tensors,
    write_tensors,
)
from tfmodels.checkpoints.google import GoogleTensors, write_google_config, write_google_tensors
from tfmodels.checkpoints.hugging_face import (
    PREFIX,
    HuggingFaceTensors,
    hugging_face_tensor,
    read_bert_config,
    read_labels,
    write_bert_config,
    write_tokenizer,
    write_vocabulary,
)
from tfmodels.errors import InputError
from tfmodels.files import read_json, whole_directory
from tfmodels.models.bert import Bert
from tfmodels.models.classifier import Classifier
from tfmodels.models.pretrainer import BertPretrainer
from tfmodels.models.tagger import Tagger

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
POOLER, MASKED_LM, NEXT_SENTENCE = "pooler.dense", "cls.predictions", "cls.seq_relationship"
HEAD, CHAIN = "classifier", "crf"
PARAMETERS = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}

# Loaded whole if the checkpoint has a part of it, and new otherwise.
OPTIONAL = (POOLER, MASKED_LM, NEXT_SENTENCE, HEAD, CHAIN)
# What an encoder does without: a constant, and the heads of other tasks.
IGNORED = ("embeddings.position_ids", "cls.", "qa_outputs.", f"{POOLER}.", f"{HEAD}.")
IGNORED += (f"{CHAIN}.",)  # a name of ours: `transformers` has no tagger with a chain
# Not told by shapes, so compared with config.json.
UNSEEN_FIELDS = ("num_heads", "activation", "epsilon")

ENCODER_CLASS = "BertModel"
PRETRAINER_CLASS, MASKED_LM_CLASS = "BertForPreTraining", "BertForMaskedLM"
# What `HEAD` stands on: class. "mean" has none.
HEAD_CLASS = {"first": "BertForSequenceClassification", "tokens": "BertForTokenClassification"}


def load_bert(source, *, revision=None, dtype=None):
    """The encoder of any checkpoint of BERT's architecture.

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


def load_classifier(source, num_classes=None, *, pooling="first", revision=None, dtype=None):
    """A classifier on the encoder of a checkpoint, with its pooler and head if they fit.

    Args:
        source: as for `load_bert`.
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
    dropout = read_json(config_path(directory)).get("classifier_dropout")
    dropout = config.dropout if dropout is None else dropout
    model = Classifier(Bert(config, dtype=dtype), num_classes, dropout, pooling)
    return model, load_weights(model, directory)


def load_pretrainer(source, *, next_sentence=None, revision=None, dtype=None):
    """An encoder with the heads it is pretrained with, to predict tokens or to train on.

    Args:
        source: as for `load_bert`. Heads that it lacks are new.
        next_sentence: whether there is the head on two segments; as in the checkpoint if not
            given.
        revision: branch, tag or commit on the Hub.
        dtype: dtype policy of the model; the global one if not given.

    Returns:
        pair of a built `BertPretrainer` and a `LoadReport`.

    Raises:
        InputError: as `load_bert`; or a head is there in part, or not tied to the embeddings.
    """
    directory = find_checkpoint(source, revision)
    config = read_bert_config(directory)
    if next_sentence is None:
        names = _open(directory).names
        next_sentence = any(name.startswith(f"{NEXT_SENTENCE}.") for name in names)
    model = BertPretrainer(Bert(config, dtype=dtype), next_sentence)
    return model, load_weights(model, directory)


def load_weights(model, directory):
    """Loads a checkpoint into a model that was made before, for example under a strategy.

    The encoder is loaded whole or not at all. `pooler.dense` and the heads of a
    `BertPretrainer` are each loaded if the checkpoint has them, the head of a `Classifier`
    if the checkpoint is of a sequence classifier with as many classes and the same pooling
    (`"first"`, unless it was written here and says otherwise), and head and chain of a `Tagger`
    if it is of a tagger with the same labels. All other weights are new.

    Args:
        model: `Bert`, or a model whose `encoder` is one. It is built if it is not yet;
            weights of any dtype.
        directory: of the checkpoint; see `find_checkpoint`.

    Returns:
        `LoadReport`.

    Raises:
        InputError: tensors missing, unexpected or of another shape (all named on one line), a
            head in part, an output embedding that is not tied to the input, or settings in
            `config.json` that the shapes do not tell and the model differs in.
    """
    directory = Path(directory)
    encoder = _encoder(model)
    if not model.built:
        model.build()
    theirs = read_bert_config(directory)
    check_settings(config_path(directory), theirs, encoder.config, UNSEEN_FIELDS)
    tensors = _open(directory)
    shapes = tensors.shapes
    wanted = bert_weights(model)
    for part in OPTIONAL:
        names = [name for name in wanted if name.startswith(f"{part}.")]
        there = any(name in shapes for name in names)
        if part in (HEAD, CHAIN) and there:
            fits = all(
                shapes.get(name) == tensors.shape_there(name, wanted[name]) for name in names
            )
            there = fits and _has_head_on(directory, model)
        if not there:
            for name in names:
                del wanted[name]
    return load_tensors(
        directory, tensors, wanted, model, lambda name: name.startswith(IGNORED), "BERT",
        tied=any(name.startswith(MASKED_LM) for name in wanted),
    )  # fmt: skip


def save_bert(model, directory, vocabulary, tokenizer_options, labels=None):
    """Writes a directory that `transformers` and `load_bert` read.

    A `Classifier` is read by `BertForSequenceClassification`, a `Tagger` by
    `BertForTokenClassification`, a `BertPretrainer` by
    `BertForPreTraining` or, without `next_sentence`, `BertForMaskedLM`, a `Bert` by
    `BertModel` (whose pooler is then new; only the last hidden states are ours), and the text
    by `AutoTokenizer`. The directory appears whole or not at all.

    Args:
        model: `Bert`, `BertPretrainer`, `Classifier` with `pooling="first"`, or `Tagger`
            without a chain. Weights are written as float32.
        directory: to write; must not be there yet, or be empty.
        vocabulary: tokens in the order of their ids, at most V.
        tokenizer_options: dict of `lowercase`, `strip_accents`, `split_cjk`.
        labels: C different label names, for a `Classifier` or `Tagger`; the tagger's own, or
            `LABEL_0`, ..., if not given.

    Raises:
        InputError: a model that `transformers` has no class for (mean pooling, no segment
            embedding, another head), a wrong number of labels or tokens, or `directory`
            exists or cannot be written.
    """
    if isinstance(model, Classifier | Tagger):
        labels = _checked_labels(model, labels)
    elif labels is not None:
        raise InputError(
            f"labels are for a Classifier or Tagger, and this is a {type(model).__name__}; leave "
            "them out"
        )
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
        InputError: the encoder has no form there, the model has weights that
            `bert_weights` does not name, or there are more tokens than embeddings.
        OSError: a file cannot be written.
    """
    directory = Path(directory)
    weights = _weights_to_save(model, vocabulary)
    config = _encoder(model).config
    architecture, dropout = ENCODER_CLASS, None
    if _stands_on(model) in HEAD_CLASS:
        architecture, dropout = HEAD_CLASS[_stands_on(model)], model.dropout
    elif isinstance(model, BertPretrainer):
        architecture = PRETRAINER_CLASS if model.next_sentence else MASKED_LM_CLASS
    more = {} if ours is None else {OURS: ours}
    write_bert_config(directory, config, architecture, labels, dropout, more)
    write_tokenizer(directory, vocabulary, tokenizer_options, config.max_length)
    heads = (MASKED_LM, NEXT_SENTENCE, HEAD, CHAIN)
    tensors = {
        name if isinstance(model, Bert) or name.startswith(heads) else PREFIX + name: variable
        for name, variable in weights.items()
    }
    tensors = {name: hugging_face_tensor(variable) for name, variable in tensors.items()}
    write_tensors(directory / WEIGHTS, tensors)


def save_google(model, directory, vocabulary):
    """Writes a directory that the code of google-research/bert and `load_bert` read.

    `bert_config.json`, `vocab.txt` and the checkpoint `bert_model.ckpt`; heads that the model
    lacks are left out. No file there says how text is split: a vocabulary with upper-case
    letters means that text keeps its case. The directory appears whole or not at all.

    Args:
        model: `Bert` or `BertPretrainer`. Weights are written as float32.
        directory: to write; must not be there yet, or be empty.
        vocabulary: tokens in the order of their ids, at most V.

    Raises:
        InputError: another model, no segment embedding, an activation or epsilon that has no
            form there, too many tokens, or `directory` exists or cannot be written.
    """
    if not isinstance(model, Bert | BertPretrainer):
        raise InputError(
            f"{type(model).__name__} cannot be written as Google's BERT; save its encoder"
        )
    weights = _weights_to_save(model, vocabulary)
    with whole_directory(directory, "another directory") as partial:
        write_google_config(partial, _encoder(model).config)
        write_vocabulary(partial, vocabulary)
        write_google_tensors(partial, weights, _encoder(model).config.num_layers)


def bert_weights(model):
    """The variable for every tensor of a model on a `Bert`, its heads included.

    Args:
        model: a built `Bert`, or a model whose `encoder` is one.

    Returns:
        dict of plain tensor name (see `HuggingFaceTensors`) to Keras variable.
    """
    weights = encoder_weights(_encoder(model))
    pooler = getattr(getattr(model, "pooler", None), "dense", None)
    if pooler is not None:
        weights |= _layer_weights(POOLER, pooler)
    if isinstance(model, BertPretrainer):
        weights |= _layer_weights(f"{MASKED_LM}.transform.dense", model.masked_lm.dense)
        weights |= _layer_weights(f"{MASKED_LM}.transform.LayerNorm", model.masked_lm.norm)
        weights[f"{MASKED_LM}.bias"] = model.masked_lm.bias
        if model.next_sentence:
            weights |= _layer_weights(NEXT_SENTENCE, model.next_sentence_head.logits)
    if isinstance(model, Classifier | Tagger):
        weights |= _layer_weights(HEAD, model.head.logits)
    if isinstance(model, Tagger) and model.crf is not None:
        weights |= {f"{CHAIN}.{weight.name}": weight for weight in model.crf.weights}
    return weights


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


def _open(directory):
    """The tensors of a checkpoint by plain names."""
    return GoogleTensors(directory) if is_google(directory) else HuggingFaceTensors(directory)


def _weights_to_save(model, vocabulary):
    """`bert_weights`, after refusing what no published layout has a place for."""
    config = _encoder(model).config
    if not config.num_segments:
        raise InputError(
            "a published BERT has segment embeddings; save a model with num_segments of 1 or more"
        )
    if len(vocabulary) > config.vocabulary_size:
        raise InputError(
            f"vocabulary has {len(vocabulary)} tokens and the model {config.vocabulary_size}; "
            "give the vocabulary that the model was trained with"
        )
    if not model.built:
        model.build()
    weights = bert_weights(model)
    written = {id(variable) for variable in weights.values()}
    left = [weight.path for weight in model.weights if id(weight) not in written]
    if left:
        raise InputError(
            f"{type(model).__name__} has weights with no name in a published BERT "
            f"({listed(left)}); save its encoder"
        )
    return weights


def _encoder(model):
    encoder = getattr(model, "encoder", model)
    if not isinstance(encoder, Bert):
        raise InputError(
            f"{type(model).__name__} is no Bert and has none as its encoder; give a Bert, or a "
            "model on one"
        )
    return encoder


def _stands_on(model):
    """What the model's head reads: `"first"`, `"mean"`, `"tokens"`; None without such a head."""
    return "tokens" if isinstance(model, Tagger) else getattr(model, "pooling", None)


def _has_head_on(directory, model):
    """Whether `classifier` in the checkpoint reads the same as the model's, for the same tags."""
    if isinstance(model, Tagger) and model.labels is not None:
        labels = read_labels(directory)
        if labels is None or tuple(labels) != model.labels:
            return False
    return _head_reads(directory, _stands_on(model))


def _head_reads(directory, kind):
    config = read_json(config_path(directory))
    if isinstance(config.get(OURS), dict):
        return config[OURS].get("pooling") == kind
    classes = config.get("architectures")
    return HEAD_CLASS.get(kind) in classes if classes else kind == "first"


def _num_classes(directory, pooling):
    """C of the checkpoint's own head."""
    shape = _open(directory).shapes.get(f"{HEAD}.weight")
    if shape is None or not _head_reads(directory, pooling):
        raise InputError(
            f"{directory}: has no head of a classifier that tells the number of classes; "
            "give num_classes"
        )
    return shape[0]


def _checked_labels(model, labels):
    """`labels`, after refusing a model that `transformers` has no class for."""
    number = model.num_labels if isinstance(model, Tagger) else model.num_classes
    if getattr(model, "crf", None) is not None:
        raise InputError("a Tagger with a chain has no class in transformers; save its encoder")
    if _stands_on(model) not in HEAD_CLASS:
        raise InputError(
            f"a Classifier with pooling {model.pooling!r} has no class in transformers; save "
            "its encoder, or train with pooling='first'"
        )
    if labels is None:
        labels = getattr(model, "labels", None) or [f"LABEL_{n}" for n in range(number)]
    if len(set(labels)) != len(labels) or len(labels) != number:
        raise InputError(f"labels are {listed(labels)}; give {number} different names, one a class")
    return list(labels)
