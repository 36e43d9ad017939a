"""An exported BERT: words for `[MASK]` and vectors, in a process without any of our code."""

import numpy as np
import pytest
import tensorflow as tf

import tfmodels
from applications.__main__ import main
from tests.applications.conftest import bert_dir, documents  # noqa: F401 - fixtures
from tests.serving.fresh import ask
from tfmodels.errors import InputError
from tfmodels.tasks.mask_filler import fill_mask_signatures
from tfmodels.text.batching import encode

TEXTS = ["the old king [MASK] the [MASK]", "[MASK]", "no mask 😀", "", "[MASK] " * 600]


@pytest.fixture(scope="module")
def exported(bert_dir, tmp_path_factory):  # noqa: F811
    """Version 1, exported by the command line, and what a fresh process says of it."""
    root = tmp_path_factory.mktemp("served") / "bert"
    arguments = ["--model_dir", str(bert_dir), "--export_dir", str(root), "--top_k", "4"]
    assert main(["bert", "export", *arguments]) == 0
    signatures, answers = ask(
        root / "1",
        ("fill_mask", {"text": ("string", TEXTS)}),
        ("fill_mask", {"text": ("string", TEXTS[2:4])}),
        ("fill_mask", {"text": ("string", [])}),
        ("embed", {"text": ("string", TEXTS)}),
    )
    return signatures, answers


def test_signatures(exported):
    assert exported[0] == {
        "serving_default": ["text"],
        "fill_mask": ["text"],
        "embed": ["text"],
        "token_ids": ["padding_mask", "segment_ids", "token_ids"],
    }


def test_masks_are_filled_as_the_model_fills_them(exported, bert_dir):  # noqa: F811
    task = tfmodels.load(bert_dir)
    model, tokenizer = task.model, task.tokenizer
    answer = exported[1][0]
    most = task.max_length - 2  # what is beyond was not trained on, and is cut
    assert np.shape(answer["token"]) == np.shape(answer["score"]) == (5, most, 4)
    for text, tokens, scores in zip(TEXTS, answer["token"], answer["score"], strict=True):
        batch = encode(tokenizer, tf.constant([text]), most + 2)
        places = np.flatnonzero(batch["token_ids"][0] == tokenizer.mask_id)
        logits = model(batch)["masked_lm"].numpy()[0, places]
        expected = tf.nn.softmax(logits).numpy()
        best = np.argsort(-expected, -1, kind="stable")[:, :4]
        n = len(places)
        np.testing.assert_allclose(
            np.array(scores[:n]).reshape(n, 4), np.take_along_axis(expected, best, 1), atol=1e-5
        )
        assert tokens[:n] == [[tokenizer.vocabulary[i] for i in row] for row in best]
        assert tokens[n:] == [[""] * 4] * (most - n)
        assert not np.any(scores[n:])


def test_no_mask_in_the_whole_batch(exported):
    assert exported[1][1] == {"token": [[], []], "score": [[], []]}


def test_an_empty_batch(exported):
    assert exported[1][2] == {"token": [], "score": []}


def test_embedding_is_the_mean_of_the_states(exported, bert_dir):  # noqa: F811
    task = tfmodels.load(bert_dir)
    model, tokenizer = task.model, task.tokenizer
    batch = encode(tokenizer, tf.constant(TEXTS), task.max_length)
    states = model.encoder(batch).numpy()
    lengths = batch["padding_mask"].numpy().sum(1)
    expected = [row[:n].mean(0) for row, n in zip(states, lengths, strict=True)]
    np.testing.assert_allclose(exported[1][3]["embedding"], expected, atol=1e-5)


@pytest.mark.parametrize("top_k", [0, 10_000])
def test_top_k_out_of_range(bert_dir, top_k):  # noqa: F811
    task = tfmodels.load(bert_dir)
    model, tokenizer = task.model, task.tokenizer
    with pytest.raises(InputError, match=f"top_k {top_k}: give 1 to"):
        fill_mask_signatures(model, tokenizer, top_k)
