"""BERT and GPT-2 on Keras' JAX backend beside PyTorch `transformers`, on a GPU.

    python -m benchmarks.gpu [--sizes bert-large gpt2-medium] [--rounds 5]

In: nothing; random weights, the same for all, and random ids without padding. Out: whether the
logits agree, a Markdown table of milliseconds of a forward pass and of a training step, and a last
line of JSON. Exit status 1 if logits do not agree.

Each runner has a process of its own, which stays; they compile at the same time and are timed by
turns. Products are bfloat16 and weights float32 (`mixed_bfloat16`, autocast). A training step has
dropout 0.1, but none on attention weights unless `--attention_dropout` says so, AdamW and gradients
clipped to norm 1. PyTorch has SDPA attention and fused AdamW, as it is and with `torch.compile`.

Operations are those of matrix products and attention: two for each multiplication and addition,
half of the attention where it is causal, three times the forward pass for a training step. The peak
is that of products of two large bfloat16 matrices, the better one of JAX and PyTorch, in this run.

Needs keras, jax, torch and transformers; no TensorFlow. `--sizes tiny` is for a CPU.
"""

import argparse
import dataclasses
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class Work:
    """A model with its batch; `peak_width` is that of the matrices that measure the peak."""

    family: str
    size: str  # a key of `sizes` of the config
    vocabulary_size: int
    batch: int
    length: int
    peak_width: int = 8192

    def fields(self, attention_dropout):
        fields = {"vocabulary_size": self.vocabulary_size, "max_length": self.length}
        return {**fields, "attention_dropout": attention_dropout}


SIZES = {
    "bert-large": Work("bert", "large", 30522, 32, 512),
    "gpt2-medium": Work("gpt2", "medium", 50257, 8, 1024),
    "bert-tiny": Work("bert", "tiny", 1000, 4, 32, 256),
    "gpt2-tiny": Work("gpt2", "tiny", 1000, 4, 32, 256),
}
RUNNERS = ("tfmodels", "torch", "torch compiled")
KINDS = ("forward", "training step")
# Largest difference of a logit from that of PyTorch in float32, in parts of the largest logit.
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.05}
COMPARED = 8  # positions at the end of a text, of GPT-2's logits
SECONDS = 0.5  # of steps in one turn
DROPOUT, LEARNING_RATE, CLIP_NORM, NUM_CLASSES = 0.1, 5e-5, 1.0, 2


def values(name, shape):
    """Return the weight of a published name: the same array in every process."""
    numbers = np.random.default_rng(zlib.crc32(name.encode()))
    scale_of_norm = len(shape) == 1 and name.endswith("weight")
    return 0.02 * numbers.standard_normal(shape, "float32") + np.float32(scale_of_norm)


def data(work, rows=None):
    """Return ids `[B, S]` and labels: `[B]` of a classifier, `[B, S]` of GPT-2 (-1: none)."""
    numbers = np.random.default_rng(0)
    shape = (rows or work.batch, work.length)
    ids = numbers.integers(0, work.vocabulary_size, shape).astype("int32")
    if work.family == "bert":
        return ids, numbers.integers(0, NUM_CLASSES, shape[0]).astype("int32")
    return ids, np.concatenate([ids[:, 1:], np.full_like(ids[:, :1], -1)], 1)


def config_of(work, attention_dropout):
    """Return our config of a model."""
    from tfmodels.models.bert import BertConfig
    from tfmodels.models.gpt import GptConfig

    kind = BertConfig if work.family == "bert" else GptConfig
    return kind.of_size(work.size, dropout=DROPOUT, **work.fields(attention_dropout))


def operations(work, config, kind):
    """Return the number of operations of a step."""
    width, keys = config.hidden_dim, work.length
    keys = (keys + 1) / 2 if work.family == "gpt2" else keys
    layer = 4 * width**2 + 2 * width * config.feedforward_dim + 2 * width * keys
    output = width * work.vocabulary_size if work.family == "gpt2" else 0
    forward = 2 * work.batch * work.length * (config.num_layers * layer + output)
    return forward if kind == "forward" else 3 * forward


class Jax:
    """Our models on JAX."""

    def __init__(self, compiled):
        import jax

        self.device = jax.devices()[0].device_kind

    def finish(self, outputs):
        import jax

        jax.block_until_ready(outputs)

    def forget(self):
        """Free the memory of a step that is no longer referred to."""
        import jax

        jax.clear_caches()

    def product(self, width):
        """Return a function that multiplies two matrices."""
        import jax

        x = jax.numpy.ones((width, width), "bfloat16")
        multiply = jax.jit(jax.numpy.matmul)
        return lambda: multiply(x, x)

    def model(self, work, precision, attention_dropout):
        from tfmodels.checkpoints.bert import BERT
        from tfmodels.checkpoints.gpt2 import GPT2
        from tfmodels.models.bert import Bert
        from tfmodels.models.classifier import Classifier
        from tfmodels.models.gpt import Gpt

        config = config_of(work, attention_dropout)
        dtype = "float32" if precision == "float32" else f"mixed_{precision}"
        if work.family == "bert":
            family, model = BERT, Classifier(Bert(config, dtype=dtype), NUM_CLASSES)
        else:
            family, model = GPT2, Gpt(config, dtype=dtype)
        for name, weight in family.weights(model).items():
            shape = family.shape_in_file(name, weight)
            array = values(family.name_in_file(name, model), shape)
            weight.assign(family.from_file(name, array, weight))
        return model

    def logits(self, model, ids, precision):
        import jax

        with jax.default_matmul_precision("highest" if precision == "float32" else "default"):
            return np.asarray(self.forward(model, ids)(), "float32")

    def forward(self, model, ids):
        import jax

        batch = {"token_ids": jax.device_put(ids)}
        state = [[v.value for v in part] for part in _parts(model)]
        call = jax.jit(lambda trainable, rest: model.stateless_call(trainable, rest, batch)[0])
        return lambda: call(*state)

    def train(self, model, ids, labels):
        import jax

        from tfmodels.training.losses import Crossentropy
        from tfmodels.training.optimizer import AdamW

        optimizer, loss = AdamW(LEARNING_RATE, global_clipnorm=CLIP_NORM), Crossentropy()
        optimizer.build(model.trainable_variables)
        batch, labels = {"token_ids": jax.device_put(ids)}, jax.device_put(labels)
        parts = (*_parts(model), optimizer.variables)
        state = tuple([variable.value for variable in part] for part in parts)

        def loss_of(trainable, rest):
            logits, rest = model.stateless_call(trainable, rest, batch, training=True)
            return loss(labels, logits), rest

        def update(state):
            trainable, rest, slots = state
            gradient = jax.value_and_grad(loss_of, has_aux=True)
            (value, rest), gradients = gradient(trainable, rest)
            trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
            return value, (trainable, rest, slots)

        update = jax.jit(update, donate_argnums=0)

        def step():
            nonlocal state
            value, state = update(state)
            return value, state

        return step


def _parts(model):
    return model.trainable_variables, model.non_trainable_variables


class Torch:
    """The models of `transformers`."""

    def __init__(self, compiled):
        import torch

        self.compiled = compiled
        self.kind = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.cuda.get_device_name() if self.kind == "cuda" else "cpu"

    def finish(self, outputs):
        import torch

        if self.kind == "cuda":
            torch.cuda.synchronize()

    def forget(self):
        """Free the memory of a step that is no longer referred to."""
        import torch

        torch.compiler.reset()
        if self.kind == "cuda":  # the runners share the device
            torch.cuda.empty_cache()

    def product(self, width):
        """Return a function that multiplies two matrices."""
        import torch

        x = torch.ones((width, width), dtype=torch.bfloat16, device=self.kind)
        return lambda: torch.mm(x, x)

    def model(self, work, precision, attention_dropout):
        import torch
        import transformers

        from tfmodels.checkpoints.bert import BERT
        from tfmodels.checkpoints.gpt2 import GPT2

        if work.family == "bert":
            family, kind = BERT, transformers.BertForSequenceClassification
        else:
            family, kind = GPT2, transformers.GPT2LMHeadModel
        entries = family.write_config(config_of(work, attention_dropout))
        if work.family == "gpt2":
            entries |= {"embd_pdrop": DROPOUT, "bos_token_id": 0, "eos_token_id": 0}
        config = kind.config_class(**entries, num_labels=NUM_CLASSES)
        config._attn_implementation = "sdpa"
        model = kind(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(torch.from_numpy(values(name, tuple(parameter.shape))))
        model = model.to(self.kind)
        return torch.compile(model) if self.compiled else model

    def logits(self, model, ids, precision):
        return self.forward(model, ids, precision)().float().cpu().numpy()

    def forward(self, model, ids, precision="bfloat16"):
        import torch

        model.eval()
        inputs = self._inputs(model, ids)

        def step():
            with torch.no_grad(), self._autocast(precision):
                return model(**inputs).logits

        return step

    def train(self, model, ids, labels):
        import torch

        model.train()
        inputs, labels = self._inputs(model, ids), torch.from_numpy(labels).long().to(self.kind)
        fused = self.kind == "cuda"
        optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, fused=fused)

        def step():
            with self._autocast("bfloat16"):
                logits = model(**inputs).logits
                loss = torch.nn.functional.cross_entropy(
                    logits.flatten(0, -2).float(), labels.flatten(), ignore_index=-1
                )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            return loss

        return step

    def _inputs(self, model, ids):
        import torch

        cache = {"use_cache": False} if model.config.model_type == "gpt2" else {}
        return {"input_ids": torch.from_numpy(ids).long().to(self.kind), **cache}

    def _autocast(self, precision):
        import torch

        return torch.autocast(self.kind, torch.bfloat16, enabled=precision == "bfloat16")


def seconds_of(runner, step, number):
    """Return the seconds of a step, as the mean of a number of them."""
    start = time.perf_counter()
    for _ in range(number):
        outputs = step()
    runner.finish(outputs)
    return (time.perf_counter() - start) / number


class Served:
    """What a child process answers: each method takes strings and returns what JSON can hold."""

    def __init__(self, name, folder, attention_dropout):
        self.name, self.folder, self.attention_dropout = name, folder, attention_dropout
        self.runner = (Jax if name == "tfmodels" else Torch)(name == "torch compiled")
        self.step = self.number = None

    def peak(self, size):
        """Return the device and its TFLOP/s in a product of matrices."""
        width = SIZES[size].peak_width
        step = self.runner.product(width)
        seconds_of(self.runner, step, 3)
        seconds = min(seconds_of(self.runner, step, 10) for _ in range(5))
        return self.runner.device, 2 * width**3 / seconds / 1e12

    def logits(self, size, precision):
        """Write the logits of two texts to a file."""
        self._forget()
        work = SIZES[size]
        model = self.runner.model(work, precision, self.attention_dropout)
        logits = self.runner.logits(model, data(work, 2)[0], precision)
        logits = logits if logits.ndim == 2 else logits[:, -COMPARED:]
        np.save(self.folder / f"{size} {precision} {self.name}.npy", logits)

    def prepare(self, size, kind):
        """Compile a step, and choose how many fill a turn."""
        self._forget()
        model = self.runner.model(SIZES[size], "bfloat16", self.attention_dropout)
        ids, labels = data(SIZES[size])
        if kind == "forward":
            self.step = self.runner.forward(model, ids)
        else:
            self.step = self.runner.train(model, ids, labels)
        seconds_of(self.runner, self.step, 3)
        self.number = max(2, round(SECONDS / seconds_of(self.runner, self.step, 2)))

    def turn(self):
        """Return milliseconds of a step."""
        return 1000 * seconds_of(self.runner, self.step, self.number)

    def _forget(self):
        self.step = None
        gc.collect()
        self.runner.forget()


def serve(served, out):
    """Answer each line on stdin, a name of a method and its arguments, by a line with the result.

    An error, such as one for want of memory, is an answer too.
    """
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = {"result": getattr(served, name)(*arguments)}
        except Exception as error:  # of any library: the other rows go on
            answer = {"error": problem(error)}
            served.step = None
        print(json.dumps(answer), file=out, flush=True)


def problem(error):
    """Return what a row says of an error."""
    text = f"{type(error).__name__}: {error}"
    if "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower():
        return "out of memory"
    return text.splitlines()[0][:200]


def start(name, folder, options):
    """Start the process of a runner."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--serve", name, str(folder)]
    command += ["--attention_dropout", str(options.attention_dropout)]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.5"}
    if name != "tfmodels":  # Keras is imported for the tables of names alone
        environment["JAX_PLATFORMS"] = "cpu"
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)


def ask(processes, *question):
    """Ask all processes at once; return the answer of each."""
    for process in processes.values():
        print(json.dumps(question), file=process.stdin, flush=True)
    answers = {}
    for name, process in processes.items():
        line = process.stdout.readline()
        answers[name] = json.loads(line) if line else {"error": "the process has ended"}
    return answers


def agreement(processes, folder, size):
    """Return a dict for each runner and precision: the difference of logits, or the error."""
    found = []
    for precision, tolerance in TOLERANCES.items():
        answers = ask(processes, "logits", size, precision)
        for name, answer in answers.items():
            row = {"size": size, "precision": precision, "runner": name}
            if "error" not in answer and "error" in answers.get("torch", {}):
                answer = {"error": "PyTorch has no logits to compare with"}
            if "error" in answer:
                found.append({**row, **answer, "agrees": False})
                continue
            expected = np.load(folder / f"{size} float32 torch.npy")
            logits = np.load(folder / f"{size} {precision} {name}.npy")
            difference = float(np.abs(logits - expected).max() / np.abs(expected).max())
            found.append({**row, "difference": difference, "agrees": difference <= tolerance})
    return found


def rows_of(processes, size, kind, options, peak):
    """Return a dict for each runner: figures of a step, or the error."""
    work = SIZES[size]
    total = operations(work, config_of(work, 0.0), kind)
    answers = ask(processes, "prepare", size, kind)
    times = {name: [] for name, answer in answers.items() if "error" not in answer}
    for _ in range(options.rounds):
        for name in [*times]:
            answer = ask({name: processes[name]}, "turn")[name]
            if "error" in answer:
                answers[name] = answer
                del times[name]
            else:
                times[name].append(answer["result"])
    rows = []
    for name, answer in answers.items():
        row = {"size": size, "batch": f"{work.batch}x{work.length}", "kind": kind, "runner": name}
        if name not in times:
            rows.append({**row, **answer})
            continue
        ms = statistics.median(times[name])
        row |= {"ms": ms, "least_ms": min(times[name]), "most_ms": max(times[name])}
        row |= {"tokens_per_s": work.batch * work.length / ms * 1000, "tflops": total / ms / 1e9}
        rows.append({**row, "share_of_peak": row["tflops"] / peak})
    return rows


def line_of(row):
    """Return the line of the table."""
    start = f"| {row['size']}, {row['batch']} | {row['kind']} | {row['runner']} | "
    if "error" in row:
        return start + f"{row['error']} | | | | |"
    return start + (
        f"{row['ms']:.2f} | {row['least_ms']:.2f} to {row['most_ms']:.2f} | "
        f"{row['tokens_per_s']:,.0f} | {row['tflops']:.3g} | {100 * row['share_of_peak']:.1f} % |"
    )


def ratios(rows):
    """Return milliseconds of ours to those of the best PyTorch, by size and kind."""
    found = {}
    for row in rows:
        if row["runner"] == "tfmodels" and "ms" in row:
            same = [r for r in rows if (r["size"], r["kind"]) == (row["size"], row["kind"])]
            peers = [r for r in same if r["runner"] != "tfmodels" and "ms" in r]
            if peers:
                best = min(peers, key=lambda r: r["ms"])
                found[f"{row['size']}, {row['kind']}"] = {
                    "ratio": row["ms"] / best["ms"], "best": best["runner"]
                }  # fmt: skip
    return found


def measure(processes, folder, options):
    """Print the table and the line of JSON; return whether all logits agree."""
    names = [name for name in SIZES if any(name.endswith(size) for size in options.sizes)]
    peaks = {name: ask({name: process}, "peak", names[0])[name]["result"]
             for name, process in processes.items()}  # fmt: skip
    peak = max(tflops for _, tflops in peaks.values())
    devices = ", ".join(sorted({device for device, _ in peaks.values()}))
    print(f"{devices}: {peak:.3g} TFLOP/s in bfloat16 products\n", flush=True)
    print("| model, batch | work | runner | ms | least to most | tokens/s | TFLOP/s | of peak |")
    print("|---" * 8 + "|")
    compared, rows = [], []
    for size in names:
        compared += agreement(processes, folder, size)
        for kind in KINDS:
            found = rows_of(processes, size, kind, options, peak)
            print(*map(line_of, found), sep="\n", flush=True)
            rows += found
    print(json.dumps({"device": devices, "peak_tflops": peak, "logits": compared, "rows": rows,
                      "to_best_torch": ratios(rows)}))  # fmt: skip
    return all(row["agrees"] for row in compared)


def main():
    """Run the runners in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["bert-large", "gpt2-medium"],
                        choices=[*SIZES, "tiny"], help="tiny: both, for a CPU")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runners", nargs="+", default=list(RUNNERS), choices=RUNNERS)
    parser.add_argument("--attention_dropout", type=float, default=0.0)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        name, folder = options.serve
        out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what libraries print is not an answer
        return serve(Served(name, Path(folder), options.attention_dropout), out)
    if "torch" not in options.runners:
        parser.error("--runners: torch is missing, whose logits the others are compared with")
    os.environ["KERAS_BACKEND"] = "jax"
    with tempfile.TemporaryDirectory() as folder:
        processes = {name: start(name, folder, options) for name in options.runners}
        try:
            return 0 if measure(processes, Path(folder), options) else 1
        finally:
            for process in processes.values():
                process.stdin.close()
                process.wait()


if __name__ == "__main__":
    sys.exit(main())
