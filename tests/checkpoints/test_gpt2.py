"""Our GPT-2 against fresh random models of `transformers`, and files that do not fit."""

import json

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.checkpoints.conftest import SMALL, Checkpoint
from tests.checkpoints.test_files import message
from tfmodels.checkpoints.gpt2 import (
    gpt_weights,
    load_gpt,
    load_gpt_weights,
    read_gpt_config,
    read_gpt_tokenizer,
    save_gpt,
    write_gpt,
)
from tfmodels.models.gpt import Gpt, GptConfig
from tfmodels.text.bpe import END_OF_TEXT, BytePairTokenizer, printable_bytes
from tfmodels.text.character_tokens import CharacterTokenizer

# Logits are about 1. Largest difference seen in float32: 7e-6.
TOLERANCE = 1e-4
CONFIG = GptConfig(
    vocabulary_size=300,
    num_layers=2,
    hidden_dim=32,
    num_heads=4,
    feedforward_dim=48,
    max_length=24,
    epsilon=1e-4,
)
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the")]
TOKENS = [*printable_bytes(), "th", "the", "Ġthe", END_OF_TEXT]
TEXTS = ["the other", "é ...", f"a{END_OF_TEXT}b"]
BATCH = {"token_ids": np.arange(12, dtype="int32").reshape(2, 6)}


def tokenizer(**options):
    return BytePairTokenizer(TOKENS, MERGES, **options)


def random_model(config=CONFIG, **settings):
    """A `Gpt` with no weight left at 0 or 1."""
    keras.utils.set_random_seed(0)
    model = Gpt(config, **settings)
    model.build()
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + 0.2 * random.normal(size=weight.shape))
    return model


def logits(model):
    return keras.ops.convert_to_numpy(model(BATCH))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("gpt2") / "written"
    save_gpt(random_model(), directory, tokenizer())
    return directory


@pytest.fixture
def gpt2(written, tmp_path):
    """A copy that a test may change."""
    return Checkpoint(written, tmp_path / "copy")


class TestRoundTrip:
    def test_what_is_written_is_read(self, written):
        model, report = load_gpt(written)
        assert model.config == CONFIG
        assert not report.new and not report.ignored
        assert len(report.loaded) == 2 + 2 * 12 + 2
        np.testing.assert_array_equal(logits(model), logits(random_model()))

    def test_every_weight_has_one_name(self):
        model = random_model()
        named = [weight for parts in gpt_weights(model).values() for weight in parts]
        assert sorted(map(id, named)) == sorted(map(id, model.weights))

    def test_dtype_policies(self, written):
        mixed, _ = load_gpt(written, dtype="mixed_bfloat16")
        assert {weight.dtype for weight in mixed.weights} == {"float32"}
        half, _ = load_gpt(written, dtype="bfloat16")
        for weight, exact in zip(half.weights, mixed.weights, strict=True):
            expected = np.asarray(exact).astype(weight.dtype)
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight.value), expected)
        assert {weight.dtype for weight in half.weights} == {"bfloat16", "float32"}

    def test_settings_of_ours(self, tmp_path):
        write_gpt(random_model(), tmp_path, tokenizer(), {"seed": 3})
        assert json.loads((tmp_path / "config.json").read_text())["tfmodels"] == {"seed": 3}
        load_gpt(tmp_path)


class TestForms:
    """The same weights as others write them."""

    def same(self, checkpoint):
        model, report = load_gpt(checkpoint.directory)
        np.testing.assert_array_equal(logits(model), logits(random_model()))
        return report

    def test_shards(self, gpt2):
        gpt2.write_shards()
        self.same(gpt2)

    def test_without_prefix_with_constants_and_tied_copy(self, gpt2):
        tensors = {name.removeprefix("transformer."): x for name, x in gpt2.tensors.items()}
        more = {
            "h.0.attn.bias": np.ones((1, 1, 24, 24), np.uint8),
            "h.1.attn.masked_bias": np.array(-1e4, np.float32),
            "lm_head.weight": tensors["wte.weight"].copy(),
        }
        gpt2.write({**tensors, **more})
        assert sorted(self.same(gpt2).ignored) == sorted(more)

    def test_table_under_the_name_of_the_output(self, gpt2):
        tensors = dict(gpt2.tensors)
        tensors["lm_head.weight"] = tensors.pop("transformer.wte.weight")
        gpt2.write(tensors)
        assert "lm_head.weight" in self.same(gpt2).loaded

    def test_default_of_n_inner(self, gpt2):
        gpt2.set_config(n_inner=None)
        assert read_gpt_config(gpt2.directory).feedforward_dim == 4 * CONFIG.hidden_dim


class TestDoesNotFit:
    def test_all_problems_on_one_line(self, gpt2):
        tensors = dict(gpt2.tensors)
        del tensors["transformer.h.1.mlp.c_proj.bias"]
        tensors["transformer.h.0.attn.c_attn.bias"] = np.zeros(95, np.float32)
        tensors["transformer.h.2.ln_1.bias"] = np.zeros(32, np.float32)
        gpt2.write(tensors)
        text = message(load_gpt, gpt2.directory)
        assert "1 missing: h.1.mlp.c_proj.bias;" in text
        assert "1 unexpected: h.2.ln_1.bias;" in text
        assert "1 of another shape: h.0.attn.c_attn.bias 95 for 96;" in text
        assert "a GPT-2 whose config.json" in text

    def test_kernels_that_are_transposed(self, gpt2):
        name = "transformer.h.0.mlp.c_fc.weight"
        gpt2.write({**gpt2.tensors, name: np.ascontiguousarray(gpt2.tensors[name].T)})
        assert "h.0.mlp.c_fc.weight 48x32 for 32x48" in message(load_gpt, gpt2.directory)

    def test_output_that_is_not_tied(self, gpt2):
        other = gpt2.tensors["transformer.wte.weight"] + 1.0
        gpt2.write({**gpt2.tensors, "lm_head.weight": other})
        text = message(load_gpt, gpt2.directory)
        assert "lm_head.weight differs from transformer.wte.weight" in text
        assert text.endswith("give a checkpoint with tied embeddings")

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"model_type": "bert"}, "model_type is 'bert'"),
            ({"scale_attn_weights": False}, "scale_attn_weights is False"),
            ({"scale_attn_by_inverse_layer_idx": True}, "layer_idx is True"),
            ({"add_cross_attention": True}, "add_cross_attention is True"),
            ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
            ({"activation_function": "sinc"}, "activation_function is 'sinc'"),
            ({"n_head": 5}, "n_head 5 does not divide n_embd 32"),
            ({"n_embd": "32"}, "n_embd is '32'"),
            ({"n_layer": None}, "n_layer is missing"),
        ],
    )
    def test_config(self, gpt2, fields, expected):
        gpt2.set_config(**fields)
        assert expected in message(load_gpt, gpt2.directory)

    @pytest.mark.parametrize("field", [{"num_heads": 2}, {"activation": "relu"}, {"epsilon": 1e-6}])
    def test_settings_that_shapes_do_not_tell(self, written, field):
        model = Gpt(GptConfig(**{**CONFIG.__dict__, **field}))
        text = message(load_gpt_weights, model, written)
        assert f"the model has {next(iter(field.values()))!r}" in text

    def test_a_bert(self):
        assert "model_type is 'bert'" in message(load_gpt, SMALL)

    def test_nothing_is_assigned(self, gpt2):
        gpt2.write({n: x for n, x in gpt2.tensors.items() if "h.1.ln_2" not in n})
        model = Gpt(CONFIG)
        model.build()
        before = model.get_weights()
        message(load_gpt_weights, model, gpt2.directory)
        for one, other in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


class TestSave:
    def test_refused(self, tmp_path):
        small = random_model(
            GptConfig(
                vocabulary_size=200,
                num_layers=1,
                hidden_dim=8,
                num_heads=2,
                feedforward_dim=8,
                max_length=8,
            )
        )
        where = tmp_path / "new"
        assert "260 tokens and the model 200" in message(save_gpt, small, where, tokenizer())
        other = random_model(
            GptConfig(
                vocabulary_size=300,
                num_layers=1,
                hidden_dim=8,
                num_heads=2,
                feedforward_dim=8,
                max_length=8,
                activation="elu",
            )
        )
        assert "activation 'elu' has no name" in message(save_gpt, other, where, tokenizer())
        assert list(tmp_path.iterdir()) == []
        where.write_text("")
        assert "already exists" in message(save_gpt, small, where, tokenizer())


class TestTokenizer:
    def test_byte_pairs(self, written):
        again = read_gpt_tokenizer(written)
        assert again.vocabulary == tuple(TOKENS) and again.merges == tuple(MERGES)
        assert again.get_config() == tokenizer().get_config()
        assert again.tokenize(TEXTS).to_list() == tokenizer().tokenize(TEXTS).to_list()

    def test_other_end_of_text(self, tmp_path):
        named = BytePairTokenizer([*TOKENS, "<end>"], MERGES, end_of_text="<end>")
        save_gpt(random_model(), tmp_path / "new", named)
        assert read_gpt_tokenizer(tmp_path / "new").end_id == 260

    def test_no_end_of_text(self, tmp_path):
        save_gpt(random_model(), tmp_path / "new", BytePairTokenizer(TOKENS[:-1], MERGES))
        assert read_gpt_tokenizer(tmp_path / "new").end_id is None

    def test_characters(self, tmp_path):
        letters = CharacterTokenizer([*"ab\nĠ", "<|unk|>"])
        save_gpt(random_model(), tmp_path / "new", letters)
        again = read_gpt_tokenizer(tmp_path / "new")
        assert isinstance(again, CharacterTokenizer)
        assert again.vocabulary == letters.vocabulary
        assert again.get_config() == letters.get_config()
        load_gpt(tmp_path / "new")

    @pytest.mark.parametrize("content", ['{"unknown": null}', '{"vocabulary": 3}'])
    def test_characters_damaged(self, tmp_path, content):
        save_gpt(random_model(), tmp_path / "new", CharacterTokenizer("ab"))
        (tmp_path / "new" / "characters.json").write_text(content)
        assert "no vocabulary of characters" in message(read_gpt_tokenizer, tmp_path / "new")

    def test_missing(self, gpt2):
        (gpt2.directory / "merges.txt").unlink()
        assert "no vocab.json with merges.txt" in message(read_gpt_tokenizer, gpt2.directory)

    def test_blank_in_front(self, gpt2):
        path = gpt2.directory / "tokenizer_config.json"
        path.write_text('{"add_prefix_space": true}')
        assert "add_prefix_space is True" in message(read_gpt_tokenizer, gpt2.directory)
        path.write_text('{"eos_token": 7}')
        assert "eos_token is 7" in message(read_gpt_tokenizer, gpt2.directory)

    def json_file(self, gpt2, **fields):
        """Their `tokenizer.json` in place of the two files; `fields` changed in it."""
        for name in ("vocab.json", "merges.txt"):
            (gpt2.directory / name).unlink()
        theirs = {
            "added_tokens": [{"id": 259, "content": END_OF_TEXT}],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
            "model": {
                "type": "BPE",
                "vocab": {token: n for n, token in enumerate(TOKENS[:-1])},
                "merges": [" ".join(pair) for pair in MERGES],
            },
        }
        theirs = {**theirs, **fields}
        (gpt2.directory / "tokenizer.json").write_text(json.dumps(theirs))
        return gpt2.directory

    def test_tokenizer_json(self, gpt2):
        again = read_gpt_tokenizer(self.json_file(gpt2))
        assert again.vocabulary == tuple(TOKENS) and again.merges == tuple(MERGES)

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"model": {"type": "WordPiece"}}, "no byte-level BPE"),
            ({"pre_tokenizer": {"type": "Whitespace"}}, "no byte-level BPE"),
            (
                {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
                "add_prefix_space is True",
            ),
            ({"model": {"type": "BPE", "vocab": {}}}, "damaged"),
            ({"added_tokens": [{"id": 300, "content": "x"}]}, "do not run from 0 up"),
        ],
    )
    def test_tokenizer_json_refused(self, gpt2, fields, expected):
        assert expected in message(read_gpt_tokenizer, self.json_file(gpt2, **fields))


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

    def test_tokenizer(self, parity, written, tmp_path):
        """Their reading of our files, and our reading of theirs."""
        import transformers

        theirs = transformers.AutoTokenizer.from_pretrained(written)
        expected = tokenizer().tokenize(TEXTS).to_list()
        assert theirs(TEXTS)["input_ids"] == expected
        assert theirs.model_max_length == 24 and theirs.eos_token == END_OF_TEXT
        theirs.save_pretrained(tmp_path)
        assert not (tmp_path / "vocab.json").exists()
        (tmp_path / "config.json").write_bytes((written / "config.json").read_bytes())
        assert read_gpt_tokenizer(tmp_path).tokenize(TEXTS).to_list() == expected
