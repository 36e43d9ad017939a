"""Pairs of texts: what is around both sides, batches of few lengths, long texts in parts."""

import random

import numpy as np
import pytest
import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.character_tokens import CharacterTokenizer
from tfmodels.text.pairs import (
    NONE,
    PairTokens,
    in_parts,
    pair_batches,
    pair_tokens,
    source_batch,
    steps_of_pass,
)
from tfmodels.text.sentence_pieces import PieceTokenizer
from tfmodels.text.vocabulary import learn_pieces
from tfmodels.text.wordpiece import WordPieceTokenizer

WORDS = [f"w{number}" for number in range(40)]
TOKENIZER = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])
BART = PairTokens(end_id=2, start_id=2, pad_id=1, bos_id=0)


def pairs(number, longest=60, seed=0):
    rng = random.Random(seed)
    return [
        tuple(" ".join(rng.choices(WORDS, k=rng.randint(1, most))) for most in (longest, 20))
        for _ in range(number)
    ]


def chunks(rows, size=100):
    sources, targets = map(list, zip(*rows, strict=True))
    return tf.data.Dataset.from_tensor_slices((sources, targets)).batch(size)


def ids(text):
    return [TOKENIZER.vocabulary.index(word) for word in text.split()]


class TestTokens:
    def test_of_wordpiece(self):
        tokens = pair_tokens(TOKENIZER)
        assert tokens == PairTokens(end_id=3, start_id=2, pad_id=0, bos_id=2)
        assert (tokens.source_bos, tokens.target_bos) == ((2,), ())

    def test_of_one_that_only_ends_texts(self):
        tokens = pair_tokens(CharacterTokenizer(["<|endoftext|>", "a", "b"]))
        assert tokens == PairTokens(end_id=0, start_id=0, pad_id=0)
        assert (tokens.source_bos, tokens.target_bos) == ((), ())

    def test_of_bart(self):
        assert (BART.source_bos, BART.target_bos) == ((0,), (0,))

    def test_without_an_end(self):
        with pytest.raises(InputError, match="no token that ends a text"):
            pair_tokens(CharacterTokenizer(["a", "b"]))


class TestBatches:
    @pytest.mark.parametrize("tokens", [pair_tokens(TOKENIZER), BART])
    def test_what_is_read_and_what_is_wanted(self, tokens):
        rows = pairs(3)
        ((inputs, labels),) = pair_batches(chunks(rows), TOKENIZER, tokens, 4, 64, 32)
        assert {name: x.dtype for name, x in inputs.items()} == {
            "token_ids": tf.int32, "padding_mask": tf.bool, "decoder_token_ids": tf.int32,
        }  # fmt: skip
        found = set()
        for row in range(3):
            mask = inputs["padding_mask"].numpy()[row]
            source = inputs["token_ids"].numpy()[row]
            wanted = labels.numpy()[row]
            counts = wanted != NONE
            read = inputs["decoder_token_ids"].numpy()[row]
            assert (source[~mask] == tokens.pad_id).all() and mask[: mask.sum()].all()
            # The label of a place is what the decoder reads at the next.
            assert read[0] == tokens.start_id
            assert (read[1:][counts[:-1]][:-1] == wanted[counts][:-1]).all()
            found.add((*source[mask], -9, *wanted[counts]))
        assert found == {
            (*tokens.source_bos, *ids(source), tokens.end_id, -9,
             *tokens.target_bos, *ids(target), tokens.end_id)
            for source, target in rows
        }  # fmt: skip

    def test_both_sides_are_cut_and_still_end(self):
        long = " ".join(WORDS)
        tokens = pair_tokens(TOKENIZER)
        ((inputs, labels),) = pair_batches(chunks([(long, long)]), TOKENIZER, tokens, 4, 10, 6)
        assert inputs["token_ids"].numpy().tolist() == [[2, *ids(long)[:8], 3]]
        assert labels.numpy().tolist() == [[*ids(long)[:5], 3]]

    def test_every_pair_once_and_little_padding(self):
        rows = pairs(700)
        tokens = pair_tokens(TOKENIZER)
        sizes, places, real, shapes = [], 0, 0, set()
        for inputs, labels in pair_batches(chunks(rows), TOKENIZER, tokens, 16, 64, 32, seed=3):
            sizes.append(len(labels))
            shapes.add((inputs["token_ids"].shape[1], labels.shape[1]))
            for counts in (inputs["padding_mask"].numpy(), labels.numpy() != NONE):
                places, real = places + counts.size, real + counts.sum()
        assert sum(sizes) == 700 and sorted(sizes)[:1] == [700 % 16] and len(sizes) == 44
        assert real / places > 0.75  # a half in the order of the file
        assert len(shapes) <= 16

    def test_the_order_follows_from_the_seed(self):
        def first(seed):
            batches = pair_batches(chunks(pairs(300)), TOKENIZER, BART, 8, 64, 32, seed)
            return [labels.numpy().tolist() for _, labels in batches]

        assert first(1) == first(1) != first(2)

    def test_in_order(self):
        rows = pairs(90)
        batches = pair_batches(chunks(rows), TOKENIZER, BART, 8, 64, 32, in_order=True)
        sources = [
            row[1 : row.index(2)]
            for inputs, _ in batches
            for row in inputs["token_ids"].numpy().tolist()
        ]
        assert sources == [ids(source) for source, _ in rows]


class TestParts:
    @pytest.mark.parametrize("room", [1, 3, 7, 50])
    def test_they_are_the_text(self, room):
        rows = [list(range(length)) for length in (0, 1, 7, 8, 22, 0)]
        parts, number = in_parts(tf.ragged.constant(rows, tf.int32, ragged_rank=1), room)
        parts = parts.to_list()
        assert sum(number.numpy()) == len(parts)
        assert number.numpy().tolist() == [max(-(-len(row) // room), 1) for row in rows]
        at = 0
        for row, count in zip(rows, number.numpy(), strict=True):
            own = parts[at : at + count]
            assert sum(own, []) == row
            lengths = [len(part) for part in own]
            assert max(lengths) <= room and (not row or min(lengths) > 0)
            at += count

    def test_no_text_at_all(self):
        empty = tf.RaggedTensor.from_row_splits(tf.zeros([0], tf.int32), [0])
        parts, number = in_parts(empty, 5)
        assert parts.nrows() == 0 and number.shape == (0,)
        batch = source_batch(parts, BART, 10)
        assert batch["token_ids"].shape[0] == 0


def test_sources_alone():
    rows = tf.ragged.constant([[7, 8, 9], []], tf.int32)
    batch = source_batch(rows, BART, 4)
    np.testing.assert_array_equal(batch["token_ids"], [[0, 7, 8, 2], [0, 2, 1, 1]])
    np.testing.assert_array_equal(batch["padding_mask"], [[1, 1, 1, 1], [1, 1, 0, 0]])


class TestBatchesOfTokens:
    TEXTS = [" ".join(["a small dog"] * (1 + number % 7)) for number in range(300)]

    def batches(self, tokens, seed=0, number=30):
        tokenizer = PieceTokenizer(learn_pieces(self.TEXTS, 280))
        chunks = tf.data.Dataset.from_tensor_slices((self.TEXTS, self.TEXTS[::-1])).batch(64)
        around = pair_tokens(tokenizer)
        given = (chunks, tokenizer, around)
        steps = steps_of_pass(*given, tokens, 64, 64)
        batches = pair_batches(*given, 0, 64, 64, seed, batch_tokens=tokens)
        return steps, list(batches.take(number).as_numpy_iterator())

    def test_no_side_has_more(self):
        steps, batches = self.batches(256)
        sizes = [max(x["token_ids"].size, labels.size) for x, labels in batches]
        assert max(sizes) <= 256 and np.mean(sizes) > 150
        real = np.mean([x["padding_mask"].mean() for x, _ in batches])
        assert real > 0.6
        rows = np.mean([len(labels) for _, labels in batches])
        assert steps == pytest.approx(300 / rows, rel=0.5)

    def test_the_same_again(self):
        one, other = (self.batches(256, number=5)[1] for _ in range(2))
        for (_, first), (_, second) in zip(one, other, strict=True):
            np.testing.assert_array_equal(first, second)
