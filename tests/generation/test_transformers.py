"""`Gpt`, its cache and `generate` together, against `transformers.generate`, token by token."""

import numpy as np
import pytest
from keras import ops

from tests.generation.toy import numpy, prompts
from tfmodels.generation.decoding import generate
from tfmodels.generation.settings import Generation

SIZE, STOP = 120, 36
PAD = 1  # `transformers` takes the stop id for padding where that is 0
LENGTH = 10


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same weights in `transformers` and here, so large that they have preferences."""
    torch = pytest.importorskip("torch", reason="compares with transformers")
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    from tfmodels.checkpoints.gpt2 import load_gpt

    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = transformers.GPT2Config(
        vocab_size=SIZE, n_positions=64, n_embd=32, n_layer=2, n_head=2,
        initializer_range=0.3, bos_token_id=STOP, eos_token_id=STOP,
    )  # fmt: skip
    theirs = transformers.GPT2LMHeadModel(config).eval()
    directory = tmp_path_factory.mktemp("gpt2")
    theirs.save_pretrained(directory)
    return theirs, load_gpt(directory)[0]


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
    ids, mask = ops.convert_to_tensor(ids), ops.convert_to_tensor(mask)
    batch = {"token_ids": ids, "padding_mask": mask}
    logits, state = model.prompt(batch, ids.shape[1] + settings.max_new_tokens)
    return numpy(generate(model.step, logits, state, ids, mask, settings))


def assert_equal(both, ids, mask, settings):
    found = by_us(both[1], ids, mask, settings)
    token_ids, scores = by_transformers(both[0], ids, mask, settings)
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
def test_prompts_of_one_length(both, case, num_beams):
    settings = settings_of(case, num_beams)
    ids, mask = prompts(SIZE, *[5] * 8, seed=1)
    assert_equal(both, ids, mask, settings)


@pytest.mark.parametrize("num_beams", [1, 4])
@pytest.mark.parametrize("case", ["plain", "long", "least", "stops"])
def test_padded_prompts(both, case, num_beams):
    settings = settings_of(case, num_beams)
    ids, mask = prompts(SIZE, 3, 9, 1, 5, 7, 2, 4, 8, seed=2)
    assert_equal(both, ids, mask, settings)


def test_the_cases_are_about_something(both):
    """Rows end early, at different lengths, and the settings change what is found."""
    ids, mask = prompts(SIZE, *[5] * 8, seed=1)
    for num_beams, cases in ((1, ("penalty", "least")), (4, ("long", "least", "stops", "ngrams"))):
        plain = by_us(both[1], ids, mask, settings_of("plain", num_beams))
        assert len(set(plain.mask.sum(1))) > 1
        for case in cases:
            found = by_us(both[1], ids, mask, settings_of(case, num_beams))
            assert (found.token_ids != plain.token_ids).any(), case
