"""The examples of a pretraining, made while it runs or read from records, and its batches.

In: the settings of `bert pretrain`. Out: a tokenizer, `ExampleSettings`, passes over the
examples (the same of both kinds), and the masked batches made of them.
"""

import json
import sys
from pathlib import Path

from applications import steps
from tfmodels.checkpoints.files import find_checkpoint
from tfmodels.checkpoints.hugging_face import read_tokenizer
from tfmodels.data import datasets
from tfmodels.data.documents import TextFiles
from tfmodels.errors import InputError
from tfmodels.text import records
from tfmodels.text.examples import ExampleSettings
from tfmodels.text.pretraining import parsed, text_passes, training_batches
from tfmodels.text.vocabulary import learn_wordpiece, save_vocabulary
from tfmodels.text.wordpiece import WordPieceTokenizer

MAX_LENGTH, TASK = 128, "nsp"  # where neither a flag nor records say otherwise
COUNTED = 2**17  # examples of which co-occurrences are counted, at most


class TextExamples:
    """Examples made of text files while the training runs; nothing is written.

    Args:
        settings: of `bert pretrain`.

    Attributes:
        settings: `ExampleSettings`.
        made_of: str that tells these texts from others.
        failure: see `datasets.source_errors`.

    Raises:
        InputError: the files or the settings cannot be used.
    """

    def __init__(self, settings):
        self._texts = TextFiles(settings.text_files, settings.text_column)
        self._flags = settings
        self.made_of = self._texts.fingerprint()
        self.settings = ExampleSettings(
            settings.max_length or MAX_LENGTH, settings.task or TASK, settings.short_share,
            settings.segmented, settings.seed,
        )  # fmt: skip

    @property
    def failure(self):
        return self._texts.failure

    @failure.setter
    def failure(self, value):
        self._texts.failure = value

    def tokenizer(self, folder, checkpoint):
        """The given tokenizer, or the one learned when the training began, kept in `folder`."""
        given = given_tokenizer(self._flags, checkpoint)
        if given is not None:
            return given
        path = folder / "vocab.txt"
        if not path.exists():
            save_vocabulary(learned_tokenizer(self._flags, self._texts).vocabulary, path)
        return WordPieceTokenizer.from_file(path, lowercase=self._flags.lowercase)

    def passes(self, tokenizer, split, seed=None):
        """Passes over the "train" or "validation" documents; None if none are held out."""
        held_out = self._flags.held_out
        if not held_out:
            if split == "validation":
                return None
            split = "all"
        options = {"split": split, "held_out": held_out, "seed": seed}
        return text_passes(self._texts, tokenizer, self.settings, **options)

    def number(self, one_pass):
        """How many examples the first pass has."""
        print("counting the examples (--steps would save that)", file=sys.stderr)
        with datasets.source_errors(self):
            return sum(1 for _ in one_pass(0).as_numpy_iterator())


class RecordExamples:
    """Examples that `bert prepare` wrote; see `TextExamples`."""

    failure = None  # records are checked when they are opened

    def __init__(self, settings):
        self._flags = settings
        self._directory = settings.records_dir
        summary = records.read_summary(self._directory)
        self.settings = ExampleSettings(**summary["settings"])
        self._splits = summary["splits"]
        self.made_of = json.dumps([summary["texts"], summary["vocabulary"]])
        for name in ("max_length", "task"):
            given, there = getattr(settings, name), getattr(self.settings, name)
            if given not in (None, there):
                raise InputError(
                    f"--{name} {given}: the records in {self._directory} have {there}; leave the "
                    "flag out, or prepare others"
                )

    def tokenizer(self, folder, checkpoint):
        """The given tokenizer, which must be the one of the records, or just that."""
        return given_tokenizer(self._flags, checkpoint) or records.read_tokenizer(self._directory)

    def passes(self, tokenizer, split, seed=None):
        """Passes over a split; None if the records do not have it."""
        if split not in self._splits:
            return None
        return records.record_passes(self._directory, tokenizer, split=split, seed=seed)

    def number(self, one_pass):
        """How many examples a pass has."""
        return int(one_pass(0).cardinality())


def open_examples(settings):
    """`TextExamples` or `RecordExamples`, whichever the settings of `bert pretrain` name.

    Raises:
        InputError: they name both or neither, or what they name cannot be used.
    """
    if (settings.text_files is None) == (settings.records_dir is None):
        raise InputError("give --text_files or --records_dir, and not both")
    return (TextExamples if settings.records_dir is None else RecordExamples)(settings)


class Batches:
    """The masked batches of a training.

    Args:
        settings: of `bert pretrain`.
        examples: of `open_examples`.
        folder: keeps a vocabulary that is learned.

    Attributes:
        checkpoint: directory that it starts from, or None.
        tokenizer: `WordPieceTokenizer`.
        examples: `ExampleSettings`.
        max_length: tokens of an example.
        steps: of the whole training.
        say: str, one line about it.
    """

    def __init__(self, settings, examples, folder):
        self._settings, self._examples = settings, examples
        self.examples = examples.settings
        self.max_length = self.examples.max_length
        self.checkpoint = None
        if settings.checkpoint != "none":
            self.checkpoint = find_checkpoint(settings.checkpoint, settings.revision)
        self.tokenizer = examples.tokenizer(folder, self.checkpoint)
        self._train = examples.passes(self.tokenizer, "train", settings.seed)
        self._batches(self._train)  # refuses a vocabulary without [MASK] before all else
        self.steps = settings.steps or steps.of_epochs(
            settings, examples.number(self._train), "examples"
        )
        self.say = f"{self.steps} steps of {settings.batch_size} examples"

    def token_ids(self):
        """The unmasked examples of a pass, `COUNTED` at most: int32 arrays [B, S]."""
        strings = self._train(0).take(COUNTED).batch(1024)
        for batch in strings:
            yield parsed(batch, self.tokenizer.pad_id, self.examples)["token_ids"].numpy()

    def batches(self, start):
        """Endless training batches, from step `start` on."""
        return self._batches(self._train, start=start, dynamic=self._settings.dynamic_masking)

    def held_out(self):
        """Batches of the held-out documents, the same every time; None if none are held out."""
        settings = self._settings
        passes = self._examples.passes(self.tokenizer, "validation")
        if passes is None:
            return None
        batches = self._batches(passes, passes=1, drop_remainder=False)
        return steps.first(batches, settings, "document", self._examples)

    def _batches(self, one_pass, **options):
        settings = self._settings
        return training_batches(
            one_pass, self.tokenizer, settings.batch_size, self.examples, seed=settings.seed,
            mask_rate=settings.mask_rate, whole_words=settings.whole_words, **options,
        )  # fmt: skip


def given_tokenizer(settings, checkpoint):
    """The tokenizer of a checkpoint (a directory) or of `--vocabulary`; None without both.

    Raises:
        InputError: both are given, or the vocabulary cannot be used.
    """
    given = settings.vocabulary
    if checkpoint is not None:
        if given is not None:
            raise InputError(
                "--vocabulary: a checkpoint comes with its own; leave it out, or --checkpoint"
            )
        return read_tokenizer(checkpoint)
    if given is None:
        return None
    if Path(given).is_dir():
        return read_tokenizer(given)
    return WordPieceTokenizer.from_file(given, lowercase=settings.lowercase)


def learned_tokenizer(settings, texts):
    """A tokenizer whose vocabulary is learned from `TextFiles`."""
    print("learning a vocabulary", file=sys.stderr)
    sentences = (sentence for _, document in texts.documents() for sentence in document)
    options = {"lowercase": settings.lowercase}
    vocabulary = learn_wordpiece(sentences, settings.vocabulary_size, **options)
    return WordPieceTokenizer(vocabulary, **options)
