"""What `tfmodels serve` stands: `python -m benchmarks.server saved_models/NAME`.

    python -m benchmarks.server saved_models/sentiment --only first throughput
    python -m benchmarks.server saved_models/sentiment --only fuzz [--requests 20000]
    python -m benchmarks.server saved_models/sentiment --only swap [--minutes 5]

In: the folder of an encoder's versions, with one input of texts. Out: a line of JSON for each
figure, with `held`; exit status 1 if one is not. `first`: seconds from the start of the command to
the first answer, with the warm-up. `throughput`: texts a second of 32 clients that send one text or
32 by REST, beside 32 threads that call the SavedModel in a process of their own, set alike. `fuzz`:
generated requests, from bad JSON to good ones, 8 at a time; each must get an answer or a status
that is meant, and the memory stays. `swap`: 32 clients whose every answer is compared, while
versions come and go; none may be lost or wrong. The server is a process of its own.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

CLIENTS = 32
WORDS = ["the", "old", "captain", "looked", "at", "a", "quiet", "river", "film", "很好", "nothing"]
# Answers of the SavedModel itself; prints texts a second.
DIRECT = """
import random, sys, threading, time
import tensorflow as tf, tensorflow_text
directory, size, seconds, threads = sys.argv[1], *map(int, sys.argv[2:])
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(-1)
ask = tf.saved_model.load(directory).signatures["serving_default"]
texts = [line.encode() for line in sys.stdin.read().splitlines()]
(name,) = ask.structured_input_signature[1]
done = [0] * threads
def work(number, end):
    rng = random.Random(number)
    while time.monotonic() < end:
        found = ask(**{name: tf.constant(rng.choices(texts, k=size))})
        [value.numpy() for value in found.values()]
        done[number] += size
def run(seconds):
    end = time.monotonic() + seconds
    workers = [threading.Thread(target=work, args=(n, end)) for n in range(threads)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
run(2)
done = [0] * threads
start = time.monotonic()
run(seconds)
print(sum(done) / (time.monotonic() - start))
"""


def texts_of(rng, number):
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 24))) for _ in range(number)]


@contextlib.contextmanager
def serving(root, *flags):
    """Start the command; give the process, the port and the name of the model."""
    command = [sys.executable, "-m", "applications", "serve", str(root), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--grpc_port", "0", *flags], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    try:
        addresses = json.loads(process.stdout.readline())
        port = int(addresses["page"].rstrip("/").rpartition(":")[2])
        yield process, port, addresses["models"][0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


class Asker:
    """A connection that stays open, as clients of a server have."""

    def __init__(self, port, name):
        self._port, self._path, self._open = port, f"/v1/models/{name}:predict", None

    def ask(self, body, path=None):
        """Status and body of an answer."""
        if self._open is None:
            self._open = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            self._open.request("POST", path or self._path, body)
            answer = self._open.getresponse()
            found = answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self._open.close()
            self._open = None
            raise
        if answer.will_close:
            self._open.close()
            self._open = None
        return found

    def predictions(self, texts):
        status, body = self.ask(json.dumps({"instances": texts}).encode())
        if status != 200:
            raise ValueError(f"status {status}: {body[:200]!r}")
        return json.loads(body)["predictions"]


def in_threads(number, work):
    threads = [threading.Thread(target=work, args=(n,)) for n in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def newest(root):
    return max(
        (path for path in root.iterdir() if path.name.isdecimal()), key=lambda p: int(p.name)
    )


def first(root, options):
    """Seconds to the first answer; the second start finds the files in memory."""
    taken = []
    for _ in range(2):
        start = time.monotonic()
        with serving(root) as (_, port, name):
            Asker(port, name).predictions(["a warm film"])
            taken.append(round(time.monotonic() - start, 2))
    return {"seconds": taken, "goal": 8, "held": min(taken) < 8}


def throughput(root, options):
    rows, held = {}, True
    asked = texts_of(random.Random(0), 400)
    alike = {"TF_CPU_ALLOCATOR_USE_BFC": "true", **os.environ}  # as `import tfmodels` sets it
    for size in (1, 32):
        found = {"direct": [], "rest": []}
        for _ in range(options.rounds):  # in turns: a machine is not the same all the time
            command = [sys.executable, "-c", DIRECT, str(newest(root)), str(size)]
            done = subprocess.run(
                [*command, str(round(options.seconds)), str(CLIENTS)], input="\n".join(asked),
                capture_output=True, text=True, check=True, env=alike,
            )  # fmt: skip
            found["direct"].append(float(done.stdout.split()[-1]))
            found["rest"].append(over_rest(root, asked, size, options.seconds))
        direct, rest = (float(np.median(values)) for values in found.values())
        ratio = rest / direct
        rows[f"{size} a request"] = {
            "direct_per_second": round(direct, 1), "rest_per_second": round(rest, 1),
            "ratio": round(ratio, 2),
        }  # fmt: skip
        held = held and ratio >= 0.8
    return {"clients": CLIENTS, **rows, "held": held}


def over_rest(root, asked, size, seconds):
    with serving(root) as (_, port, name):
        done = [0] * CLIENTS

        def work(number):
            asker, rng = Asker(port, name), random.Random(number)
            while time.monotonic() < end:
                asker.predictions(rng.choices(asked, k=size))
                done[number] += size

        end = time.monotonic() + 2
        in_threads(CLIENTS, work)
        done[:], start = [0] * CLIENTS, time.monotonic()
        end = start + seconds
        in_threads(CLIENTS, work)
        return sum(done) / (time.monotonic() - start)


def generated(rng):
    """Yield `(path or None, body, statuses that are meant)` without end."""
    good = {"instances": texts_of(rng, 3)}
    deep = b'{"instances": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    kinds = [
        lambda: (
            None,
            json.dumps({"instances": texts_of(rng, rng.randint(1, 40))}).encode(),
            {200},
        ),
        lambda: (None, json.dumps({"inputs": texts_of(rng, rng.randint(0, 3))}).encode(), {200}),
        lambda: (None, json.dumps({"instances": [{"b64": "//79"}]}).encode(), {200}),
        lambda: (None, json.dumps({"instances": ["x" * rng.randint(0, 50_000)]}).encode(), {200}),
        lambda: (None, rng.randbytes(rng.randint(0, 300)), {400}),
        lambda: (None, json.dumps(good).encode()[: rng.randint(0, 20)], {400}),
        lambda: (None, b'{"instances": ["\xff\xfe"]}', {400}),
        lambda: (None, b'{"instances": ["\\ud800"]}', {400}),
        lambda: (
            None,
            json.dumps({"instances": [rng.choice([1, None, [], {}, [["a"]], 1e400])]}).encode(),
            {400},
        ),  # fmt: skip
        lambda: (
            None,
            json.dumps(
                {"signature_name": rng.choice(["no", "", 7, None]), "instances": [1]}
            ).encode(),
            {400},
        ),  # fmt: skip
        lambda: (None, deep, {400}),
        lambda: (None, json.dumps({"instances": ["a"] * 2000}).encode(), {400}),
        lambda: (None, b"[" * 20_000_000 if rng.random() < 0.01 else b"", {400, 413}),
        lambda: (
            f"/v1/models/{rng.choice(['no', '%00', '..', 'ä'.encode().hex()])}:predict",
            json.dumps(good).encode(),
            {400, 404},
        ),  # fmt: skip
        lambda: ("/v1/models/no/versions/9:classify", b"{}", {400, 404}),
    ]
    while True:
        yield rng.choice(kinds)()


def fuzz(root, options):
    import psutil

    with serving(root) as (process, port, name):
        server, counts, wrong, memory = psutil.Process(process.pid), {}, [], []
        lock, left = threading.Lock(), [options.requests]

        def work(number):
            asker, cases = Asker(port, name), generated(random.Random(number))
            while True:
                with lock:
                    left[0] -= 1
                    if left[0] < 0:
                        return
                    if left[0] % (options.requests // 10) == 0:
                        memory.append(server.memory_info().rss >> 20)
                path, body, meant = next(cases)
                try:
                    status, answer = asker.ask(body, path)
                    value = json.loads(answer)
                    fine = status in meant and ("error" in value) == (status != 200)
                except (OSError, http.client.HTTPException) as error:
                    # A body that is refused is not read to its end: the connection may break.
                    status, fine = type(error).__name__, len(body) > 16 << 20
                except ValueError:
                    fine = False
                with lock:
                    counts[str(status)] = counts.get(str(status), 0) + 1
                    if not fine:
                        wrong.append([status, path, repr(body[:80])])

        in_threads(8, work)
        alive = Asker(port, name).predictions(["a film"])
    start, end = memory[len(memory) // 3], memory[-1]
    return {
        "requests": options.requests, "statuses": counts, "wrong": len(wrong),
        "examples": wrong[:3],
        "rss_mb": memory, "held": not wrong and bool(alive) and end < 1.1 * start,
    }  # fmt: skip


def swap(root, options):
    rng = random.Random(1)
    asked = texts_of(rng, 200)
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        versions = Path(folder) / "model"

        def add(number):
            """One more version of the same files, whole when it has its name."""
            partial = Path(folder) / f"partial-{number}"
            for path in newest(root).rglob("*"):
                if path.is_file():
                    copy = partial / path.relative_to(newest(root))
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    os.link(path, copy)
            versions.mkdir(exist_ok=True)
            partial.rename(versions / str(number))

        add(1)
        with serving(versions, "--poll_seconds", "0.5") as (_, port, name):
            expected = Asker(port, name).predictions(asked)
            failures, taken, answered_by = [], [[] for _ in range(CLIENTS)], set()
            end = time.monotonic() + 60 * options.minutes

            def work(number):
                asker, rng = Asker(port, name), random.Random(number)
                while time.monotonic() < end:
                    which, start = rng.randrange(len(asked)), time.monotonic()
                    try:
                        (found,) = asker.predictions([asked[which]])
                    except Exception as error:
                        failures.append(f"lost: {error}")
                        continue
                    taken[number].append(time.monotonic() - start)
                    if not alike(found, expected[which]):
                        failures.append(f"wrong: {asked[which]!r}")

            def change():
                number = 1
                while time.monotonic() < end - 10:
                    time.sleep(min(20, 6 * options.minutes))
                    number += 1
                    add(number)
                    wait = time.monotonic() + 60
                    while version_at(port, name) != number and time.monotonic() < wait:
                        time.sleep(0.2)
                    answered_by.add(version_at(port, name))

            changing = threading.Thread(target=change)
            changing.start()
            in_threads(CLIENTS, work)
            changing.join()
    all_taken = np.concatenate(taken)
    p50, p99 = 1000 * np.percentile(all_taken, [50, 99])
    return {
        "clients": CLIENTS, "minutes": options.minutes, "requests": len(all_taken),
        "versions": 1 + len(answered_by), "lost_or_wrong": len(failures), "examples": failures[:3],
        "p50_ms": round(p50, 1), "p99_ms": round(p99, 1),
        "held": not failures and len(answered_by) > 1,
    }  # fmt: skip


def version_at(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/v1/models/{name}/metadata")
    return int(json.loads(connection.getresponse().read())["model_spec"]["version"])


def alike(found, expected):
    """Whether two answers are the same, up to rounding and padding."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(alike(found[k], expected[k]) for k in found)
    if isinstance(expected, list):
        shorter, longer = sorted((found, expected), key=len)
        rest = longer[len(shorter) :]
        return all(map(alike, shorter, longer)) and all(value in ("", -1, 0) for value in rest)
    if isinstance(expected, float):
        return abs(found - expected) < 1e-3
    return found == expected


FIGURES = {"first": first, "throughput": throughput, "fuzz": fuzz, "swap": swap}


def main(arguments=None):
    """Print the figures; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder of versions")
    parser.add_argument("--only", nargs="+", choices=list(FIGURES), default=list(FIGURES))
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=10.0, help="of throughput, each time")
    parser.add_argument("--rounds", type=int, default=3, help="of throughput")
    options = parser.parse_args(arguments)
    missed = 0
    for name in options.only:
        found = FIGURES[name](options.root.resolve(), options)
        print(json.dumps({"figure": name, **found}, ensure_ascii=False), flush=True)
        missed += not found["held"]
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
