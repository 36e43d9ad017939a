"""config.json, tokenizer_config.json, vocab.txt and tokenizer.json of a BERT."""

import json

import pytest
import tokenizers

from tests.checkpoints.conftest import SMALL
from tests.checkpoints.test_files import message
from tfmodels.checkpoints.hugging_face import (
    read_bert_config,
    read_labels,
    read_tokenizer_options,
    read_vocabulary,
    write_bert_config,
    write_tokenizer,
)
from tfmodels.models.bert import BertConfig

DEFAULTS = {"lowercase": True, "strip_accents": None, "split_cjk": True}


def test_config():
    assert read_bert_config(SMALL) == BertConfig(
        vocabulary_size=120,
        num_layers=2,
        hidden_dim=32,
        num_heads=2,
        feedforward_dim=128,
        max_length=24,
        num_segments=2,
    )


def test_every_field_comes_from_the_file(tmp_path):
    config = BertConfig(
        vocabulary_size=99,
        num_layers=1,
        hidden_dim=8,
        num_heads=4,
        feedforward_dim=17,
        max_length=33,
        num_segments=3,
        activation="relu",
        dropout=0.25,
        attention_dropout=0.3,
        epsilon=1e-6,
        initializer_range=0.5,
    )
    differing = [getattr(config, f) != getattr(BertConfig, f) for f in config.__dataclass_fields__]
    assert all(differing)
    write_bert_config(tmp_path, config, "BertModel")
    assert read_bert_config(tmp_path) == config
    assert read_labels(tmp_path) is None


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("gelu", "gelu"), ("gelu_python", "gelu"), ("swish", "silu"), ("gelu_new", "gelu_tanh")],
)
def test_activation(checkpoint, theirs, ours):
    checkpoint.set_config(hidden_act=theirs)
    assert read_bert_config(checkpoint.directory).activation == ours


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model_type": "roberta"}, "model_type is 'roberta'"),
        ({"model_type": None}, "model_type is None"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"is_decoder": True}, "is_decoder is True"),
        ({"add_cross_attention": True}, "add_cross_attention is True"),
        ({"hidden_act": "mish"}, "hidden_act is 'mish'"),
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"hidden_size": "32"}, "hidden_size is '32'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"type_vocab_size": True}, "type_vocab_size is True"),
        ({"layer_norm_eps": -1.0}, "layer_norm_eps is -1.0"),
        ({"num_attention_heads": 5}, "num_attention_heads 5 does not divide hidden_size 32"),
    ],
)
def test_config_refused(checkpoint, fields, expected):
    checkpoint.set_config(**fields)
    text = message(read_bert_config, checkpoint.directory)
    assert expected in text and "config.json" in text


def test_no_config(tmp_path):
    assert f"{tmp_path}/config.json: cannot be read" in message(read_bert_config, tmp_path)


def test_activation_without_a_name(tmp_path):
    config = BertConfig(activation="softsign")
    assert "'softsign' has no name" in message(write_bert_config, tmp_path, config, "BertModel")


def test_labels(checkpoint):
    assert read_labels(SMALL) == ["bad", "fair", "good"]
    for wrong in ({"1": "a", "2": "b"}, ["a"]):
        checkpoint.set_config(id2label=wrong)
        assert "id2label" in message(read_labels, checkpoint.directory)


class TestTokenizer:
    def test_defaults(self):
        assert read_tokenizer_options(SMALL) == DEFAULTS

    def test_read(self, tmp_path):
        (tmp_path / "tokenizer_config.json").write_text(
            '{"do_lower_case": false, "strip_accents": true, "tokenize_chinese_chars": false}'
        )
        assert read_tokenizer_options(tmp_path) == {
            "lowercase": False,
            "strip_accents": True,
            "split_cjk": False,
        }

    @pytest.mark.parametrize("field", ["do_lower_case", "strip_accents", "tokenize_chinese_chars"])
    def test_refused(self, tmp_path, field):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({field: "yes"}))
        assert f"{field} is 'yes'" in message(read_tokenizer_options, tmp_path)

    @pytest.mark.parametrize("options", [{}, {"lowercase": False, "strip_accents": False}])
    def test_written_and_read(self, tmp_path, options):
        tokens = ["[PAD]", "\u2028", "é", "#"]
        write_tokenizer(tmp_path, tokens, options, 12)
        assert read_vocabulary(tmp_path) == tokens
        assert read_tokenizer_options(tmp_path) == {**DEFAULTS, **options}

    def test_unknown_option(self, tmp_path):
        assert "'lower'" in message(write_tokenizer, tmp_path, [], {"lower": True}, 12)

    def test_token_twice(self, tmp_path):
        assert "a token twice" in message(write_tokenizer, tmp_path, ["x", "x"], {}, 12)

    def test_token_of_two_lines(self, tmp_path):
        assert "token 1, 'a\\nb'" in message(write_tokenizer, tmp_path, ["x", "a\nb"], {}, 12)


class TestVocabulary:
    def test_of_windows(self, tmp_path):
        (tmp_path / "vocab.txt").write_bytes(b"[PAD]\r\na\r\n")
        assert read_vocabulary(tmp_path) == ["[PAD]", "a"]

    def test_from_tokenizer_json(self, tmp_path):
        vocab = {"b": 1, "a": 0, "c": 2}
        model = {"model": {"type": "WordPiece", "vocab": vocab}}
        (tmp_path / "tokenizer.json").write_text(json.dumps(model))
        assert read_vocabulary(tmp_path) == ["a", "b", "c"]

    @pytest.mark.parametrize(
        ("model", "expected"),
        [
            ({"type": "BPE", "vocab": {"a": 0}}, "no WordPiece vocabulary"),
            (None, "no WordPiece vocabulary"),
            ({"type": "WordPiece", "vocab": {"a": 0, "b": 2}}, "do not run from 0 up"),
        ],
    )
    def test_tokenizer_json_refused(self, tmp_path, model, expected):
        (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
        assert expected in message(read_vocabulary, tmp_path)

    def test_missing(self):
        assert "has no vocab.txt" in message(read_vocabulary, SMALL)

    def test_not_utf8(self, tmp_path):
        (tmp_path / "vocab.txt").write_bytes(b"\xff\n")
        assert "not UTF-8" in message(read_vocabulary, tmp_path)


def test_tokenizer_json_alone_says_how_text_is_split(tmp_path):
    """As `tokenizers` writes it: without `tokenizer_config.json` it decides."""
    tokenizer = tokenizers.BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    expected = {"lowercase": False, "strip_accents": False, "split_cjk": True}
    assert read_tokenizer_options(tmp_path) == expected
