"""`Task`: text in, answers out; the one object between a user's rows and a served model.

In: texts (lists, arrays, `tf.data`, or rows of `tfmodels.data`). Out: a trained model, answers
that a person reads, a directory that can be loaded again, a SavedModel that takes strings. A task
holds a Keras model (`task.model`) and its tokenizer (`task.tokenizer`); its verbs have the names
and signatures of Keras. What differs between tasks stands in the file of each.

Nothing here changes the process: no seed, no dtype policy, no strategy is set.
"""

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfmodels.checkpoints.files import check_vocabulary_size
from tfmodels.data.datasets import source_errors
from tfmodels.data.memory import as_source
from tfmodels.data.rows import Scan, Source
from tfmodels.data.split import split
from tfmodels.errors import InputError
from tfmodels.files import whole_directory
from tfmodels.layers import kernels
from tfmodels.serving import saved_model
from tfmodels.tasks.arguments import (
    as_pair,
    check_callbacks,
    check_compiling,
    check_fitting,
    check_loss,
)
from tfmodels.tasks.unknown import describe_unknown
from tfmodels.text.batching import mapped
from tfmodels.training import loop
from tfmodels.training.callbacks import several
from tfmodels.training.optimizer import make_optimizer

if keras.backend.backend() != "tensorflow":
    raise InputError(
        f"KERAS_BACKEND is {keras.backend.backend()}: tasks read text with TensorFlow; set "
        "KERAS_BACKEND=tensorflow (tfmodels.layers and tfmodels.models run on other backends)"
    )

# Largest learning rates where none is given.
RATE_FROM_SCRATCH, RATE_FROM_PRESET = 5e-4, 1e-4


class TrainingData(NamedTuple):
    """What `fit` trains on.

    Attributes:
        batches: function of a step: the endless dataset of training batches from there on.
        steps: steps of one pass over the rows; a fraction where batches continue across passes.
        validation: batches to measure on, or None.
        line: what it is, for a person.
        callbacks: measure on held-out rows what Keras' metrics cannot.
        tokens: of a step, where all steps have as many.
    """

    batches: Callable[[int], tf.data.Dataset]
    steps: float
    validation: tf.data.Dataset | None
    line: str
    callbacks: tuple = ()
    tokens: int | None = None


class Task:
    """The base of all tasks.

    Args:
        model: a Keras model; None if it is made in `fit`, when the labels are known.
        tokenizer: its tokenizer.
        max_length: maximum number of tokens of a text.
        started: what the weights start from, for a person; "from scratch" without a preset.

    Attributes:
        application: name of the task in `config.json`, in exports and on the command line.
        generates: whether the model writes texts token by token.
        columns: what a row has.
        text_columns: how many of them, from the first on, are texts.
        labelled: whether the column after the texts is a label, by which held-out rows are
            stratified.
        monitor: name in the logs of the value that decides which weights are kept.
        default_epochs: epochs of `fit` if none are given.
        history: Keras' `History` of the last `fit`, or None.
    """

    application: str
    generates = False
    columns: tuple[str, ...] = ("text", "label")
    text_columns = 1
    labelled = False
    monitor: str | None = None
    default_epochs = 2
    label_smoothing = 0.0
    smooths = False  # whether the loss has label smoothing
    weighs_classes = False  # whether `fit` takes `class_weight`
    data_options: tuple[str, ...] = ()  # arguments of `fit` about its own kind of rows

    def __init__(
        self, model: keras.Model | None, tokenizer: Any, *, max_length: int,
        started: str = "from scratch",
    ) -> None:  # fmt: skip
        self._model, self.tokenizer, self.max_length = model, tokenizer, max_length
        self.started = started
        self.history: Any = None
        self._strategy = tf.distribute.get_strategy()
        self._recipe: dict[str, Any] = {}
        self._functions: dict[Any, Any] = {}
        self._scans: weakref.WeakKeyDictionary[Source, Scan] = weakref.WeakKeyDictionary()
        self.compile()

    @property
    def model(self) -> keras.Model:
        """The Keras model; for your own `compile` and `fit` with `dataset`."""
        if self._model is None:
            raise InputError(
                f"{type(self).__name__}: the model has no head yet; give labels=[...] when you "
                "make the task, or call fit or dataset with labels first"
            )
        return self._model

    def compile(
        self, optimizer: Any = "auto", loss: Any = "auto", metrics: Any = "auto", *,
        learning_rate: float | None = None, warmup: float = 0.1, weight_decay: float = 0.01,
        clip_norm: float = 1.0, ema: float = 0.999, schedule: str = "linear",
        accumulate_steps: int = 1, layer_decay: float = 1.0, label_smoothing: float | None = None,
        remat: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        """Say how to train. What is "auto" is chosen in `fit`, when the number of steps is known.

        Args:
            optimizer: as of `keras.Model.compile`, or "auto": AdamW with warm-up.
            loss: as of `keras.Model.compile`, or "auto": that of the task.
            metrics: as of `keras.Model.compile`, or "auto": those of the task.
            learning_rate: maximum learning rate; 1e-4 from a preset and 5e-4 from scratch if not
                given, 4 times that for a bag, CNN, LSTM or GRU.
            warmup: share of all steps until the maximum learning rate.
            weight_decay: decoupled, not on biases and layer normalizations.
            clip_norm: maximum global norm of the gradients.
            ema: momentum of the average of the weights over the steps, which is what is kept; 0
                keeps the last weights.
            schedule: "linear" (down to zero) or "inverse_sqrt" (of the step), after the warm-up.
            accumulate_steps: steps whose gradients move the weights together.
            layer_decay: factor of the learning rate from each encoder block to the one below.
            label_smoothing: share of the probability that the loss spreads over all labels; as
                the task has it if not given.
            remat: keep less in memory for the gradients, and compute it again: see `keras.remat`.
            **options: further arguments of `keras.Model.compile`, such as `jit_compile`.

        Raises:
            InputError: a setting of the automatic optimizer beside an optimizer of your own.
        """
        recipe = {
            "learning_rate": learning_rate, "warmup": warmup, "weight_decay": weight_decay,
            "clip_norm": clip_norm, "ema": ema, "schedule": schedule,
            "accumulate_steps": accumulate_steps, "layer_decay": layer_decay,
        }  # fmt: skip
        defaults = Task.compile.__kwdefaults__ or {}
        changed = [name for name, value in recipe.items() if value != defaults[name]]
        if optimizer != "auto" and changed:
            raise InputError(
                f"compile: {changed[0]} is a setting of optimizer='auto'; set it in your own "
                "optimizer, or leave the optimizer out"
            )
        check_compiling(options, defaults)
        check_loss(loss)
        if not 0 <= warmup < 1:
            raise InputError(f"warmup {warmup}: give a share of all steps, from 0 to below 1")
        if label_smoothing and loss != "auto":
            raise InputError(
                "label_smoothing is a setting of loss='auto'; give it to your own loss"
            )
        if label_smoothing and not self.smooths:
            raise InputError("label_smoothing: the loss of this task takes none; leave it out")
        self._recipe, self._remat = recipe, remat
        self._compiling = {"optimizer": optimizer, "loss": loss, "metrics": metrics, **options}
        self._label_smoothing = self.label_smoothing if label_smoothing is None else label_smoothing

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = 32, epochs: int | None = None,
        verbose: str | int = "auto", callbacks: Any = None, validation_split: float = 0.0,
        validation_data: Any = None, shuffle: bool = True, class_weight: Any = None,
        sample_weight: Any = None, *, steps_per_epoch: int | None = None, steps: int | None = None,
        evaluations: int = 1, evaluate_every: int | None = None, patience: int | None = None,
        seed: int = 0, states: str | Path | None = None, save_every: int | None = None,
        nonfinite: str = "stop", **data_options: Any,
    ) -> keras.callbacks.History:  # fmt: skip
        """Train.

        Args:
            x: texts: a list, an array, a `tf.data.Dataset` of `(text, label)`, or rows of
                `tfmodels.data`, which have their labels.
            y: the labels, one for each text.
            batch_size: texts of a step, on all devices together; None is 32.
            epochs: passes over the rows.
            verbose: "auto": one line of progress for each evaluation on standard error (on a
                terminal the same line again); 0: none; 1 or 2: as of Keras.
            callbacks: Keras callback, or several; they see the end of an epoch at each evaluation.
            validation_split: share of the rows to hold out and measure on, drawn at random and
                stratified by label.
            validation_data: `(texts, labels)`, a dataset or rows to measure on instead.
            shuffle: read the rows in another order in every pass; batches are of similar length.
            class_weight: dict from label (name or number) to its weight, or "balanced".
            sample_weight: weight of each row.
            steps_per_epoch: steps that count as an epoch, for rows without an end.
            steps: total number of steps, in place of epochs.
            evaluations: evaluations in each epoch; the best weights of all are kept.
            evaluate_every: steps between two evaluations, in place of `evaluations`.
            patience: evaluations without a better one after which training ends.
            seed: of the order of the rows and of what is held out.
            states: directory for the state of the training; `fit` resumes from the newest there.
            save_every: steps between two states besides those at each evaluation.
            nonfinite: "stop" or "skip" after a loss that is not finite.
            **data_options: of the task's own kind of rows.

        Returns:
            Keras' `History`: one value for each evaluation; `best` is the number of the evaluation
            whose weights were kept.

        Raises:
            InputError: the data cannot be read or used, or the loss is not finite.
        """
        check_fitting(data_options, self.data_options)
        batch_size = 32 if batch_size is None else batch_size
        callbacks = several(callbacks)
        if class_weight is not None and not self.weighs_classes:
            raise InputError("class_weight is for TextClassifier and TokenClassifier; leave it out")
        if patience is not None and self.monitor is None:
            raise InputError(
                "patience: this task keeps its last weights; give "
                "callbacks=[keras.callbacks.EarlyStopping('val_loss', patience=3)]"
            )
        if patience is not None and validation_data is None and not validation_split:
            raise InputError(
                "patience needs held-out rows; give validation_data= or validation_split="
            )
        check_callbacks(callbacks, self._compiling["optimizer"])
        with self._strategy.scope():
            data = self._training_data(
                x, y, sample_weight, validation_data, validation_split, batch_size,
                seed if shuffle else None, steps_per_epoch or steps, **data_options,
            )  # fmt: skip
            of_pass = steps_per_epoch or data.steps
            if of_pass < 0:
                raise InputError("the dataset has no end; give steps_per_epoch= or steps=")
            epochs = self.default_epochs if epochs is None else epochs
            total = steps or int(epochs * of_pass)
            if not total:
                raise self._no_step(epochs, epochs * of_pass, batch_size, **data_options)
            if evaluate_every or steps:
                ends = loop.regular_steps(total, evaluate_every)
            else:
                ends = [*loop.evaluation_steps(int(of_pass) or 1, epochs, evaluations)[:-1], total]
            rate = self._compile_for(total)
            if verbose != 0:
                print(f"{data.line}; {self.started}", file=sys.stderr)
                if unknown := describe_unknown(self.tokenizer, self._sources[0], self.text_columns):
                    print(unknown, file=sys.stderr)
            with source_errors(*self._sources), self._training():
                history = loop.fit(
                    self.model,
                    data.batches,
                    total,
                    ends,
                    epochs=total / of_pass if steps else epochs,
                    validation=data.validation,
                    callbacks=(*data.callbacks, *callbacks),
                    class_weight=self._class_weight(class_weight),
                    monitor=self.monitor if data.validation is not None else None,
                    patience=patience,
                    warmup_steps=int(self._recipe["warmup"] * total),
                    states=states,
                    save_every=save_every,
                    nonfinite=nonfinite,
                    advice=f"give a smaller learning rate than {rate:g}",
                    tokens=data.tokens,
                    verbose=verbose,
                )
        history.data = data.line
        self.history = history
        return history

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int = 32, *, mistakes: int = 0
    ) -> dict:
        """Measure the model on labelled texts.

        Args:
            x: as of `fit`.
            y: as of `fit`.
            batch_size: texts of a step.
            mistakes: number of the worst mistakes to return, under "worst_mistakes".

        Returns:
            dict of JSON values: the metrics of the task.

        Raises:
            InputError: the data cannot be read or used.
        """
        raise NotImplementedError

    def predict(self, x: Any, batch_size: int | None = 32, verbose: Any = None) -> list:
        """Answer texts, in their order.

        Args:
            x: a list or array of strings, or a dataset of them.
            batch_size: texts of a step.
            verbose: as in Keras; has no effect.

        Returns:
            list: for each text what a person reads.

        Raises:
            InputError: no texts.
        """
        texts, size = self._texts(x), batch_size or 32
        return [answer for part in parts_of(texts, 256) for answer in self.answers(part, size)]

    def answers(self, texts: list[str], batch_size: int = 32) -> list:
        """Return the answers to a list of texts; what `predict` calls for parts of its texts."""
        raise NotImplementedError

    def dataset(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, batch_size: int = 32,
        shuffle: bool = False, seed: int = 0,
    ) -> tf.data.Dataset:  # fmt: skip
        """Make the batches that `task.model` takes, for your own loop.

        Args:
            x: as of `fit`.
            y: as of `fit`; without it batches have no labels.
            sample_weight: as of `fit`.
            batch_size: texts of a batch.
            shuffle: for training: another order in every pass, texts of similar length together;
                else the rows stay in their order.
            seed: of the order.

        Returns:
            A dataset of known length, of `batch` or `(batch, labels)`.

        Raises:
            InputError: the data cannot be read or used.
        """
        if y is None and not isinstance(x, Source | tf.data.Dataset):
            return self._batches_of_texts(self._texts(x), batch_size)
        rows = self._read(x, y, sample_weight)
        self._learn(rows)
        return self._batches(rows, batch_size, seed if shuffle else None, in_order=not shuffle)

    def save(self, directory: str | Path) -> None:
        """Write a directory that `load` and the command line read, whole or not at all.

        Args:
            directory: must not exist yet, or be empty.

        Raises:
            InputError: it exists, or cannot be written.
        """
        with whole_directory(directory, "another directory") as path:
            self.write(path)

    def write(self, directory: Path) -> None:
        """Write the files of `save` into an existing directory."""
        raise NotImplementedError

    def save_to_preset(self, directory: str | Path, *, approximate_gelu: bool = False) -> None:
        """Write a preset that KerasHub's `from_preset` loads, whole or not at all.

        It has the backbone and the tokenizer. Of heads it has that of a `TextClassifier` with
        `pooling="first"` on a BERT, as a `BertTextClassifier`; KerasHub has none of the others.

        Args:
            directory: must not exist yet, or be empty.
            approximate_gelu: whether a BERT with the exact GELU may be written. KerasHub's BERT
                computes the tanh approximation, whose states differ by some 2e-3.

        Raises:
            InputError: keras-hub is not installed, has no such model or tokenizer, or would
                compute something else; or the directory exists or cannot be written.
        """
        from tfmodels.checkpoints.presets import write_preset

        with whole_directory(directory, "another directory") as path:
            write_preset(
                self._whole_model(), path, self.tokenizer, approximate_gelu=approximate_gelu,
                labels=getattr(self, "labels", None),
            )  # fmt: skip

    def _whole_model(self) -> keras.Model:
        """Return the model, or the encoder if it has no head yet."""
        return self.model

    def signatures(self) -> dict:
        """Return the functions of an export with their inputs; see `serving.saved_model.save`."""
        raise NotImplementedError

    def export(
        self, root: str | Path, *, frozen: bool = False, card: str | Path | None = None
    ) -> Path:
        """Write the next version of a SavedModel that takes strings and returns answers.

        Args:
            root: directory of the versions, such as `saved_models/reviews`.
            frozen: whether the weights become constants of the graph; in a model that generates,
                those of its steps, where the time goes.
            card: the model's card; the version gets it without examples and pictures.

        Returns:
            Path of the new version.

        Raises:
            InputError: the model cannot be exported, or `root` cannot be written.
        """
        self._check_whole()
        signatures, in_steps = self.signatures(), frozen and self.generates
        if in_steps:
            weights = self.model.count_params() * tf.as_dtype(self.model.compute_dtype).size
            saved_model.check_room(weights * len(signatures), len(signatures))
        with kernels.folding(in_steps):
            return saved_model.save(
                root, signatures, tokenizer=self.tokenizer, task=self._contract(), card=card,
                frozen=frozen and not in_steps, labels=self._served_labels(), **self._warmup(),
            )  # fmt: skip

    def freeze(self, layers: int = 0, embeddings: bool = True) -> None:
        """Keep the embeddings, and the first blocks of the encoder, as they are in training.

        Args:
            layers: number of encoder blocks, counted from below.
            embeddings: whether the embeddings stay; they do with `layers`.

        Raises:
            InputError: the encoder has fewer blocks.
        """
        table, *blocks = self._layers()
        if layers > len(blocks):
            raise InputError(f"freeze_layers {layers}: the encoder has {len(blocks)} blocks")
        table.trainable = not (embeddings or layers)
        for block in blocks[:layers]:
            block.trainable = False

    # To override in a task.

    def _read(self, x: Any, y: Any = None, sample_weight: Any = None) -> Source:
        """Return the rows of what `fit` was given."""
        return as_source(x, y, sample_weight, self.columns)

    def _no_step(
        self, epochs: float, steps: float, batch_size: int, **data_options: Any
    ) -> InputError:
        """Return the error about a training of less than one step."""
        return InputError(
            f"batch_size {batch_size}: {epochs} epochs have {int(steps * batch_size)} examples, "
            "less than one batch; give a smaller batch_size (or max_length, of running text) or "
            "more data"
        )

    def _learn(self, rows: Source) -> None:
        """Take from the rows what the model needs to be made, such as labels."""

    def _batches(
        self, rows: Source, batch_size: int, seed: int | None = None, in_order: bool = False
    ) -> tf.data.Dataset:
        """Return one pass over the rows, of known length; see `dataset`."""
        raise NotImplementedError

    def _batches_of_texts(self, texts: Any, batch_size: int) -> tf.data.Dataset:
        """Return batches without labels, in the order of the texts."""
        raise NotImplementedError

    def _objective(self) -> dict:
        """Return the loss and the metrics of the task, as arguments of `compile`."""
        raise NotImplementedError

    def _training(self) -> contextlib.AbstractContextManager:
        """Return what to enter for the steps of a training."""
        return contextlib.nullcontext()

    def _measuring(self, rows: Source, batch_size: int) -> tuple:
        """Return callbacks that put more into the logs of each evaluation."""
        return ()

    def _describe(self, rows: Source) -> str:
        """Return one line about the training rows."""
        return f"{self._scan(rows).rows} training rows"

    def _check_whole(self) -> None:
        """Refuse to export parts that do not fit each other."""
        check_vocabulary_size(self.tokenizer, self.model.config)

    def _layers(self) -> list:
        """Return the embeddings and the blocks of the encoder, from below."""
        raise NotImplementedError

    def _warmup(self) -> dict:
        """Return `max_length` and `max_words` of the warm-up; see `serving.saved_model.save`."""
        return {"max_length": self.max_length}

    def _contract(self) -> str:
        """Return the name in `serving.contracts` of what the signatures promise."""
        return self.application

    def _served_labels(self) -> list[str] | None:
        """Return the labels that an export names; None if it has none."""
        labels = getattr(self, "labels", None)
        return None if labels is None else list(labels)

    # Shared by all tasks.

    def _label_column(self, rows: Source) -> str | None:
        return rows.columns[self.text_columns] if self.labelled else None

    def _scan(self, rows: Source) -> Scan:
        """Return the number of rows and of each label; the rows are read for it once."""
        if rows not in self._scans:
            self._scans[rows] = rows.scan(self._label_column(rows))
        return self._scans[rows]

    def _truncated(self, rows: Source, chunks: tf.data.Dataset, longer: Callable) -> int:
        """Return how many rows are longer than what is read of them; they are read for it.

        Args:
            rows: of which `chunks` are.
            chunks: dataset of the texts of C rows.
            longer: function of such texts that returns which are too long: bool `[C]`.
        """
        numbers = mapped(chunks, lambda *row: tf.math.count_nonzero(longer(*row)))
        with source_errors(rows):
            return int(numbers.reduce(np.int64(0), lambda total, number: total + number))

    def _describe_cut(
        self, rows: Source, chunks: tf.data.Dataset, longer: Callable, limits: str
    ) -> str:
        """Return the end of a line about training rows: how many of them are cut, if any."""
        number = 0 if rows.endless else self._truncated(rows, chunks, longer)
        return f"; cut to {limits}: {number} of them" if number else ""

    def _training_data(
        self, x: Any, y: Any, sample_weight: Any, validation_data: Any, validation_split: float,
        batch_size: int, seed: int | None, steps: int | None,
    ) -> TrainingData:  # fmt: skip
        rows = self._read(x, y, sample_weight)
        held_out = None
        if validation_data is not None:
            held_out = self._read(*as_pair(validation_data))
        elif validation_split:
            rows, held_out = split(rows, validation_split, self._label_column(rows), seed=seed or 0)
        self._sources = [rows, *([] if held_out is None else [held_out])]
        self._learn(rows)

        with source_errors(rows):
            one_pass = self._batches(rows, batch_size, seed)
            steps = steps or int(one_pass.cardinality())

        def batches(step):
            return one_pass.repeat().skip(step)

        validation, callbacks = None, ()
        if held_out is not None:
            self._check(held_out)
            validation = self._batches(held_out, batch_size)
            callbacks = self._measuring(held_out, batch_size)
        return TrainingData(batches, steps, validation, self._describe(rows), callbacks)

    def _check(self, rows: Source) -> None:
        """Refuse rows to measure on that do not fit those that are trained on."""

    def _default_rate(self) -> float:
        return RATE_FROM_SCRATCH if self.started == "from scratch" else RATE_FROM_PRESET

    def _compile_for(
        self, total_steps: int, model: keras.Model | None = None, objective: dict | None = None,
        default_rate: float | None = None,
    ) -> float:  # fmt: skip
        """Compile a model for a number of steps; return the maximum learning rate.

        Args:
            total_steps: of the training.
            model: that of the task, if not given.
            objective: see `_objective`; that of the task, if not given.
            default_rate: learning rate if the user gives none; that of the task, if not given.
        """
        recipe, arguments = dict(self._recipe), dict(self._compiling)
        model, objective = model or self.model, objective or self._objective()
        for name in ("loss", "metrics"):
            if isinstance(arguments[name], str) and arguments[name] == "auto":
                arguments[name] = objective[name]
        given, needed = arguments["metrics"], objective["metrics"]
        if isinstance(given, list | tuple) and isinstance(needed, list):  # which choose the weights
            own = [m if isinstance(m, str) else getattr(m, "name", None) for m in given]
            arguments["metrics"] = [*given, *(m for m in needed if m.name not in own)]
        rate = recipe.pop("learning_rate")
        if rate is None:
            rate = default_rate or self._default_rate()
        if arguments["optimizer"] == "auto":
            arguments["optimizer"] = make_optimizer(
                total_steps,
                learning_rate=rate,
                layers=self._layers(),
                float16=model.dtype_policy.compute_dtype == "float16",
                **recipe,
            )
        model.rematerialize(self._remat)
        model.compile(**arguments)
        self._functions.clear()
        return rate

    def _class_weight(self, given):
        """Return Keras' `class_weight`: dict from the number of a class to its weight."""
        return given

    def _texts(self, x: Any) -> Iterator[str]:
        """Return the texts to answer."""
        source = as_source(x, columns=("text",))
        with source_errors(source):
            for _, (text, *_rest) in source.rows():
                yield text

    def _function(self, name, make):
        """Return the traced function of a name, made once."""
        if name not in self._functions:
            self._functions[name] = make()
        return self._functions[name]


def batches_by_length(texts: list, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield texts in batches of similar length, with the rows where they stand in the list.

    Args:
        texts: str, bytes, or tuples of these.
        batch_size: texts of a batch.

    Yields:
        `(rows, batch)`: int `[B]`, and bytes `[B]`, or `[B, N]` of tuples of N texts.
    """

    def encoded(text):
        return text.encode() if isinstance(text, str) else text

    tuples = len(texts) > 0 and isinstance(texts[0], tuple)
    encoded_texts = np.empty((len(texts), len(texts[0])) if tuples else len(texts), object)
    for row, text in enumerate(texts):
        encoded_texts[row] = [*map(encoded, text)] if tuples else encoded(text)
    sizes = [sum(map(len, text)) if tuples else len(text) for text in encoded_texts]
    order = np.argsort(sizes, kind="stable")
    for first in range(0, len(texts), batch_size):
        rows = order[first : first + batch_size]
        yield rows, encoded_texts[rows]


def parts_of(items: Iterable, size: int) -> Iterator[list]:
    """Yield items in lists of at most `size`."""
    part = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
