"""Pretraining examples in files: made once by several processes, read in every pass.

A directory of records holds everything that reading it takes:

    records.json                                what it was made from, and what is in each shard
    vocab.txt                                   the tokens; the options stand in records.json
    train-00000-of-00008.tfrecord.gz            `tf.train.Example`s, see `pretraining.serialized`
    validation-00000-of-00008.tfrecord.gz       those of the documents held out, if any

A document's number tells its shard, so a shard is the same whoever writes it. A shard gets its
names when it is finished and `shard-00000.json` marks it as such; starting again writes only the
shards that are missing, and only if settings, vocabulary and texts are still the same.

The records are unmasked: `pretraining.training_batches` masks them anew in every pass.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import multiprocessing
import os
import threading
import uuid
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import tensorflow as tf

from tfmodels.errors import InputError, first_line
from tfmodels.files import locked, read_json, write_json
from tfmodels.text.examples import ExampleMaker, ExampleSettings, tokenized
from tfmodels.text.masking import hashed
from tfmodels.text.pretraining import Passes, held_out_numbers, serialized, shuffled
from tfmodels.text.vocabulary import save_vocabulary
from tfmodels.text.wordpiece import WordPieceTokenizer

FORMAT = 1
SUMMARY = "records.json"
LOCK = ".lock"
REMEDY = "write the records anew elsewhere"  # for a file that cannot be read
_SPLITS = ("train", "validation")
_INTERLEAVED = 8  # shards read at the same time
_FILE_ORDER = 0xF11E  # tells the draw of the order of files from others
_MOST_SHARDS = 1000  # a process has the files of a part of them open
_PASSES = 4  # of a process over the text: a kill costs no more than one of them


def write_records(
    documents_source,
    tokenizer: WordPieceTokenizer,
    directory: str | os.PathLike,
    settings: ExampleSettings,
    *,
    shards: int = 8,
    processes: int = 2,
    held_out: float = 0.0,
) -> dict:
    """Make the examples of a text once and write them to a directory.

    Every process reads the whole text up to four times, and each time finishes some shards of its
    own. A run that was killed resumes with the shards that are not finished; a finished directory
    is left as it is. Started as a program, the caller's module needs the usual
    `if __name__ == "__main__":`, because processes are spawned.

    Args:
        documents_source: has `documents()`, which yields `(number, sentences)`, and
            `fingerprint()`, a str; can be pickled, unless `processes` is 1.
        tokenizer: a `WordPieceTokenizer`.
        directory: to write to; made if it does not exist.
        settings: of the examples.
        shards: how many files the training examples are spread over. Documents are drawn as
            random second texts from the same shard only: give each some hundreds of documents.
            Those held out are all in the first.
        processes: how many work at the same time; 1 works in this one.
        held_out: share of the documents that go to the split "validation".

    Returns:
        the content of `records.json`: `settings`, `vocabulary`, `texts`, and for each split the
        `documents`, `examples` and `tokens`, in all and by shard.

    Raises:
        InputError: an argument does not fit, the directory was made of something else or is
            being written, the text cannot be read or gives no examples, or the disk is full.
    """
    directory = Path(directory)
    if not 1 <= shards <= _MOST_SHARDS or processes < 1 or not 0 <= held_out <= 0.5:
        raise InputError(
            f"shards={shards}, processes={processes}, held_out={held_out}: give 1 to "
            f"{_MOST_SHARDS} shards, at least one process and a share from 0 to 0.5"
        )
    made_of = {
        "format": FORMAT,
        "settings": dataclasses.asdict(settings),
        "vocabulary": vocabulary_fingerprint(tokenizer),
        "tokenizer": tokenizer.get_config(),
        "texts": documents_source.fingerprint(),
        "shards": shards,
        "held_out": held_out,
    }
    lock = directory / LOCK
    busy = f"{directory}: another process is writing records there; wait for it"
    with _disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with locked(lock, busy):  # ends with the process
            summary = _started(directory, made_of, tokenizer)
            if not summary["complete"]:
                missing = [i for i in range(shards) if not _is_finished(directory, i)]
                job = (documents_source, directory, settings, shards, held_out)
                _work(job, missing, processes, tokenizer)
                summary = _finished(directory, made_of)
            lock.unlink(missing_ok=True)
    return summary


def vocabulary_fingerprint(tokenizer: WordPieceTokenizer) -> str:
    """The first 16 digits of a sha256 of the tokens and the options."""
    content = json.dumps([tokenizer.vocabulary, sorted(tokenizer.get_config().items())])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _work(job, missing, processes, tokenizer):
    """Write the missing shards, some at a time."""
    processes = min(processes, len(missing))
    parts = min(len(missing), _PASSES * processes)
    parts = [missing[part::parts] for part in range(parts)]
    if processes <= 1:
        for part in parts:
            _write_shards(part, tokenizer, *job)
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    options = (tokenizer.vocabulary, tokenizer.get_config())
    with ProcessPoolExecutor(processes, context, _prepare, (stop,)) as executor:
        tasks = [executor.submit(_write_in_process, part, *options, *job) for part in parts]
        try:
            for task in as_completed(tasks):
                task.result()
        except BrokenProcessPool as error:
            raise InputError(
                f"{job[1]}: a process that wrote records was killed (for lack of memory?) or "
                "could not start (no `if __name__ == '__main__':`?); start again with "
                "processes=1, finished shards stay"
            ) from error
        finally:
            stop.set()


def _prepare(stop):
    """Runs first in a spawned process."""
    global _stop
    _stop = stop
    # A pool's process waits for work for ever when the one that started it was killed.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tf.config.set_visible_devices([], "GPU")  # it belongs to the training
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)  # what was being written is removed by the next start


def _write_in_process(part, vocabulary, options, documents_source, directory, *others):
    with _disk_errors(directory):
        tokenizer = WordPieceTokenizer(vocabulary, **options)
        _write_shards(part, tokenizer, documents_source, directory, *others, _stop.is_set)


def _write_shards(
    part, tokenizer, source, directory, settings, shards, held_out, stopped=lambda: False
):
    """Write some shards in one pass over the text."""
    is_held_out = held_out_numbers(
        source.documents(), held_out, settings.seed, settings.least_documents
    )

    def place_of(number):
        # A few held-out documents would be alone in their shards.
        return (0, 1) if is_held_out(number) else (number % shards, 0)

    def chosen():
        for number, sentences in source.documents():
            if place_of(number)[0] in part:
                yield number, sentences

    with contextlib.ExitStack() as stack:
        files = {}
        for shard, split in itertools.product(part, range(2 if held_out else 1)):
            maker = ExampleMaker(tokenizer, settings, stream=2 * shard + split)
            name = f"{_SPLITS[split]}-{shard:05d}-of-{shards:05d}.tfrecord.gz"
            files[shard, split] = file = _File(directory / name, maker, settings)
            stack.callback(file.discard)
        documents = tokenized(chosen(), tokenizer, settings.segmented)
        for count, document in enumerate(documents):
            file = files[place_of(document.number)]
            file.write(file.maker.add(document))
            if count % 64 == 0 and stopped():
                return
        for file in files.values():
            file.finish()
        for shard in part:  # the mark comes last
            counts = {
                _SPLITS[split]: file.counted for (i, split), file in files.items() if i == shard
            }
            write_json(directory / _mark_name(shard), counts)


class _File:
    """A file of examples while it is written; `finish` gives it its name."""

    def __init__(self, path, maker, settings):
        self.maker, self._path, self._settings = maker, path, settings
        self._partial = path.with_name(f".partial-{uuid.uuid4().hex[:12]}-{path.name}")
        self._writer = tf.io.TFRecordWriter(str(self._partial), "GZIP")
        self._examples = self._tokens = 0

    def write(self, examples):
        for example in examples:
            self._writer.write(serialized(example, self._settings))
            self._examples += 1
            self._tokens += len(example.token_ids)

    def finish(self):
        self.write(self.maker.finish())
        self._writer.close()
        self.counted = {
            "file": self._path.name,
            "documents": self.maker.documents,
            "examples": self._examples,
            "tokens": self._tokens,
            "bytes": self._partial.stat().st_size,
            "crc32": _crc32(self._partial),
        }
        self._partial.replace(self._path)

    def discard(self):
        """Remove what was not finished."""
        with contextlib.suppress(tf.errors.OpError):
            self._writer.close()
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)


def _started(directory, made_of, tokenizer):
    """`records.json`, written if the directory is new, refused if it is of something else."""
    path = directory / SUMMARY
    for left in directory.glob(".partial-*"):
        left.unlink()
    if path.exists():
        found = read_json(path, REMEDY)
        _check_same(directory, _flat(found), _flat(made_of))
        whole = found["complete"] and all(
            _is_there(directory, part)
            for split in found["splits"].values()
            for part in split["shards"]
        )
        if whole or not found["complete"]:
            return found
        # Files are gone since: back to the marks, so that only those are written again.
        for shard in range(found["shards"]):
            parts = {split: value["shards"][shard] for split, value in found["splits"].items()}
            write_json(directory / _mark_name(shard), parts)
    elif any(entry.name != LOCK for entry in directory.iterdir()):
        raise InputError(f"{directory}: not empty and holds no {SUMMARY}; give another directory")
    save_vocabulary(tokenizer.vocabulary, directory / "vocab.txt")
    summary = made_of | {"complete": False}
    write_json(path, summary)
    return summary


def _finished(directory, made_of):
    """Writes the whole `records.json` once all shards are there."""
    marks = [directory / _mark_name(shard) for shard in range(made_of["shards"])]
    counts = [read_json(mark, REMEDY) for mark in marks]
    splits = {}
    for split in counts[0]:
        parts = [count[split] for count in counts]
        totals = {
            key: sum(part[key] for part in parts) for key in ("documents", "examples", "tokens")
        }
        splits[split] = totals | {"shards": parts}
        if not totals["examples"]:
            raise InputError(
                f"{directory}: no examples for the split {split!r}; give more text, or another "
                "share to hold out"
            )
        alone = made_of["settings"]["task"] == "nsp" and any(p["documents"] == 1 for p in parts)
        if alone:
            raise InputError(
                f"{directory}: one document only in a shard of the split {split!r}, and "
                "next-sentence pairs need text of another one; put blank lines between documents, "
                "give fewer shards, hold out more, or give the task 'sop' or 'mlm'"
            )
    summary = made_of | {"complete": True, "splits": splits}
    write_json(directory / SUMMARY, summary)
    for mark in marks:
        mark.unlink()
    return summary


def _check_same(directory, found, wanted):
    """Raises `InputError` that names what a directory was made of that is asked for now."""
    if differing := [key for key in wanted if found.get(key) != wanted[key]]:
        differences = ", ".join(
            f"{key} {found.get(key)!r}, now {wanted[key]!r}" for key in differing
        )
        raise InputError(f"{directory}: made with {differences}; give another directory")


def _flat(made_of):
    """`records.json` without its levels, except what is in the shards."""
    flat = {key: value for key, value in made_of.items() if key not in ("settings", "tokenizer")}
    return flat | made_of.get("settings", {}) | made_of.get("tokenizer", {})


def read_summary(directory: str | os.PathLike) -> dict:
    """The content of `records.json`, see `write_records`.

    Raises:
        InputError: there is none, it is of another format, or the records are not finished.
    """
    path = Path(directory) / SUMMARY
    if not path.is_file():
        raise InputError(f"{directory}: holds no {SUMMARY}; give a directory that records are in")
    summary = read_json(path, REMEDY)
    if summary.get("format") != FORMAT:
        raise InputError(
            f"{path}: format {summary.get('format')!r} where this version reads {FORMAT}; "
            "write the records again"
        )
    if not summary.get("complete"):
        raise InputError(f"{directory}: the records are not finished; write them to the end")
    return summary


def read_tokenizer(directory: str | os.PathLike) -> WordPieceTokenizer:
    """The tokenizer that records were made with; errors as of `read_summary`."""
    options = read_summary(directory)["tokenizer"]
    return WordPieceTokenizer.from_file(Path(directory) / "vocab.txt", **options)


def record_passes(
    directory: str | os.PathLike,
    tokenizer: WordPieceTokenizer,
    *,
    split: str = "train",
    seed: int | None = None,
) -> Passes:
    """Passes over records. All files are read once here, to find damage before a training does.

    Args:
        directory: written by `write_records`.
        tokenizer: the one the model is for; must be the one of the records.
        split: "train" or "validation".
        seed: files come in another order in every pass, a few at a time, and examples are
            shuffled within a buffer; None keeps the order of the files.

    Returns:
        function of a pass number that gives a dataset of string [] of known cardinality, for
        `pretraining.training_batches`.

    Raises:
        InputError: not a directory of finished records, another vocabulary, no such split, or
            a shard is missing or damaged.
    """
    directory = Path(directory)
    summary = read_summary(directory)
    fingerprint = vocabulary_fingerprint(tokenizer)
    if summary["vocabulary"] != fingerprint:
        raise InputError(
            f"{directory}: made with the vocabulary {summary['vocabulary']}, and the tokenizer "
            f"has {fingerprint}; write the records again or use the vocab.txt in there"
        )
    if split not in summary["splits"]:
        raise InputError(
            f"{directory}: has no split {split!r}, only {', '.join(summary['splits'])}; "
            "write records with a share held out"
        )
    found = summary["splits"][split]
    for part in found["shards"]:
        path = directory / part["file"]
        if not path.is_file():
            raise InputError(f"{path}: is missing; write the records again to the same directory")
        if not _is_there(directory, part) or _crc32(path) != part["crc32"]:
            raise InputError(
                f"{path}: damaged; remove it and write the records again to the same directory"
            )
    paths = [str(directory / part["file"]) for part in found["shards"]]

    def one_pass(pass_number):
        if seed is None:
            strings = tf.data.TFRecordDataset(paths, "GZIP")
        else:
            pass_number = tf.cast(pass_number, tf.int64)
            keys = hashed(_FILE_ORDER, seed, pass_number, tf.range(len(paths), dtype=tf.int64))
            order = tf.argsort(tf.bitcast(keys, tf.int32))
            strings = tf.data.Dataset.from_tensor_slices(tf.gather(paths, order)).interleave(
                lambda path: tf.data.TFRecordDataset(path, "GZIP"),
                cycle_length=_INTERLEAVED,
                block_length=16,
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            strings = shuffled(strings, seed, pass_number)
        return strings.apply(tf.data.experimental.assert_cardinality(found["examples"]))

    return one_pass


def _mark_name(shard):
    return f"shard-{shard:05d}.json"


def _is_finished(directory, shard):
    mark = directory / _mark_name(shard)
    return mark.exists() and all(
        _is_there(directory, part) for part in read_json(mark, REMEDY).values()
    )


def _is_there(directory, part):
    path = directory / part["file"]
    return path.is_file() and path.stat().st_size == part["bytes"]


def _crc32(path):
    value = 0
    with open(path, "rb") as stream:
        while data := stream.read(1 << 20):
            value = zlib.crc32(data, value)
    return value


@contextlib.contextmanager
def _disk_errors(directory) -> Iterator[None]:
    """What the disk refuses, Python or TensorFlow, is the caller's to mend."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        raise InputError(
            f"{directory}: cannot be written ({first_line(error)}); free space there or give "
            "another directory"
        ) from error
