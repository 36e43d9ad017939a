"""`Tagger`: the contract of every model, what it learns with a CRF, and its files."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.layers.contract import (
    CLAUSES,
    B,
    Case,
    S,
    gradient_is_the_slope,
    gradient_reaches_every_weight,
    integers,
    normal,
    real_tokens,
)
from tests.models.test_contract import BATCH as TOKENS
from tests.models.test_contract import SHAPE, bert, keras_file_gives_equal_outputs
from tfmodels.layers.crf import CRF
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.tagger import Tagger
from tfmodels.training.sequence import SequenceLoss, tagging_objective

NAMES = ["O", "B-PER", "I-PER"]
BATCH = {**TOKENS, "word_positions": np.sort(integers(S, B, S, seed=2))}


def tagger(crf=False, labels=None):
    def make(dropout=0.0, dtype=None):
        return Tagger(bert(dropout, dtype), 3, labels, crf, dropout)

    return make


FIELDS = {
    # Without bfloat16 in the processor there is one more rounding in every operation.
    "bfloat16_tolerance": 0.1,
    "custom_objects": (Bert, Tagger, CRF),
    "dropout": {"dropout": 0.3},
    "no_gradient": ("key/bias",),
    "output_dtype": "float32",
    "takes_batch": True,
}
CASES = {
    "words": Case(tagger(), BATCH, dict.fromkeys(BATCH, (1,)), **FIELDS),
    "chain": Case(tagger(True, NAMES), BATCH, dict.fromkeys(BATCH, (1,)), **FIELDS),
}
# The weights of the CRF have no part in the emissions: their gradient is that of the loss.
OF_EMISSIONS_ONLY = (gradient_reaches_every_weight, gradient_is_the_slope)


@pytest.mark.parametrize(
    "clause", [*CLAUSES, keras_file_gives_equal_outputs], ids=lambda clause: clause.__name__
)
@pytest.mark.parametrize("name", CASES)
def test_contract(name, clause, tmp_path):
    if name == "chain" and clause in OF_EMISSIONS_ONLY:
        pytest.skip("a gradient of the loss, tested below")
    clause(CASES[name], tmp_path)


def test_a_word_is_its_first_piece():
    """And without positions, every token is a word."""
    model = CASES["words"].made()
    tokens = {name: array for name, array in BATCH.items() if name != "word_positions"}
    by_token = CASES["words"].run(model, tokens)
    expected = np.take_along_axis(by_token, BATCH["word_positions"][..., None], 1)
    np.testing.assert_allclose(CASES["words"].run(model), expected, atol=1e-6)


@pytest.mark.parametrize("crf", [False, True])
def test_answers(crf):
    """Tags keep the scheme and are -1 without a word; probabilities are of words only."""
    model = tagger(crf, NAMES)()
    logits = normal(200, S, 3)
    mask = real_tokens(*np.arange(200) % (S + 1))
    tags, found = (
        ops.convert_to_numpy(f(logits, mask)) for f in (model.decode, model.probabilities)
    )
    assert tags.dtype == "int32" and found.dtype == "float32"
    assert (tags[~mask] == -1).all() and (tags[mask] >= 0).all()
    inside = tags == 2
    assert not inside[:, 0].any() and inside.any()
    assert (tags[:, :-1][inside[:, 1:]] > 0).all()
    np.testing.assert_allclose(found.sum(-1), mask, atol=1e-5)
    everywhere = ops.convert_to_numpy(model.probabilities(logits))
    np.testing.assert_allclose(everywhere.sum(-1), 1.0, atol=1e-5)
    if not crf:
        expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(everywhere, expected, rtol=1e-5)


def test_bad_labels_are_refused():
    with pytest.raises(ValueError, match="num_labels is 3, but labels has 2"):
        tagger(labels=NAMES[:2])()


def alternating(rows, words=8, seed=0):
    """A task for which one needs the previous tag.

    Word 1 begins an entity (tag 1) and word 2 ends it; word 3 is inside (tag 2) or not
    (tag 0), which the word itself does not say.
    """
    random = np.random.default_rng(seed)
    token_ids = random.choice([1, 2, 3, 3], (rows, words)).astype("int32")
    lengths = random.integers(2, words + 1, rows)
    mask = real_tokens(*lengths, size=words)
    labels = np.full((rows, words), -1, "int32")
    for row, n in enumerate(lengths):
        inside = False
        for t in range(n):
            word = token_ids[row, t]
            labels[row, t] = 1 if word == 1 else 2 if word == 3 and inside else 0
            inside = bool(labels[row, t])
    batch = {
        "token_ids": token_ids,
        "padding_mask": mask,
        "word_positions": (np.arange(words) * mask).astype("int32"),
    }
    return batch, labels


def trained(model, batch, labels, epochs):
    model.compile(keras.optimizers.Adam(0.05), **tagging_objective(model))
    model.fit(batch, labels, epochs=epochs, batch_size=512, verbose=0)
    return model


def wordwise():
    """An encoder that sees a word by itself: embeddings only."""
    return Bert(BertConfig(**SHAPE, num_layers=0, num_segments=0, dropout=0.0))


@pytest.mark.slow
def test_the_chain_learns_what_depends_on_the_tag_before():
    batch, labels = alternating(512)
    unseen, expected = alternating(64, seed=1)
    keras.utils.set_random_seed(0)
    shares = []
    for crf in (False, True):
        model = trained(Tagger(wordwise(), 3, crf=crf, dropout=0.0), batch, labels, 60)
        found = model.decode(model(unseen), unseen["padding_mask"])
        shares.append((ops.convert_to_numpy(found) == expected)[expected >= 0].mean())
    assert shares[0] < 0.9
    assert shares[1] == 1.0


def test_a_compiled_model_is_read_and_trained_further(tmp_path):
    """Its loss must be of the model's own CRF, not of the copy that was read with it."""
    batch, labels = alternating(64)
    keras.utils.set_random_seed(0)
    model = trained(Tagger(wordwise(), 3, NAMES, True, dropout=0.0), batch, labels, 1)
    model.save(tmp_path / "model.keras")
    things = {c.__name__: c for c in (Bert, Tagger, CRF, SequenceLoss)}
    again = keras.saving.load_model(tmp_path / "model.keras", things)
    assert again.loss.crf is again.crf
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(again.crf.get_weights()[0]).max() > 0.01
    mask = batch["padding_mask"]
    np.testing.assert_array_equal(
        ops.convert_to_numpy(again.decode(again(batch), mask)),
        ops.convert_to_numpy(model.decode(model(batch), mask)),
    )
    before = again.crf.get_weights()[0]
    histories = [m.fit(batch, labels, shuffle=False, verbose=0).history for m in (model, again)]
    assert histories[0]["loss"] == pytest.approx(histories[1]["loss"], rel=1e-5)
    assert not np.array_equal(again.crf.get_weights()[0], before)
    weights_only = keras.saving.load_model(tmp_path / "model.keras", things, compile=False)
    np.testing.assert_array_equal(weights_only.crf.get_weights()[0], before)
