"""Examples for BERT's pretraining: texts, and whether one follows the other.

In: documents as lists of sentences, streamed. Out: unmasked examples, in Python. `pretraining.py`
makes batches of them, `records.py` stores them in files.

Follows Devlin et al., "BERT", 2018, appendix A.2, and google-research/bert's
`create_pretraining_data.py`; sentence order after Lan et al., "ALBERT", 2019. Three things
differ from BERT's program. The corpus is never in memory: random text comes from a buffer of
recent documents. A chunk of one sentence is halved between two words instead of always getting
random text, so both labels are equally frequent. And sentences longer than an example are cut
into several instead of being truncated.

n = tokens of an example, T = tokens of a sentence.
"""

import dataclasses
import itertools
import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text import characters
from tfmodels.text.masking import hashed_int
from tfmodels.text.wordpiece import WordPieceTokenizer, continues

TASKS = ("nsp", "sop", "mlm")

_CHUNK_CHARACTERS = 400_000  # tokenized at once
_CHUNK_SENTENCES = 4000
_KEPT_DOCUMENTS = 1000  # size of the buffer that random text comes from
_KEPT_TOKENS = 500_000  # fewer documents are kept where they are long
_EXAMPLES_OF_DOCUMENT = 1 << 20  # a document has fewer examples than this
_PAIRS = 2  # start of the two hashes, which makes them independent of those of `pretraining.py`


@dataclasses.dataclass(frozen=True)
class ExampleSettings:
    """Settings of the examples.

    Attributes:
        max_length: maximum number of tokens of an example, special ones included.
        task: "nsp": a pair, label 1 where the second text is of another document; "sop": a pair
            of neighbours, label 1 where they are swapped; "mlm": one text, no label.
        short_share: share of the examples that aim at a random shorter length.
        segmented: whether ideographs without a space between them are one word, for Chinese
            text that was segmented with spaces. Otherwise each is a word.
        seed: of all random choices.
    """

    max_length: int = 128
    task: str = "nsp"
    short_share: float = 0.1
    segmented: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise InputError(f"task={self.task!r} is unknown; give one of {', '.join(TASKS)}")
        if self.max_length < 8:
            raise InputError(
                f"max_length={self.max_length} leaves no room for two texts; give at least 8"
            )
        if not 0 <= self.short_share <= 1:
            raise InputError(f"short_share={self.short_share}; give a share from 0 to 1")

    @property
    def room(self) -> int:
        """Maximum number of tokens of an example that are not special."""
        return self.max_length - (2 if self.task == "mlm" else 3)

    @property
    def min_documents(self) -> int:
        """Minimum number of documents of a text: those of "nsp" need another one for pairs."""
        return 2 if self.task == "nsp" else 1


class Example(NamedTuple):
    """An unmasked example: [CLS] first [SEP], or [CLS] first [SEP] second [SEP]."""

    token_ids: np.ndarray  # int32 [n]
    continues: np.ndarray  # bool [n]: belongs to the word of the token before
    first_length: int  # tokens of [CLS] first [SEP]; the others are the second segment
    label: int  # see `ExampleSettings.task`; 0 for "mlm"
    number: int  # unique in a pass


class Document(NamedTuple):
    """A tokenized document."""

    number: int
    sentences: list[np.ndarray]  # int32 [2, T] each: ids, and 1 where a token continues a word

    @property
    def tokens(self) -> int:
        return sum(sentence.shape[1] for sentence in self.sentences)


def examples(
    documents: Iterable[tuple[int, list[str]]],
    tokenizer: WordPieceTokenizer,
    settings: ExampleSettings,
    pass_number: int = 0,
) -> Iterator[Example]:
    """Make the examples of one pass over documents.

    Every token of the text is used once, in its place, except what is cut from the ends of pairs
    that became too long, and the single word that "sop" cannot make a pair of. For "nsp", text is
    also used as the random second text of other documents. A document of one word has no second
    half, so it always gets random text; the labels of the next pairs compensate for that.

    Args:
        documents: `(number, sentences)`, numbers ascending.
        tokenizer: a `WordPieceTokenizer`.
        settings: of the examples.
        pass_number: each pass makes other pairs and lengths of the same documents.

    Yields:
        `Example`. The same arguments yield the same examples.

    Raises:
        InputError: "nsp" and all the text is one document.
    """
    maker = ExampleMaker(tokenizer, settings, pass_number)
    for document in tokenize_documents(documents, tokenizer, settings.segmented):
        yield from maker.add(document)
    if settings.task == "nsp" and maker.documents == 1:
        raise InputError(
            "the text is one document and next-sentence pairs need text of another one; "
            "put blank lines between documents, or give the task 'sop' or 'mlm'"
        )
    yield from maker.finish()


def tokenize_documents(
    documents: Iterable[tuple[int, list[str]]], tokenizer: WordPieceTokenizer, segmented: bool
) -> Iterator[Document]:
    """Tokenize documents, thousands of sentences at once; drop those without tokens.

    Args:
        documents: `(number, sentences)`.
        tokenizer: a `WordPieceTokenizer`.
        segmented: see `ExampleSettings`.

    Yields:
        `Document`.
    """
    split = _splitter(tokenizer, segmented)

    def pieces():
        held, size = [], 0
        for number, texts in documents:
            for text in texts:
                held.append((number, text))
                size += len(text)
                if len(held) >= _CHUNK_SENTENCES or size >= _CHUNK_CHARACTERS:
                    yield from split(held)
                    held, size = [], 0
        if held:
            yield from split(held)

    for number, sentences in itertools.groupby(pieces(), lambda piece: piece[0]):
        if filled := [tokens for _, tokens in sentences if tokens.shape[1]]:
            yield Document(number, filled)


def _splitter(tokenizer, segmented):
    """Return a function from `(number, sentence)` to `(number, tokens)`, see `Document`."""
    tokenize = tf.function(  # faster than op by op
        tokenizer.tokenize_with_offsets if segmented else tokenizer.tokenize,
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    starts_inside = np.array([continues(token) for token in tokenizer.vocabulary])

    def split(held):
        numbers, texts = zip(*held, strict=True)
        tokens = tokenize(tf.constant(texts))
        ids = tokens[0] if segmented else tokens
        splits, flat = ids.row_splits.numpy(), ids.flat_values.numpy()
        inner = starts_inside[flat]
        if segmented:
            starts, ends = (part.flat_values.numpy() for part in tokens[1:])
            inner |= _within_run(texts, splits, starts, ends)
        tokens = np.stack([flat, inner.astype(np.int32)])
        parts = (tokens[:, a:b] for a, b in itertools.pairwise(splits))
        return zip(numbers, parts, strict=True)

    return split


def _within_run(texts, splits, starts, ends):
    """Return which tokens are ideographs right after another one: bool [tokens]."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    origin = np.cumsum([0, *map(len, texts)])[:-1]
    counts = np.diff(splits)
    data = characters.load_characters()
    cjk = data["flags"].reshape(-1) & characters.CJK > 0
    page_of = data["page_of"].astype(np.int64)
    code = codes[np.repeat(origin, counts) + starts].astype(np.int64)
    cjk = cjk[page_of[code >> 8] * 256 + (code & 255)]
    joined = np.zeros(len(starts), bool)
    joined[1:] = cjk[1:] & cjk[:-1] & (starts[1:] == ends[:-1])
    joined[splits[:-1][counts > 0]] = False
    return joined


class ExampleMaker:
    """Make examples of the documents of one stream (a pass, or a shard of it), one by one.

    Args:
        stream: number of the stream; streams draw independently. The others: see `examples`.

    Attributes:
        documents: number of documents so far.
    """

    def __init__(
        self, tokenizer: WordPieceTokenizer, settings: ExampleSettings, pass_number: int = 0,
        stream: int = 0,
    ):  # fmt: skip
        self.documents = 0
        self._cls = np.array([[tokenizer.cls_id], [0]], np.int32)
        self._sep = np.array([[tokenizer.sep_id], [0]], np.int32)
        self._settings = settings
        parts = (hashed_int(_PAIRS + i, settings.seed, pass_number, stream) for i in range(2))
        self._rng = random.Random(next(parts) << 32 | next(parts))
        self._waiting: Document | None = None
        self._kept: list[Document] = []
        self._kept_tokens = 0
        self._owed = 0.0  # labels 0 that compensate for labels 1 that had no alternative

    def add(self, document: Document) -> Iterator[Example]:
        """Take the next document; return the examples of the one before.

        One is always waiting, so that the first one, too, has another document to draw from.
        """
        self.documents += 1
        document = Document(document.number, [*self._pieces(document.sentences)])
        if self._settings.task == "nsp":
            self._keep(document)
        waiting, self._waiting = self._waiting, document
        return self._of_document(waiting)

    def finish(self) -> Iterator[Example]:
        """Return the examples of the last document."""
        waiting, self._waiting = self._waiting, None
        return self._of_document(waiting)

    def _of_document(self, document):
        if document is None:
            return
        pairs = self._texts(document) if self._settings.task == "mlm" else self._pairs(document)
        first_number = document.number * _EXAMPLES_OF_DOCUMENT
        for number, (first, second, label) in enumerate(pairs, start=first_number):
            parts = [self._cls, *first, self._sep]
            if second:
                parts += [*second, self._sep]
            tokens = np.concatenate(parts, axis=1)
            yield Example(
                tokens[0], tokens[1].astype(bool), 2 + _length(first), label, number
            )  # fmt: skip

    def _pieces(self, sentences):
        """Yield the sentences, those longer than an example cut between words."""
        room = self._settings.room
        for sentence in sentences:
            while sentence.shape[1] > room:
                at = _last_start(sentence, room)
                yield sentence[:, :at]
                sentence = sentence[:, at:]
            yield sentence

    def _keep(self, document):
        self._kept.append(document)
        self._kept_tokens += document.tokens
        while len(self._kept) > 2 and (
            len(self._kept) > _KEPT_DOCUMENTS or self._kept_tokens > _KEPT_TOKENS
        ):
            self._kept_tokens -= self._kept.pop(0).tokens

    def _target(self):
        """Draw the number of tokens that the next example aims at."""
        room = self._settings.room
        if self._rng.random() < self._settings.short_share:
            return self._rng.randint(2, room)
        return room

    def _texts(self, document):
        """Yield the whole document in pieces that begin with a word."""
        tokens = np.concatenate(document.sentences, axis=1)
        while tokens.shape[1]:
            target = self._target()
            at = tokens.shape[1] if tokens.shape[1] <= target else _last_start(tokens, target)
            yield [tokens[:, :at]], [], 0
            tokens = tokens[:, at:]

    def _pairs(self, document):
        """Yield `(first, second, label)`, the texts as lists of pieces."""
        sentences = document.sentences[::-1]  # a stack: unused ones are put back
        while sentences:
            target = self._target()
            chunk, size = [], 0
            while sentences and size < target:
                chunk.append(sentences.pop())
                size += chunk[-1].shape[1]
            halved = len(chunk) == 1
            if halved:
                chunk = _halves(chunk[0])
            cut = self._rng.randint(1, len(chunk) - 1) if len(chunk) > 1 else 1
            first, second = chunk[:cut], chunk[cut:]
            label = 0
            if self._settings.task == "sop":
                if not second:
                    continue
                if self._rng.random() < 0.5:
                    first, second, label = second, first, 1
            else:
                other = self._draw_other(document.number, bool(second))
                if other is not None:
                    sentences += second[::-1]
                    second = self._random_text(other, target - _length(first), halved)
                    label = 1
                elif not second:
                    continue  # one word, and no other document
            yield *self._cut(first, second), label

    def _draw_other(self, number, has_second):
        """Return another document to take the second text from, or None to take what follows."""
        correction = min(self._owed, 0.5) if has_second else 0.0
        self._owed -= correction
        if has_second and self._rng.random() >= 0.5 - correction:
            return None
        for _ in range(20):
            other = self._rng.choice(self._kept)
            if other.number != number:
                self._owed += 0.0 if has_second else 0.5
                return other
        return None

    def _random_text(self, document, target, halved):
        """Return neighbouring sentences of a document, at least `target` tokens if it has them.

        Where the first text is half of a sentence, this one begins within a sentence as well:
        its beginning must not give the label away.
        """
        at = self._rng.randrange(len(document.sentences))
        text, size = [], 0
        for sentence in document.sentences[at:]:
            if halved and not text:
                sentence = _halves(sentence)[-1]
            text.append(sentence)
            size += sentence.shape[1]
            if size >= target:
                break
        return text

    def _cut(self, first, second):
        """Remove tokens from the longer text, at either end, until both fit."""
        sizes = [_length(first), _length(second)]
        texts = [first, second]
        if sum(sizes) <= self._settings.room:
            return texts
        front, back = [0, 0], [0, 0]
        for _ in range(sum(sizes) - self._settings.room):
            longer = 0 if sizes[0] > sizes[1] else 1
            (front if self._rng.random() < 0.5 else back)[longer] += 1
            sizes[longer] -= 1
        for i in range(2):
            text = np.concatenate(texts[i], axis=1)[:, front[i] :]
            texts[i] = [text[:, : text.shape[1] - back[i]]]
        return texts


def _length(text):
    return sum(piece.shape[1] for piece in text)


def _last_start(tokens, limit):
    """Return where to cut so that 1 to `limit` tokens and whole words stay."""
    starts = np.flatnonzero(tokens[1, 1 : limit + 1] == 0)
    return int(starts[-1]) + 1 if len(starts) else limit  # one word longer than that


def _halves(sentence):
    """Return a sentence in two halves, cut between two words; a single word stays whole."""
    starts = np.flatnonzero(sentence[1, 1:] == 0) + 1
    if not len(starts):
        return [sentence]
    at = starts[len(starts) // 2]
    return [sentence[:, :at], sentence[:, at:]]
