"""The small files of a Hugging Face BERT directory: config, labels, tokenizer, vocabulary.

In: a directory with `config.json`, and `vocab.txt` or `tokenizer.json`. Out:
`BertConfig`, label names, the options and the tokens of `WordPieceTokenizer`; and the
same back into files. Fields as `transformers` documents them for `BertConfig` and
`BertTokenizer`.
"""

import json
from pathlib import Path

from tfmodels.checkpoints.files import read_json
from tfmodels.errors import InputError
from tfmodels.models.bert import BertConfig
from tfmodels.text.wordpiece import WordPieceTokenizer, split_vocabulary

# our field: theirs
FIELDS = {
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
# What a config.json must say; the rest has the same defaults there as here (BERT-base).
REQUIRED = ("vocabulary_size", "num_layers", "hidden_dim", "num_heads", "feedforward_dim")
# their activation: ours; of several names for one, the last is the one written
ACTIVATIONS = {"gelu_python": "gelu", "gelu": "gelu", "swish": "silu", "silu": "silu"}
ACTIVATIONS |= {"gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}
ACTIVATIONS |= {"relu": "relu", "tanh": "tanh"}
TOKENIZER_OPTIONS = {  # ours: theirs
    "lowercase": "do_lower_case",
    "strip_accents": "strip_accents",
    "split_cjk": "tokenize_chinese_chars",
}
NORMALIZER_OPTIONS = {  # the same in tokenizer.json
    "lowercase": "lowercase",
    "strip_accents": "strip_accents",
    "split_cjk": "handle_chinese_chars",
}
TOKENIZER_DEFAULTS = {"lowercase": True, "strip_accents": None, "split_cjk": True}


def read_bert_config(directory):
    """The `BertConfig` that `config.json` describes.

    Args:
        directory: of the checkpoint.

    Returns:
        `BertConfig`.

    Raises:
        InputError: no readable `config.json`, another kind of model, or a kind of BERT
            that `Bert` is not (decoder, relative positions, other activations).
    """
    path = Path(directory) / "config.json"
    theirs = read_json(path)
    if theirs.get("model_type") != "bert":
        raise InputError(
            f"{path}: model_type is {theirs.get('model_type')!r}; give a checkpoint of type 'bert'"
        )
    for field, only in (
        ("position_embedding_type", "absolute"),
        ("is_decoder", False),
        ("add_cross_attention", False),
    ):
        if theirs.get(field, only) != only:
            raise InputError(
                f"{path}: {field} is {theirs[field]!r}; give a checkpoint where it is {only!r}"
            )
    activation = theirs.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise InputError(
            f"{path}: hidden_act is {activation!r}; give a checkpoint with one of "
            f"{', '.join(ACTIVATIONS)}"
        )
    fields = {"activation": ACTIVATIONS[activation]}
    for ours, name in FIELDS.items():
        default = getattr(BertConfig, ours)
        if name not in theirs and ours in REQUIRED:
            raise InputError(f"{path}: {name} is missing; copy or download the file again")
        value = theirs.get(name, default)
        kinds = int if isinstance(default, int) else (int, float)
        least = 1 if isinstance(default, int) else 0
        if isinstance(value, bool) or not isinstance(value, kinds) or value < least:
            raise InputError(f"{path}: {name} is {value!r}; it must be a number from {least} up")
        fields[ours] = value
    if fields["hidden_dim"] % fields["num_heads"]:
        raise InputError(
            f"{path}: num_attention_heads {fields['num_heads']} does not divide hidden_size "
            f"{fields['hidden_dim']}; copy or download the file again"
        )
    return BertConfig(**fields)


def read_labels(directory):
    """The label names in `config.json`, by class.

    Returns:
        list of strings, or `None` if the file names none.

    Raises:
        InputError: no readable `config.json`, or names that do not run from 0 up.
    """
    path = Path(directory) / "config.json"
    names = read_json(path).get("id2label")
    if names is None:
        return None
    try:
        return [str(names[str(number)]) for number in range(len(names))]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: id2label does not name the classes 0, 1, 2, ...; correct it there"
        ) from error


def read_tokenizer_options(directory):
    """How the checkpoint's text is split.

    Args:
        directory: of the checkpoint; `tokenizer_config.json` says it, or `tokenizer.json`,
            and without both it is BERT's default.

    Returns:
        dict of `lowercase`, `split_cjk` (bool) and `strip_accents` (bool or `None`), the
        options of `WordPieceTokenizer`.

    Raises:
        InputError: `tokenizer_config.json` cannot be used.
    """
    path, names = Path(directory) / "tokenizer_config.json", TOKENIZER_OPTIONS
    theirs = read_json(path) if path.exists() else {}
    if not theirs and path.with_name("tokenizer.json").exists():
        path, names = path.with_name("tokenizer.json"), NORMALIZER_OPTIONS
        theirs = read_json(path).get("normalizer")
        if not isinstance(theirs, dict) or theirs.get("type") != "BertNormalizer":
            raise InputError(f"{path}: its normalizer is not BERT's; add a tokenizer_config.json")
    options = {}
    for ours, name in names.items():
        value = options[ours] = theirs.get(name, TOKENIZER_DEFAULTS[ours])
        if not isinstance(value, bool) and (ours != "strip_accents" or value is not None):
            raise InputError(f"{path}: {name} is {value!r}; it must be true or false")
    return options


def read_vocabulary(directory):
    """The tokens of the checkpoint, in the order of their ids.

    Args:
        directory: of the checkpoint, with `vocab.txt` or, as `transformers` 5 writes it,
            `tokenizer.json`.

    Returns:
        list of strings, for `WordPieceTokenizer`.

    Raises:
        InputError: neither file is there, or it holds no WordPiece vocabulary.
    """
    path = Path(directory) / "vocab.txt"
    if path.is_file():
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8; download the file again") from error
        return split_vocabulary(text)
    path = path.with_name("tokenizer.json")
    if not path.is_file():
        raise InputError(
            f"{directory}: has no vocab.txt and no tokenizer.json; add the vocab.txt that the "
            "model was trained with"
        )
    model = read_json(path).get("model")
    ids = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(ids, dict) or model.get("type") != "WordPiece":
        raise InputError(f"{path}: holds no WordPiece vocabulary; add a vocab.txt")
    if sorted(ids.values()) != list(range(len(ids))):
        raise InputError(f"{path}: the token ids do not run from 0 up; add a vocab.txt")
    return sorted(ids, key=ids.get)


def read_tokenizer(directory):
    """The `WordPieceTokenizer` of a checkpoint.

    Args:
        directory: of the checkpoint.

    Raises:
        InputError: the vocabulary or the options cannot be used.
    """
    return WordPieceTokenizer(read_vocabulary(directory), **read_tokenizer_options(directory))


def write_bert_config(
    directory, config, architecture, labels=None, classifier_dropout=None, more=()
):
    """Writes `config.json`.

    Args:
        directory: to write into.
        config: `BertConfig`.
        architecture: name of the `transformers` class that reads the weights.
        labels: label names by class; optional.
        classifier_dropout: share of the pooled vector dropped in training; optional.
        more: dict of further fields, which `transformers` passes over.

    Raises:
        InputError: the activation has no name there.
    """
    names = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
    if config.activation not in names:
        raise InputError(
            f"activation {config.activation!r} has no name in Hugging Face's config.json; "
            f"train with one of {', '.join(names)}"
        )
    theirs = {"model_type": "bert", "architectures": [architecture]}
    theirs |= {name: getattr(config, ours) for ours, name in FIELDS.items()}
    theirs |= {"hidden_act": names[config.activation], "position_embedding_type": "absolute"}
    if labels is not None:
        theirs["id2label"] = {str(number): label for number, label in enumerate(labels)}
        theirs["label2id"] = {label: number for number, label in enumerate(labels)}
        theirs["classifier_dropout"] = classifier_dropout
    theirs |= dict(more)
    _write_json(Path(directory) / "config.json", theirs)


def write_tokenizer(directory, vocabulary, options, max_length):
    """Writes `vocab.txt` and `tokenizer_config.json`.

    Args:
        directory: to write into.
        vocabulary: tokens in the order of their ids.
        options: dict as `read_tokenizer_options` gives; what is left out has its default.
        max_length: longest sequence, in tokens.

    Raises:
        InputError: an unknown option, a token twice, or one that does not fit on one line.
    """
    unknown = sorted(set(options) - set(TOKENIZER_OPTIONS))
    if unknown:
        raise InputError(
            f"tokenizer option {unknown[0]!r} is not known; give {', '.join(TOKENIZER_OPTIONS)}"
        )
    for number, token in enumerate(vocabulary):
        if "\n" in token or token.endswith("\r"):
            raise InputError(f"token {number}, {token!r}, holds a line break; remove it")
    if len(set(vocabulary)) < len(vocabulary):
        raise InputError("vocabulary holds a token twice; give each token once")
    text = "".join(f"{token}\n" for token in vocabulary)
    (Path(directory) / "vocab.txt").write_bytes(text.encode("utf-8"))
    options = {**TOKENIZER_DEFAULTS, **options}
    theirs = {name: options[ours] for ours, name in TOKENIZER_OPTIONS.items()}
    theirs |= {"tokenizer_class": "BertTokenizer", "model_max_length": max_length}
    _write_json(Path(directory) / "tokenizer_config.json", theirs)


def _write_json(path, content):
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")
