"""What only the files of a GPT-2 have."""

import numpy as np
import pytest

from tests.checkpoints.conftest import FAMILIES, SHAPE, WORDS, message
from tfmodels import CausalLM
from tfmodels.checkpoints.gpt2 import load_gpt, read_gpt_config, read_gpt_ends, write_gpt
from tfmodels.files import read_json, write_json
from tfmodels.models.gpt import GptConfig

GPT2 = FAMILIES["gpt2"]
PROMPTS = ["中a b", "ab cd", "e"]


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


class TestWordPiece:
    """The vocabulary of BERT, as the Chinese GPT-2s have it."""

    CONFIG = GptConfig(vocabulary_size=20, num_layers=2, **SHAPE)

    @pytest.fixture
    def chinese(self, tmp_path):
        (tmp_path / "zh").mkdir()
        write_gpt(GPT2.random(self.CONFIG), tmp_path / "zh", WORDS)
        return tmp_path / "zh"

    @pytest.mark.parametrize(
        ("fields", "ends"),
        [
            ({"eos_token_id": 50256}, ()),  # of the English one
            ({"eos_token_id": None}, ()),
            ({"eos_token_id": 2}, (2,)),
            ({"eos_token_id": [3, 2]}, (3, 2)),
        ],
    )
    def test_what_ends_a_text(self, chinese, tmp_path, fields, ends):
        path = chinese / "config.json"
        write_json(path, read_json(path) | fields)
        task = CausalLM.load(chinese)
        assert read_gpt_ends(chinese, task.tokenizer) == ends
        task.save(tmp_path / "saved")
        assert read_gpt_ends(tmp_path / "saved", task.tokenizer) == ends
        path = chinese / "generation_config.json"
        write_json(path, {"eos_token_id": 7})
        assert read_gpt_ends(chinese, task.tokenizer) == (7,)

    def test_as_transformers(self, parity, chinese):
        import torch
        import transformers

        path = chinese / "config.json"
        write_json(path, read_json(path) | {"eos_token_id": 50256})
        peer = transformers.GPT2LMHeadModel.from_pretrained(chinese)
        tokenizer = transformers.AutoTokenizer.from_pretrained(chinese)
        task = CausalLM.from_preset(chinese)
        task.configure(max_new_tokens=12)
        for text, ours in zip(PROMPTS, task.generate(PROMPTS), strict=True):
            ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            assert task.tokenizer.tokenize([text]).to_list() == ids.tolist()
            logits = task.model({"token_ids": ids.numpy().astype("int32")})
            np.testing.assert_allclose(logits, peer(ids).logits.detach(), atol=1e-4)
            new = peer.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
            )[0, ids.shape[1] :]
            assert ours == task.tokenizer.detokenize([new.tolist()])[0].numpy().decode()
        assert "".join(task.stream(PROMPTS[0])) == task.generate(PROMPTS)[0]

    def test_stop_and_evaluation(self, chinese):
        task = CausalLM.from_preset(chinese)
        task.configure(max_new_tokens=12, min_new_tokens=12, repetition_penalty=4.0)
        whole = task.generate(["e"])[0]
        assert len(whole) > 4
        task.configure(stop=[whole[3:5]])
        assert task.generate(["e"]) == [whole[: whole.index(whole[3:5])]]
        assert task.evaluate(["ab a\nb"] * 3)["tokens"] > 9
