"""Pretraining examples in files: made once by several processes, read in every pass.

A directory of records is self-contained:

    records.json                                settings, fingerprints, and the counts of each file
    vocab.txt                                   the tokens; their options are in `records.json`
    train-00000-of-00008.tfrecord.gz            `tf.train.Example`s, see `pretraining.serialized`
    validation-00000-of-00001.tfrecord.gz       those of the documents held out, if any

The shard of a document follows from its number, so the files are the same however many processes
write them. The directory is whole or not there: a run that is stopped leaves nothing. The records
are unmasked: `pretraining.training_batches` masks them anew in every pass.
"""

import dataclasses
import errno
import hashlib
import itertools
import json
import multiprocessing
import os
import signal
import threading
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import tensorflow as tf

from tfmodels.errors import InputError, first_line
from tfmodels.files import read_json, whole_directory, write_json
from tfmodels.text.examples import ExampleMaker, ExampleSettings, tokenize_documents
from tfmodels.text.masking import hashed
from tfmodels.text.pretraining import Passes, Texts, held_out_numbers, serialized, shuffled
from tfmodels.text.vocabulary import save_vocabulary
from tfmodels.text.wordpiece import WordPieceTokenizer

FORMAT = 1
SUMMARY = "records.json"
REMEDY = "remove the directory and prepare the records again, or prepare them elsewhere"
_INTERLEAVED = 8  # number of shards that are read at the same time
_FILE_ORDER = 0xF11E  # makes the hash of the order of files independent of others
_MAX_SHARDS = 500  # a process may have all of them open, and systems often allow 1024 files
_HELD_OUT = 1  # the stream of the documents held out; shard i has stream 2 * i


def write_records(
    texts: Texts, tokenizer: WordPieceTokenizer, directory: str | os.PathLike,
    settings: ExampleSettings, *, shards: int = 8, processes: int = 2, held_out: float = 0.0,
) -> dict:  # fmt: skip
    """Make the examples of a text once and write them to a directory.

    Each process reads the whole text once and writes its own shards. A directory that holds the
    same records already is left as it is. The module that a program starts with needs the usual
    `if __name__ == "__main__":`, because processes are spawned.

    Args:
        texts: to make the examples of; can be pickled, unless `processes` is 1.
        tokenizer: a `WordPieceTokenizer`.
        directory: to write to; must not exist yet, be empty, or hold the same records.
        settings: of the examples.
        shards: number of files of training examples. Documents are drawn as random second texts
            from the same shard only: give each some hundreds of documents.
        processes: number of processes that write; 1 writes in this one.
        held_out: share of the documents that go to the split "validation".

    Returns:
        the content of `records.json`: `settings`, `vocabulary`, `texts`, and for each split the
        `documents`, `examples` and `tokens`, in total and for each file (`shards`).

    Raises:
        InputError: an argument does not fit, the directory holds something else, the text cannot
            be read or gives no examples, or the disk is full.
    """
    if not 1 <= shards <= _MAX_SHARDS or processes < 1 or not 0 <= held_out <= 0.5:
        raise InputError(
            f"shards={shards}, processes={processes}, held_out={held_out}: give 1 to "
            f"{_MAX_SHARDS} shards, at least one process and a share from 0 to 0.5"
        )
    content: dict = {
        "format": FORMAT,
        "settings": dataclasses.asdict(settings),
        "vocabulary": vocabulary_fingerprint(tokenizer),
        "tokenizer": tokenizer.get_config(),
        "texts": texts.fingerprint(),
        "shards": shards,
        "held_out": held_out,
    }
    if (Path(directory) / SUMMARY).exists():
        summary = read_summary(directory)
        before, now = (c | c["settings"] | c["tokenizer"] for c in (summary, content))
        differences = [
            f"{name} {before.get(name)!r}, now {now[name]!r}"
            for name in now
            if not isinstance(now[name], dict) and before.get(name) != now[name]
        ]
        if differences:
            what = ", ".join(differences)
            raise InputError(f"{directory}: made with {what}; give another directory")
        return summary
    try:
        with whole_directory(Path(directory), "another directory") as folder:
            save_vocabulary(tokenizer.pieces, folder / "vocab.txt")
            try:
                files = _write_all(min(processes, shards), texts, folder, content)
            except tf.errors.OpError as error:  # of the file system: nothing else runs here
                raise OSError(errno.EIO, first_line(error)) from error
            summary = content | {"splits": _splits(files, settings.task)}
            write_json(folder / SUMMARY, summary)
    except BrokenProcessPool as error:
        raise InputError(
            f"{directory}: a process that wrote records was killed (for lack of memory?) or "
            "could not start (no `if __name__ == '__main__':`?); start again with processes=1"
        ) from error
    return summary


def vocabulary_fingerprint(tokenizer: WordPieceTokenizer) -> str:
    """Return the first 16 digits of a SHA-256 of the tokens and the options."""
    content = json.dumps([tokenizer.vocabulary, sorted(tokenizer.get_config().items())])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _write_all(processes, *job):
    """Write all shards; return the counts of each file, in the order of the files."""
    if processes == 1:
        return _write_shards(0, 1, *job)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    # The sender is closed before the pool waits for its processes, which ends them.
    with ProcessPoolExecutor(processes, context, _start, (receiver,)) as pool, sender:
        tasks = [pool.submit(_write_shards, i, processes, *job) for i in range(processes)]
        parts = [task.result() for task in as_completed(tasks)]
    return sorted(itertools.chain(*parts), key=lambda counts: counts["file"])


def _start(receiver):
    """Set a spawned process up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    threading.Thread(target=_end_with, args=(receiver,), daemon=True).start()
    tf.config.set_visible_devices([], "GPU")  # it belongs to a training
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _end_with(receiver):
    """End this process when the other end of the pipe is closed, or its process was killed."""
    receiver.poll(None)
    os._exit(1)


def _write_shards(first, step, texts, folder, content):
    """Write every `step`-th shard in one pass over the text; return the counts of each file."""
    settings, shards = ExampleSettings(**content["settings"]), content["shards"]
    tokenizer = WordPieceTokenizer.from_file(folder / "vocab.txt", **content["tokenizer"])
    # Each file by the number of its stream of random choices.
    names = {2 * i: f"train-{i:05d}-of-{shards:05d}" for i in range(first, shards, step)}
    if content["held_out"] and first == 0:
        names[_HELD_OUT] = "validation-00000-of-00001"
    paths = {stream: folder / f"{name}.tfrecord.gz" for stream, name in names.items()}
    makers = {stream: ExampleMaker(tokenizer, settings, stream=stream) for stream in paths}
    writers = {stream: tf.io.TFRecordWriter(str(paths[stream]), "GZIP") for stream in paths}
    counts = {
        stream: {"file": path.name, "documents": 0, "examples": 0, "tokens": 0}
        for stream, path in paths.items()
    }
    is_held_out = held_out_numbers(
        texts.documents(), content["held_out"], settings.seed, settings.min_documents
    )

    def stream_of(number):
        return _HELD_OUT if is_held_out(number) else 2 * (number % shards)

    def write(stream, examples):
        for example in examples:
            writers[stream].write(serialized(example, settings))
            counts[stream]["examples"] += 1
            counts[stream]["tokens"] += len(example.token_ids)

    chosen = (document for document in texts.documents() if stream_of(document[0]) in paths)
    for document in tokenize_documents(chosen, tokenizer, settings.segmented):
        stream = stream_of(document.number)
        counts[stream]["documents"] += 1
        write(stream, makers[stream].add(document))
    for stream, path in paths.items():
        write(stream, makers[stream].finish())
        writers[stream].close()
        counts[stream] |= {"bytes": path.stat().st_size, "crc32": _crc32(path)}
    return list(counts.values())


def _splits(files, task):
    """Return the counts of the splits; refuse splits that give no examples, or no pairs."""
    splits = {}
    for split, group in itertools.groupby(files, lambda counts: counts["file"].split("-")[0]):
        shards = list(group)
        totals = {
            key: sum(shard[key] for shard in shards) for key in ("documents", "examples", "tokens")
        }
        if not totals["examples"]:
            raise InputError(
                f"no examples for the split {split!r}; give more text, or another share to hold out"
            )
        if task == "nsp" and any(shard["documents"] == 1 for shard in shards):
            raise InputError(
                f"only one document in a shard of the split {split!r}, and next-sentence pairs "
                "need text of another one; put blank lines between documents, give fewer shards, "
                "hold out more, or give the task 'sop' or 'mlm'"
            )
        splits[split] = totals | {"shards": shards}
    return splits


def read_summary(directory: str | os.PathLike) -> dict:
    """Return the content of `records.json`, see `write_records`.

    Raises:
        InputError: there is none, it is of another format, or the records are not finished.
    """
    path = Path(directory) / SUMMARY
    if not path.is_file():
        raise InputError(f"{directory}: holds no {SUMMARY}; give a directory of records")
    summary = read_json(path, REMEDY)
    if summary.get("format") != FORMAT:
        raise InputError(
            f"{path}: format {summary.get('format')!r} where this version reads {FORMAT}; {REMEDY}"
        )
    if not summary.get("complete", True):  # version 0.1 wrote shard by shard
        raise InputError(f"{directory}: the records are not finished; {REMEDY}")
    return summary


def read_tokenizer(directory: str | os.PathLike) -> WordPieceTokenizer:
    """Return the tokenizer that records were made with; errors as of `read_summary`."""
    options = read_summary(directory)["tokenizer"]
    return WordPieceTokenizer.from_file(Path(directory) / "vocab.txt", **options)


def record_passes(
    directory: str | os.PathLike, tokenizer: WordPieceTokenizer, *, split: str = "train",
    seed: int | None = None,
) -> Passes:  # fmt: skip
    """Return passes over records; read all files once, to detect damage before training.

    Args:
        directory: written by `write_records`.
        tokenizer: the one the model is for; must be the one of the records.
        split: "train" or "validation".
        seed: files come in another order in every pass, a few at a time, and examples are
            shuffled within a buffer; None keeps the order of the files.

    Returns:
        function from a pass number to a dataset of string [] of known cardinality, for
        `pretraining.training_batches`.

    Raises:
        InputError: not a directory of records, another vocabulary, no such split, or a file is
            missing or damaged.
    """
    directory = Path(directory)
    summary = read_summary(directory)
    fingerprint = vocabulary_fingerprint(tokenizer)
    if summary["vocabulary"] != fingerprint:
        raise InputError(
            f"{directory}: made with the vocabulary {summary['vocabulary']}, and the tokenizer "
            f"has {fingerprint}; prepare the records again or use the vocab.txt in there"
        )
    if split not in summary["splits"]:
        raise InputError(
            f"{directory}: has no split {split!r}, only {', '.join(summary['splits'])}; "
            "prepare records with a share held out"
        )
    counts = summary["splits"][split]
    for shard in counts["shards"]:
        path = directory / shard["file"]
        size = path.stat().st_size if path.is_file() else None
        if size != shard["bytes"] or _crc32(path) != shard["crc32"]:
            raise InputError(f"{path}: missing or damaged; {REMEDY}")
    paths = [str(directory / shard["file"]) for shard in counts["shards"]]

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
        return strings.apply(tf.data.experimental.assert_cardinality(counts["examples"]))

    return one_pass


def _crc32(path):
    value = 0
    with open(path, "rb") as stream:
        while data := stream.read(1 << 20):
            value = zlib.crc32(data, value)
    return value
