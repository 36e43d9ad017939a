"""MarianMT: tokens, logits and beams equal to `transformers`', and what is written is read."""

import io
import json
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmodels
from tests.checkpoints.conftest import TOLERANCE, message
from tfmodels.checkpoints.bart import read_bart_generation
from tfmodels.checkpoints.marian import MARIAN, family_of
from tfmodels.checkpoints.tokenizers import read_tokenizer
from tfmodels.generation.rows import Generated
from tfmodels.text.sentence_pieces import PADDING, PieceTokenizer
from tfmodels.text.vocabulary import learn_pieces

WORDS = ["the", "old", "king", "saw", "a", "small", "dog", "near", "river", "und", "Hund", "König"]
SIZES = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
    "max_position_embeddings": 40, "activation_function": "swish", "scale_embedding": True,
}  # fmt: skip


def sentences(number, seed=0):
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 9))) + rng.choice([".", "!", "，好"])
            for _ in range(number)]  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A directory as `transformers` writes it, its model there and its tokenizer."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch transformers")
    transformers = pytest.importorskip("transformers")
    directory = tmp_path_factory.mktemp("marian")
    pieces = [learn_pieces(sentences(200, seed), 320) for seed in (1, 2)]
    for name, proto in zip(("source.spm", "target.spm"), pieces, strict=True):
        (directory / name).write_bytes(proto)
    tokens = {t: None for proto in pieces for t in PieceTokenizer(proto).vocabulary}
    del tokens[PADDING]
    tokens = [*tokens, ">>deu<<", PADDING]
    ids = {token: number for number, token in enumerate(tokens)}
    (directory / "vocab.json").write_text(json.dumps(ids))
    torch.manual_seed(0)
    pad = ids[PADDING]
    config = transformers.MarianConfig(
        vocab_size=len(ids), pad_token_id=pad, decoder_start_token_id=pad, eos_token_id=0,
        forced_eos_token_id=0, bos_token_id=0, init_std=0.3, **SIZES,
    )  # fmt: skip
    model = transformers.MarianMTModel(config).eval()
    with torch.no_grad():
        model.final_logits_bias.normal_()
    model.generation_config.update(
        num_beams=4, bad_words_ids=[[pad]], max_length=24, renormalize_logits=True
    )
    model.save_pretrained(directory)
    return directory, model, transformers.MarianTokenizer.from_pretrained(directory)


@pytest.fixture(scope="module")
def ours(published):
    task = tfmodels.load(published[0])
    task.configure(long_texts="cut")
    return task


TEXTS = [*sentences(48, 3), ">>deu<< the old dog", "the 王 river"]


def test_tokens(published, ours):
    *_, reference = published
    expected = [reference(text)["input_ids"][:-1] for text in TEXTS]
    assert ours.tokenizer.tokenize(TEXTS).to_list() == expected
    targets = [reference(text_target=text)["input_ids"][:-1] for text in TEXTS[:48]]
    assert ours.tokenizer.tokenize_target(TEXTS[:48]).to_list() == targets
    assert ours.languages == ("deu",)


def test_what_only_the_other_side_knows(tmp_path):
    """Published models have no piece for each byte, and one vocabulary for both sides."""
    transformers = pytest.importorskip("transformers")
    library = pytest.importorskip("sentencepiece")
    vocabulary: dict = {"</s>": 0, "<unk>": 1}
    for name, corpus in (("source.spm", ["the old dog"]), ("target.spm", ["猫 und Ü", "猫猫"])):
        model = io.BytesIO()
        library.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus * 9), model_writer=model, vocab_size=40, num_threads=1,
            hard_vocab_limit=False, character_coverage=1.0, minloglevel=2, unk_id=1, bos_id=-1,
            eos_id=0,
        )  # fmt: skip
        (tmp_path / name).write_bytes(model.getvalue())
        pieces = library.SentencePieceProcessor(model_proto=model.getvalue())
        for number in range(len(pieces)):
            vocabulary.setdefault(pieces.id_to_piece(number), len(vocabulary))
    vocabulary[PADDING] = len(vocabulary)
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "config.json").write_text('{"model_type": "marian"}')
    reference = transformers.MarianTokenizer.from_pretrained(tmp_path)
    ours = read_tokenizer(tmp_path)
    texts = ["the 猫 dog", "猫猫 the Ü", "王 the", "the old dog"]
    assert ours.tokenize(texts).to_list() == [reference(t)["input_ids"][:-1] for t in texts]
    assert vocabulary["猫"] in ours.tokenize(texts[:1]).to_list()[0]
    targets = [reference(text_target=text)["input_ids"][:-1] for text in texts]
    assert ours.tokenize_target(texts).to_list() == targets


def test_logits(published, ours):
    import torch

    _, reference, tokenizer = published
    read = tokenizer(TEXTS, return_tensors="pt", padding=True)
    target = torch.randint(3, 200, (len(TEXTS), 7), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = reference(**read, decoder_input_ids=target).logits.numpy()
    batch = {
        "token_ids": read["input_ids"].numpy().astype("int32"),
        "padding_mask": read["attention_mask"].numpy().astype(bool),
        "decoder_token_ids": target.numpy().astype("int32"),
    }
    logits = keras.ops.convert_to_numpy(ours.model(batch))
    np.testing.assert_allclose(logits, expected, atol=TOLERANCE * 10, rtol=1e-4)


def test_beams(published, ours):
    """Sentences and scores of fifty sources."""
    import torch

    _, reference, tokenizer = published
    found = ours.predict(TEXTS, 50)
    with torch.no_grad():
        out = reference.generate(
            **tokenizer(TEXTS, return_tensors="pt", padding=True), return_dict_in_generate=True,
            output_scores=True,
        )  # fmt: skip
    expected = tokenizer.decode(out.sequences, skip_special_tokens=True)
    for answer, text, score in zip(found, expected, out.sequences_scores, strict=True):
        assert answer["translation"].split() == text.split()
        assert answer["score"] == pytest.approx(float(score), abs=1e-4)


def test_no_token_begins_a_text(published, ours):
    """The published files name `bos_token_id` 0, which is </s> and stands in no text."""
    assert json.loads((published[0] / "config.json").read_text())["bos_token_id"] == 0
    inputs, labels = next(iter(ours.dataset(TEXTS[:2], TEXTS[:2], batch_size=2)))
    expected = published[2](TEXTS[:2], return_tensors="np", padding=True)["input_ids"]
    np.testing.assert_array_equal(inputs["token_ids"].numpy()[:, : expected.shape[1]], expected)
    targets = published[2](text_target=TEXTS[:2])["input_ids"]
    assert [row[row >= 0].tolist() for row in labels.numpy()] == targets


def test_an_answer_without_room_is_truncated(published):
    """The last token is forced to be </s>, so that the tokens alone do not tell."""
    task = tfmodels.load(published[0])
    task.configure(max_new_tokens=3)
    assert all(answer["truncated"] for answer in task.predict(TEXTS[:8]))
    assert all(answer["truncated"] for answer in task.translate(TEXTS[:8]))
    ids = tf.constant([[5, 5, 0], [5, 0, task.tokens.pad_id]])
    mask = tf.constant([[True, True, True], [True, True, False]])
    generated = Generated(ids, mask, tf.zeros([2]))
    assert task._writer().ended(generated).numpy().tolist() == [False, True]


def test_what_is_written_is_read(published, ours, tmp_path):
    transformers = pytest.importorskip("transformers")
    ours.save(tmp_path / "saved")
    assert family_of(tmp_path / "saved") is MARIAN
    again = tfmodels.load(tmp_path / "saved")
    assert [a["translation"] for a in again.predict(TEXTS[:5])] == [
        a["translation"] for a in ours.predict(TEXTS[:5])
    ]
    reference = transformers.MarianMTModel.from_pretrained(tmp_path / "saved").eval()
    for name, tensor in published[1].state_dict().items():
        np.testing.assert_array_equal(reference.state_dict()[name].numpy(), tensor.numpy())
    tokenizer = transformers.MarianTokenizer.from_pretrained(tmp_path / "saved")
    assert tokenizer(TEXTS[0])["input_ids"] == published[2](TEXTS[0])["input_ids"]
    written = json.loads((tmp_path / "saved" / "generation_config.json").read_text())
    assert written["bad_words_ids"] == [[ours.tokenizer.pad_id]] and written["renormalize_logits"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"share_encoder_decoder_embeddings": False}, "share_encoder_decoder_embeddings is False"),
        ({"decoder_vocab_size": 7}, "decoder_vocab_size is 7"),
        ({"normalize_before": True}, "normalize_before is True"),
    ],
)
def test_another_computation(published, tmp_path, fields, expected):
    path = tmp_path / "config.json"
    entries = json.loads((published[0] / "config.json").read_text())
    path.write_text(json.dumps(entries | fields))
    assert expected in message(MARIAN.read_config, tmp_path)


def test_the_last_token_is_forced_where_no_file_says_it(published, tmp_path):
    """As the configuration of `transformers` has it; older published files do not name it."""
    entries = json.loads((published[0] / "config.json").read_text())
    entries = {name: value for name, value in entries.items() if "eos" not in name}
    (tmp_path / "config.json").write_text(json.dumps(entries))
    found = read_bart_generation(tmp_path)
    assert (found["stop_ids"], found["forced_last_id"]) == ((0,), 0) and "bos_id" not in found


class TestFiles:
    def copy(self, published, tmp_path, **files):
        for file in published[0].iterdir():
            (tmp_path / file.name).write_bytes(files.get(file.name.partition(".")[0],
                                                         file.read_bytes()))  # fmt: skip
        return tmp_path

    def test_no_model(self, published, tmp_path):
        text = message(read_tokenizer, self.copy(published, tmp_path, source=b"no model"))
        assert "no SentencePiece model" in text

    def test_two_vocabularies(self, published, tmp_path):
        directory = self.copy(published, tmp_path)
        (directory / "tokenizer_config.json").write_text('{"separate_vocabs": true}')
        assert "separate_vocabs is true" in message(read_tokenizer, directory)

    def test_words_that_are_forbidden(self, published, tmp_path):
        directory = self.copy(published, tmp_path)
        path = directory / "generation_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"bad_words_ids": [[1, 2]]}))
        assert "only lists of one token each" in message(tfmodels.load, directory)
