"""Our BART against fresh random models of `transformers`, and files that do not fit."""

import json

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.checkpoints.conftest import SMALL, Checkpoint
from tests.checkpoints.test_files import message
from tfmodels.checkpoints.bart import (
    bart_weights,
    load_bart,
    load_bart_weights,
    read_bart_config,
    read_bart_generation,
    read_bart_tokenizer,
    save_bart,
    write_bart,
)
from tfmodels.models.transformer import PAPER, Transformer, TransformerConfig
from tfmodels.text.bpe import BytePairTokenizer, printable_bytes
from tfmodels.text.character_tokens import CharacterTokenizer
from tfmodels.text.wordpiece import WordPieceTokenizer

# States and logits are about 1. Largest difference seen in float32: 6e-6.
TOLERANCE = 1e-4
CONFIG = TransformerConfig(
    vocabulary_size=300, num_encoder_layers=2, num_decoder_layers=1, hidden_dim=32, num_heads=4,
    feedforward_dim=48, max_length=24, scale_embeddings=True, activation="relu", dropout=0.2,
)  # fmt: skip
OURS = TransformerConfig(**{**vars(CONFIG), **PAPER, "norm_first": True})
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the")]
TOKENS = ["<s>", "<pad>", "</s>", "<unk>", *printable_bytes(), "th", "the", "Ġthe", "<mask>"]
TEXTS = ["the other", "é ...", "a</s>b"]
BATCH = {
    "token_ids": np.arange(12, dtype="int32").reshape(2, 6),
    "decoder_token_ids": np.arange(20, 30, dtype="int32").reshape(2, 5),
}
GENERATION = {
    "start_id": 2, "bos_id": 0, "stop_ids": (2,), "pad_id": 1, "forced_first_id": 0,
    "forced_last_id": 2, "num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram": 3,
    "min_new_tokens": 5, "max_new_tokens": 20,
}  # fmt: skip


def tokenizer():
    return BytePairTokenizer(TOKENS, MERGES, end_of_text="</s>")


def random_model(config=CONFIG, **settings):
    """A `Transformer` with no weight left at 0 or 1."""
    keras.utils.set_random_seed(0)
    model = Transformer(config, **settings)
    model.build()
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + 0.2 * random.normal(size=weight.shape))
    return model


def logits(model):
    return keras.ops.convert_to_numpy(model(BATCH))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bart") / "written"
    save_bart(random_model(), directory, tokenizer(), GENERATION)
    return directory


@pytest.fixture
def bart(written, tmp_path):
    """A copy that a test may change."""
    return Checkpoint(written, tmp_path / "copy")


class TestRoundTrip:
    def test_what_is_written_is_read(self, written):
        model, report = load_bart(written)
        assert model.config == CONFIG
        assert not report.new and not report.ignored
        # bias, table; positions and norm of each stack; the blocks
        assert len(report.loaded) == 2 + 2 * 3 + 2 * 16 + 1 * 26
        np.testing.assert_array_equal(logits(model), logits(random_model()))

    @pytest.mark.parametrize(
        "fields", [{}, {"target_vocabulary_size": 40}], ids=["shared", "two_vocabularies"]
    )
    def test_what_is_no_bart(self, tmp_path, fields):
        config = TransformerConfig(**{**vars(OURS), **fields})
        write_bart(random_model(config), tmp_path, tokenizer(), GENERATION)
        model, report = load_bart(tmp_path)
        assert model.config == config
        assert not report.new and not report.ignored
        np.testing.assert_array_equal(logits(model), logits(random_model(config)))
        assert read_bart_generation(tmp_path) == GENERATION

    @pytest.mark.parametrize("config", [CONFIG, OURS], ids=["bart", "transformer"])
    def test_every_weight_has_one_name(self, config):
        model = random_model(config)
        assert sorted(map(id, bart_weights(model).values())) == sorted(map(id, model.weights))

    def test_dtype_policies(self, written):
        mixed, _ = load_bart(written, dtype="mixed_bfloat16")
        assert {weight.dtype for weight in mixed.weights} == {"float32"}
        half, _ = load_bart(written, dtype="bfloat16")
        for weight, exact in zip(half.weights, mixed.weights, strict=True):
            expected = np.asarray(exact).astype(weight.dtype)
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight.value), expected)
        assert {weight.dtype for weight in half.weights} == {"bfloat16", "float32"}

    def test_settings_of_ours(self, tmp_path):
        write_bart(random_model(), tmp_path, tokenizer(), ours={"seed": 3})
        assert json.loads((tmp_path / "config.json").read_text())["tfmodels"] == {"seed": 3}
        load_bart(tmp_path)


class TestForms:
    """The same weights as others write them."""

    def same(self, checkpoint):
        model, report = load_bart(checkpoint.directory)
        np.testing.assert_array_equal(logits(model), logits(random_model()))
        return report

    def test_shards(self, bart):
        bart.write_shards()
        self.same(bart)

    def test_without_prefix_with_constants_heads_and_tied_copies(self, bart):
        tensors = {name.removeprefix("model."): x for name, x in bart.tensors.items()}
        copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
        more = {name: tensors["shared.weight"].copy() for name in copies}
        more["encoder.version"] = np.zeros(1, np.float32)
        more["classification_head.dense.bias"] = np.zeros(32, np.float32)
        bart.write({**tensors, **more})
        assert sorted(self.same(bart).ignored) == sorted(more)

    @pytest.mark.parametrize("name", ["model.encoder.embed_tokens.weight", "lm_head.weight"])
    def test_table_under_another_name(self, bart, name):
        tensors = dict(bart.tensors)
        tensors[name] = tensors.pop("model.shared.weight")
        bart.write(tensors)
        assert name in self.same(bart).loaded

    def test_without_bias(self, bart):
        tensors = dict(bart.tensors)
        bias = tensors.pop("final_logits_bias")
        bart.write(tensors)
        model, report = load_bart(bart.directory)
        assert [path.rpartition("/")[2] for path in report.new] == ["output_bias"]
        np.testing.assert_allclose(logits(model) + bias, logits(random_model()), atol=1e-5)

    def test_large(self, tmp_path):
        """The layout of `facebook/bart-large`'s config.json."""
        fields = {
            "vocab_size": 50265, "max_position_embeddings": 1024, "d_model": 1024,
            "encoder_layers": 12, "encoder_ffn_dim": 4096, "encoder_attention_heads": 16,
            "decoder_layers": 12, "decoder_ffn_dim": 4096, "decoder_attention_heads": 16,
            "normalize_before": False, "add_final_layer_norm": False, "model_type": "bart",
            "attention_dropout": 0.1, "init_std": 0.02, "scale_embedding": False,
        }  # fmt: skip
        (tmp_path / "config.json").write_text(json.dumps(fields))
        expected = TransformerConfig.of_size("large", attention_dropout=0.1)
        assert read_bart_config(tmp_path) == expected


class TestDoesNotFit:
    def test_all_problems_on_one_line(self, bart):
        tensors = dict(bart.tensors)
        del tensors["model.decoder.layers.0.encoder_attn.k_proj.bias"]
        tensors["model.encoder.embed_positions.weight"] = np.zeros((24, 32), np.float32)
        tensors["model.encoder.layers.2.fc1.bias"] = np.zeros(48, np.float32)
        bart.write(tensors)
        text = message(load_bart, bart.directory)
        assert "1 missing: decoder.layers.0.encoder_attn.k_proj.bias;" in text
        assert "1 unexpected: encoder.layers.2.fc1.bias;" in text
        assert "1 of another shape: encoder.embed_positions.weight 24x32 for 26x32;" in text
        assert "a BART whose config.json" in text

    @pytest.mark.parametrize("name", ["lm_head.weight", "model.decoder.embed_tokens.weight"])
    def test_table_that_is_not_tied(self, bart, name):
        bart.write({**bart.tensors, name: bart.tensors["model.shared.weight"] + 1.0})
        text = message(load_bart, bart.directory)
        assert f"{name} differs from model.shared.weight" in text
        assert text.endswith("give a checkpoint with tied embeddings")

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"model_type": "mbart"}, "model_type is 'mbart'"),
            ({"normalize_before": True}, "normalize_before is True"),
            ({"static_position_embeddings": True}, "static_position_embeddings is True"),
            ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
            ({"decoder_attention_heads": 2}, "decoder_attention_heads is 2"),
            ({"decoder_ffn_dim": 7}, "decoder_ffn_dim is 7; give a checkpoint where it is 48"),
            ({"activation_function": "sinc"}, "activation_function is 'sinc'"),
            ({"encoder_attention_heads": 5}, "encoder_attention_heads 5 does not divide d_model"),
            ({"d_model": "32"}, "d_model is '32'"),
            ({"decoder_layers": None}, "decoder_layers is missing"),
        ],
    )
    def test_config(self, bart, fields, expected):
        bart.set_config(**fields)
        assert expected in message(load_bart, bart.directory)

    def test_config_of_ours(self, tmp_path):
        write_bart(random_model(OURS), tmp_path, tokenizer())
        path = tmp_path / "config.json"
        theirs = json.loads(path.read_text())
        path.write_text(json.dumps(theirs | {"num_heads": 5}))
        assert "num_heads 5 does not divide" in message(load_bart, tmp_path)
        del theirs["positions"]
        path.write_text(json.dumps(theirs))
        assert "positions is missing" in message(load_bart, tmp_path)

    @pytest.mark.parametrize(
        "field",
        [{"num_heads": 2}, {"activation": "gelu"}, {"epsilon": 1e-6}, {"scale_embeddings": False}],
    )
    def test_settings_that_shapes_do_not_tell(self, written, field):
        model = Transformer(TransformerConfig(**{**vars(CONFIG), **field}))
        text = message(load_bart_weights, model, written)
        assert f"the model has {next(iter(field.values()))!r}" in text

    def test_a_bert(self):
        assert "model_type is 'bert'" in message(load_bart, SMALL)

    def test_nothing_is_assigned(self, bart):
        bart.write({n: x for n, x in bart.tensors.items() if "encoder_attn_layer_norm" not in n})
        model = Transformer(CONFIG)
        model.build()
        before = model.get_weights()
        message(load_bart_weights, model, bart.directory)
        for one, other in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


class TestSave:
    def test_refused(self, tmp_path):
        where = tmp_path / "new"
        small = random_model(
            TransformerConfig(
                vocabulary_size=200,
                target_vocabulary_size=None,
                num_encoder_layers=1,
                num_decoder_layers=1,
                hidden_dim=8,
                num_heads=2,
                feedforward_dim=8,
                max_length=8,
            )
        )
        assert "264 tokens and the model 200" in message(save_bart, small, where, tokenizer())
        other = random_model(
            TransformerConfig(
                vocabulary_size=300,
                target_vocabulary_size=None,
                num_encoder_layers=1,
                num_decoder_layers=1,
                hidden_dim=8,
                num_heads=2,
                feedforward_dim=8,
                max_length=8,
                activation="elu",
            )
        )
        assert "activation 'elu' has no name" in message(save_bart, other, where, tokenizer())
        text = message(save_bart, random_model(OURS), where, tokenizer())
        assert "a Transformer with norm_first=True has no class in transformers" in text
        assert list(tmp_path.iterdir()) == []


class TestGeneration:
    def test_what_is_written_is_read(self, written):
        assert read_bart_generation(written) == GENERATION

    def test_defaults_of_bart(self, tmp_path):
        (tmp_path / "config.json").write_text('{"model_type": "bart"}')
        assert read_bart_generation(tmp_path) == {
            "start_id": 2, "bos_id": 0, "stop_ids": (2,), "pad_id": 1, "forced_last_id": 2
        }  # fmt: skip

    def test_fields_in_config_json(self, bart):
        """As in files of old: counted with the start token, `force_bos_...` a bool."""
        (bart.directory / "generation_config.json").unlink()
        bart.set_config(
            min_length=56, max_length=142, length_penalty=2.0, forced_bos_token_id=None,
            force_bos_token_to_be_generated=True, eos_token_id=[2, 5],
        )  # fmt: skip
        found = read_bart_generation(bart.directory)
        assert (found["min_new_tokens"], found["max_new_tokens"]) == (55, 141)
        assert (found["forced_first_id"], found["stop_ids"]) == (0, (2, 5))
        assert found["length_penalty"] == 2.0 and "num_beams" not in found

    def test_new_tokens_rule(self, bart):
        """As in `transformers`: they are counted without the start token."""
        path = bart.directory / "generation_config.json"
        path.write_text(
            '{"max_length": 20, "max_new_tokens": 128, "min_new_tokens": 3, '
            '"repetition_penalty": 1.3}'
        )
        found = read_bart_generation(bart.directory)
        assert (found["min_new_tokens"], found["max_new_tokens"]) == (3, 128)
        assert found["repetition_penalty"] == 1.3

    def test_refused(self, bart):
        bart.set_config(model_type="bart")
        path = bart.directory / "generation_config.json"
        path.write_text('{"forced_bos_token_id": "<s>"}')
        text = message(read_bart_generation, bart.directory)
        assert "forced_bos_token_id is '<s>'; it must be a number" in text


class TestTokenizer:
    def test_byte_pairs(self, written):
        again = read_bart_tokenizer(written)
        assert again.vocabulary == tuple(TOKENS) and again.merges == tuple(MERGES)
        assert again.end_id == 2
        assert again.tokenize(TEXTS).to_list() == tokenizer().tokenize(TEXTS).to_list()

    def test_without_tokenizer_config(self, bart):
        (bart.directory / "tokenizer_config.json").unlink()
        assert read_bart_tokenizer(bart.directory).end_id == 2

    @pytest.mark.parametrize(
        "other",
        [
            CharacterTokenizer([*"ab\nĠ", "<|unk|>"]),
            WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"], lowercase=False),
        ],
        ids=["characters", "word_pieces"],
    )
    def test_others(self, tmp_path, other):
        save_bart(random_model(), tmp_path / "new", other)
        again = read_bart_tokenizer(tmp_path / "new")
        assert type(again) is type(other)
        assert again.vocabulary == other.vocabulary
        assert again.get_config() == other.get_config()


class TestLive:
    """Fresh random models; both directions."""

    @pytest.mark.parametrize(
        ("shape", "fields"),
        [
            ((2, 2, 64, 2, 96), {"scale_embedding": True}),
            ((3, 1, 24, 3, 40), {"activation_function": "relu"}),
        ],
    )
    def test_both_ways(self, parity, tmp_path, shape, fields):
        reference = parity.random_bart(*shape, **fields)
        assert parity.compare_bart("random", reference, tmp_path) <= TOLERANCE
        before = load_file(tmp_path / "reference" / "model.safetensors")
        after = load_file(tmp_path / "back" / "model.safetensors")
        assert before.keys() == after.keys()
        for name, tensor in before.items():
            start = 2 if "embed_positions" in name else 0  # rows that nothing reads
            np.testing.assert_array_equal(after[name][start:], tensor[start:])

    @pytest.mark.parametrize("form", ["sharded", "model alone"])
    def test_as_transformers_writes_it(self, parity, tmp_path, form):
        reference = parity.random_bart(2, 1, 24, 3, 40)
        if form == "sharded":
            reference.save_pretrained(tmp_path, max_shard_size="20KB")
            assert not (tmp_path / "model.safetensors").exists()
        else:
            reference.final_logits_bias.zero_()
            reference.model.save_pretrained(tmp_path)
        model, _ = load_bart(tmp_path)
        batch = parity.bart_batch(300)
        found, expected = (
            parity.our_bart_outputs(model, batch),
            parity.bart_outputs(reference, batch),
        )
        assert max(parity.largest_differences(expected, found).values()) <= TOLERANCE

    def test_generation(self, parity, written):
        """Their reading of our files."""
        import transformers

        theirs = transformers.BartForConditionalGeneration.from_pretrained(written)
        found = theirs.generation_config
        assert (found.decoder_start_token_id, found.forced_bos_token_id) == (2, 0)
        assert (found.num_beams, found.no_repeat_ngram_size, found.length_penalty) == (4, 3, 2.0)
        assert (found.min_length, found.max_length, found.pad_token_id) == (6, 21, 1)
        assert theirs.config.decoder_start_token_id == 2

    def test_tokenizer(self, parity, written, tmp_path):
        """Their reading of our files, and our reading of theirs."""
        import transformers

        theirs = transformers.AutoTokenizer.from_pretrained(written)
        expected = tokenizer().tokenize(TEXTS).to_list()
        assert theirs(TEXTS)["input_ids"] == [[0, *ids, 2] for ids in expected]
        assert theirs.model_max_length == 24 and theirs.mask_token == "<mask>"
        theirs.save_pretrained(tmp_path)
        assert not (tmp_path / "vocab.json").exists()
        (tmp_path / "config.json").write_bytes((written / "config.json").read_bytes())
        again = read_bart_tokenizer(tmp_path)
        assert again.tokenize(TEXTS).to_list() == expected and again.end_id == 2
