"""Tag schemes against conversions written by hand."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfmodels.errors import InputError
from tfmodels.text.tags import (
    SCHEMES,
    TagError,
    detect_scheme,
    labels_of,
    split_tag,
    to_spans,
)

# The same sentence of seven words in each scheme.
SPANS = [("P", 0, 3), ("P", 4, 5), ("L", 5, 6), ("L", 6, 7)]
TAGS = {
    "iob2": "B-P I-P I-P O B-P B-L B-L",
    "iob1": "I-P I-P I-P O I-P I-L B-L",
    "iobes": "B-P I-P E-P O S-P S-L S-L",
    "bilou": "B-P I-P L-P O U-P U-L U-L",
    "bmes": "B-P M-P E-P O S-P S-L S-L",
    "iob": "I-P I-P I-P O B-P B-L B-L",
    "io": "P P P O P L L",
}


def test_every_scheme_is_tested():
    assert set(TAGS) == set(SCHEMES)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_spans(scheme):
    tags = TAGS[scheme].split()
    # Two of one type that touch are one in io.
    assert to_spans(tags, scheme) == (SPANS if scheme != "io" else [*SPANS[:2], ("L", 5, 7)])
    assert to_spans([], scheme) == to_spans(["O", "O"], scheme) == []


@pytest.mark.parametrize("scheme", sorted(set(SCHEMES) - {"iob"}))
def test_detected(scheme):
    assert detect_scheme([["O"], TAGS[scheme].split(), ["O", "O"]]) == (scheme, 0)


@pytest.mark.parametrize(
    ("sentences", "scheme"),
    [
        (["PER-LOC e-mail", "PER O O"], "iob2"),  # no types: "e-" may be a prefix
        (["B_P I_P O O O"], "iob2"),
        (["NN O DT NN"], "iob2"),  # parts of speech
        (["P L O O"], "io"),
        ([], "iob2"),
        (["O O"], "iob2"),
        (["B-P O B-L"], "iob2"),  # single words only
        (["I-P O I-L"], "iob1"),
        (["O I-P I-P"] * 3 + ["I-P B-P I-P"], "iob1"),
        (["S-P O"], "iobes"),
        (["U-P O"], "bilou"),
        (["B-P E-P"], "iobes"),  # or bmes, which reads it in the same way
        (["B-P I-P O"] * 9 + ["O I-P"], "iob2"),  # one mistake
        (["I-P I-P O"] * 9 + ["O B-P"], "iob1"),
        (["B-P M-P E-P"] * 9 + ["B-P I-P"], "bmes"),
    ],
)
def test_detected_by_the_fewest_contradictions(sentences, scheme):
    assert detect_scheme(sentence.split() for sentence in sentences)[0] == scheme


@pytest.mark.parametrize(
    ("scheme", "tags", "position", "reason"),
    [
        ("iob2", "O I-P", 1, "I-P after O, but in iob2 an entity begins with B-"),
        ("iob2", "B-L I-P", 1, "I-P after B-L"),
        ("iob1", "O B-P", 1, "B-P after O, but in iob1 B- only separates two entities of one type"),
        ("iob1", "I-L B-P", 1, "B-P after I-L"),
        ("iob2", "O S-P", 1, "S-P, but the scheme iob2 has no S-"),
        ("iobes", "B-P O", 1, "O (or the end) after B-P, but in iobes an entity ends with E-"),
        ("iobes", "O B-P", 1, "after B-P"),
        ("iobes", "B-P B-P E-P", 1, "B-P (or the end) after B-P"),
        ("iobes", "O E-P", 1, "E-P after O, but in iobes an entity begins with B-"),
        ("iobes", "S-P I-P", 1, "I-P after S-P"),
        ("bilou", "B-P L-L", 1, "in bilou an entity ends with L-"),
        ("bmes", "B-P I-P", 1, "the scheme bmes has no I-"),
    ],
)
def test_contradictions_name_tag_place_and_reason(scheme, tags, position, reason):
    with pytest.raises(TagError) as caught:
        to_spans(tags.split(), scheme)
    assert caught.value.position == position and reason in caught.value.reason
    assert str(caught.value).startswith(f"tag {position + 1}: ")
    assert "name their scheme" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "tags", "spans", "wrong"),
    [
        ("iob2", "B-P.x I-P.y O I-L", [("P.x", 0, 1), ("P.y", 1, 2), ("L", 3, 4)], 2),
        ("iobes", "B-P O E-L S-P S-P S-P", [("P", 0, 1), ("L", 2, 3), *[("P", i, i + 1)
                                            for i in (3, 4, 5)]], 2),
    ],
)  # fmt: skip
def test_contradictions_are_mended_as_the_scorer_of_conll_reads_them(scheme, tags, spans, wrong):
    sentences = [tags.split(), *[TAGS[scheme].split()] * 3]
    assert detect_scheme(sentences) == (scheme, wrong)
    assert to_spans(sentences[0], scheme, mend=True) == spans


@pytest.mark.parametrize("tag", ["", "o", "B", "B-", "B- ", "PER", "X-PER", "B_PER", "-B-P", "-"])
def test_forms_that_are_no_tags(tag):
    with pytest.raises(TagError, match="is no tag; write O, or B-TYPE"):
        to_spans(["O", tag], "iob2")
    with pytest.raises(TagError, match="is no tag"):
        to_spans([tag], detect_scheme([[tag]])[0], mend=True)


def test_types_hold_any_characters():
    assert split_tag("B-B-cell line") == ("B", "B-cell line")
    assert to_spans(["B-人名", "I- 人名", "B--"], "iob2") == [("人名", 0, 2), ("-", 2, 3)]


def test_unknown_scheme():
    with pytest.raises(InputError, match="'iob3' is unknown; give one of iob2, iob1"):
        to_spans(["O"], "iob3")


SENTENCES = st.lists(
    st.tuples(st.sampled_from(["O", "P", "L", "B-P"]), st.integers(1, 4)), max_size=8
)


def written(entities, scheme):
    """The tags of entities one after the other, by the definition of each scheme."""
    first, inner, last, only = {
        "iobes": "BIES", "bilou": "BILU", "bmes": "BMES"
    }.get(scheme, "BIIB")  # fmt: skip
    tags, before = [], None
    for kind, length in entities:
        if kind == "O":
            tags += ["O"] * length
        else:
            prefixes = only if length == 1 else first + inner * (length - 2) + last
            if scheme == "iob1" and before != kind:
                prefixes = "I" * length
            tags += [f"{prefix}-{kind}" for prefix in prefixes]
        before = kind
    return tags


@given(SENTENCES, st.sampled_from([scheme for scheme in SCHEMES if scheme != "io"]))
def test_any_sentence_in_any_scheme(entities, scheme):
    ends = list(itertools.accumulate(length for _, length in entities))
    spans = [
        (kind, end - length, end)
        for (kind, length), end in zip(entities, ends, strict=True)
        if kind != "O"
    ]
    assert to_spans(written(entities, scheme), scheme) == spans


def test_labels():
    assert labels_of(["LOC", "B-x", "人名"]) == [
        "O", "B-LOC", "I-LOC", "B-B-x", "I-B-x", "B-人名", "I-人名"
    ]  # fmt: skip
    for types in ([], ["LOC", "LOC"], ["LOC", " "]):
        with pytest.raises(InputError, match="each once and none of them empty"):
            labels_of(types)
