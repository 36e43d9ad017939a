"""`Seq2SeqLM`: a text written for a text: a summary, a headline, a translation.

In: sources with their targets. Out: for each source `{"summary": ..., "score": ..., "parts": 1,
"truncated": False}`, and a SavedModel that answers strings with the same; the search runs in its
graph. Preprocessing, model, answers, in that order.
"""

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tensorflow as tf

from tfmodels.checkpoints.bart import read_bart_generation, write_bart
from tfmodels.checkpoints.files import (
    check_vocabulary_size,
    find_checkpoint,
    kind_of,
    saved_settings,
)
from tfmodels.checkpoints.marian import family_for, family_of
from tfmodels.checkpoints.tokenizers import read_tokenizer
from tfmodels.checkpoints.warm_start import load_encoder_weights, read_encoder_config
from tfmodels.data.datasets import chunk_dataset, source_errors
from tfmodels.data.rows import Row, Source
from tfmodels.errors import InputError
from tfmodels.generation.settings import Generation, given_fields
from tfmodels.metrics import rouge
from tfmodels.models.transformer import PAPER, SIZES, Transformer, TransformerConfig
from tfmodels.tasks.encoder import check_positions, check_size, dropout_fields, learned_tokenizer
from tfmodels.tasks.task import Task, TrainingData, batches_by_length
from tfmodels.tasks.text_writer import TextWriter, text_to_text_signatures
from tfmodels.text.batching import of_length
from tfmodels.text.packing import longer_than
from tfmodels.text.pairs import (
    PairTokens,
    pair_batches,
    pair_tokens,
    source_batch,
    steps_of_pass,
    target_ids,
)
from tfmodels.training.callbacks import Measured
from tfmodels.training.losses import Accuracy, Crossentropy, MeanCrossentropy

# The search of a new model. A published one that names no settings is searched greedily.
SEARCH = {"num_beams": 4, "length_penalty": 1.0, "min_new_tokens": 0, "no_repeat_ngram": 3}
_T = TypeVar("_T", bound="Seq2SeqLM")
EXAMPLES = 20  # rows of the table for reading


class Seq2SeqLM(Task):
    """Write a text for each text.

    Args:
        model: a `Transformer`.
        tokenizer: of sources and targets.
        generation: dict as `read_bart_generation` gives it: the tokens around the texts, and the
            settings of the search; those of a new model with this tokenizer if not given.
        max_length: maximum number of tokens of a source; what is beyond is cut. 256, or as many as
            the model has positions, if not given.
        max_target_length: of a target, likewise; 64, or as many as there are after the start token.
        long_texts: "cut" reads the beginning of a source that is too long; "parts" reads all of
            it in parts and writes for each; "sentences" reads every source by sentence. "cut" if
            not given.
        started: see `Task`.

    `fit(sources, targets)` trains on two lists, `fit(tfmodels.data.open_table("pairs.tsv", "en",
    "de"))` on two columns of a file. `predict(sources)` returns for each a dict of `summary`, the
    text written, its `score`, `parts` and `truncated`; `generate(sources)` returns the texts alone.

    Example:
        >>> task = Seq2SeqLM.from_preset("facebook/bart-base")
        >>> task.fit(["a long story"], ["a story"])
        >>> task.predict(["another long story"])
    """

    application = "summarization"
    smooths = True
    data_options = ("batch_tokens",)
    generates = True
    columns = ("text", "summary")
    text_columns = 2
    monitor = "val_rougeL"
    default_epochs = 10
    label_smoothing = 0.1
    output = "summary"  # name of the text in the answers
    search = SEARCH  # of a new model
    whole = False  # see `TextWriter`
    long_texts_by_default = "cut"
    usual_lengths = (256, 64)  # of sources and targets, in tokens, where they are not given
    measured_rows = 200  # held-out rows that are written for at each evaluation
    lead_k = 3  # sentences, or lines of a dialogue, that the baseline takes

    def __init__(
        self, model: Transformer, tokenizer: Any, generation: dict | None = None, *,
        max_length: int | None = None, max_target_length: int | None = None,
        long_texts: str | None = None, started: str = "from scratch",
    ) -> None:  # fmt: skip
        check_vocabulary_size(tokenizer, model.config)
        longest = model.config.max_length
        sources, targets = self.usual_lengths
        max_length = max_length or min(sources, longest)
        max_target_length = max_target_length or min(targets, longest - 1)
        check_positions(model.config, max_length)
        if max_target_length > longest - 1:
            raise InputError(
                f"max_target_length {max_target_length}: the model has positions for "
                f"{longest - 1} tokens after the start token"
            )
        super().__init__(model, tokenizer, max_length=max_length, started=started)
        self.max_target_length = max_target_length
        self.long_texts = long_texts or self.long_texts_by_default
        self._given = self._new_generation(tokenizer) if generation is None else dict(generation)
        self._given.setdefault("max_new_tokens", min(targets, longest - 1))
        self.tokens = _tokens_of(self._given)
        self._search: dict[str, Any] = {}

    @classmethod
    def from_preset(
        cls: type[_T], preset: str | Path, *, num_decoder_layers: int | None = None,
        max_length: int | None = None, max_target_length: int | None = None,
        dropout: float | None = None, revision: str | None = None, dtype: Any = None,
    ) -> _T:  # fmt: skip
        """Start from a BART or MarianMT, or from a BERT, whose weights start both halves.

        Args:
            preset: directory (of Hugging Face's or KerasHub's layout), name on the Hugging Face
                Hub, name of KerasHub or `kaggle://...`.
            num_decoder_layers: decoder blocks, where the preset is a BERT.
            max_length: see the class.
            max_target_length: see the class.
            dropout: in all blocks; the checkpoint's if not given.
            revision: branch, tag or commit on the Hub.
            dtype: dtype policy of the model; Keras' global one if not given.

        Raises:
            InputError: the checkpoint cannot be found, read or used.
        """
        directory = find_checkpoint(preset, revision)
        fields = dropout_fields(dropout)
        if kind_of(directory) == "bert":
            if num_decoder_layers is not None:
                fields["num_decoder_layers"] = num_decoder_layers
            model = Transformer(read_encoder_config(directory, **fields), dtype=dtype)
            report = load_encoder_weights(model, directory)
            tokenizer = read_tokenizer(directory)
            generation = cls._new_generation(tokenizer)
        else:
            if num_decoder_layers is not None:
                raise InputError("num_decoder_layers: this checkpoint has its own; leave it out")
            family = family_of(directory)
            config = dataclasses.replace(family.read_config(directory), **fields)
            model = Transformer(config, dtype=dtype)
            report = family.load_weights(model, directory)
            tokenizer, generation = read_tokenizer(directory), read_bart_generation(directory)
        if max_target_length is not None:
            generation["max_new_tokens"] = max_target_length
        return cls(
            model, tokenizer, generation, max_length=max_length,
            max_target_length=max_target_length, started=str(report),
        )  # fmt: skip

    @classmethod
    def from_scratch(
        cls: type[_T], texts: Any, *, size: str = "mini", vocabulary_size: int = 16000,
        lowercase: bool = True, architecture: str = "transformer", norm_first: bool | None = None,
        num_decoder_layers: int | None = None, max_length: int | None = None,
        max_target_length: int | None = None, max_new_tokens: int | None = None,
        dropout: float | None = None, dtype: Any = None, tokenizer: Any = None,
    ) -> _T:  # fmt: skip
        """Start from random weights, with a vocabulary learned from sources and targets.

        Args:
            texts: strings, or rows whose columns are all read.
            size: tiny, mini, small, base or large.
            vocabulary_size: maximum number of tokens to learn.
            lowercase: whether to fold case and strip accents.
            architecture: "transformer" (Vaswani et al. 2017) or "bart".
            norm_first: normalize before each part, which trains more steadily than behind it, as
                both papers do; if not given, only a bart is as in its paper.
            num_decoder_layers: decoder blocks; as many as encoder blocks if not given.
            max_new_tokens: longest output that there must be positions for.
            max_length: see the class.
            max_target_length: see the class.
            dropout: see `from_preset`.
            dtype: see `from_preset`.
            tokenizer: in place of one that is learned from `texts`.

        Raises:
            InputError: there is no such size, or nothing to learn from.
        """
        check_size(size, SIZES)
        sources, targets = cls.usual_lengths
        max_length, target = max_length or sources, max_target_length or targets
        if tokenizer is None:
            tokenizer = learned_tokenizer(texts, vocabulary_size, lowercase, columns=2)
        fields = dropout_fields(dropout)
        if num_decoder_layers is not None:
            fields["num_decoder_layers"] = num_decoder_layers
        paper = PAPER if architecture == "transformer" else {}
        config = TransformerConfig.of_size(
            size, vocabulary_size=tokenizer.vocabulary_size,
            max_length=max(max_length, target + 1, (max_new_tokens or 0) + 1),
            norm_first=architecture == "transformer" if norm_first is None else norm_first,
            **paper, **fields,
        )  # fmt: skip
        # With the published 0.02 a narrow model looks at all tokens alike for its first steps.
        config = dataclasses.replace(config, initializer_range=config.hidden_dim**-0.5)
        model = Transformer(config, dtype=dtype)
        generation = {**cls._new_generation(tokenizer), "max_new_tokens": target}
        return cls(model, tokenizer, generation, max_length=max_length,
                   max_target_length=target)  # fmt: skip

    @classmethod
    def load(cls: type[_T], directory: str | Path, *, dtype: Any = None) -> _T:
        """Load what `save` or `tfmodels summarization train` wrote, or any BART.

        Args:
            directory: of the model, or a name on the Hub.
            dtype: see `from_preset`; a plain type such as "bfloat16" stores the weights in it.

        Raises:
            InputError: it cannot be read, or is of another kind.
        """
        directory = find_checkpoint(directory)
        model, report = family_of(directory).load(directory, dtype=dtype)
        settings = saved_settings(directory)
        longest = model.config.max_length
        return cls(
            model, read_tokenizer(directory), read_bart_generation(directory),
            max_length=settings.get("max_length", longest),
            max_target_length=settings.get("max_target_length", longest - 1),
            long_texts=settings.get("long_texts"), started=str(report),
        )  # fmt: skip

    @classmethod
    def _new_generation(cls, tokenizer: Any) -> dict:
        """Return the settings of generation of a new model, as `read_bart_generation` does."""
        tokens = pair_tokens(tokenizer)
        settings = {"start_id": tokens.start_id, "stop_ids": (tokens.end_id,),
                    "pad_id": tokens.pad_id}  # fmt: skip
        bos = {} if tokens.bos_id is None else {"bos_id": tokens.bos_id}
        return {**cls.search, **settings, **bos}

    def configure(self, *, long_texts: str | None = None, **search: Any) -> None:
        """Say how texts are written; it stays with the model when it is saved or exported.

        Args:
            long_texts: see the class.
            **search: fields of `Generation`, such as `num_beams`, `length_penalty`,
                `min_new_tokens`, `max_new_tokens`, `no_repeat_ngram`. None changes nothing.

        Raises:
            InputError: a field is unknown or out of range.
        """
        self._search |= given_fields(search)
        self.long_texts = long_texts or self.long_texts
        self._writer()  # refuses what does not fit the model
        self._functions.clear()

    # Preprocessing: rows to batches.

    def _chunks(self, rows: Source, seed: int | None = None) -> tf.data.Dataset:
        # Bounds the memory for texts of megabytes.
        longest, longest_target = 100 * self.max_length, 100 * self.max_target_length

        def convert(row: Row) -> tuple[str, str]:
            text, target = row.values[0], self._target_of(row.values)
            if not target.strip():
                raise InputError(
                    f"{rows.place(row.line)}: column {rows.columns[1]!r} is empty; every row "
                    "needs a text to write"
                )
            return text[:longest], target[:longest_target]

        return chunk_dataset(rows, convert, (tf.string, tf.string), seed)

    def _target_of(self, values):
        """Return the target of the values of a row."""
        return values[1]

    def _read(self, x, y=None, sample_weight=None):
        if sample_weight is not None:
            raise InputError("sample_weight: not for pairs of texts; leave it out")
        return super()._read(x, y)

    def _training_data(self, *arguments: Any, batch_tokens: int | None = None) -> TrainingData:  # type: ignore[override]
        """Return the data of `fit`; `batch_tokens` is an argument of it, see `pair_batches`."""
        data = super()._training_data(*arguments)
        if batch_tokens is None:
            return data
        rows, seed = self._sources[0], arguments[6]
        lengths = (self.max_length, self.max_target_length)

        def batches(step):
            return pair_batches(
                self._chunks(rows, seed), self.tokenizer, self.tokens, 0, *lengths, seed,
                batch_tokens=batch_tokens,
            ).skip(step)  # fmt: skip

        with source_errors(rows):
            steps = steps_of_pass(
                self._chunks(rows), self.tokenizer, self.tokens, batch_tokens, *lengths
            )
        return data._replace(batches=batches, steps=steps)

    def _no_step(self, epochs, steps, batch_size, batch_tokens=None):  # type: ignore[override]
        if batch_tokens is None:
            return super()._no_step(epochs, steps, batch_size)
        return InputError(
            f"batch_tokens {batch_tokens}: {epochs} epochs have less than one batch; give a "
            "smaller batch_tokens, more epochs or more data"
        )

    def _batches(self, rows, batch_size, seed=None, in_order=False):
        batches = pair_batches(
            self._chunks(rows, seed), self.tokenizer, self.tokens, batch_size, self.max_length,
            self.max_target_length, seed, in_order=in_order,
        )  # fmt: skip
        return batches if rows.endless else of_length(batches, self._scan(rows).rows, batch_size)

    def _batches_of_texts(self, texts, batch_size):
        chunks = tf.data.Dataset.from_tensor_slices(list(texts)).batch(batch_size)
        start = self.tokens.start_id

        def batch(text):
            read = source_batch(self.tokenizer.tokenize(text), self.tokens, self.max_length)
            first = tf.fill([tf.shape(read["token_ids"])[0], 1], start)
            return {**read, "decoder_token_ids": first}

        return chunks.map(batch)

    def _describe(self, rows):
        limits = f"max_length {self.max_length} and max_target_length {self.max_target_length}"
        cut = self._describe_cut(rows, self._chunks(rows), self._longer, limits)
        return f"{self._scan(rows).rows} training pairs{cut}"

    def _longer(self, source, target):
        room = self.tokens.source_room(self.max_length)
        target_room = self.max_target_length - len(self.tokens.target_bos) - 1
        cut = longer_than(room, self.tokenizer, source)
        return cut | (target_ids(self.tokenizer, target).row_lengths() > target_room)

    # Model.

    def _objective(self):
        metrics = [Accuracy(), MeanCrossentropy()]
        return {"loss": Crossentropy(self._label_smoothing), "metrics": metrics}

    def _layers(self):
        return [self.model.embeddings, *self.model.encoder_blocks]

    # Answers.

    def generate(self, texts: Any, *, batch_size: int = 32) -> list[str]:
        """Return the text written for each text."""
        return [answer[self.output] for answer in self.predict(texts, batch_size)]

    def answers(self, texts: list, batch_size: int = 32) -> list[dict]:
        return self._written(texts, batch_size)

    def _settings_of_search(self) -> dict:
        names = (*SEARCH, "max_new_tokens")
        given = {name: getattr(Generation, name) for name in names} | self._given
        return {name: given[name] for name in names} | self._search

    def _writer(self, **fields: Any) -> TextWriter:
        values = {**self._given, **self._settings_of_search(), **fields}
        names = [field.name for field in dataclasses.fields(Generation)]
        generation = Generation(**{name: values[name] for name in names if name in values})
        return TextWriter(
            self.model, self.tokenizer, self.tokens, generation, self.max_length, self.long_texts,
            self.output, self.whole,
        )  # fmt: skip

    def _written(self, texts, batch_size, **fields):
        """Return the answers to texts, in their order; report the progress of long work."""

        def make():
            specs = [tf.TensorSpec([None], tf.string)]
            return tf.function(self._writer(**fields), input_signature=specs, autograph=False)

        write = self._function(("write", *fields.items()), make)
        answers, done, shown = [None] * len(texts), 0, time.monotonic()
        for rows, part in batches_by_length(texts, batch_size):
            answer = {name: value.numpy() for name, value in write(tf.constant(part)).items()}
            for row, place in enumerate(rows):
                answers[place] = {
                    self.output: answer[self.output][row].decode(),
                    "score": round(float(answer["score"][row]), 6),
                    "parts": int(answer["parts"][row]),
                    "truncated": bool(answer["truncated"][row]),
                }
            done += len(rows)
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                print(f"written for {done} of {len(texts)} texts", file=sys.stderr)
        return answers

    def sample(self, rows: Source, number: int = -1) -> tuple[list[str], list]:
        """Return the first pairs of rows, all for -1: the sources and the targets."""
        with source_errors(rows):
            chunks = self._chunks(rows).unbatch().take(number)
            pairs = [(text.decode(), target.decode()) for text, target in
                     chunks.as_numpy_iterator()]  # fmt: skip
        return [text for text, _ in pairs], [target for _, target in pairs]

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int = 32, *, mistakes: int = 0
    ) -> dict:
        """Measure ROUGE of what is written, beside that of the first sentences of the sources.

        Args, errors: as of `Task.evaluate`.

        Returns:
            dict; see `metrics.rouge.measure`. `truncated`: sources of which the beginning was
            read. With `mistakes` also `worst_mistakes`, and `table`, examples in Markdown.
        """
        sources, references = self.sample(self._read(x, y))
        self.check_metric(references)
        answers = self._written(sources, batch_size)
        outputs = [answer[self.output] for answer in answers]
        metrics = rouge.measure(sources, references, outputs, self.lead_k)
        metrics["truncated"] = sum(answer["truncated"] for answer in answers)
        if mistakes:
            metrics["worst_mistakes"] = rouge.worst(sources, references, outputs, mistakes)
            metrics["table"] = rouge.examples_table(sources, references, outputs, EXAMPLES)
        return metrics

    def check_metric(self, references: Sequence) -> None:
        """Fail before hours of writing if a package of the metric is missing.

        Args:
            references: as of `sample`.
        """
        rouge.Tokenizer()

    def _measuring(self, rows, batch_size):
        sources, references = self.sample(rows, self.measured_rows)
        self.check_metric(references)

        def written():
            answers = self._written(sources, batch_size, num_beams=1)
            outputs = [answer[self.output] for answer in answers]
            print(f"for example: {outputs[0]}", file=sys.stderr)
            return self._scores(outputs, references)

        return (Measured(written),)

    def _scores(self, outputs: list[str], references: list) -> dict[str, float]:
        """Return the metrics of each evaluation of a training, by name."""
        scores = rouge.rouge(outputs, references)
        return {name: scores[name] for name in ("rouge1", "rouge2", "rougeL")}

    def signatures(self) -> dict:
        return text_to_text_signatures(self._writer())

    def write(self, directory: Path) -> None:
        settings = {name: getattr(self, name) for name in
                    ("application", "max_length", "max_target_length", "long_texts")}  # fmt: skip
        generation = {**self._given, **self._settings_of_search()}
        family = family_for(self.model.config)
        write_bart(self.model, directory, self.tokenizer, generation, settings, family)


def _tokens_of(generation: dict) -> PairTokens:
    missing = [name for name in ("stop_ids", "start_id", "pad_id") if name not in generation]
    if missing:
        raise InputError(f"the checkpoint lacks its {missing[0]}; copy its files again")
    return PairTokens(
        end_id=generation["stop_ids"][0],
        start_id=generation["start_id"],
        pad_id=generation["pad_id"],
        bos_id=generation.get("bos_id"),
    )
