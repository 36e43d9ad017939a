"""The process of a training: its devices, its workers, where it writes.

In: the settings of a verb. Out: the strategy to train under, and the directory of this process.
Only here, and so only on the command line, are the process' random seed and strategy set.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

from applications.unfinished import unfinished
from tfmodels.errors import InputError
from tfmodels.files import refuse_existing

# Settings that workers may have of their own.
OF_A_WORKER = ("output_dir", "peer_wait")
# What may be another when a training is resumed: nothing that changes its result.
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


def start_training(settings, data: dict[str, str]):
    """Set the seed; meet the other workers, if any, and return the strategy to train under.

    Args:
        settings: of the verb.
        data: fingerprints of the data by the flags that name them. All workers must have the same
            settings and data: with other rows they would wait for each other for ever.

    Raises:
        InputError: they differ, or XLA is to compile a step of several devices.
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
def training_of(settings, rows, held_out):
    """Give what a training of these rows runs in.

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
    # Fingerprints by the flags that name the data, in the place of paths: files may be moved.
    data = {}
    for part, flags in ((rows, ("train_file", "text_files", "records_dir")),
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
    """Give the path that this process writes: `output_dir` of the chief, else a temporary one."""
    from tfmodels.training.distribution import read_cluster

    cluster = read_cluster() if settings.strategy in ("auto", "multi_worker") else None
    if cluster is None or cluster[1] == 0:
        yield settings.output_dir
        return
    with tempfile.TemporaryDirectory() as directory:
        yield str(Path(directory) / "model")
