"""The sentences of texts one by one: the best translations of each, and which words they are of.

In: a `TextWriter`, texts, and optionally the entries of a glossary. Out: for each text its parts,
each with its translations, their scores and an alignment of words. It runs eagerly around the
search, for `predict`; an export has the best translation alone.
"""

import dataclasses
import itertools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.tasks.text_writer import TextWriter, joined
from tfmodels.text.bpe import BytePairTokenizer
from tfmodels.text.languages import without_language
from tfmodels.text.pairs import source_batch, target_ids, with_ends

# Chinese, Japanese, Thai, Lao, Burmese and Khmer, which have no space between words.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uff00-\uffef"
PHRASES = 4  # entries of a glossary that are forced in one sentence


class Entry(NamedTuple):
    """An entry of a glossary: a term, what it is to become, and its place for messages."""

    term: str
    translation: str
    place: str = ""


@dataclasses.dataclass
class Sentence:
    """A part of a text.

    Attributes:
        text: the part; a line break between paragraphs has no translations.
        ids: its tokens, without those that begin and end a source.
        translations: dicts of `translation` and `score`, best first.
        truncated: whether it was not read, or not written, to its end.
        alignment: dicts of `source`, `target` (words) and `weight`, by target; None if not asked.
        missing: translations of glossary entries that there was no room for.
    """

    text: str
    ids: list[int] = dataclasses.field(default_factory=list)
    translations: list[dict] = dataclasses.field(default_factory=list)
    truncated: bool = False
    alignment: list[dict] | None = None
    missing: list[str] = dataclasses.field(default_factory=list)


class SentenceWriter:
    """Writes the sentences of texts.

    Args:
        writer: a `TextWriter` with the settings of the search.
        number: how many translations of a sentence.
        alignment: whether to align words.
        glossary: entries whose translations are written as they are, where the term stands in a
            sentence.

    Raises:
        InputError: an entry that no sentence, or no translation, has room for; or more translations
            than beams.
    """

    def __init__(
        self, writer: TextWriter, number: int = 1, alignment: bool = False,
        glossary: Sequence[Entry] = (),
    ) -> None:  # fmt: skip
        self.writer, self._alignment = writer, alignment
        settings = writer.settings
        if number > 1 and number > settings.num_beams:
            raise InputError(
                f"num_translations {number}: give at most num_beams, {settings.num_beams}"
            )
        self._settings = dataclasses.replace(settings, num_return=number)
        self._number = number
        self._glossary = sorted(glossary, key=lambda entry: -len(entry.term))
        self._phrases: dict[str, list[int]] = {}
        room = {"term": writer.max_length - 1, "translation": settings.max_new_tokens - 1}
        for entry in self._glossary:
            ids = self._inside(entry.translation)
            term = writer.tokenizer.tokenize(tf.constant([entry.term])).to_list()[0]
            for name, found in (("term", term), ("translation", ids)):
                if not 0 < len(found) < room[name]:
                    raise InputError(
                        f"{entry.place}: the {name} {getattr(entry, name)!r:.60} has {len(found)} "
                        f"tokens, and a sentence has room for 1 to {room[name] - 1}; shorten it"
                    )
            self._phrases[entry.translation] = ids
        self._searches: dict[int, Any] = {}

    def __call__(self, texts: Sequence[str], batch_size: int) -> list[list[Sentence]]:
        """Return the parts of each text, translated."""
        parts = self._split(texts)
        work = [part for part in itertools.chain(*parts)
                if part.ids and without_language(part.text).strip()]  # fmt: skip
        wanted = {id(part): self._terms(without_language(part.text)) for part in work}
        work.sort(key=lambda part: (len(wanted[id(part)]) > 0, len(part.text)))
        for _, same in itertools.groupby(work, key=lambda part: len(wanted[id(part)]) > 0):
            group = list(same)
            # The phrases of a sentence cost a beam for each of their tokens.
            beams = self.writer.settings.num_beams
            more = max(
                sum(len(self._phrases[e.translation]) for e in wanted[id(part)][:PHRASES])
                for part in group
            )
            rows = max(batch_size * beams // (beams + more), 1)
            for first in range(0, len(group), rows):
                batch = group[first : first + rows]
                self._write(batch, [wanted[id(part)] for part in batch])
        return parts

    def _inside(self, phrase: str) -> list[int]:
        """Return the tokens of a phrase behind another word."""
        tokenizer = self.writer.tokenizer
        if isinstance(tokenizer, BytePairTokenizer) and phrase and not _has_no_spaces(phrase[0]):
            phrase = f" {phrase}"  # the space is of the word behind it
        return target_ids(tokenizer, tf.constant([phrase])).to_list()[0]

    def _split(self, texts: Sequence[str]) -> list[list[Sentence]]:
        """Return the parts of each text, not yet translated."""
        found: list[list[Sentence]] = [[] for _ in texts]
        sentences, ids, number = self.writer.parts(tf.constant(texts, tf.string))
        rows, tokens = sentences.value_rowids().numpy(), iter(ids.to_list())
        for row, sentence, parts in zip(
            rows, sentences.values.numpy(), number.numpy(), strict=True
        ):
            for part in itertools.islice(tokens, int(parts)):
                text = sentence.decode()
                if parts > 1:  # a sentence that is longer than a source may be
                    text = self.writer.tokenizer.detokenize(tf.ragged.constant([part])).numpy()[0]
                    text = text.decode("utf-8", "replace").strip()
                found[row].append(Sentence(text, part))
        return found

    def _terms(self, text: str) -> list[Entry]:
        """Return the entries whose terms are in a sentence; of overlapping ones the longest."""
        found, taken = [], np.zeros(len(text), bool)
        for entry in self._glossary:
            # A term of letters with spaces around them is a word; Chinese and Thai have none.
            left = r"(?<!\w)" if not _has_no_spaces(entry.term[0]) else ""
            right = r"(?!\w)" if not _has_no_spaces(entry.term[-1]) else ""
            for match in re.finditer(left + re.escape(entry.term) + right, text):
                if not taken[match.start() : match.end()].any():
                    taken[match.start() : match.end()] = True
                    found.append((match.start(), entry))
                    break
        return [entry for _, entry in sorted(found, key=lambda pair: pair[0])]

    def _write(self, parts, terms):
        writer = self.writer
        ids = tf.ragged.constant([part.ids for part in parts], tf.int32, row_splits_dtype=tf.int64)
        room = writer.tokens.source_room(writer.max_length)
        batch = source_batch(ids, writer.tokens, writer.max_length)
        required = [[self._phrases[entry.translation] for entry in of_part[:PHRASES]]
                    for of_part in terms]  # fmt: skip
        result = self._search(batch, required)
        texts = [text.decode() for text in writer.text(result).numpy()]
        ended = writer.ended(result).numpy()
        scores, long = result.scores.numpy(), ids.row_lengths().numpy() > room
        for row, part in enumerate(parts):
            places = range(row * self._number, (row + 1) * self._number)
            for place in places:
                text = texts[place]
                for entry in terms[row]:
                    text = _without_space(text, entry.translation)
                score = round(float(scores[place]), 6)
                if score > -1e6:  # else there are fewer sequences
                    part.translations.append({"translation": text, "score": score})
            part.truncated = bool(long[row] or not ended[places[0]])
            best = part.translations[0]["translation"]
            part.missing = [e.translation for e in terms[row] if e.translation not in best]
        if self._alignment:
            self._align(parts, batch)

    def _search(self, batch, required):
        """Return what `TextWriter.write` does, with phrases of tokens for each row."""
        phrases = max(map(len, required))
        if not phrases:
            return self._function(0)(batch, tf.zeros([len(required), 0, 0], tf.int32))
        tokens = max(sum(map(len, row)) for row in required)
        longest = max(len(ids) for row in required for ids in row)
        array = np.full((len(required), PHRASES, longest), -1, np.int32)
        for row, several in enumerate(required):
            for place, ids in enumerate(several):
                array[row, place, : len(ids)] = ids
        return self._function(tokens)(batch, tf.constant(array))

    def _function(self, tokens):
        """Return the search for phrases of so many tokens together."""
        if tokens not in self._searches:
            settings = self._settings
            if tokens:  # a beam for each number of tokens
                beams = tokens + settings.num_beams
                settings = dataclasses.replace(settings, num_beams=beams, early_stopping=False)

            def search(batch, required):
                return self.writer.write(
                    batch, settings, {"required": required} if tokens else None
                )

            self._searches[tokens] = tf.function(search, autograph=False, reduce_retracing=True)
        return self._searches[tokens]

    def _align(self, parts, batch):
        """Put the alignments of the best translations into the parts."""
        writer, tokenizer = self.writer, self.writer.tokenizer
        best = [part.translations[0]["translation"] for part in parts]
        ids = target_ids(tokenizer, tf.constant(best))
        longest = writer.model.config.max_length + 1  # the token that ends them is not read
        ids = with_ends(ids, writer.tokens.target_bos, writer.tokens, longest)
        start = tf.fill([ids.nrows(), 1], writer.tokens.start_id)
        read = tf.concat([start, ids.to_tensor(writer.tokens.pad_id)[:, :-2]], 1)
        weights = writer.model.alignment({**batch, "decoder_token_ids": read}).numpy()
        before = (len(writer.tokens.source_bos), len(writer.tokens.target_bos))
        sources = batch["token_ids"].numpy()
        lengths = batch["padding_mask"].numpy().sum(1)
        for part, source, length, target, weight in zip(
            parts, sources, lengths, ids.to_list(), weights, strict=True
        ):
            sides = [_words(tokenizer, tokens[first:-1]) for first, tokens in
                     zip(before, (source[:length], target), strict=True)]  # fmt: skip
            inner = weight[before[1] : len(target) - 1, before[0] : length - 1]
            part.alignment = list(_aligned(inner, *sides))


def _words(tokenizer, ids):
    """Return the words of tokens, and the number of the word that each token is of."""
    contents = [tokenizer.token_bytes[int(i)].numpy() for i in ids]
    words: list[bytes] = []
    numbers = []
    for content in contents:
        new = not words or content.startswith(b" ") or _starts_wide(content)
        if new:
            words.append(b"")
        words[-1] += content
        numbers.append(len(words) - 1)
    return [word.decode("utf-8", "replace").strip() for word in words], np.array(numbers, int)


def _aligned(weights, source, target):
    """Yield for each word of the target the word of the source that it attends to most."""
    (words, of_token), (written, of_target) = source, target
    if not words or not written:
        return
    by_word = np.zeros((len(written), len(words)))
    for place, row in enumerate(weights):
        np.add.at(by_word[of_target[place]], of_token, row)
    by_word /= np.maximum(np.bincount(of_target, minlength=len(written)), 1)[:, None]
    for number, row in enumerate(by_word):
        at = int(row.argmax())
        yield {"source": words[at], "target": written[number], "source_word": at,
               "target_word": number, "weight": round(float(row[at]), 4)}  # fmt: skip


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def _has_no_spaces(character: str) -> bool:
    """Return whether words of such letters stand without spaces, or, as in Korean, with endings."""
    return _is_wide(character) or re.match(f"[{_UNSPACED}]", character) is not None


def _starts_wide(content: bytes) -> bool:
    text = content.decode("utf-8", "ignore")
    return bool(text) and _is_wide(text[0])


def _without_space(text: str, phrase: str) -> str:
    """Return a text without the space before a phrase behind a letter of such a script."""
    return re.sub(rf"(?<=[{_UNSPACED}]) (?={re.escape(phrase)})", "", text)


def joined_sentences(parts: Sequence[Sentence]) -> str:
    """Return the best translations of the parts of a text, one behind the other."""
    texts = [part.translations[0]["translation"] if part.translations else part.text
             for part in parts]  # fmt: skip
    return joined(tf.ragged.constant([texts], dtype=tf.string)).numpy()[0].decode()
