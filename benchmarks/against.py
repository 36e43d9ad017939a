"""The speed of this checkout beside that of another one, in one run.

    python -m benchmarks.against OTHER [--steps 20] [--only train forward decode]

In: the directory of another checkout. Out: a line of JSON: median milliseconds of each work here
and there, and their ratio, below 1 where this checkout is faster: a training step and a forward
pass of a classifier of MiniLM's shape, 32 x 32 and 32 x 128 tokens, in bfloat16 where that is
fast; 32 + 96 tokens of a GPT-2, small, in bfloat16; random weights. Each checkout runs in a
process of its own, which stays; they take turns, step by step, so that both see the same machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
WORKS = ("train 32x32", "train 32x128", "forward 32x32", "forward 32x128", "decode")


def serve(checkout):
    """Answer every line with a name of a work on stdin by a line with its milliseconds."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    import tfmodels

    if Path(tfmodels.__file__).parent.parent != Path(checkout):
        sys.exit(f"{checkout}: {tfmodels.__file__} was imported instead")
    import benchmarks

    benchmarks.__path__ = [str(HERE / "benchmarks")]  # of this checkout in both processes
    from benchmarks import decoding, speed

    generate = decoding.tfmodels("bfloat16")
    works = {"decode": lambda: generate(1)}
    for n in (32, 128):
        works[f"train 32x{n}"], works[f"forward 32x{n}"] = speed.run_tfmodels("minilm", 32, n)
    for line in sys.stdin:
        start = time.perf_counter()
        works[line.strip()]()
        print(1000 * (time.perf_counter() - start), file=out, flush=True)


def start(checkout):
    environment = {**os.environ, "PYTHONPATH": str(checkout), "TF_CPP_MIN_LOG_LEVEL": "3"}
    pipe, command = subprocess.PIPE, [sys.executable, __file__, str(checkout), "--serve"]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)


def ask(process, work):
    print(work, file=process.stdin, flush=True)
    return float(process.stdout.readline() or sys.exit(f"{process.args[2]} ended early"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path, help="directory of another checkout")
    parser.add_argument("--steps", type=int, default=20, help="of each work that are counted")
    parser.add_argument("--only", nargs="+", default=["train", "forward", "decode"])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        sys.exit(serve(options.other))
    processes, found = [start(checkout) for checkout in (HERE, options.other.resolve())], {}
    for work in (name for name in WORKS if name.split()[0] in options.only):
        rounds = [[ask(process, work) for process in processes] for _ in range(2 + options.steps)]
        here, there = (statistics.median(times) for times in zip(*rounds[2:], strict=True))
        found[work] = {
            "here_ms": round(here, 1), "there_ms": round(there, 1), "ratio": round(here / there, 3)
        }  # fmt: skip
        print(work, found[work], file=sys.stderr, flush=True)
    for process in processes:
        process.communicate()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
