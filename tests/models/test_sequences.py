"""Several sequences in a row give what each gives in a row of its own."""

import numpy as np
import pytest
from keras import ops

from tests.layers.contract import Case, gradients
from tests.models.test_contract import CASES, pretrainer
from tfmodels.errors import InputError

ROOM = 9  # the models' max_length
LENGTHS = [[3, 2, 2, 1], [5, 4], [9], [1, 1, 6]]  # of the sequences of each row
FIRSTS = [[sum(row[:i]) for i in range(len(row))] for row in LENGTHS]


def both_ways(seed):
    """Random batches of the same sequences: one a row, and packed into rows."""
    draw = np.random.default_rng(seed)
    count = sum(map(len, LENGTHS))
    alone = {name: np.zeros((count, ROOM), "int32") for name in ("token_ids", "segment_ids")}
    packed = {name: np.zeros((len(LENGTHS), ROOM), "int32") for name in (*alone, "sequence_ids")}
    alone["padding_mask"] = np.zeros((count, ROOM), bool)
    places = []  # of each token: row and place alone, row and place in the packed batch
    for number, sequence in enumerate(draw.permutation(count)):
        row, index = [(r, i) for r, part in enumerate(LENGTHS) for i in range(len(part))][number]
        for place in range(LENGTHS[row][index]):
            at = FIRSTS[row][index] + place
            places.append((sequence, place, row, at))
            alone["token_ids"][sequence, place] = packed["token_ids"][row, at] = draw.integers(11)
            alone["segment_ids"][sequence, place] = packed["segment_ids"][row, at] = place % 2
            alone["padding_mask"][sequence, place] = True
            packed["sequence_ids"][row, at] = index + 1
    return alone, packed, np.array(places).T


def same_outputs_and_gradients(case, alone, packed, places):
    """Compare outputs at the places, and the gradients of a weighted sum of them."""
    model = case.made()
    sequence, place, row, at = places
    found = case.run(model, packed)
    expected = case.run(model, alone)
    np.testing.assert_allclose(found[row, at], expected[sequence, place], atol=1e-5)
    weights = np.random.default_rng(9).normal(size=(len(row), found.shape[-1])) / len(row)
    of_each = []
    for inputs, output, first, second in (
        (alone, expected, sequence, place),
        (packed, found, row, at),
    ):
        upstream = np.zeros(output.shape, "float32")
        upstream[first, second] = weights
        of = type(case)(**{**vars(case), "inputs": inputs})
        of_each.append(gradients(of, model, upstream))
    for one, other, weight in zip(*of_each, model.trainable_variables, strict=True):
        if one is not None:
            np.testing.assert_allclose(other, one, atol=1e-5, err_msg=weight.path)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["bert", "gpt", "masked_lm"])
def test_sequences_in_a_row(name, seed):
    alone, packed, places = both_ways(seed)
    if name == "gpt":
        for batch in (alone, packed):
            del batch["segment_ids"]
    same_outputs_and_gradients(CASES[name], alone, packed, places)


class Pairs(Case):
    """The next-sentence logits `[B, K, 2]`; one sequence a row has them without K."""

    def call(self, layer, inputs, training=False):
        logits = super().call(layer, inputs, training)
        return logits if len(logits.shape) == 3 else ops.expand_dims(logits, 1)


@pytest.mark.parametrize("seed", range(3))
def test_pairs_in_a_row(seed):
    """The next-sentence head reads the first state of each sequence."""
    alone, packed, (sequence, place, row, at) = both_ways(seed)
    packed["sequence_starts"] = np.array([first + [0] * (4 - len(first)) for first in FIRSTS])
    first = place == 0
    number = packed["sequence_ids"][row, at][first] - 1
    places = sequence[first], np.zeros_like(number), row[first], number
    case = Pairs(**vars(CASES["next_sentence"]))
    same_outputs_and_gradients(case, alone, packed, places)


def test_inspected_scores_stay_within_a_sequence():
    _, packed, _ = both_ways(0)
    scores = CASES["bert"].made().inspect(packed)["attention_scores"][0]  # [B, N, S, S]
    ids = packed["sequence_ids"]
    other = (ids[:, :, None] != ids[:, None, :]) & (ids[:, :, None] > 0)
    assert ops.convert_to_numpy(scores).transpose(0, 2, 3, 1)[other].max() < 1e-6


def test_what_is_refused():
    _, packed, _ = both_ways(0)
    with pytest.raises(InputError, match="sequence_ids, and this call takes one sequence a row"):
        CASES["classifier_mean"].made()(packed)
    gpt = CASES["gpt"].made()
    with pytest.raises(InputError, match="takes one sequence a row"):
        gpt.prompt(packed, ROOM)
    with pytest.raises(InputError, match=r"sequence_ids: shape \(4, 5\); .* token_ids, \(4, 9\)"):
        gpt({**packed, "sequence_ids": packed["sequence_ids"][:, :5]})
    with pytest.raises(InputError, match="no sequence_starts, which the next-sentence head reads"):
        pretrainer()(packed)
