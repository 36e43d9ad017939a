"""Running text in blocks, windows over it, and prompts with their responses."""

import numpy as np
import pytest
import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.blocks import (
    NONE,
    block_batches,
    block_passes,
    response_batches,
    tokenized_passages,
    windows,
)
from tfmodels.text.character_tokens import CharacterTokenizer

LETTERS = [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]
# Character i of the text is the i-th of the vocabulary, so a test sees what came from where.
TOKENIZER = CharacterTokenizer([*LETTERS, "<|endoftext|>"])
END = TOKENIZER.end_id


class Source:
    """Passages in memory; every one but the `open` ones ends a document."""

    failure = None

    def __init__(self, texts, open_ones=()):
        self._texts, self._open = texts, open_ones

    def passages(self):
        for number, text in enumerate(self._texts):
            yield number, text, number not in self._open


def running(length):
    return "".join(LETTERS[i % len(LETTERS)] for i in range(length))


def tokens_of(source, **options):
    return np.concatenate(list(tokenized_passages(source.passages(), TOKENIZER, **options)))


def test_documents_are_separated():
    text = running(12)
    source = Source([text[:3], text[3:5], text[5:]], open_ones=[0])
    expected = [0, 1, 2, 3, 4, END, 5, 6, 7, 8, 9, 10, 11, END]
    assert tokens_of(source).tolist() == expected


def test_a_tokenizer_is_traced_once_for_all_passes():
    class Counting(CharacterTokenizer):
        traces = 0

        def tokenize(self, text):
            self.traces += 1
            return super().tokenize(text)

    tokenizer, source = Counting(LETTERS), Source([running(5)])
    for _ in range(3):
        assert sum(map(len, tokenized_passages(source.passages(), tokenizer))) == 5
    assert tokenizer.traces == 1


def test_what_is_left_out_separates_documents():
    text = running(9)
    source = Source([text[:3], text[3:6], text[6:]], open_ones=[0, 1])
    found = tokens_of(source, chosen=lambda number: number != 1)
    assert found.tolist() == [0, 1, 2, END, 6, 7, 8, END]


def test_blocks_hold_every_token_once():
    source = Source([running(2500)])
    (inputs, labels), *others = block_batches(
        block_passes(source, TOKENIZER, 64), 16, passes=1, drop_remainder=False
    )
    batches = [(inputs, labels), *others]
    found = np.concatenate([labels.numpy().ravel() for _, labels in batches])
    assert found[found != NONE].tolist() == [*range(1, 2500), END]
    for inputs, labels in batches:
        ids = inputs["token_ids"].numpy()
        assert (ids[:, 1:] == np.maximum(labels.numpy()[:, :-1], 0)).all()


def test_training_blocks_are_shuffled_and_cut_elsewhere():
    source = Source([running(2900)])
    one_pass = block_passes(source, TOKENIZER, 64, seed=3)
    firsts = []
    for number in (0, 1, 0):
        blocks = np.stack(list(one_pass(number).as_numpy_iterator()))
        assert (np.diff(blocks[:, :-1], axis=1) == 1).all()  # each is a piece of the text
        assert len(np.unique(blocks[:, 0])) == len(blocks) >= 43
        firsts.append(blocks[:, 0].tolist())
    assert firsts[0] == firsts[2] != firsts[1]
    assert sorted(firsts[0]) != firsts[0]
    assert firsts[0][0] % 64 != firsts[1][0] % 64


def test_resuming():
    one_pass = block_passes(Source([running(2900)]), TOKENIZER, 64, seed=3)
    everything = [ids["token_ids"].numpy() for ids, _ in block_batches(one_pass, 8).take(9)]
    later = [ids["token_ids"].numpy() for ids, _ in block_batches(one_pass, 8, start=6).take(3)]
    np.testing.assert_array_equal(everything[6:], later)


def test_parts_of_a_split():
    texts = [running(300)[n : n + 10] for n in range(0, 300, 10)]
    parts = {}
    for split in ("train", "validation", "all"):
        one_pass = block_passes(Source(texts), TOKENIZER, 8, split=split, held_out=0.3)
        ids = np.stack(list(one_pass(0).as_numpy_iterator()))[:, 1:]
        parts[split] = {int(token) // 10 for token in ids.flat if 0 <= token < 300}
    assert parts["all"] == set(range(30))
    assert 2 < len(parts["validation"]) < len(parts["train"])
    assert not parts["train"] & parts["validation"]


@pytest.mark.parametrize("texts", [[running(2900)], [running(900), running(2000)]])
@pytest.mark.parametrize("seed", range(4))
def test_of_a_text_of_few_passages_a_little_is_held_out(texts, seed):
    sizes = {}
    for split in ("train", "validation"):
        options = {"split": split, "held_out": 0.05, "hold_seed": seed}
        one_pass = block_passes(Source(texts), TOKENIZER, 16, **options)
        ids = np.stack(list(one_pass(0).as_numpy_iterator()))[:, 1:]
        sizes[split] = (ids >= 0).sum()
    assert 2800 < sum(sizes.values()) < 2960
    assert 100 < sizes["validation"] < 800


def test_no_whole_block():
    source = Source(["一二"])
    batches = block_batches(block_passes(source, TOKENIZER, 64, seed=0), 2)
    with pytest.raises(tf.errors.OpError):
        next(iter(batches))
    assert "no block of 64 tokens" in str(source.failure)


@pytest.mark.parametrize(("length", "stride"), [(8, 8), (8, 3), (8, 1), (200, 50)])
def test_windows_predict_every_token_once(length, stride):
    tokens = np.arange(100, dtype=np.int32)
    parts = [tokens[:37], tokens[37:38], tokens[38:]]
    predicted = []
    for inputs, labels in windows(parts, length, stride, start_id=END, batch_size=4):
        assert inputs.shape == labels.shape and inputs.shape[1] == length
        for ids, row in zip(inputs, labels, strict=True):
            places = np.flatnonzero(row >= 0)
            predicted += row[places].tolist()
            # What is predicted is the token after, and has enough before it.
            before = np.where(row[places] == 0, END, row[places] - 1)
            assert (ids[places] == before).all()
            if predicted[0] != row[places][0]:
                assert places[0] >= length - stride
    assert predicted == tokens.tolist()


def test_windows_of_nothing():
    with pytest.raises(InputError, match="no token to predict"):
        list(windows([np.array([5], np.int32)], 8, 4, start_id=None, batch_size=2))


def responses(rows, max_length=16, **options):
    prompts, answers = zip(*rows, strict=True)
    chunks = tf.data.Dataset.from_tensors((list(prompts), list(answers)))
    return list(response_batches(chunks, TOKENIZER, 4, max_length, **options))


def test_loss_is_on_the_response():
    text = running(9)
    ((inputs, labels),) = responses([(text[:4], text[4:7]), (text[:1], text[1:2])])
    by_length = np.argsort(inputs["padding_mask"].numpy().sum(1))
    ids, labels = inputs["token_ids"].numpy()[by_length], labels.numpy()[by_length]
    assert ids[0, :3].tolist() == [0, 1, END]
    assert labels[0].tolist()[:3] == [1, END, NONE] and (labels[0, 2:] == NONE).all()
    assert ids[1, :8].tolist() == [0, 1, 2, 3, 4, 5, 6, END]
    assert labels[1, :8].tolist() == [NONE, NONE, NONE, 4, 5, 6, END, NONE]


def test_too_long_loses_the_beginning_of_the_prompt():
    text = running(60)
    ((inputs, labels),) = responses([(text[:30], text[30:34])])
    assert inputs["token_ids"].numpy()[0].tolist() == [*range(19, 34), END]
    ((inputs, labels),) = responses([(text[:30], text[30:])])
    assert inputs["token_ids"].numpy()[0].tolist() == [*range(29, 44), END]
    assert labels.numpy()[0].tolist() == [*range(30, 44), END, NONE]


def test_the_last_batch_of_responses_counts():
    """Sixty rows in batches of 32 are two steps."""
    chunks = tf.data.Dataset.from_tensors((["一"] * 60, ["丁"] * 60))
    dataset = response_batches(chunks, TOKENIZER, 32, 16, seed=1, rows=60)
    assert int(dataset.cardinality()) == 2
    assert sum(len(labels) for _, labels in dataset) == 60
