"""`Transformer`, its cache and `generate` together, against `transformers.generate` and by hand."""

import numpy as np
import pytest
from keras import ops

from tests.generation.test_transformers import options_of_transformers
from tests.generation.toy import compiled, numpy
from tfmodels.generation.decoding import generate
from tfmodels.generation.settings import Generation

SIZE, PAD, START, BOS, STOP = 60, 1, 2, 0, 2
LENGTH = 10
# (encoder layers, decoder layers, width, heads, width inside the feed-forward parts)
SHAPES = {"bart": (2, 2, 32, 2, 64), "uneven": (1, 3, 24, 3, 40)}
# As BART's config has them: `<s>` first, `</s>` where a text is cut.
FORCED = {"forced_first_id": BOS, "forced_last_id": STOP}
CASES = {
    "greedy": {},
    "beams": {"num_beams": 4, "length_penalty": 0.6},
    "beams_all": {
        "num_beams": 4, "no_repeat_ngram": 3, "length_penalty": 2.0, "min_new_tokens": 4,
    },
    "greedy_forced": {**FORCED, "no_repeat_ngram": 3},
    "beams_forced": {**FORCED, "num_beams": 4, "no_repeat_ngram": 3, "length_penalty": 2.0},
    "beams_early_forced": {
        **FORCED, "num_beams": 4, "early_stopping": True, "no_repeat_ngram": 3,
        "length_penalty": 2.0,
    },
}  # fmt: skip


def settings_of(case):
    fields = {"max_new_tokens": LENGTH, "stop_ids": (STOP,), "pad_id": PAD}
    return Generation(**{**fields, **CASES[case]})


def sources(num_rows, seed=0):
    """Ids int32 `[B, 9]` and their mask, padding right."""
    draw = np.random.default_rng(seed)
    mask = np.arange(9) < draw.integers(1, 10, (num_rows, 1))
    mask[0] = True
    return np.where(mask, draw.integers(3, SIZE, mask.shape), PAD).astype("int32"), mask


def summarized(model, settings):
    """A function of sources and their mask."""

    def function(ids, mask):
        start = ops.full((ops.shape(ids)[0], 1), START, "int32")
        batch = {"token_ids": ids, "padding_mask": mask, "decoder_token_ids": start}
        logits, state = model.prompt(batch, 1 + settings.max_new_tokens)
        real = ops.ones_like(start, "bool")
        found = generate(model.step, logits, state, start, real, settings)
        return found._asdict()

    return function


@pytest.fixture(scope="module", params=SHAPES)
def both(request, tmp_path_factory):
    """The same weights in `transformers` and here."""
    torch = pytest.importorskip("torch", reason="compares with transformers")
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    from tfmodels.checkpoints.bart import load_bart

    torch.manual_seed(1)  # one where no two beams are as likely to the 7th digit
    torch.set_num_threads(1)
    encoder_layers, decoder_layers, width, heads, inner = SHAPES[request.param]
    config = transformers.BartConfig(
        vocab_size=SIZE, max_position_embeddings=32, d_model=width,
        encoder_layers=encoder_layers, decoder_layers=decoder_layers,
        encoder_attention_heads=heads, decoder_attention_heads=heads,
        encoder_ffn_dim=inner, decoder_ffn_dim=inner,
    )  # fmt: skip
    theirs = transformers.BartForConditionalGeneration(config).eval()
    with torch.no_grad():  # so large that it has preferences, and that these hang on the source
        for name, parameter in theirs.named_parameters():
            is_gamma = name.endswith(("layer_norm.weight", "layernorm_embedding.weight"))
            parameter.normal_(float(is_gamma), 1.5 / width**0.5)
    theirs.final_logits_bias.normal_(std=0.5)
    theirs.final_logits_bias[0, STOP] += 4.0
    directory = tmp_path_factory.mktemp("bart")
    theirs.save_pretrained(directory)
    return theirs, load_bart(directory)[0]


def by_transformers(model, ids, mask, settings):
    """New tokens int `[B, T]`, `pad_id` after the end, and `sequences_scores` of beams."""
    import torch

    # `None` as an option leaves what the config says.
    model.generation_config.forced_bos_token_id = settings.forced_first_id
    model.generation_config.forced_eos_token_id = settings.forced_last_id
    with torch.no_grad():
        found = model.generate(
            torch.tensor(ids).long(), attention_mask=torch.tensor(mask).long(), do_sample=False,
            decoder_start_token_id=START, return_dict_in_generate=True, output_scores=True,
            **options_of_transformers(settings),
        )  # fmt: skip
    new = found.sequences[:, 1:].numpy()
    padded = np.full((len(ids), settings.max_new_tokens), settings.pad_id)
    padded[:, : new.shape[1]] = new
    return padded, found.sequences_scores.numpy() if settings.num_beams > 1 else None


def assert_equal(found, expected):
    np.testing.assert_array_equal(found["token_ids"], expected[0])
    if expected[1] is not None:
        np.testing.assert_allclose(found["scores"], expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_50_sources(both, case):
    theirs, ours = both
    settings = settings_of(case)
    ids, mask = sources(50)
    found = numpy(compiled(summarized(ours, settings))(*map(ops.convert_to_tensor, (ids, mask))))
    assert len(set(found["mask"].sum(1))) > 1  # texts of several lengths
    assert len(np.unique(found["token_ids"], axis=0)) > 3
    assert_equal(found, by_transformers(theirs, ids, mask, settings))
