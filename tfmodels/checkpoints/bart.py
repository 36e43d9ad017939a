"""BART weights and tokenizers from published checkpoints into `Transformer`, and back.

In: a directory or Hub name with `config.json`, safetensors and the files of a tokenizer, as
`transformers` writes them (see `files`). Out: a built `Transformer` with those weights and a
`LoadReport`, the tokenizer, and how the checkpoint wants its texts generated; or, the other
way, a directory that `BartForConditionalGeneration` reads. Names and fields are those of that
class and `BartConfig` in `transformers`, after Lewis et al. 2019. A `Transformer` that is no
BART (`PAPER`, pre-norm, two vocabularies) lies in a directory of the same names, whose
`config.json` says so in our own fields. Their tables of positions start with two rows that
nothing reads: these are left out here and written as zeros.
"""

import dataclasses
from operator import attrgetter
from pathlib import Path

import numpy as np

from tfmodels.checkpoints.bert import PARAMETERS
from tfmodels.checkpoints.files import (
    CONFIG,
    GENERATION,
    OURS,
    WEIGHTS,
    check_settings,
    check_vocabulary_size,
    config_path,
    find_checkpoint,
    load_tensors,
    write_tensors,
)
from tfmodels.checkpoints.gpt2 import read_gpt_tokenizer, write_gpt_tokenizer
from tfmodels.checkpoints.hugging_face import (
    HuggingFaceTensors,
    check_only,
    hugging_face_tensor,
    read_activation,
    read_fields,
    read_tokenizer,
    write_activation,
    write_tokenizer,
)
from tfmodels.errors import InputError
from tfmodels.files import read_json, whole_directory, write_json
from tfmodels.models.transformer import Transformer, TransformerConfig
from tfmodels.text.wordpiece import WordPieceTokenizer

# our field: theirs
FIELDS = {
    "vocabulary_size": "vocab_size",
    "num_encoder_layers": "encoder_layers",
    "num_decoder_layers": "decoder_layers",
    "hidden_dim": "d_model",
    "num_heads": "encoder_attention_heads",
    "feedforward_dim": "encoder_ffn_dim",
    "max_length": "max_position_embeddings",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "initializer_range": "init_std",
}
# What a config.json must say; the rest has the same defaults there as here.
REQUIRED = ("vocabulary_size", "num_encoder_layers", "num_decoder_layers", "hidden_dim")
REQUIRED += ("num_heads", "feedforward_dim", "max_length")
# Fields of which there are two there and one here.
SAME = {"decoder_attention_heads": "num_heads", "decoder_ffn_dim": "feedforward_dim"}
# What `BartForConditionalGeneration` computes; in files of old, other values mean another model.
ONLY = {
    "normalize_before": False,
    "normalize_embedding": True,
    "add_final_layer_norm": False,
    "static_position_embeddings": False,
    "tie_word_embeddings": True,
}
# What a `Transformer` has that is a BART.
BART = {
    "target_vocabulary_size": None,
    "norm_first": False,
    "positions": "learned",
    "embedding_norm": True,
    "epsilon": 1e-5,
}
BART_TYPE, OUR_TYPE = "bart", "transformer"
# Not told by shapes and names, so compared with config.json.
UNSEEN_FIELDS = ("num_heads", "scale_embeddings", "activation", "epsilon")

# The whole map: our layer, theirs.
STACKS = {
    "encoder": ("embeddings", "encoder_blocks", "encoder_norm"),
    "decoder": ("decoder_embeddings", "decoder_blocks", "decoder_norm"),
}
BLOCK = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output_projection": "self_attn.out_proj",
    "attention_norm": "self_attn_layer_norm",
    "feedforward.inner": "fc1",
    "feedforward.outer": "fc2",
    "feedforward_norm": "final_layer_norm",
}
CROSS_ATTENTION = {
    "cross_attention.query": "encoder_attn.q_proj",
    "cross_attention.key": "encoder_attn.k_proj",
    "cross_attention.value": "encoder_attn.v_proj",
    "cross_attention.output_projection": "encoder_attn.out_proj",
    "cross_attention_norm": "encoder_attn_layer_norm",
}
TOKENS, POSITIONS, BIAS = "shared.weight", "embed_positions.weight", "final_logits_bias"
OWN_TOKENS = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
OUTPUT = "lm_head.weight"
PREFIX = "model."  # of all but the bias and the output
UNREAD_ROWS = 2  # of their tables of positions, the first
# Constants of old files, and heads of other tasks.
IGNORED = ("encoder.version", "decoder.version", "classification_head.", "qa_outputs.")

# How texts are generated. Our name (of a `Generation`, where it has one): theirs.
TOKEN_IDS = {
    "start_id": "decoder_start_token_id",
    "bos_id": "bos_token_id",
    "stop_ids": "eos_token_id",
    "pad_id": "pad_token_id",
    "forced_first_id": "forced_bos_token_id",
    "forced_last_id": "forced_eos_token_id",
}
SEARCH = {
    "num_beams": "num_beams",
    "length_penalty": "length_penalty",
    "no_repeat_ngram": "no_repeat_ngram_size",
    "min_new_tokens": "min_length",
    "max_new_tokens": "max_length",
    "early_stopping": "early_stopping",
    "repetition_penalty": "repetition_penalty",
}
# There with the start token; where they are there under our name, without it, that one rules.
COUNTED = ("min_new_tokens", "max_new_tokens")
BART_TOKEN_IDS = {"start_id": 2, "bos_id": 0, "stop_ids": 2, "pad_id": 1, "forced_last_id": 2}
# Tokens of BART's tokenizer by their names in its files.
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
SPECIAL |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}


class BartTensors(HuggingFaceTensors):
    """The tensors of a checkpoint without the prefix `model.`; see `HuggingFaceTensors`.

    Args:
        directory: of the checkpoint.
        shared: whether there is one table of tokens for all.
    """

    prefix, old_names = PREFIX, {}
    if_not_tied = "give a checkpoint with tied embeddings"

    def __init__(self, directory, shared):
        self.tied = dict.fromkeys((*OWN_TOKENS, OUTPUT), TOKENS) if shared else {}
        super().__init__(directory)

    def shape_there(self, name, variable):
        rows, *rest = super().shape_there(name, variable)
        if name.endswith(POSITIONS):
            return (rows + UNREAD_ROWS, *rest)
        return (1, rows) if name == BIAS else (rows, *rest)

    def read(self, name, variable):
        tensor = super().read(name, variable)
        if name.endswith(POSITIONS):
            return tensor[UNREAD_ROWS:]
        return tensor[0] if name == BIAS else tensor


def load_bart(source, *, revision=None, dtype=None):
    """The model of a checkpoint of BART's architecture, or one that `write_bart` wrote.

    Args:
        source: directory, or name on the Hugging Face Hub.
        revision: branch, tag or commit on the Hub.
        dtype: dtype policy of the model; the global one if not given.

    Returns:
        pair of a built `Transformer` and a `LoadReport`.

    Raises:
        InputError: the checkpoint is missing, damaged or of another architecture.

    Example:
        >>> model, report = load_bart("facebook/bart-base")
        >>> print(report)
    """
    directory = find_checkpoint(source, revision)
    model = Transformer(read_bart_config(directory), dtype=dtype)
    return model, load_bart_weights(model, directory)


def read_bart_config(directory):
    """The `TransformerConfig` that `config.json` describes.

    Args:
        directory: of the checkpoint.

    Returns:
        `TransformerConfig`; a dropout between the two layers of the feed-forward parts, as
        some have it in training (`activation_dropout`), it does not have.

    Raises:
        InputError: no readable `config.json`, another kind of model, or a kind of BART that
            `Transformer` is not (encoder and decoder of different heads or widths, an output
            of its own).
    """
    path = config_path(directory)
    theirs = read_json(path)
    kind = theirs.get("model_type")
    if kind == OUR_TYPE:
        return _read_our_config(path, theirs)
    if kind != BART_TYPE:
        raise InputError(f"{path}: model_type is {kind!r}; give a checkpoint of type {BART_TYPE!r}")
    fields = read_fields(path, theirs, FIELDS, REQUIRED, TransformerConfig)
    check_only(path, theirs, ONLY | {name: fields[ours] for name, ours in SAME.items()})
    fields["activation"] = read_activation(path, theirs, "activation_function", "gelu")
    fields["scale_embeddings"] = bool(theirs.get("scale_embedding", False))
    return TransformerConfig(**fields, **BART)


def _read_our_config(path, theirs):
    """The `TransformerConfig` in a `config.json` of `OUR_TYPE`."""
    names = [field.name for field in dataclasses.fields(TransformerConfig)]
    missing = [name for name in names if name not in theirs]
    if missing:
        raise InputError(f"{path}: {missing[0]} is missing; copy the file again")
    numbers = {name: name for name in (*FIELDS, "epsilon")}
    fields = read_fields(path, theirs, numbers, (), TransformerConfig)
    return TransformerConfig(**{name: theirs[name] for name in names} | fields)


def load_bart_weights(model, directory):
    """Loads a checkpoint into a model that was made before, for example under a strategy.

    Args:
        model: `Transformer`. It is built if it is not yet; weights of any dtype.
        directory: of the checkpoint; see `find_checkpoint`.

    Returns:
        `LoadReport`; new is only the bias of the output where the checkpoint, of a
        `BartModel`, has none.

    Raises:
        InputError: tensors missing, unexpected or of another shape (all named on one line),
            tables of tokens that are not tied, or settings in `config.json` that the shapes do
            not tell and the model differs in.
    """
    directory = Path(directory)
    check_settings(config_path(directory), read_bart_config(directory), model.config, UNSEEN_FIELDS)
    tensors = BartTensors(directory, model.config.target_vocabulary_size is None)
    wanted = bart_weights(model)
    if BIAS not in tensors.shapes:
        del wanted[BIAS]
    return load_tensors(
        directory, tensors, wanted, model,
        lambda name: name.startswith((*tensors.tied, *IGNORED)), "BART",
    )  # fmt: skip


def bart_weights(model):
    """The variable for every tensor of a `BartForConditionalGeneration`.

    Args:
        model: `Transformer`. It is built if it is not yet.

    Returns:
        dict of tensor name, without the prefix, to Keras variable, with each weight of `model`
        once.
    """
    if not model.built:
        model.build()
    weights = {BIAS: model.output_bias}
    if model.config.target_vocabulary_size is None:
        weights[TOKENS] = model.embeddings.token
    else:
        tables = (model.embeddings.token, model.decoder_embeddings.token)
        weights |= zip(OWN_TOKENS, tables, strict=True)
    for stack, parts in STACKS.items():
        embeddings, blocks, norm = (getattr(model, part) for part in parts)
        if model.config.positions == "learned":
            weights[f"{stack}.{POSITIONS}"] = embeddings.position
        if embeddings.norm is not None:
            weights |= _layer_weights(f"{stack}.layernorm_embedding", embeddings.norm)
        names = BLOCK | (CROSS_ATTENTION if stack == "decoder" else {})
        for number, block in enumerate(blocks):
            for ours, theirs in names.items():
                layer = attrgetter(ours)(block)
                weights |= _layer_weights(f"{stack}.layers.{number}.{theirs}", layer)
        if norm is not None:
            weights |= _layer_weights(f"{stack}.layer_norm", norm)
    return weights


def save_bart(model, directory, tokenizer, generation=None):
    """Writes a directory that `transformers` and `load_bart` read.

    The model is read by `BartForConditionalGeneration`, and a `BytePairTokenizer` by
    `AutoTokenizer`. The directory appears whole or not at all.

    Args:
        model: `Transformer` that is a BART. Weights are written as float32.
        directory: to write; must not be there yet, or be empty.
        tokenizer: `BytePairTokenizer`, `CharacterTokenizer` or `WordPieceTokenizer`, of at
            most V tokens.
        generation: dict as of `read_bart_generation`, all of it optional.

    Raises:
        InputError: a model that is no BART, an activation that has no name there, more tokens
            than embeddings, or `directory` exists or cannot be written.
    """
    for field, value in BART.items():
        if getattr(model.config, field) != value:
            raise InputError(
                f"a Transformer with {field}={getattr(model.config, field)!r} has no class in "
                f"transformers; use write_bart, or make the model with {field}={value!r}"
            )
    with whole_directory(directory, "another directory") as partial:
        write_bart(model, partial, tokenizer, generation)


def write_bart(model, directory, tokenizer, generation=None, ours=None):
    """Writes the files of `save_bart` into a directory, for any `Transformer`.

    Args:
        model, tokenizer, generation: see `save_bart`. Of two vocabularies, the tokenizer is
            the source's.
        directory: an existing one.
        ours: JSON object for `config.json`, under the key `OURS`.

    Raises:
        InputError: the activation has no name there, or there are more tokens than embeddings.
        OSError: a file cannot be written.
    """
    directory, config = Path(directory), model.config
    check_vocabulary_size(tokenizer, config)
    if all(getattr(config, field) == value for field, value in BART.items()):
        theirs = {"model_type": BART_TYPE, "architectures": ["BartForConditionalGeneration"]}
        theirs |= {name: getattr(config, field) for field, name in FIELDS.items()}
        theirs |= {name: getattr(config, field) for name, field in SAME.items()} | ONLY
        theirs |= {"activation_function": write_activation(config.activation)}
        theirs |= {"scale_embedding": config.scale_embeddings}
    else:
        theirs = {"model_type": OUR_TYPE, **dataclasses.asdict(config)}
    generation = _their_generation(generation or {})
    theirs |= {name: generation[name] for name in TOKEN_IDS.values() if name in generation}
    _write_tokenizer(directory, tokenizer, config.max_length)
    if generation:  # else `transformers` has what it takes from config.json
        write_json(directory / GENERATION, generation)
    write_json(directory / CONFIG, theirs | ({OURS: ours} if ours else {}))
    tensors = {}
    for name, variable in bart_weights(model).items():
        tensor = hugging_face_tensor(variable)
        if name.endswith(POSITIONS):
            tensor = np.pad(tensor, ((UNREAD_ROWS, 0), (0, 0)))
        tensors[name if name == BIAS else PREFIX + name] = tensor[None] if name == BIAS else tensor
    write_tensors(directory / WEIGHTS, tensors)


def read_bart_generation(directory):
    """How a checkpoint wants its texts generated.

    Args:
        directory: of the checkpoint; `generation_config.json` says it before `config.json`.

    Returns:
        dict of what the files say: `start_id`, the first token of every target, `bos_id`, that
        of every source, `forced_first_id` and `forced_last_id`, the tokens that must come
        first, and last where a text is cut (ints); and under the names of `Generation`
        `stop_ids` (tuple), `pad_id`, `num_beams`, `length_penalty`, `no_repeat_ngram`,
        `repetition_penalty`, `early_stopping` (bool), `min_new_tokens` and `max_new_tokens`, the
        last two without the start token.

    Raises:
        InputError: a file cannot be read, or a field in it is no number.
    """
    path = config_path(directory)
    theirs = read_json(path)
    if theirs.get("model_type") == BART_TYPE:
        theirs = {**{TOKEN_IDS[name]: value for name, value in BART_TOKEN_IDS.items()}, **theirs}
    if theirs.get("force_bos_token_to_be_generated"):  # as files of old say it
        theirs.setdefault("forced_bos_token_id", theirs.get("bos_token_id"))
    if path.with_name(GENERATION).is_file():
        path = path.with_name(GENERATION)
        theirs |= read_json(path)
    found = {}
    for ours, name in (TOKEN_IDS | SEARCH).items():
        if ours in COUNTED and theirs.get(ours) is not None:
            name = ours
        value = theirs.get(name)
        if value is None:
            continue
        values = value if ours == "stop_ids" and isinstance(value, list) else [value]
        if ours == "early_stopping":
            found[ours] = value is True  # "never", the third value there, never is
            continue
        for one in values:
            if isinstance(one, bool) or not isinstance(one, (int, float)):
                raise InputError(f"{path}: {name} is {value!r}; it must be a number")
        found[ours] = tuple(values) if ours == "stop_ids" else value
        if ours in COUNTED and name != ours:
            found[ours] = max(0, value - 1)
    return found


def _their_generation(generation):
    """The content of a `generation_config.json`."""
    theirs = {}
    for ours, name in (TOKEN_IDS | SEARCH).items():
        if ours in generation:
            value = generation[ours]
            if ours == "stop_ids":
                value = value[0] if len(value) == 1 else list(value)
            theirs[name] = value + 1 if ours in COUNTED else value
    return theirs


def read_bart_tokenizer(directory):
    """The tokenizer of a checkpoint.

    Args:
        directory: of the checkpoint, with `vocab.txt` (WordPiece), or with the files of
            `read_gpt_tokenizer`.

    Returns:
        `WordPieceTokenizer`, `BytePairTokenizer` or `CharacterTokenizer`. BART's own is a
        `BytePairTokenizer` whose `end_of_text` is `</s>`; its other special tokens are
        ordinary ones there.

    Raises:
        InputError: the files are missing or of another kind of tokenizer.
    """
    if (Path(directory) / "vocab.txt").is_file():
        return read_tokenizer(directory)
    return read_gpt_tokenizer(directory, end_of_text=SPECIAL["eos_token"])


def _write_tokenizer(directory, tokenizer, max_length):
    """The files of `read_bart_tokenizer`."""
    if isinstance(tokenizer, WordPieceTokenizer):
        write_tokenizer(directory, tokenizer.vocabulary, tokenizer.get_config(), max_length)
        return
    write_gpt_tokenizer(directory, tokenizer, max_length)
    if set(SPECIAL.values()) <= set(tokenizer.vocabulary):
        path = directory / "tokenizer_config.json"
        write_json(path, read_json(path) | SPECIAL | {"tokenizer_class": "BartTokenizer"})


def _layer_weights(name, layer):
    return {f"{name}.{PARAMETERS[weight.name]}": weight for weight in layer.weights}
