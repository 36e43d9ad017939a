"""The process of a training: its devices, its workers, where it writes.

In: the settings of a verb. Out: the strategy to train under, and the directory of this process.
Only here, and so only on the command line, are the process' random seed and strategy set.
"""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from applications.flags import Training
from applications.unfinished import unfinished
from tfmodels.errors import InputError
from tfmodels.files import refuse_existing

if TYPE_CHECKING:
    from tensorflow.distribute import Strategy

# Settings that may differ between workers.
OF_A_WORKER = ("output_dir", "peer_wait")
# What may change when a training is resumed, because it does not change the result.
FREE = ("strategy", "peer_wait", "save_every", "nonfinite")


def dtype_of(precision: str, stored: bool = False) -> str:
    """Return the dtype policy of `--precision`.

    Args:
        precision: see `dtype_policy`.
        stored: whether weights are kept in the precision that is computed with, as for an export
            or a model that only answers; a training keeps them in float32.
    """
    import keras

    from tfmodels.training.precision import dtype_policy

    policy = dtype_policy(precision)
    return keras.DTypePolicy(policy).compute_dtype if stored else policy


def start_training(settings: Training, data: dict[str, str]) -> "Strategy":
    """Set the seed, meet the other workers, if any, and return the strategy to train under.

    Args:
        settings: of the verb.
        data: fingerprints of the data by the flags that name them. All workers must have the same
            settings and data: with different rows they would wait for each other forever.

    Raises:
        InputError: they differ, or XLA is to compile the step of several devices.
    """
    import keras

    from tfmodels.training.distribution import choose_strategy

    keras.utils.set_random_seed(settings.seed)
    same = {name: value for name, value in vars(settings).items() if name not in OF_A_WORKER}
    strategy = choose_strategy(
        settings.strategy, settings={**same, **data}, wait=settings.peer_wait
    )
    replicas = strategy.num_replicas_in_sync
    if replicas > 1 and settings.xla == "on":
        # It cannot reach the variables of another device.
        raise InputError(f"--xla on: works on one device, and there are {replicas}; give auto")
    if replicas > 1:
        print(
            f"{type(strategy).__name__}: {replicas} replicas, each with its rows of every batch "
            f"of {settings.batch_size}",
            file=sys.stderr,
        )
    return strategy


@contextlib.contextmanager
def training_of(settings: Training, rows: Any, held_out: Any) -> Iterator[tuple]:
    """Prepare a training: its output directory, its unfinished folder, its strategy.

    Args:
        settings: dataclass of the verb.
        rows: to train on; has `fingerprint`.
        held_out: to measure on, or None.

    Yields:
        `(output_dir, folder, strategy)`: the directory to write, the folder to resume from, the
        strategy to train under.

    Raises:
        InputError: the directory exists; or as `unfinished` and `start_training`.
    """
    # Fingerprints of the data instead of their paths: files may be moved.
    data = {}
    for part, flags in ((rows, ("train_file", "dataset", "text_files", "records_dir")),
                        (held_out, ("eval_file", "eval_files"))):  # fmt: skip
        flag = next((name for name in flags if getattr(settings, name, None) is not None), None)
        if flag is not None:
            data[flag] = part.fingerprint()
    with _output_of(settings) as output_dir:
        refuse_existing(output_dir, "another --output_dir")
        with unfinished(output_dir, {**vars(settings), **data}, FREE) as folder:
            yield output_dir, folder, start_training(settings, data)


@contextlib.contextmanager
def _output_of(settings):
    """Yield the path that this process writes: `output_dir` if it is the chief, else another."""
    from tfmodels.training.distribution import read_cluster

    cluster = read_cluster() if settings.strategy in ("auto", "multi_worker") else None
    if cluster is None or cluster[1] == 0:
        yield settings.output_dir
        return
    with tempfile.TemporaryDirectory() as directory:
        yield str(Path(directory) / "model")
