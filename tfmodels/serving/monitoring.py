"""Counters of a server, under the names that TF Serving gives its own, as Prometheus reads them.

In: what happens. Out: the text of `/metrics`.
"""

import bisect
import collections
import threading

# Upper bounds of the buckets of latencies, in microseconds, as TF Serving's: 10 * 1.8^n.
BOUNDS = [10 * 1.8**number for number in range(33)]
_PREFIX = ":tensorflow:serving:"


class Monitoring:
    """Counts requests, their latencies and their batches; threads may count at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: collections.Counter = collections.Counter()
        self._latencies: dict = {}
        self._batches = self._rows = self._batched = 0

    def request(self, model: str, code: str, transport: str, seconds: float) -> None:
        """Count a request.

        Args:
            model: name; of unknown models the caller gives one name for all.
            code: of `refusals.STATUS`.
            transport: "REST" or "GRPC".
            seconds: that it took.
        """
        micros = seconds * 1e6
        with self._lock:
            self._requests[model, code] += 1
            buckets, total = self._latencies.setdefault(
                (model, transport), ([0] * (len(BOUNDS) + 1), [0.0])
            )
            buckets[bisect.bisect_left(BOUNDS, micros)] += 1
            total[0] += micros

    def batch(self, rows: int, requests: int) -> None:
        """Count a call of a model, with the rows and the requests in it."""
        with self._lock:
            self._batches += 1
            self._rows += rows
            self._batched += requests

    def text(self) -> str:
        """Return the counters in Prometheus' format."""
        with self._lock:
            requests = sorted(self._requests.items())
            latencies = [
                (labels, list(buckets), total[0])
                for labels, (buckets, total) in sorted(self._latencies.items())
            ]
            batches, rows, batched = self._batches, self._rows, self._batched
        lines = [f"# TYPE {_PREFIX}request_count counter"]
        for (model, code), number in requests:
            lines.append(
                f'{_PREFIX}request_count{{model_name="{_quoted(model)}",status="{code}"}} {number}'
            )
        lines.append(f"# TYPE {_PREFIX}request_latency histogram")
        for (model, transport), buckets, total in latencies:
            labels = f'model_name="{_quoted(model)}",API="Predict",entrypoint="{transport}"'
            name, count = f"{_PREFIX}request_latency", 0
            for bound, number in zip([*map("{:g}".format, BOUNDS), "+Inf"], buckets, strict=True):
                count += number
                lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {count}')
            lines += [f"{name}_sum{{{labels}}} {total:.0f}", f"{name}_count{{{labels}}} {count}"]
        for name, number in (("batches", batches), ("rows", rows), ("requests", batched)):
            lines.append(f"# TYPE {_PREFIX}batching_{name} counter")
            lines.append(f"{_PREFIX}batching_{name} {number}")
        return "\n".join(lines) + "\n"


def _quoted(text):
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
