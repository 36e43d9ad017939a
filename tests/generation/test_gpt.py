"""`Gpt`, its cache and `generate` together, against `transformers.generate`; and exported."""

import numpy as np
import pytest
from keras import ops

from tests.generation.test_transformers import (
    PAD,
    SIZE,
    STOP,
    by_transformers,
    random_gpt2,
)
from tests.generation.toy import compiled, numpy, prompts
from tfmodels.generation.decoding import generate
from tfmodels.generation.settings import Generation

LENGTH = 12
CASES = {
    "greedy": {},
    "beams": {"num_beams": 4, "length_penalty": 0.6},
    "beams_all": {
        "num_beams": 4, "no_repeat_ngram": 2, "repetition_penalty": 1.3, "length_penalty": 2.0,
        "min_new_tokens": 3,
    },
}  # fmt: skip


def settings_of(case):
    fields = {"max_new_tokens": LENGTH, "stop_ids": (STOP,), "pad_id": PAD}
    return Generation(**{**fields, **CASES[case]})


def continued(model, settings):
    """A function of prompts, their mask and seeds."""

    def function(ids, mask, seeds):
        batch = {"token_ids": ids, "padding_mask": mask}
        length = ops.shape(ids)[1] + settings.max_new_tokens
        logits, state = model.prompt(batch, length)
        found = generate(model.step, logits, state, ids, mask, settings, seeds)
        return found._asdict()

    return function


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same weights in `transformers` and here."""
    torch = pytest.importorskip("torch", reason="compares with transformers")
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    from tfmodels.checkpoints.gpt2 import load_gpt

    theirs = random_gpt2(torch, transformers)
    directory = tmp_path_factory.mktemp("gpt2")
    theirs.save_pretrained(directory)
    return theirs, load_gpt(directory)[0]


@pytest.mark.parametrize("case", CASES)
def test_50_prompts(both, case):
    theirs, ours = both
    settings = settings_of(case)
    # A penalty counts padding there: prompts of unequal lengths only where there is none.
    plain = settings.repetition_penalty == 1 and not settings.no_repeat_ngram
    lengths = np.random.default_rng(3).integers(1, 12, 50) if plain else [6] * 50
    ids, mask = prompts(SIZE, *lengths, seed=4)
    inputs = [ops.convert_to_tensor(x) for x in (ids, mask, np.zeros(50, "int32"))]
    found = numpy(compiled(continued(ours, settings))(*inputs))
    assert len(set(found["mask"].sum(1))) > 1
    expected = by_transformers(theirs, ids, mask, settings)
    np.testing.assert_array_equal(found["token_ids"], expected[0])
    if settings.num_beams > 1:
        np.testing.assert_allclose(found["scores"], expected[1], rtol=1e-4)
