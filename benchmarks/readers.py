"""Damage valid files at random: every reader returns rows, or refuses in one line.

In: nothing; the files are made here. Out: one JSON object; exit status 1 if a reader raised
something else than `InputError`, wrote several lines or more than 2,000 characters, took more than
`--seconds` of processor time, or if they needed more than 1 GB beside what importing takes.

    python -m benchmarks.readers --mutations 20000

The inputs of failures are kept in `--keep DIR`.
"""

import argparse
import collections
import contextlib
import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tfmodels import data
from tfmodels.checkpoints.bert import BERT
from tfmodels.checkpoints.gpt2 import GPT2
from tfmodels.checkpoints.tokenizers import read_tokenizer
from tfmodels.errors import InputError

RSS_UNIT = 1 if sys.platform == "darwin" else 1024
LIMIT = 1e9  # bytes
WORDS = ["good", "a film", 'say "no"', "很好", "naïve", "👩‍👧", "x, y; z", "Ann Lee", "-3.5"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefg", "##a", "##b", "good", "很"]
# What stands in files that programs or people broke.
JUNK = [
    b'"', b"'", b'""', b"\0", b"\r", b"\n", b"\r\n", b"\n\n", b"\t", b",", b";", b"|", b" ", b"\\",
    b"{", b"}", b"[", b"]", b":", b"null", b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"true",
    b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff",
    b"\x84\x31\x95\x33", b"PK\x03\x04", b"\x1f\x8b", b"\xc3", b"\xa3\xac\xb5\xc4", b"\\ud800",
    "\u2028\x85\x0c\x1c\u200b\ufeff".encode(), b"sep=;\n", b"#", b"O", b"B-", b"x" * 70_000,
]  # fmt: skip
VALUES = [None, True, -1, 0, 1.5, 10**30, float("nan"), "", "x", "\ud800", [], [[]], {}, {"a": 1}]


def rows_of(rng: random.Random) -> list[tuple[str, str]]:
    return [(rng.choice(WORDS), rng.choice(["pos", "neg", "1", "0"])) for _ in range(12)]


def table(rng: random.Random, ending: str) -> dict[str, str]:
    delimiter = "\t" if ending == "tsv" else rng.choice(",;|")
    rows = [("text", "label"), *rows_of(rng)]
    quoted = [['"' + field.replace('"', '""') + '"' for field in row] for row in rows]
    return {f"rows.{ending}": "".join(delimiter.join(row) + "\n" for row in quoted)}


def json_lines(rng: random.Random) -> dict[str, str]:
    rows = [json.dumps({"text": text, "label": label}) for text, label in rows_of(rng)]
    return {"rows.jsonl": "\n".join(rows)}


def conll(rng: random.Random) -> dict[str, str]:
    tags = ["B-PER\nLee\tI-PER", "O", "B-LOC", "O"]
    sentences = (f"{rng.choice('ab很')}\t{rng.choice(tags)}\nc\tO\n" for _ in range(12))
    return {"rows.conll": "\n".join(sentences)}


def spans(rng: random.Random) -> dict[str, str]:
    row = {"text": "Ann Lee left", "entities": [{"type": "PER", "start": 0, "end": 7}]}
    return {"rows.jsonl": "\n".join(json.dumps(row) for _ in range(rng.randint(1, 9)))}


def text(rng: random.Random) -> dict[str, str]:
    return {"rows.txt": "".join(f"{word}. And so on.\n\n" for word, _ in rows_of(rng))}


def bert(rng: random.Random) -> dict[str, str]:
    config = {
        "model_type": "bert", "vocab_size": len(PIECES), "hidden_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 32,
        "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
        "id2label": {"0": "a", "1": "b"},
    }  # fmt: skip
    options = {"do_lower_case": True, "tokenizer_class": "BertTokenizer", "pad_token": "[PAD]"}
    return {"vocab.txt": "\n".join(PIECES) + "\n", "config.json": json.dumps(config),
            "tokenizer_config.json": json.dumps(options)}  # fmt: skip


def gpt2(rng: random.Random) -> dict[str, str]:
    from tfmodels.text.bpe import printable_bytes

    tokens = [*printable_bytes(), "he", "hel", "<|endoftext|>"]
    config = {"model_type": "gpt2", "vocab_size": len(tokens), "n_embd": 8, "n_layer": 1,
              "n_head": 2, "n_positions": 32, "activation_function": "gelu_new"}  # fmt: skip
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges, options = "#version: 0.2\nh e\nhe l\n", {"eos_token": "<|endoftext|>"}
    files = {"vocab.json": vocabulary, "config.json": config, "tokenizer_config.json": options}
    return {"merges.txt": merges, **{name: json.dumps(part) for name, part in files.items()}}


def fast(rng: random.Random) -> dict[str, str]:
    files = bert(rng)
    tokenizer = {
        "normalizer": {"type": "BertNormalizer", "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "vocab": {piece: n for n, piece in enumerate(PIECES)}},
        "added_tokens": [{"id": 0, "content": "[PAD]", "special": True}],
    }
    return {"tokenizer.json": json.dumps(tokenizer), "config.json": files["config.json"]}


def read_table(folder: Path, name: str) -> None:
    source = data.open_table(folder / name, missing=("refuse", "skip", "keep")[len(name) % 3])
    source.scan("label", 0.2)
    collections.deque(source.rows(seed=0), 0)


def read_entities(folder: Path, name: str) -> None:
    source = data.open_entities(folder / name)
    source.scan("entities", 0.2)
    collections.deque(source.rows(seed=0), 0)


def read_texts(folder: Path, name: str) -> None:
    texts = data.open_texts(folder / name)
    collections.deque(texts.documents(), 0)
    collections.deque(texts.passages(), 0)


def read_checkpoint(folder: Path, family: object) -> None:
    family.read_config(folder)  # type: ignore[attr-defined]
    read_tokenizer(folder)


# Kind: the files, and the reader of their directory.
KINDS: dict[str, tuple[Callable, Callable]] = {
    "csv": (lambda rng: table(rng, "csv"), lambda folder: read_table(folder, "rows.csv")),
    "tsv": (lambda rng: table(rng, "tsv"), lambda folder: read_table(folder, "rows.tsv")),
    "jsonl": (json_lines, lambda folder: read_table(folder, "rows.jsonl")),
    "text": (text, lambda folder: read_texts(folder, "rows.txt")),
    "conll": (conll, lambda folder: read_entities(folder, "rows.conll")),
    "spans": (spans, lambda folder: read_entities(folder, "rows.jsonl")),
    "bert": (bert, lambda folder: read_checkpoint(folder, BERT)),
    "gpt2": (gpt2, lambda folder: read_checkpoint(folder, GPT2)),
    "fast": (fast, lambda folder: read_checkpoint(folder, BERT)),
}


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return content with one to three mistakes."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        first, last = sorted(rng.randrange(len(content) + 1) for _ in range(2))
        kind = rng.randrange(7)
        if kind <= 2:  # put in or replaced
            last = first if kind < 2 else min(last, first + rng.randint(1, 9))
            content = content[:first] + rng.choice(JUNK) + content[last:]
        elif kind == 3:  # cut out, or off
            content = content[:first] + content[last if rng.random() < 0.7 else len(content) :]
        elif kind == 4 and content:  # another byte
            first = min(first, len(content) - 1)
            content = content[:first] + bytes([rng.randrange(256)]) + content[first + 1 :]
        elif kind == 5:  # lines in another order, or twice
            lines = content.splitlines(keepends=True)
            content = b"".join(rng.choices(lines, k=len(lines))) if lines else content
        else:
            with contextlib.suppress(UnicodeError):
                encoding = rng.choice(["utf-16", "utf-16-le", "gb18030", "utf-8-sig", "utf-32"])
                content = content.decode().encode(encoding)
    return content


def changed(value: object, rng: random.Random) -> object:
    """Return a JSON value with another one somewhere in it."""
    keys = (
        list(value)
        if isinstance(value, dict)
        else range(len(value))
        if isinstance(value, list)
        else ()
    )
    if not keys or rng.random() < 0.1:
        return rng.choice(VALUES)
    key = rng.choice(list(keys))
    if isinstance(value, dict) and rng.random() < 0.2:
        return {other: part for other, part in value.items() if other != key}
    value[key] = changed(value[key], rng)  # type: ignore[index]
    return value


def write_damaged(folder: Path, files: dict[str, str], rng: random.Random) -> None:
    broken = rng.choice(list(files))
    for name, content in files.items():
        if name == broken and name.endswith(".json") and rng.random() < 0.6:
            content = json.dumps(changed(json.loads(content), rng))
        elif name == broken:
            (folder / name).write_bytes(damaged(content.encode(), rng))
            continue
        (folder / name).write_text(content, encoding="utf-8")


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TimeoutError(f"longer than {seconds:g} s")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def problem_of(reader: Callable, folder: Path, seconds: float) -> str | None:
    """Return what is wrong about a reader's answer to a directory; "" if it refused rightly."""
    try:
        with alarm(seconds), contextlib.redirect_stderr(io.StringIO()):
            reader(folder)
        return None
    except InputError as error:
        message = str(error)
        lines = message.splitlines()
        if lines == [message] and len(message) <= 2000:
            return ""
        return f"a message of {len(lines)} lines, {len(message)} characters: {message[:300]!r}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {str(error)[:300]}"


def peak_memory() -> int:
    """Return the maximum memory of the process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mutations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0, help="processor time of each")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--keep", type=Path, help="directory for the inputs of failures")
    options = parser.parse_args(arguments)
    start = peak_memory()
    counts: collections.Counter = collections.Counter()
    failures = []
    for number in range(options.mutations):
        kind = options.kinds[number % len(options.kinds)]
        rng = random.Random(f"{options.seed} {number} {kind}")
        make, reader = KINDS[kind]
        with tempfile.TemporaryDirectory() as folder:
            write_damaged(Path(folder), make(rng), rng)
            problem = problem_of(reader, Path(folder), options.seconds)
            counts[{None: "read", "": "refused"}.get(problem, "failed")] += 1
            if problem:
                failures.append(f"{kind} {number}: {problem}")
                if options.keep:
                    kept = options.keep / f"{kind}-{number}"
                    shutil.copytree(folder, kept, dirs_exist_ok=True)
    grown = peak_memory() - start
    print(json.dumps({**counts, "gb": round(grown / 1e9, 2), "failures": failures[:20]}))
    return int(bool(failures) or grown > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
