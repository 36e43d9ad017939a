"""Memory and time of a training step with and without `remat`.

    python -m benchmarks.remat [--models bert gpt] [--rounds 3] [--steps 4]

In: nothing; random weights and ids: BERT-base with a classifier, 16 x 128 tokens, and GPT-2 small,
2 x 1024, in the precision that is fast here. Out: a line of JSON for each model: the peak of the
resident memory of a process that trains, in GB, and the median milliseconds of a step, with and
without. Each run is a process of its own; they take turns. Nothing else should run meanwhile.
"""

import argparse
import json
import resource
import statistics
import sys
import time

from benchmarks import turns

MODELS = {"bert": (16, 128), "gpt": (2, 1024)}


def bert():
    from benchmarks.speed import new_encoder
    from tfmodels.models.classifier import Classifier

    return Classifier(new_encoder("base"), 2)


def gpt():
    from tfmodels.models.gpt import Gpt, GptConfig
    from tfmodels.training.precision import dtype_policy

    return Gpt(GptConfig.of_size("small"), dtype=dtype_policy("auto"))


def measure(name, remat, steps):
    """Print, in a child process, gigabytes and milliseconds."""
    import keras
    import numpy as np

    from tfmodels.training.optimizer import AdamW

    model, (rows, length) = globals()[name](), MODELS[name]
    model.rematerialize(remat)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(AdamW(1e-4, global_clipnorm=1.0), loss)
    ids = np.random.default_rng(0).integers(1, 30000, (rows, length)).astype("int32")
    labels = ids if name == "gpt" else ids[:, 0] % 2
    times = []
    for _ in range(2 + steps):
        start = time.perf_counter()
        model.fit({"token_ids": ids}, labels, batch_size=rows, verbose=0)
        times.append(1000 * (time.perf_counter() - start))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(json.dumps([peak, statistics.median(times[2:])]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="of each run that are counted")
    parser.add_argument("--child", nargs=2, metavar=("MODEL", "REMAT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return measure(options.child[0], options.child[1] == "yes", options.steps)
    for name in options.models:
        runs = {"no": [], "yes": []}
        for _ in range(options.rounds):
            for remat, found in runs.items():
                call = ("--steps", options.steps, "--child", name, remat)
                found.append(turns.run_once("benchmarks.remat", *call))
        medians = {
            f"remat: {remat}": {
                part: round(statistics.median(values), 2)
                for part, values in zip(("GB", "ms"), zip(*found, strict=True), strict=True)
            }
            for remat, found in runs.items()
        }
        print(json.dumps({name: medians}), flush=True)
    return None


if __name__ == "__main__":
    sys.exit(main())
