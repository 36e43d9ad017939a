"""`EncoderTask`: what the tasks with a head on an encoder share.

In: a preset, or texts to learn a vocabulary from. Out: an encoder with its tokenizer; the head is
made as soon as the labels are known, in the scope of the strategy that the task was made in.
"""

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import keras

from tfmodels.checkpoints import hub
from tfmodels.checkpoints.baselines import BASELINES, TYPES, write_baseline
from tfmodels.checkpoints.bert import BERT, head_dropout, write_bert
from tfmodels.checkpoints.family import Family
from tfmodels.checkpoints.files import (
    check_vocabulary_size,
    find_checkpoint,
    model_type,
    read_labels,
    saved_settings,
)
from tfmodels.checkpoints.tokenizers import read_tokenizer
from tfmodels.data.memory import as_corpus, as_list, check_text
from tfmodels.data.rows import Source, canonical_label, text_of
from tfmodels.errors import InputError
from tfmodels.models.baselines import BaselineEncoder
from tfmodels.models.bert import SIZES, Bert
from tfmodels.models.hub import HubEncoder
from tfmodels.models.model import Config, EncoderModel
from tfmodels.tasks.task import Task
from tfmodels.text.vocabulary import learn_wordpiece
from tfmodels.text.wordpiece import WordPieceTokenizer

_T = TypeVar("_T", bound="EncoderTask")


def dropout_fields(dropout: float | None, config: type = Config) -> dict:
    """Return the fields of a config that one dropout stands for; none if it is not given."""
    names = {field.name for field in dataclasses.fields(config)} & {"dropout", "attention_dropout"}
    return {} if dropout is None else dict.fromkeys(names, dropout)


def family_of(directory: Path) -> Family:
    """Return the family of the encoder in a directory; BERT if it is no other."""
    kind = model_type(directory)
    return BASELINES if kind in TYPES else hub.HUB if kind in hub.TYPES else BERT


def check_size(size: str, sizes: Collection[str] = SIZES) -> None:
    """Refuse an unknown size, before a vocabulary is learned for it."""
    if size not in sizes:
        raise InputError(f"size {size}: give one of {', '.join(sizes)}")


def check_positions(config: Config, max_length: int, name: str = "max_length") -> None:
    """Refuse texts that are longer than the model has positions for."""
    if config.max_length < max_length:
        raise InputError(
            f"{name} {max_length}: the model has positions for {config.max_length} tokens; give "
            "at most as many"
        )


def learned_tokenizer(
    texts: Iterable[str] | Source, vocabulary_size: int, lowercase: bool, columns: int = 1
) -> WordPieceTokenizer:
    """Return a `WordPieceTokenizer` with a vocabulary learned from texts, or columns of rows."""
    remedy = "give a list of strings, or tfmodels.data.open_table(file)"
    texts = as_corpus(texts, ("text", "pair")[:columns], remedy)
    if isinstance(texts, Source):
        texts = (text for _, values in texts.rows() for text in values[:columns])
    texts = map(_joined_words, texts, itertools.count())
    options: dict[str, Any] = {"lowercase": lowercase}
    return WordPieceTokenizer(learn_wordpiece(texts, vocabulary_size, **options), **options)


def _joined_words(text, number):
    """Return a text; or its words, with spaces between them."""
    words = isinstance(text, list | tuple) and all(isinstance(word, str) for word in text)
    return " ".join(text) if words else check_text(text, number)


def _names(labels, number=None):
    """Return the labels that a user gives, or their number, as strings; None of neither."""
    if labels is None:
        return None if number is None else [str(n) for n in range(number)]
    if isinstance(labels, set | frozenset):
        labels = sorted(labels)  # in the same order in every process
    found = as_list(labels, 'give labels=["bad", "good"], or num_classes=2')
    if any(isinstance(label, list | tuple) for label in found):
        raise InputError("labels: give the names of the classes here, and the tags to fit")
    names = [name if isinstance(name, str) else canonical_label(text_of(name)) for name in found]
    if number not in (None, len(names)):
        raise InputError(f"num_classes {number}: there are {len(names)} labels; leave it out")
    return names


class EncoderTask(Task):
    """A head on an encoder.

    Args:
        backbone: an encoder such as `Bert`, or a model with its head.
        tokenizer: its `WordPieceTokenizer` or `SubwordTokenizer`.
        labels: names of the classes; those of the rows that `fit` is given, if not given.
        max_length: maximum number of tokens of a text; as many as there are positions at most.
            A published fine-tuned preset has as many, if not given.
        dropout: before the head; the encoder's if not given.
        preset: directory that the weights were loaded from.
        started: see `Task`.
    """

    head: type[EncoderModel]  # the Keras model of encoder and head
    older_names: tuple[str, ...] = ()  # further names of the application in `config.json`
    architectures: tuple[str, ...] = ("transformer",)  # of encoders that it may stand on
    of_tokens = False  # whether the head is on each token, not on the text
    labels: list[str]  # None until they are known

    def __init__(
        self, backbone: keras.Model, tokenizer: WordPieceTokenizer,
        labels: Sequence[str] | None = None, *, max_length: int = 128, dropout: float | None = None,
        preset: Path | None = None, started: str = "from scratch",
    ) -> None:  # fmt: skip
        model = backbone if isinstance(backbone, self.head) else None
        self.backbone = model.encoder if model else backbone
        config = self.backbone.config
        architecture = getattr(config, "architecture", "transformer")
        if architecture not in self.architectures:
            raise InputError(
                f"architecture {architecture}: a {type(self).__name__} has one of "
                f"{', '.join(self.architectures)}"
            )
        check_vocabulary_size(tokenizer, config)
        super().__init__(
            model, tokenizer, max_length=min(max_length, config.max_length), started=started
        )
        self._dropout = config.dropout if dropout is None else dropout
        self._preset = preset
        self.labels = _names(labels)  # type: ignore[assignment]
        self._labels_given = labels is not None
        if self.labels is not None:
            self._make()

    @classmethod
    def from_preset(
        cls: type[_T], preset: str | Path, labels: Sequence[str] | None = None, *,
        num_classes: int | None = None, dropout: float | None = None, revision: str | None = None,
        dtype: Any = None, **options: Any,
    ) -> _T:  # fmt: skip
        """Start from a checkpoint.

        Args:
            preset: directory (of Hugging Face's, Google's or KerasHub's layout, or one that `save`
                wrote), name on the Hugging Face Hub, name of KerasHub or `kaggle://...`.
            labels: names of the classes; those of the preset's own head, or those of the rows
                that `fit` is given, if not given.
            num_classes: number of classes, in place of their names.
            dropout: in the encoder and before the head; the checkpoint's (there
                `classifier_dropout`) if not given.
            revision: branch, tag or commit on the Hub.
            dtype: dtype policy of the model, such as "mixed_bfloat16"; Keras' global one if not
                given.
            **options: further arguments of the class.

        Raises:
            InputError: the checkpoint cannot be found, read or used.
        """
        directory = find_checkpoint(preset, revision)
        family = family_of(directory)
        config = family.read_config(directory)
        config = dataclasses.replace(config, **dropout_fields(dropout, type(config)))
        if dropout is None:
            dropout = head_dropout(directory)
        options = cls._merged(cls._options_of(directory, labels), options)
        if num_classes is not None or labels is not None:
            options["labels"] = _names(labels, num_classes)
        backbone = family.model_class(config, dtype=dtype, name="encoder")
        started = str(family.load_weights(backbone, directory))
        task = cls(
            backbone, read_tokenizer(directory), dropout=dropout, preset=directory,
            started=started, **options,
        )  # fmt: skip
        task._labels_given = labels is not None or num_classes is not None
        return task

    @classmethod
    def from_scratch(
        cls: type[_T], texts: Iterable[str] | Source, labels: Sequence[str] | None = None, *,
        num_classes: int | None = None, size: str = "mini", vocabulary_size: int = 16000,
        lowercase: bool = True, max_length: int = 128, dropout: float | None = None,
        dtype: Any = None, architecture: str = "transformer", **options: Any,
    ) -> _T:  # fmt: skip
        """Start from random weights, with a vocabulary learned from texts.

        Args:
            texts: strings, or rows whose first column is read.
            labels: names of the classes; those of the rows that `fit` is given, if not given.
            num_classes: number of classes, in place of their names.
            size: tiny, mini, small, medium, base or large.
            vocabulary_size: maximum number of tokens to learn.
            lowercase: whether to fold case and strip accents.
            max_length: see the class.
            dropout: see `from_preset`.
            dtype: see `from_preset`.
            architecture: "transformer" or, of a `TextClassifier`, "bag", "cnn", "lstm" or "gru";
                see `tfmodels.models.baselines`.
            **options: see `from_preset`.

        Raises:
            InputError: there is no such size or architecture, or nothing to learn from.
        """
        check_size(size)
        if architecture not in cls.architectures:
            raise InputError(
                f"architecture {architecture}: give one of {', '.join(cls.architectures)}"
            )
        columns = 2 if options.get("pair") else cls.text_columns
        tokenizer = learned_tokenizer(texts, vocabulary_size, lowercase, columns)
        sizes: dict[str, Any] = {
            "vocabulary_size": tokenizer.vocabulary_size, "max_length": max(max_length, 512),
        }  # fmt: skip
        model: Any = Bert
        if architecture != "transformer":
            model, sizes["architecture"] = BaselineEncoder, architecture
        dropouts = dropout_fields(dropout, model.config_type)
        backbone = model(
            model.config_type.of_size(size, **sizes, **dropouts), dtype=dtype, name="encoder"
        )
        labels = _names(labels, num_classes)
        return cls(backbone, tokenizer, labels, max_length=max_length, dropout=dropout, **options)

    @classmethod
    def load(cls: type[_T], directory: str | Path, *, dtype: Any = None) -> _T:
        """Load what `save` or `tfmodels ... train` wrote, or a published fine-tuned model.

        Args:
            directory: of the model.
            dtype: see `from_preset`; a plain type such as "bfloat16" stores the weights in it.

        Raises:
            InputError: it cannot be read, is of another task, or has no trained head.
        """
        task = cls.from_preset(directory, dtype=dtype)
        name = saved_settings(task._preset or directory).get("application", cls.application)
        if name not in (cls.application, *cls.older_names):
            raise InputError(f"{directory}: a model of `{name}`, not of `{cls.application}`")
        task.application = name
        if task._model is None or task._loaded.new:
            raise InputError(
                f"{directory}: has no trained head of a {cls.__name__}; train one with "
                f"{cls.__name__}.from_preset(...).fit(...), or `tfmodels {cls.application} train "
                "--checkpoint`"
            )
        return task

    @classmethod
    def _options_of(cls, directory: Path, labels: Sequence[str] | None) -> dict:
        """Return the arguments of the class that a directory names, labels included."""
        settings = saved_settings(directory)
        if settings.get("application") not in (cls.application, *cls.older_names):
            if labels is not None or not cls._is_published(directory):
                return {}
            found, config = read_labels(directory), family_of(directory).read_config(directory)
            return {"labels": found, "max_length": config.max_length} if found else {}
        names = ("labels", *cls._saved_options())
        return {name: settings[name] for name in names if name in settings}

    @classmethod
    def _merged(cls, saved: dict, options: dict) -> dict:
        """Return the arguments of a directory, with those of the caller in their place."""
        return {**saved, **options}

    @classmethod
    def _saved_options(cls) -> tuple[str, ...]:
        """Return the names of the arguments that stay with a saved task."""
        return ("max_length",)

    @classmethod
    def _is_published(cls, directory: Path) -> bool:
        """Return whether a directory that others wrote has a head for this task."""
        raise NotImplementedError

    def _new_model(self):
        """Return the head on the encoder, for `labels`."""
        raise NotImplementedError

    def _check_segments(self, what: str = "") -> None:
        """Refuse an encoder that does not tell two texts of a row apart."""
        if getattr(self.backbone.config, "num_segments", 2) < 2:
            raise InputError(f"{what}the encoder has one segment; give one with num_segments=2")

    def _make(self) -> None:
        """Make the model for the labels; its head is the preset's if that fits."""
        if self._model is None:
            with self._strategy.scope():
                self._model = self._new_model()
                if self._preset is not None:
                    self._loaded = family_of(self._preset).load_weights(self._model, self._preset)
                    self.started = str(self._loaded)
        self._check_whole()
        self._functions.clear()

    def _default_rate(self):
        rate = super()._default_rate()
        if not self.of_tokens or self._preset is None:
            return rate
        # A pretrained encoder that is narrower takes, and needs, a larger one.
        return rate * 768 / self.backbone.config.hidden_dim

    def _check_whole(self) -> None:
        super()._check_whole()
        number, classes = len(self.labels), self.model.head.num_classes
        if number != classes:
            raise InputError(
                f"{number} label{'s' * (number != 1)} for {classes} classes; give one for each"
            )
        if len(set(map(canonical_label, self.labels))) < number:
            raise InputError(f"the labels {self.labels[:20]} repeat; name each once")

    def _take_labels(self, labels: list[str]) -> None:
        """Take the labels of training rows, unless they were given or are the preset's."""
        if self._labels_given or (self.labels is not None and set(labels) <= set(self.labels)):
            return
        self.labels, self._labels_given, self._model = labels, True, None
        self._make()

    def _layers(self):
        return [self.backbone.embeddings, *self.backbone.blocks]

    def _whole_model(self):
        return self._model or self.backbone

    def write(self, directory: Path) -> None:
        kinds = {BaselineEncoder: write_baseline, HubEncoder: hub.write_hub}
        write = kinds.get(type(self.backbone), write_bert)
        write(self.model, directory, self.tokenizer, self.labels, self._settings())

    def _settings(self) -> dict:
        """Return what `config.json` keeps for `load`."""
        options = {name: getattr(self, name) for name in self._saved_options()}
        return {"application": self.application, "labels": self.labels, **options}
