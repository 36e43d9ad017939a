"""Start a `Transformer` from the encoder of a BERT (Rothe et al. 2019, arXiv:1907.12461).

In: a checkpoint as `load_bert` reads it. Out: a `Transformer` whose encoder has the outputs of that
encoder, and whose decoder has its weights as well: the embeddings and, block by block, the
feed-forward part and the self-attention. The cross-attention, which the encoder does not have,
starts from that same self-attention rather than from random numbers as in the paper: it then
attends to the tokens of a source that resemble the one being written, which it has to learn first
(ROUGE-1 36.7 against 15.0 after one epoch over 9,800 headlines, see docs/results.md).
"""

from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from tfmodels.checkpoints.bert import load_bert, read_bert_config
from tfmodels.checkpoints.family import check_settings
from tfmodels.checkpoints.files import LoadReport, config_path
from tfmodels.models.transformer import Transformer, TransformerConfig

# Fields that `BertConfig` and `TransformerConfig` have in common.
SAME_FIELDS: tuple = ("vocabulary_size", "hidden_dim", "num_heads", "feedforward_dim", "max_length")
SAME_FIELDS += ("activation", "dropout", "attention_dropout", "epsilon", "initializer_range")
# Fields that may differ from the encoder's, whose outputs do not depend on them.
FREE = ("num_decoder_layers", "dropout", "attention_dropout", "initializer_range")
# Pairs of a part of a block and the part of BERT's block that it starts from.
PARTS = [(part,) * 2 for part in ("attention", "attention_norm", "feedforward", "feedforward_norm")]
CROSS = [("cross_attention", "attention"), ("cross_attention_norm", "attention_norm")]


def read_encoder_config(directory: str | Path, **fields: Any) -> TransformerConfig:
    """Return the `TransformerConfig` that fits an encoder.

    Args:
        directory: of the checkpoint.
        **fields: those of `FREE` that differ from the encoder's. There are as many decoder as
            encoder blocks if not given.
    """
    config = read_bert_config(directory)
    same = {name: getattr(config, name) for name in SAME_FIELDS}
    layers = {"num_encoder_layers": config.num_layers, "num_decoder_layers": config.num_layers}
    return TransformerConfig(**{**layers, **same, **fields})


def load_encoder_weights(model: Transformer, directory: str | Path) -> LoadReport:
    """Load an encoder into a model that was made before, for example under a strategy.

    The embedding of the first segment is added to the positions: a source is one segment. Where the
    decoder has fewer or more blocks, they start from evenly spaced blocks.

    Args:
        model: `Transformer` with the config of `read_encoder_config`. It is built if it is not
            yet; weights of any dtype.
        directory: of the checkpoint; see `find_checkpoint`.

    Raises:
        InputError: the checkpoint is damaged or not a BERT, or the model is of another shape.
    """
    expected = read_encoder_config(directory)
    fields = [name for name in vars(expected) if name not in FREE]
    check_settings(config_path(directory), expected, model.config, fields)
    encoder, report = load_bert(directory, dtype="float32")
    if not model.built:
        model.build()
    table = encoder.embeddings
    position = ops.convert_to_tensor(table.position)
    if table.segment is not None:
        position = position + table.segment[0]
    loaded = [model.embeddings.token]
    model.embeddings.token.assign(table.token)
    for embeddings in (model.embeddings, model.decoder_embeddings):
        embeddings.position.assign(position)
        embeddings.norm.set_weights(table.norm.get_weights())
        loaded += [embeddings.position, *embeddings.norm.weights]
    number = len(model.decoder_blocks)
    starts = [encoder.blocks[i * len(encoder.blocks) // number] for i in range(number)]
    pairs = [(*pair, PARTS) for pair in zip(model.encoder_blocks, encoder.blocks, strict=True)]
    pairs += [(*pair, PARTS + CROSS) for pair in zip(model.decoder_blocks, starts, strict=True)]
    for block, source, parts in pairs:
        for part, of_source in parts:
            layer, start = getattr(block, part), getattr(source, of_source).get_weights()
            if part == "cross_attention":  # queries stand alone there
                width = model.config.hidden_dim
                split = [np.split(weight, [width], axis=-1) for weight in start[:2]]
                start = [*(w[0] for w in split), *(w[1] for w in split), *start[2:]]
            layer.set_weights(start)
            loaded += layer.weights
    assigned = {id(weight) for weight in loaded}
    new = tuple(weight.path for weight in model.weights if id(weight) not in assigned)
    return LoadReport(report.directory, report.loaded, new, report.ignored)
