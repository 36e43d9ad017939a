"""Seconds from the start of the process to the end of the first training step, ours and peers'.

    python -m benchmarks.first_step [--sizes base minilm] [--rounds 5] [--peers tfmodels kerashub]

In: nothing; random weights and ids, of the shapes of `benchmarks.speed`. Out: a table on stderr
and a line of JSON: for each size and peer the median of the seconds after which the libraries are
imported, the model is made and compiled, and the first and the second step have ended, with the
smallest and largest of the first step. Each run is a process of its own; the peers take turns.
Nothing else should run meanwhile.
"""

import argparse
import importlib
import json
import statistics
import sys
import time

from benchmarks import speed, turns

BATCHES = {"base": (16, 128), "minilm": (32, 32)}
PARTS = ("imports", "model", "first step", "second step")
# What a training with each of them imports.
LIBRARIES = {
    "tfmodels": ("tfmodels.models.classifier", "tfmodels.training.optimizer"),
    "kerashub": ("keras_hub",),
    "transformers": ("torch", "transformers"),
}


def measure(peer, size, start):
    """Print, in a child process, the seconds since `start` at the end of each part."""
    found = []

    def ended():
        found.append(time.time() - start)

    for library in LIBRARIES[peer]:
        importlib.import_module(library)
    ended()
    train, _ = getattr(speed, f"run_{peer}")(size, *BATCHES[size])
    train = getattr(train, "by_fit", train)  # Keras' `fit`, as a user calls it
    ended()
    for _ in range(2):
        train()
        ended()
    print(json.dumps(found))


def seconds(peer, size):
    """Return the seconds after which each of `PARTS` has ended in a new process."""
    return turns.run_once("benchmarks.first_step", "--child", peer, size, time.time())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=list(BATCHES), choices=list(BATCHES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="+", default=list(LIBRARIES), choices=list(LIBRARIES))
    parser.add_argument("--child", nargs=3, metavar=("PEER", "SIZE", "START"),
                        help=argparse.SUPPRESS)  # fmt: skip
    options = parser.parse_args()
    if options.child:
        peer, size, start = options.child
        return measure(peer, size, float(start))
    found = {}
    print(f"| size, peer | {' | '.join(PARTS)} | range of the first step |", file=sys.stderr)
    print("|---" * (len(PARTS) + 2) + "|", file=sys.stderr)
    for size in options.sizes:
        rounds = {peer: [] for peer in options.peers}
        for _ in range(options.rounds):
            for peer in options.peers:
                rounds[peer].append(seconds(peer, size))
        for peer, runs in rounds.items():
            medians = [round(statistics.median(times), 2) for times in zip(*runs, strict=True)]
            first = [round(run[PARTS.index("first step")], 2) for run in runs]
            found[f"{size} {peer}"] = {**dict(zip(PARTS, medians, strict=True)), "each": first}
            cells = " | ".join(f"{value:.1f}" for value in medians)
            print(f"| {size}, {peer} | {cells} | {min(first):.1f} to {max(first):.1f} |",
                  file=sys.stderr, flush=True)  # fmt: skip
    print(json.dumps(found))
    return None


if __name__ == "__main__":
    sys.exit(main())
