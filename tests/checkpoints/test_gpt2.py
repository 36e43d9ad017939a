"""Our GPT-2 against fresh random models of `transformers`, and what only its files have."""

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.checkpoints.conftest import FAMILIES, TOLERANCE, message
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


def test_kernels_that_are_transposed(gpt2):
    name = "transformer.h.0.mlp.c_fc.weight"
    gpt2.write({**gpt2.tensors, name: np.ascontiguousarray(gpt2.tensors[name].T)})
    assert "h.0.mlp.c_fc.weight 48x32 for 32x48" in message(load_gpt, gpt2.directory)


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


class TestLive:
    """Fresh random models; both directions."""

    @pytest.mark.parametrize(
        ("shape", "fields"),
        [
            ((2, 64, 2), {"layer_norm_epsilon": 1e-3}),
            ((3, 24, 3, 40), {"activation_function": "relu"}),
        ],
    )
    def test_both_ways(self, parity, tmp_path, shape, fields):
        reference = parity.random_gpt(*shape, **fields)
        assert parity.compare_gpt("random", reference, tmp_path) <= TOLERANCE
        before = load_file(tmp_path / "reference" / "model.safetensors")
        after = load_file(tmp_path / "back" / "model.safetensors")
        assert before.keys() == after.keys()
        for name, tensor in before.items():
            np.testing.assert_array_equal(after[name], tensor)

    @pytest.mark.parametrize("form", ["sharded", "model alone"])
    def test_as_transformers_writes_it(self, parity, tmp_path, form):
        reference = parity.random_gpt(2, 24, 3)
        if form == "sharded":
            reference.save_pretrained(tmp_path, max_shard_size="20KB")
            assert not (tmp_path / "model.safetensors").exists()
        else:
            reference.transformer.save_pretrained(tmp_path)
        model, _ = load_gpt(tmp_path)
        batch = parity.gpt_batch(300, left=True)
        found = keras.ops.convert_to_numpy(model(batch))[batch["padding_mask"]]
        np.testing.assert_allclose(found, parity.gpt_logits(reference, batch), atol=TOLERANCE)
