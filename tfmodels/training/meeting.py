"""The workers of a training meet before TensorFlow's servers start.

In: their addresses, and the settings of each. Out: nothing when all are there and agree; else one
`InputError` on each, within a bounded time. The chief listens at its own address, which TensorFlow
uses afterwards; the others send it their number and settings as lines of JSON. TensorFlow itself
would wait very long for a missing worker, and compares nothing.
"""

import contextlib
import json
import socket
import time
from collections.abc import Sequence

from tfmodels.errors import InputError

MAX_BYTES = 1 << 20  # of a line
PAUSE, GRACE = 0.2, 5.0  # seconds between two attempts; for the chief's answer


def meet(addresses: Sequence[str], index: int, settings: dict, wait: float) -> None:
    """Wait for the other workers, and compare settings with them.

    Args:
        addresses: list of `host:port`, the chief's first.
        index: which of them this process is.
        settings: dict of JSON values, the same on all.
        wait: seconds.

    Raises:
        InputError: a worker did not come, or has other settings.
    """
    if len(addresses) == 1:
        return
    deadline = time.monotonic() + wait
    hello = {"worker": index, "workers": addresses, "settings": settings}
    if problem := (_tell if index else _receive_all)(addresses, hello, deadline, wait):
        raise InputError(problem)


def _difference(mine, other):
    """Return what two workers do not agree on, in one line; None if they agree."""
    if mine["workers"] != other.get("workers"):
        return f"TF_CONFIG: worker {other.get('worker')} has other addresses than the chief"
    own, others = mine["settings"], other.get("settings", {})
    for name in sorted(own.keys() | others.keys()):
        if own.get(name) != others.get(name):
            return (
                f"--{name}: {own.get(name)} on the chief and {others.get(name)} on worker "
                f"{other.get('worker')}; give all workers the same"
            )
    return None


def _receive_all(addresses, hello, deadline, wait):
    """As the chief hear all others, tell them what is wrong, and return it."""
    connections, problem = {}, None
    with contextlib.ExitStack() as stack:
        try:
            port = int(addresses[0].rpartition(":")[2])
            listening = stack.enter_context(socket.create_server(("", port), backlog=128))
        except OSError as error:
            return f"TF_CONFIG: cannot listen at {addresses[0]} ({error.strerror})"
        while len(connections) < len(addresses) - 1 and problem is None:
            if (left := deadline - time.monotonic()) <= 0:
                missing = next(n for n in range(1, len(addresses)) if n not in connections)
                problem = (
                    f"worker {missing} ({addresses[missing]}) did not come within {wait:g} "
                    "seconds; start it, or mend TF_CONFIG"
                )
                break
            listening.settimeout(left)
            try:
                connection = stack.enter_context(listening.accept()[0])
                connection.settimeout(max(min(left, 10.0), 0.1))
                other = _read(connection)
            except (OSError, ValueError):
                continue  # not a worker of this training, or it has disconnected
            if isinstance(other.get("worker"), int) and 0 < other["worker"] < len(addresses):
                connections[other["worker"]] = connection
                problem = _difference(hello, other)
        for connection in connections.values():
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps({"problem": problem}).encode() + b"\n")
    return problem


def _tell(addresses, hello, deadline, wait):
    """Send the settings of a worker until the chief answers; return its objection, if any."""
    host, _, port = addresses[0].rpartition(":")
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), min(left, 10)) as chief:
                chief.settimeout(left + GRACE)  # the chief's own time may end a little later
                chief.sendall(json.dumps(hello).encode() + b"\n")
                return _read(chief)["problem"]
        except (OSError, ValueError, KeyError):
            time.sleep(PAUSE)
    return (
        f"the chief ({addresses[0]}) did not answer within {wait:g} seconds; start it, or mend "
        "TF_CONFIG"
    )


def _read(connection):
    """Return the one line of JSON that the other side sends; a dict."""
    message = json.loads(connection.makefile("rb").readline(MAX_BYTES))
    if not isinstance(message, dict):
        raise ValueError("no dict")
    return message
