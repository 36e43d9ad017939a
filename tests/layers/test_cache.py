"""Attention and decoder blocks, one position at a time with a cache, against all at once."""

import numpy as np
import pytest
from keras import ops

from tests.layers.contract import B, H, S
from tests.layers.test_contract import CASES, ENCODED, STATES, TO_ENCODED
from tfmodels.layers.masks import causal_attention_mask

# Longer than the sequence: what is not yet written must not be seen.
LENGTH = S + 2


def in_steps(step, cache, sizes):
    """Outputs of `step(states, mask, cache, index)` over STATES, cut into `sizes`, as one."""
    outputs, start = [], 0
    for size in sizes:
        mask = causal_attention_mask(size, LENGTH, start)
        output, cache = step(STATES[:, start : start + size], mask, cache, start)
        outputs.append(ops.convert_to_numpy(output))
        start += size
    return np.concatenate(outputs, 1)


@pytest.mark.parametrize("sizes", [(1,) * S, (3, 1, 1)], ids=["one_by_one", "prompt_then_one"])
def test_attention(sizes):
    layer = CASES["causal_attention"].made()

    def step(states, mask, cache, index):
        return layer(states, attention_mask=mask, cache=cache, cache_index=index)

    expected = layer(STATES, attention_mask=causal_attention_mask(S))
    found = in_steps(step, layer.new_cache(B, LENGTH), sizes)
    np.testing.assert_allclose(found, ops.convert_to_numpy(expected), atol=1e-5)


@pytest.mark.parametrize("order", ["post_norm", "pre_norm"])
@pytest.mark.parametrize("cross", [False, True])
def test_decoder_block(cross, order):
    case = CASES[f"decoder_block_with_cross_{order}" if cross else f"decoder_block_{order}"]
    layer = case.made()
    others, encoded = {}, {}
    if cross:
        encoded = {"encoded": ENCODED, "encoded_mask": TO_ENCODED}
        projected = layer.cross_attention.project(ops.convert_to_tensor(ENCODED))
        others = {"encoded_cache": projected, "encoded_mask": TO_ENCODED}

    def step(states, mask, cache, index):
        return layer(states, attention_mask=mask, cache=cache, cache_index=index, **others)

    expected = layer(STATES, attention_mask=causal_attention_mask(S), **encoded)
    found = in_steps(step, layer.attention.new_cache(B, LENGTH), (1,) * S)
    np.testing.assert_allclose(found, ops.convert_to_numpy(expected), atol=1e-5)


def test_new_cache():
    layer = CASES["causal_attention"].make(dtype="mixed_bfloat16")
    for part in layer.new_cache(B, LENGTH):
        assert part.shape == (B, 2, LENGTH, H // 2)
        assert "bfloat16" in str(part.dtype)
        assert not ops.convert_to_numpy(ops.cast(part, "float32")).any()


def test_no_room():
    layer = CASES["causal_attention"].made()
    with pytest.raises(ValueError, match="a cache of 7 positions has no room for 5 more at 3"):
        layer(STATES, cache=layer.new_cache(B, LENGTH), cache_index=3)
