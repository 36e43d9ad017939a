"""The contract of `contract.py`, over every layer: one row of `CASES` each."""

import functools

import numpy as np
import pytest

from tests.layers.contract import CLAUSES, B, Case, H, S, integers, normal, real_tokens
from tfmodels.layers.attention import Attention
from tfmodels.layers.blocks import DecoderBlock, EncoderBlock, FeedForward
from tfmodels.layers.dense import Dense, LayerNorm
from tfmodels.layers.embeddings import Embeddings
from tfmodels.layers.heads import ClassificationHead, Pooler

STATES = normal(B, S, H)
TO_KEYS = real_tokens(5, 3, 1)[:, None]  # [B, 1, S]
CAUSAL = np.tril(np.ones((S, S), bool)) & TO_KEYS  # [B, S, S]
ENCODED = normal(B, 4, H, seed=1)
TO_ENCODED = real_tokens(4, 2, 1, size=4)[:, None]  # [B, 1, 4]


def case(make, inputs, sequence_axes, **fields):
    """A case whose factory is the class `make.func` and whose reader needs only that."""
    return Case(make, inputs, sequence_axes, custom_objects=(make.func,), **fields)


def layer(cls, *args, **settings):
    return functools.partial(cls, *args, **settings)


DROPPING = {"dropout": {"dropout": 0.3}, "dropout_keeps_mean": True}
ATTENTION = {**DROPPING, "no_gradient": ("key/bias",)}
IN_BLOCKS = {"dropout": {"dropout": 0.3, "attention_dropout": 0.3}, "no_gradient": ("key/bias",)}

CASES = {
    "dense": case(layer(Dense, 6, activation="gelu"), {"inputs": STATES}, {"inputs": (1,)}),
    "norm": case(layer(LayerNorm), {"inputs": STATES}, {"inputs": (1,)}, dropout={"dropout": 0.3}),
    "norm_of_residual": case(
        layer(LayerNorm),
        {"inputs": STATES, "residual": normal(B, S, H, seed=1)},
        {"inputs": (1,), "residual": (1,)},
        dropout={"dropout": 0.3},
    ),
    "self_attention": case(
        layer(Attention, 2, H),
        {"query": STATES, "attention_mask": TO_KEYS},
        {"query": (1,), "attention_mask": (2,)},
        **ATTENTION,
    ),
    "causal_attention": case(
        layer(Attention, 2, H),
        {"query": STATES, "attention_mask": CAUSAL},
        {"query": (1,), "attention_mask": (1, 2)},
        **ATTENTION,
    ),
    "cross_attention": case(
        layer(Attention, 2, H, cross=True),
        {"query": STATES, "value": ENCODED, "attention_mask": TO_ENCODED},
        {"query": (1,), "value": (1,), "attention_mask": (2,)},
        **ATTENTION,
    ),
    "feed_forward": case(layer(FeedForward, H, 16), {"inputs": STATES}, {"inputs": (1,)}),
    "embeddings_without_segments": case(
        layer(Embeddings, 11, H, 9, num_segments=0),
        {"token_ids": integers(11, B, S)},
        {"token_ids": (1,)},
        **DROPPING,
    ),
    "embeddings_as_they_are": case(
        layer(Embeddings, 11, H, 9, num_segments=0, epsilon=None),
        {"token_ids": integers(11, B, S), "position_ids": integers(9, B, S, seed=1)},
        {"token_ids": (1,), "position_ids": (1,)},
        **DROPPING,
    ),
    "embeddings_of_waves": case(
        layer(Embeddings, 11, H, 9, num_segments=0, positions="sinusoidal", scale=2.0),
        {"token_ids": integers(11, B, S)},
        {"token_ids": (1,)},
        **DROPPING,
    ),
    **{
        f"embeddings_with_{n}_segments": case(
            layer(Embeddings, 11, H, 9, num_segments=n),
            {"token_ids": integers(11, B, S), "segment_ids": integers(n, B, S, seed=1)},
            {"token_ids": (1,), "segment_ids": (1,)},
            **DROPPING,
        )
        for n in (2, 3)
    },
    **{
        f"encoder_block_{order}": case(
            layer(EncoderBlock, H, 2, 16, norm_first=norm_first),
            {"inputs": STATES, "attention_mask": TO_KEYS},
            {"inputs": (1,), "attention_mask": (2,)},
            **IN_BLOCKS,
        )
        for order, norm_first in (("post_norm", False), ("pre_norm", True))
    },
    **{
        f"decoder_block_{order}": case(
            layer(DecoderBlock, H, 2, 16, norm_first=norm_first, cross_attention=False),
            {"inputs": STATES, "attention_mask": CAUSAL},
            {"inputs": (1,), "attention_mask": (1, 2)},
            **IN_BLOCKS,
        )
        for order, norm_first in (("post_norm", False), ("pre_norm", True))
    },
    **{
        f"decoder_block_with_cross_{order}": case(
            layer(DecoderBlock, H, 2, 16, norm_first=norm_first),
            {
                "inputs": STATES,
                "attention_mask": CAUSAL,
                "encoded": ENCODED,
                "encoded_mask": TO_ENCODED,
            },
            {"inputs": (1,), "attention_mask": (1, 2), "encoded": (1,), "encoded_mask": (2,)},
            **IN_BLOCKS,
        )
        for order, norm_first in (("post_norm", False), ("pre_norm", True))
    },
    **{
        f"pooler_{pooling}": case(
            layer(Pooler, H, pooling=pooling),
            {"states": STATES, "padding_mask": real_tokens(5, 3, 1)},
            {"states": (1,), "padding_mask": (1,)},
        )
        for pooling in ("first", "mean", "max")
    },
    "classification_head": case(
        layer(ClassificationHead, 3),
        {"inputs": STATES},
        {"inputs": (1,)},
        **DROPPING,
        output_dtype="float32",
    ),
}


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
@pytest.mark.parametrize("name", CASES)
def test_contract(name, clause, tmp_path):
    clause(CASES[name], tmp_path)
