"""BERT's WordPiece tokenizer as TensorFlow ops: strings to ids (with offsets) and back.

In: `string` tensors of UTF-8 text and a vocabulary. Out: ragged `int32` ids,
equal to those of `tokenizers.BertWordPieceTokenizer`, and for each token the
characters of the original text it came from. Every step is an op of TensorFlow
or TF-Text over the whole batch at once, so the same code runs in `tf.data`, in
a `tf.function` and in a SavedModel on a stock TF Serving.

Steps: code points -> one table look-up each (`characters.py`) gives replacement
and kind -> breaks between words -> word strings -> TF-Text's linear WordPiece ->
byte offsets in the word back to characters of the text.

B = texts, N = characters of all texts, C = characters after normalization,
W = words of all texts, T = tokens of one text, M = "[" in all texts.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_text as tf_text

from tfmodels.errors import InputError
from tfmodels.text import characters

PAD, UNK, CLS, SEP, MASK = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUATION = "##"
MAX_WORD_CHARACTERS = 100  # BERT reads a longer word as [UNK]
MAX_BYTES_OF_CHARACTER = 4  # in UTF-8

# `detokenize`: no space before a token that starts like this (the clean-up of the reference) ...
ATTACHED = (".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re")
# ... nor between two tokens whose widths have a product of 2 or more.
NARROW, EITHER, WIDE = range(3)
WIDE_PUNCTUATION = range(0x3001, 0x3040), range(0xFF01, 0xFF61)
EITHER_PUNCTUATION = "‘’“”…—·"  # one code point for Latin and Chinese text


class WordPieceTokenizer(tf.Module):
    """Split text as BERT does; equal to `tokenizers.BertWordPieceTokenizer` token by token.

    Text is cleaned of control characters, optionally split at every ideograph,
    stripped of accents and lower-cased, then split at spaces and punctuation;
    each word becomes the longest pieces in the vocabulary, or [UNK]. A
    special token written out in the text ("[MASK]") is that token.

    One known difference: with `strip_accents`, two neighbouring marks that
    stay (such as U+1B44, U+302E) are not put into Unicode's canonical order.

    Args:
        vocabulary: the tokens; a token's id is its position. [PAD], [UNK], [CLS]
            and [SEP] are required, [MASK] is optional.
        lowercase: whether to lower-case (an "uncased" vocabulary).
        strip_accents: whether to decompose characters and drop accents;
            None follows `lowercase`.
        split_cjk: whether each ideograph is a word.

    Attributes:
        vocabulary: tuple of the tokens.
        vocabulary_size: number of tokens.
        pad_id, unk_id, cls_id, sep_id: ids of the special tokens.
        mask_id: id of [MASK], None where the vocabulary has none.

    Raises:
        InputError: an empty or repeated token, or a special token is missing.

    Example:
        >>> tokenizer = WordPieceTokenizer.from_file("vocab.txt")
        >>> tokenizer.tokenize(["A very moving film."]).to_list()
        [[1037, 2200, 3048, 2143, 1012]]
    """

    def __init__(
        self, vocabulary: Sequence[str], *, lowercase: bool = True,
        strip_accents: bool | None = None, split_cjk: bool = True,
    ):  # fmt: skip
        super().__init__()
        check_vocabulary(vocabulary)
        self.vocabulary = tuple(vocabulary)
        self.vocabulary_size = len(self.vocabulary)
        self._options = {
            "lowercase": lowercase,
            "strip_accents": lowercase if strip_accents is None else strip_accents,
            "split_cjk": split_cjk,
        }
        present = [token for token in SPECIAL_TOKENS if token in self.vocabulary]
        ids = {token: self.vocabulary.index(token) for token in present}
        self.pad_id, self.unk_id = ids[PAD], ids[UNK]
        self.cls_id, self.sep_id = ids[CLS], ids[SEP]
        self.mask_id = ids.get(MASK)

        width = max(map(len, ids))
        templates = [[*map(ord, token)] + [0] * (width - len(token)) for token in ids]
        # Created eagerly, so that one tokenizer serves any number of graphs.
        with tf.init_scope(), tf.device("CPU:0"):
            page_of, table = characters.character_table(**self._options)
            self._page_of = tf.constant(page_of)  # [4352]
            self._table = tf.constant(table)  # [P * 256, 4]
            self._templates = tf.constant(templates)  # [special tokens, width]
            self._template_lengths = tf.constant([*map(len, ids)], tf.int64)
            self._is_special = tf.constant([token in ids for token in self.vocabulary])
            self._pieces = tf.constant([piece_of(token) for token in self.vocabulary])
            self._spaced = tf.constant([is_spaced(token) for token in self.vocabulary])
            self._widths = tf.constant(token_widths(self.vocabulary))  # [V, 2]
            self._wordpiece = tf_text.FastWordpieceTokenizer(
                list(self.vocabulary),
                suffix_indicator=CONTINUATION,
                unknown_token=UNK,
                max_bytes_per_word=MAX_WORD_CHARACTERS * MAX_BYTES_OF_CHARACTER,
                token_out_type=tf.int32,
                no_pretokenization=True,
            )

    @classmethod
    def from_file(cls, path: str | Path, **options: Any) -> "WordPieceTokenizer":
        """Read a vocabulary of one token a line (BERT's `vocab.txt`).

        Args:
            path: the file, UTF-8.
            **options: as in the constructor.

        Raises:
            InputError: the file is missing, not UTF-8, empty, repeats a token
                or lacks a special token; the message names file and line.
        """
        content = read_text(path, "vocabulary", "give a text file of one token a line")
        tokens = split_vocabulary(content)
        check_vocabulary(tokens, f"vocabulary {path}")
        return cls(tokens, **options)

    @property
    def end_id(self) -> int:
        """Id of [SEP], which ends a text where a language model reads it."""
        return self.sep_id

    @property
    def token_bytes(self) -> tf.Tensor:
        """String [V], the bytes of each token in a text; none for special tokens."""
        spaced = self._spaced & (self._widths[:, 0] < WIDE)
        pieces = tf.strings.join([tf.where(spaced, " ", ""), self._pieces])
        return tf.where(self._is_special, "", pieces)

    def get_config(self) -> dict[str, bool]:
        """Return the options to build this tokenizer again, without the vocabulary."""
        return dict(self._options)

    def tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Split each text into token ids.

        Args:
            text: string [B], UTF-8; broken bytes are dropped.

        Returns:
            int32 [B, (T)], without [CLS] and [SEP] (see `packing.pack`).
        """
        with tf.device("CPU:0"):
            return self._encode(text, with_offsets=False)[0]

    def tokenize_with_offsets(
        self, text: tf.Tensor
    ) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """Split each text into token ids with their places in the text.

        Accents that follow a token's last character and are stripped belong
        to the token. Two tokens may share a character that normalization
        decomposes (a Hangul syllable).

        Args:
            text: string [B], UTF-8.

        Returns:
            `(ids, starts, ends)`, int32 [B, (T)] each. `starts` and `ends`
            count Unicode characters of the text as given; `ends` is exclusive.
            A broken byte sequence counts as in Python's
            `bytes.decode(errors="replace")`.
        """
        with tf.device("CPU:0"):
            return self._encode(text, with_offsets=True)

    def detokenize(self, ids: tf.RaggedTensor | tf.Tensor) -> tf.Tensor:
        """Write ids as text.

        Special tokens and ids outside the vocabulary are skipped. Continuations
        join the token before; there is no space before `. , ? !`, as in the
        reference, and none between ideographs or their punctuation.

        Args:
            ids: integer [B, (T)], ragged or dense (padded with any special token).

        Returns:
            string [B].
        """
        with tf.device("CPU:0"):
            if not isinstance(ids, tf.RaggedTensor):
                ids = tf.RaggedTensor.from_tensor(tf.convert_to_tensor(ids))
            rows, nrows, ids = ids.value_rowids(), ids.nrows(), ids.values
            known = (ids >= 0) & (ids < self.vocabulary_size)
            keep = known & ~tf.gather(self._is_special, tf.where(known, ids, 0))
            ids, rows = ids[keep], rows[keep]

            widths = tf.gather(self._widths, ids)  # [tokens, 2]: of first, of last character
            tight = widths[:, 0] * shifted(widths[:, 1], NARROW) >= WIDE * EITHER
            inner = rows == shifted(rows, -1)  # not the first of its text
            spaced = tf.gather(self._spaced, ids) & inner & ~tight
            pieces = tf.strings.join([tf.where(spaced, " ", ""), tf.gather(self._pieces, ids)])
            return tf.strings.unsorted_segment_join(pieces, rows, tf.cast(nrows, tf.int32))

    def _encode(self, text, with_offsets):
        """Return ids and, with offsets, starts and ends: int32 [B, (T)] each."""
        codes = tf.strings.unicode_decode(text, "UTF-8")  # [B, (characters)]
        words = self._split(codes)
        pieces, starts, ends = self._wordpiece.tokenize_with_offsets(words.strings)
        ids, word = pieces.values, pieces.value_rowids()  # [tokens] each
        row = tf.gather(words.row, word)

        def by_text(values):
            return tf.RaggedTensor.from_value_rowids(values, row, codes.nrows(), validate=False)

        if not with_offsets:
            return (by_text(ids),)

        # Bytes in the word -> bytes in all words -> characters of the words.
        new, limit = words.characters, words.limit
        size = sum(tf.cast(new >= bound, tf.int64) for bound in (0, 0x80, 0x800, 0x10000))
        byte = tf.cumsum(size, exclusive=True)  # [C]
        word_byte = tf.gather(tf.gather(byte, limit[:-1]), word)  # [tokens]
        start, last = (
            tf.searchsorted(byte, word_byte + inside, side="right", out_type=tf.int64) - 1
            for inside in (tf.cast(starts.values, tf.int64), tf.cast(ends.values, tf.int64) - 1)
        )
        unknown = ids == self.unk_id  # its place is the whole word
        start = tf.where(unknown, tf.gather(limit, word), start)
        last = tf.where(unknown, tf.gather(limit, word + 1) - 1, last)

        # Characters of the words -> characters of the texts. The end is the next
        # character that is not a stripped accent; accents after "[MASK]" do not belong to it.
        start, last = tf.gather(words.source, start), tf.gather(words.source, last)
        base = words.kind != characters.STRIPPED  # [N]
        bases = tf.concat([tf.where(base)[:, 0], [tf.size(base, tf.int64)]], 0)
        end = tf.gather(bases, tf.gather(tf.cumsum(tf.cast(base, tf.int32)), last))
        end = tf.where(tf.gather(self._is_special, ids) & ~unknown, last + 1, end)
        origin = tf.gather(codes.row_starts(), row)
        end = tf.minimum(end, tf.gather(codes.row_limits(), row))
        return tuple(map(by_text, (ids, *(tf.cast(i - origin, tf.int32) for i in (start, end)))))

    def _split(self, codes):
        """Normalize code points, int32 [B, (characters)], and split them into `Words`."""
        code, row = codes.values, codes.value_rowids()  # [N]

        # The replacement and the kind of each character.
        in_special, cut = self._find_special(codes)  # bool [N] each
        record = tf.gather(self._page_of, code // 256) * 256 + code % 256
        record = tf.gather(self._table, record)  # [N, 4]
        record = tf.where(in_special[:, None], [[0, 0, 0, characters.IN_WORD]], record)
        kind = record[:, 3]
        new = record[:, :3] + code[:, None] * [[1, 0, 0]]  # [N, 3]
        stays = (kind == characters.IN_WORD) | (kind == characters.ALONE)
        keep = stays[:, None] & tf.concat([tf.ones_like(new[:, :1], tf.bool), new[:, 1:] > 0], 1)

        # Characters with the same number of breaks before them are one word.
        alone = kind == characters.ALONE
        breaks = cut | alone | shifted(alone, False) | (kind == characters.WHITE_SPACE)
        breaks |= row != shifted(row, -1)
        group = tf.cumsum(tf.cast(breaks, tf.int32))  # [N]
        source = tf.where(keep)[:, 0]  # [C]
        group = tf.gather(group, source)
        new = new[keep]  # [C]
        first = tf.where(group != shifted(group, -1))[:, 0]  # [W]
        limit = tf.concat([first, [tf.size(new, tf.int64)]], 0)  # [W + 1]

        words = tf.RaggedTensor.from_row_splits(new, limit, validate=False)
        too_long = words.row_lengths() > MAX_WORD_CHARACTERS
        strings = tf.where(too_long, UNK, tf.strings.unicode_encode(words, "UTF-8"))
        return Words(strings, tf.gather(row, tf.gather(source, first)), limit, new, source, kind)

    def _find_special(self, codes):
        """Return which of the characters are in a special token, and which begin or follow one.

        Takes int32 [B, (characters)], returns bool [N] each.
        """
        code = codes.values  # [N]
        opening = tf.where(code == ord("["))[:, 0]  # [M]
        limit = tf.gather(codes.row_limits(), tf.gather(codes.value_rowids(), opening))
        width = self._templates.shape[1]
        places = opening[:, None] + tf.range(width, dtype=tf.int64)  # [M, width]
        window = tf.gather(tf.pad(code, [[0, width]]), places)
        same = (window[:, None] == self._templates) | (self._templates == 0)  # [M, special, width]
        end = opening[:, None] + self._template_lengths  # [M, special]
        special = tf.reduce_all(same, -1) & (end <= limit[:, None])  # at most one in a row
        end = end[special]
        start = opening[tf.reduce_any(special, -1)]

        size = tf.size(code, tf.int64)[None] + 1
        starts = tf.scatter_nd(start[:, None], tf.ones_like(start, tf.int32), size)[:-1]
        ends = tf.scatter_nd(end[:, None], tf.ones_like(end, tf.int32), size)[:-1]
        return tf.cumsum(starts - ends) > 0, starts + ends > 0


class Words(NamedTuple):
    """The words of a batch of texts, and the way back to the texts."""

    strings: tf.Tensor  # string [W]: normalized; [UNK] for one that is too long
    row: tf.Tensor  # int64 [W]: the text of each word
    limit: tf.Tensor  # int64 [W + 1]: word w is characters limit[w] ... limit[w + 1] - 1
    characters: tf.Tensor  # int32 [C]: the normalized code points of all words
    source: tf.Tensor  # int64 [C]: the character, among N, of each
    kind: tf.Tensor  # int32 [N]: as in `characters.character_table`


def read_text(path: str | Path, kind: str, remedy: str) -> str:
    """Return the text of a file; `InputError` where it cannot be read or is not UTF-8."""
    try:
        content = Path(path).read_bytes()
        return content.decode("utf-8")
    except OSError as error:
        raise InputError(f"{kind} {path}: cannot be read ({error.strerror}); {remedy}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{kind} {path}, line {line}: not UTF-8; save the file as UTF-8"
        ) from error


def split_vocabulary(text: str) -> list[str]:
    """Return the tokens in the text of a `vocab.txt`, one a line."""
    # Not `splitlines`: BERT's Chinese vocabulary contains U+2028, a line separator.
    lines = text.removesuffix("\n").split("\n") if text else []
    return [line.removesuffix("\r") for line in lines]


def check_vocabulary(vocabulary: Sequence[str], name: str = "vocabulary") -> None:
    """Raise `InputError`, with `name` and the line, unless a tokenizer can use `vocabulary`."""
    if len(vocabulary) == 0:
        raise InputError(f"{name}: empty; give one token a line, the special tokens among them")
    seen: dict[str, int] = {}
    for line, token in enumerate(vocabulary, start=1):
        if not isinstance(token, str) or not token:
            raise InputError(f"{name}, line {line}: empty, or not a string; remove the line")
        if token in seen:
            raise InputError(
                f"{name}, line {line}: {token!r} again (first on line {seen[token]}); "
                "give each token once"
            )
        seen[token] = line
    for token in (PAD, UNK, CLS, SEP):
        if token not in seen:
            raise InputError(
                f"{name}, line {len(vocabulary) + 1}: ends without {token}; add it on a line"
            )


def shifted(values: tf.Tensor, before: int | bool) -> tf.Tensor:
    """Return the neighbour to the left of each value, `before` for the first one."""
    return tf.concat([tf.cast([before], values.dtype), values], 0)[:-1]


def continues(token: str) -> bool:
    """Return whether a token continues the word before it; `##` alone is a word."""
    return token.startswith(CONTINUATION) and len(token) > len(CONTINUATION)


def piece_of(token: str) -> str:
    """Return a token as it is written in a text."""
    return token.removeprefix(CONTINUATION) if continues(token) else token


def is_spaced(token: str) -> bool:
    """Return whether there is a space before a token."""
    return not continues(token) and not token.startswith(ATTACHED)


def token_widths(vocabulary: Sequence[str]) -> list[list[int]]:
    """Return the widths of the first and the last character of each token: [V, 2]."""
    data = characters.load_characters()
    cjk = data["flags"] & characters.CJK

    def width(character):
        code = ord(character)
        if cjk[data["page_of"][code >> 8], code & 255] or any(code in r for r in WIDE_PUNCTUATION):
            return WIDE
        return EITHER if character in EITHER_PUNCTUATION else NARROW

    return [[width(piece_of(token)[0]), width(token[-1])] for token in vocabulary]
