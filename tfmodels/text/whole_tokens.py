"""Tokens that are found whole in a text before it is split: special tokens and added ones.

In: texts, and tokens as `tokenizers` describes them. Out: the parts of each text; a part is such a
token or the text between two. Of tokens that overlap the first one is found, of those that start at
the same place the longest, as in `tokenizers`. Operations of TensorFlow's core only.

B = texts, P = parts of all texts.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping

import tensorflow as tf

from tfmodels.errors import InputError

# Between two parts: a byte that is not in UTF-8; how broken text has it, and how the escape itself.
SEPARATOR = b"\xff"
ESCAPED = ((b"\xfe", b"\xfe\x80"), (SEPARATOR, b"\xfe\x81"))
WHITE_SPACE = r"[\t-\r\x{85}\pZ]"  # what `lstrip` and `rstrip` remove


@dataclasses.dataclass(frozen=True)
class AddedToken:
    """A token that is found whole; fields as in the files of `tokenizers`.

    Args:
        content: the token as it is written in a text.
        special: whether `detokenize` leaves it out.
        normalized: whether it is looked for in the text as WordPiece cleans and lower-cases it.
        lstrip: whether white space before it is dropped.
        rstrip: whether white space after it is dropped.
    """

    content: str
    special: bool = False
    normalized: bool = False
    lstrip: bool = False
    rstrip: bool = False


def as_added(tokens: Iterable[AddedToken | Mapping]) -> tuple[AddedToken, ...]:
    """Return `AddedToken`s of themselves, or of dicts of their fields.

    Raises:
        InputError: an empty token.
    """
    added = tuple(t if isinstance(t, AddedToken) else AddedToken(**t) for t in tokens)
    if not all(token.content for token in added):
        raise InputError("added_tokens: an empty token; leave it out")
    return added


class WholeTokens(tf.Module):
    """Split texts at tokens.

    Args:
        ids: dict of token, as it is written in a text, to its id.

    Raises:
        InputError: too many tokens for one regular expression.
    """

    def __init__(self, ids: Mapping[str, int]):
        super().__init__()
        # RE2 takes the first of several alternatives, so the longest one has to be the first.
        contents = sorted(ids, key=len, reverse=True)
        self._pattern = f"({'|'.join(map(re.escape, contents))})"
        with tf.init_scope(), tf.device("CPU:0"):
            keys = tf.constant(contents, tf.string)
            values = tf.constant([ids[content] for content in contents], tf.int32)
            initializer = tf.lookup.KeyValueTensorInitializer(keys, values)
            self._ids = tf.lookup.StaticHashTable(initializer, -1)
            try:
                self.split(tf.constant([""]))
            except tf.errors.InvalidArgumentError as error:
                raise InputError(
                    f"{len(ids)} added tokens: too many to look for; give fewer"
                ) from error

    def split(self, text: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """Return the parts of texts, and which of them are tokens.

        Args:
            text: string [B], UTF-8; for any bytes see `split_bytes`.

        Returns:
            Pair of string [B, (parts)], at least one each, and int32 [P]: the id of a token, -1
            for text. The first and the last part of a text are text, perhaps empty.
        """
        between = SEPARATOR + rb"\1" + SEPARATOR
        parts = tf.strings.split(tf.strings.regex_replace(text, self._pattern, between), SEPARATOR)
        return parts, self._ids.lookup(parts.values)

    def split_bytes(self, text: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """Return the same of texts of any bytes."""
        # Broken text may have the separator; it is escaped, as is the escape.
        broken = tf.size(tf.strings.split(text, SEPARATOR).values) > tf.size(text)
        text = tf.cond(broken, lambda: _replaced(text, ESCAPED), lambda: text)
        parts, ids = self.split(text)
        back = [(after, before) for before, after in reversed(ESCAPED)]
        values = tf.cond(broken, lambda: _replaced(parts.values, back), lambda: parts.values)
        return parts.with_values(values), ids


def _replaced(text, pairs):
    """Return strings [B] with some bytes in place of others."""
    for before, after in pairs:
        parts = tf.strings.split(text, before)
        row, number = parts.value_rowids(), tf.cast(parts.nrows(), tf.int32)
        has_next = tf.concat([row[1:] == row[:-1], [False]], 0)
        # Not with a separator, which TensorFlow leaves out after empty strings.
        strings = tf.strings.join([parts.values, tf.where(has_next, after, b"")])
        text = tf.strings.unsorted_segment_join(strings, row, number)
    return text
