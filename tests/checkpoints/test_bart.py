"""What only the files of a BART have."""

import dataclasses
import json

import numpy as np
import pytest

from tests.checkpoints.conftest import BART_TOKENS, FAMILIES, MERGES, Checkpoint, message
from tfmodels import Seq2SeqLM
from tfmodels.checkpoints.bart import (
    load_bart,
    read_bart_config,
    read_bart_generation,
    write_bart,
)
from tfmodels.checkpoints.tokenizers import read_tokenizer
from tfmodels.models.transformer import PAPER, TransformerConfig
from tfmodels.text.bpe import BytePairTokenizer

CASE = FAMILIES["bart"]
NO_BART = dataclasses.replace(CASE.config, **PAPER, norm_first=True)
GENERATION = {
    "start_id": 2, "bos_id": 0, "stop_ids": (2,), "pad_id": 1, "forced_first_id": 0,
    "forced_last_id": 2, "num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram": 3,
    "min_new_tokens": 5, "max_new_tokens": 20,
}  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bart")
    write_bart(CASE.random(), directory, CASE.tokenizer, GENERATION)
    return directory


@pytest.fixture
def bart(written, tmp_path):
    """A copy that a test may change."""
    return Checkpoint(written, tmp_path / "copy")


class TestNoBart:
    """A `Transformer` that is not a BART."""

    def test_what_is_written_is_read(self, tmp_path):
        write_bart(CASE.random(NO_BART), tmp_path, CASE.tokenizer, GENERATION)
        model, report = load_bart(tmp_path)
        assert model.config == NO_BART
        assert not report.new and not report.ignored
        np.testing.assert_array_equal(CASE.outputs(model), CASE.outputs(CASE.random(NO_BART)))
        assert read_bart_generation(tmp_path) == GENERATION

    def test_config(self, tmp_path):
        write_bart(CASE.random(NO_BART), tmp_path, CASE.tokenizer)
        path = tmp_path / "config.json"
        fields = json.loads(path.read_text())
        path.write_text(json.dumps(fields | {"target_vocabulary_size": None}))
        assert read_bart_config(tmp_path) == NO_BART  # as version 0.1 wrote it
        path.write_text(json.dumps(fields | {"target_vocabulary_size": 7}))
        assert "target_vocabulary_size is 7" in message(load_bart, tmp_path)
        path.write_text(json.dumps(fields | {"num_heads": 5}))
        assert "num_heads 5 does not divide" in message(load_bart, tmp_path)
        del fields["positions"]
        path.write_text(json.dumps(fields))
        assert "positions is missing" in message(load_bart, tmp_path)


class TestForms:
    """The same weights as others write them."""

    def test_without_prefix_with_constants_heads_and_tied_copies(self, bart):
        tensors = {name.removeprefix("model."): x for name, x in bart.tensors.items()}
        copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
        more = {name: tensors["shared.weight"].copy() for name in copies}
        more["encoder.version"] = np.zeros(1, np.float32)
        more["classification_head.dense.bias"] = np.zeros(32, np.float32)
        bart.write({**tensors, **more})
        model, report = load_bart(bart.directory)
        assert sorted(report.ignored) == sorted(more)
        np.testing.assert_array_equal(CASE.outputs(model), CASE.outputs(CASE.random()))

    def test_another_table_of_the_decoder(self, bart):
        name = "model.decoder.embed_tokens.weight"
        bart.write({**bart.tensors, name: bart.tensors["model.shared.weight"] + 1.0})
        assert f"{name} differs from model.shared.weight" in message(load_bart, bart.directory)

    def test_without_bias(self, bart):
        bart.without("final_logits_bias")
        model, report = load_bart(bart.directory)
        assert [path.rpartition("/")[2] for path in report.new] == ["output_bias"]
        outputs = CASE.outputs(model) + bart.tensors["final_logits_bias"]
        np.testing.assert_allclose(outputs, CASE.outputs(CASE.random()), atol=1e-5)

    def test_positions_without_the_unread_rows(self, bart):
        name = "encoder.embed_positions.weight"
        bart.write({**bart.tensors, f"model.{name}": np.zeros((24, 32), np.float32)})
        assert f"{name} 24x32 for 26x32;" in message(load_bart, bart.directory)

    def test_scale_of_embeddings(self, bart):
        model = CASE.model(dataclasses.replace(CASE.config, scale_embeddings=False))
        text = message(CASE.load_weights, model, bart.directory)
        assert "scale_embeddings=True, the model has False" in text

    @pytest.mark.parametrize(
        ("field", "expected"),
        [
            ({"normalize_before": True}, "normalize_before is True"),
            ({"static_position_embeddings": True}, "static_position_embeddings is True"),
            ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
            ({"decoder_attention_heads": 2}, "decoder_attention_heads is 2"),
            ({"decoder_ffn_dim": 7}, "decoder_ffn_dim is 7; give a checkpoint where it is 48"),
        ],
    )
    def test_another_computation(self, bart, field, expected):
        bart.set_config(**field)
        assert expected in message(load_bart, bart.directory)


def test_large(tmp_path):
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


class TestTask:
    """A published BART as a task, with random weights; answers as of `transformers`."""

    TEXTS = ["the the th", "a b the", "The the the the the 1"]

    @pytest.fixture
    def large_cnn(self, tmp_path):
        """Its `<mask>` has no embedding, as that of `facebook/bart-large-cnn`."""
        config = dataclasses.replace(CASE.config, vocabulary_size=len(BART_TOKENS) - 1)
        directory = tmp_path / "large_cnn"
        directory.mkdir()
        tokenizer = BytePairTokenizer(BART_TOKENS[:-1], MERGES, end_of_text="</s>")
        write_bart(CASE.random(config), directory, tokenizer)
        ids = {token: number for number, token in enumerate(BART_TOKENS)}
        (directory / "vocab.json").write_text(json.dumps(ids))
        return directory

    @pytest.mark.parametrize(
        "search",
        [
            {},
            {"forced_bos_token_id": 0},
            {"num_beams": 2, "no_repeat_ngram_size": 2, "max_length": 12, "min_length": 3},
        ],
    )
    def test_answers(self, parity, large_cnn, search):
        import transformers

        path = large_cnn / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | search))
        config = search | {"decoder_start_token_id": 2, "eos_token_id": 2, "pad_token_id": 1}
        (large_cnn / "generation_config.json").write_text(json.dumps(config))
        peer = transformers.BartForConditionalGeneration.from_pretrained(large_cnn)
        tokenizer = transformers.AutoTokenizer.from_pretrained(large_cnn)
        assert len(tokenizer) == peer.config.vocab_size + 1
        length = {} if "max_length" in search else {"max_new_tokens": 23}
        task = Seq2SeqLM.from_preset(large_cnn)
        for text, answer in zip(self.TEXTS, task.generate(self.TEXTS), strict=True):
            found = peer.generate(**tokenizer(text, return_tensors="pt"), **length)[0]
            options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
            # What is no UTF-8 is shown alike, but counted otherwise.
            expected = tokenizer.decode(found, **options).strip().replace("\ufffd", "")
            assert answer.replace("\ufffd", "") == expected

    def test_saved_it_has_no_mask(self, large_cnn, tmp_path):
        task = Seq2SeqLM.from_preset(large_cnn)
        assert task.tokenizer.vocabulary_size == task.model.config.vocabulary_size
        task.save(tmp_path / "saved")
        options = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())
        assert options["tokenizer_class"] == "BartTokenizer"
        assert Seq2SeqLM.load(tmp_path / "saved").generate(["the"]) == task.generate(["the"])

    def test_another_token_without_embedding(self, large_cnn):
        path = large_cnn / "config.json"
        fields = json.loads(path.read_text())
        path.write_text(json.dumps(fields | {"vocab_size": fields["vocab_size"] - 1}))
        tokenizer = read_tokenizer(large_cnn)  # the last is made by a merge
        assert tokenizer.vocabulary_size == len(BART_TOKENS)

    def test_few_positions(self, large_cnn):
        task = Seq2SeqLM.from_preset(large_cnn)
        assert (task.max_length, task.max_target_length) == (24, 23)
        assert "max_length 25: the model has positions for 24" in message(
            Seq2SeqLM.from_preset, large_cnn, max_length=25
        )


class TestGeneration:
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
        generation = read_bart_generation(bart.directory)
        assert (generation["min_new_tokens"], generation["max_new_tokens"]) == (55, 141)
        assert (generation["forced_first_id"], generation["stop_ids"]) == (0, (2, 5))
        assert generation["length_penalty"] == 2.0 and "num_beams" not in generation

    def test_new_tokens_rule(self, bart):
        """As in `transformers`: they are counted without the start token."""
        path = bart.directory / "generation_config.json"
        path.write_text(
            '{"max_length": 20, "max_new_tokens": 128, "min_new_tokens": 3, '
            '"repetition_penalty": 1.3}'
        )
        generation = read_bart_generation(bart.directory)
        assert (generation["min_new_tokens"], generation["max_new_tokens"]) == (3, 128)
        assert generation["repetition_penalty"] == 1.3

    def test_refused(self, bart):
        bart.set_config(model_type="bart")
        path = bart.directory / "generation_config.json"
        path.write_text('{"forced_bos_token_id": "<s>"}')
        text = message(read_bart_generation, bart.directory)
        assert "forced_bos_token_id is '<s>'; it must be a number" in text


class TestLive:
    """Our files, read by `transformers`."""

    def test_generation(self, parity, written):
        import transformers

        model = transformers.BartForConditionalGeneration.from_pretrained(written)
        config = model.generation_config
        assert (config.decoder_start_token_id, config.forced_bos_token_id) == (2, 0)
        assert (config.num_beams, config.no_repeat_ngram_size, config.length_penalty) == (4, 3, 2)
        assert (config.min_length, config.max_length, config.pad_token_id) == (6, 21, 1)
        assert model.config.decoder_start_token_id == 2
