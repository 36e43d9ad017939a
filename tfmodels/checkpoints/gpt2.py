"""GPT-2 weights and tokenizers from published checkpoints into `Gpt`, and back.

In: a directory with `config.json`, safetensors and a tokenizer, as `transformers` writes it. Out: a
built `Gpt` with those weights and a `LoadReport`; or, the other way, a directory that
`GPT2LMHeadModel` reads. Names and fields are those of `GPT2LMHeadModel` and `GPT2Config` in
`transformers`, after Radford et al. 2019. Kernels are stored as in Keras, `[I, O]`, those of
queries, keys and values side by side.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfmodels.checkpoints.family import Family
from tfmodels.checkpoints.files import GENERATION, folder_of, read_entries
from tfmodels.files import read_json
from tfmodels.models.gpt import Gpt

if TYPE_CHECKING:  # needs TensorFlow, see `family`
    from tfmodels.checkpoints.tokenizers import Tokenizer

OUTPUT = "lm_head.weight"
# Constants in old files: the causal mask and the score of masked positions.
IGNORED = re.compile(r"h\.\d+\.attn\.(masked_)?bias")


class Gpt2Family(Family):
    """See `Family`."""

    name, model_type, model_class = "GPT-2", "gpt2", Gpt
    fields = {
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
    required = ("vocabulary_size", "num_layers", "hidden_dim", "num_heads", "max_length")
    only = {
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
    }
    activation = ("activation_function", "gelu_new")
    parts = {
        "wte.weight": "embeddings.token",
        "wpe.weight": "embeddings.position",
        "ln_f": "norm",
    }
    blocks = {
        ("h.{}.", "blocks"): {
            "ln_1": "attention_norm",
            "attn.c_attn": "attention.query_key_value",
            "attn.c_proj": "attention.output_projection",
            "ln_2": "feedforward_norm",
            "mlp.c_fc": "feedforward.inner",
            "mlp.c_proj": "feedforward.outer",
        }
    }
    prefix, tied, transposed = "transformer.", {OUTPUT: "wte.weight"}, False

    def is_ignored(self, name: str) -> bool:
        return name == OUTPUT or IGNORED.fullmatch(name) is not None

    def further_fields(self, path: Path, entries: dict, fields: dict) -> dict:
        default = entries.get("n_inner") is None
        return {"feedforward_dim": 4 * fields["hidden_dim"]} if default else {}


GPT2 = Gpt2Family()
read_gpt_config, load_gpt, load_gpt_weights = GPT2.read_config, GPT2.load, GPT2.load_weights


def read_gpt_ends(directory: str | Path, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the tokens that end what a checkpoint writes.

    They are those that its files name. A Chinese GPT-2, which has BERT's vocabulary, often names
    the 50256 of the English one, which it has not: then nothing ends its texts.

    Args:
        directory: of the checkpoint.
        tokenizer: its tokenizer, of which the end of a text is taken where the files name none.

    Raises:
        InputError: a file cannot be read.
    """
    from tfmodels.text.wordpiece import WordPieceTokenizer

    path, entries = folder_of(directory) / GENERATION, read_entries(directory)
    ids = (read_json(path) if path.is_file() else entries).get("eos_token_id")
    ids = ids if isinstance(ids, list) else [ids]
    size = GPT2.read_config(directory).vocabulary_size
    ends = tuple(number for number in ids if isinstance(number, int) and 0 <= number < size)
    if ends or tokenizer.end_id is None or isinstance(tokenizer, WordPieceTokenizer):
        return ends
    return (tokenizer.end_id,)


def write_gpt(
    model: Gpt, directory: str | Path, tokenizer: Tokenizer, settings: dict | None = None,
    ends: Sequence[int] | None = None,
) -> None:  # fmt: skip
    """Write the files of a `Gpt` into an existing directory; other arguments as of `Family.write`.

    `transformers` reads the model as `GPT2LMHeadModel` and the tokenizer as `AutoTokenizer`; only
    `read_tokenizer` reads a `CharacterTokenizer`.

    Args:
        ends: the tokens that end what it writes; the `end_id` of the tokenizer if not given.
    """
    entries: dict = {"architectures": ["GPT2LMHeadModel"], "embd_pdrop": model.config.dropout}
    entries |= {"bos_token_id": tokenizer.end_id, "eos_token_id": tokenizer.end_id}
    if ends is not None:
        entries["eos_token_id"] = ends[0] if len(ends) == 1 else list(ends) or None
    GPT2.write(model, directory, tokenizer, entries, settings)
