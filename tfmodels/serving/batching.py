"""Requests put together, as TF Serving does it: one more text costs less than a call of its own.

In: requests of a signature, each a dict from input to array. Out: for each a future of its answer.
Requests of the same signature and shape that wait at the same time are one call; a request with
more rows than a batch has is several calls. If a call fails, its requests are asked one by one, so
that none fails for another's sake. The settings are those of TF Serving's BatchingParameters.
"""

import collections
import dataclasses
import os
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np

from tfmodels.errors import InputError
from tfmodels.serving.refusals import Refused
from tfmodels.serving.rows import joined

_FIELD = re.compile(r"(\w+)\s*(?::\s*(\w+)|\{\s*value:\s*(\w+)\s*\})\s*")


@dataclasses.dataclass(frozen=True)
class Batching:
    """How requests are put together.

    Attributes:
        max_batch_size: maximum number of rows of a call.
        batch_timeout_micros: how long a batch waits to be full.
        num_batch_threads: number of calls at a time.
        max_enqueued_batches: number of batches that may wait for one signature; more are refused.
    """

    max_batch_size: int = 32
    batch_timeout_micros: int = 2000
    num_batch_threads: int = dataclasses.field(default_factory=lambda: os.cpu_count() or 1)
    max_enqueued_batches: int = 64

    def text(self) -> str:
        """Return the settings as protobuf text of BatchingParameters."""
        lines = [f"{name} {{ value: {value} }}" for name, value in vars(self).items()]
        return "\n".join([*lines, "pad_variable_length_inputs: false"]) + "\n"


def read_batching(path: str | Path) -> Batching:
    """Return the settings in a file of protobuf text, such as `deploy/config/batching.config`.

    Raises:
        InputError: the file cannot be read, or has a setting that is not one of `Batching`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read; give a batching.config") from error
    text = re.sub(r"#.*", "", text).strip()
    given, place = {}, 0
    known = [field.name for field in dataclasses.fields(Batching)]
    while place < len(text):
        match = _FIELD.match(text, place)
        if match is None:
            raise InputError(
                f"{path}: {text[place : place + 40]!r} is no setting; write `name {{ value: 1 }}`"
            )
        name, value, place = match[1], match[2] or match[3], match.end()
        if name == "pad_variable_length_inputs" and value == "false":
            continue
        if name not in known or not value.isdecimal() or not (int(value) or "micros" in name):
            raise InputError(
                f"{path}: {name} {value}: give numbers above 0 for {', '.join(known)}, and "
                "nothing else"
            )
        given[name] = int(value)
    return Batching(**given)


class _Request:
    def __init__(self, call: Callable, inputs: dict, rows: int) -> None:
        self.call, self.inputs, self.rows = call, inputs, rows
        self.future: Future = Future()
        self.since = time.monotonic()


class _Waiting(collections.deque):
    """The requests of a key, and the number of their rows."""

    rows = 0


class Batcher:
    """Threads that answer requests, put together.

    Args:
        batching: `Batching`.
        observe: called with the number of rows and of requests of each call.
    """

    def __init__(self, batching: Batching, observe: Callable | None = None) -> None:
        self.batching, self._observe = batching, observe
        self._queues: collections.OrderedDict = collections.OrderedDict()
        self._changed, self._ended = threading.Condition(), False
        self._threads = [
            threading.Thread(target=self._work, daemon=True, name=f"batches-{number}")
            for number in range(batching.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def ask(self, key: object, call: Callable, inputs: dict[str, np.ndarray]) -> Future:
        """Return a future of the answers: dict from output to array, of the rows given.

        Args:
            key: what is asked; requests of the same key and shape may be put together.
            call: function of a dict of arrays that gives a dict of arrays, rows first.
            inputs: arrays with the same number of rows.

        Raises:
            Refused: too many requests wait, or the server is stopping.
        """
        rows = len(next(iter(inputs.values())))
        size = self.batching.max_batch_size
        shapes = tuple((name, value.shape[1:]) for name, value in sorted(inputs.items()))
        places = range(0, rows, size) if rows else (0,)
        parts = [
            _Request(
                call,
                {name: value[first : first + size] for name, value in inputs.items()},
                min(size, rows - first),
            )
            for first in places
        ]
        with self._changed:
            if self._ended:
                raise Refused("UNAVAILABLE", "the server is stopping")
            waiting = self._queues.setdefault((key, shapes), _Waiting())
            if waiting and waiting.rows + rows > size * self.batching.max_enqueued_batches:
                raise Refused(
                    "UNAVAILABLE",
                    "The batch scheduling queue to which this task was submitted is full",
                )
            waiting.extend(parts)
            waiting.rows += rows
            self._changed.notify(len(parts))
        return parts[0].future if len(parts) == 1 else _all_of(parts)

    def close(self) -> None:
        """Answer what waits, and end the threads."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self):
        while (batch := self._next()) is not None:
            self._answer(batch)
            del batch  # holds a version, which may be let go meanwhile

    def _next(self):
        """Return the requests of a batch that is full or has waited; None at the end."""
        limit = self.batching.batch_timeout_micros / 1e6
        with self._changed:
            while True:
                now, soonest = time.monotonic(), None
                for key, waiting in self._queues.items():
                    ready = waiting[0].since + limit
                    full = waiting.rows >= self.batching.max_batch_size
                    if full or ready <= now or self._ended:
                        return self._taken(key, waiting)
                    soonest = ready if soonest is None else min(soonest, ready)
                if self._ended:
                    return None
                self._changed.wait(None if soonest is None else soonest - now)

    def _taken(self, key, waiting):
        batch, rows = [], 0
        while waiting and (not batch or rows + waiting[0].rows <= self.batching.max_batch_size):
            request = waiting.popleft()
            waiting.rows -= request.rows
            if request.future.set_running_or_notify_cancel():  # else its client has gone
                batch.append(request)
                rows += request.rows
        del self._queues[key]
        if waiting:  # other signatures come first now
            self._queues[key] = waiting
        return batch

    def _answer(self, batch):
        if not batch:
            return
        rows = sum(request.rows for request in batch)
        if self._observe is not None:
            self._observe(rows, len(batch))
        try:
            inputs = batch[0].inputs
            if len(batch) > 1:
                inputs = {
                    name: np.concatenate([request.inputs[name] for request in batch])
                    for name in inputs
                }
            answers = batch[0].call(inputs)
            _check_rows(answers, rows)
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for request in batch:
                self._answer([request])
            return
        place = 0
        for request in batch:
            end = place + request.rows
            request.future.set_result({k: value[place:end] for k, value in answers.items()})
            place = end


def _check_rows(answers, rows):
    """Refuse an answer that cannot be divided among the requests of a batch, as TF Serving does."""
    for name, value in answers.items():
        if not np.ndim(value) or len(value) != rows:
            raise Refused(
                "FAILED_PRECONDITION",
                f"the output {name!r} has the shape {np.shape(value)}, no row for each of {rows}",
            )


def _all_of(parts):
    """Return a future of the rows of several requests, one after the other."""
    whole: Future = Future()
    left, lock = [len(parts)], threading.Lock()

    def done(_):
        with lock:
            left[0] -= 1
            if left[0]:
                return
        if whole.set_running_or_notify_cancel():
            try:
                whole.set_result(joined([part.future.result() for part in parts]))
            except BaseException as error:  # also that a part was cancelled
                whole.set_exception(error)

    for part in parts:
        part.future.add_done_callback(done)
    return whole
