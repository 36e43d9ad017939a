"""`BytePairTokenizer` against the byte-level BPE of `tokenizers`, which nobody here wrote."""

import json
import random

import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfmodels.errors import InputError
from tfmodels.text import characters
from tfmodels.text.bpe import END_OF_TEXT, BytePairTokenizer, printable_bytes
from tfmodels.text.vocabulary import learn_merges
from tfmodels.text.whole_tokens import AddedToken

TEXTS = [
    "The lighthouse keeper lights the light, and it's the light that keeps the ships away.",
    "",
    " ",
    "it's they're we've I'm you'll he'd can't IT'S THEY'RE it's's 's 's ''s !'s x''s\t's\n's",
    "'s't're've'm'll'd'sabc 'l 'r 'v 'lx don' '",
    "a  b   c \t d\n\n  e \n f\r\n\r\ng  ",
    "   \n\t ",
    "\u3000\u3000a \u00a0b\u00a0 c\u2028\u2029d\u200ae \u1680f\x85g\x0bh\x0c\x1c\x1f \u200bi",
    "1 22 333 a1b2 ½ ² Ⅷ ३४ ٣ 一二 １２ 3.14 -5 1'sabc 2's",
    "café cafe\u0301 CAFÉ \u0301 \u0301a \u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22",
    "今天天气很好，我们去公园。公园里天气好，人也很多。 中文 abc中文123",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f ok \U0001f1e9\U0001f1ea!",
    "a\x00b \x00 \x07\x7f\xad\ufffd\U000f0000\ue000 \U0010ffff",
    "aaaa aaa aaaaaaa ababab abababa banana bandana ...... ==== ===",
    "lighthouse" * 50 + " " + "a" * 3001 + " " * 3001 + "!" * 999 + "我" * 500,
    f"one{END_OF_TEXT}two {END_OF_TEXT} three{END_OF_TEXT}{END_OF_TEXT}",
    f"{END_OF_TEXT}'s  {END_OF_TEXT}  it{END_OF_TEXT}'s a\u0301{END_OF_TEXT}\u0301b",
    f"<|endoftext|{END_OF_TEXT[:-1]} <<|endoftext|>> {END_OF_TEXT.upper()}",
]
CORPUS = [text for text in TEXTS if len(text) < 300] * 2
VOCABULARY, MERGES = learn_merges(CORPUS, 500)


def reference(vocabulary=VOCABULARY, merges=MERGES):
    ids = {token: i for i, token in enumerate(vocabulary)}
    tokenizer = tokenizers.ByteLevelBPETokenizer(ids, list(merges), add_prefix_space=False)
    if END_OF_TEXT in ids:
        tokenizer.add_special_tokens([END_OF_TEXT])
    return tokenizer


@pytest.fixture(scope="module")
def pair():
    """One graph of ours, and the reference."""
    ours = BytePairTokenizer(VOCABULARY, MERGES)
    graph = tf.function(ours.tokenize, input_signature=[tf.TensorSpec([None], tf.string)])
    return ours, graph, reference()


def assert_equal(ids, theirs, texts):
    expected = [encoding.ids for encoding in theirs.encode_batch(texts)]
    for text, got, wanted in zip(texts, ids.to_list(), expected, strict=True):
        assert got == wanted, ascii(text[:200])


def test_ids_equal_the_reference_on_hard_texts(pair):
    ours, graph, theirs = pair
    ids = ours.tokenize(TEXTS)
    assert ids.dtype == tf.int32
    assert_equal(ids, theirs, TEXTS)
    assert graph(tf.constant(TEXTS)).to_list() == ids.to_list()
    without = [text.replace(END_OF_TEXT, "").encode() for text in TEXTS]
    assert ours.detokenize(ids).numpy().tolist() == without


@pytest.mark.slow
def test_every_code_point_is_of_the_kind_it_has_in_the_reference(pair):
    """All of one kind in a row are one word, and one of another kind would break it."""
    valid = np.array([code for code in range(0x110000) if not 0xD800 <= code < 0xE000])
    page_of, table = characters.kind_table()
    kinds = table[page_of[valid >> 8] * 256 + (valid & 255)]
    texts = ["".join(map(chr, valid[kinds == kind])) for kind in range(4)]
    texts += ["".join(map(chr, valid)), "".join(chr(code) + "a" for code in valid[:0x3000])]
    split = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
    for number, text in enumerate(texts):
        expected = [len(word) for word, _ in split(text)]  # a word has a character for each byte
        assert number >= 4 or len(expected) == 1
        size = len(text.encode())
        got = pair[0]._word_places(tf.constant([text]), tf.constant([0, size], tf.int64))
        np.testing.assert_array_equal(np.diff(got, append=size), expected)


HARD = "aab' stmdrevl\n\t\u00a0\u3000é\u0301中1२½.!\U0001f600<|>\x00"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=30) | st.text(HARD, max_size=40), max_size=5))
@example(TEXTS)
@example(["".join(TEXTS)])
@example(["a ", " a", "'", "s", " ", "\n"])
def test_any_text_equals_the_reference_and_comes_back(pair, texts):
    ours, graph, theirs = pair
    ids = graph(tf.constant(texts, tf.string))
    assert_equal(ids, theirs, texts)
    expected = [text.replace(END_OF_TEXT, "").encode() for text in texts]
    assert ours.detokenize(ids).numpy().tolist() == expected


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=5))
@example([b"\xff", b"\xe2\x82", b"\xac", b"\xed\xa0\x80 a\xc3", b"\xf4\x90\x80\x80the\xf0\x9f\x98"])
@example([bytes(range(256)) * 2])
def test_any_bytes_come_back(pair, texts):
    ours, graph, _ = pair
    ids = graph(tf.constant(texts, tf.string))
    assert ours.detokenize(ids).numpy().tolist() == texts
    # A text's tokens do not depend on its neighbours, not even where it breaks off.
    alone = [graph(tf.constant([text])).to_list()[0] for text in texts]
    assert ids.to_list() == alone


@settings(max_examples=8, deadline=None)
@given(st.lists(st.text("abc", min_size=5, max_size=40), min_size=1, max_size=5))
def test_any_learned_merges_equal_the_reference(words):
    """Few letters: many pairs overlap, as in `aaa`."""
    vocabulary, merges = learn_merges([*words, "aaaa"] * 2, 320)
    ours = BytePairTokenizer(vocabulary, merges)
    texts = [*words, "".join(words), " ".join(words)]
    assert_equal(ours.tokenize(texts), reference(vocabulary, merges), texts)


def test_a_token_that_merging_does_not_give():
    """`abc` is in the vocabulary, and `bc` goes first: the word is not the token of its letters."""
    merges = [("b", "c"), ("a", "b"), ("ab", "c")]
    vocabulary = [*printable_bytes(), "bc", "ab", "abc"]
    ours = BytePairTokenizer(vocabulary, merges)
    assert ours.end_id is None
    texts = ["abc", "abcabc", "ab c", "aabbcc", END_OF_TEXT]
    assert_equal(ours.tokenize(texts), reference(vocabulary, merges), texts)
    assert ours.tokenize(["abc"]).to_list() == [[vocabulary.index("a"), vocabulary.index("bc")]]


def test_bytes_alone_and_another_end_of_text():
    ours = BytePairTokenizer([*printable_bytes(), "[E]"], [], end_of_text="[E]")
    ids = ours.tokenize(["é[E]a[[E]]"]).to_list()
    assert ids == [[0xC3, 0xA9, 256, ord("a"), ord("["), 256, ord("]")]]
    assert ours.get_config() == {"end_of_text": "[E]"}
    assert BytePairTokenizer(ours.vocabulary, ours.merges, end_of_text=None).end_id is None


def test_added_tokens_are_found_whole_as_in_the_reference():
    added = [
        AddedToken("<u>", special=True), AddedToken("<l>", lstrip=True),
        AddedToken("<r>", rstrip=True), AddedToken("new word"), AddedToken("new"),
        AddedToken("the", special=True),
    ]  # fmt: skip
    ours = BytePairTokenizer(VOCABULARY, MERGES, added_tokens=added)
    theirs = reference()
    for token in added:
        strips = {"lstrip": token.lstrip, "rstrip": token.rstrip}
        theirs.add_tokens([tokenizers.AddedToken(token.content, normalized=False, **strips)])
    draw = random.Random(0)
    parts = [
        *(token.content for token in added),
        *" \n\u3000\u00a0ewéx中<>",
        END_OF_TEXT,
        " the",
        "wor",
    ]
    texts = ["".join(draw.choices(parts, k=draw.randrange(12))) for _ in range(1000)]
    assert_equal(ours.tokenize(texts), theirs, texts)
    assert ours.detokenize(ours.tokenize(["<u> a new word"])).numpy().tolist() == [b" a new word"]
    again = BytePairTokenizer(ours.pieces, MERGES, **ours.get_config())
    assert again.vocabulary == (*VOCABULARY, "<u>", "<l>", "<r>", "new word", "new", "the")


def test_one_very_long_word(pair):
    """Costs a pass over the word for each different rank in it, not for each letter."""
    _, graph, theirs = pair
    letters = random.Random(0).choices("lighthousekpr", k=100_000)
    assert_equal(graph(tf.constant(["".join(letters), "a"])), theirs, ["".join(letters), "a"])


def test_attributes(pair):
    ours = pair[0]
    assert ours.vocabulary == tuple(VOCABULARY) and ours.merges == tuple(MERGES)
    assert ours.vocabulary_size == len(VOCABULARY)
    assert ours.end_id == VOCABULARY.index(END_OF_TEXT)
    assert ours.get_config() == {"end_of_text": END_OF_TEXT}
    content = ours.token_bytes.numpy().tolist()
    assert content[ours.end_id] == b"" and sorted(content[:256]) == [bytes([i]) for i in range(256)]
    assert content[VOCABULARY.index("Ġthe")] == b" the"


def write(folder, ids, merges):
    if ids is not None:
        (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    merges = merges if isinstance(merges, bytes) else merges.encode()
    (folder / "merges.txt").write_bytes(merges)
    return folder / "vocab.json", folder / "merges.txt"


def test_from_files(tmp_path, pair):
    ids = {token: i for i, token in enumerate(VOCABULARY)}
    lines = [" ".join(merge) for merge in MERGES]
    for content in ("\n".join(["#version: 0.2", *lines]) + "\n", "\r\n".join(lines)):
        read = BytePairTokenizer.from_files(*write(tmp_path, ids, content))
        assert (read.vocabulary, read.merges) == (tuple(VOCABULARY), tuple(MERGES))
        assert read.tokenize(TEXTS).to_list() == pair[0].tokenize(TEXTS).to_list()


BYTES = {character: i for i, character in enumerate(printable_bytes())}


@pytest.mark.parametrize(
    ("ids", "merges", "problem"),
    [
        (["a"], "", "vocab.json: not a JSON object"),
        ({"a": None, "b": 1}, "", "vocab.json: not a JSON object"),
        ({"a": 0, "b": 2}, "", "vocab.json: the ids are not 0 to 1, each once"),
        (None, "", "vocab.json: cannot be read"),
        (BYTES, b"\xff", "merges.txt, line 1: not UTF-8"),
        (BYTES, "#version\na b c\n", "merges.txt, line 2: 'a b c' is not two tokens"),
        (BYTES, "#version\na b\n", "merge 0 ('a', 'b'): 'ab' is not in the vocabulary"),
        ({"a": 0}, "", "no token 'Ā' (U+0100) for byte 0"),
        (BYTES | {"a b": 256}, "", "token 'a b' contains ' '"),
        (BYTES | {"": 256}, "", "an empty token"),
        (BYTES | {"ab": 256}, "a b\na b", "merge 1 ('a', 'b'): again"),
        (
            BYTES | {"ab": 256, "abc": 257},
            "ab c\na b",
            "merge 0 ('ab', 'c'): precedes merge 1, which makes 'ab'",
        ),
    ],
)
def test_from_files_names_the_problem(tmp_path, ids, merges, problem):
    with pytest.raises(InputError) as error:
        BytePairTokenizer.from_files(*write(tmp_path, ids, merges))
    assert problem in str(error.value)
    assert "\n" not in str(error.value)
