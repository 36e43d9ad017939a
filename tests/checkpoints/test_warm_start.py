"""A `Transformer` that starts from the encoder of a reference BERT."""

import keras
import numpy as np
import pytest

from tests.checkpoints.conftest import OTHER, SMALL, message
from tfmodels.checkpoints.bart import load_bart, write_bart
from tfmodels.checkpoints.bert import load_bert
from tfmodels.checkpoints.tokenizers import read_tokenizer
from tfmodels.checkpoints.warm_start import load_encoder_weights, read_encoder_config
from tfmodels.models.transformer import Transformer, TransformerConfig
from tfmodels.text.wordpiece import WordPieceTokenizer

IDS = np.arange(10, dtype="int32").reshape(2, 5)
BATCH = {"token_ids": IDS, "padding_mask": np.arange(5) < [[5], [3]]}


def load_from_encoder(source, **fields):
    model = Transformer(read_encoder_config(source, **fields))
    return model, load_encoder_weights(model, source)


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("source", [SMALL, OTHER], ids=["2x32", "3x48"])
def test_the_encoder_computes_what_it_did(source):
    model, _ = load_from_encoder(source)
    expected = array(load_bert(source)[0](BATCH))
    np.testing.assert_allclose(array(model.encode(BATCH)), expected, atol=1e-5)


def test_the_decoder_has_the_same_weights():
    """Without its cross-attention it is that encoder, each token looking back only."""
    model, report = load_from_encoder(OTHER, num_decoder_layers=2, dropout=0.3)
    assert model.config.dropout == 0.3
    assert [path.split("/")[-1] for path in report.new] == ["output_bias"]
    encoder, bert = load_bert(OTHER)
    assert report.loaded == bert.loaded and report.ignored == bert.ignored
    x = encoder.embeddings(IDS)
    np.testing.assert_allclose(array(model._embed_target(IDS)), array(x), atol=1e-6)
    for block, source in zip(model.decoder_blocks, (0, 1), strict=True):
        x = keras.random.normal((2, 5, 48), seed=source)
        source = encoder.blocks[source]
        cross = block.cross_attention
        joined = [np.concatenate(parts, axis=-1) for parts in zip(
            cross.query.get_weights(), cross.key_value.get_weights(), strict=True)]  # fmt: skip
        found = [*joined, *cross.output_projection.get_weights()]
        found += block.cross_attention_norm.get_weights()
        started = source.attention.get_weights() + source.attention_norm.get_weights()
        for actual, expected in zip(found, started, strict=True):
            np.testing.assert_array_equal(actual, expected)
        block.cross_attention.call = lambda query, **rest: 0 * query
        block.cross_attention_norm.call = lambda x, residual, training: residual
        expected = array(source(x))
        actual = array(block(x, encoded=x))
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_written_and_read(tmp_path):
    """BERT's epsilon is not BART's: `config.json` has our fields, and the tokenizer is BERT's."""
    model, _ = load_from_encoder(SMALL)
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"], lowercase=False)
    write_bart(model, tmp_path, tokenizer, {"start_id": 2, "stop_ids": (3,), "pad_id": 0})
    again, _ = load_bart(tmp_path)
    batch = {**BATCH, "decoder_token_ids": IDS}
    np.testing.assert_array_equal(array(again(batch)), array(model(batch)))
    assert read_tokenizer(tmp_path).get_config() == tokenizer.get_config()


@pytest.mark.parametrize(
    "fields", [{"hidden_dim": 64}, {"norm_first": True}, {"positions": "sinusoidal"}]
)
def test_another_shape_is_refused(fields):
    assert f"the model has {next(iter(fields.values()))!r}" in message(
        lambda source: load_from_encoder(source, **fields), SMALL
    )


def test_nothing_is_assigned_to_another_shape():
    model = Transformer(
        TransformerConfig(vocabulary_size=300, hidden_dim=8, num_heads=2, feedforward_dim=8)
    )
    assert "make the model from the config" in message(load_encoder_weights, model, SMALL)
