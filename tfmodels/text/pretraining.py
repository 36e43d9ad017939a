"""Batches for BERT's pretraining, masked anew in every pass over the examples.

In: the examples of `examples.py`, made while they are read (`text_passes`) or out of files
(`records.record_passes`), as `tf.data` datasets of strings. Out: batches of masked tokens, with
what stood there and whether one text follows the other.

B = examples of a batch, S = padded length, M = masked places.
"""

import itertools
from collections.abc import Callable, Iterable

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.batching import as_it_stands, mapped
from tfmodels.text.examples import Example, ExampleSettings, examples
from tfmodels.text.masking import WordMasker, hashed_int

SPLITS = ("all", "train", "validation")

FEW = 20  # among so many texts, some are held out in any case

_SHUFFLED = 16_384  # examples that are shuffled together
_YIELDED = 64  # examples that leave Python at once
_HELD_OUT, _SHUFFLE = 1, 4  # where hashes start, to be independent of each other

# A dataset of serialized examples for each number of a pass, an int or an int64 scalar.
Passes = Callable[[tf.Tensor | int], tf.data.Dataset]


def held_out_numbers(
    texts: Iterable[tuple], share: float, seed: int, least: int = 1
) -> Callable[[int], bool]:
    """Choose what is kept for validation.

    A hash draws a share of the texts, and of the first few at least so many. It is the same
    for every process that reads them.

    Args:
        texts: tuples that begin with a number; the first `FEW` are read.
        share: of the texts; 0: none.
        seed: of the draw.
        least: minimum number of texts to hold out, and to leave.

    Returns:
        function of a text's number that says whether it is held out.

    Raises:
        InputError: there are fewer than two times `least` texts.
    """
    if not share:
        return lambda number: False
    first = [number for number, *_ in itertools.islice(texts, FEW)]
    if len(first) < 2 * least:
        raise InputError(
            f"{len(first)} documents are too few to hold {least} out; put blank lines between "
            "documents, or hold none out (--held_out 0)"
        )

    def drawn(number):
        return hashed_int(_HELD_OUT, seed, number)

    in_any_case = sorted(first, key=drawn)[:least]
    return lambda number: number in in_any_case or drawn(number) < share * 2**32


def serialized(example: Example, settings: ExampleSettings) -> bytes:
    """An example as a `tf.train.Example`; `parsed` reads it."""
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
    """Unmasked examples, padded.

    Args:
        strings: string [B], from `serialized`.
        pad_id: id of [PAD].
        settings: as the examples were made with.

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
    found = tf.io.parse_example(strings, features)
    length = found["token_ids"].row_lengths()[:, None]  # [B, 1]
    tf.debugging.assert_less_equal(
        length,
        tf.constant(settings.max_length, tf.int64),
        "the examples are longer than max_length; give the max_length they were made with",
    )
    shape = [None, settings.max_length]
    place = tf.range(settings.max_length, dtype=tf.int64)[None]  # [1, S]
    padding_mask = place < length
    result = {
        "token_ids": tf.cast(found["token_ids"].to_tensor(pad_id, shape=shape), tf.int32),
        "segment_ids": tf.cast((place >= found["first_length"][:, None]) & padding_mask, tf.int32),
        "padding_mask": padding_mask,
        "continues": tf.cast(found["continues"].to_tensor(0, shape=shape), tf.bool),
        "number": found["number"],
    }
    if "label" in found:
        result["label"] = tf.cast(found["label"], tf.int32)
    return result


def text_passes(
    documents_source,
    tokenizer,
    settings: ExampleSettings,
    *,
    split: str = "all",
    held_out: float = 0.0,
    seed: int | None = None,
) -> Passes:
    """Passes over text without files in between: the examples are made while training.

    Args:
        documents_source: has `documents()`. If reading fails, its attribute `failure` holds the
            `InputError`, which tf.data turns into an error of its own.
        tokenizer: a `WordPieceTokenizer`.
        settings: see there. Every pass makes other pairs.
        split: "all" documents, "train" without those held out, or "validation", only those.
        held_out: the share of documents held out.
        seed: shuffles the examples within a buffer; None keeps the order of the text.

    Returns:
        function of a pass number that gives a dataset of string [], for `training_batches`.

    Raises:
        InputError: an argument does not fit.
    """
    _check_split(split, held_out)

    def chosen():
        share = 0.0 if split == "all" else held_out
        documents = documents_source.documents
        is_held_out = held_out_numbers(documents(), share, settings.seed, settings.least_documents)
        for number, sentences in documents():
            if is_held_out(number) == (split == "validation"):
                yield number, sentences

    def chunks(pass_number):
        made = examples(chosen(), tokenizer, settings, pass_number)
        while chunk := [serialized(each, settings) for each in itertools.islice(made, _YIELDED)]:
            yield chunk

    return made_passes(chunks, documents_source, tf.TensorSpec([None], tf.string), seed)


def made_passes(chunks, source, spec, seed) -> Passes:
    """Passes over what is made in Python while it is read.

    Args:
        chunks: function of a pass number that yields examples, many at once.
        source: is told in `failure` of an `InputError`, which tf.data makes an error of its own.
        spec: `tf.TensorSpec` of a chunk.
        seed: see `text_passes`.
    """

    def generate(pass_number):
        try:
            yield from chunks(int(pass_number))
        except InputError as error:
            source.failure = error
            raise

    def one_pass(pass_number):
        pass_number = tf.cast(pass_number, tf.int64)
        rows = tf.data.Dataset.from_generator(generate, args=[pass_number], output_signature=spec)
        return rows.unbatch() if seed is None else shuffled(rows.unbatch(), seed, pass_number)

    return one_pass


def shuffled(dataset, seed, pass_number):
    """Examples in another order in every pass."""
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
    one_pass: Passes,
    tokenizer,
    batch_size: int,
    settings: ExampleSettings,
    *,
    seed: int = 0,
    passes: int | None = None,
    mask_rate: float = 0.15,
    whole_words: bool = True,
    dynamic: bool = True,
    start: int = 0,
    drop_remainder: bool = True,
) -> tf.data.Dataset:
    """Masked batches of one shape, pass after pass.

    Passes follow each other without a gap: a batch may hold the end of one and the beginning of
    the next.

    Args:
        one_pass: from `text_passes` or `records.record_passes`.
        tokenizer: a `WordPieceTokenizer` with [MASK].
        batch_size: B.
        settings: as the examples are made with.
        seed: of the masks.
        passes: how many; None never ends.
        mask_rate, whole_words: see `masking.WordMasker`.
        dynamic: whether every pass masks other words; else all mask as the first does.
        start: batches to skip; what follows is as if they had been read. Whole passes are
            skipped for free where a pass knows its length (records), the rest unparsed; passes
            over text are made again.
        drop_remainder: whether to leave out a last batch that is not full.

    Returns:
        dataset of `(inputs, labels)`. Inputs: `token_ids`, `segment_ids` int32 [B, S],
        `padding_mask` bool [B, S], `masked_positions` int32 [B, M], 0 where unused. Labels:
        `masked_lm` int32 [B, M], the ids that stood there, -1 where unused, and, unless the
        task is "mlm", `next_sentence` int32 [B]. S is `max_length`, M is
        `masking.most_masked(max_length, mask_rate)`.

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
    length = int(one_pass(0).cardinality())  # negative if it is not known
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
        return inputs, labels

    rows = tf.data.Dataset.range(min(first, limit), limit).flat_map(as_it_stands(numbered))
    batches = rows.skip(skipped).batch(batch_size, drop_remainder=drop_remainder)
    if passes is not None and length > 0:
        left = max(passes * length - start * batch_size, 0)
        count = left // batch_size if drop_remainder else -(-left // batch_size)
        batches = batches.apply(tf.data.experimental.assert_cardinality(count))
    return mapped(batches, masked).prefetch(tf.data.AUTOTUNE)


def _check_split(split, held_out):
    if split not in SPLITS or not 0 <= held_out < 1 or (split == "validation" and not held_out):
        raise InputError(
            f"split={split!r}, held_out={held_out}: give one of {', '.join(SPLITS)} and a share "
            "of documents from 0 to below 1, above 0 for 'validation'"
        )
