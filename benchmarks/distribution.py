"""What distribution costs: the same steps on one device, on two replicas and on two workers.

    python -m benchmarks.distribution [--rounds 3] [--steps 30] [--size mini]

In: nothing; token ids are random. Each round trains a classifier for as many steps of 32 rows of
64 tokens with `model.fit`, in processes of their own: `single`, one process with all cores;
`one_core`, one with a single core; `mirrored`, two logical CPUs; `workers`, two processes on
loopback. Out: a line of JSON with the median seconds of a step, the ratios to `single`, the bytes
of the gradients, and what these say of 8 machines with 8 GPUs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from benchmarks.commands import ROOT

BATCH, LENGTH, VOCABULARY = 32, 64, 8000
HOW = ("single", "one_core", "mirrored", "workers")
MACHINES, GPUS, GIGABIT = 8, 8, 100


def train(how, size, steps):
    """Print, in one process, the seconds of a step and the parameters."""
    import keras
    import numpy as np
    import tensorflow as tf

    from tfmodels.models.bert import Bert, BertConfig
    from tfmodels.models.classifier import Classifier
    from tfmodels.training.losses import Crossentropy
    from tfmodels.training.optimizer import AdamW

    strategy = tf.distribute.get_strategy()
    if how == "mirrored":
        device = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(device, two)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    elif how == "workers":
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    keras.utils.set_random_seed(0)
    with strategy.scope():
        config = BertConfig.of_size(size, vocabulary_size=VOCABULARY, max_length=LENGTH)
        model = Classifier(Bert(config), 2)
        model.compile(AdamW(1e-4, global_clipnorm=1.0), Crossentropy())
    ids = np.random.default_rng(0).integers(5, VOCABULARY, (BATCH, LENGTH)).astype("int32")
    rows = ({"token_ids": ids}, ids[:, 0] % 2)
    dataset = tf.data.Dataset.from_tensors(rows).repeat()

    class Clock(keras.callbacks.Callback):
        times = []

        def on_train_batch_end(self, batch, logs=None):
            self.times.append(time.perf_counter())

    clock = Clock()
    model.fit(dataset, steps_per_epoch=steps + 5, verbose=0, callbacks=[clock])
    taken = np.diff(clock.times[5:])  # the first ones trace and compile
    print(json.dumps([float(np.median(taken)), model.count_params()]))


def measured(how, size, steps):
    """Return the seconds of a step, and the parameters, of one way."""
    from tests.models.distributed import run_workers

    command = ["-m", "benchmarks.distribution", "--train", how, "--size", size]
    command += ["--steps", str(steps)]
    if how == "workers":
        done = run_workers([command] * 2, timeout=600)
        outputs = [output for _, output, _ in done]
        errors = done[0][2]
    else:
        start = [sys.executable] if how != "one_core" else ["taskset", "-c", "0", sys.executable]
        one = subprocess.run(
            [*start, *command], cwd=ROOT, capture_output=True, text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
        outputs, errors = [one.stdout], one.stderr
    if not all(outputs):
        sys.exit(f"{how}: failed\n{errors[-2000:]}")
    return json.loads(outputs[0].splitlines()[-1])


def main():
    """Print the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--size", default="mini")
    parser.add_argument("--train", choices=HOW, help="one process of the benchmark")
    options = parser.parse_args()
    if options.train:
        return train(options.train, options.size, options.steps)
    seconds, parameters = {how: [] for how in HOW}, 0
    for _ in range(options.rounds):
        for how in HOW:
            taken, parameters = measured(how, options.size, options.steps)
            seconds[how].append(taken)
    step = {how: statistics.median(values) for how, values in seconds.items()}
    replicas = MACHINES * GPUS
    # A ring over all replicas: every machine sends and receives this at each step.
    moved = 2 * (replicas - 1) / replicas * 4 * parameters
    network = moved / (GIGABIT / 8 * 1e9)
    print(
        json.dumps(
            {
                "figure": "distribution", "size": options.size,
                "step_seconds": {how: round(value, 4) for how, value in step.items()},
                "to_single": {how: round(step[how] / step["single"], 3) for how in HOW},
                "gradient_bytes": 4 * parameters, "ring_bytes": round(moved),
                "network_seconds_at_100_gbit": round(network, 5),
            }
        )
    )  # fmt: skip
    return None


if __name__ == "__main__":
    sys.exit(main())
