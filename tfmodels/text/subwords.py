"""The tokenizers of encoders that are no BERT: SentencePiece, or pairs of bytes, in the graph.

In: `string` tensors and a SentencePiece model or a `BytePairTokenizer`. Out: ragged int32 ids. A
text as a whole is cut as the encoder saw texts in its pretraining. For entities its words are cut
one by one: our splitter knows the characters of every word, and SentencePiece's normalization,
which may change their number, then does not matter.

B = texts, W = words of all texts, T = tokens of a text, V = vocabulary.
"""

import copy
import hashlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_text as tf_text
from tensorflow_text.python.ops import sentencepiece_tokenizer as library

from tfmodels.errors import InputError
from tfmodels.text.bpe import BytePairTokenizer
from tfmodels.text.wordpiece import SPECIAL_TOKENS, WordPieceTokenizer, shifted

SPACE = "\u2581"  # how a SentencePiece vocabulary has the space before a word
# The ids that fairseq puts before those of its SentencePiece model, and of its unknown token there.
FAIRSEQ, UNKNOWN = ("<s>", "<pad>", "</s>", "<unk>"), 0


class _Resource(library._SentencepieceModelResource):
    """A SentencePiece model that stays as long as the process.

    That of TF-Text has no name, so that it is gone with the kernel that made it: as soon as
    anybody sets a seed, which empties TensorFlow's cache of kernels.
    """

    def _create_resource(self) -> tf.Tensor:
        name = hashlib.sha256(self._model).hexdigest()
        operations = library.gen_sentencepiece_tokenizer
        return operations.sentencepiece_op(model=self._model, shared_name=f"pieces-{name}")


def open_pieces(proto: bytes, out_type: Any = tf.int32) -> tf_text.SentencepieceTokenizer:
    """Return TF-Text's tokenizer of a SentencePiece model: the content of its file.

    Args:
        proto: the content.
        out_type: tf.int32 for ids, tf.string for the pieces.
    """
    with tf.init_scope(), tf.device("CPU:0"):
        tokenizer = tf_text.SentencepieceTokenizer(model=proto, out_type=out_type)
        tokenizer._model_resource = _Resource(proto, "pieces")
    return tokenizer


class SentencePieces(tf.Module):
    """Split texts by a SentencePiece model.

    Args:
        proto: the content of its file.
        fairseq: whether ids are those of XLM-RoBERTa: shifted by one, with the special tokens
            first and `<mask>` last.
        fold: whether case and accents are folded before, as ALBERT has it in `transformers`; its
            SentencePiece model knows lower-case letters alone.

    Attributes:
        proto, fold: as given.
        vocabulary: tuple of the tokens.
    """

    def __init__(self, proto: bytes, fairseq: bool = False, fold: bool = False):
        super().__init__()
        self.proto, self._fairseq, self.fold = proto, fairseq, fold
        self._model = open_pieces(proto)
        with tf.init_scope(), tf.device("CPU:0"):
            tokens = self._model.id_to_string(tf.range(self._model.vocab_size())).numpy()
        self.vocabulary = tuple(token.decode() for token in tokens)
        if fairseq:
            self.vocabulary = (*FAIRSEQ, *self.vocabulary[3:], "<mask>")

    def add(self, token: str) -> None:
        """Add a token behind the vocabulary, if it has none like this; no text has it."""
        if token not in self.vocabulary:
            self.vocabulary = (*self.vocabulary, token)

    def tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Return the ids of texts, string [B]: int32 [B, (T)]."""
        if self.fold:
            text = tf.strings.regex_replace(text, "``|''", '"')
            text = tf_text.normalize_utf8(text, "NFKD")
            text = tf.strings.lower(tf.strings.regex_replace(text, r"\p{M}", ""), "utf-8")
        ids = self._model.tokenize(text)
        if not self._fairseq:
            return ids
        unknown = FAIRSEQ.index("<unk>")
        return ids.with_values(tf.where(ids.values == UNKNOWN, unknown, ids.values + 1))


class SentencePieceWords(tf.Module):
    """Cut words by a SentencePiece model, which puts a space before every text that it gets.

    A word that follows another without one gets the pieces without it, where there are such.
    """

    def __init__(self, pieces: SentencePieces):
        super().__init__()
        self._pieces = pieces
        ids = {token: number for number, token in enumerate(pieces.vocabulary)}
        bare = [ids.get(token.removeprefix(SPACE), number) for token, number in ids.items()]
        self._space = ids.get(SPACE, -1)
        with tf.init_scope(), tf.device("CPU:0"):
            self._bare = tf.constant(bare)  # [V]

    def __call__(self, words: tf.Tensor, spaced: tf.Tensor, first: tf.Tensor) -> tf.RaggedTensor:
        ids = self._pieces.tokenize(words)  # [W, (tokens)]
        word = ids.value_rowids()
        begins = word != shifted(word, -1)
        bare = begins & ~tf.gather(spaced | first, word)
        several = tf.gather(ids.row_lengths() > 1, word)
        kept = ~(bare & several & (ids.values == self._space))
        ids = ids.with_values(tf.where(bare, tf.gather(self._bare, ids.values), ids.values))
        return tf.ragged.boolean_mask(ids, ids.with_values(kept))


class BytePairWords(tf.Module):
    """Cut words by pairs of bytes; the space before a word belongs to it."""

    def __init__(self, pieces: BytePairTokenizer):
        super().__init__()
        self._pieces = pieces

    def __call__(self, words: tf.Tensor, spaced: tf.Tensor, first: tf.Tensor) -> tf.RaggedTensor:
        return self._pieces.tokenize(tf.strings.join([tf.where(spaced, " ", ""), words]))


class SubwordTokenizer(tf.Module):
    """A tokenizer of an encoder that is no BERT, with what `WordPieceTokenizer` has for tasks.

    Args:
        inner: `SentencePieces` or `BytePairTokenizer`.
        special: dict of the special tokens by role: "cls", "sep", "pad", "unk" and "mask", of
            which the last two may be missing in the vocabulary.
        separators: number of separators between the texts of a pair.

    Attributes:
        inner: as given.
        vocabulary: tuple of the tokens.
        vocabulary_size: number of tokens.
        cls_id, sep_id, pad_id: ids of the special tokens.
        unk_id, mask_id: likewise, or None.
        special_ids: frozenset of the ids that are no text.

    Raises:
        InputError: a special token is missing.
    """

    # Every token of a word has the place of the word.
    words_by_place = True

    def __init__(self, inner: Any, special: Mapping[str, str], separators: int = 1):
        super().__init__()
        self.inner, self.separators = inner, separators
        self.vocabulary = tuple(inner.vocabulary)
        self.vocabulary_size = len(self.vocabulary)
        ids = {token: number for number, token in enumerate(self.vocabulary)}
        for role in ("cls", "sep", "pad"):
            if special[role] not in ids:
                raise InputError(f"no token {special[role]!r} among {len(ids)}; give that model's")
        self.cls_id, self.sep_id, self.pad_id = (ids[special[r]] for r in ("cls", "sep", "pad"))
        self.unk_id, self.mask_id = (ids.get(special[role]) for role in ("unk", "mask"))
        self.special_ids = frozenset(ids[token] for token in special.values() if token in ids)
        bytewise = isinstance(inner, BytePairTokenizer)
        self._words = BytePairWords(inner) if bytewise else SentencePieceWords(inner)
        self._splitter = WordPieceTokenizer(SPECIAL_TOKENS, lowercase=False)

    @property
    def end_id(self) -> int:
        """Id of the separator, which ends a text."""
        return self.sep_id

    def by_characters(self) -> "SubwordTokenizer":
        """Return this tokenizer with each character as a word, so that entities end anywhere."""
        tokenizer = copy.copy(self)
        tokenizer._splitter = self._splitter.by_characters()
        return tokenizer

    def tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Split each text into token ids, as the encoder's own tokenizer does.

        Args:
            text: string [B], UTF-8.

        Returns:
            int32 [B, (T)], without special tokens around them (see `packing.pack`).
        """
        with tf.device("CPU:0"):
            return self.inner.tokenize(tf.convert_to_tensor(text, tf.string))

    def tokenize_with_offsets(
        self, text: tf.Tensor
    ) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """Split each text into words, and each word into token ids with the place of the word.

        Args:
            text: string [B], UTF-8.

        Returns:
            `(ids, starts, ends)`, int32 [B, (T)] each, see `WordPieceTokenizer`. A word without
            tokens, such as one that SentencePiece normalizes to nothing, is left out.
        """
        with tf.device("CPU:0"):
            words, starts, ends = self._splitter.split_words(text)  # [B, (words)]
            row = words.value_rowids()
            first = row != shifted(row, -1)
            before = tf.where(first, 0, shifted(ends.values, 0))
            ids = self._words(words.values, starts.values != before, first)
            word = ids.value_rowids()

            def by_text(values):
                return tf.RaggedTensor.from_value_rowids(
                    values, tf.gather(row, word), words.nrows(), validate=False
                )

            places = (tf.gather(side.values, word) for side in (starts, ends))
            return by_text(ids.values), *map(by_text, places)
