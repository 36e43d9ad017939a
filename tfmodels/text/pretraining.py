"""Batches for BERT's pretraining, masked anew in every pass over the examples.

In: the examples of `examples.py`, made from text while training (`text_passes`) or read from
files (`records.record_passes`), as `tf.data` datasets of strings. Out: batches of masked tokens,
with the original tokens and whether one text follows the other.

B = examples of a batch, S = padded length, M = masked positions.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.batching import mapped, no_autograph
from tfmodels.text.examples import Example, ExampleSettings, examples
from tfmodels.text.masking import WordMasker, hashed_int
from tfmodels.text.packed_rows import PackedRows
from tfmodels.text.wordpiece import WordPieceTokenizer

FEW = 20  # number of first texts among which a minimum is held out

_SHUFFLED = 16_384  # size of the shuffle buffer, in examples
_YIELDED = 64  # examples that leave Python at once
_HELD_OUT, _SHUFFLE = 1, 4  # starts of hashes, which make them independent of each other

# A dataset of serialized examples for each number of a pass, an int or an int64 scalar.
Passes = Callable[[tf.Tensor | int], tf.data.Dataset]


class Texts(Protocol):
    """Documents that are read anew in every pass, such as `tfmodels.data.documents.TextFiles`.

    Attributes:
        failure: the `InputError` that ended a dataset, which tf.data turns into its own error.
    """

    failure: InputError | None

    def documents(self) -> Iterator[tuple[int, list[str]]]:
        """Yield `(number, sentences)`, numbers ascending."""

    def passages(self) -> Iterator[tuple[int, str, bool]]:
        """Yield `(number, text, ends)`: pieces of documents, and whether one ends there."""

    def fingerprint(self) -> str:
        """Return a text that differs between different contents."""


def held_out_numbers(
    texts: Iterable[tuple[int, Any]], share: float, seed: int, minimum: int = 1
) -> Callable[[int], bool]:
    """Choose what is held out for validation.

    A hash draws a share of the texts, and a minimum among the first ones. Every process that
    reads them draws the same.

    Args:
        texts: tuples that begin with a number; the first `FEW` are read.
        share: of the texts, below 1; 0: none.
        seed: of the draw.
        minimum: minimum number of texts to hold out, and to leave.

    Returns:
        function from a text's number to whether it is held out.

    Raises:
        InputError: `share` is out of range, or there are fewer than two times `minimum` texts.
    """
    if not share:
        return lambda number: False
    if not 0 < share < 1:
        raise InputError(f"held_out={share}; give a share of the texts from 0 to below 1")
    first = [number for number, *_ in itertools.islice(texts, FEW)]
    if len(first) < 2 * minimum:
        raise InputError(
            f"too few documents ({len(first)}) to hold {minimum} out; put blank lines between "
            "documents, or hold none out (--held_out 0)"
        )

    def drawn(number):
        return hashed_int(_HELD_OUT, seed, number)

    always = sorted(first, key=drawn)[:minimum]
    return lambda number: number in always or drawn(number) < share * 2**32


def serialized(example: Example, settings: ExampleSettings) -> bytes:
    """Return an example as a serialized `tf.train.Example`, for `parsed`."""
    values = {
        "token_ids": example.token_ids.tolist(),
        "continues": example.continues.astype(int).tolist(),
        "first_length": [example.first_length],
        "number": [example.number],
    }
    if settings.task != "mlm":
        values["label"] = [example.label]
    feature = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=value))
        for name, value in values.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(
        deterministic=True
    )


def parsed(strings: tf.Tensor, pad_id: int, settings: ExampleSettings) -> dict[str, tf.Tensor]:
    """Return unmasked examples, padded.

    Args:
        strings: string [B], from `serialized`.
        pad_id: id of [PAD].
        settings: of the examples.

    Returns:
        `token_ids`, `segment_ids` int32 [B, S], `padding_mask`, `continues` bool [B, S],
        `number` int64 [B], and `label` int32 [B] unless the task is "mlm".

    Raises:
        tf.errors.InvalidArgumentError: an example is longer, or has no label (when it runs).
    """
    ragged = tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)
    one = tf.io.FixedLenFeature([], tf.int64)
    features = {"token_ids": ragged, "continues": ragged, "first_length": one, "number": one}
    if settings.task != "mlm":
        features["label"] = one
    example = tf.io.parse_example(strings, features)
    length = example["token_ids"].row_lengths()[:, None]  # [B, 1]
    tf.debugging.assert_less_equal(
        length,
        tf.constant(settings.max_length, tf.int64),
        "the examples are longer than max_length; give the max_length they were made with",
    )
    shape = [None, settings.max_length]
    place = tf.range(settings.max_length, dtype=tf.int64)[None]  # [1, S]
    padding_mask = place < length
    result = {
        "token_ids": tf.cast(example["token_ids"].to_tensor(pad_id, shape=shape), tf.int32),
        "segment_ids": tf.cast(
            (place >= example["first_length"][:, None]) & padding_mask, tf.int32
        ),
        "padding_mask": padding_mask,
        "continues": tf.cast(example["continues"].to_tensor(0, shape=shape), tf.bool),
        "number": example["number"],
    }
    if "label" in example:
        result["label"] = tf.cast(example["label"], tf.int32)
    return result


def text_passes(
    texts: Texts, tokenizer: WordPieceTokenizer, settings: ExampleSettings, *, split: str = "all",
    held_out: float = 0.0, seed: int | None = None,
) -> Passes:  # fmt: skip
    """Return passes over text without files in between: examples are made while training.

    Args:
        texts: to make the examples of.
        tokenizer: a `WordPieceTokenizer`.
        settings: of the examples. Every pass makes other pairs.
        split: "all" documents, "train" without those held out, or "validation", only those.
        held_out: the share of documents held out.
        seed: shuffles the examples within a buffer; None keeps the order of the text.

    Returns:
        function from a pass number to a dataset of string [], for `training_batches`.
    """

    def chosen():
        share = 0.0 if split == "all" else held_out
        is_held_out = held_out_numbers(
            texts.documents(), share, settings.seed, settings.min_documents
        )
        for number, sentences in texts.documents():
            if is_held_out(number) == (split == "validation"):
                yield number, sentences

    def chunks(pass_number):
        stream = examples(chosen(), tokenizer, settings, pass_number)
        while chunk := [serialized(each, settings) for each in itertools.islice(stream, _YIELDED)]:
            yield chunk

    return generated_passes(chunks, texts, tf.TensorSpec([None], tf.string), seed)


def generated_passes(
    chunks: Callable[[int], Iterator], texts: Texts, spec: tf.TensorSpec, seed: int | None
) -> Passes:
    """Return passes over examples that Python generates.

    Args:
        chunks: function from a pass number to an iterator of chunks of examples.
        texts: what they are made of; its `failure` is set.
        spec: of a chunk.
        seed: see `text_passes`.
    """

    def generate(pass_number):
        try:
            yield from chunks(int(pass_number))
        except InputError as error:
            texts.failure = error
            raise

    def one_pass(pass_number):
        pass_number = tf.cast(pass_number, tf.int64)
        rows = tf.data.Dataset.from_generator(generate, args=[pass_number], output_signature=spec)
        return rows.unbatch() if seed is None else shuffled(rows.unbatch(), seed, pass_number)

    return one_pass


def shuffled(dataset: tf.data.Dataset, seed: int, pass_number: tf.Tensor | int) -> tf.data.Dataset:
    """Shuffle examples, in another order in every pass."""
    seed = hashed_int(_SHUFFLE, seed) + pass_number
    # `shuffle` mixes in the seed of `tf.random.set_seed`, and fails if that is 0 and its own a
    # symbolic tensor, as it is in a `flat_map`.
    graph = tf.compat.v1.get_default_graph()
    kept, graph.seed = graph.seed, 1
    try:
        return dataset.shuffle(_SHUFFLED, seed=seed, reshuffle_each_iteration=False)
    finally:
        graph.seed = kept


def training_batches(
    one_pass: Passes, tokenizer: WordPieceTokenizer, batch_size: int, settings: ExampleSettings, *,
    seed: int = 0, passes: int | None = None, mask_rate: float = 0.15, whole_words: bool = True,
    dynamic: bool = True, start: int = 0, drop_remainder: bool = True, packing: bool = False,
) -> tf.data.Dataset:  # fmt: skip
    """Return masked batches, pass after pass; without `packing` of one shape.

    Passes follow each other without a gap: a batch may contain the end of one and the beginning
    of the next.

    Args:
        one_pass: from `text_passes` or `records.record_passes`.
        tokenizer: a `WordPieceTokenizer` with [MASK].
        batch_size: B.
        settings: of the examples.
        seed: of the masks.
        passes: number of passes; None never ends.
        mask_rate: see `masking.WordMasker`.
        whole_words: likewise.
        dynamic: whether every pass has its own masks; otherwise all have those of the first.
        start: number of batches to skip; the rest is as if they had been read. Whole passes are
            skipped for free where a pass knows its length (records), the rest unparsed; passes
            over text are made again.
        drop_remainder: whether to drop a last batch that is not full.
        packing: whether to put the examples of a batch into as few rows of `max_length` tokens
            as they need: the same examples with the same masks in less time.

    Returns:
        dataset of `(inputs, labels)`. Inputs: `token_ids`, `segment_ids` int32 [B, S],
        `padding_mask` bool [B, S], `masked_positions` int32 [B, M], 0 where unused. Labels:
        `masked_lm` int32 [B, M], the original ids, -1 where unused, and, unless the task is
        "mlm", `next_sentence` int32 [B]. S is `max_length`, M is
        `masking.max_masked(max_length, mask_rate)`. Its attribute `split_by` is a function of a
        function that splits batches of strings: the dataset with each batch split before it is
        parsed and masked, for a worker that takes its rows of each batch (`models.workers`).
        With `packing` see `_packed`.

    Raises:
        InputError: the vocabulary has no [MASK], or an argument does not fit.
    """
    if batch_size < 1 or start < 0 or (passes is not None and passes < 1):
        raise InputError(
            f"batch_size={batch_size}, passes={passes}, start={start}: give at least one example "
            "and one pass, and no negative start"
        )
    masker = WordMasker(tokenizer, settings.max_length, mask_rate, whole_words, seed)
    skipped, first = start * batch_size, 0
    length = int(one_pass(0).cardinality())  # negative if unknown
    if length > 0:
        first, skipped = divmod(skipped, length)
    limit = 2**40 if passes is None else passes

    def numbered(number):
        again = tf.data.Dataset.from_tensors(number).repeat()
        return tf.data.Dataset.zip((one_pass(number), again))

    def masked(strings, number):
        batch = parsed(strings, tokenizer.pad_id, settings)
        token_ids, positions, masked_lm = masker(
            batch["token_ids"],
            batch["continues"],
            batch["number"],
            number if dynamic else tf.zeros_like(number),
        )
        inputs = {
            "token_ids": token_ids,
            "segment_ids": batch["segment_ids"],
            "padding_mask": batch["padding_mask"],
            "masked_positions": positions,
        }
        labels = {"masked_lm": masked_lm}
        if settings.task != "mlm":
            labels["next_sentence"] = batch["label"]
        return _packed(inputs, labels, tokenizer.pad_id) if packing else (inputs, labels)

    rows = tf.data.Dataset.range(min(first, limit), limit).flat_map(no_autograph(numbered))
    strings = rows.skip(skipped).batch(batch_size, drop_remainder=drop_remainder)
    if passes is not None and length > 0:
        left = max(passes * length - start * batch_size, 0)
        count = left // batch_size if drop_remainder else -(-left // batch_size)
        strings = strings.apply(tf.data.experimental.assert_cardinality(count))

    def split_by(split):
        return mapped(split(strings), masked).prefetch(tf.data.AUTOTUNE)

    batches = split_by(lambda unchanged: unchanged)
    batches.split_by = split_by
    return batches


def _packed(inputs, labels, pad_id):
    """Return a batch with several examples in a row, see `PackedRows`.

    Returns:
        `(inputs, labels)`. Inputs: `token_ids`, `segment_ids`, `sequence_ids` int32 [R, S],
        `masked_positions` int32 [R, M], and, where there are pairs, `sequence_starts` int32
        [R, K]. Labels: `masked_lm` int32 [R, M], `next_sentence` int32 [R, K], -1 where unused.
    """
    mask = inputs["padding_mask"]
    lengths = tf.reduce_sum(tf.cast(mask, tf.int32), 1)
    rows = PackedRows(lengths, mask.shape[1])
    positions, masked_lm = rows.positions(inputs["masked_positions"], labels["masked_lm"])
    packed = {
        "token_ids": rows.tokens(inputs["token_ids"], pad_id),
        "segment_ids": rows.tokens(inputs["segment_ids"], 0),
        "sequence_ids": rows.sequence_ids,
        "masked_positions": positions,
    }
    if "next_sentence" not in labels:
        return packed, {"masked_lm": masked_lm}
    pairs = labels["next_sentence"][:, None]
    packed["sequence_starts"], pairs = rows.positions(tf.zeros_like(pairs), pairs)
    return packed, {"masked_lm": masked_lm, "next_sentence": pairs}
