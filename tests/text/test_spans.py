"""`entity_spans` against Python's own slices of the text."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfmodels.text.spans import codes_of, entity_spans, tags_of
from tfmodels.text.tags import labels_of
from tfmodels.text.windows import tag_inputs
from tfmodels.text.wordpiece import WordPieceTokenizer

TYPES = ["PER", "人名", "B-x"]
LABELS = labels_of(TYPES)
OUT, B_PER, I_PER, B_ZH, I_ZH, B_X, I_X = range(7)
TOKENIZER = WordPieceTokenizer(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "e", "##e", "in", "李", ".", "s"],
)


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def words_of(texts):
    return tag_inputs(TOKENIZER, texts, 40, 5)[1]


@tf.function(reduce_retracing=True)
def answer_to(texts, tags, scores, words):
    return entity_spans(texts, tags, scores, words.starts, words.ends, LABELS)


def found(texts, tags):
    """What `entity_spans` finds, as a list of `(entity, type, start, end)` for each text."""
    texts = tf.constant(texts)
    words = words_of(texts)
    most = words.mask.shape[1]
    tags = tf.constant([(row + [OUT] * most)[:most] for row in tags], shape=[len(texts), most])
    return as_lists(answer_to(texts, tags, tf.ones(tags.shape), words))


def as_lists(answer):
    names = ("entity", "type", "start", "end")
    rows = zip(*(answer[name].numpy() for name in names), strict=True)
    entities = [list(zip(*row, strict=True)) for row in rows]
    for row in entities:
        padding = [entity for entity in row if entity[2] < 0]
        assert padding == [(b"", b"", -1, -1)] * len(padding) == row[len(row) - len(padding) :]
    return [
        [(entity.decode(), kind.decode(), int(start), int(end))
         for entity, kind, start, end in row if start >= 0]
        for row in entities
    ]  # fmt: skip


def expected(text, tags, starts, ends):
    """The same by a walk over the words."""
    text, entities, open_type = text.decode(errors="replace"), [], None
    for tag, start, end in zip(tags, starts, ends, strict=True):
        kind = None if tag == OUT else TYPES[(tag - 1) // 2]
        if tag != OUT and tag % 2 == 0 and kind == open_type:
            entities[-1][2] = int(end)
        elif tag != OUT:
            entities.append([kind, int(start), int(end)])
        open_type = kind
    return [(text[start:end], kind, start, end) for kind, start, end in entities]


# Alphabets in which one character is seldom one byte, one word or one place on the screen.
PIECES = st.sampled_from(
    ["a", "e\u0301", "in", "Ünï", "李小龙", "ａｂ", "👩\u200d👩\u200d👧", "🇩🇪", "עברית", "محمد",
     "한국", " ", "  ", "\t", "\u3000", "\u00a0", "\x00", "\x07", "\ufeff", "\u200b", "\u0301",
     "\ufffd", ".", "[MASK]", "\uffff", "𝒜", "ß", "ǅ", "\r\n", "- ", "…"]
)  # fmt: skip
BROKEN = st.sampled_from([b"\xff", b"\xc3", b"\xe4\xbd", b"\xf0\x9f\x98", b"\x80", b"\xed\xa0\x80"])
TEXTS = st.lists(
    PIECES.map(str.encode) | BROKEN | st.text(max_size=5).map(str.encode), max_size=12
).map(b"".join)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.lists(st.integers(0, 6), max_size=30)), min_size=1, max_size=3))
def test_entities_are_slices_of_the_text(rows):
    texts = [text for text, _ in rows]
    words = words_of(tf.constant(texts))
    starts, ends, mask = words.starts.numpy(), words.ends.numpy(), words.mask.numpy()
    tags = [(tags * 40 + [OUT] * 80)[: mask.shape[1]] for _, tags in rows]
    wanted = [
        expected(text, np.array(row)[real].tolist(), first[real], last[real])
        for text, row, first, last, real in zip(texts, tags, starts, ends, mask, strict=True)
    ]
    assert found(texts, tags) == wanted


def test_score_is_the_product_over_the_words():
    texts = tf.constant(["a a a a", "a"])
    words = words_of(texts)
    tags = tf.constant([[B_PER, I_PER, OUT, B_X], [B_X, I_X, I_X, I_X]])
    scores = tf.constant([[0.5, 0.25, 0.1, 0.75], [0.3, 0.1, 0.1, 0.1]])
    answer = answer_to(texts, tags, scores, words)
    np.testing.assert_allclose(answer["score"], [[0.125, 0.75], [0.3, 0]], rtol=1e-6)
    assert answer["score"].dtype == tf.float32


@pytest.mark.parametrize("texts", [["", "  "], ["a a"], []])
def test_no_entity(texts):
    texts = tf.constant(texts, tf.string)
    words = words_of(texts)
    tags = tf.zeros_like(words.starts)
    answer = answer_to(texts, tags, tf.ones(tags.shape), words)
    assert {key: (value.shape, value.dtype) for key, value in answer.items()} == {
        "entity": ((len(texts), 0), tf.string),
        "type": ((len(texts), 0), tf.string),
        "start": ((len(texts), 0), tf.int32),
        "end": ((len(texts), 0), tf.int32),
        "score": ((len(texts), 0), tf.float32),
    }


PREFIXED = {
    "iob2": "O B-A I-A B-B I-B", "sorted": "B-A B-B I-A I-B O", "bioes": "O B-A I-A E-A S-A S-B",
    "bmes": "B-A M-A E-A S-A B-B M-B E-B S-B O", "bilou": "O B-A I-A L-A U-A B-B I-B L-B U-B",
}  # fmt: skip


class TestSchemes:
    """Labels as published taggers have them."""

    @pytest.mark.parametrize("labels", PREFIXED.values(), ids=PREFIXED)
    def test_what_is_trained_on_is_answered(self, labels):
        labels = labels.split()
        codes = tf.constant([[0, 1, 2, 2, 1, 1, 2, 0, 3], [3, 1, 2, 3, 3, 0, 1, -1, -1]])
        tags = tags_of(codes, labels)
        words = tf.constant([[True] * 9, [True] * 7 + [False] * 2])
        np.testing.assert_array_equal(codes_of(tags, words, labels), tf.maximum(codes, 0))
        np.testing.assert_array_equal(tags < 0, codes < 0)

    @pytest.mark.parametrize(
        ("labels", "tags", "codes"),
        [
            ("O B-A I-A", "I-A I-A O B-A B-A I-A", [1, 2, 0, 1, 1, 2]),
            ("B-A I-A I-B O", "I-B I-A B-A I-A O I-B", [3, 1, 1, 2, 0, 3]),  # iob1
            ("O A B", "A A B O B B", [1, 2, 3, 0, 3, 4]),
            ("LABEL_0 LABEL_1", "LABEL_0 LABEL_1 LABEL_1", [1, 3, 4]),
            ("O B-A E-A I-A S-A", "S-A I-A E-A I-A B-A E-A", [1, 1, 2, 1, 1, 2]),
            ("[PAD] O B-A", "[PAD] B-A O", [0, 1, 0]),
        ],
    )
    def test_answers(self, labels, tags, codes):
        labels = labels.split()
        tags = tf.constant([[labels.index(tag) for tag in tags.split()]])
        assert codes_of(tags, tf.ones_like(tags, tf.bool), labels).numpy().tolist() == [codes]

    def test_no_label_for_outside(self):
        assert tags_of(tf.constant([[0, 1, 2]]), ["A", "B"]).numpy().tolist() == [[-1, 0, 0]]
