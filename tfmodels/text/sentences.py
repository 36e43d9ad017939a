"""Sentences of a text, by a rule that needs no model.

A sentence ends after `.`, `!` or `?` (and closing quotes or brackets) before a space, after
`。`, `！` or `？` (and closing marks) with or without one, and with its line. The rule knows no
abbreviations; a sentence cut too early costs pretraining nothing. All characters except the
spaces between sentences are kept.
"""

import re

_MAX_CHARACTERS = 10_000  # of a sentence
CLOSING = r"[\"'”’»)\]}」』）】》]"
_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff"  # they need no space before them
# The closing marks are bounded and everything else is anchored to the mark that ends a sentence:
# no text makes the search slower than linear.
_END = re.compile(
    rf"[.!?。！？](?:(?<=[.!?]){CLOSING}{{0,4}}(?:\s+|(?=[{_IDEOGRAPHS}]))"
    rf"|(?<=[。！？]){CLOSING}{{0,4}}(?![。！？])\s*)"
)


def split_sentences(line: str) -> list[str]:
    """Return the sentences of one line, without the spaces around them."""
    return [sentence for sentence in map(str.strip, sentences_of(line)) if sentence]


def sentences_of(text: str) -> list[str]:
    """Cut a text into sentences, which together are the text."""
    ends = [match.end() for match in _END.finditer(text)]
    sentences = []
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        while end - start > _MAX_CHARACTERS:
            at = text.rfind(" ", start + 1, start + _MAX_CHARACTERS) + 1
            at = at or start + _MAX_CHARACTERS
            sentences.append(text[start:at])
            start = at
        if start < end:
            sentences.append(text[start:end])
    return sentences
