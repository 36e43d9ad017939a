"""Which devices a model trains on.

In: the `--strategy` setting and, on several machines, the variable `TF_CONFIG`. Out: a
`tf.distribute` strategy; its scope is where the model is made and compiled. The batch size of a
dataset is always the global one.
"""

import functools
import json
import os
from typing import Any

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.training.meeting import meet

STRATEGIES = ("auto", "single", "mirrored", "multi_worker")
WAIT = 300  # seconds for the other workers to start


def choose_strategy(name: str = "auto", settings: dict | None = None, wait: float = WAIT) -> Any:
    """Return the strategy of a name.

    Args:
        name: `"single"`: one device; `"mirrored"`: copies of the model on every GPU, or
            on every logical CPU where there is no GPU; `"multi_worker"`: on all workers that
            `TF_CONFIG` names; `"auto"`: multi_worker where there is a `TF_CONFIG` of several
            workers, mirrored if there is more than one GPU, else single.
        settings: dict of JSON values that must be the same on all workers.
        wait: seconds to wait for the other workers.

    Returns:
        A `tf.distribute.Strategy`.

    Raises:
        InputError: there is no such strategy, `TF_CONFIG` is wrong, or a worker does not come in
            time or has other settings.
    """
    if name not in STRATEGIES:
        raise InputError(f"--strategy {name}: give one of {', '.join(STRATEGIES)}")
    # Before TensorFlow looks at devices: it takes no workers after that.
    cluster = read_cluster() if name in ("auto", "multi_worker") else None
    if name == "multi_worker" and cluster is None:
        raise InputError("--strategy multi_worker: TF_CONFIG is not set; see docs/distributed.md")
    if cluster is not None and (name == "multi_worker" or len(cluster[0]) > 1):
        meet(*cluster, settings or {}, wait)
        return _made(tf.distribute.MultiWorkerMirroredStrategy)
    gpus = tf.config.list_logical_devices("GPU")
    if name == "single" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    return _made(tf.distribute.MirroredStrategy, tuple(device.name for device in devices))


@functools.cache
def _made(kind, *arguments):
    # One a process: TensorFlow allows one of several workers, and numbers the collective operations
    # of every strategy from the same start, so that a second one may fail.
    return kind(*arguments)


def read_cluster() -> tuple[list[str], int] | None:
    """Read `TF_CONFIG`, and check it before TensorFlow waits for machines that do not exist.

    Returns:
        `(addresses, index)`: the workers as `host:port`, the chief first, and which this process
        is; None if it is not set.

    Raises:
        InputError: it cannot be used.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text:
        return None
    try:
        config = json.loads(text)
    except ValueError as error:
        raise InputError(f"TF_CONFIG: no JSON ({error}); see docs/distributed.md") from error
    try:
        cluster, task = dict(config["cluster"]), dict(config["task"])
        kind, index = str(task["type"]), int(task["index"])
        jobs = {job: [str(address) for address in cluster.get(job, [])]
                for job in ("chief", "worker")}  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            'TF_CONFIG: give {"cluster": {"worker": ["host:port", ...]}, "task": {"type": '
            f'"worker", "index": 0}}}} (it lacks or has a wrong {error})'
        ) from error
    if other := sorted(set(cluster) - set(jobs)):
        raise InputError(f"TF_CONFIG: jobs are chief and worker, not {other[0]}")
    addresses = jobs["chief"] + jobs["worker"]
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise InputError(f"TF_CONFIG: {address!r} is not host:port")
        if addresses.count(address) > 1:
            raise InputError(f"TF_CONFIG: {address} is there twice; give each worker its own")
    if not 0 <= index < len(jobs.get(kind, [])):
        raise InputError(
            f"TF_CONFIG: task {kind} {index}, and the cluster has "
            f"{len(jobs.get(kind, []))} of {kind}"
        )
    return addresses, index + (len(jobs["chief"]) if kind == "worker" else 0)


def is_chief(strategy: Any) -> bool:
    """Return whether this process is the one that writes."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True
    resolver = strategy.cluster_resolver
    is_first = resolver.task_type == "chief" or "chief" not in resolver.cluster_spec().jobs
    return is_first and not resolver.task_id


def from_chief(strategy: Any, values: Any) -> Any:
    """Return the chief's numbers, on every worker; where there is one process, as they are.

    Args:
        strategy: the one that all workers made.
        values: structure of arrays of floats or ints, of the same shapes on all of them.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return values
    chief = is_chief(strategy)

    @tf.function(autograph=False)
    def send(values):
        def part():
            context = tf.distribute.get_replica_context()
            first = tf.equal(context.replica_id_in_sync_group, 0) & chief
            mine = [tf.where(first, value, tf.zeros_like(value)) for value in values]
            # One by one: a list is packed, and these are of several kinds.
            return [context.all_reduce(tf.distribute.ReduceOp.SUM, value) for value in mine]

        return [strategy.experimental_local_results(v)[0] for v in strategy.run(part)]

    sent = send([tf.convert_to_tensor(value) for value in tf.nest.flatten(values)])
    return tf.nest.pack_sequence_as(values, [value.numpy() for value in sent])
