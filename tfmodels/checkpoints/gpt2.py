"""GPT-2 weights and tokenizers from published checkpoints into `Gpt`, and back.

In: a directory or Hub name with `config.json`, safetensors, and `vocab.json` with
`merges.txt` or `tokenizer.json`, as `transformers` writes them (see `files`). Out: a built
`Gpt` with those weights and a `LoadReport`, and the tokenizer; or, the other way, a
directory that `GPT2LMHeadModel` reads. Names and fields are those of `GPT2LMHeadModel` and
`GPT2Config` in `transformers`, after Radford et al. 2019. Kernels lie there as here,
`[I, O]`, those of queries, keys and values beside one another.
"""

import re
from operator import attrgetter
from pathlib import Path

import numpy as np
from keras import ops

from tfmodels.checkpoints.files import (
    CHARACTERS,
    CONFIG,
    OURS,
    WEIGHTS,
    check_settings,
    check_vocabulary_size,
    config_path,
    find_checkpoint,
    load_tensors,
    write_tensors,
)
from tfmodels.checkpoints.hugging_face import (
    HuggingFaceTensors,
    check_only,
    read_activation,
    read_fields,
    write_activation,
)
from tfmodels.errors import InputError
from tfmodels.files import read_json, whole_directory, write_json
from tfmodels.models.gpt import Gpt, GptConfig
from tfmodels.text.bpe import END_OF_TEXT, BytePairTokenizer
from tfmodels.text.character_tokens import CharacterTokenizer

# our field: theirs
FIELDS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "n_layer",
    "hidden_dim": "n_embd",
    "num_heads": "n_head",
    "feedforward_dim": "n_inner",
    "max_length": "n_positions",
    "dropout": "resid_pdrop",
    "attention_dropout": "attn_pdrop",
    "epsilon": "layer_norm_epsilon",
    "initializer_range": "initializer_range",
}
# What a config.json must say; the rest has the same defaults there as here.
REQUIRED = ("vocabulary_size", "num_layers", "hidden_dim", "num_heads", "max_length")
# What `Gpt` computes; other values mean another model.
ONLY = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
# Not told by shapes, so compared with config.json.
UNSEEN_FIELDS = ("num_heads", "activation", "epsilon")

# The whole map: theirs, and ours, side by side on the last axis where they are several.
TABLES = {"wte.weight": "embeddings.token", "wpe.weight": "embeddings.position"}
BLOCK = {
    "ln_1": ("attention_norm",),
    "attn.c_attn": ("attention.query", "attention.key", "attention.value"),
    "attn.c_proj": ("attention.output_projection",),
    "ln_2": ("feedforward_norm",),
    "mlp.c_fc": ("feedforward.inner",),
    "mlp.c_proj": ("feedforward.outer",),
}
LAST_NORM = "ln_f"
PARAMETERS = {"weight": ("kernel", "gamma"), "bias": ("bias", "beta")}
PREFIX = "transformer."
OUTPUT = "lm_head.weight"
# Constants that old files hold: the causal mask and the score of what is masked.
IGNORED = re.compile(r"h\.\d+\.attn\.(masked_)?bias")


class Gpt2Tensors(HuggingFaceTensors):
    """The tensors of a checkpoint without the prefix `transformer.`, each as `[..., O]`."""

    prefix, old_names, tied = PREFIX, {}, {OUTPUT: "wte.weight"}
    if_not_tied = "give a checkpoint with tied embeddings"

    def shape_there(self, name, variables):
        """The shape that a tensor for `variables` side by side must have in the files."""
        return (*variables[0].shape[:-1], sum(variable.shape[-1] for variable in variables))

    def read(self, name, variables):
        """The float32 arrays for `variables`.

        Raises:
            InputError: see `TensorFiles.read`.
        """
        return np.split(self._files.read(self.names[name]), len(variables), axis=-1)


def load_gpt(source, *, revision=None, dtype=None):
    """The model of a checkpoint of GPT-2's architecture.

    Args:
        source: directory, or name on the Hugging Face Hub.
        revision: branch, tag or commit on the Hub.
        dtype: dtype policy of the model; the global one if not given.

    Returns:
        pair of a built `Gpt` and a `LoadReport`.

    Raises:
        InputError: the checkpoint is missing, damaged or of another architecture.

    Example:
        >>> model, report = load_gpt("openai-community/gpt2")
        >>> print(report)
    """
    directory = find_checkpoint(source, revision)
    model = Gpt(read_gpt_config(directory), dtype=dtype)
    return model, load_gpt_weights(model, directory)


def read_gpt_config(directory):
    """The `GptConfig` that `config.json` describes.

    Args:
        directory: of the checkpoint.

    Returns:
        `GptConfig`; its `dropout` is that of the blocks' parts (`resid_pdrop`).

    Raises:
        InputError: no readable `config.json`, another kind of model, or a kind of GPT-2 that
            `Gpt` is not (cross-attention, scores scaled otherwise, an output of its own).
    """
    path = config_path(directory)
    theirs = read_json(path)
    if theirs.get("model_type") != "gpt2":
        raise InputError(
            f"{path}: model_type is {theirs.get('model_type')!r}; give a checkpoint of type 'gpt2'"
        )
    check_only(path, theirs, ONLY)
    if theirs.get("n_inner") is None and isinstance(theirs.get("n_embd"), int):
        theirs["n_inner"] = 4 * theirs["n_embd"]
    fields = read_fields(path, theirs, FIELDS, REQUIRED, GptConfig)
    fields["activation"] = read_activation(path, theirs, "activation_function", "gelu_new")
    return GptConfig(**fields)


def load_gpt_weights(model, directory):
    """Loads a checkpoint into a model that was made before, for example under a strategy.

    Args:
        model: `Gpt`. It is built if it is not yet; weights of any dtype.
        directory: of the checkpoint; see `find_checkpoint`.

    Returns:
        `LoadReport`.

    Raises:
        InputError: tensors missing, unexpected or of another shape (all named on one line), an
            output that is not tied to the embeddings, or settings in `config.json` that the
            shapes do not tell and the model differs in.
    """
    directory = Path(directory)
    check_settings(config_path(directory), read_gpt_config(directory), model.config, UNSEEN_FIELDS)
    return load_tensors(
        directory, Gpt2Tensors(directory), gpt_weights(model), model,
        lambda name: name == OUTPUT or IGNORED.fullmatch(name), "GPT-2",
    )  # fmt: skip


def gpt_weights(model):
    """The variables for every tensor of a `GPT2LMHeadModel`.

    Args:
        model: `Gpt`. It is built if it is not yet.

    Returns:
        dict of tensor name, without the prefix, to a tuple of Keras variables, with each
        weight of `model` once.
    """
    if not model.built:
        model.build()
    weights = {name: (attrgetter(ours)(model),) for name, ours in TABLES.items()}
    for number, block in enumerate(model.blocks):
        for name, ours in BLOCK.items():
            layers = [attrgetter(one)(block) for one in ours]
            weights |= _layer_weights(f"h.{number}.{name}", layers)
    return weights | _layer_weights(LAST_NORM, [model.norm])


def save_gpt(model, directory, tokenizer):
    """Writes a directory that `transformers` and `load_gpt` read.

    The model is read by `GPT2LMHeadModel` and a `BytePairTokenizer` by `AutoTokenizer`; a
    `CharacterTokenizer` is read by `read_gpt_tokenizer` only. The directory appears whole or
    not at all.

    Args:
        model: `Gpt`. Weights are written as float32.
        directory: to write; must not be there yet, or be empty.
        tokenizer: `BytePairTokenizer` or `CharacterTokenizer`, of at most V tokens.

    Raises:
        InputError: the activation has no name there, there are more tokens than embeddings,
            or `directory` exists or cannot be written.
    """
    with whole_directory(directory, "another directory") as partial:
        write_gpt(model, partial, tokenizer)


def write_gpt(model, directory, tokenizer, ours=None):
    """Writes the files of `save_gpt` into a directory that exists.

    Args:
        model, tokenizer: see `save_gpt`.
        directory: an existing one.
        ours: JSON object for `config.json`, under the key `OURS`.

    Raises:
        InputError: the activation has no name there, or there are more tokens than embeddings.
        OSError: a file cannot be written.
    """
    directory, config = Path(directory), model.config
    check_vocabulary_size(tokenizer, config)
    theirs = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
    theirs |= {name: getattr(config, field) for field, name in FIELDS.items()} | ONLY
    theirs |= {"activation_function": write_activation(config.activation)}
    theirs |= {"embd_pdrop": config.dropout}
    theirs |= {"bos_token_id": tokenizer.end_id, "eos_token_id": tokenizer.end_id}
    write_gpt_tokenizer(directory, tokenizer, config.max_length)
    write_json(directory / CONFIG, theirs | ({OURS: ours} if ours else {}))
    tensors = {}
    for name, parts in gpt_weights(model).items():
        arrays = [np.asarray(ops.convert_to_numpy(part), np.float32) for part in parts]
        tensors[PREFIX + name] = np.concatenate(arrays, -1)
    write_tensors(directory / WEIGHTS, tensors)


def read_gpt_tokenizer(directory, end_of_text=END_OF_TEXT):
    """The tokenizer of a checkpoint.

    Args:
        directory: of the checkpoint, with `vocab.json` and `merges.txt`, or
            `tokenizer.json`; or written by `write_gpt` with characters.
        end_of_text: the token that ends a text where the files do not say it.

    Returns:
        `BytePairTokenizer` or `CharacterTokenizer`.

    Raises:
        InputError: the files are missing, or are not of a tokenizer like GPT-2's.
    """
    directory = Path(directory)
    if (directory / CHARACTERS).is_file():
        options = read_json(directory / CHARACTERS)
        try:
            return CharacterTokenizer(options.pop("vocabulary"), **options)
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{directory / CHARACTERS}: holds no vocabulary of characters; copy the file again"
            ) from error
    vocabulary, merges = directory / "vocab.json", directory / "merges.txt"
    options = _byte_pair_options(directory, end_of_text)
    if vocabulary.is_file() and merges.is_file():
        return BytePairTokenizer.from_files(vocabulary, merges, **options)
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise InputError(
            f"{directory}: has no vocab.json with merges.txt and no tokenizer.json; add the files "
            "of the tokenizer that the model was trained with"
        )
    return BytePairTokenizer(*_tokenizer_json(path), **options)


def write_gpt_tokenizer(directory, tokenizer, max_length):
    """Writes the files of `read_gpt_tokenizer` into a directory that exists.

    Args:
        directory: an existing one.
        tokenizer: `BytePairTokenizer` or `CharacterTokenizer`.
        max_length: longest text of the model, in tokens.

    Raises:
        OSError: a file cannot be written.
    """
    if isinstance(tokenizer, CharacterTokenizer):
        theirs = {"vocabulary": tokenizer.vocabulary, **tokenizer.get_config()}
        write_json(Path(directory) / CHARACTERS, theirs)
    else:
        _write_byte_pairs(Path(directory), tokenizer, max_length)


def _write_byte_pairs(directory, tokenizer, max_length):
    """`vocab.json`, `merges.txt` and `tokenizer_config.json`."""
    write_json(directory / "vocab.json", {token: n for n, token in enumerate(tokenizer.vocabulary)})
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in tokenizer.merges)]
    (directory / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    end = tokenizer.get_config()["end_of_text"] if tokenizer.end_id is not None else None
    theirs = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": max_length}
    theirs |= {"add_prefix_space": False, "bos_token": end, "eos_token": end, "unk_token": end}
    write_json(directory / "tokenizer_config.json", theirs)


def _byte_pair_options(directory, end_of_text):
    """What `tokenizer_config.json`, if it is there, says of how text is split."""
    path = directory / "tokenizer_config.json"
    theirs = read_json(path) if path.exists() else {}
    check_only(path, theirs, {"add_prefix_space": False})
    end = theirs.get("eos_token", end_of_text)
    end = end.get("content") if isinstance(end, dict) else end  # with settings of its own
    if end is not None and not isinstance(end, str):
        raise InputError(f"{path}: eos_token is {end!r}; it must be a token or null")
    return {"end_of_text": end}


def _tokenizer_json(path):
    """Vocabulary and merges in a `tokenizer.json`."""
    theirs = read_json(path)
    model, splitter = (theirs.get(part) or {} for part in ("model", "pre_tokenizer"))
    if model.get("type") != "BPE" or splitter.get("type") != "ByteLevel":
        raise InputError(f"{path}: no byte-level BPE as GPT-2's; add its vocab.json and merges.txt")
    check_only(path, splitter, {"add_prefix_space": False})
    try:
        ids = dict(model["vocab"])
        ids |= {token["content"]: token["id"] for token in theirs.get("added_tokens") or ()}
        merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        merges = [(left, right) for left, right in merges]
        complete = sorted(ids.values()) == list(range(len(ids)))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged; copy or download the file again") from error
    if not complete:
        raise InputError(f"{path}: the token ids do not run from 0 up; add vocab.json, merges.txt")
    return sorted(ids, key=ids.get), merges


def _layer_weights(name, layers):
    """The variables of layers side by side, by their names in the files."""
    return {
        f"{name}.{theirs}": tuple(
            weight for layer in layers for weight in layer.weights if weight.name in ours
        )
        for theirs, ours in PARAMETERS.items()
    }
