"""`CausalLM` in a script: running text, or prompts with their responses."""

import numpy as np
import pytest
import tensorflow as tf

import tfmodels
from tfmodels.errors import InputError

PROMPTS, RESPONSES = ["the old", "the new"] * 4, [" king saw", " queen left"] * 4


@pytest.fixture(scope="module")
def task():
    texts = [prompt + response for prompt, response in zip(PROMPTS, RESPONSES, strict=True)]
    return tfmodels.CausalLM.from_scratch(texts, size="tiny", vocabulary_size=270, max_length=16)


def test_a_dataset_of_pairs_is_one_of_responses(task):
    rows = tf.data.Dataset.from_tensor_slices((PROMPTS, RESPONSES))
    found = [labels.numpy() for _, labels in task.dataset(rows, batch_size=4)]
    expected = [labels.numpy() for _, labels in task.dataset(PROMPTS, RESPONSES, batch_size=4)]
    assert len(found) == len(expected) == 2
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    history = task.fit(rows, batch_size=4, epochs=1, verbose=0)
    assert "8 prompts and responses" in history.data


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.evaluate(PROMPTS, RESPONSES), "measures running text; give one text for each"),
        (lambda t: t.evaluate(tf.data.Dataset.from_tensors(("a", "b"))), "measures running text"),
        (lambda t: t.dataset(PROMPTS, RESPONSES, sample_weight=[1] * 8), "have no weights"),
        (lambda t: t.fit(PROMPTS, RESPONSES, sample_weight=[1] * 8), "responses have no weights"),
        (lambda t: t.fit(PROMPTS, patience=2), "patience: this task keeps its last weights"),
        (lambda t: t.fit(PROMPTS, RESPONSES, class_weight={0: 2.0}), "class_weight is for Text"),
        (lambda t: t.generate(PROMPTS, max_length=64), "give task.configure.max_new_tokens=64"),
    ],
)  # fmt: skip
def test_what_keras_users_type(task, call, message):
    with pytest.raises(InputError, match=message):
        call(task)
