"""`Translator`: a `Seq2SeqLM` that translates.

In: sentences with their translations. Out: for each text `{"translation": ..., "score": ...,
"parts": 1, "truncated": False}`, and a SavedModel that answers strings with the same. What differs
from a summary: the vocabulary writes every character, texts are read sentence by sentence, and what
is written is measured by sacreBLEU. A source may begin with the token of the language to write,
such as `>>de<<` (Johnson et al. 2017), where the model was trained with it.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tfmodels.data.datasets import source_errors
from tfmodels.data.lines import say_once
from tfmodels.data.memory import MemorySource, as_corpus, as_list, as_source
from tfmodels.data.rows import Row, Source, first_of
from tfmodels.errors import InputError
from tfmodels.metrics import translation as metrics
from tfmodels.tasks.sentence_writer import Entry, SentenceWriter, joined_sentences
from tfmodels.tasks.seq2seq_lm import EXAMPLES, Seq2SeqLM
from tfmodels.text.bpe import END_OF_TEXT, BytePairTokenizer
from tfmodels.text.languages import in_language, named_language, without_language
from tfmodels.text.sentence_pieces import PieceTokenizer, language_ids
from tfmodels.text.vocabulary import learn_merges, learn_pieces
from tfmodels.text.whole_tokens import AddedToken

TOKENIZERS = ("sentencepiece", "bytes")
# Number of pairs up to which a new model drops this share of its states.
DROPOUTS = ((100_000, 0.3), (1_000_000, 0.2))


class Translator(Seq2SeqLM):
    """Translate texts; see `Seq2SeqLM`, which it is in all other respects.

    Sources and targets have up to 128 tokens, or as many as there are positions, if not given.

    Example:
        >>> rows = tfmodels.data.open_parallel("train.en", "train.de")
        >>> task = Translator.from_scratch(rows)
        >>> task.fit(rows, validation_split=0.05, batch_tokens=4096)
        >>> task.predict(["A man sits on a bench."])
    """

    application = "translation"
    columns = ("text", "translation")
    monitor = "val_bleu"
    output = "translation"
    whole = True
    search = {"num_beams": 4, "length_penalty": 1.0, "min_new_tokens": 0, "no_repeat_ngram": 0}
    # Of a model of several languages: what `predict`, `translate` and `evaluate` write where a text
    # names none. `fit` and an export have what the texts name.
    language: str | None = None
    bleu_tokenizer = "auto"  # see `metrics.translation`
    ter = False
    long_texts_by_default = "sentences"
    usual_lengths = (128, 128)

    @classmethod
    def from_scratch(  # type: ignore[override]
        cls, texts: Any, *, size: str = "mini", vocabulary_size: int = 8000,
        tokenizer: Any = "sentencepiece", languages: Sequence[str] = (),
        dropout: float | None = None, max_length: int | None = None,
        max_target_length: int | None = None, **options: Any,
    ) -> "Translator":  # fmt: skip
        """Start from random weights, with one vocabulary for both sides.

        Args:
            texts: strings, or rows whose first two columns are read.
            size: tiny, mini, small, base or large.
            vocabulary_size: maximum number of tokens to learn.
            tokenizer: "sentencepiece" (unigram, with a piece for each byte) or "bytes" (GPT-2's
                pairs of bytes); or a tokenizer.
            languages: names of the languages that sources may name.
            dropout: in all blocks; if not given 0.3 for up to 100,000 pairs, 0.2 for up to a
                million and 0.1 for more.
            max_length: maximum number of tokens of a source; 128 if not given.
            max_target_length: of a target, likewise.
            **options: see `Seq2SeqLM.from_scratch`.

        Raises:
            InputError: there is no such size or tokenizer, or nothing to learn from.
        """
        remedy = "give a list of (source, translation), or tfmodels.data.open_table(file)"
        texts = as_corpus(texts, cls.columns, remedy)
        texts = list(texts) if isinstance(texts, Iterator) else texts  # read twice
        if isinstance(tokenizer, str):
            tokenizer = _learned(texts, vocabulary_size, tokenizer, languages)
        if dropout is None:
            rows = texts.scan().rows if isinstance(texts, Source) else len(texts)
            dropout = next((share for most, share in DROPOUTS if rows <= most), 0.1)
        return super().from_scratch(
            texts, size=size, tokenizer=tokenizer, dropout=dropout,
            max_length=max_length, max_target_length=max_target_length, **options,
        )  # fmt: skip

    @classmethod
    def _new_generation(cls, tokenizer: Any) -> dict:
        given = super()._new_generation(tokenizer)
        if isinstance(tokenizer, PieceTokenizer):
            # The end is no text either, and ends it.
            others = [i for i in tokenizer.special_ids if i != tokenizer.end_id]
            given["forbidden_ids"] = tuple(sorted(others))
        return given

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that a source may name."""
        return tuple(language_ids(self.tokenizer.vocabulary))

    def check_language(self, language: str) -> None:
        """Refuse a language that the model has no token of."""
        if language not in self.languages:
            known = ", ".join(self.languages)
            remedy = f"give one of {known}" if known else "leave it out: the model writes one"
            raise InputError(f"target_language {language}: the model has no token of it; {remedy}")

    # Preprocessing.

    def _read(self, x, y=None, sample_weight=None):
        several = y is not None and not isinstance(x, Source) and any(
            isinstance(value, list | tuple) for value in as_list(y, "give a list of translations")
        )  # fmt: skip
        if isinstance(x, Source) and x.several == {x.columns[-1]} and y is None:
            return x
        if not several:
            return super()._read(x, y, sample_weight)
        texts = as_source(x, columns=("text",))
        sources = [values[0] for _, values in texts.rows()]
        lists = [tuple(value) if isinstance(value, list | tuple) else (value,) for value in y]
        if len(lists) != len(sources) or not all(
            value and all(isinstance(text, str) for text in value) for value in lists
        ):
            raise InputError(
                f"x has {len(sources)} texts and y {len(lists)} lists of references; give one or "
                "more strings for each"
            )
        return MemorySource({"text": sources, "translation": lists}, ["translation"])

    def _target_of(self, values):
        return first_of(super()._target_of(values))

    def _learn(self, rows: Source) -> None:
        super()._learn(rows)
        self._check_rows(rows)

    def _check(self, rows: Source) -> None:
        super()._check(rows)
        self._check_rows(rows)

    def _check_rows(self, rows: Source, some: Iterable[Row] | None = None) -> None:
        """Refuse a row whose source names a language that the model has no token of."""
        known = self.languages
        if not known or rows.endless:
            return
        for row in rows.stream(None) if some is None else some:
            language = named_language(row.values[0])
            if language is not None and language not in known:
                raise InputError(
                    f"{rows.place(row.line)}: the source names the language {language!r}, of which "
                    f"the model has no token (it has {', '.join(known)}); correct the "
                    "row, or name the language when the model is made (languages=)"
                )

    def sample(self, rows: Source, number: int = -1) -> tuple[list[str], list]:
        """Return the first pairs of rows, all for -1: the sources, and the references of each."""
        with source_errors(rows):
            found = [*itertools.islice(rows.stream(None), None if number < 0 else number)]
        references = [[*row.values[1]] if isinstance(row.values[1], tuple) else [row.values[1]]
                      for row in found]  # fmt: skip
        self._check_rows(rows, found)
        for row, several in zip(found, references, strict=True):
            if not several or not all(text.strip() for text in several):
                raise InputError(
                    f"{rows.place(row.line)}: column {rows.columns[1]!r} is empty; every row needs "
                    "a text to write"
                )
        return [row.values[0] for row in found], references

    # Answers.

    def answers(self, texts: list, batch_size: int = 32) -> list[dict]:
        return super().answers(self._named(texts), batch_size)

    def translate(
        self, texts: Sequence[str], batch_size: int = 32, *, num_translations: int = 1,
        alignment: bool = False, glossary: Sequence[Entry | tuple[str, str]] = (),
    ) -> list[dict]:  # fmt: skip
        """Translate sentence by sentence, with more than `predict` returns.

        Args:
            texts: strings.
            batch_size: sentences of a step.
            num_translations: number of translations of each sentence, best first.
            alignment: whether to say which word of a sentence each word of its translation is of.
            glossary: pairs of a term and what it becomes wherever it is a word of a sentence,
                at most 4 in a sentence. The search is for the best translation that has it.

        Returns:
            list of dicts as of `predict`, with `sentences`: dicts of `text`, `translation`,
            `score`, and if asked `alternatives` (dicts of `translation` and `score`), `alignment`
            (dicts of `source` and `target`, words, their numbers and `weight`) and `missing`, the
            entries of the glossary that a sentence had no room for.

        Raises:
            InputError: an entry is longer than a sentence may be, a language is unknown, or there
                are fewer beams than `num_translations`.
        """
        texts = self._named(list(texts))
        entries = [entry if isinstance(entry, Entry) else Entry(*entry, f"glossary {number}")
                   for number, entry in enumerate(glossary, start=1)]  # fmt: skip
        key = (num_translations, alignment, *entries)
        kept = self._functions.get("sentences")
        if kept is None or kept[0] != key:  # the last one is kept: texts may come in parts
            new = SentenceWriter(self._writer(), num_translations, alignment, entries)
            kept = self._functions["sentences"] = key, new
        writer = kept[1]
        answers = []
        for parts in writer(texts, batch_size):
            read = [part for part in parts if part.translations]
            scores = [part.translations[0]["score"] for part in read]
            answers.append({
                self.output: joined_sentences(parts) if read else "",
                "score": round(sum(scores) / max(len(scores), 1), 6),
                "parts": max(len(read), 1),
                "truncated": any(part.truncated for part in read),
                "sentences": [_described(part, num_translations, bool(entries)) for part in read],
            })  # fmt: skip
        return answers

    def _named(self, texts):
        """Return texts that name the language to write, if there are several."""
        known = self.languages
        if self.language is not None:
            self.check_language(self.language)
        if not known:
            return texts
        texts = [text if isinstance(text, str) else text.decode() for text in texts]
        languages = [named_language(text) for text in texts]
        for language in {*languages} - {None}:
            self.check_language(language)
        if self.language is None:
            if known and None in languages:
                say_once(
                    f"texts name no language (the model has {', '.join(known)}), and the model "
                    "chooses what to write; give --target_language (task.language = ... in Python)"
                )
            return texts
        return [text if language else in_language(self.language, text) for text, language in
                zip(texts, languages, strict=True)]  # fmt: skip

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int = 32, *, mistakes: int = 0
    ) -> dict:
        """Measure BLEU, chrF2 and what goes with them; see `metrics.translation.measure`.

        Args:
            x: as of `fit`; rows of several references have tuples of them.
            y: as of `fit`, or for each text a list of references.
            batch_size: texts of a step.
            mistakes: number of the outputs with the lowest chrF2 to return.

        Returns:
            dict; also `truncated`: texts that were not read or not written to their end. With
            `mistakes` also `worst_mistakes`, and `table`, examples in Markdown.
        """
        sources, references = self.sample(self._read(x, y))
        self.check_metric(references)
        answers = self.answers(sources, batch_size)
        sources = [without_language(text) for text in sources]
        outputs = [answer[self.output] for answer in answers]
        found = metrics.measure(sources, references, outputs, self.bleu_tokenizer, self.ter)
        found["truncated"] = sum(answer["truncated"] for answer in answers)
        if mistakes:
            found["worst_mistakes"] = metrics.worst(sources, references, outputs, mistakes)
            found["table"] = metrics.examples_table(sources, references, outputs, EXAMPLES)
        return found

    def check_metric(self, references: Sequence[Sequence[str]]) -> None:
        texts = [several[0] for several in references]
        metrics.bleu(texts, [[text] for text in texts], self.bleu_tokenizer)

    def _scores(self, outputs, references):
        return {"bleu": metrics.bleu(outputs, references, self.bleu_tokenizer).score}


def _described(part, number, with_glossary):
    """Return a `Sentence` as JSON."""
    best, *others = part.translations
    found = {"text": part.text, **best}
    if number > 1:
        found["alternatives"] = others
    if part.alignment is not None:
        found["alignment"] = part.alignment
    if with_glossary:
        found["missing"] = part.missing
    return found


def _learned(texts, size, kind, languages):
    """Return a tokenizer with a vocabulary learned from both sides."""
    if kind not in TOKENIZERS:
        raise InputError(f"tokenizer {kind}: give one of {', '.join(TOKENIZERS)}")

    def lines():
        for values in (row for _, row in texts.rows()) if isinstance(texts, Source) else texts:
            for side in (values,) if isinstance(values, str) else values[:2]:
                for text in (side,) if isinstance(side, str) else side:
                    yield without_language(text)

    if kind == "sentencepiece":
        return PieceTokenizer(learn_pieces(lines(), size, languages))
    tokens = [AddedToken(f">>{name}<<", special=True) for name in languages]
    vocabulary, merges = learn_merges(lines(), size - len(tokens))
    return BytePairTokenizer(vocabulary, merges, end_of_text=END_OF_TEXT, added_tokens=tokens)
