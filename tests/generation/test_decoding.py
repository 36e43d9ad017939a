"""The parts of generation, traced once for prompts of any length."""

import numpy as np
import pytest
import tensorflow as tf

from tests.generation.toy import Toy, numpy, prompts
from tfmodels.generation.decoding import Decoding, generate
from tfmodels.generation.settings import Generation

TOY = Toy(9, seed=2)
# Of logits, state, ids and mask; see `Toy.prompt`.
SPECS = [
    tf.TensorSpec([None, TOY.size]),
    {"deep": (tf.TensorSpec([None, TOY.width]),), "steps": tf.TensorSpec([None], tf.int32)},
    tf.TensorSpec([None, None], tf.int32),
    tf.TensorSpec([None, None], tf.bool),
]


@pytest.mark.parametrize(
    "fields", [{"sample": True, "top_k": 4}, {"num_beams": 3, "early_stopping": True}], ids=str
)
def test_traced_once(fields):
    settings = Generation(max_new_tokens=6, repetition_penalty=1.3, no_repeat_ngram=2, **fields)
    seeds = tf.range(2) if settings.sample else None
    decoding, traces = Decoding(TOY.step, settings), []

    @tf.function(input_signature=SPECS, autograph=False)
    def start(*given):
        return decoding.start(*given, seeds)

    carried = start.get_concrete_function().structured_outputs
    carried = tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), carried)

    @tf.function(input_signature=[carried], autograph=False)
    def advance(carry):
        traces.append(carry)
        return decoding.advance(carry)

    for length in (1, 5, 3):
        prompt = [tf.constant(values) for values in prompts(TOY.size, length, length)]
        given = (*TOY.prompt(*prompt), *prompt)
        carry = start(*given)
        while decoding.unfinished(carry):
            carry = advance(carry)
        found = numpy(decoding.result(carry))
        expected = numpy(generate(TOY.step, *given, settings, seeds))
        np.testing.assert_array_equal(found.token_ids, expected.token_ids)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)
    assert len(traces) == 1
