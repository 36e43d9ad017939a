"""MarianMT weights into `Transformer`, and back; which family an encoder-decoder is of.

In: a directory such as that of `Helsinki-NLP/opus-mt-en-de` (safetensors, the SentencePiece models
of both sides and their vocabulary). Out: as of `bart`, whose names of tensors MarianMT has in
`transformers` (Junczys-Dowmunt et al. 2018). It normalizes after each part and not the embeddings,
its positions are sinusoids with all sines first, and both sides and the output share one table of
tokens. Targets start with the padding.
"""

from pathlib import Path

from tfmodels.checkpoints.bart import BART, MARIAN_TYPE, POSITIONS, BartFamily
from tfmodels.checkpoints.files import model_type
from tfmodels.models.transformer import TransformerConfig


class MarianFamily(BartFamily):
    """See `Family`."""

    name, model_type = "MarianMT", MARIAN_TYPE
    architecture = "MarianMTModel"
    own_fields = {
        "norm_first": False,
        "positions": "sinusoidal_halves",
        "embedding_norm": False,
        "epsilon": 1e-5,
    }
    only = {
        "normalize_before": False,
        "normalize_embedding": False,
        "add_final_layer_norm": False,
        "static_position_embeddings": True,
        "tie_word_embeddings": True,
        "share_encoder_decoder_embeddings": True,
    }

    def is_ignored(self, name: str) -> bool:
        return name.endswith(POSITIONS) or super().is_ignored(name)  # sinusoids, in old files

    def further_fields(self, path: Path, entries: dict, fields: dict) -> dict:
        entries = {"decoder_vocab_size": None, **entries}
        if entries["decoder_vocab_size"] is None:
            entries["decoder_vocab_size"] = fields["vocabulary_size"]
        return super().further_fields(path, entries, fields)

    def of_decoder(self, fields: dict) -> dict:
        sizes = {"decoder_vocab_size": fields["vocabulary_size"]}
        return super().of_decoder(fields) | sizes


MARIAN = MarianFamily()


def family_of(directory: str | Path) -> BartFamily:
    """Return the family of the encoder-decoder in a directory."""
    return MARIAN if model_type(directory) == MARIAN_TYPE else BART


def family_for(config: TransformerConfig) -> BartFamily:
    """Return the family that a `Transformer` is written as."""
    return MARIAN if MARIAN.describes(config) else BART
