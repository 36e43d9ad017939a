"""Trainings that are killed at random points and started again, beside ones that are left alone.

    python -m benchmarks.survival [--points 20] [--only NAME ...]

In: small data sets that are written here. Each application is trained once to its end; then, for
each point, again: after a random step it is killed (SIGKILL and SIGTERM in turn; of the two worker
processes of `gpt_workers` and `ner_workers` a random one), started again with the same command, and
compared: the largest difference of any weight, and whether all measurements are equal. Out: a line
of JSON a point, with the newest state that was there; exit status 1 if a difference is above 1e-6.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from benchmarks.commands import ROOT
from tests.applications import conftest
from tests.models.distributed import free_addresses
from tfmodels.training.state import LEFT, states

LIMIT = 300  # seconds for one process
# Later flags count.
SHORT = ["--epochs", "12", "--patience", "99", "--dropout", "0.1", "--save_every", "7"]
STEPS = ["--steps", "120", "--save_steps", "20", "--save_every", "7"]


def commands(work):
    """Return for each application its arguments, without `--output_dir`, and number of workers."""
    reviews = conftest.write_reviews(work / "reviews.tsv", 240)
    tagged = conftest.write_conll(work / "tagged.txt", 300)
    pairs = conftest.write_pairs(work / "pairs.jsonl", 320)
    documents = conftest.write_documents(work / "documents.txt", 300)
    train = ["train", "--train_file"]
    gpt = ["gpt", "pretrain", "--text_files", documents, "--eval_files", documents]
    gpt += [*conftest.GPT_FLAGS, *STEPS, "--sample_tokens", "0"]
    bert = ["bert", "pretrain", "--text_files", documents, *conftest.PRETRAIN_FLAGS]
    bert += [*STEPS, "--dropout", "0.1"]
    ner = ["ner", *train, tagged, *conftest.TRAIN_FLAGS, *SHORT]
    return {
        "sentiment": (["sentiment", *train, reviews, *conftest.TRAIN_FLAGS, *SHORT], 1),
        "ner": (ner, 1),
        "summarization": (["summarization", *train, pairs, *conftest.PAIR_FLAGS, *SHORT], 1),
        "bert": (bert, 1),
        "gpt": (gpt, 1),
        "gpt_workers": (gpt, 2),
        "ner_workers": (ner, 2),
    }


def started(arguments, workers, output_dir):
    """Start the processes of a training, one a worker."""
    command = [sys.executable, "-m", "applications", *map(str, arguments)]
    command += ["--output_dir", str(output_dir)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    addresses, found = free_addresses(workers), []
    for index in range(workers):
        if workers > 1:
            task = {"type": "worker", "index": index}
            config = {"cluster": {"worker": addresses}, "task": task}
            environment = {**environment, "TF_CONFIG": json.dumps(config)}
        found.append(
            subprocess.Popen(
                command, cwd=ROOT, env=environment,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip
    return found


def ended(processes):
    """Return the exit status of each process."""
    try:
        return [process.wait(LIMIT) for process in processes]
    finally:
        for process in processes:
            process.kill()


def newest(folder):
    """Return the number of the newest state; 0 if there is none."""
    found = states(folder)
    return int(found[-1].name.removeprefix("step-")) if found else 0


def measured(directory):
    """Return the weights and the measurements of a model directory."""
    metrics = json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
    metrics["history"].pop("tokens_per_second", None)
    metrics["history"].pop("loss", None)  # the mean over the steps of one process
    kept = {k: v for k, v in metrics["history"].items() if k.startswith("val_")}
    return load_file(directory / "model.safetensors"), kept


def killed(name, arguments, workers, output_dir, rng, how, total):
    """Kill a training after a random step and start it again; return what was there."""
    processes = started(arguments, workers, output_dir)
    folder = Path(f"{output_dir}.unfinished") / "states"
    target, deadline = rng.randrange(total - 10), time.monotonic() + LIMIT
    while newest(folder) < target and time.monotonic() < deadline:
        if any(process.poll() is not None for process in processes):
            break
        time.sleep(0.005)
    time.sleep(rng.random() * 0.2)
    victim = rng.randrange(workers)
    processes[victim].send_signal(how)
    statuses, state = ended(processes), newest(folder)
    finished = output_dir.exists()  # the signal came too late
    again = [0] if finished else ended(started(arguments, workers, output_dir))
    return {
        "application": name, "signal": how.name, "victim": victim, "after_step": target,
        "state": state, "statuses": statuses, "finished": finished, "again": again,
    }  # fmt: skip


def main():
    """Print the points; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, wrong = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        every = commands(work)
        names = options.only or list(every)
        alone = {}
        for point in range(options.points):
            name = names[point % len(names)]
            arguments, workers = every[name]
            if name not in alone:
                directory = work / f"{name}-alone"
                if any(ended(started(arguments, workers, directory))):
                    sys.exit(f"{name}: the training that is left alone failed")
                alone[name] = measured(directory)
            how = (signal.SIGKILL, signal.SIGTERM)[point // len(names) % 2]
            directory = work / f"{name}-{point}"
            found = killed(name, arguments, workers, directory, rng, how, total=120)
            weights, history = measured(directory)
            expected, measurements = alone[name]
            found["difference"] = max(
                float(np.abs(weights[key] - value).max()) for key, value in expected.items()
            )
            found["measurements_equal"] = history == measurements
            found["held"] = found["difference"] <= 1e-6
            if how == signal.SIGTERM and workers == 1 and not found["finished"]:
                found["held"] &= found["statuses"] == [LEFT]
            wrong += not found["held"]
            print(json.dumps({"point": point, **found}), flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
