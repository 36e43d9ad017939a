"""The small reference checkpoints, copies of them that a test may change, and random models."""

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tfmodels import CausalLM, MaskedLM, Seq2SeqLM
from tfmodels.checkpoints import bart, bert, gpt2
from tfmodels.errors import InputError
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.gpt import Gpt, GptConfig
from tfmodels.models.transformer import Transformer, TransformerConfig
from tfmodels.text.bpe import END_OF_TEXT, BytePairTokenizer, printable_bytes
from tfmodels.text.wordpiece import WordPieceTokenizer

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL, OTHER = GOLDEN / "bert_2x32", GOLDEN / "bert_3x48"
PRETRAINING = GOLDEN / "bert_pretraining"
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdf", "é", "e", "##b", "中"]
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the")]
GPT_TOKENS = [*printable_bytes(), "th", "the", "Ġthe", END_OF_TEXT]
BART_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", *GPT_TOKENS[:-1], "<mask>"]
WORDS = WordPieceTokenizer(TOKENS)
# States and logits are about 1. Largest differences seen in float32: 7e-6.
TOLERANCE = 1e-4


def message(call, *arguments, **options):
    """The one line of the `InputError` that the call raises."""
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 1000
    return text


def golden(directory):
    """The stored batch and the stored outputs."""
    with np.load(directory / "expected.npz", allow_pickle=False) as arrays:
        arrays = dict(arrays)
    batch = {key: arrays.pop(key) for key in ("token_ids", "segment_ids", "padding_mask")}
    return batch, arrays


def assert_states(encoder, directory, tolerance=TOLERANCE):
    batch, expected = golden(directory)
    states = keras.ops.convert_to_numpy(keras.ops.cast(encoder(batch), "float32"))
    real = batch["padding_mask"]
    np.testing.assert_allclose(states[real], expected["states"][real], atol=tolerance, rtol=0)


def assert_logits(model, directory):
    batch, expected = golden(directory)
    logits = keras.ops.convert_to_numpy(model(batch))
    np.testing.assert_allclose(logits, expected["logits"], atol=TOLERANCE, rtol=0)


def loaded(kind, directory, *arguments, **options):
    """A model of that class on the encoder of a checkpoint, with its weights, and the report."""
    model = kind(Bert(bert.read_bert_config(directory)), *arguments, **options)
    return model, bert.load_weights(model, directory)


def paths(report):
    """The new weights without the model's name."""
    return [path.split("/", 1)[1] for path in report.new]


class Checkpoint:
    """A copy of a reference checkpoint.

    Attributes:
        directory: its `Path`.
        tensors: dict of its tensors, as they were written.
    """

    def __init__(self, source, directory):
        shutil.copytree(source, directory)
        self.directory = directory
        self.tensors = load_file(directory / "model.safetensors")

    def write(self, tensors, name="model.safetensors"):
        save_file(tensors, self.directory / name)

    def without(self, *names):
        self.write({n: t for n, t in self.tensors.items() if n not in names})

    def set_config(self, **fields):
        """Writes `fields` into config.json; those that are `None` are taken out."""
        path = self.directory / "config.json"
        config = {**json.loads(path.read_text()), **fields}
        path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))

    def write_shards(self):
        """Moves the tensors into two files and an index; returns the index."""
        (self.directory / "model.safetensors").unlink()
        names = sorted(self.tensors)
        files = {f"model-0000{n}-of-00002.safetensors": names[n - 1 :: 2] for n in (1, 2)}
        for file, held in files.items():
            self.write({name: self.tensors[name] for name in held}, file)
        weight_map = {name: file for file, held in files.items() for name in held}
        self.write_index({"weight_map": weight_map})
        return weight_map

    def write_index(self, content):
        (self.directory / "model.safetensors.index.json").write_text(json.dumps(content))


@dataclasses.dataclass(frozen=True)
class Case:
    """A family of models, for tests of what all have in common.

    Attributes:
        model: its class; `config`, a small one of it.
        tokenizer: one for it.
        task: the class that loads it; load, load_weights, write: as in its module.
        weights: of how many tensors the model is.
        first, second, kernel: names in the files of two vectors and a kernel `[I, O]`.
        table, output: names of the table of tokens and of its copy, where one may be.
        number, missing: fields of config.json: heads, and one that must be there.
    """

    model: type
    config: object
    tokenizer: object
    task: object
    load: object
    load_weights: object
    write: object
    weights: int
    first: str
    second: str
    table: str
    output: str | None
    heads: str
    width: str
    missing: str

    def random(self, config=None, **options):
        """A model with no weight left at 0 or 1, the same in every call."""
        keras.utils.set_random_seed(0)
        model = self.model(config or self.config, **options)
        model.build()
        random = np.random.default_rng(0)
        for weight in model.weights:
            weight.assign(weight + 0.2 * random.normal(size=weight.shape))
        return model

    def outputs(self, model):
        batch = {"token_ids": np.arange(12, dtype="int32").reshape(2, 6)}
        if self.model is Transformer:
            batch["decoder_token_ids"] = np.arange(20, 30, dtype="int32").reshape(2, 5)
        return keras.ops.convert_to_numpy(model(batch))


SHAPE = {"hidden_dim": 32, "num_heads": 4, "feedforward_dim": 48, "max_length": 24}
FAMILIES = {
    "bert": Case(
        Bert, BertConfig(vocabulary_size=60, num_layers=2, **SHAPE, epsilon=1e-4), WORDS, MaskedLM,
        bert.load_bert, bert.load_weights, bert.write_bert, 5 + 2 * 16,
        "encoder.layer.1.output.dense.bias", "embeddings.LayerNorm.bias",
        "embeddings.word_embeddings.weight", None,
        "num_attention_heads", "hidden_size", "num_hidden_layers",
    ),
    "gpt2": Case(
        Gpt, GptConfig(vocabulary_size=300, num_layers=2, **SHAPE, epsilon=1e-4),
        BytePairTokenizer(GPT_TOKENS, MERGES), CausalLM, gpt2.load_gpt, gpt2.load_gpt_weights,
        gpt2.write_gpt, 2 + 2 * 12 + 2,
        "transformer.h.1.mlp.c_proj.bias", "transformer.ln_f.bias",
        "transformer.wte.weight", "lm_head.weight", "n_head", "n_embd", "n_layer",
    ),
    "bart": Case(
        Transformer,
        TransformerConfig(
            vocabulary_size=300, num_encoder_layers=2, num_decoder_layers=1, **SHAPE,
            scale_embeddings=True, activation="relu", dropout=0.2,
        ),
        BytePairTokenizer(BART_TOKENS, MERGES, end_of_text="</s>"), Seq2SeqLM, bart.load_bart,
        bart.load_bart_weights, bart.write_bart, 2 + 2 * 3 + 2 * 16 + 26,
        "model.decoder.layers.0.encoder_attn.k_proj.bias", "model.encoder.layers.1.fc2.bias",
        "model.shared.weight", "lm_head.weight",
        "encoder_attention_heads", "d_model", "decoder_layers",
    ),
}  # fmt: skip


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


@pytest.fixture
def copy_of(tmp_path_factory, tmp_path):
    """A function that gives a `Checkpoint` of the random model of a `Case`."""

    def copy(case):
        source = tmp_path_factory.getbasetemp() / f"random_{case.model.__name__}"
        if not source.exists():
            source.mkdir()
            case.write(case.random(), source, case.tokenizer)
        return Checkpoint(source, tmp_path / "copy")

    return copy


@pytest.fixture
def checkpoint(tmp_path):
    return Checkpoint(SMALL, tmp_path / "checkpoint")


@pytest.fixture
def pretraining(tmp_path):
    return Checkpoint(PRETRAINING, tmp_path / "pretraining")


@pytest.fixture
def parity():
    """The module `benchmarks.parity`, where PyTorch is."""
    reason = "compares with PyTorch transformers; install torch and transformers"
    pytest.importorskip("torch", reason=reason)
    pytest.importorskip("transformers", reason=reason)
    from benchmarks import parity

    return parity
