"""The share of unknown tokens in the texts that a task trains on.

In: a tokenizer and rows or text files. Out: one line for a person. Many unknown tokens mean that
the tokenizer was made for texts of another language or another case.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import tensorflow as tf

from tfmodels.data.rows import first_of
from tfmodels.text.subwords import SPACE

TEXTS, CHARACTERS = 1000, 2000  # number of texts that are counted, and of characters of each
WARNED = 0.02  # share of unknown tokens above which to warn


def describe_unknown(tokenizer: Any, rows: Any, columns: int) -> str | None:
    """Return how many tokens of the first texts are unknown; None if that is not known.

    Args:
        tokenizer: a tokenizer; without unknown tokens, such as that of GPT-2, there is no line.
        rows: a `Source`, or `TextFiles`.
        columns: how many columns of a row are texts.
    """
    if getattr(tokenizer, "target", None) != getattr(tokenizer, "source", None):
        columns = 1  # the other side is split by another model
    texts = list(islice(_texts(rows, columns), TEXTS))
    unk_id = getattr(tokenizer, "unk_id", getattr(tokenizer, "unknown_id", None))
    if unk_id is None or not texts:
        return None
    name, tokens, number, letters = tokenizer.vocabulary[unk_id], 0, 0, Counter[str]()
    for first in range(0, len(texts), 100):
        part = texts[first : first + 100]
        if hasattr(tokenizer, "tokenize_with_offsets"):
            ids, *spans = tokenizer.tokenize_with_offsets(tf.constant(part))
            rows_of = zip(part, ids.to_list(), *(side.to_list() for side in spans), strict=True)
            for text, *row in rows_of:
                letters.update(text[a:b] for i, a, b in zip(*row, strict=True) if i == unk_id)
        else:
            ids = tokenizer.tokenize(tf.constant(part))
            pieces = "".join(getattr(tokenizer, "pieces", ())).replace(SPACE, " ")
            known = {*tokenizer.vocabulary, *pieces}
            letters.update(letter for text in part for letter in text if letter not in known)
        tokens += int(tf.size(ids.flat_values))
        number += int(tf.math.count_nonzero(ids.flat_values == unk_id))
    share = number / max(tokens, 1)
    line = f"{share:.1%} of the tokens in texts 1 to {len(texts)} are {name}"
    if share <= WARNED:
        return line
    most = ", ".join(repr(word[:20]) for word, _ in letters.most_common(3))
    return (
        f"warning: {line}, most of them {most}; start from a checkpoint for such texts, or from "
        "scratch with a larger vocabulary_size"
    )


def _texts(rows: Any, columns: int) -> Iterator[str]:
    if getattr(rows, "endless", False):
        return
    if hasattr(rows, "rows"):
        for _, values in rows.rows():
            yield from (first_of(text)[:CHARACTERS] for text in values[:columns])
    elif hasattr(rows, "passages"):
        yield from (text[:CHARACTERS] for _, text, _ in rows.passages())
