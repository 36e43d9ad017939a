"""`LanguageTask`: what the tasks that learn from running text share.

In: texts, as files or as strings. Out: training batches pass after pass, from any step on, and
batches of the part that is held out. Texts need no labels.
"""

import math
import sys
from typing import Any

import tensorflow as tf

from tfmodels.data.datasets import source_errors
from tfmodels.data.documents import as_texts
from tfmodels.errors import InputError
from tfmodels.tasks.task import Task, TrainingData
from tfmodels.text.batching import counted


class LanguageTask(Task):
    """A task that learns from running text.

    Attributes:
        kind: what a pass consists of, for messages.
        default_epochs: see `Task`.
    """

    kind = "examples"
    default_epochs = 1
    data_options = ("held_out_examples",)

    # To override in a task.

    def _passes(
        self, texts: Any, split: str, share: float, seed: int | None, hold_seed: int
    ) -> Any:
        """Return the passes over the "train" or "validation" texts, or all; None for none."""
        raise NotImplementedError

    def _stream(self, one_pass: Any, batch_size: int, **options: Any) -> tf.data.Dataset:
        """Return the batches of passes; `start`, `passes`, `drop_remainder` as of the text room."""
        raise NotImplementedError

    def _texts_of(self, x):
        """Return the texts of what `fit` was given."""
        return as_texts(x)

    # Shared by both tasks.

    def _training_data(
        self, x: Any, y: Any, sample_weight: Any, validation_data: Any, validation_split: float,
        batch_size: int, seed: int | None, steps: int | None, held_out_examples: int = 1000,
    ) -> TrainingData:  # fmt: skip
        """See `Task`; further options of `fit`: `held_out_examples`, how many are measured on."""
        if y is not None or sample_weight is not None:
            raise InputError("fit(texts): texts alone; leave labels and weights out")
        texts = self._texts_of(x)
        share = 0.0 if validation_data is not None else validation_split
        train = self._passes(texts, "train" if share else "all", share, seed, seed or 0)
        self._sources, measured = [texts], texts
        held_out = None
        if validation_data is not None:
            measured = self._texts_of(validation_data)
            self._sources.append(measured)
            held_out = self._passes(measured, "all", 0.0, None, 0)
        elif share:
            held_out = self._passes(texts, "validation", share, None, seed or 0)
        if not steps:  # a pass of little text is one batch
            number = self._count(train, texts)
            batch_size = max(min(batch_size, number), 1)
        of_pass = steps or number / batch_size
        validation = None
        if held_out is not None:
            batches = self._stream(held_out, batch_size, passes=1, drop_remainder=False)
            validation = self._first(batches, held_out_examples, batch_size, measured)

        def batches_from(step):
            return self._stream(train, batch_size, start=step)

        line = f"batches of {batch_size} {self.kind} of {self.max_length} tokens"
        tokens = batch_size * self.max_length
        return TrainingData(batches_from, of_pass, validation, line, tokens=tokens)

    def dataset(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, batch_size: int = 32,
        shuffle: bool = False, seed: int = 0,
    ) -> tf.data.Dataset:  # fmt: skip
        """Make the batches of texts that `task.model` is trained on, for your own loop.

        Args, errors: as of `Task.dataset`.

        Returns:
            A dataset of `(batch, labels)`, of one pass.
        """
        one_pass = self._passes(self._texts_of(x), "all", 0.0, seed if shuffle else None, 0)
        return self._stream(one_pass, batch_size, passes=1, drop_remainder=False)

    def _count(self, one_pass: Any, texts: Any) -> int:
        """Return how many examples or blocks a pass has."""
        print(f"counting the {self.kind} (steps= would save that)", file=sys.stderr)
        with source_errors(texts):
            return sum(int(part.shape[0]) for part in one_pass(0).batch(1000))

    def _first(self, batches, maximum, batch_size, texts):
        """Return the held-out batches that are measured on: read once, of known number."""
        batches = batches.take(math.ceil(maximum / batch_size)).cache()
        with source_errors(texts):
            batches = counted(batches)
        if not int(batches.cardinality()):
            raise InputError(
                f"held_out: no {self.kind} fell into that share; give a larger one, text to "
                "measure on, or 0 to measure on nothing"
            )
        return batches

    def _layers(self):
        encoder = getattr(self.model, "encoder", self.model)
        return [encoder.embeddings, *encoder.blocks]
