"""GPT-2's byte-level BPE tokenizer as TensorFlow ops: strings to ids and back.

In: `string` tensors of any bytes, a vocabulary and merges. Out: ragged `int32`
ids, equal to those of `tokenizers` with the ByteLevel pre-tokenizer, and the
same bytes from the ids. Every step is an op of TensorFlow over the whole batch
at once, so the same code runs in `tf.data`, in a `tf.function` and in a
SavedModel on a stock TF Serving.

Steps: code points -> one table look-up each (`characters.py`) gives letter,
number, white space or other -> breaks between words -> words of bytes -> words
that are one token are looked up; in the others, each distinct one once, the
pairs of lowest rank are merged, in all words at the same time.

Reference: Radford et al., "Language models are unsupervised multitask
learners", 2019; Sennrich et al., "Neural machine translation of rare words
with subword units", 2016.

B = texts, P = parts of texts between ends of text, N = characters, Y = bytes,
W = words of all parts, U = distinct words to merge, S = symbols of these,
T = tokens of one text, V = vocabulary.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfmodels.errors import InputError, brief
from tfmodels.text import characters
from tfmodels.text.whole_tokens import WHITE_SPACE, AddedToken, WholeTokens, as_added
from tfmodels.text.wordpiece import read_text, shifted

END_OF_TEXT = "<|endoftext|>"
NEVER = 2**31 - 1  # the rank of a pair that no merge joins


def printable_bytes() -> list[str]:
    """Return GPT-2's alphabet: the character of each of the 256 bytes in a vocabulary."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    code_of = dict(zip(hidden, range(256, 512), strict=False)) | {byte: byte for byte in shown}
    return [chr(code_of[byte]) for byte in range(256)]


class LanguageTokenizer(tf.Module):
    """Base of the tokenizers of running text: tokens found whole, and text from ids.

    A subclass has `_encode`, which returns the ids, int32 [P, (T)], of texts [P] without
    `end_of_text` and added tokens.

    Attributes:
        vocabulary: tuple of the tokens.
        vocabulary_size: number of tokens.
        end_id: id of `end_of_text`, None where the vocabulary has none.
        token_bytes: string [V], the bytes of each token in a text; none for special tokens.
    """

    def __init__(
        self, vocabulary: Sequence[str], end_id: int | None, end_of_text: str | None,
        content: Sequence[bytes], added: Mapping[int, AddedToken] | None = None,
    ):  # fmt: skip
        super().__init__()
        added = added or {}
        self.vocabulary = tuple(vocabulary)
        self.vocabulary_size = len(self.vocabulary)
        self.end_id, self._end_of_text = end_id, end_of_text
        # Created eagerly, so that one tokenizer serves any number of graphs.
        with tf.init_scope(), tf.device("CPU:0"):
            self.token_bytes = tf.constant(content, tf.string, [len(content)])
            # "" for ids outside the vocabulary
            self._content = tf.concat([self.token_bytes, [""]], 0)  # [V + 1]
            ids = {token.content: number for number, token in added.items()}
            if end_of_text is not None and end_id is not None:
                ids[end_of_text] = end_id
            self._whole_tokens = WholeTokens(ids) if ids else None
            # [V + 1], the last one for text: whether white space on a side is dropped
            self._strips = {
                side: tf.constant(
                    [i in added and getattr(added[i], side) for i in range(len(content))] + [False]
                )
                for side in ("lstrip", "rstrip")
                if any(getattr(token, side) for token in added.values())
            }

    def tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Split each text into token ids.

        Args:
            text: string [B], any bytes. The literal `end_of_text` in it is that token, as are
                added tokens.

        Returns:
            int32 [B, (T)].
        """
        with tf.device("CPU:0"):
            text = tf.convert_to_tensor(text, tf.string)
            if self._whole_tokens is None:
                return self._encode(text)
            parts, token = self._whole_tokens.split_bytes(text)  # [B, (parts)], [P]
            ids = self._encode(self._stripped(parts.values, token))  # [P, (tokens)]
            whole = tf.cast(token >= 0, tf.int64)
            tokens = tf.RaggedTensor.from_row_lengths(token[token >= 0], whole, validate=False)
            ids = tf.concat([ids, tokens], 1)
            splits = tf.gather(ids.row_splits, parts.row_splits)
            return tf.RaggedTensor.from_row_splits(ids.values, splits, validate=False)

    def _stripped(self, parts, token):
        """Return the text of parts [P]; "" for tokens, which may drop the white space beside."""
        place = tf.where(token < 0, self.vocabulary_size, token)
        for side, strips in self._strips.items():
            strips = tf.gather(strips, place)
            left = side == "lstrip"
            beside = following(strips, False) if left else shifted(strips, False)
            pattern = f"{WHITE_SPACE}+$" if left else f"^{WHITE_SPACE}+"
            parts = tf.where(beside, tf.strings.regex_replace(parts, pattern, ""), parts)
        return tf.where(token < 0, parts, "")

    def detokenize(self, ids: tf.RaggedTensor | tf.Tensor) -> tf.Tensor:
        """Write ids as text: the bytes of the tokens, one after the other.

        Special tokens and ids outside the vocabulary (negative ones) are skipped. A text cut
        inside a character ends in broken UTF-8; where that matters, apply
        `tf.strings.unicode_transcode`.

        Args:
            ids: integer [B, (T)], ragged or dense.

        Returns:
            string [B].
        """
        with tf.device("CPU:0"):
            if not isinstance(ids, tf.RaggedTensor):
                ids = tf.RaggedTensor.from_tensor(tf.convert_to_tensor(ids))
            known = (ids.values >= 0) & (ids.values < self.vocabulary_size)
            pieces = tf.gather(self._content, tf.where(known, ids.values, self.vocabulary_size))
            rows = tf.cast(ids.nrows(), tf.int32)
            return tf.strings.unsorted_segment_join(pieces, ids.value_rowids(), rows)


class BytePairTokenizer(LanguageTokenizer):
    """Split text as GPT-2 does; equal to `tokenizers`' byte-level BPE token by token.

    Nothing is cleaned or dropped: any bytes, even broken UTF-8, can be restored
    from their ids. A text is split into words, a space belonging to the word
    after it, and in each word the pair of tokens that is first in the merges
    is joined until there is none. `end_of_text` or an added token written out
    in a text is that token.

    Args:
        vocabulary: the tokens, in GPT-2's printable alphabet; a token's id is its position.
        merges: the pairs of tokens to join, by priority.
        end_of_text: the token that ends a text; none if it is None or not in the vocabulary.
        added_tokens: tokens that are found whole (`AddedToken`, or dicts of its
            fields). Those that are not in `vocabulary` follow it.

    Attributes:
        pieces: tuple of the tokens without those that follow.
        merges: tuple of the pairs; for the others see `LanguageTokenizer`.

    Raises:
        InputError: a repeated token, one that is not in the alphabet, a byte without a token, or
            a merge with a token that is not in the vocabulary.

    Example:
        >>> tokenizer = BytePairTokenizer.from_files("vocab.json", "merges.txt")
        >>> tokenizer.tokenize(["A very moving film."]).to_list()
        [[32, 845, 3867, 2646, 13]]
    """

    def __init__(
        self, vocabulary: Sequence[str], merges: Sequence[tuple[str, str]], *,
        end_of_text: str | None = END_OF_TEXT,
        added_tokens: Sequence[AddedToken | Mapping] = (),
    ):  # fmt: skip
        self.pieces, given = tuple(vocabulary), as_added(added_tokens)
        id_of: dict[Any, int] = ids_of(self.pieces)
        for token in given:
            id_of.setdefault(token.content, len(id_of))
        vocabulary = tuple(id_of)
        added = {id_of[token.content]: token for token in given}
        if end_of_text is not None and end_of_text in id_of:
            added.setdefault(id_of[end_of_text], AddedToken(end_of_text, special=True))
        byte_of = {character: byte for byte, character in enumerate(printable_bytes())}
        for character, byte in byte_of.items():
            if character not in id_of:
                raise InputError(
                    f"vocabulary: no token {character!r} (U+{ord(character):04X}) for byte {byte}; "
                    "add GPT-2's 256 characters for the bytes"
                )
        content = [
            (b"" if added[i].special else token.encode()) if i in added
            else bytes_of(token, byte_of) for i, token in enumerate(vocabulary)
        ]  # fmt: skip
        super().__init__(vocabulary, id_of.get(end_of_text), end_of_text, content, added)
        self._added = given
        self.merges = tuple((left, right) for left, right in merges)
        id_of_byte = [id_of[character] for character in byte_of]
        pairs, made = check_merges(self.merges, id_of)

        with tf.init_scope(), tf.device("CPU:0"):
            page_of, kinds = characters.kind_table()
            self._page_of = tf.constant(page_of)  # [4352]
            self._kinds = tf.constant(kinds)  # [pages * 256]
            self._one_letter = tf.constant([ord(letter) for letter in "stmd"])
            self._two_letters = tf.constant([[ord(a), ord(b)] for a, b in ("re", "ve", "ll")])
            joined = joined_bytes(bytes_of(vocabulary[i], byte_of) for i in made)
            self._cut = tf.constant(~joined)  # [65536]
            self._id_of_byte = tf.constant(id_of_byte, tf.int32)
            self._made = tf.constant(made, tf.int32)  # [merges]: the id of each
            self._rank = lookup_table(pairs, range(len(pairs)), tf.int64, NEVER)

            # Most words are one token: they are looked up, if merging gives the same token.
            words = [token.decode("latin-1") for token in content]
            merged = self._merge(tf.strings.unicode_decode(words, "UTF-8"))
            single = tf.where(merged.row_lengths() == 1)[:, 0]
            ids = tf.gather(merged.values, tf.gather(merged.row_starts(), single)).numpy()
            whole = [i for i, j in zip(single.numpy(), ids, strict=True) if i == j]
            self._whole = lookup_table([words[i] for i in whole], whole, tf.string, -1)

    @classmethod
    def from_files(
        cls, vocab_json: str | Path, merges_txt: str | Path, **options: Any
    ) -> "BytePairTokenizer":
        """Read GPT-2's two files.

        Args:
            vocab_json: `vocab.json`, ids by token.
            merges_txt: `merges.txt`, a pair a line after a line `#version`.
            **options: as in the constructor.

        Raises:
            InputError: a file is missing or malformed.
        """
        content = read_text(vocab_json, "vocabulary", "give GPT-2's file")
        try:
            ids = json.loads(content)
            tokens = sorted(ids, key=ids.get)
            complete = [ids[token] for token in tokens] == list(range(len(ids)))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f'vocabulary {vocab_json}: not a JSON object {{"token": id, ...}}; '
                "give GPT-2's vocab.json"
            ) from error
        if not complete:
            raise InputError(
                f"vocabulary {vocab_json}: the ids are not 0 to {len(ids) - 1}, each once; "
                "give every id one token"
            )
        lines = read_text(merges_txt, "merges", "give GPT-2's file")
        return cls(tokens, split_merges(lines, f"merges {merges_txt}"), **options)

    def get_config(self) -> dict[str, Any]:
        """Return the options to build this tokenizer again from its `pieces` and merges."""
        added = [*map(dataclasses.asdict, self._added)]
        return {"end_of_text": self._end_of_text, **({"added_tokens": added} if added else {})}

    def _encode(self, text):
        """Return the ids of texts without `end_of_text`: [P] to int32 [P, (T)]."""
        words, splits = self._split(text)
        whole = self._whole.lookup(words)  # [W], -1: to be merged
        missing = tf.where(whole < 0)[:, 0]
        unique, which = tf.unique(tf.gather(words, missing), tf.int64)
        merged = self._merge(tf.strings.unicode_decode(unique, "UTF-8"))

        # Each word's tokens are a range of `pool`.
        pool = tf.concat([whole, merged.values], 0)
        size = tf.size(whole, tf.int64)
        start = tf.range(size)
        limit = start + 1
        places = missing[:, None]
        first, after = (tf.gather(size + merged.row_splits[i:], which) for i in (0, 1))
        start = tf.tensor_scatter_nd_update(start, places, first)
        limit = tf.tensor_scatter_nd_update(limit, places, after)
        tokens = tf.gather(pool, tf.ragged.range(start, limit).values)
        token_splits = tf.concat([[0], tf.cumsum(limit - start)], 0)  # [W + 1]
        return tf.RaggedTensor.from_row_splits(
            tokens, tf.gather(token_splits, splits), validate=False
        )

    def _split(self, text):
        """Split texts [P] between GPT-2's words, and wherever no merge can join two bytes.

        Returns the words, string [W], each byte as the character of that code point (in UTF-8, so
        that any bytes can be looked up), and the row splits of the texts, int64 [P + 1].
        """
        byte = tf.strings.unicode_decode(text, "ISO-8859-1")  # [P, (bytes)]
        pair = shifted(byte.values, 0) * 256 + byte.values
        place = self._word_places(text, byte.row_splits)
        starts = tf.tensor_scatter_nd_update(
            tf.gather(self._cut, pair), place[:, None], tf.ones_like(place, tf.bool)
        )
        first = tf.where(starts)[:, 0]  # [W]
        limits = tf.concat([first, byte.row_splits[-1:]], 0)
        words = tf.RaggedTensor.from_row_splits(byte.values, limits, validate=False)
        splits = tf.searchsorted(first, byte.row_splits, out_type=tf.int64)
        return tf.strings.unicode_encode(words, "UTF-8"), splits

    def _word_places(self, text, byte_splits):
        """Return the byte at which each of GPT-2's words starts, counted over all texts.

        GPT-2's words are, the first that matches: 's 't 're 've 'm 'll 'd; letters,
        numbers or other characters, with or without a space before them; white
        space up to the last one before a word; white space. A broken byte is
        an "other character".
        """
        codes, offsets = tf.strings.unicode_decode_with_offsets(text, "UTF-8")
        code = codes.values  # [N]
        size = tf.size(code, tf.int64)
        opening = marked(codes.row_splits[:-1], size + 1)[:-1]  # number of texts that start here
        row = tf.cumsum(opening) - 1
        first = opening > 0
        page = tf.gather(self._page_of, tf.bitwise.right_shift(code, 8))
        kind = tf.gather(self._kinds, page * 256 + tf.bitwise.bitwise_and(code, 255))

        before, after = shifted(kind, characters.OTHER), following(kind, characters.WHITE)
        inner = (before == kind) | (shifted(code, 0) == ord(" "))
        white = (before == kind) & ((after == kind) | following(first, True))
        starts = first | ~tf.where(kind == characters.WHITE, white, inner)

        # An apostrophe that starts a word may be a contraction, which ends it.
        at = tf.where(starts & (code == ord("'")))[:, 0]
        places = at[:, None] + [[1, 2]]
        same = tf.gather(tf.pad(row, [[0, 2]], constant_values=-1), places)
        letters = tf.gather(tf.pad(code, [[0, 2]]), places)
        letters = tf.where(same == tf.gather(row, at)[:, None], letters, 0)  # [apostrophes, 2]
        one = tf.reduce_any(letters[:, :1] == self._one_letter, 1)
        two = tf.reduce_any(tf.reduce_all(letters[:, None] == self._two_letters, 2), 1)
        at, end = at[one | two], (at + tf.where(one, tf.constant(2, tf.int64), 3))[one | two]
        starts = tf.concat([starts, [True]], 0)
        starts = tf.tensor_scatter_nd_update(starts, at[:, None] + 1, tf.zeros_like(at, tf.bool))
        starts = tf.tensor_scatter_nd_update(starts, end[:, None], tf.ones_like(end, tf.bool))

        start = tf.where(starts[:-1])[:, 0]
        origin = tf.gather(byte_splits, tf.gather(row, start))
        return origin + tf.gather(offsets.values, start)

    def _merge(self, words):
        """Merge bytes int32 [U, (bytes)] of words to int32 [U, (tokens)]; a word may be empty."""
        count = words.nrows()
        symbol = tf.gather(self._id_of_byte, words.values)  # [S]
        word = tf.cumsum(marked(words.row_splits[1:], tf.size(symbol, tf.int64) + 1))[:-1]
        rank = self._ranks(symbol, word, tf.range(tf.size(symbol)))  # of a symbol and the next

        def unfinished(symbol, word, rank):
            return tf.reduce_any(rank < NEVER)

        def merge(symbol, word, rank):
            best = tf.gather(tf.math.unsorted_segment_min(rank, word, count), word)
            at = every_other(tf.where((rank == best) & (rank < NEVER))[:, 0])
            symbol = tf.tensor_scatter_nd_update(
                symbol, at[:, None], tf.gather(self._made, tf.gather(rank, at))
            )
            stays = tf.tensor_scatter_nd_update(
                tf.ones_like(symbol, tf.bool), at[:, None] + 1, tf.zeros_like(at, tf.bool)
            )
            stays = tf.where(stays)[:, 0]
            symbol, word, rank = (tf.gather(values, stays) for values in (symbol, word, rank))
            # A merged symbol, moved left by the merges before it, has new pairs on both sides.
            at = tf.cast(at, tf.int32) - tf.range(tf.size(at))
            at = tf.concat([at, tf.maximum(at - 1, 0)], 0)
            rank = tf.tensor_scatter_nd_update(rank, at[:, None], self._ranks(symbol, word, at))
            return symbol, word, rank

        shapes = (tf.TensorShape([None]),) * 3
        symbol, word, _ = tf.while_loop(unfinished, merge, (symbol, word, rank), shapes)
        lengths = tf.math.unsorted_segment_sum(tf.ones_like(word, tf.int64), word, count)
        return tf.RaggedTensor.from_row_lengths(symbol, lengths, validate=False)

    def _ranks(self, symbol, word, at):
        """Return the ranks of the pairs that start at the places `at`; NEVER at a word's end."""
        symbol, word = tf.pad(symbol, [[0, 1]]), tf.pad(word, [[0, 1]], constant_values=-1)
        left, right = tf.gather(symbol, at), tf.gather(symbol, at + 1)
        key = tf.cast(left, tf.int64) * self.vocabulary_size + tf.cast(right, tf.int64)
        return tf.where(
            tf.gather(word, at) == tf.gather(word, at + 1), self._rank.lookup(key), NEVER
        )


def ids_of(vocabulary: Sequence[str]) -> dict[str, int]:
    """Return the id of each token.

    Raises:
        InputError: a token is repeated.
    """
    ids: dict[str, int] = {}
    for i, token in enumerate(vocabulary):
        if token in ids:
            raise InputError(
                f"vocabulary: token {i} is {token!r} again (first {ids[token]}); "
                "give each token once"
            )
        ids[token] = i
    return ids


def bytes_of(token: str, byte_of: dict[str, int]) -> bytes:
    """Return the bytes of a token in GPT-2's alphabet.

    Raises:
        InputError: a character is not in the alphabet, or there is none.
    """
    try:
        content = bytes(byte_of[character] for character in token)
    except KeyError as error:
        raise InputError(
            f"vocabulary: token {token!r} contains {error.args[0]!r}, which is not in GPT-2's "
            "alphabet of bytes; write the token's bytes in that alphabet"
        ) from error
    if not content:
        raise InputError("vocabulary: an empty token; remove it")
    return content


def check_merges(
    merges: Sequence[tuple[str, str]], id_of: dict[str, int]
) -> tuple[list[int], list[int]]:
    """Check merges and number them.

    Returns:
        For each merge the pair's number, left id * V + right id, and the id of the merged token.

    Raises:
        InputError: a merge is repeated, has a token that is not in the vocabulary, or precedes
            one that makes a part of it.
    """
    pairs, made, last = {}, [], {}
    for rank, (left, right) in enumerate(merges):
        for token in (left, right, left + right):
            if token not in id_of:
                raise InputError(
                    f"merge {rank} {brief.repr((left, right))}: {brief.repr(token)} is not in the "
                    "vocabulary; give vocabulary and merges of one tokenizer"
                )
        pair = id_of[left] * len(id_of) + id_of[right]
        if pair in pairs:
            raise InputError(
                f"merge {rank} {brief.repr((left, right))}: again; give each merge once"
            )
        pairs[pair] = rank
        made.append(id_of[left + right])
        last[left + right] = rank
    # So that a merge never makes a pair of lower rank than its own, and all pairs of the
    # lowest rank in a word may be merged in one pass.
    for rank, merge in enumerate(merges):
        for token in merge:
            if last.get(token, -1) > rank:
                raise InputError(
                    f"merge {rank} {brief.repr(merge)}: precedes merge {last[token]}, which "
                    f"makes {brief.repr(token)}; put the merges into the order they were learned in"
                )
    return list(pairs), made


def split_merges(text: str, name: str) -> list[tuple[str, str]]:
    """Return the pairs in the text of a `merges.txt`.

    Raises:
        InputError: a line is not two tokens; the message starts with `name`.
    """
    merges = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line or (number == 1 and line.startswith("#version")):
            continue
        pair = line.split(" ")
        if len(pair) != 2 or not all(pair):
            raise InputError(
                f"{name}, line {number}: {line[:40]!r} is not two tokens with a space between; "
                "give GPT-2's merges.txt"
            )
        merges.append((pair[0], pair[1]))
    return merges


def joined_bytes(tokens: Iterable[bytes]) -> np.ndarray:
    """Return which pairs of neighbouring bytes occur in a token: bool [65536]."""
    joined = np.zeros([256 * 256], bool)
    for token in tokens:
        for left, right in zip(token, token[1:], strict=False):
            joined[left * 256 + right] = True
    return joined


def lookup_table(
    keys: Iterable, values: Iterable[int], key_dtype: tf.DType, default: int
) -> tf.lookup.StaticHashTable:
    """Return a table of int32 values; its entries are part of a SavedModel."""
    # TensorFlow has no empty tables; -1 is never looked up.
    keys, values = list(keys) or [-1], list(values) or [default]
    entries = tf.lookup.KeyValueTensorInitializer(
        tf.constant(keys, key_dtype), tf.constant(values, tf.int32)
    )
    return tf.lookup.StaticHashTable(entries, default)


def marked(places: tf.Tensor, size: tf.Tensor | int) -> tf.Tensor:
    """Return how often each of 0 ... size - 1 is among `places`: int32 [size]."""
    return tf.scatter_nd(places[:, None], tf.ones_like(places, tf.int32), [size])


def following(values: tf.Tensor, after: int | bool) -> tf.Tensor:
    """Return the neighbour to the right of each value, `after` for the last one."""
    return tf.concat([values, tf.cast([after], values.dtype)], 0)[1:]


def every_other(places: tf.Tensor) -> tf.Tensor:
    """Return the first, third, ... of each run of neighbouring places: pairs in `aaaa` overlap."""
    number = tf.range(tf.size(places))
    opens = places != shifted(places, -2) + 1
    run = tf.cumsum(tf.cast(opens, tf.int32)) - 1
    start = tf.gather(tf.where(opens)[:, 0], run)
    return places[(number - tf.cast(start, tf.int32)) % 2 == 0]
