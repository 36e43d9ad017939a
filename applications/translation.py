"""Translate: `tfmodels translation VERB`.

In: sentences with their translations, as two columns of a table, as files of lines, as a
translation memory or from TensorFlow Datasets. Out: a model directory (a `Transformer` with one
vocabulary for both sides), sacreBLEU, translations as JSON lines, a SavedModel; and, of texts in
one language, a table of pairs to train the other direction on.
"""

import functools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from applications import flags
from applications.flags import Answering, Evaluating, Exporting, FineTuning, Predicting
from applications.flow import WORST_MISTAKES, Application, Kind
from applications.process import dtype_of
from applications.settings import data, generation, model, output, rare, training
from tfmodels.errors import InputError
from tfmodels.files import check_new_file, whole_file

TABLES = (".tsv", ".csv", ".jsonl", ".json", ".ndjson")
BLEU = Literal["auto", "13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "none"]


@dataclass(kw_only=True)
class Searching(flags.Searching):
    """How a translator writes; as its model directory has it where not given."""

    long_texts: Literal["cut", "parts", "sentences"] | None = generation("how to read texts", None)


@dataclass(kw_only=True)
class Pairs(flags.Delimited, flags.WithMissing):
    """Where sentences and their translations are."""

    source_column: str = data("column of the text to read", "text")
    target_column: str = data("column of the translation", "translation")
    source_language: str = data("of a .tmx file, as there", "")
    target_language: str = data("likewise; or the one to write, of several", "")
    language_column: str | None = data("column of the language to write, in a table", None)
    reverse: bool = data("translate the other way round", False)
    bleu_tokenizer: BLEU = rare("of BLEU; auto: by the letters of the references", "auto")

    def pairs(self, file: Any, grouped: bool = False, further: bool = False) -> Any:
        """Return the rows of a file, or of files of lines.

        Args:
            grouped: whether rows of one source are its references.
            further: whether it is the `extra_file`, which is never reversed.
        """
        from tfmodels import data as rows_of
        from tfmodels.data import parallel

        tmx = _is_tmx(file)
        names = [] if isinstance(file, str) else file
        if not file:
            raise InputError("no file is given; give a table, or files of lines, the sources first")
        if self.language_column and (tmx or names):
            raise InputError(
                f"{names[0] if names else file}: --language_column is of tables; give tables alone"
            )
        if self.language_column and self.reverse:
            raise InputError(
                "--reverse true: --language_column names the language of the translations, and "
                "there is none of the sources; leave one of the two out"
            )
        if tmx and not (self.source_language and self.target_language):
            raise InputError(
                f"{file}: give --source_language and --target_language, as the file names them"
            )
        if names:
            if any(name.lower().removesuffix(".gz").endswith((*TABLES, ".tmx")) for name in names):
                raise InputError(
                    f"{names[0]}: a list is of files of lines, the sources first; give one table, "
                    "and further pairs as --extra_file"
                )
            if self.missing == "keep":
                raise InputError(
                    "--missing keep: a line of a pair of files is a text or empty; give refuse or "
                    "skip"
                )
            rows: Any = rows_of.open_parallel(*names, encoding=self.encoding, missing=self.missing)
        elif tmx:
            rows = rows_of.open_tmx(file, self.source_language, self.target_language)
        else:
            columns = [self.source_column, self.target_column]
            columns += [self.language_column] if self.language_column else []
            rows = rows_of.open_table(file, *columns, **flags.given(self, flags.READING))
        if self.reverse and not further:
            rows = parallel.reversed_pairs(rows)
        if grouped:
            rows = parallel.grouped(rows)
        return rows

    def named(self, rows: Any) -> Any:
        """Return rows whose sources name the language to write, if there are several."""
        from tfmodels.data import parallel

        return parallel.with_languages(rows) if self.language_column else rows


@dataclass(kw_only=True)
class Train(Pairs, Searching, FineTuning):
    """Train a translator and write a model directory."""

    EXAMPLE = "{} --train_file '[train.en, train.de]' --output_dir runs/en-de"

    train_file: str | list[str] = data(  # type: ignore[assignment]
        "table, .tmx, tfds:NAME; or two of lines"
    )
    eval_file: str | list[str] | None = data(  # type: ignore[assignment]
        "pairs to choose the weights on", None
    )
    extra_file: str | None = data(
        "further pairs to train on, such as back-translations; never reversed", None
    )
    clean: bool = data("leave out what is no pair", False)
    max_length_ratio: float = rare("with clean: maximum ratio of the lengths of a pair", 3.0)
    held_out: float = data("share to use as eval_file", 0.02)
    checkpoint: str = model("directory or Hub name, or none", "none")
    size: Literal["tiny", "mini", "small", "base", "large"] = "mini"
    tokenizer: Literal["sentencepiece", "bytes"] = model("of a new model", "sentencepiece")
    vocabulary_size: int = model("tokens to learn for a new model", 8000)
    max_length: int | None = model(  # type: ignore[assignment]
        "maximum number of tokens of a source", None
    )
    max_target_length: int | None = model("of a target, likewise", None)
    dropout: float | None = model("by the number of pairs, if not given", None)
    epochs: int = 10
    batch_tokens: int = training("maximum, of a side of a batch", 4096)
    batch_size: int = rare("rows of a batch of held-out pairs", 32)
    warmup: float = rare("share of the steps in which the learning rate rises", 0.1)
    schedule: Literal["linear", "inverse_sqrt"] = rare("after the warm-up", "inverse_sqrt")
    label_smoothing: float = rare("share of the probability that is spread over all tokens", 0.1)
    norm_first: bool | None = rare("normalize before each part of a new model, not behind it", None)
    num_decoder_layers: int | None = rare("decoder blocks of a new model", None)
    min_new_tokens: int | None = rare("minimum number of tokens of an answer", None)
    length_penalty: float | None = rare("of beam search; above 1: longer answers", None)
    no_repeat_ngram: int | None = rare("no n-gram of this length twice; 0: off", None)
    long_texts: Literal["cut", "parts", "sentences"] | None = rare("how to read texts", None)
    bleu_examples: int = rare("number of held-out pairs that each evaluation translates", 500)
    lowercase: bool = rare("translators keep the case: false is the only value", False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lowercase:
            raise InputError("--lowercase true: translators keep the case; leave it out")
        if isinstance(self.train_file, list) and len(self.train_file) > 2:
            raise InputError(
                f"train_file: {len(self.train_file)} files, and a text has one translation to "
                "train on; give two (further references are of eval_file)"
            )

    def named(self, rows: Any) -> Any:
        from tfmodels.data import parallel

        # The languages of a translation memory say which of its texts to read.
        if self.target_language and not self.language_column and not _is_tmx(self.train_file):
            return parallel.with_languages(rows, self.target_language)
        return super().named(rows)


@dataclass(kw_only=True)
class Evaluate(Pairs, Searching, Evaluating):
    """Measure a translator by sacreBLEU; the last line is one JSON object."""

    EXAMPLE = "{} --model_dir runs/en-de --eval_file '[test.en, test.de]'"

    eval_file: str | list[str] = data(  # type: ignore[assignment]
        "pairs as of train_file; of files of lines also several references"
    )
    group_references: bool = data("rows of one source are its references", False)
    ter: bool = rare("also compute TER, which is slow", False)


@dataclass(kw_only=True)
class Predict(Searching, Predicting):
    """Translate texts; print one JSON object a text."""

    EXAMPLE = '{} --model_dir runs/en-de "A man sits on a bench."'

    target_language: str | None = data("which one a model of several languages is to write", None)
    glossary: str | None = data("file of lines: a term, a tab and its translation, forced", None)
    num_translations: int = generation("number of translations of each sentence", 1)
    alignment: bool = generation("say which word of the source each word is of", False)


@dataclass(kw_only=True)
class BackTranslate(Predict):
    """Translate texts of one language, and write pairs to train the other direction on."""

    EXAMPLE = "{} --model_dir runs/de-en --input_file news.de --output_file back.jsonl"

    output_file: str = output("new .jsonl file of pairs: what was written, and the text")
    source_column: str = data("column to write translations into", "text")
    target_column: str = data("column to write the texts into", "translation")
    language: str | None = data("that of the texts, to write into the column language", None)

    def check_files(self) -> None:
        super().check_files()
        check_new_file(self.output_file, "another --output_file")


@dataclass(kw_only=True)
class Compare(Pairs, Answering):
    """Compare translators on the same pairs by paired bootstrap; the first is the baseline."""

    EXAMPLE = "{} --model_dir runs/a --other_dirs '[runs/b]' --eval_file '[test.en, test.de]'"

    other_dirs: list[str] = model("directories of the models to compare with model_dir")
    eval_file: str | list[str] = data("pairs as of evaluate")
    group_references: bool = data("rows of one source are its references", False)
    samples: int = rare("number of test sets that are drawn", 1000)


@dataclass(kw_only=True)
class Export(Searching, Exporting):
    """Write a SavedModel that takes strings, as the next version in export_dir."""

    export_dir: str = "saved_models/translation"


class Translation(Application):
    """Translate texts."""

    name = "translation"
    title = "Translator"
    kind = Kind(
        "translation", {"bleu": "bleu", "chrf": "chrf"},
        ("A man sits on a bench.", "一个男人坐在长凳上。"),
        "An encoder-decoder that reads a text in one language and writes it in another.",
        "For texts like those of the training data. It can leave out or add what the source says, "
        "so people should check what it writes. BLEU and chrF compare with one translation of "
        "many that are right; no metric here judges the meaning, as COMET does.",
    )  # fmt: skip
    summary = ("examples", "bleu", "bleu_lowercased", "chrf", "signatures")
    held_out_maximum = 2000

    def task(self) -> Any:
        from tfmodels.tasks.translator import Translator

        return Translator

    def open(self, settings: Pairs, file: Any) -> Any:
        further = file == getattr(settings, "extra_file", None)
        grouped = getattr(settings, "group_references", False)
        return settings.named(settings.pairs(file, grouped, further))

    def rows(self, settings: Train) -> tuple:
        from tfmodels.data.cleaning import clean
        from tfmodels.data.parallel import Joined

        rows, held_out = super().rows(settings)
        more = [self.open(settings, settings.extra_file)] if settings.extra_file else []
        if settings.clean:
            cleaned = [clean(part, settings.max_length_ratio) for part in (rows, *more)]
            for part in cleaned:
                print(part, file=sys.stderr)
            rows, *more = [part.rows for part in cleaned]
        return (Joined([rows, *more]) if more else rows), held_out

    def options(self, settings: Train, rows: Any) -> dict:
        names = ("num_decoder_layers", "max_length", "max_target_length")
        return {name: getattr(settings, name) for name in names}

    def new(self, settings: Train, rows: Any, folder: Path) -> dict:
        from tfmodels.data.parallel import languages_of

        names = ("tokenizer", "vocabulary_size", "norm_first", "max_new_tokens")
        return {
            "texts": rows, "languages": languages_of(rows),
            **{name: getattr(settings, name) for name in names},
        }  # fmt: skip

    def started(self, task: Any, settings: Train, rows: Any, folder: Path) -> None:
        if settings.language_column and not task.languages:
            raise _one_language(settings)
        if settings.target_language and not _is_tmx(settings.train_file):
            task.check_language(settings.target_language)
        task.measured_rows = settings.bleu_examples
        self.configure(task, settings)

    def example(self, task: Any, texts: list[str]) -> tuple[str, str]:
        from tfmodels.text.languages import in_language

        for language in task.languages[:1]:
            texts = [in_language(language, text) for text in texts]
        return super().example(task, texts)

    def fit_options(self, settings: Train, task: Any) -> dict:
        return {"batch_tokens": settings.batch_tokens}

    def configure(self, task: Any, settings: Searching) -> None:
        task.bleu_tokenizer = getattr(settings, "bleu_tokenizer", task.bleu_tokenizer)
        task.ter = getattr(settings, "ter", False)
        task.configure(**{f.name: getattr(settings, f.name) for f in fields(Searching)})

    def measure(self, task: Any, held_out: Any, settings: Train) -> dict:
        return task.evaluate(held_out, batch_size=settings.batch_size, mistakes=WORST_MISTAKES)

    def measured(self, metrics: dict, settings: Any) -> None:
        for signature in metrics["signatures"].values():
            print(signature, file=sys.stderr)

    def load(self, settings: Any, stored: bool = False) -> Any:
        task: Any = super().load(settings, stored)
        self._set_language(task, settings)
        return task

    def _set_language(self, task: Any, settings: Any) -> None:
        """Set the language that a model of several is to write."""
        if getattr(settings, "language_column", None):
            if not task.languages:
                raise _one_language(settings)
            return
        language = getattr(settings, "target_language", None)
        if _is_tmx(getattr(settings, "eval_file", None)):
            # It says which texts of the memory to read, by names that may be others.
            language = settings.source_language if settings.reverse else language
            if not task.languages:
                return
            if language not in task.languages:
                raise InputError(
                    f"{settings.eval_file}: its language {language} is none of the model's, "
                    f"{', '.join(task.languages)}; write its pairs to a .tsv file, and name the "
                    "language as the model does"
                )
        elif isinstance(settings, Compare) and not task.languages:
            return  # beside a model of several languages
        if language:
            task.check_language(language)
            task.language = language

    def answers(self, task: Any, texts: list, settings: Predict) -> list:
        if settings.num_translations > 1 or settings.alignment or settings.glossary:
            return task.translate(
                texts, settings.batch_size, num_translations=settings.num_translations,
                alignment=settings.alignment,
                glossary=self._glossary(settings.glossary, settings.encoding),
            )  # fmt: skip
        return task.answers(texts, settings.batch_size)

    @staticmethod
    @functools.lru_cache(1)  # the texts of a file come in parts
    def _glossary(file: str | None, encoding: str | None) -> list:
        """Return the entries of a file."""
        from tfmodels.data.parallel import Lines
        from tfmodels.tasks.sentence_writer import Entry

        entries = []
        for line, text in Lines.of(file, encoding).lines() if file else ():
            fields = [field.strip() for field in text.split("\t")]
            if text.strip() and (len(fields) != 2 or not all(fields)):
                raise InputError(
                    f"{file}:{line}: {text[:40]!r} is not a term, a tab and its translation; "
                    "correct the line"
                )
            if text.strip():
                entries.append(Entry(fields[0], fields[1], f"{file}:{line}"))
        return entries

    def back_translate(self, settings: BackTranslate) -> dict:
        """Write the pairs of `BackTranslate`; print and return their counts."""
        counts = {"pairs": 0, "empty": 0, "truncated": 0}
        chunks, task = self.texts(settings), self.load(settings)
        try:
            self._write_pairs(settings, task, chunks, counts)
        except OSError as error:
            raise InputError(
                f"output_file {settings.output_file}: cannot be written ({error.strerror}); give "
                "another --output_file"
            ) from error
        print(json.dumps({"output_file": settings.output_file, **counts}))
        return counts

    def _write_pairs(self, settings, task, chunks, counts):
        from tfmodels.text.languages import without_language

        with whole_file(settings.output_file) as file:
            for texts in chunks:
                for text, answer in zip(texts, self.answers(task, texts, settings), strict=True):
                    written = answer["translation"]
                    if not written.strip() or answer["truncated"]:
                        counts["truncated" if answer["truncated"] else "empty"] += 1
                        continue
                    text = without_language(text)
                    row = {settings.source_column: written, settings.target_column: text}
                    if settings.language is not None:
                        row["language"] = settings.language
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    counts["pairs"] += 1

    def compare(self, settings: Compare) -> dict:
        """Print the comparison of `Compare`, a JSON object; return it."""
        from tfmodels.metrics import translation as metrics

        rows, references = self.open(settings, settings.eval_file), []
        outputs: dict[str, Sequence[str]] = {}
        directories = (settings.model_dir, *settings.other_dirs)
        if len({*directories}) < max(len(directories), 2):
            raise InputError("other_dirs: give one or more directories, and each model once")
        for directory in directories:
            print(f"{directory}:", file=sys.stderr)
            task: Any = self.task().load(directory, dtype=dtype_of(settings.precision))
            self._set_language(task, settings)
            sources, references = task.sample(rows)
            task.bleu_tokenizer = settings.bleu_tokenizer
            task.check_metric(references)
            answers = task.answers(sources, settings.batch_size)
            outputs[directory] = [answer["translation"] for answer in answers]
        found = metrics.compare(outputs, references, settings.bleu_tokenizer, settings.samples)
        print(json.dumps(found))
        return found

    def write_report(self, directory: Path, metrics: dict) -> None:
        (directory / "examples.md").write_text(metrics["table"] + "\n", encoding="utf-8")

    def card(self, metrics: dict, settings: Train, task: Any) -> list[str]:
        from tfmodels.metrics.tables import table
        from tfmodels.serving.cards import ENDS, STAYS

        names = ("bleu", "bleu_lowercased", "chrf")
        rows = [(name, metrics[name], metrics["signatures"][name]) for name in names]
        return [
            f"On {metrics['examples']} held-out pairs, the best of {len(task.history.epoch)} "
            "evaluations on them:",
            table(("", "score", "signature"), rows),
            STAYS,
            "What it writes:",
            metrics["table"],
            ENDS,
        ]


def _one_language(settings: Any) -> InputError:
    return InputError(
        f"language_column {settings.language_column}: the model writes one language and has no "
        "token that names it; leave it out"
    )


def _is_tmx(file: Any) -> bool:
    return isinstance(file, str) and file.lower().removesuffix(".gz").endswith(".tmx")


APPLICATION = Translation()
VERBS = APPLICATION.verbs(
    train=Train, evaluate=Evaluate, predict=Predict, export=Export, back_translate=BackTranslate,
    compare=Compare,
)  # fmt: skip
