"""Programs that are measured by turns, so that a change in the machine's speed falls on all.

Each program is a child process, which stays: it builds its model once and answers each line on its
standard input, a question such as `"32 128"`, by one line of JSON on its standard output. Only one
computes at a time. What is printed of a row is the median of the rounds and, as spread, half of the
range between the quartiles as a share of the median.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path


def installed(*modules):
    """Return whether all modules can be imported."""
    return all(importlib.util.find_spec(module) for module in modules)


def start(module, *arguments, threads=2):
    """Start `python -m module arguments`, which calls `serve`, and wait until it is ready."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": str(threads)}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
    _answer(process)
    return process


def ask(process, question):
    """Return the answer of a program; exit if it ended."""
    print(question, file=process.stdin, flush=True)
    return _answer(process)


def _answer(process):
    answer = process.stdout.readline()
    if not answer:
        sys.exit(f"{' '.join(process.args[2:])} ended early")
    return json.loads(answer)


def serve(make):
    """Answer the questions on standard input by the function that `make` returns."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    answer = make()
    print(json.dumps("ready"), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(line.strip())), file=out, flush=True)


def rounds(processes, questions, number):
    """Return the answers of `number` rounds by question and program, after one not counted."""
    found = {question: {name: [] for name in processes} for question in questions}
    try:
        for question in questions:
            for counted in range(number + 1):
                for name, process in processes.items():
                    answer = ask(process, question)
                    if counted:
                        found[question][name].append(answer)
                        print(f"{question} {name}: {answer}", file=sys.stderr, flush=True)
    finally:
        for process in processes.values():
            process.stdin.close()
            process.wait()
    return found


def run_once(module, *arguments):
    """Run `python -m module arguments` to its end; return the JSON of its last line."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def milliseconds(step, least=3, seconds=0.4):
    """Return the median time of a step; it runs `least` times, and for so many seconds."""
    taken, end = [], time.perf_counter() + seconds
    while len(taken) < least or time.perf_counter() < end:
        begin = time.perf_counter()
        step()
        taken.append(1000 * (time.perf_counter() - begin))
    return statistics.median(taken)


def summary(values):
    """Return `(median, spread)`, see above."""
    middle = statistics.median(values)
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (middle,) * 3
    return middle, (high - low) / 2 / middle


def print_table(title, found, digits=1):
    """Print medians and spreads of `rounds` as a Markdown table; return them for JSON."""
    print(f"\n| {title} | " + " | ".join(found) + " |")
    print("|---" * (len(found) + 1) + "|")
    result = {}
    for name in next(iter(found.values())):
        cells = {question: summary(values[name]) for question, values in found.items()}
        texts = (f"{middle:.{digits}f} ± {spread:.0%}" for middle, spread in cells.values())
        print(f"| {name} | " + " | ".join(texts) + " |", flush=True)
        result[name] = {
            question: {"median": round(middle, 3), "spread": round(spread, 3)}
            for question, (middle, spread) in cells.items()
        }
    return result


def ratios(result, ours, peers, smaller_is_better=True):
    """Return, by question, how many times better ours is than the best of the peers.

    Args:
        result: of `print_table`.
        ours, peers: parts of names; of several programs the best counts.
        smaller_is_better: whether the figures are times.
    """
    best, found = (min if smaller_is_better else max), {}
    for question in next(iter(result.values())):
        sides = []
        for parts in (ours, peers):
            values = [
                cells[question]["median"]
                for name, cells in result.items()
                if any(part in name for part in parts)
            ]
            sides.append(best(values) if values else None)
        if None not in sides:
            mine, best_peer = sides
            found[question] = round(best_peer / mine if smaller_is_better else mine / best_peer, 2)
    return found


def print_goal(what, found, goal):
    """Print the ratios beside their goal; return whether all reach it."""
    reached = all(ratio >= goal for ratio in found.values())
    each = ", ".join(f"{ratio} ({question})" for question, ratio in found.items())
    print(f"\n{what}: {each}; goal {goal}: {'reached' if reached else 'missed'}", flush=True)
    return {"ratio": found, "goal": goal, "reached": reached}


def machine(threads=2):
    """Return what bounds every program: rates of products in GFLOP/s and of memory in GB/s.

    Measured with PyTorch on `threads` threads: the best of several products of 2,048 columns, and
    of sums over 256 MB.
    """
    import torch

    torch.set_num_threads(threads)
    found = {}
    for kind in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(2048, 2048).to(kind) for _ in range(2))
        taken = milliseconds(lambda a=a, b=b: torch.matmul(a, b), 5)
        found[f"{str(kind)[6:]} products, GFLOP/s"] = round(2 * 2048**3 / taken / 1e6)
    numbers = torch.ones(64 * 2**20)
    taken = milliseconds(numbers.sum, 5)
    found["memory, GB/s"] = round(4 * numbers.numel() / taken / 1e6, 1)
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        names = [line for line in cpu.read_text().splitlines() if line.startswith("model name")]
        found["processor"] = names[0].split(": ")[1] if names else "unknown"
    return found
