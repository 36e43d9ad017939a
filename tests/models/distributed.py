"""Small trainings that must come out the same on any devices, and the processes that run them.

`python -m tests.models.distributed OUT CASE...` is one process, a worker where `TF_CONFIG` names
several: it writes the results of the cases into the folder OUT as `.npz`. No `applications` here:
this is what a user's own script does.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tests.layers.contract import S, integers, real_tokens
from tests.models.test_contract import SHAPE
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.classifier import Classifier
from tfmodels.models.gpt import Gpt, GptConfig
from tfmodels.models.tagger import Tagger
from tfmodels.training.losses import Accuracy, Crossentropy, MeanCrossentropy
from tfmodels.training.optimizer import AdamW, WarmupLinear
from tfmodels.training.sequence import tagging_objective

ROOT = Path(__file__).parents[2]
BATCH_SIZE, CLASSES = 4, 3
FIELDS = {"num_layers": 1, "dropout": 0.0, "attention_dropout": 0.0}
BERT = BertConfig(**SHAPE, **FIELDS)


def objective():
    return {"loss": Crossentropy(), "metrics": [Accuracy(), MeanCrossentropy()]}


def classifier():
    """Five batches, an odd number; the last has one row, so that a replica has none."""
    lengths = 1 + np.arange(17) % S
    batch = {"token_ids": integers(11, 17, S), "padding_mask": real_tokens(*lengths)}
    labels = (np.arange(17) * 7 % 5 % CLASSES).astype("int32")
    model = Classifier(Bert(BERT), CLASSES, dropout=0.0, pooling="mean")
    return model, (batch, labels), objective()


def tagger(crf=False):
    """Few of the labels count, and unequal numbers of them on the replicas."""
    lengths = 1 + np.arange(10) * 3 % S
    labels = integers(3, 10, S, seed=3)
    labels[~real_tokens(*lengths)] = -1
    batch = {
        "token_ids": integers(11, 10, S),
        "padding_mask": real_tokens(*lengths),
        "word_positions": np.tile(np.arange(S, dtype="int32"), (10, 1)),
    }
    model = Tagger(Bert(BERT), 3, ["O", "B-PER", "I-PER"] if crf else None, crf, 0.0)
    return model, (batch, labels), tagging_objective(model)


def gpt():
    ids = integers(11, 10, S + 1)
    labels = np.where(real_tokens(*(1 + np.arange(10) * 2 % S)), ids[:, 1:], -1)
    model = Gpt(GptConfig(**SHAPE, **FIELDS))
    return model, ({"token_ids": ids[:, :-1]}, labels.astype("int32")), objective()


def chain():
    return tagger(crf=True)


CASES = {case.__name__: case for case in (classifier, tagger, chain, gpt)}
CASES["tagger_in_twos"] = tagger
STEPS = {"tagger_in_twos": 2}  # that make an update


def trained(name, strategy, batch_size=BATCH_SIZE, accumulate=None, rows_used=None):
    """Two epochs of a case with `fit`, then `evaluate` and `predict`.

    Args:
        name: of `CASES`.
        strategy: to train under.
        batch_size: of all replicas.
        accumulate: steps that make an update; as `STEPS` says if not given.
        rows_used: the first so many rows; all if not given.

    Returns:
        dict of arrays: the history, what was measured, predictions, weights and their averages.
    """
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model, rows, arguments = CASES[name]()
        schedule = WarmupLinear(1e-2, 100, 2)
        steps = accumulate or STEPS.get(name)
        options = {"global_clipnorm": 0.5, "gradient_accumulation_steps": steps}
        # With a large epsilon a factor that is wrong shows, which Adam would divide out.
        optimizer = AdamW(schedule, epsilon=0.1, use_ema=True, ema_momentum=0.9, **options)
        model.compile(optimizer, **arguments)
    data = tf.data.Dataset.from_tensor_slices(rows).take(rows_used or -1).batch(batch_size)
    fitted = model.fit(data, validation_data=data, epochs=2, shuffle=False, verbose=0).history
    found = {f"history/{name}": np.array(values) for name, values in fitted.items()}
    for measure, value in model.evaluate(data, return_dict=True, verbose=0).items():
        found[f"evaluate/{measure}"] = np.array(value)
    found["predict"] = model.predict(data, verbose=0)
    for number, weight in enumerate(model.get_weights()):
        found[f"weight/{number}"] = weight
    for number, variable in enumerate(model.optimizer.variables):
        if variable.dtype == "float32":
            found[f"optimizer/{number}"] = variable.numpy()
    return found


def assert_same(found, expected, tolerance=1e-5):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=tolerance, rtol=1e-5, err_msg=name)


def free_addresses(number):
    """Addresses on loopback that nobody listens at."""
    with_ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in with_ports]
    for each in with_ports:
        each.close()
    return addresses


def run_workers(commands, timeout=180, addresses=None):
    """Runs a command of Python on each of as many workers, on loopback.

    Args:
        commands: for each worker the list of arguments of `python`.
        timeout: seconds for all of them; who takes longer is killed.
        addresses: of the workers; free ones if not given.

    Returns:
        list of `(exit status, standard output, standard error)`.
    """
    addresses = addresses or free_addresses(len(commands))
    processes = []
    try:
        for index, command in enumerate(commands):
            task = {"type": "worker", "index": index}
            config = json.dumps({"cluster": {"worker": addresses}, "task": task})
            hidden = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
            processes.append(
                subprocess.Popen(
                    [sys.executable, *command],
                    cwd=ROOT,
                    env={**os.environ, **hidden, "TF_CONFIG": config},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        # One after the other: what they print is less than a pipe holds.
        outputs = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
    return [(p.returncode, *output) for p, output in zip(processes, outputs, strict=True)]


def main(directory, *cases):
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    for case in cases:
        index = strategy.cluster_resolver.task_id
        np.savez(Path(directory) / f"{case}-{index}.npz", **trained(case, strategy))


if __name__ == "__main__":
    main(*sys.argv[1:])
