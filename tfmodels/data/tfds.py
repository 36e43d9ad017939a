"""Rows of TensorFlow Datasets, by the name `tfds:NAME[/CONFIG][:VERSION][:SPLIT]`.

TensorFlow Datasets and TensorFlow are imported when a data set is opened.
"""

import os
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tfmodels.data.rows import Row, Source, text_of
from tfmodels.errors import InputError, first_line

_SPEC = re.compile(r"tfds:(?P<set>[^:]+(:\d+\.\d+\.\d+)?)(:(?P<split>.+))?")
_BLOCK_ROWS = 4096  # of a block for shuffling; opening one takes tens of milliseconds
_MAX_BLOCKS = 4096


class TfdsSource(Source):
    """A split of a data set of TensorFlow Datasets, with scalar columns as text.

    Class labels become their names, numbers become text. Rows are numbered in the order of the
    shards. A data set that is not prepared is downloaded if possible.
    """

    def __init__(self, spec: str, columns: Sequence[str]) -> None:
        """Load the metadata of the data set and check the columns; see `tables.open_source`.

        Args:
            spec: name with an optional split in TFDS notation, `train[:10%]` or `train+test`.
            columns: names of scalar features: text, numbers or class labels.
        """
        super().__init__(spec, columns)
        match = _SPEC.fullmatch(spec)
        if not match:
            raise InputError(f"{spec}: write tfds:NAME or tfds:NAME:SPLIT")
        try:
            import tensorflow_datasets as tfds
        except ImportError as error:
            raise InputError(
                f"{spec}: TensorFlow Datasets cannot be imported ({error}); run: "
                "pip install tensorflow-datasets"
            ) from None
        self._tfds = tfds
        self._builder = self._prepared_builder(match["set"])
        self._features = self._builder.info.features
        for column in self.columns:
            self._check_column(column)
        splits = self._builder.info.splits
        try:
            instruction = tfds.core.ReadInstruction.from_spec(match["split"] or "train")
            parts = instruction.to_absolute(splits)
        except (ValueError, KeyError, AssertionError):
            raise InputError(
                f"{spec}: invalid split {match['split'] or 'train'!r}; give one of {list(splits)}"
            ) from None
        # (number of the first row, split, first, end) of each range of rows
        self._parts: list[tuple[int, str, int, int]] = []
        self._row_count = 0
        for part in parts:
            first = part.from_ or 0
            end = splits[part.splitname].num_examples if part.to is None else part.to
            self._parts.append((self._row_count, part.splitname, first, end))
            self._row_count += max(end - first, 0)
        if not self._row_count:
            raise InputError(f"{spec}: the split has no rows; give one of {list(splits)}")

    def _prepared_builder(self, name: str) -> Any:
        tfds = self._tfds
        try:
            builder = tfds.builder(name, data_dir=os.environ.get("TFDS_DATA_DIR"))
        except (ValueError, OSError) as error:
            raise InputError(
                f"{self.name}: unknown to TensorFlow Datasets ({first_line(error)[:200]}); "
                "check the name, or set TFDS_DATA_DIR to the directory in which it is prepared"
            ) from None
        if builder.is_prepared():
            return builder
        try:
            builder.download_and_prepare()
        except Exception as error:  # network, disk, checksum, missing packages
            raise InputError(
                f"{self.name}: not prepared in {builder.data_dir} and cannot be prepared here "
                f"({type(error).__name__}: {first_line(error)[:200]}); on a connected machine run "
                f"`tfds build {name} --data_dir DIR`, copy DIR and set TFDS_DATA_DIR to it"
            ) from None
        return builder

    def _check_column(self, column: str) -> None:
        features = dict(sorted(self._features.items()))
        if column not in features:
            raise InputError(
                f"{self.name}: no column named {column!r}; the columns are {list(features)}"
            )
        feature = features[column]
        if feature.shape != ():
            raise InputError(
                f"{self.name}: column {column!r} ({type(feature).__name__}) is not a scalar; give "
                f"one of text, numbers or labels; the columns are {list(features)}"
            )

    def place(self, line: int) -> str:
        return f"{self.name} row {line}"

    def _contents(self) -> tuple:
        return self._builder.info.full_name, self._parts

    def _in_order(self) -> Iterator[Row]:
        for part in self._parts:
            yield from self._read(*part)

    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        size = max(_BLOCK_ROWS, -(-self._row_count // _MAX_BLOCKS))
        blocks = [
            (number + at - first, split, at, min(at + size, end))
            for number, split, first, end in self._parts
            for at in range(first, end, size)
        ]
        rng.shuffle(blocks)
        for block in blocks:
            yield from self._read(*block)

    def _read(self, number: int, split: str, first: int, end: int) -> Iterator[Row]:
        for row, values in self._values(number, split, first, end):
            yield Row(row, row, self._texts(values, row))

    def _values(self, number: int, split: str, first: int, end: int) -> Iterator[tuple[int, tuple]]:
        """Yield the number of each row in a range, and its values as TFDS returns them."""
        import tensorflow as tf

        columns, decode = self._columns_of_set(), self._tfds.decode
        # Only the columns are decoded. The sets of translations have a type of their own, with
        # which TFDS decodes all languages.
        partly = type(self._features) is self._tfds.features.FeaturesDict
        dataset = self._builder.as_dataset(
            split=f"{split}[{first}:{end}]",
            decoders=decode.PartialDecoding(dict.fromkeys(columns, True)) if partly else None,
            # Reading one shard after the other keeps row numbers the same in every pass; a cache
            # would hold the data set in memory.
            read_config=self._tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )
        # The parts of a feature that has several are values of their own, in the order of names.
        parts = dataset.map(lambda row: tuple(tf.nest.flatten([row[column] for column in columns])))
        batches = parts.ragged_batch(64)
        try:
            for batch in batches.as_numpy_iterator():
                arrays = (a.tolist() if hasattr(a, "tolist") else a.to_list() for a in batch)
                for values in zip(*arrays, strict=True):
                    yield number, values
                    number += 1
        except tf.errors.OpError as error:
            reason = first_line(error.message)[:200]
            raise InputError(
                f"{self.place(number)}: cannot be read ({reason}); prepare the data set again"
            ) from None

    def _columns_of_set(self) -> Sequence[str]:
        return self.columns

    def _texts(self, values: tuple[Any, ...], number: int) -> tuple[str, ...]:
        """Return the values of a row as text."""
        texts = []
        for column, value in zip(self.columns, values, strict=True):
            names = getattr(self._features[column], "names", None)
            if isinstance(value, bytes):
                try:
                    texts.append(value.decode())
                except UnicodeDecodeError:
                    raise InputError(
                        f"{self.place(number)}: column {column!r} is not UTF-8 text; "
                        "give a column of text"
                    ) from None
            elif names is None:
                try:
                    texts.append(text_of(value))
                except TypeError as error:  # NaN
                    raise InputError(
                        f"{self.place(number)}: column {column!r}: {error}; use a split without it"
                    ) from None
            elif 0 <= value < len(names):
                texts.append(names[value])
            else:
                raise InputError(
                    f"{self.place(number)}: {value} in column {column!r} is not one of the "
                    f"{len(names)} labels; use a split that has labels"
                )
        return tuple(texts)
