"""A Hugging Face BERT directory: config, labels, tokenizer, vocabulary, names of tensors.

In: a directory with `config.json`, and `vocab.txt` or `tokenizer.json`. Out:
`BertConfig`, label names, the options and the tokens of `WordPieceTokenizer`; and the
same back into files. Fields as `transformers` documents them for `BertConfig` and
`BertTokenizer`. The small files of Google's directories are read here as well: their
`bert_config.json` has the same fields, and their `vocab.txt` is the same.
"""

from pathlib import Path

import numpy as np
from keras import ops

from tfmodels.checkpoints.files import CONFIG, TensorFiles, config_path, is_google
from tfmodels.errors import InputError
from tfmodels.files import read_json, write_json
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

PREFIX = "bert."  # of the encoder's and pooler's names in a model with a head
OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
# Names that some checkpoints have for a second time, and the weight that they are.
TIED = {
    "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def read_bert_config(directory):
    """The `BertConfig` that `config.json`, or Google's `bert_config.json`, describes.

    Args:
        directory: of the checkpoint.

    Returns:
        `BertConfig`. `"gelu"` is the exact one, as in `transformers`, also where Google's code
        has its approximation by tanh.

    Raises:
        InputError: no readable `config.json`, another kind of model, or a kind of BERT
            that `Bert` is not (decoder, relative positions, other activations).
    """
    path = config_path(directory)
    theirs = read_json(path)
    if theirs.get("model_type") != "bert" and not is_google(directory):
        raise InputError(
            f"{path}: model_type is {theirs.get('model_type')!r}; give a checkpoint of type 'bert'"
        )
    only = {"position_embedding_type": "absolute", "is_decoder": False}
    check_only(path, theirs, {**only, "add_cross_attention": False})
    fields = read_fields(path, theirs, FIELDS, REQUIRED, BertConfig)
    fields["activation"] = read_activation(path, theirs, "hidden_act", "gelu")
    return BertConfig(**fields)


def check_only(path, theirs, only):
    """Refuses a config that says something else than the only thing that works here.

    Args:
        path: of the file, for the message.
        theirs: its content.
        only: dict of a field's name to its only, and default, value.

    Raises:
        InputError: a field has another value.
    """
    for field, value in only.items():
        if theirs.get(field, value) != value:
            raise InputError(
                f"{path}: {field} is {theirs[field]!r}; give a checkpoint where it is {value!r}"
            )


def read_activation(path, theirs, field, default):
    """Our name of the activation that a config names in `field`.

    Raises:
        InputError: there is none.
    """
    activation = theirs.get(field, default)
    if activation not in ACTIVATIONS:
        raise InputError(
            f"{path}: {field} is {activation!r}; give a checkpoint with one of "
            f"{', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[activation]


def write_activation(activation):
    """Their name of an activation.

    Raises:
        InputError: it has none.
    """
    names = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
    if activation not in names:
        raise InputError(
            f"activation {activation!r} has no name in Hugging Face's config.json; "
            f"train with one of {', '.join(names)}"
        )
    return names[activation]


def read_fields(path, theirs, names, required, config):
    """The fields of one of our configs that are numbers, checked.

    Args:
        path: of the file, for the messages.
        theirs: its content.
        names: dict of our field to theirs.
        required: our fields that must be there; the others have the default of `config`.
        config: the dataclass.

    Returns:
        dict of our fields.

    Raises:
        InputError: a field is missing, or no number that it can be.
    """
    fields = {}
    for ours, name in names.items():
        default = getattr(config, ours)
        if name not in theirs and ours in required:
            raise InputError(f"{path}: {name} is missing; copy or download the file again")
        value = theirs.get(name, default)
        kinds = int if isinstance(default, int) else (int, float)
        least = 1 if isinstance(default, int) else 0
        if isinstance(value, bool) or not isinstance(value, kinds) or value < least:
            raise InputError(f"{path}: {name} is {value!r}; it must be a number from {least} up")
        fields[ours] = value
    if fields["hidden_dim"] % fields["num_heads"]:
        raise InputError(
            f"{path}: {names['num_heads']} {fields['num_heads']} does not divide "
            f"{names['hidden_dim']} {fields['hidden_dim']}; copy or download the file again"
        )
    return fields


def read_labels(directory):
    """The label names in `config.json`, by class.

    Returns:
        list of strings, or `None` if the file names none.

    Raises:
        InputError: no readable `config.json`, or names that do not run from 0 up.
    """
    path = config_path(directory)
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
            and without both it is BERT's default. Google's directories have neither: there
            text keeps its case and its accents if the vocabulary is of cased text, see
            `is_cased`. A `tokenizer_config.json` put there decides.

    Returns:
        dict of `lowercase`, `split_cjk` (bool) and `strip_accents` (bool or `None`), the
        options of `WordPieceTokenizer`.

    Raises:
        InputError: `tokenizer_config.json` cannot be used; or it is needed to read the
            vocabulary, and that cannot be.
    """
    path, names = Path(directory) / "tokenizer_config.json", TOKENIZER_OPTIONS
    theirs = read_json(path) if path.exists() else {}
    if not theirs and is_google(directory):
        return {**TOKENIZER_DEFAULTS, "lowercase": not is_cased(read_vocabulary(directory))}
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


def is_cased(vocabulary):
    """Whether some token would be another in lower case, so that text must not be lowered.

    Tokens in brackets are of no text: `[CLS]`, and the `<S>` of Google's Chinese vocabulary.
    """
    return any(token != token.lower() and token[0] not in "[<" for token in vocabulary if token)


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
    theirs = {"model_type": "bert", "architectures": [architecture]}
    theirs |= {name: getattr(config, ours) for ours, name in FIELDS.items()}
    theirs |= {"hidden_act": write_activation(config.activation)}
    theirs |= {"position_embedding_type": "absolute"}
    if labels is not None:
        theirs["id2label"] = {str(number): label for number, label in enumerate(labels)}
        theirs["label2id"] = {label: number for number, label in enumerate(labels)}
        theirs["classifier_dropout"] = classifier_dropout
    theirs |= dict(more)
    write_json(Path(directory) / CONFIG, theirs)


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
    write_vocabulary(directory, vocabulary)
    options = {**TOKENIZER_DEFAULTS, **options}
    theirs = {name: options[ours] for ours, name in TOKENIZER_OPTIONS.items()}
    theirs |= {"tokenizer_class": "BertTokenizer", "model_max_length": max_length}
    write_json(Path(directory) / "tokenizer_config.json", theirs)


def write_vocabulary(directory, vocabulary):
    """Writes `vocab.txt`.

    Raises:
        InputError: a token twice, or one that does not fit on one line.
    """
    for number, token in enumerate(vocabulary):
        if "\n" in token or token.endswith("\r"):
            raise InputError(f"token {number}, {token!r}, holds a line break; remove it")
    if len(set(vocabulary)) < len(vocabulary):
        raise InputError("vocabulary holds a token twice; give each token once")
    text = "".join(f"{token}\n" for token in vocabulary)
    (Path(directory) / "vocab.txt").write_bytes(text.encode("utf-8"))


class HuggingFaceTensors:
    """The tensors of `model.safetensors` by plain names.

    A plain name is that of `transformers` today without the prefix `bert.`:
    `encoder.layer.0.output.LayerNorm.weight`, `cls.predictions.bias`. `GoogleTensors` says
    the same of Google's files; `bert_weights` says which variable has which plain name.

    Args:
        directory: of the checkpoint.

    Attributes:
        names: dict of plain name to name in the files.
        shapes: dict of plain name to shape in the files.
        slots: names in the files of what belongs to training and to no model; none here.

    Raises:
        InputError: as `TensorFiles`; or two tensors have the same plain name.
    """

    slots = ()
    prefix, old_names, tied = PREFIX, OLD_NAMES, TIED
    if_not_tied = "give a checkpoint with tied embeddings, or load its encoder only"

    def __init__(self, directory):
        self._files = TensorFiles(directory)
        self.names = {}
        for original in self._files.shapes:
            name = original.removeprefix(self.prefix)
            for old, new in self.old_names.items():
                name = name.replace(old, new)
            if name in self.names:
                raise InputError(
                    f"{directory}: {original} and {self.names[name]} are the same weight; "
                    "remove one"
                )
            self.names[name] = original
        for copy, name in self.tied.items():
            if copy in self.names and name not in self.names:
                self.names[name] = self.names.pop(copy)
        self.shapes = {name: self._files.shapes[there] for name, there in self.names.items()}

    def name_there(self, name):
        """The name to call a plain one in a message."""
        return name

    def shape_there(self, name, variable):
        """The shape that a tensor for `variable` must have in the files."""
        shape = tuple(variable.shape)
        return shape[::-1] if _is_kernel(variable) else shape

    def read(self, name, variable):
        """The tensor of a plain name as float32 array of the shape of `variable`.

        Raises:
            InputError: see `TensorFiles.read`.
        """
        tensor = self._files.read(self.names[name])
        return tensor.T if _is_kernel(variable) else tensor

    def check_tied(self):
        """Refuses a checkpoint whose output embedding is another than its input embedding.

        Raises:
            InputError: so it is.
        """
        for copy, name in self.tied.items():
            if copy in self.names:
                one, other = self.names[copy], self.names[name]
                if not np.array_equal(self._files.read(one), self._files.read(other)):
                    raise InputError(
                        f"{self._files.directory}: {one} differs from {other}: its output "
                        f"embedding is not tied and this model's is; {self.if_not_tied}"
                    )


def hugging_face_tensor(variable):
    """A variable as float32 array, as it lies in a Hugging Face file."""
    tensor = np.asarray(ops.convert_to_numpy(variable), np.float32)
    return tensor.T if _is_kernel(variable) else tensor


def _is_kernel(variable):
    """Whether the variable is `[I, O]` here and `[O, I]` there, as PyTorch's Linear."""
    return variable.name == "kernel"
