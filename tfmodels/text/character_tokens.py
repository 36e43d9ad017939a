"""A tokenizer whose tokens are characters, as TensorFlow ops: strings to ids and back.

In: `string` tensors of UTF-8 text and a vocabulary of characters. Out: ragged
`int32` ids, one for each character, and text from ids. For small experiments; it
has the interface of `bpe.BytePairTokenizer`.

B = texts, T = characters of one text, V = vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.bpe import END_OF_TEXT, LanguageTokenizer, ids_of, lookup_table

UNKNOWN = "<|unk|>"
UNREADABLE = "\ufffd"  # written for an unknown character


class CharacterTokenizer(LanguageTokenizer):
    """Split text into Unicode characters.

    A character that is not in the vocabulary, or a broken UTF-8 sequence,
    becomes `unknown`, or nothing where the vocabulary has no such token.
    `end_of_text` written out in a text is that token.

    Args:
        vocabulary: the characters, and `unknown` and `end_of_text` if wanted;
            a token's id is its position. `vocabulary.learn_characters` returns one.
        end_of_text: the token that ends a text; none if it is None or not in the vocabulary.
        unknown: the token for all other characters, likewise.

    Attributes:
        unknown_id: id of `unknown`, which is written as U+FFFD; None where there is none. For
            the others see `LanguageTokenizer`.

    Raises:
        InputError: a repeated token, or one that is not one character.

    Example:
        >>> CharacterTokenizer(["a", "b", "<|unk|>"]).tokenize(["abba!"]).to_list()
        [[0, 1, 1, 0, 2]]
    """

    def __init__(
        self, vocabulary: Sequence[str], *, end_of_text: str | None = END_OF_TEXT,
        unknown: str | None = UNKNOWN,
    ):  # fmt: skip
        id_of: dict[Any, int] = ids_of(vocabulary)
        special = {end_of_text: "", unknown: UNREADABLE}
        for token, i in id_of.items():
            if len(token) != 1 and token not in special:
                raise InputError(
                    f"vocabulary: token {i} {token!r} is not one character; "
                    f"only {end_of_text!r} and {unknown!r} may be longer"
                )
        content = [special.get(token, token).encode() for token in vocabulary]
        super().__init__(vocabulary, id_of.get(end_of_text), end_of_text, content)
        self._unknown, self.unknown_id = unknown, id_of.get(unknown)
        code_of = {ord(token): i for token, i in id_of.items() if token not in special}
        with tf.init_scope(), tf.device("CPU:0"):
            other = -1 if self.unknown_id is None else self.unknown_id
            self._ids = lookup_table(code_of, code_of.values(), tf.int32, other)

    def get_config(self) -> dict[str, str | None]:
        """Return the options to build this tokenizer again, without the vocabulary."""
        return {"end_of_text": self._end_of_text, "unknown": self._unknown}

    def _encode(self, text):
        """Return the ids of texts without `end_of_text`: [P] to int32 [P, (T)]."""
        codes = tf.strings.unicode_decode(text, "UTF-8")
        ids = codes.with_values(self._ids.lookup(codes.values))
        return ids if self.unknown_id is not None else tf.ragged.boolean_mask(ids, ids >= 0)
