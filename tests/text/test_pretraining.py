"""Examples out of documents, and the masked batches made of them."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text import examples as example_making
from tfmodels.text import pretraining
from tfmodels.text.examples import ExampleSettings, examples
from tfmodels.text.masking import max_masked
from tfmodels.text.pretraining import held_out_numbers, text_passes, training_batches
from tfmodels.text.wordpiece import SPECIAL_TOKENS, WordPieceTokenizer

FIRST = len(SPECIAL_TOKENS)
CLS, SEP = 2, 3
# Word i is the i-th of the corpus, where a test wants to see what came from where.
TOKENIZER = WordPieceTokenizer([*SPECIAL_TOKENS, *(f"w{i}" for i in range(12_000))])


def corpus(documents, most_sentences=6, most_words=12, seed=0):
    """Documents of 1 to so many sentences; every word is another one, until they run out."""
    rng = np.random.default_rng(seed)
    word = itertools.cycle(range(12_000))
    return [
        (number, [
            " ".join(f"w{next(word)}" for _ in range(rng.integers(1, most_words + 1)))
            for _ in range(rng.integers(1, most_sentences + 1))
        ])
        for number in range(documents)
    ]  # fmt: skip


def origins(documents):
    """The document of every token id of a corpus in which words do not repeat."""
    return {
        FIRST + int(word[1:]): number
        for number, sentences in documents
        for sentence in sentences
        for word in sentence.split()
    }


def texts(example):
    """Ids of the two segments, without special tokens."""
    first, second = np.split(example.token_ids, [example.first_length])
    return first[1:-1].tolist(), second[:-1].tolist()


def made(documents, pass_number=0, **settings):
    return list(examples(documents, TOKENIZER, ExampleSettings(**settings), pass_number))


class Source:
    """Documents in memory, as `text_passes` takes them."""

    failure = None

    def __init__(self, documents):
        self._documents = documents

    def documents(self):
        return iter(self._documents)


@pytest.mark.parametrize("max_length", [16, 64])
def test_next_sentence_pairs(max_length):
    documents = corpus(300)
    origin = origins(documents)
    found = made(documents, max_length=max_length)
    for example in found:
        first, second = texts(example)
        assert first and second and len(example.token_ids) <= max_length
        assert example.token_ids[0] == CLS and example.token_ids[-1] == SEP
        assert example.token_ids[example.first_length - 1] == SEP
        for text in (first, second):
            # Neighbours in the corpus are neighbours here: nothing is left out inside.
            assert text == list(range(text[0], text[0] + len(text)))
        assert len({origin[token] for token in first}) == 1
        same = origin[first[0]] == origin[second[0]]
        assert same == (example.label == 0)
        if example.label == 0:
            assert second[0] > first[-1]
            whole = len(example.token_ids) < max_length
            assert second[0] == first[-1] + 1 or not whole
    assert {example.label for example in found} == {0, 1}
    assert len({example.number for example in found}) == len(found)


def test_every_token_is_used_once_where_nothing_is_cut():
    documents = corpus(200)
    every = sorted(origins(documents))
    own = []
    for example in made(documents, max_length=512):
        first, second = texts(example)
        own += first + (second if example.label == 0 else [])
    assert sorted(own) == every
    swapped = []
    for example in made(documents, max_length=512, task="sop"):
        first, second = texts(example)
        before, after = (second, first) if example.label else (first, second)
        assert after[0] == before[-1] + 1
        swapped += first + second
    alone = {FIRST + int(s[0][1:]) for _, s in documents if len(s) == 1 and " " not in s[0]}
    assert sorted(swapped) == sorted(set(every) - alone)
    for max_length in (8, 128):
        found = made(documents, max_length=max_length, task="mlm")
        assert [token for e in found for token in texts(e)[0]] == every
        assert [(texts(e)[1], e.label) for e in found] == [([], 0)] * len(found)


@pytest.mark.parametrize("task", ["nsp", "sop"])
@pytest.mark.parametrize("most_sentences", [1, 6])
def test_labels_are_balanced(task, most_sentences):
    documents = corpus(30_000 if most_sentences == 1 else 20_000, most_sentences)
    labels = [example.label for example in made(documents, task=task, max_length=24)]
    assert len(labels) > 20_000
    assert abs(np.mean(labels) - 0.5) < 0.01


def test_same_seed_same_examples_whatever_the_chunks(monkeypatch):
    documents = corpus(120)
    flat = [e.token_ids.tolist() for e in made(documents)]
    assert [e.token_ids.tolist() for e in made(documents)] == flat
    assert [e.token_ids.tolist() for e in made(documents, pass_number=1)] != flat
    assert [e.token_ids.tolist() for e in made(documents, seed=1)] != flat
    monkeypatch.setattr(example_making, "_CHUNK_CHARACTERS", 50)
    assert [e.token_ids.tolist() for e in made(documents)] == flat


def test_short_targets():
    documents = [(i, ["w1 w2 w3 w4 w5"] * 400) for i in range(2)]
    lengths = [len(e.token_ids) for e in made(documents, short_share=0.0, task="mlm")]
    assert [n for n in lengths if n != 128] == [2 + 2000 % 126] * 2  # the ends of the documents
    short = [len(e.token_ids) for e in made(documents, short_share=1.0, task="mlm")]
    assert np.mean(short) < 100


def test_documents_without_tokens_and_a_single_one():
    assert made([], task="nsp") == []
    assert made([(0, ["\u200b"]), (1, [])], task="mlm") == []
    with pytest.raises(InputError, match="one document.*put blank lines between documents"):
        made([(0, ["w1 w2. w3"])])
    assert made([(0, ["w1 w2 w3"])], task="sop")


def test_chinese_words():
    tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, *"今天气很好。", "ok", "##s"])
    documents = [(0, ["今天 天气 很 好。 oks 龘好"])]

    def words(segmented):
        settings = ExampleSettings(task="mlm", segmented=segmented)
        (example,) = examples(documents, tokenizer, settings)
        return example.continues[1:-1].astype(int).tolist()

    # 今 天 天 气 很 好 。 ok ##s [UNK] 好
    assert words(False) == [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]
    assert words(True) == [0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1]


def batches(one_pass, settings, **options):
    dataset = training_batches(one_pass, TOKENIZER, 8, settings, **options)
    return [tf.nest.map_structure(np.array, batch) for batch in dataset.as_numpy_iterator()]


def assert_same(some, others):
    assert len(some) == len(others) > 0
    for a, b in zip(some, others, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("task", ["nsp", "sop", "mlm"])
def test_batches(task):
    settings = ExampleSettings(max_length=32, task=task)
    found = batches(text_passes(Source(corpus(60)), TOKENIZER, settings), settings, passes=1)
    assert found
    for inputs, labels in found:
        shapes = {name: (value.shape, value.dtype) for name, value in inputs.items()}
        assert shapes == {
            "token_ids": ((8, 32), np.int32),
            "segment_ids": ((8, 32), np.int32),
            "padding_mask": ((8, 32), bool),
            "masked_positions": ((8, max_masked(32, 0.15)), np.int32),
        }
        assert ("next_sentence" in labels) == (task != "mlm")
        used = labels["masked_lm"] >= 0
        restored = inputs["token_ids"].copy()
        rows, columns = np.nonzero(used)
        restored[rows, inputs["masked_positions"][rows, columns]] = labels["masked_lm"][used]
        np.testing.assert_array_equal(restored != 0, inputs["padding_mask"])
        for ids, segments in zip(restored, inputs["segment_ids"], strict=True):
            ends = np.flatnonzero(ids == SEP)
            assert len(ends) == (1 if task == "mlm" else 2)
            second = np.arange(32)
            expected = (second > ends[0]) & (second <= ends[-1])
            np.testing.assert_array_equal(segments, expected)


def test_resumed_batches_are_those_of_the_uninterrupted_run():
    settings = ExampleSettings(max_length=32)
    one_pass = text_passes(Source(corpus(60)), TOKENIZER, settings, seed=3)
    whole = batches(one_pass, settings, passes=3, drop_remainder=False)
    for start in (1, len(whole) // 2):
        resumed = batches(one_pass, settings, passes=3, drop_remainder=False, start=start)
        assert_same(resumed, whole[start:])


def test_dynamic_masks_differ_between_passes_and_static_ones_do_not():
    settings = ExampleSettings(max_length=32, task="mlm")
    text = text_passes(Source(corpus(60)), TOKENIZER, settings)
    same = lambda pass_number: text(0)  # noqa: E731 - the same examples in every pass
    count = sum(1 for _ in text(0))

    def masked(dynamic):
        found = batches(same, settings, passes=2, drop_remainder=False, dynamic=dynamic)
        rows = np.concatenate([labels["masked_lm"] for _, labels in found])
        return rows[:count], rows[count:]

    first, second = masked(dynamic=True)
    assert (first != second).any(axis=1).mean() > 0.9
    np.testing.assert_array_equal(*masked(dynamic=False))


def parts_of(documents, share, **settings):
    """The numbers of the documents of both splits."""
    origin, settings = origins(documents), ExampleSettings(max_length=32, **settings)

    def numbers(split):
        one_pass = text_passes(Source(documents), TOKENIZER, settings, split=split, held_out=share)
        parsed = (pretraining.parsed(s[None], 0, settings) for s in one_pass(0))
        return {origin[int(batch["token_ids"][0, 1])] for batch in parsed}

    return numbers("train"), numbers("validation")


def test_held_out_documents():
    train, validation = parts_of(corpus(300), 0.2, task="mlm")
    assert train | validation == set(range(300)) and not train & validation
    assert 30 < len(validation) < 90
    assert parts_of(corpus(300), 0.2, task="mlm", seed=1)[1] != validation
    # The choice does not depend on what follows.
    assert parts_of(corpus(299), 0.2, task="mlm")[1] == validation - {299}


@pytest.mark.parametrize("seed", range(4))
def test_of_few_documents_enough_are_held_out_for_pairs(seed):
    train, validation = parts_of(corpus(60), 0.02, seed=seed)
    assert 2 <= len(validation) <= 8 and len(train) >= 52
    train, validation = parts_of(corpus(4), 0.02, seed=seed)
    assert len(train) == len(validation) == 2
    assert len(parts_of(corpus(2), 0.02, seed=seed, task="sop")[1]) == 1


def test_too_few_documents_to_hold_some_out():
    source, settings = Source(corpus(3)), ExampleSettings()
    one_pass = text_passes(source, TOKENIZER, settings, split="train", held_out=0.02)
    with pytest.raises(tf.errors.OpError):
        list(one_pass(0))
    assert "too few documents (3) to hold 2 out" in str(source.failure)
    assert "--held_out 0" in str(source.failure)


def test_an_error_in_the_text_is_kept_for_the_caller():
    class Broken(Source):
        def documents(self):
            yield 0, ["w1 w2"]
            raise InputError("a.txt:7: not UTF-8")

    source, settings = Broken([]), ExampleSettings(task="mlm")
    with pytest.raises(tf.errors.OpError):
        batches(text_passes(source, TOKENIZER, settings), settings, passes=1)
    assert str(source.failure) == "a.txt:7: not UTF-8"


def test_examples_longer_than_max_length_are_refused():
    long, short = ExampleSettings(max_length=64), ExampleSettings(max_length=16)
    one_pass = text_passes(Source(corpus(60)), TOKENIZER, long)
    with pytest.raises(tf.errors.InvalidArgumentError, match="longer than max_length"):
        batches(one_pass, short, passes=1)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"task": "nps"}, "task='nps' is unknown; give one of nsp, sop, mlm"),
        ({"max_length": 7}, "max_length=7 leaves no room"),
        ({"short_share": 1.5}, "short_share=1.5; give a share"),
    ],
)
def test_settings_that_cannot_be_met(options, problem):
    with pytest.raises(InputError, match=problem):
        ExampleSettings(**options)


def test_arguments_that_do_not_fit():
    settings, source = ExampleSettings(), Source(corpus(5))
    with pytest.raises(InputError, match="held_out=1.5; give a share"):
        held_out_numbers(source.documents(), 1.5, seed=0)
    with pytest.raises(InputError, match="batch_size=0"):
        training_batches(text_passes(source, TOKENIZER, settings), TOKENIZER, 0, settings)
    without = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"])
    with pytest.raises(InputError, match=r"has no \[MASK\]"):
        training_batches(text_passes(source, without, settings), without, 8, settings)


@pytest.mark.parametrize("task", ["nsp", "mlm"])
def test_packed_batches_have_the_same_examples(task):
    """The rows of a batch hold its examples, with the same masks and labels."""
    settings = ExampleSettings(max_length=32, task=task)
    one_pass = text_passes(Source(corpus(60)), TOKENIZER, settings)
    plain, packed = (batches(one_pass, settings, passes=1, packing=p) for p in (False, True))

    def examples_of(inputs, labels, row, real, start):
        """One example: its tokens, segments, masked words and label."""
        positions, words = inputs["masked_positions"][row], labels["masked_lm"][row]
        inside = (words >= 0) & real[positions]
        label = None
        if task == "nsp":
            label = labels["next_sentence"][row]
            if "sequence_starts" in inputs:
                used = label >= 0
                label = label[used][inputs["sequence_starts"][row][used] == start].item()
        return (
            *(tuple(inputs[name][row][real].tolist()) for name in ("token_ids", "segment_ids")),
            tuple((positions[inside] - start).tolist()), tuple(words[inside].tolist()), label,
        )  # fmt: skip

    saved = 0
    for (one, one_labels), (many, many_labels) in zip(plain, packed, strict=True):
        expected = [examples_of(one, one_labels, row, real, 0)
                    for row, real in enumerate(one["padding_mask"])]  # fmt: skip
        found = []
        for row, ids in enumerate(many["sequence_ids"]):
            for number in range(1, ids.max() + 1):
                real = ids == number
                found.append(examples_of(many, many_labels, row, real, np.argmax(real)))
        assert sorted(found) == sorted(expected)
        saved += len(one["token_ids"]) - len(many["token_ids"])
    assert saved > 0


def test_packed_batches_from_a_step_on():
    settings = ExampleSettings(max_length=32)
    one_pass = text_passes(Source(corpus(60)), TOKENIZER, settings, seed=1)
    whole = batches(one_pass, settings, passes=2, packing=True)
    assert_same(batches(one_pass, settings, passes=2, packing=True, start=3), whole[3:])
