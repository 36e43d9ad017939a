"""The verbs `tfmodels serve` and `serving_config`: versions on a laptop, and files for TF Serving.

In: folders of exported versions. Out: a server, until Ctrl-C; or the files that TF Serving reads.
"""

import json
import os
import signal
import sys
import threading
from dataclasses import dataclass

from applications.settings import Settings, data, output, rare, server
from tfmodels.errors import InputError


@dataclass(kw_only=True)
class Serve(Settings):
    """Serve exported versions by REST and gRPC, with a page to try them in."""

    EXAMPLE = "{} saved_models"

    directories: list[str] = data("folders of models, or of one model's versions")
    host: str = server("address to listen at; 0.0.0.0: also for other machines", "127.0.0.1")
    port: int = server("of REST and the page; 0: any free one", 8501)
    grpc_port: int = server("of gRPC; 0: any free one", 8500)
    config_file: str | None = server("models.config, for labels and versions", None)
    batching_file: str | None = server("batching.config, for the size of batches", None)
    enable_cors_support: bool = rare("let pages of other servers ask this one", False)
    timeout: float = rare("seconds that a request may take", 60.0)
    poll_seconds: float = rare("between two looks for new versions", 2.0)
    max_body: int = rare("maximum number of bytes of a request", 16 << 20)
    max_rows: int = rare("maximum number of rows of a request", 1024)
    max_requests: int = rare("maximum number of requests at a time", 512)


@dataclass(kw_only=True)
class ServingConfig(Settings):
    """Write models.config and more for TF Serving, for the versions that there are."""

    EXAMPLE = "{} saved_models --config_dir deploy/config"

    directories: list[str] = data("folders of models, or of one model's versions")
    config_dir: str = output("folder to write in; labels of a models.config in it stay")
    base_path: str = output("folder of the models where the server runs", "/models")
    stable: dict = output("versions to make stable, as '{\"sentiment\": 2}'", {})
    num_batch_threads: int | None = output("cores of the server; those of this machine", None)


def serve(settings: Serve) -> None:
    """Run `Serve`: print a JSON line with the addresses, and serve until a signal."""
    _serve_until(settings, _signalled())


def _signalled():
    """Return an event that Ctrl-C and SIGTERM set."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    return ended


def _serve_until(settings, ended):
    import tensorflow as tf

    from tfmodels.serving.batching import Batching, read_batching
    from tfmodels.serving.server import Limits, Server

    # As deploy/ sets TF Serving: a batch runs in its thread.
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(-1)
    except RuntimeError:  # TensorFlow has started, in a process that did other things before
        pass
    given = settings.batching_file
    batching = Batching() if given is None else read_batching(given)
    limits = Limits(settings.max_body, settings.max_rows, settings.timeout, settings.max_requests)
    with Server(
        settings.directories, host=settings.host, port=settings.port,
        grpc_port=settings.grpc_port, config_file=settings.config_file, batching=batching,
        poll_seconds=settings.poll_seconds, limits=limits, cors=settings.enable_cors_support,
    ) as running:  # fmt: skip
        addresses = {"page": running.address, "grpc": f"{settings.host}:{running.grpc_port}"}
        print(json.dumps({**addresses, "models": running.models.names()}), flush=True)
        print(f"{running.address} has a page to try them in; Ctrl-C ends it", file=sys.stderr)
        ended.wait()
        print("answering what has begun, then ending", file=sys.stderr)


def serving_config(settings: ServingConfig) -> dict:
    """Run `ServingConfig`: print one JSON object, the labels of each model, and return it."""
    from tfmodels.serving.configuration import write_config

    stable = {}
    for name, number in settings.stable.items():
        if not str(number).isdecimal():
            raise InputError(f"--stable {name} {number}: give the number of a version")
        stable[name] = int(number)
    labels = write_config(
        settings.directories, os.path.expanduser(settings.config_dir),
        base_path=settings.base_path, stable=stable, num_batch_threads=settings.num_batch_threads,
    )  # fmt: skip
    print(json.dumps({"config_dir": settings.config_dir, "labels": labels}))
    return labels


VERBS = {"serve": (Serve, serve), "serving_config": (ServingConfig, serving_config)}
