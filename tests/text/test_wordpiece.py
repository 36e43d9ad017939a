"""`WordPieceTokenizer` against `tokenizers.BertWordPieceTokenizer`, which nobody here wrote."""

import json
import string

import pytest
import tensorflow as tf
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfmodels.errors import InputError
from tfmodels.text.whole_tokens import AddedToken
from tfmodels.text.wordpiece import WordPieceTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = string.ascii_letters + string.digits + "àéİßœДдЯ가한한ـبしシ"
ALONE = string.punctuation + "，。…“”¿«»中文我爱你豈㐀𠀀"
WORDS = ["the", "film", "##ing", "##'", "un", "##believ", "##able", "ﬁ", "ᄒ", "##ᅡ", "##ᆫ", "한국"]
VOCABULARY = list(dict.fromkeys([*SPECIAL, *LETTERS, *(f"##{c}" for c in LETTERS), *ALONE, *WORDS]))

OPTIONS = {
    "uncased": {},
    "cased": {"lowercase": False},
    "lower_with_accents": {"strip_accents": False},
    "cased_without_accents": {"lowercase": False, "strip_accents": True},
    "cjk_in_words": {"split_cjk": False},
}
TEXTS = [
    "The unbelievable film, isn't it?",
    "",
    " \t\n\u00a0\u3000\u2028 ",
    "caf\u00e9 cafe\u0301 CAF\u00c9 \u0301 \u0301a a\u0301\u0302b",
    "\u0130stanbul \u1e9e \u00df \u03a3\u03a3 \u2260 \u226e \u037e \u1fef \ufb01lm \u212b",
    "\uc720\ub2c8\ucf54\ub4dc \ud55c\uad6d\uc5b4 \u1112\u1161\u11ab",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0628\u064e\u0640",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22",
    "我爱你，中文。“the film”…中\u0301文 \uf900\u3400\U00020000\U0002f800 カ\u3099ガ",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f ok\U0001f1e9\U0001f1ea",
    "ＦＩＬＭ ｆｉｌｍ，！ １２３",
    "a\x00b \x00 a\x07b\u200bc\u00add\ufeffe\ufffdf\x85g\x0bh\x1ci\U000f0000j\ue000k",
    "a" * 100 + " " + "a" * 101 + " " + "é" * 100 + " " + "e\u0301" * 101 + " x",
    "한" * 33 + " " + "한" * 34 + " b",
    "\U00010400" * 100 + " \U00010428",
    "[MASK][SEP]x[CLS] [PAD][UNK] the[MASK]film [mask] [MASK [[MASK]] MASK] [CL",
    "e[MASK]\u0301a [MA\u200dSK] [SEP]",
    "## #the ##ing '' -- $€+<=>^`|~",
    "[",
    "un##believable the\u00a0film",
]


def reference(vocabulary=VOCABULARY, *, split_cjk=True, **options):
    ids = {token: i for i, token in enumerate(vocabulary)}
    return tokenizers.BertWordPieceTokenizer(ids, handle_chinese_chars=split_cjk, **options)


@pytest.fixture(scope="module", params=OPTIONS)
def pair(request):
    """Our tokenizer and the reference under the same options."""
    options = OPTIONS[request.param]
    return WordPieceTokenizer(VOCABULARY, **options), reference(**options)


@pytest.fixture(scope="module")
def uncased():
    return WordPieceTokenizer(VOCABULARY), reference()


def expected_ids(theirs, texts):
    return [e.ids for e in theirs.encode_batch(texts, add_special_tokens=False)]


def test_ids_equal_the_reference_on_hard_texts(pair):
    ours, theirs = pair
    ids = ours.tokenize(TEXTS)
    assert ids.dtype == tf.int32
    for text, got, expected in zip(TEXTS, ids.to_list(), expected_ids(theirs, TEXTS), strict=True):
        assert got == expected, ascii(text)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_every_code_point_is_normalized_and_split_as_in_the_reference(name):
    options = dict(OPTIONS[name])
    ours = WordPieceTokenizer(VOCABULARY, **options)
    options["handle_chinese_chars"] = options.pop("split_cjk", True)
    normalizer = tokenizers.normalizers.BertNormalizer(**({"lowercase": True} | options))
    split = tokenizers.pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    # Between two letters: what is removed, what is a blank and what stands alone all differ.
    valid = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    texts = [
        " ".join(f"a{chr(code)}b" for code in valid[first : first + 4096])
        for first in range(0, len(valid), 4096)
    ]
    words = ours._split(tf.constant(texts))
    got = tf.RaggedTensor.from_value_rowids(words.strings, words.row).to_list()
    for text, line in zip(texts, got, strict=True):
        expected = [word.encode() for word, _ in split(normalizer.normalize_str(text))]
        assert line == expected, f"in the 4096 code points from U+{ord(text[1]):04X}"


@pytest.fixture(scope="module", params=["uncased", "cased"])
def compiled(request):
    """One graph of ours, the vocabulary, the reference, and its clean-up without CJK blanks."""
    options = OPTIONS[request.param]
    ours = WordPieceTokenizer(VOCABULARY, **options)
    graph = tf.function(
        ours.tokenize_with_offsets, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    normalizer = tokenizers.normalizers.BertNormalizer(handle_chinese_chars=False, **options)
    return graph, reference(**options), normalizer.normalize_str


NASTY = "aéEb\u0301\u0345가中，. []MASKUN#'\u200d\x00ﬁİ\U0001f600\u2260"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=30) | st.text(NASTY, max_size=40), max_size=5))
@example(TEXTS)
@example(["".join(TEXTS[:3] + TEXTS[6:])])
@example(["[MASK]\u0301x", "\u0301"])
def test_any_text_equals_the_reference_and_offsets_spell_the_tokens(compiled, texts):
    graph, theirs, spell = compiled
    columns = [values.to_list() for values in graph(tf.constant(texts, tf.string))]
    assert columns[0] == expected_ids(theirs, texts)
    for text, *tokens in zip(texts, *columns, strict=True):
        for token, start, end in zip(*tokens, strict=True):
            span, token = text[start:end], VOCABULARY[token]
            assert 0 <= start < end <= len(text)
            if token == "[UNK]" or any("\uac00" <= c <= "\ud7a3" for c in span):
                continue  # no spelling; part of a syllable
            assert token in (span, spell(span), f"##{spell(span)}")


def spans(tokenizer, text):
    ids, starts, ends = (values.to_list()[0] for values in tokenizer.tokenize_with_offsets([text]))
    return [(tokenizer.vocabulary[t], s, e) for t, s, e in zip(ids, starts, ends, strict=True)]


def test_offsets_count_characters_of_the_text_as_given(uncased):
    tokenizer = uncased[0]
    text = "\x00Cafe\u0301\u0301, \U0001f600 the\u200d film[MASK]"
    assert spans(tokenizer, text) == [
        ("c", 1, 2),
        ("##a", 2, 3),
        ("##f", 3, 4),
        ("##e", 4, 7),  # with its two accents
        (",", 7, 8),
        ("[UNK]", 9, 10),
        ("the", 11, 14),
        ("film", 16, 20),
        ("[MASK]", 20, 26),
    ]
    # The parts of a syllable share its one character; an unknown word is one span.
    assert spans(tokenizer, "한") == [("ᄒ", 0, 1), ("##ᅡ", 0, 1), ("##ᆫ", 0, 1)]
    assert spans(tokenizer, "a" * 101 + " the") == [("[UNK]", 0, 101), ("the", 102, 105)]


def test_offsets_without_stripping_keep_accents_apart():
    vocabulary = [*VOCABULARY, "##\u0301"]
    tokenizer = WordPieceTokenizer(vocabulary, lowercase=False)
    assert spans(tokenizer, "e\u0301") == [("e", 0, 1), ("##\u0301", 1, 2)]


@pytest.mark.parametrize(
    ("options", "text", "tokens", "ends"),
    [
        ({}, "The 9x, 中文[MASK]", "t ##h ##e 9 ##x , 中 文 [MASK]", [1, 2, 3, 5, 6, 7, 9, 10, 16]),
        ({}, "한e\u0301e", "ᄒ ##ᅡ ##ᆫ ##e ##e", [1, 1, 1, 3, 4]),  # NFD of the first: three pieces
        ({"lowercase": False}, "The가한é", "T ##h ##e ##가 ##한 ##é", [1, 2, 3, 4, 5, 6]),
        ({}, "a\u200bb b\u4e8cx", "a ##b b [UNK] x", [1, 3, 5, 6, 7]),
    ],
)
def test_characters_as_words(options, text, tokens, ends):
    tokenizer = WordPieceTokenizer(VOCABULARY, **options)
    ids, _, found = tokenizer.by_characters().tokenize_with_offsets([text])
    assert " ".join(VOCABULARY[n] for n in ids.to_list()[0]) == tokens
    assert found.to_list() == [ends]
    assert len(tokenizer.tokenize(["the film"])[0]) == 2  # stays as it was


@pytest.mark.parametrize(
    "broken", [b"the\xff film", b"\xed\xa0\x80the", b"film\xe2\x82", b"\xf4\x90\x80\x80a \xc3the"]
)
def test_broken_utf8_is_dropped(uncased, broken):
    ours, theirs = uncased
    text = broken.decode(errors="replace")
    assert ours.tokenize([broken]).to_list() == expected_ids(theirs, [text])
    assert spans(ours, broken) == spans(ours, text)


def test_detokenize_as_the_reference(uncased):
    ours, theirs = uncased
    texts = ["The unbelievable film, isn't it? [MASK] No! a.b", "x, y. [UNK] 한국 café", ""]
    ids = ours.tokenize(texts)
    expected = [theirs.decode(row, skip_special_tokens=True) for row in ids.to_list()]
    assert expected[0] == "the unbelievable film, isn ' t it? no! a. b"
    assert [text.decode() for text in ours.detokenize(ids).numpy()] == expected
    dense = tf.concat([[[ours.cls_id]] * 3, ids.to_tensor(ours.pad_id)], axis=1)
    assert [text.decode() for text in ours.detokenize(dense).numpy()] == expected


@pytest.mark.parametrize("text", ["我爱你，中文。", "我爱“中文”，文…", "中文 film 中文", "a, b 我"])
def test_detokenize_chinese_without_blanks(uncased, text):
    tokenizer = uncased[0]
    assert tokenizer.detokenize(tokenizer.tokenize([text])).numpy()[0].decode() == text


def test_attributes_and_config():
    tokenizer = WordPieceTokenizer(VOCABULARY, lowercase=False)
    assert tokenizer.vocabulary == tuple(VOCABULARY)
    assert tokenizer.vocabulary_size == len(VOCABULARY)
    ids = tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id
    assert ids == (0, 1, 2, 3, 4)
    config = tokenizer.get_config()
    assert config == {"lowercase": False, "strip_accents": False, "split_cjk": True}
    assert WordPieceTokenizer(VOCABULARY, **config).get_config() == config
    maskless = WordPieceTokenizer([token for token in VOCABULARY if token != "[MASK]"])
    assert maskless.mask_id is None
    assert len(maskless.tokenize(["[MASK]"]).to_list()[0]) > 1


ADDED = [
    AddedToken("[E1]", special=True), AddedToken("the film"), AddedToken("film", normalized=True),
    AddedToken("É我", normalized=True), AddedToken("##ing x"), AddedToken("aa"), AddedToken("aab"),
]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([*(t.content for t in ADDED), *"abE é我[]\u0301\x00", "FILM"]))
    )
)
@example([["aaab aab É我é我 the film FILM \u0301fi\x00lm film\u0301 ##ing x [e1][E1]"]])
def test_added_tokens_are_found_whole_as_in_the_reference(added_pair, texts):
    graph, theirs, vocabulary = added_pair
    texts = ["".join(text) for text in texts]
    ids, starts, ends = (part.to_list() for part in graph(tf.constant(texts, tf.string)))
    assert ids == expected_ids(theirs, texts)
    raw = {token.content for token in ADDED if not token.normalized}
    for text, *row in zip(texts, ids, starts, ends, strict=True):
        for number, start, end in zip(*row, strict=True):
            assert text[start:end] == vocabulary[number] or vocabulary[number] not in raw


@pytest.fixture(scope="module")
def added_pair():
    """A graph of ours with added tokens, the reference, and the vocabulary."""
    ours = WordPieceTokenizer(VOCABULARY, added_tokens=ADDED)
    assert ours.vocabulary == (*VOCABULARY, *(t.content for t in ADDED if t.content != "film"))
    assert ours.pieces == tuple(VOCABULARY)
    again = WordPieceTokenizer(ours.pieces, **json.loads(json.dumps(ours.get_config())))
    assert again.vocabulary == ours.vocabulary and again.get_config() == ours.get_config()
    graph = tf.function(
        again.tokenize_with_offsets, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    theirs = reference()
    for token in ADDED:
        fields = {"special": token.special, "normalized": token.normalized}
        theirs.add_tokens([tokenizers.AddedToken(token.content, **fields)])
    return graph, theirs, ours.vocabulary


def test_special_tokens_of_other_names():
    names = {"pad_token": "<p>", "unk_token": "<u>", "cls_token": "<s>", "sep_token": "</s>"}
    tokenizer = WordPieceTokenizer([*names.values(), "a"], special_tokens=names)
    assert (tokenizer.unk_id, tokenizer.special_ids) == (1, {0, 1, 2, 3})
    ids = tokenizer.tokenize(["a<s>b</s>"])
    assert ids.to_list() == [[4, 2, 1, 3]]
    assert tokenizer.detokenize(ids).numpy().tolist() == [b"a"]
    with pytest.raises(InputError, match="special_tokens: 'pad'; give some of pad_token"):
        WordPieceTokenizer(VOCABULARY, special_tokens={"pad": "<p>"})


def test_empty_and_repeated_tokens_keep_the_ids_of_the_others():
    tokenizer = WordPieceTokenizer([*SPECIAL, "a", "", "b", "a", "##b"])
    assert tokenizer.tokenize(["a b ab \ue0005"]).to_list() == [[8, 7, 8, 9, 1]]
    assert tokenizer.detokenize([[6, 5, 7]]).numpy().tolist() == [b" a b"]


def test_from_file(tmp_path, uncased):
    path = tmp_path / "vocab.txt"
    for content in ("\n".join(VOCABULARY), "\ufeff" + "\r\n".join(VOCABULARY) + "\r\n\r\n"):
        path.write_bytes(content.encode())
        assert WordPieceTokenizer.from_file(path).vocabulary == tuple(VOCABULARY)
    separator = [*VOCABULARY, "\u2028"]
    path.write_text("\n".join(separator) + "\n", encoding="utf-8")
    assert WordPieceTokenizer.from_file(path, lowercase=False).vocabulary == tuple(separator)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "empty; give one token a line"),
        (b"[PAD]\n[UNK]\na\xff\n", "line 3: not UTF-8"),
        (b"[PAD]\n[UNK]\n[CLS]\na\n", "line 5: ends without [SEP]"),
    ],
)
def test_from_file_names_the_problem(tmp_path, content, problem):
    path = tmp_path / "vocab.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        WordPieceTokenizer.from_file(path)
    assert str(path) in str(error.value)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)
