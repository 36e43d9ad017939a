"""BART weights and tokenizers from published checkpoints into `Transformer`, and back.

In: a directory with `config.json`, safetensors and the files of a tokenizer, as `transformers`
writes it. Out: a built `Transformer` with those weights and a `LoadReport`, and the settings of
generation; or, the other way, a directory that `BartForConditionalGeneration` reads. Names and
fields are those of that class and `BartConfig` in `transformers`, after Lewis et al. 2019. A
`Transformer` that is not a BART (`PAPER`, pre-norm) is stored under the same names, with the fields
of `TransformerConfig` in its `config.json`. BART's tables of positions start with two rows that
nothing reads: they are dropped here and written as zeros. A dropout between the two layers of the
feed-forward parts (`activation_dropout`), which some checkpoints were trained with, is ignored.
"""

import dataclasses
from pathlib import Path

import keras
import numpy as np

from tfmodels.checkpoints.family import (
    CROSS_KEY,
    CROSS_VALUE,
    KEY,
    QUERY,
    VALUE,
    Family,
    Weight,
    check_only,
    read_fields,
)
from tfmodels.checkpoints.files import GENERATION, config_path, model_type, read_entries
from tfmodels.checkpoints.tokenizer_files import BART_TOKENS
from tfmodels.checkpoints.tokenizers import Tokenizer
from tfmodels.errors import InputError
from tfmodels.files import read_json, write_json
from tfmodels.models.transformer import Transformer, TransformerConfig

# Fields of the config of a `Transformer` that is a BART.
BART_FIELDS = {
    "norm_first": False,
    "positions": "learned",
    "embedding_norm": True,
    "epsilon": 1e-5,
}
BART_TYPE, MARIAN_TYPE, OWN_TYPE = "bart", "marian", "transformer"
BLOCK = {
    "self_attn.q_proj": QUERY,
    "self_attn.k_proj": KEY,
    "self_attn.v_proj": VALUE,
    "self_attn.out_proj": "attention.output_projection",
    "self_attn_layer_norm": "attention_norm",
    "fc1": "feedforward.inner",
    "fc2": "feedforward.outer",
    "final_layer_norm": "feedforward_norm",
}
CROSS_ATTENTION = {
    "encoder_attn.q_proj": "cross_attention.query",
    "encoder_attn.k_proj": CROSS_KEY,
    "encoder_attn.v_proj": CROSS_VALUE,
    "encoder_attn.out_proj": "cross_attention.output_projection",
    "encoder_attn_layer_norm": "cross_attention_norm",
}
TOKENS, POSITIONS, BIAS = "shared.weight", "embed_positions.weight", "final_logits_bias"
COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
UNREAD_ROWS = 2  # at the start of a table of positions
# Constants in old files, and heads of other tasks.
IGNORED = ("encoder.version", "decoder.version", "classification_head.", "qa_outputs.")

# Settings of generation: name here (of a `Generation`, where it has one), name in `transformers`.
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
    "forbidden_ids": "bad_words_ids",
    "renormalize": "renormalize_logits",
}
FLAGS = ("early_stopping", "renormalize")
# In files with the start token; under the name here, which takes precedence, without it.
COUNTED = ("min_new_tokens", "max_new_tokens")
# Where a file does not name them.
MARIAN_TOKEN_IDS = {"stop_ids": 0, "forced_last_id": 0}
BART_TOKEN_IDS = {"start_id": 2, "bos_id": 0, "stop_ids": 2, "pad_id": 1, "forced_last_id": 2}


class BartFamily(Family):
    """See `Family`.

    Attributes:
        architecture: class of `transformers`.
        own_fields: fields of the config of a `Transformer` that is of this family.
    """

    name, model_type, model_class = "BART", BART_TYPE, Transformer
    architecture, own_fields = "BartForConditionalGeneration", BART_FIELDS
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
    required: tuple = ("vocabulary_size", "num_encoder_layers", "num_decoder_layers", "hidden_dim")
    required += ("num_heads", "feedforward_dim", "max_length")
    # In old files, other values mean another model.
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

    def is_ignored(self, name: str) -> bool:
        return name.startswith((*COPIES, *IGNORED))

    def name_in_file(self, name: str, model: keras.Model) -> str:
        return name if name == BIAS else super().name_in_file(name, model)

    def shape_in_file(self, name: str, weight: Weight) -> tuple[int, ...]:
        rows, *rest = super().shape_in_file(name, weight)
        if name.endswith(POSITIONS):
            return (rows + UNREAD_ROWS, *rest)
        return (1, rows) if name == BIAS else (rows, *rest)

    def from_file(self, name: str, tensor: np.ndarray, weight: Weight) -> np.ndarray:
        if name.endswith(POSITIONS):
            tensor = tensor[UNREAD_ROWS:]
        return super().from_file(name, tensor[0] if name == BIAS else tensor, weight)

    def to_file(self, name: str, weight: Weight) -> np.ndarray:
        tensor = super().to_file(name, weight)
        if name.endswith(POSITIONS):
            return np.pad(tensor, ((UNREAD_ROWS, 0), (0, 0)))
        return tensor[None] if name == BIAS else tensor

    def read_config(self, directory: str | Path) -> TransformerConfig:
        if model_type(directory) != OWN_TYPE:
            return super().read_config(directory)
        path, entries = config_path(directory), read_entries(directory)
        check_only(path, entries, {"target_vocabulary_size": None})  # which version 0.1 wrote
        names = [field.name for field in dataclasses.fields(TransformerConfig)]
        missing = [name for name in names if name not in entries]
        if missing:
            raise InputError(f"{path}: {missing[0]} is missing; copy the file again")
        numbers = {name: name for name in (*self.fields, "epsilon")}
        fields = read_fields(path, entries, numbers, (), TransformerConfig)
        return TransformerConfig(**{name: entries[name] for name in names} | fields)

    def further_fields(self, path: Path, entries: dict, fields: dict) -> dict:
        check_only(path, entries, self.of_decoder(fields))
        return {"scale_embeddings": bool(entries.get("scale_embedding", False)), **self.own_fields}

    def describes(self, config: TransformerConfig) -> bool:
        """Return whether a config is of this family."""
        return all(getattr(config, name) == value for name, value in self.own_fields.items())

    def write_config(self, config: TransformerConfig) -> dict:
        if not self.describes(config):
            return {"model_type": OWN_TYPE, **dataclasses.asdict(config)}
        entries = super().write_config(config) | self.of_decoder(vars(config))
        entries |= {"architectures": [self.architecture]}
        return entries | {"scale_embedding": config.scale_embeddings}

    def of_decoder(self, fields: dict) -> dict:
        """Return the fields of the decoder that must equal those of the encoder."""
        names = {"decoder_attention_heads": "num_heads", "decoder_ffn_dim": "feedforward_dim"}
        return {name: fields[field] for name, field in names.items()}


BART = BartFamily()
read_bart_config, load_bart, load_bart_weights = BART.read_config, BART.load, BART.load_weights


def write_bart(
    model: Transformer, directory: str | Path, tokenizer: Tokenizer, generation: dict | None = None,
    settings: dict | None = None, family: BartFamily = BART,
) -> None:  # fmt: skip
    """Write the files of a `Transformer` into an existing directory.

    `transformers` reads one that is a BART as `BartForConditionalGeneration`, and a
    `BytePairTokenizer` as `AutoTokenizer`; it refuses every other `Transformer`.
    Errors and other arguments are as of `Family.write`.

    Args:
        tokenizer: any but a `SubwordTokenizer`.
        generation: dict as of `read_bart_generation`, all of it optional.
        family: BART's, or that of MarianMT.
    """
    directory, generation = Path(directory), _generation_config(generation or {})
    entries = {name: generation[name] for name in TOKEN_IDS.values() if name in generation}
    family.write(model, directory, tokenizer, entries, settings)
    if set(BART_TOKENS.values()) - {BART_TOKENS["mask_token"]} <= set(tokenizer.vocabulary):
        path = directory / "tokenizer_config.json"
        write_json(path, read_json(path) | BART_TOKENS | {"tokenizer_class": "BartTokenizer"})
    if generation:  # else `transformers` reads these fields from config.json
        write_json(directory / GENERATION, generation)


def read_bart_generation(directory: str | Path) -> dict:
    """Return the settings that a checkpoint has for generating texts.

    Args:
        directory: of the checkpoint; `generation_config.json` takes precedence over `config.json`.

    Returns:
        dict of the settings in the files: `start_id`, the first token of every target, `bos_id`,
        that of every source, `forced_first_id` and `forced_last_id`, the tokens that must come
        first, and last where a text is cut (ints); and under the names of `Generation`
        `stop_ids` (tuple), `pad_id`, `num_beams`, `length_penalty`, `no_repeat_ngram`,
        `repetition_penalty`, `early_stopping` and `renormalize` (bools), `forbidden_ids` (tuple),
        `min_new_tokens` and `max_new_tokens`, the last two without the start token.

    Raises:
        InputError: a file cannot be read, or a field in it is not a number.
    """
    path, entries = config_path(directory), read_entries(directory)
    marian = entries.get("model_type") == MARIAN_TYPE
    defaults = BART_TOKEN_IDS if entries.get("model_type") == BART_TYPE else {}
    defaults = MARIAN_TOKEN_IDS if marian else defaults
    entries = {**{TOKEN_IDS[name]: value for name, value in defaults.items()}, **entries}
    if entries.get("force_bos_token_to_be_generated"):  # the name in old files
        entries.setdefault("forced_bos_token_id", entries.get("bos_token_id"))
    if path.with_name(GENERATION).is_file():
        path = path.with_name(GENERATION)
        # As in transformers, what it does not name is not forced and not searched.
        around = {TOKEN_IDS[name] for name in ("start_id", "bos_id", "stop_ids", "pad_id")}
        entries = {name: entries[name] for name in around & entries.keys()} | read_json(path)
    generation: dict = {}
    for field, name in (TOKEN_IDS | SEARCH).items():
        if field in COUNTED and entries.get(field) is not None:
            name = field
        value = entries.get(name)
        # Files of MarianMT name a first token, </s>, which its tokenizer never writes.
        if value is None or (marian and field == "bos_id"):
            continue
        values = value if field == "stop_ids" and isinstance(value, list) else [value]
        if field in FLAGS:
            generation[field] = value is True  # "never" in transformers searches on, as False
            continue
        if field == "forbidden_ids":
            generation[field] = _forbidden(path, name, value)
            continue
        for one in values:
            if isinstance(one, bool) or not isinstance(one, (int, float)):
                raise InputError(f"{path}: {name} is {value!r}; it must be a number")
        generation[field] = tuple(values) if field == "stop_ids" else value
        if field in COUNTED and name != field:
            generation[field] = max(0, value - 1)
    return generation


def _forbidden(path, name, value):
    """Return the ids in lists of one token each; a sequence of several is refused."""
    if not isinstance(value, list) or not all(
        isinstance(ids, list) and len(ids) == 1 and type(ids[0]) is int for ids in value
    ):
        raise InputError(
            f"{path}: {name} is {value!r:.60}; only lists of one token each can be forbidden: "
            "remove the others"
        )
    return tuple(ids[0] for ids in value)


def _generation_config(generation):
    """Return the content of a `generation_config.json`."""
    entries = {}
    for field, name in (TOKEN_IDS | SEARCH).items():
        if field in generation:
            value = generation[field]
            if field == "stop_ids":
                value = value[0] if len(value) == 1 else list(value)
            elif field == "forbidden_ids":
                value = [[token_id] for token_id in value]
            entries[name] = value + 1 if field in COUNTED else value
    return entries
