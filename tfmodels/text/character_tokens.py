"""A tokenizer whose tokens are characters, as TensorFlow ops: strings to ids and back.

In: `string` tensors of UTF-8 text and a vocabulary of characters. Out: ragged
`int32` ids, one for each character, and the text again from the ids. For small
experiments; it has the interface of `bpe.BytePairTokenizer`.

B = texts, T = characters of one text, V = vocabulary.
"""

from collections.abc import Sequence

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.bpe import END_OF_TEXT, encode_parts, join_tokens, lookup_table

UNKNOWN = "<|unk|>"
UNREADABLE = "\ufffd"  # what an unknown character is written as


class CharacterTokenizer(tf.Module):
    """Splits text into Unicode characters.

    A character that the vocabulary does not hold, or a broken UTF-8 sequence,
    becomes `unknown`, or nothing where the vocabulary has no such token.
    `end_of_text` written out in a text is that token.

    Args:
        vocabulary: the characters, and `unknown` and `end_of_text` if wanted;
            a token's id is its position. `vocabulary.learn_characters` makes one.
        end_of_text: the token that ends a text. None, or one that the
            vocabulary does not hold: there is none.
        unknown: the token for all other characters, likewise.

    Attributes:
        vocabulary: tuple of the tokens.
        vocabulary_size: number of tokens.
        end_id, unknown_id: ids of the two special tokens, None where there is none.
        token_bytes: string [V], the UTF-8 of each character, none for
            `end_of_text`, U+FFFD for `unknown`.

    Raises:
        InputError: a repeated token, or one that is not one character.

    Example:
        >>> CharacterTokenizer(["a", "b", "<|unk|>"]).tokenize(["abba!"]).to_list()
        [[0, 1, 1, 0, 2]]
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        end_of_text: str | None = END_OF_TEXT,
        unknown: str | None = UNKNOWN,
    ):
        super().__init__()
        self.vocabulary = tuple(vocabulary)
        self.vocabulary_size = len(self.vocabulary)
        self._end_of_text, self._unknown = end_of_text, unknown
        id_of = {}
        for i, token in enumerate(self.vocabulary):
            if token in id_of:
                raise InputError(
                    f"vocabulary: token {i} is {token!r} again (first {id_of[token]}); "
                    "each character stands once"
                )
            if len(token) != 1 and token not in (end_of_text, unknown):
                raise InputError(
                    f"vocabulary: token {i} {token!r} is not one character; "
                    f"only {end_of_text!r} and {unknown!r} may be longer"
                )
            id_of[token] = i
        self.end_id, self.unknown_id = id_of.get(end_of_text), id_of.get(unknown)

        special = {end_of_text: "", unknown: UNREADABLE}
        content = [special.get(token, token).encode() for token in self.vocabulary]
        code_of = {ord(token): i for token, i in id_of.items() if token not in special}
        # Created eagerly, so that one tokenizer serves any number of graphs.
        with tf.init_scope(), tf.device("CPU:0"):
            other = -1 if self.unknown_id is None else self.unknown_id
            self._ids = lookup_table(code_of, code_of.values(), tf.int32, other)
            self.token_bytes = tf.constant(content, tf.string, [len(content)])
            # "" for what is not in the vocabulary
            self._content = tf.concat([self.token_bytes, [""]], 0)  # [V + 1]

    def get_config(self) -> dict[str, str | None]:
        """The options to build this tokenizer again, without the vocabulary."""
        return {"end_of_text": self._end_of_text, "unknown": self._unknown}

    def tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Splits each text into token ids.

        Args:
            text: string [B], UTF-8.

        Returns:
            int32 [B, (T)].
        """
        with tf.device("CPU:0"):
            return encode_parts(self._encode, text, self._end_of_text, self.end_id)

    def detokenize(self, ids: tf.RaggedTensor | tf.Tensor) -> tf.Tensor:
        """Writes ids as text.

        `end_of_text` and ids outside the vocabulary (negative ones) are
        skipped; an unknown character is U+FFFD.

        Args:
            ids: integer [B, (T)], ragged or dense.

        Returns:
            string [B].
        """
        with tf.device("CPU:0"):
            return join_tokens(self._content, ids)

    def _encode(self, text):
        """Ids of texts without `end_of_text`: [P] to int32 [P, (T)]."""
        codes = tf.strings.unicode_decode(text, "UTF-8")
        ids = codes.with_values(self._ids.lookup(codes.values))
        return ids if self.unknown_id is not None else tf.ragged.boolean_mask(ids, ids >= 0)
