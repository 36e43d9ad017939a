"""`generate` over PyTorch's GPT-2 as its step, against `transformers.generate`, token by token.

The step knows no cache: it asks the model for the whole text, which is the state that the
search puts into order. So nothing but the generation itself is compared.
"""

import numpy as np
import pytest
from keras import ops

from tests.generation.toy import numpy, prompts
from tfmodels.generation.decoding import Decoding
from tfmodels.generation.settings import Generation

SIZE, STOP = 120, 36
PAD = 1  # `transformers` takes the stop id for padding where that is 0
LENGTH = 10


@pytest.fixture(scope="module")
def model():
    torch = pytest.importorskip("torch", reason="compares with transformers")
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    return random_gpt2(torch, transformers)


def random_gpt2(torch, transformers):
    """A small GPT-2 with weights large enough that it has preferences."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = transformers.GPT2Config(
        vocab_size=SIZE, n_positions=64, n_embd=32, n_layer=2, n_head=2,
        initializer_range=0.3, bos_token_id=STOP, eos_token_id=STOP,
    )  # fmt: skip
    made = transformers.GPT2LMHeadModel(config).eval()
    return made


def options_of_transformers(settings):
    stop_ids = list(settings.stop_ids)
    options = {
        "max_new_tokens": settings.max_new_tokens,
        "min_new_tokens": settings.min_new_tokens or None,
        "num_beams": settings.num_beams,
        "repetition_penalty": float(settings.repetition_penalty),
        "no_repeat_ngram_size": settings.no_repeat_ngram,
        "eos_token_id": stop_ids or None,
        "pad_token_id": settings.pad_id,
        "forced_eos_token_id": settings.forced_last_id,
    }
    if settings.num_beams > 1:
        names = ("length_penalty", "early_stopping")
        options.update({name: getattr(settings, name) for name in names})
    return options


def by_transformers(model, ids, mask, settings):
    """New tokens int `[B, T]`, `pad_id` after the end, and `sequences_scores` of beams."""
    import torch

    model.generation_config.eos_token_id = list(settings.stop_ids) or None
    with torch.no_grad():
        found = model.generate(
            torch.tensor(ids).long(), attention_mask=torch.tensor(mask).long(), do_sample=False,
            return_dict_in_generate=True, output_scores=True, **options_of_transformers(settings),
        )  # fmt: skip
    new = found.sequences[:, ids.shape[1] :].numpy()
    padded = np.full((len(ids), settings.max_new_tokens), settings.pad_id)
    padded[:, : new.shape[1]] = new
    return padded, found.sequences_scores.numpy() if settings.num_beams > 1 else None


def by_us(model, ids, mask, settings):
    import torch

    def ask(ids, mask):
        mask = torch.tensor(mask).long()
        with torch.no_grad():
            logits = model(
                torch.tensor(ids).long(),
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            ).logits
        return ops.convert_to_tensor(logits[:, -1].numpy())

    def step(token_ids, index, state):
        ids, mask = (ops.convert_to_numpy(x) for x in state)
        ids = np.concatenate([ids, ops.convert_to_numpy(token_ids)[:, None]], 1)
        mask = np.concatenate([mask, np.ones((len(mask), 1), "bool")], 1)
        return ask(ids, mask), (ops.convert_to_tensor(ids), ops.convert_to_tensor(mask))

    decoding = Decoding(step, settings)
    state = (ops.convert_to_tensor(ids), ops.convert_to_tensor(mask))
    carry = decoding.start(ask(ids, mask), state, ids, mask)
    while decoding.unfinished(carry):
        carry = decoding.advance(carry)
    return numpy(decoding.result(carry))


def assert_equal(found, expected, settings):
    token_ids, scores = expected
    np.testing.assert_array_equal(found.token_ids, token_ids)
    if scores is not None:
        np.testing.assert_allclose(found.scores, scores, rtol=1e-4, atol=1e-5)


CASES = {
    "plain": {},
    "short": {"length_penalty": 0.6},
    "long": {"length_penalty": 2.0},
    "no_length": {"length_penalty": 0.0},
    "negative_length": {"length_penalty": -1.0},
    "ngrams": {"no_repeat_ngram": 3},
    "bigrams": {"no_repeat_ngram": 2, "length_penalty": 2.0},
    "penalty": {"repetition_penalty": 1.4},
    "least": {"min_new_tokens": 9},
    "stops": {"stop_ids": (STOP, 49, 12, 114, 33)},
    "all": {
        "no_repeat_ngram": 2, "repetition_penalty": 1.2, "min_new_tokens": 3,
        "stop_ids": (STOP, 49), "length_penalty": 0.6,
    },
    "no_stop": {"stop_ids": ()},
    "early": {"early_stopping": True, "length_penalty": 2.0},
    "forced_last": {"forced_last_id": STOP, "no_repeat_ngram": 2, "min_new_tokens": LENGTH},
}  # fmt: skip


def settings_of(case, num_beams):
    fields = {"max_new_tokens": LENGTH, "num_beams": num_beams, "stop_ids": (STOP,), "pad_id": PAD}
    return Generation(**{**fields, **CASES[case]})


@pytest.mark.parametrize("num_beams", [1, 4])
@pytest.mark.parametrize("case", CASES)
def test_prompts_of_one_length(model, case, num_beams):
    settings = settings_of(case, num_beams)
    ids, mask = prompts(SIZE, *[5] * 8, seed=1)
    expected = by_transformers(model, ids, mask, settings)
    assert_equal(by_us(model, ids, mask, settings), expected, settings)


@pytest.mark.parametrize("num_beams", [1, 4])
@pytest.mark.parametrize("case", ["plain", "long", "least", "stops"])
def test_padded_prompts(model, case, num_beams):
    settings = settings_of(case, num_beams)
    ids, mask = prompts(SIZE, 3, 9, 1, 5, 7, 2, 4, 8, seed=2)
    expected = by_transformers(model, ids, mask, settings)
    assert_equal(by_us(model, ids, mask, settings), expected, settings)


def test_the_cases_are_about_something(model):
    """Rows end early, at different lengths, and the settings change what is found."""
    ids, mask = prompts(SIZE, *[5] * 8, seed=1)
    for num_beams, cases in ((1, ("penalty", "least")), (4, ("long", "least", "stops", "ngrams"))):
        plain = by_us(model, ids, mask, settings_of("plain", num_beams))
        assert len(set(plain.mask.sum(1))) > 1
        for case in cases:
            found = by_us(model, ids, mask, settings_of(case, num_beams))
            assert (found.token_ids != plain.token_ids).any(), case
