"""The contract of `tests/layers/contract.py`, over every model, and their `.keras` files."""

import functools
import warnings

import keras
import numpy as np
import pytest

from tests.layers.contract import CLAUSES, B, Case, H, S, integers, real_tokens
from tfmodels.models.baselines import ARCHITECTURES, BaselineConfig, BaselineEncoder
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.classifier import Classifier
from tfmodels.models.gpt import Gpt, GptConfig
from tfmodels.models.pretrainer import BertPretrainer
from tfmodels.models.transformer import PAPER, Transformer, TransformerConfig

SHAPE = {
    "vocabulary_size": 11,
    "hidden_dim": H,
    "num_heads": 2,
    "feedforward_dim": 16,
    "max_length": 9,
}


def of_config(model, config, **fields):
    def make(dropout=0.0, dtype=None):
        rates = {"dropout": dropout, "attention_dropout": dropout}
        return model(config(**SHAPE, **fields, **rates), dtype=dtype)

    return make


bert = of_config(Bert, BertConfig, num_layers=2)
gpt = of_config(Gpt, GptConfig, num_layers=2)
transformer = functools.partial(
    of_config, Transformer, TransformerConfig, num_encoder_layers=2, num_decoder_layers=2
)


def classifier(pooling):
    def make(dropout=0.0, dtype=None):
        return Classifier(bert(dropout, dtype), num_classes=3, dropout=dropout, pooling=pooling)

    return make


def baseline(architecture):
    def make(dropout=0.0, dtype=None):
        config = BaselineConfig(
            architecture=architecture, vocabulary_size=11, embedding_dim=H, max_length=9,
            dropout=dropout,
        )  # fmt: skip
        encoder = BaselineEncoder(config, dtype=dtype)
        return Classifier(encoder, num_classes=3, dropout=dropout, pooling=config.pooling)

    return make


def pretrainer(dropout=0.0, dtype=None, **fields):
    return BertPretrainer(bert(dropout, dtype), **fields)


BATCH = {
    "token_ids": integers(11, B, S),
    "segment_ids": integers(2, B, S, seed=1),
    "padding_mask": real_tokens(5, 3, 1),
}
FIELDS = {
    "inputs": BATCH,
    "sequence_axes": dict.fromkeys(BATCH, (1,)),
    "dropout": {"dropout": 0.3},
    "no_gradient": ("key/bias",),
    "takes_batch": True,
}
SOURCE_AND_TARGET = {
    "token_ids": BATCH["token_ids"],
    "padding_mask": BATCH["padding_mask"],
    "decoder_token_ids": integers(11, B, S, seed=2),
}
CASES = {
    "bert": Case(bert, custom_objects=(Bert,), **FIELDS),
    "gpt": Case(
        gpt,
        custom_objects=(Gpt,),
        output_dtype="float32",
        **{**FIELDS, "inputs": {name: BATCH[name] for name in ("token_ids", "padding_mask")}},
    ),
    **{
        name: Case(
            transformer(**fields),
            custom_objects=(Transformer,),
            output_dtype="float32",
            **{
                **FIELDS,
                "inputs": SOURCE_AND_TARGET,
                "sequence_axes": dict.fromkeys(SOURCE_AND_TARGET, (1,)),
            },
        )
        for name, fields in {
            "bart": {},
            "transformer": {**PAPER, "norm_first": True},
        }.items()
    },
    **{
        f"classifier_{pooling}": Case(
            classifier(pooling),
            custom_objects=(Bert, Classifier),
            output_dtype="float32",
            **FIELDS,
        )
        for pooling in ("first", "mean", "max")
    },
    **{
        architecture: Case(
            baseline(architecture),
            custom_objects=(BaselineEncoder, Classifier),
            output_dtype="float32",
            **{**FIELDS, "inputs": {name: BATCH[name] for name in ("token_ids", "padding_mask")}},
        )
        for architecture in ARCHITECTURES
    },
    # Each output of the pretrainer; the other head gets no gradient from it.
    "masked_lm": Case(
        functools.partial(pretrainer, next_sentence=False),
        custom_objects=(Bert, BertPretrainer),
        output_dtype="float32",
        output="masked_lm",
        bfloat16_tolerance=0.1,  # a norm and a product more
        **FIELDS,
    ),
    "next_sentence": Case(
        pretrainer,
        custom_objects=(Bert, BertPretrainer),
        output_dtype="float32",
        output="next_sentence",
        unreached="masked_lm",
        **FIELDS,
    ),
}


def keras_file_gives_equal_outputs(case, tmp_path):
    model = case.made(**case.dropout)
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # NumPy's word to Keras about `np.array(variable)`.
        warnings.simplefilter("ignore", DeprecationWarning)
        again = keras.saving.load_model(
            tmp_path / "model.keras", {c.__name__: c for c in case.custom_objects}
        )
    np.testing.assert_array_equal(case.run(again), case.run(model))


def optional_inputs_have_the_stated_default(case, tmp_path):
    """No `segment_ids`: all 0. No `padding_mask`: all tokens are real."""
    model = case.made()
    given = {name: x for name, x in case.inputs.items() if name.endswith("token_ids")}
    token_ids = given["token_ids"]
    stated = {
        **given,
        "segment_ids": np.zeros_like(token_ids),
        "padding_mask": np.ones_like(token_ids, bool),
    }
    found = case.run(model, given)
    np.testing.assert_allclose(found, case.run(model, stated), atol=1e-6)


OF_MODELS = [*CLAUSES, keras_file_gives_equal_outputs, optional_inputs_have_the_stated_default]


@pytest.mark.parametrize("clause", OF_MODELS, ids=lambda clause: clause.__name__)
@pytest.mark.parametrize("name", CASES)
def test_contract(name, clause, tmp_path):
    clause(CASES[name], tmp_path)
