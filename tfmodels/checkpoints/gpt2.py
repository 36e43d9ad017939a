"""GPT-2 weights and tokenizers from published checkpoints into `Gpt`, and back.

In: a directory or Hub name with `config.json`, safetensors and a tokenizer, as `transformers`
writes them. Out: a built `Gpt` with those weights and a `LoadReport`; or, the other way, a
directory that `GPT2LMHeadModel` reads. Names and fields are those of `GPT2LMHeadModel` and
`GPT2Config` in `transformers`, after Radford et al. 2019. Kernels lie there as here, `[I, O]`,
those of queries, keys and values beside one another.
"""

import re

from tfmodels.checkpoints.family import Family
from tfmodels.checkpoints.files import find_checkpoint
from tfmodels.models.gpt import Gpt, GptConfig

OUTPUT = "lm_head.weight"
# Constants that old files hold: the causal mask and the score of what is masked.
IGNORED = re.compile(r"h\.\d+\.attn\.(masked_)?bias")


class Gpt2Family(Family):
    """See `Family`."""

    name, model_type, config_type = "GPT-2", "gpt2", GptConfig
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
            "attn.c_attn": ("attention.query", "attention.key", "attention.value"),
            "attn.c_proj": "attention.output_projection",
            "ln_2": "feedforward_norm",
            "mlp.c_fc": "feedforward.inner",
            "mlp.c_proj": "feedforward.outer",
        }
    }
    prefix, tied, transposed = "transformer.", {OUTPUT: "wte.weight"}, False

    def is_ignored(self, name):
        return name == OUTPUT or IGNORED.fullmatch(name)

    def further_fields(self, path, theirs, fields):
        wide = theirs.get("n_inner") is None
        return {"feedforward_dim": 4 * fields["hidden_dim"]} if wide else {}


GPT2 = Gpt2Family()
read_gpt_config, load_gpt_weights = GPT2.read_config, GPT2.load_weights


def load_gpt(source, *, revision=None, dtype=None):
    """Return the model of a checkpoint of GPT-2's architecture.

    Args:
        source, revision, dtype: as for `bert.load_bert`, which raises the same.

    Returns:
        pair of a `Gpt` and a `LoadReport`.

    Example:
        >>> model, report = load_gpt("openai-community/gpt2")
        >>> print(report)
    """
    directory = find_checkpoint(source, revision)
    model = Gpt(read_gpt_config(directory), dtype=dtype)
    return model, load_gpt_weights(model, directory)


def write_gpt(model, directory, tokenizer, ours=None):
    """Write a directory that `GPT2LMHeadModel`, `load_gpt` and, with BPE, `AutoTokenizer` read.

    Args:
        model: `Gpt`. Weights are written as float32.
        directory: an existing one.
        tokenizer: `BytePairTokenizer` or `CharacterTokenizer`, with no more tokens than the model.
        ours: as of `Family.write`.

    Raises:
        InputError: the activation has no name there, or there are more tokens than embeddings.
        OSError: a file cannot be written.
    """
    more = {"architectures": ["GPT2LMHeadModel"], "embd_pdrop": model.config.dropout}
    more |= {"bos_token_id": tokenizer.end_id, "eos_token_id": tokenizer.end_id}
    GPT2.write(model, directory, tokenizer, more, ours)
