"""BART weights and tokenizers from published checkpoints into `Transformer`, and back.

In: a directory or Hub name with `config.json`, safetensors and the files of a tokenizer, as
`transformers` writes them. Out: a built `Transformer` with those weights and a `LoadReport`, and
how the checkpoint wants its texts generated; or, the other way, a directory that
`BartForConditionalGeneration` reads. Names and fields are those of that class and `BartConfig` in
`transformers`, after Lewis et al. 2019. A `Transformer` that is no BART (`PAPER`, pre-norm) lies
in a directory of the same names, whose `config.json` says so in our own fields. Their tables of
positions start with two rows that nothing reads: these are left out here and written as zeros.
"""

import dataclasses
from pathlib import Path

import numpy as np

from tfmodels.checkpoints.family import Family, check_only, read_fields
from tfmodels.checkpoints.files import GENERATION, config_path, find_checkpoint, model_type
from tfmodels.errors import InputError
from tfmodels.files import read_json, write_json
from tfmodels.models.transformer import Transformer, TransformerConfig

# What a `Transformer` has that is a BART.
BART_FIELDS = {
    "norm_first": False,
    "positions": "learned",
    "embedding_norm": True,
    "epsilon": 1e-5,
}
BART_TYPE, OUR_TYPE = "bart", "transformer"
BLOCK = {
    "self_attn.q_proj": "attention.query",
    "self_attn.k_proj": "attention.key",
    "self_attn.v_proj": "attention.value",
    "self_attn.out_proj": "attention.output_projection",
    "self_attn_layer_norm": "attention_norm",
    "fc1": "feedforward.inner",
    "fc2": "feedforward.outer",
    "final_layer_norm": "feedforward_norm",
}
CROSS_ATTENTION = {
    "encoder_attn.q_proj": "cross_attention.query",
    "encoder_attn.k_proj": "cross_attention.key",
    "encoder_attn.v_proj": "cross_attention.value",
    "encoder_attn.out_proj": "cross_attention.output_projection",
    "encoder_attn_layer_norm": "cross_attention_norm",
}
TOKENS, POSITIONS, BIAS = "shared.weight", "embed_positions.weight", "final_logits_bias"
COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
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


class BartFamily(Family):
    """See `Family`."""

    name, model_type, config_type = "BART", BART_TYPE, TransformerConfig
    fields = {
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
    required = ("vocabulary_size", "num_encoder_layers", "num_decoder_layers", "hidden_dim")
    required += ("num_heads", "feedforward_dim", "max_length")
    # In files of old, other values mean another model.
    only = {
        "normalize_before": False,
        "normalize_embedding": True,
        "add_final_layer_norm": False,
        "static_position_embeddings": False,
        "tie_word_embeddings": True,
    }
    activation = ("activation_function", "gelu")
    unseen = ("num_heads", "scale_embeddings", "activation", "epsilon")
    parts = {
        BIAS: "output_bias",
        TOKENS: "embeddings.token",
        f"encoder.{POSITIONS}": "embeddings.position",
        f"decoder.{POSITIONS}": "decoder_embeddings.position",
        "encoder.layernorm_embedding": "embeddings.norm",
        "decoder.layernorm_embedding": "decoder_embeddings.norm",
        "encoder.layer_norm": "encoder_norm",
        "decoder.layer_norm": "decoder_norm",
    }
    blocks = {
        ("encoder.layers.{}.", "encoder_blocks"): BLOCK,
        ("decoder.layers.{}.", "decoder_blocks"): BLOCK | CROSS_ATTENTION,
    }
    optional = (BIAS,)  # a `BartModel` has none
    prefix, tied = "model.", dict.fromkeys(COPIES, TOKENS)

    def is_ignored(self, name):
        return name.startswith((*COPIES, *IGNORED))

    def name_in_file(self, name, model):
        return name if name == BIAS else super().name_in_file(name, model)

    def shape_in_file(self, name, variables):
        rows, *rest = super().shape_in_file(name, variables)
        if name.endswith(POSITIONS):
            return (rows + UNREAD_ROWS, *rest)
        return (1, rows) if name == BIAS else (rows, *rest)

    def from_file(self, name, tensor, variables):
        if name.endswith(POSITIONS):
            tensor = tensor[UNREAD_ROWS:]
        return super().from_file(name, tensor[0] if name == BIAS else tensor, variables)

    def to_file(self, name, variables):
        tensor = super().to_file(name, variables)
        if name.endswith(POSITIONS):
            return np.pad(tensor, ((UNREAD_ROWS, 0), (0, 0)))
        return tensor[None] if name == BIAS else tensor

    def read_config(self, directory):
        if model_type(directory) != OUR_TYPE:
            return super().read_config(directory)
        path = config_path(directory)
        theirs = read_json(path)
        check_only(path, theirs, {"target_vocabulary_size": None})  # what there was before
        names = [field.name for field in dataclasses.fields(TransformerConfig)]
        missing = [name for name in names if name not in theirs]
        if missing:
            raise InputError(f"{path}: {missing[0]} is missing; copy the file again")
        numbers = {name: name for name in (*self.fields, "epsilon")}
        fields = read_fields(path, theirs, numbers, (), TransformerConfig)
        return TransformerConfig(**{name: theirs[name] for name in names} | fields)

    def further_fields(self, path, theirs, fields):
        check_only(path, theirs, _twice(fields))
        return {"scale_embeddings": bool(theirs.get("scale_embedding", False)), **BART_FIELDS}

    def write_config(self, config):
        if any(getattr(config, name) != value for name, value in BART_FIELDS.items()):
            return {"model_type": OUR_TYPE, **dataclasses.asdict(config)}
        theirs = super().write_config(config) | _twice(vars(config))
        theirs |= {"architectures": ["BartForConditionalGeneration"]}
        return theirs | {"scale_embedding": config.scale_embeddings}


def _twice(fields):
    """Return the fields of which there are two there and one here."""
    names = {"decoder_attention_heads": "num_heads", "decoder_ffn_dim": "feedforward_dim"}
    return {theirs: fields[ours] for theirs, ours in names.items()}


BART = BartFamily()
read_bart_config, load_bart_weights = BART.read_config, BART.load_weights


def load_bart(source, *, revision=None, dtype=None):
    """Return the model of a checkpoint of BART's architecture, or one that `write_bart` wrote.

    A dropout between the two layers of the feed-forward parts, as some have it in training
    (`activation_dropout`), it does not have.

    Args:
        source, revision, dtype: as for `bert.load_bert`, which raises the same.

    Returns:
        pair of a `Transformer` and a `LoadReport`.

    Example:
        >>> model, report = load_bart("facebook/bart-base")
        >>> print(report)
    """
    directory = find_checkpoint(source, revision)
    model = Transformer(read_bart_config(directory), dtype=dtype)
    return model, load_bart_weights(model, directory)


def write_bart(model, directory, tokenizer, generation=None, ours=None):
    """Write a directory that `load_bart` reads.

    A model that is a BART is read by `BartForConditionalGeneration` too, and a
    `BytePairTokenizer` by `AutoTokenizer`.

    Args:
        model: `Transformer`. Weights are written as float32.
        directory: an existing one.
        tokenizer: `BytePairTokenizer`, `CharacterTokenizer` or `WordPieceTokenizer`, with no more
            tokens than the model.
        generation: dict as of `read_bart_generation`, all of it optional.
        ours: as of `Family.write`.

    Raises:
        InputError: the activation has no name there, or there are more tokens than embeddings.
        OSError: a file cannot be written.
    """
    directory, generation = Path(directory), _their_generation(generation or {})
    more = {name: generation[name] for name in TOKEN_IDS.values() if name in generation}
    BART.write(model, directory, tokenizer, more, ours)
    if set(SPECIAL.values()) <= set(tokenizer.vocabulary):
        path = directory / "tokenizer_config.json"
        write_json(path, read_json(path) | SPECIAL | {"tokenizer_class": "BartTokenizer"})
    if generation:  # else `transformers` has what it takes from config.json
        write_json(directory / GENERATION, generation)


def read_bart_generation(directory):
    """Return how a checkpoint wants its texts generated.

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
    """Return the content of a `generation_config.json`."""
    theirs = {}
    for ours, name in (TOKEN_IDS | SEARCH).items():
        if ours in generation:
            value = generation[ours]
            if ours == "stop_ids":
                value = value[0] if len(value) == 1 else list(value)
            theirs[name] = value + 1 if ours in COUNTED else value
    return theirs
