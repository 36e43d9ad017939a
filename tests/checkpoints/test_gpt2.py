"""What only the files of a GPT-2 have."""

import numpy as np
import pytest

from tests.checkpoints.conftest import FAMILIES, message
from tfmodels.checkpoints.gpt2 import load_gpt, read_gpt_config

GPT2 = FAMILIES["gpt2"]


@pytest.fixture
def gpt2(copy_of):
    return copy_of(GPT2)


def test_without_prefix_with_constants_and_tied_copy(gpt2):
    tensors = {name.removeprefix("transformer."): x for name, x in gpt2.tensors.items()}
    more = {
        "h.0.attn.bias": np.ones((1, 1, 24, 24), np.uint8),
        "h.1.attn.masked_bias": np.array(-1e4, np.float32),
        "lm_head.weight": tensors["wte.weight"].copy(),
    }
    gpt2.write({**tensors, **more})
    model, report = load_gpt(gpt2.directory)
    assert sorted(report.ignored) == sorted(more)
    np.testing.assert_array_equal(GPT2.outputs(model), GPT2.outputs(GPT2.random()))


def test_default_of_n_inner(gpt2):
    gpt2.set_config(n_inner=None)
    assert read_gpt_config(gpt2.directory).feedforward_dim == 4 * GPT2.config.hidden_dim


@pytest.mark.parametrize(
    "field",
    [
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"add_cross_attention": True},
        {"tie_word_embeddings": False},
    ],
)
def test_another_computation(gpt2, field):
    gpt2.set_config(**field)
    ((name, value),) = field.items()
    assert f"{name} is {value}" in message(load_gpt, gpt2.directory)
