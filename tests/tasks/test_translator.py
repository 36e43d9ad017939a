"""What a translator reads texts in, before it is trained."""

import pytest

import tfmodels

SENTENCES = ["The old king saw the river.", "A small dog found some bread in the house."]
LONG = "the old king saw the river and " * 6
TEXTS = [*SENTENCES, " ".join(SENTENCES) + "\n\n" + LONG, "", "  "]


@pytest.fixture(scope="module", params=["sentencepiece", "bytes"])
def task(request):
    task = tfmodels.Translator.from_scratch(
        SENTENCES * 5, size="tiny", vocabulary_size=320, tokenizer=request.param,
        languages=["de", "zh"], max_length=24, max_target_length=24,
    )  # fmt: skip
    task.generation = {"max_new_tokens": 6, "num_beams": 2}
    return task


def test_every_part_has_the_language_in_front(task):
    """A sentence that is read in several parts is written in one language."""
    texts = [">>zh<< " + text for text in TEXTS[:3]] + [LONG]
    (row,) = task.tokenizer.tokenize([">>zh<<"]).to_list()
    sentences, ids, number = task._writer().parts(texts)
    assert max(number.numpy()) > 2 and max(map(len, ids.to_list())) <= 24 - 1
    named = ids.to_list()[: -number.numpy()[-1]]
    assert all(part[: len(row)] == row for part in named if part)
    assert all(part[: len(row)] != row for part in ids.to_list()[len(named) :])
    # Together they are the sentence.
    whole = task.tokenizer.tokenize([texts[0]]).to_list()[0]
    assert sum((part[len(row) :] for part in named[: number.numpy()[0]]), row) == whole


def test_translate_reads_what_predict_reads(task):
    for texts in (TEXTS, [">>de<< " + text for text in TEXTS[:3]]):
        plain, found = task.predict(texts), task.translate(texts, alignment=True)
        for one, other in zip(plain, found, strict=True):
            for name in ("translation", "parts", "truncated"):
                assert other[name] == one[name]
            assert other["score"] == pytest.approx(one["score"], abs=1e-4)
        *_, last = found[2]["sentences"]
        assert found[2]["parts"] > 3 and last["text"] and last["text"] in LONG.strip()
