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
P = parts of all texts (see `whole_tokens`), W = words of all texts, T = tokens of one text.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_text as tf_text

from tfmodels.errors import InputError
from tfmodels.text import characters
from tfmodels.text.whole_tokens import AddedToken, WholeTokens, as_added

PAD, UNK, CLS, SEP, MASK = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Names in the files of `transformers`: default token. All but the last are required.
SPECIAL_NAMES = dict(
    zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL_TOKENS,
        strict=True)
)  # fmt: skip
CONTINUATION = "##"
MAX_WORD_CHARACTERS = 100  # BERT reads a longer word as [UNK]
MAX_BYTES_OF_CHARACTER = 4  # in UTF-8
LONGEST_PIECE = 255  # bytes of a token that `FastWordpieceTokenizer` takes
UNUSED = "\ue000{}"  # in place of the token of an id that no word has; no word has this character

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
    special or added token written out in the text ("[MASK]") is that token.

    One known difference: with `strip_accents`, two neighbouring marks that
    stay (such as U+1B44, U+302E) are not put into Unicode's canonical order.

    Args:
        vocabulary: the tokens; a token's id is its position, of a repeated one
            the last. No text has the token "". [PAD], [UNK], [CLS] and [SEP]
            are required, [MASK] is optional.
        lowercase: whether to lower-case (an "uncased" vocabulary).
        strip_accents: whether to decompose characters and drop accents;
            None follows `lowercase`.
        split_cjk: whether each ideograph is a word.
        split_characters: whether each character, after Unicode's NFKC, is a
            token, as in the Japanese BERT of characters.
        clean: whether control characters are removed and text is split at
            punctuation; False only with `split_characters`, for MeCab's words.
        special_tokens: dict of the special tokens with other names, such as
            `{"pad_token": "<pad>"}`; keys as in `SPECIAL_NAMES`.
        added_tokens: tokens that are found whole (`AddedToken`, or dicts of its
            fields). Those that are not in `vocabulary` follow it.

    Attributes:
        vocabulary: tuple of the tokens, the added ones included.
        pieces: tuple of the tokens without those that follow.
        vocabulary_size: number of tokens.
        pad_id, unk_id, cls_id, sep_id: ids of the special tokens.
        mask_id: id of [MASK], None where the vocabulary has none.
        special_ids: frozenset of the ids that are no text.
        words_by_place: whether the tokens of a word are those with the same place, and not those
            with "##"; see `by_characters`.

    Raises:
        InputError: a special token is missing.

    Example:
        >>> tokenizer = WordPieceTokenizer.from_file("vocab.txt")
        >>> tokenizer.tokenize(["A very moving film."]).to_list()
        [[1037, 2200, 3048, 2143, 1012]]
    """

    separators = 1  # between the texts of a pair

    def __init__(
        self, vocabulary: Sequence[str], *, lowercase: bool = True,
        strip_accents: bool | None = None, split_cjk: bool = True, split_characters: bool = False,
        clean: bool = True, special_tokens: Mapping[str, str] | None = None,
        added_tokens: Sequence[AddedToken | Mapping] = (),
    ):  # fmt: skip
        super().__init__()
        self.words_by_place = False
        names = {**SPECIAL_NAMES, **(special_tokens or {})}
        self._names, self._added = tuple(names.items()), as_added(added_tokens)
        check_vocabulary([*vocabulary, *(t.content for t in self._added)], special_tokens=names)
        self.pieces = tuple(vocabulary)
        id_of = {token: number for number, token in enumerate(self.pieces) if token}
        found = {token: AddedToken(token, special=True) for token in names.values()
                 if token in id_of}  # fmt: skip
        found |= {token.content: token for token in self._added}
        further = [token for token in found if token not in id_of]
        self.vocabulary = (*self.pieces, *further)
        self.vocabulary_size = len(self.vocabulary)
        id_of |= {token: number for number, token in enumerate(further, len(self.pieces))}
        self._options: dict[str, Any] = {
            "lowercase": lowercase,
            "strip_accents": lowercase if strip_accents is None else strip_accents,
            "split_cjk": split_cjk,
        }
        self._characters = {"split_characters": True, "clean": clean} if split_characters else {}
        if not clean and not split_characters:
            raise InputError("clean=False: only with split_characters=True; leave it out")
        self.pad_id, self.unk_id = id_of[names["pad_token"]], id_of[names["unk_token"]]
        self.cls_id, self.sep_id = id_of[names["cls_token"]], id_of[names["sep_token"]]
        self.mask_id = id_of.get(names["mask_token"])
        self.special_ids = frozenset(id_of[t.content] for t in found.values() if t.special)
        self._unknown = names["unk_token"]

        # Created eagerly, so that one tokenizer serves any number of graphs.
        with tf.init_scope(), tf.device("CPU:0"):
            page_of, table = characters.character_table(**self._options, clean=clean)
            self._page_of = tf.constant(page_of)  # [4352]
            self._table = tf.constant(table)  # [P * 256, 4]
            numbers = range(self.vocabulary_size)
            self._is_special = tf.constant([number in self.special_ids for number in numbers])
            self._pieces = tf.constant([piece_of(token) for token in self.vocabulary])
            spaced = [is_spaced(token) and not split_characters for token in self.vocabulary]
            self._spaced = tf.constant(spaced)
            self._widths = tf.constant(token_widths(self.vocabulary))  # [V, 2]
            self._subwords = self._subword_tokenizer(id_of, split_characters, clean)
            self._raw = WholeTokens({t: id_of[t] for t in found if not found[t].normalized})
            self._normalized = self._normalized_tokens(
                {token: id_of[token] for token in found if found[token].normalized}
            )

    def _subword_tokenizer(self, id_of, split_characters, clean):
        """Return what splits words into tokens."""
        if split_characters:
            ids = {token: i for token, i in id_of.items() if i < len(self.pieces)}
            return Characters(ids, self.unk_id, keep_blanks=clean)
        return tf_text.FastWordpieceTokenizer(
            [
                token if usable and id_of.get(token) == number else UNUSED.format(number)
                for number, token in enumerate(self.pieces)
                for usable in [len(token.encode()) <= LONGEST_PIECE]
            ],
            suffix_indicator=CONTINUATION,
            unknown_token=self._unknown,
            max_bytes_per_word=MAX_WORD_CHARACTERS * MAX_BYTES_OF_CHARACTER,
            token_out_type=tf.int32,
            no_pretokenization=True,
        )

    def _normalized_tokens(self, ids):
        """Return the `WholeTokens` that are looked for in cleaned text, or None."""
        if not ids:
            return None
        codes = tf.strings.unicode_decode(list(ids), "UTF-8")
        every = tf.ones_like(codes.values, tf.bool)
        strings, _ = self._cleaned(codes.values, codes.value_rowids(), every, codes.nrows())
        by_string: dict[str, int] = {}
        for string, number in zip(strings.numpy(), ids.values(), strict=True):
            by_string.setdefault(string.decode(), number)
        by_string.pop("", None)
        return WholeTokens(by_string) if by_string else None

    @classmethod
    def from_file(cls, path: str | Path, **options: Any) -> "WordPieceTokenizer":
        """Read a vocabulary of one token a line (BERT's `vocab.txt`).

        Args:
            path: the file, UTF-8.
            **options: as in the constructor.

        Raises:
            InputError: the file is missing, not UTF-8, empty or lacks a
                special token; the message names file and line.
        """
        content = read_text(path, "vocabulary", "give a text file of one token a line")
        tokens = split_vocabulary(content)
        names = {**SPECIAL_NAMES, **(options.get("special_tokens") or {})}
        check_vocabulary(tokens, f"vocabulary {path}", names)
        return cls(tokens, **options)

    def get_config(self) -> dict[str, Any]:
        """Return the options to build this tokenizer again from its `pieces`."""
        names, added = dict(self._names), [*map(dataclasses.asdict, self._added)]
        config = {**self._options, **self._characters}
        config |= {"special_tokens": names} if names != SPECIAL_NAMES else {}
        return config | ({"added_tokens": added} if added else {})

    def by_characters(self) -> "WordPieceTokenizer":
        """Return this tokenizer with each character as a word, so that entities end anywhere.

        Inside of what is a word here, a character has its piece with "##" if there is one.
        """
        ids = {token: number for number, token in enumerate(self.vocabulary)}
        inner = [
            ids.get(CONTINUATION + token, number) for number, token in enumerate(self.vocabulary)
        ]
        tokenizer = copy.copy(self)
        tokenizer.words_by_place = True
        with tf.init_scope(), tf.device("CPU:0"):
            tokenizer._inner = tf.constant(inner)  # [V]
        return tokenizer

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

    def split_words(
        self, text: tf.Tensor
    ) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """Split each text into the words that are then split into tokens.

        Args:
            text: string [B], UTF-8.

        Returns:
            `(words, starts, ends)`: string [B, (W)] and their places, int32 [B, (W)] each, as of
            `tokenize_with_offsets`.
        """
        with tf.device("CPU:0"):
            words = self._split(tf.convert_to_tensor(text, tf.string))
            letters = tf.RaggedTensor.from_row_splits(words.characters, words.limit, validate=False)
            edges = words.limit[:-1], words.limit[1:] - 1
            first, last = (tf.gather(words.source, edge) for edge in edges)
            places = _places(words, words.row, words.token, first, last)
            number = tf.size(words.starts, tf.int64)
            return tuple(
                tf.RaggedTensor.from_value_rowids(values, words.row, number, validate=False)
                for values in (tf.strings.unicode_encode(letters, "UTF-8"), *places)
            )

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
        words = self._split(tf.convert_to_tensor(text, tf.string))
        pieces, starts, ends = self._subwords.tokenize_with_offsets(words.strings)
        ids, word = pieces.values, pieces.value_rowids()  # [tokens] each
        row, token = tf.gather(words.row, word), tf.gather(words.token, word)
        whole = token >= 0  # its place is the whole word
        if not self._characters:
            whole |= ids == self.unk_id
        if self.words_by_place:
            inner = tf.gather(words.inner, word) & (word != shifted(word, -1))
            ids = tf.where(inner, tf.gather(self._inner, ids), ids)
        ids = tf.where(token >= 0, token, ids)

        def by_text(values):
            number = tf.size(words.starts, tf.int64)
            return tf.RaggedTensor.from_value_rowids(values, row, number, validate=False)

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
        start = tf.where(whole, tf.gather(limit, word), start)
        last = tf.where(whole, tf.gather(limit, word + 1) - 1, last)

        # Characters of the words -> characters of the texts. The end is the next
        # character that is not a stripped accent; accents after "[MASK]" do not belong to it.
        start, last = tf.gather(words.source, start), tf.gather(words.source, last)
        start, end = _places(words, row, token, start, last)
        return by_text(ids), by_text(start), by_text(end)

    def _split(self, text):
        """Normalize texts, string [B], and split them into `Words`."""
        # Broken bytes become U+FFFD, as they do when characters are decoded.
        parts, token = self._raw.split(tf.strings.unicode_transcode(text, "UTF-8", "UTF-8"))
        codes = tf.strings.unicode_decode(parts.values, "UTF-8")  # [P, (characters)]
        code, part = codes.values, codes.value_rowids()  # [N]
        token = tf.gather(token, part)  # [N]: the id of a token that is found whole, or -1
        cut = part != shifted(part, -1)  # bool [N]
        if self._normalized is not None:
            strings, source = self._cleaned(code, part, token < 0, codes.nrows())
            found, number = self._found_in(strings)
            cut |= marked_at(source[number != shifted(number, -1)], tf.size(code))
            token = tf.tensor_scatter_nd_max(token, source[:, None], found)

        # The replacement and the kind of each character.
        record = self._records(code)
        record = tf.where(token[:, None] >= 0, [[0, 0, 0, characters.IN_WORD]], record)
        kind = record[:, 3]
        new, keep = _replaced(record, code)

        # Characters with the same number of breaks before them are one word.
        alone = kind == characters.ALONE
        breaks = cut | alone | shifted(alone, False) | (kind == characters.WHITE_SPACE)
        source = tf.where(keep)[:, 0]  # [C]
        whole = group = tf.gather(tf.cumsum(tf.cast(breaks, tf.int32)), source)
        if self.words_by_place:
            group = tf.gather(tf.cumsum(tf.cast(breaks | (token < 0), tf.int32)), source)
        new = new[keep]  # [C]
        first = tf.where(group != shifted(group, -1))[:, 0]  # [W]
        whole = tf.gather(whole, first)
        limit = tf.concat([first, [tf.size(new, tf.int64)]], 0)  # [W + 1]
        at = tf.gather(source, first)  # [W]

        words = tf.RaggedTensor.from_row_splits(new, limit, validate=False)
        token = tf.gather(token, at)
        one = token >= 0  # not to be split
        if not self._characters:
            one |= words.row_lengths() > MAX_WORD_CHARACTERS
        unknown = UNUSED[0] if self._characters else self._unknown
        strings = tf.where(one, unknown, tf.strings.unicode_encode(words, "UTF-8"))
        row = tf.gather(parts.value_rowids(), tf.gather(part, at))
        starts = tf.gather(codes.row_starts(), parts.row_starts())  # [B]
        inner = whole == shifted(whole, -1)
        return Words(strings, token, row, limit, new, source, kind, inner, starts)

    def _records(self, code):
        """Return the rows of `characters.character_table` of code points: int32 [N, 4]."""
        row = tf.gather(self._page_of, code // 256) * 256 + code % 256
        return tf.gather(self._table, row)

    def _cleaned(self, code, part, use, parts):
        """Return the cleaned text of parts, string [P], and the place among N of each character.

        White space is a blank; characters [N] where `use` is False are left out.
        """
        record = self._records(code)
        white = record[:, 3] == characters.WHITE_SPACE
        blank = tf.stack([32 - code, *[tf.zeros_like(code)] * 2, tf.zeros_like(code)], 1)
        new, keep = _replaced(tf.where(white[:, None], blank, record), code)
        keep &= use[:, None]
        source = tf.where(keep)[:, 0]
        texts = tf.RaggedTensor.from_value_rowids(
            new[keep], tf.gather(part, source), parts, validate=False
        )
        return tf.strings.unicode_encode(texts, "UTF-8"), source

    def _found_in(self, strings):
        """Return for each character of cleaned text the id of its token, or -1, and its part."""
        parts, token = self._normalized.split(strings)
        lengths = tf.strings.length(parts.values, "UTF8_CHAR")
        return tf.repeat(token, lengths), tf.repeat(tf.range(tf.size(token)), lengths)


class Characters(tf.Module):
    """Split words into the characters of their NFKC form, each a token.

    Args:
        ids: dict of character to id.
        unk_id: id of all others.
        keep_blanks: whether a blank that NFKC makes ("´") is one of these; else it is dropped.
    """

    def __init__(self, ids: Mapping[str, int], unk_id: int, keep_blanks: bool):
        super().__init__()
        self._keep_blanks = keep_blanks
        keys, values = tf.constant([*ids], tf.string), tf.constant([*ids.values()], tf.int32)
        initializer = tf.lookup.KeyValueTensorInitializer(keys, values)
        self._ids = tf.lookup.StaticHashTable(initializer, unk_id)

    def tokenize_with_offsets(
        self, words: tf.Tensor
    ) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """Return ids, and first and last byte, exclusive, in the words: ragged [W, (T)] each."""
        normalized, offsets = tf_text.normalize_utf8_with_offsets_map(words, "NFKC")
        letters, start = tf.strings.unicode_split_with_offsets(normalized, "UTF-8")
        end = start + tf.ragged.map_flat_values(tf.cast, tf.strings.length(letters), tf.int64)
        start, end = (tf_text.find_source_offsets(offsets, place) for place in (start, end))
        end = tf.ragged.map_flat_values(tf.maximum, end, start + 1)  # of one that became several
        parts = letters.with_values(self._ids.lookup(letters.values)), start, end
        if self._keep_blanks:
            return parts
        return tuple(tf.ragged.boolean_mask(part, letters != " ") for part in parts)


class Words(NamedTuple):
    """The words of a batch of texts, and the way back to the texts."""

    strings: tf.Tensor  # string [W]: normalized; [UNK] for one that is too long or a token
    token: tf.Tensor  # int32 [W]: the id of a token that is found whole, or -1
    row: tf.Tensor  # int64 [W]: the text of each word
    limit: tf.Tensor  # int64 [W + 1]: word w is characters limit[w] ... limit[w + 1] - 1
    characters: tf.Tensor  # int32 [C]: the normalized code points of all words
    source: tf.Tensor  # int64 [C]: the character, among N, of each
    kind: tf.Tensor  # int32 [N]: as in `characters.character_table`
    inner: tf.Tensor  # bool [W]: whether it continues a word that `by_characters` has split
    starts: tf.Tensor  # int64 [B]: the first character, among N, of each text


def _places(words, row, token, start, last):
    """Return first and last character, exclusive, in their text of what begins and ends there.

    Args:
        words: `Words`.
        row: int64 [K], the text of each.
        token: int32 [K], see `Words`.
        start, last: int64 [K], the characters among N.
    """
    base = words.kind != characters.STRIPPED  # [N]
    size = tf.size(base, tf.int64)
    bases = tf.concat([tf.where(base)[:, 0], [size]], 0)
    end = tf.gather(bases, tf.gather(tf.cumsum(tf.cast(base, tf.int32)), last))
    end = tf.where(token >= 0, last + 1, end)
    end = tf.minimum(end, tf.gather(tf.concat([words.starts, [size]], 0), row + 1))
    origin = tf.gather(words.starts, row)
    return tuple(tf.cast(place - origin, tf.int32) for place in (start, end))


def _replaced(record, code):
    """Return what characters become, int32 [N, 3], and which of the three are there: bool."""
    kind, new = record[:, 3], record[:, :3] + code[:, None] * [[1, 0, 0]]
    stays = (kind == characters.IN_WORD) | (kind == characters.ALONE)
    there = tf.concat([tf.ones_like(new[:, :1], tf.bool), new[:, 1:] > 0], 1)
    return new, stays[:, None] & there


def read_text(path: str | Path, kind: str, remedy: str) -> str:
    """Return the text of a file; `InputError` where it cannot be read or is not UTF-8."""
    try:
        content = Path(path).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{kind} {path}: cannot be read ({error.strerror}); {remedy}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{kind} {path}, line {line}: not UTF-8; save the file as UTF-8"
        ) from error


def split_vocabulary(text: str) -> list[str]:
    """Return the tokens in the text of a `vocab.txt`, one a line; empty last lines are none."""
    # Not `splitlines`: BERT's Chinese vocabulary contains U+2028, a line separator.
    lines = text.rstrip("\r\n").split("\n")
    return [line.removesuffix("\r") for line in lines] if lines != [""] else []


def check_vocabulary(
    vocabulary: Sequence[str], name: str = "vocabulary",
    special_tokens: Mapping[str, str] = SPECIAL_NAMES,
) -> None:  # fmt: skip
    """Raise `InputError`, with `name` and the line, unless a tokenizer can use `vocabulary`."""
    if len(vocabulary) == 0:
        raise InputError(f"{name}: empty; give one token a line, the special tokens among them")
    for line, token in enumerate(vocabulary, start=1):
        if not isinstance(token, str):
            raise InputError(f"{name}, line {line}: {token!r} is not a string; give strings")
    unknown = set(special_tokens) - set(SPECIAL_NAMES)
    if unknown:
        raise InputError(
            f"special_tokens: {min(unknown)!r}; give some of {', '.join(SPECIAL_NAMES)}"
        )
    seen = set(vocabulary)
    for role, token in special_tokens.items():
        if token not in seen and role != "mask_token":
            raise InputError(
                f"{name}, line {len(vocabulary) + 1}: ends without {token}; add it on a line"
            )


def shifted(values: tf.Tensor, before: int | bool) -> tf.Tensor:
    """Return the neighbour to the left of each value, `before` for the first one."""
    return tf.concat([tf.cast([before], values.dtype), values], 0)[:-1]


def marked_at(places: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Return which of 0 ... size - 1 are among `places`: bool [size]."""
    ones = tf.ones_like(places, tf.int32)
    return tf.scatter_nd(places[:, None], ones, tf.cast(size, tf.int64)[None]) > 0


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

    return [[width(piece_of(t)[0]), width(t[-1])] if t else [NARROW] * 2 for t in vocabulary]
