"""The tokenizer of translations: SentencePiece on both sides, ids of one vocabulary, in the graph.

In: `string` tensors, one or two SentencePiece models and a vocabulary. Out: ragged `int32` ids, and
text from the ids. The layout is that of MarianMT: a text is cut by the model of its side, and a
piece has the id that the vocabulary gives it. A new model has one SentencePiece model for both
sides, with a piece for each byte, so that every character can be read and written. A token such as
`>>de<<` in front of a source names the language to write (Johnson et al. 2017).

Reference: Kudo and Richardson, "SentencePiece", 2018.

B = texts, T = tokens of a text, P = pieces of a SentencePiece model, V = vocabulary.
"""

import re
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfmodels.errors import InputError, first_line
from tfmodels.text.bpe import LanguageTokenizer, ids_of, lookup_table
from tfmodels.text.languages import LANGUAGE
from tfmodels.text.subwords import SPACE, open_pieces

END, UNKNOWN, PADDING = "</s>", "<unk>", "<pad>"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
# RE2: the token of a language in front of a text, and the text.
_IN_FRONT, _BEHIND = rf"(?s)^({LANGUAGE.pattern})?.*$", f"^{LANGUAGE.pattern}"


class PieceTokenizer(LanguageTokenizer):
    """Split sources and targets by SentencePiece.

    Args:
        source: the content of the file of the SentencePiece model that splits sources.
        target: of the one that splits targets; `source` if not given.
        vocabulary: the tokens, by id; those of `source` and then the padding if not given. Tokens
            such as `>>de<<` are languages.

    Attributes:
        source: as given.
        target: as given.
        languages: tuple of the names of the languages that a source may name.
        unk_id: id of the unknown token; None if there is a piece for every byte.
        pad_id: id of the padding.
        special_ids: tuple of the ids that no text has; for the others see `LanguageTokenizer`.

    Raises:
        InputError: a file is no SentencePiece model, or the vocabulary lacks a special token.

    Example:
        >>> tokenizer = PieceTokenizer(learn_pieces(["a cat", "eine Katze"], 300))
        >>> tokenizer.detokenize(tokenizer.tokenize(["a cat"]))
    """

    def __init__(
        self, source: bytes, target: bytes | None = None, vocabulary: Sequence[str] | None = None
    ):
        self.source, self.target = source, target or source
        self._models = [_opened(source)]
        self._models += [_opened(self.target)] if self.target != source else []
        pieces = [_pieces_of(model) for model in self._models]
        vocabulary = tuple(vocabulary or (*pieces[0], PADDING))
        ids = ids_of(vocabulary)
        for token in (END, UNKNOWN, PADDING):
            if token not in ids:
                raise InputError(f"vocabulary: no token {token!r}; give that of the model")
        languages = language_ids(vocabulary)
        bytewise = sum(map(bool, map(_BYTE.fullmatch, vocabulary))) == 256
        unk_id = ids[UNKNOWN]
        self.special_ids = (ids[END], unk_id, ids[PADDING], *languages.values())
        special = frozenset(self.special_ids)
        content = [b"" if number in special else _bytes_of(token)
                   for number, token in enumerate(vocabulary)]  # fmt: skip
        super().__init__(vocabulary, ids[END], None, content)
        self.pieces = vocabulary
        self.pad_id, self.unk_id = ids[PADDING], None if bytewise else unk_id
        self.languages = tuple(languages)
        with tf.init_scope(), tf.device("CPU:0"):
            # [P] for each side: the id of a piece
            self._ids = [tf.constant([ids.get(piece, unk_id) for piece in side]) for side in pieces]
            # What one side's model does not know, the other's may: it is looked up as written.
            self._table = None
            if not bytewise and len(pieces) > 1:
                self._table = lookup_table(
                    list(vocabulary), list(range(len(vocabulary))), tf.string, unk_id
                )
                self._texts = [open_pieces(side, tf.string) for side in (source, self.target)]
            named = [f">>{name}<<" for name in languages]
            numbers = [*languages.values()]
            self._languages = lookup_table(named, numbers, tf.string, unk_id) if named else None

    def get_config(self) -> dict[str, Any]:
        """Return the options to build this tokenizer again from its models and vocabulary."""
        return {}

    def tokenize_target(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Split targets, string [B], as `tokenize` splits sources."""
        with tf.device("CPU:0"):
            return self._split(tf.convert_to_tensor(text, tf.string), -1)

    def _encode(self, text):
        """Return the ids of sources [B], the language to write in front: int32 [B, (T)]."""
        if self._languages is None:
            return self._split(text, 0)
        language, text = in_front(text)
        ids = self._split(text, 0)
        named = language != ""
        number = self._languages.lookup(tf.boolean_mask(language, named))
        lengths = tf.cast(named, tf.int64)
        return tf.concat([tf.RaggedTensor.from_row_lengths(number, lengths), ids], 1)

    def _split(self, text, side):
        if self._table is not None:
            tokens = self._texts[side].tokenize(text)
            return tokens.with_values(self._table.lookup(tokens.values))
        ids = self._models[side].tokenize(text)
        return ids.with_values(tf.gather(self._ids[side], ids.values))


def language_ids(vocabulary: Sequence[str]) -> dict[str, int]:
    """Return the names of the languages of a vocabulary, and the ids of their tokens."""
    return {token[2:-2]: number for number, token in enumerate(vocabulary)
            if LANGUAGE.fullmatch(token)}  # fmt: skip


def in_front(text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the tokens of languages in front of texts, string [B], "" for none, and the texts."""
    named = tf.strings.regex_replace(text, _IN_FRONT, r"\1")
    return named, tf.strings.regex_replace(text, _BEHIND, "")


def _opened(proto):
    try:
        return open_pieces(proto)
    except Exception as error:  # of the operation
        raise InputError(f"no SentencePiece model ({first_line(error)}); copy it again") from error


def _pieces_of(model):
    with tf.init_scope(), tf.device("CPU:0"):
        tokens = model.id_to_string(tf.range(model.vocab_size())).numpy()
    return [token.decode() for token in tokens]


def _bytes_of(token):
    """Return the bytes of a piece in a text."""
    byte = _BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace(SPACE, " ").encode()
