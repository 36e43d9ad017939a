"""Decoding speed of GPT-2, small: ours, PyTorch `transformers`, KerasHub.

In: random weights, prompts of 32 random tokens. Out: a line for each run on stderr, and on
the last line one JSON object: median tokens per second of each, by batch size, and the ratio
of our best precision to the best of the others. Exit status 1 if a ratio is below the goal.

    python -m benchmarks.decoding [--batches 1 8] [--runs 5] [--threads 2]

Each runs in a process of its own, which stays and is asked in turn for one generation after
the other: so all see the same machine, and only one computes at a time. The first generation
of each, which compiles or warms up, is not counted. All are greedy, with a cache, and give
exactly 96 new tokens. Weights are stored in the precision of the products.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time

PROMPT, NEW, VOCABULARY = 32, 96, 50257
GOAL = 1.5
OURS = "tfmodels"
# Who: the modules that it needs.
PEERS = {
    OURS: ("tensorflow",),
    "transformers": ("torch", "transformers"),
    "keras_hub": ("keras_nlp",),
}
PRECISIONS = ("float32", "bfloat16")


def prompts(batch):
    import numpy as np

    return np.random.default_rng(0).integers(0, VOCABULARY, (batch, PROMPT)).astype("int32")


def limit(name, threads):
    """Let the library of a peer use so many threads."""
    if name == "transformers":
        import torch

        return torch.set_num_threads(threads)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    return tf.config.threading.set_inter_op_parallelism_threads(1)


def tfmodels(precision):
    """Return our generation as a function of a batch of prompts: a graph, as an export has it."""
    import tensorflow as tf

    from tfmodels.models.gpt import Gpt, GptConfig

    model = Gpt(GptConfig(), dtype=precision)
    model.build()  # is built already, unless in an older checkout (`benchmarks.against`)

    @tf.function(input_signature=[tf.TensorSpec([None, PROMPT], tf.int32)])
    def generate(ids):
        def more(index, token, state, written):
            logits, state = model.step(token, index, state)
            written = written.write(index, token)
            return index + 1, tf.argmax(logits, -1, tf.int32), state, written

        logits, state = model.prompt({"token_ids": ids}, PROMPT + NEW)
        start = (0, tf.argmax(logits, -1, tf.int32), state, tf.TensorArray(tf.int32, NEW))
        *_, written = tf.while_loop(lambda index, *_: index < NEW, more, start)
        return tf.transpose(written.stack())

    return lambda batch: generate(prompts(batch)).numpy()


def transformers(precision):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config()).eval().to(getattr(torch, precision))

    def generate(batch):
        ids = torch.tensor(prompts(batch)).long()
        options = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False}
        with torch.inference_mode():
            found = model.generate(
                ids, attention_mask=torch.ones_like(ids), pad_token_id=0, **options
            )
        return found[:, PROMPT:].numpy()

    return generate


def keras_hub(precision):
    import keras
    import keras_nlp

    keras.config.set_dtype_policy(precision)
    backbone = keras_nlp.models.GPT2Backbone(
        VOCABULARY, 12, 12, 768, 3072, max_sequence_length=1024
    )
    model = keras_nlp.models.GPT2CausalLM(backbone, preprocessor=None)
    model.compile(sampler="greedy")

    def generate(batch):
        import numpy as np

        length = PROMPT + NEW
        ids = np.zeros((batch, length), "int32")
        ids[:, :PROMPT] = prompts(batch)
        mask = np.broadcast_to(np.arange(length) < PROMPT, ids.shape)
        inputs = {"token_ids": ids, "padding_mask": mask}
        return np.asarray(model.generate(inputs, stop_token_ids=None)["token_ids"])[:, PROMPT:]

    return generate


def serve(name, precision, threads):
    """Answer every line with a batch size on stdin by a line with the seconds of one generation."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    limit(name, threads)
    generate = globals()[name](precision)
    for line in sys.stdin:
        batch = int(line)
        start = time.perf_counter()
        shape = generate(batch).shape
        seconds = time.perf_counter() - start
        assert shape == (batch, NEW), shape
        print(seconds, file=out, flush=True)


def start(name, precision, threads):
    command = [sys.executable, "-m", "benchmarks.decoding", "--serve", name, precision]
    command += ["--threads", str(threads)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "OMP_NUM_THREADS": str(threads)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)


def ask(process, batch):
    print(batch, file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        sys.exit(f"{' '.join(process.args[3:])} ended early")
    return float(answer)


def measure(batches, runs, threads):
    """Return by batch size and `(name, precision)` tokens per second of each run."""
    there = [name for name, needs in PEERS.items() if all(map(importlib.util.find_spec, needs))]
    runners = {(name, p): start(name, p, threads) for name in there for p in PRECISIONS}
    found = {batch: {runner: [] for runner in runners} for batch in batches}
    try:
        for batch in batches:
            for run in range(runs + 1):
                for runner, process in runners.items():
                    speed = batch * NEW / ask(process, batch)
                    print(f"batch {batch} {' '.join(runner)} {speed:.1f} tokens/s", file=sys.stderr)
                    if run:  # the first one warms up
                        found[batch][runner].append(speed)
    finally:
        for process in runners.values():
            process.stdin.close()
            process.wait()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(*arguments.serve, arguments.threads)
    result, ratios = {}, {}
    for batch, speeds in measure(arguments.batches, arguments.runs, arguments.threads).items():
        medians = {runner: statistics.median(values) for runner, values in speeds.items()}
        result[batch] = {" ".join(runner): round(x, 1) for runner, x in medians.items()}
        ours = max(speed for (name, _), speed in medians.items() if name == OURS)
        others = [speed for (name, _), speed in medians.items() if name != OURS]
        if others:
            ratios[batch] = round(ours / max(others), 2)
    print(json.dumps({"tokens_per_second": result, "ratio": ratios, "goal": GOAL}))
    sys.exit(0 if all(ratio >= GOAL for ratio in ratios.values()) else 1)


if __name__ == "__main__":
    main()
