"""What a server's day is like, measured on exports: `python -m benchmarks.serving VERSION ...`.

    python -m benchmarks.serving saved_models/sentiment/1 --only fuzz [--inputs 20000]
    python -m benchmarks.serving saved_models/sentiment/1 --only warmup threads [--minutes 5]
    python -m benchmarks.serving saved_models/sentiment/1 --only clients [--rounds 3 --seconds 5]
    python -m benchmarks.serving saved_models/sentiment/* --only speed accuracy --table DEV.tsv
    python -m benchmarks.serving saved_models/*/1 --only older --python .venv-2.20/bin/python

In: directories of versions that `tfmodels export` wrote. Out: a line of JSON for each figure and
version, with `held`; exit status 1 if one is not. `warmup`: the first request after loading, with
and without the records replayed, each in a process of its own. `threads`: throughput, latencies
and memory of 32 threads that check every answer. `clients`: throughput and latencies of 1, 8 and
32 clients by the threads that a server is given and whether it puts requests together. `fuzz`:
generated texts, of which each must be answered or refused. `speed`: the size, and milliseconds of
texts of 16 words in batches of 1 to 64. `accuracy`: of a classifier on a
table with the columns `text` and `label` (`--text_column`), or of a tagger on CoNLL columns.
`older`: the warm-up requests in an environment with tensorflow and tensorflow-text 2.20, with the
answers of this one.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402 - after the log level
import tensorflow as tf  # noqa: E402
import tensorflow_text  # noqa: E402, F401 - registers its operations

from tfmodels import data  # noqa: E402
from tfmodels.serving import warmup  # noqa: E402

THREADS = 32
SCRIPTS = ["a", " ", "film", "很好", "的", "ж", "שלום", "بيروت", "👩\u200d👩", "e\u0301", "\u202e",
           "ﬁ", "\t", "\n", "\x00", "\ufffe", "[MASK]", "<|endoftext|>", "'", "#", "9"]  # fmt: skip

# Loads a version, replays the records or not, asks; prints milliseconds of the two requests.
FIRST = """
import sys, time
import tensorflow as tf, tensorflow_text
from tfmodels.serving import warmup
directory, replay = sys.argv[1], sys.argv[2] == "yes"
loaded, requests = tf.saved_model.load(directory), warmup.read(directory)
def ask(name, inputs):
    start = time.perf_counter()
    answer = loaded.signatures[name](**{k: tf.constant(v) for k, v in inputs.items()})
    [value.numpy() for value in answer.values()]
    return 1000 * (time.perf_counter() - start)
if replay:
    for request in requests: ask(*request)
text = [r for r in requests if r[0] == "serving_default"][0]
print(ask(*text), ask(*text))
"""

# How a server may be set: threads of an operation, of operations at once (0: as many as cores, -1:
# the thread of the request), and of batches; 0 batches nothing.
DEPLOYED = (1, -1, 2)  # what `deploy/` says
SETTINGS = ((2, 0, 0), (2, 0, 2), (1, 1, 0), (1, 1, 2), (1, -1, 2), (2, 1, 1))

# Answers the warm-up requests with TensorFlow alone; the older environment has nothing else.
OLDER = """
import sys
import numpy as np, tensorflow as tf, tensorflow_text
directory, given, found = sys.argv[1:]
loaded, asked = tf.saved_model.load(directory), np.load(given)
answers, calls = {}, {}
for key in asked.files:
    number, name, inputs = key.split("|")
    value = asked[key]
    calls.setdefault((number, name), {})[inputs] = tf.constant(value if value.dtype.kind != "S" else
        value.astype(object))
for (number, name), inputs in calls.items():
    for key, value in loaded.signatures[name](**inputs).items():
        value = value.numpy()
        answers[f"{number}|{name}|{key}"] = value.astype("S") if value.dtype == object else value
np.savez(found, **answers)
print(tf.__version__)
"""


def asker(version):
    """Return a function from texts, a list of bytes, to the answers, a dict of arrays."""
    function = tf.saved_model.load(str(version)).signatures["serving_default"]
    (name,) = function.structured_input_signature[1]

    def ask(texts):
        found = function(**{name: tf.constant(texts, tf.string)})
        return {key: value.numpy() for key, value in found.items()}

    return ask


def texts(rng, number):
    """Yield texts: mixed scripts, random bytes, NUL bytes, empty and very long ones."""
    for _ in range(number):
        kind = rng.random()
        if kind < 0.25:
            yield rng.randbytes(rng.randint(0, 200))
        elif kind < 0.27:
            yield "".join(rng.choices(SCRIPTS, k=rng.randint(2000, 20000))).encode()
        elif kind < 0.3:
            yield rng.choice([b"", b"\x00", b" " * 1000, b"x" * 5000, b"\xff" * 300, b"\x00" * 99])
        else:
            yield "".join(rng.choices(SCRIPTS, k=rng.randint(0, 40))).encode()


def fuzz(version, options):
    """Check that each generated batch is answered, a row for a text, or refused as invalid."""
    ask, rng = asker(version), random.Random(options.seed)
    answered = refused = wrong = 0
    left, kept = options.inputs, None
    while left:
        size = min(rng.choice((1, 1, 2, 7, 16)), left)
        batch = list(texts(rng, size))
        left -= size
        try:
            found = ask(batch)
        except tf.errors.InvalidArgumentError:
            refused += size
            continue
        answered += size
        for value in found.values():
            wrong += value.shape[0] != size
            wrong += value.dtype.kind == "f" and not np.isfinite(value).all()
        kept = found
    none = ask([])
    wrong += any(value.shape[0] for value in none.values())
    wrong += kept is not None and none.keys() != kept.keys()
    return {
        "inputs": options.inputs, "answered": answered, "refused": refused, "wrong": int(wrong),
        "held": not wrong and answered > 0,
    }  # fmt: skip


def first_requests(version, options):
    """Time the first request after loading, with and without the records replayed before it."""
    found = {}
    for replay in ("no", "yes"):
        command = [sys.executable, "-c", FIRST, str(version), replay]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        first, second = map(float, done.stdout.split()[-2:])
        found[replay] = {"first_ms": round(first, 2), "second_ms": round(second, 2)}
    return {
        "cold": found["no"], "warm": found["yes"],
        "held": found["yes"]["first_ms"] < found["no"]["first_ms"] / 2,
    }  # fmt: skip


def threads(version, options):
    """Measure throughput, latencies and memory of many threads; compare every answer."""
    import psutil

    ask, rng = asker(version), random.Random(options.seed)
    words = ["the", "old", "captain", "looked", "at", "a", "quiet", "river", "film", "nothing"]
    asked = [" ".join(rng.choices(words, k=n)).encode() for n in (1, 3, 8, 20, 60)]
    expected = [ask([text]) for text in asked]
    process, wrong, taken = psutil.Process(), [0], [[] for _ in range(THREADS)]

    def work(mine, seed, end):
        rng = random.Random(seed)
        while time.monotonic() < end:
            which = rng.randrange(len(asked))
            start = time.perf_counter()
            found = ask([asked[which]])
            mine.append(time.perf_counter() - start)
            for key, value in expected[which].items():
                same = (
                    np.allclose(found[key], value, atol=1e-4)
                    if value.dtype.kind == "f"
                    else np.array_equal(found[key], value)
                )
                wrong[0] += not same

    def run(seconds):
        end = time.monotonic() + seconds
        workers = [
            threading.Thread(target=work, args=(mine, seed, end)) for seed, mine in enumerate(taken)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    seconds = 60 * options.minutes
    run(seconds / 5)  # every thread has had its memory
    start = process.memory_info().rss
    for mine in taken:
        mine.clear()
    run(seconds)
    end = process.memory_info().rss
    all_taken = np.concatenate(taken)
    p50, p99 = np.percentile(all_taken, [50, 99])
    return {
        "threads": THREADS, "seconds": round(seconds), "requests": len(all_taken),
        "per_second": round(len(all_taken) / seconds, 1), "p50_ms": round(1000 * p50, 1),
        "p99_ms": round(1000 * p99, 1), "rss_start_mb": start >> 20, "rss_end_mb": end >> 20,
        "wrong": wrong[0], "held": not wrong[0] and end < 1.1 * start,
    }  # fmt: skip


def clients(version, options):
    """Measure 1, 8 and 32 clients with texts of 1 to 60 words, under each of `SETTINGS`.

    Each setting has a process of its own; they take turns. `held`: 32 clients get more answers
    under what `deploy/` says than under a server's defaults. Batches are put together by the
    scheduler that TF Serving uses, with the numbers of `deploy/config/batching.config`.
    """
    found = {setting: {number: [] for number in (1, 8, 32)} for setting in SETTINGS}
    for _ in range(options.rounds):
        for setting in SETTINGS:
            command = [
                sys.executable,
                "-m",
                "benchmarks.serving",
                str(version),
                "--only",
                "clients",
            ]
            command += ["--setting", *map(str, setting), "--seconds", str(options.seconds)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row = json.loads(done.stdout.splitlines()[-1])
            for number, values in found[setting].items():
                values.append(row[str(number)])
    rows = []
    for setting, row in found.items():
        names = ("intra_op", "inter_op", "batch_threads")
        medians = {number: np.median(values, axis=0).round(1).tolist()
                   for number, values in row.items()}  # fmt: skip
        rows.append({**dict(zip(names, setting, strict=True)), "per_second_p50_p99_ms": medians})
    usual, ours = (np.median(found[s][32], axis=0)[0] for s in (SETTINGS[0], DEPLOYED))
    return {"settings": rows, "held": bool(ours > usual)}


def one_setting(version, options):
    """Measure the clients under one setting."""
    intra, inter, batch_threads = options.setting
    tf.config.threading.set_intra_op_parallelism_threads(intra)
    tf.config.threading.set_inter_op_parallelism_threads(inter)
    loaded = tf.saved_model.load(str(version))
    function = loaded.signatures["serving_default"]
    (name,) = function.structured_input_signature[1]
    key = next(key for key in ("probabilities", "score", *function.structured_outputs)
               if key in function.structured_outputs)  # fmt: skip

    def answer(texts):
        return function(**{name: texts})[key]

    if batch_threads:
        answer = tf.nondifferentiable_batch_function(
            batch_threads, max_batch_size=32, batch_timeout_micros=2000, max_enqueued_batches=64
        )(answer)
    ask = tf.function(answer, input_signature=[tf.TensorSpec([None], tf.string)])
    rng = random.Random(options.seed)
    asked = [" ".join(rng.choices(["the", "captain", "looked", "film"], k=n)) for n in range(1, 61)]
    asked = [tf.constant([text]) for text in rng.sample(asked, len(asked))]
    for text in asked:
        ask(text)
    found = {}
    for number in (1, 8, 32):
        taken = [[] for _ in range(number)]

        def work(mine, seed, end):
            rng = random.Random(seed)
            while time.monotonic() < end:
                start = time.perf_counter()
                ask(rng.choice(asked)).numpy()
                mine.append(1000 * (time.perf_counter() - start))

        for seconds in (1, options.seconds):  # the first ones are not counted
            for mine in taken:
                mine.clear()
            end = time.monotonic() + seconds
            workers = [threading.Thread(target=work, args=(mine, seed, end))
                       for seed, mine in enumerate(taken)]  # fmt: skip
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        times = np.concatenate(taken)
        found[number] = [len(times) / options.seconds, *np.percentile(times, [50, 99])]
    return found


def speed(version, options):
    """Measure the size of a version, and the time that batches of different sizes take in it."""
    sizes = json.loads((version / "signatures.json").read_text(encoding="utf-8"))["bytes"]
    ask = asker(version)
    single = [
        next(iter(inputs.values()))
        for name, inputs in warmup.read(version)
        if name == "serving_default"
    ]
    single = [texts for texts in single if len(texts) == 1]
    text = single[len(single) // 2]  # of 16 words, as far as the model takes them
    found = {}
    for size in (1, 2, 4, 8, 16, 32, 64):
        batch, taken = list(text) * size, []
        for _ in range(options.runs + 3):  # the first ones are not counted
            start = time.perf_counter()
            ask(batch)
            taken.append(1000 * (time.perf_counter() - start))
        found[size] = round(float(np.median(taken[3:])), 2)
    return {
        "exported_mb": round(sizes["exported"] / 1e6, 1),
        "float32_weights_mb": round(sizes["float32_weights"] / 1e6, 1),
        "batch_ms": found, "held": True,
    }  # fmt: skip


def accuracy(version, options):
    """Measure a classifier on the rows of a table, or a tagger on tagged sentences."""
    if options.table is None:
        sys.exit("--table: give a .tsv with the columns of texts and labels, or CoNLL columns")
    ask = asker(version)
    found = ask([b"a"])
    rows, measure = _of_spans(options) if "entity" in found else _of_labels(options)
    answers = []
    for first in range(0, len(rows), 32):
        answers.append(ask([text.encode() for text, _ in rows[first : first + 32]]))
    return {"rows": len(rows), **measure(rows, answers), "held": True}


def _of_labels(options):
    table = data.open_table(options.table, options.text_column, "label")

    def measure(rows, answers):
        found = [label.decode() for answer in answers for label in answer["label"]]
        right = sum(label == wanted for label, (_, wanted) in zip(found, rows, strict=True))
        return {"accuracy": round(right / len(rows), 4)}

    return [values for _, values in table.rows()], measure


def _of_spans(options):
    from tfmodels.metrics.entities import entity_metrics

    def measure(rows, answers):
        found = [
            [(kind.decode(), int(a), int(b)) for kind, a, b in zip(*row, strict=True) if a >= 0]
            for answer in answers
            for row in zip(answer["type"], answer["start"], answer["end"], strict=True)
        ]
        return {"f1": round(entity_metrics([gold for _, gold in rows], found)["f1"], 4)}

    return [values for _, values in data.open_entities(options.table).rows()], measure


def older(version, options):
    """Compare the answers to the warm-up requests in the environment of `--python` with ours."""
    if options.python is None:
        sys.exit("--python: give that of an environment with tensorflow and tensorflow-text 2.20")
    loaded = tf.saved_model.load(str(version))
    given, expected = {}, {}
    for number, (name, inputs) in enumerate(warmup.read(version)):
        tensors = {key: tf.constant(value) for key, value in inputs.items()}
        for key, value in inputs.items():
            given[f"{number}|{name}|{key}"] = value.astype("S") if value.dtype == object else value
        for key, value in loaded.signatures[name](**tensors).items():
            value = value.numpy()
            value = value.astype("S") if value.dtype == object else value
            expected[f"{number}|{name}|{key}"] = value
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/given.npz", f"{folder}/found.npz"]
        np.savez(files[0], **given)
        command = [options.python, "-c", OLDER, str(version), *files]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return {"error": done.stderr.splitlines()[-1], "held": False}
        found = dict(np.load(files[1]))
    largest, differ = 0.0, 0
    for key, value in expected.items():
        if value.dtype.kind == "f":
            largest = max(largest, float(np.abs(found[key] - value).max(initial=0.0)))
        else:
            differ += not np.array_equal(found[key], value)
    return {
        "tensorflow": done.stdout.split()[-1], "tensors": len(expected), "difference": largest,
        "differ": differ, "held": found.keys() == expected.keys() and largest < 1e-4 and not differ,
    }  # fmt: skip


FIGURES = {
    "fuzz": fuzz,
    "warmup": first_requests,
    "threads": threads,
    "clients": clients,
    "speed": speed,
    "accuracy": accuracy,
    "older": older,
}


def main(arguments=None):
    """Print the figures; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("versions", nargs="+", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(FIGURES), required=True)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--python", help="of an environment with tensorflow 2.20, for older")
    parser.add_argument("--rounds", type=int, default=3, help="of all settings, for clients")
    parser.add_argument("--seconds", type=float, default=5.0, help="of clients under a setting")
    parser.add_argument("--setting", nargs=3, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=int, default=20, help="of a batch, for speed")
    parser.add_argument("--table", help="a .tsv or CoNLL columns, for accuracy")
    parser.add_argument("--text_column", default="text")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.setting:
        (version,) = options.versions
        return print(json.dumps(one_setting(version, options)))
    missed = 0
    for version in options.versions:
        for name in options.only:
            found = FIGURES[name](version.resolve(), options)
            missed += not found["held"]
            print(json.dumps({"figure": name, "version": str(version), **found}), flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
