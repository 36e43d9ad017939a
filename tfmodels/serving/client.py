"""Ask a running TF Serving, by REST or gRPC.

In: a URL that names a model, and inputs by name. Out: its answers as arrays, or a `ServerError`
in one line. A server that is away or busy is asked again, with pauses that double.

    http://HOST:8501/v1/models/NAME      grpc://HOST:8500/NAME

behind which `/versions/3` or `/labels/canary` may stand. REST needs nothing but NumPy.
"""

import base64
import http.client
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NoReturn

import numpy as np

from tfmodels.errors import InputError, first_line
from tfmodels.serving.protocol import import_api
from tfmodels.serving.rows import joined

# The path of a URL; group 1 is there with REST.
_PATH = re.compile(r"(/v1/models)?/([^/:]+)(?:/(versions|labels)/([^/:]+))?")
# The server is starting, stopping or has a full queue: it may answer the next time.
_AGAIN = {429, 502, 503, 504}
# Dtypes in REST's metadata whose names are not those of NumPy.
_DTYPES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16"}


class ServerError(InputError):
    """The server does not answer, or refuses; the message is one line."""


class _Busy(Exception):
    """Worth another try."""


class Client:
    """A model on a server.

    Args:
        url: of the model, see above.
        timeout: seconds that one try may take.
        retries: further tries, for a server that is away or busy.
        pause: seconds before the first of them; then twice as many, and so on.
        max_rows: of a request, the server's `max_batch_size`; more are sent in several requests,
            one after the other, each with the time and the tries above.

    Raises:
        InputError: the URL names no model.
    """

    def __init__(
        self, url: str, timeout: float = 10.0, retries: int = 3, pause: float = 0.2,
        max_rows: int = 32,
    ) -> None:  # fmt: skip
        parts = urllib.parse.urlsplit(url)
        grpc = parts.scheme == "grpc"
        match = _PATH.fullmatch(parts.path.rstrip("/"))
        known = parts.scheme in ("http", "https", "grpc") and parts.netloc
        if not known or match is None or grpc == bool(match[1]):
            raise InputError(
                f"{url}: not the URL of a model; give http://HOST:8501/v1/models/NAME or "
                "grpc://HOST:8500/NAME"
            )
        if timeout <= 0 or retries < 0 or max_rows < 1:
            raise InputError(
                f"timeout {timeout}, retries {retries}, max_rows {max_rows}: give a number above "
                "0, 0 or more, and 1 or more"
            )
        self.max_rows = max_rows
        self.url, self.timeout, self.retries, self.pause = url.rstrip("/"), timeout, retries, pause
        _, self.name, kind, which = match.groups()
        if kind == "versions" and not which.isdecimal():
            raise InputError(f"{url}: version {which!r} is no number")
        self._which = {kind: which} if kind else {}
        self._transport = _Grpc(self, parts.netloc) if grpc else _Rest(self)

    def predict(
        self, inputs: dict[str, Any], signature: str = "serving_default"
    ) -> dict[str, np.ndarray]:
        """Return the model's answers.

        Args:
            inputs: dict from input to array or list; text as str or bytes.
            signature: which one to ask.

        Returns:
            dict from output to array; strings are bytes.

        Raises:
            ServerError: the server does not answer in time, or refuses the request.
        """
        arrays = {name: _rows(value) for name, value in inputs.items()}
        sizes = {len(value) if value.ndim else 0 for value in arrays.values()}
        if sizes and (len(sizes) > 1 or max(sizes) <= self.max_rows):  # also what is refused
            return self._tried(lambda: self._transport.predict(arrays, signature))
        parts = []
        for first in range(0, max(sizes, default=1), self.max_rows):
            part = {name: value[first : first + self.max_rows] for name, value in arrays.items()}
            parts.append(self._tried(lambda part=part: self._transport.predict(part, signature)))
        return joined(parts)

    def signatures(self) -> dict:
        """Return what the model takes and gives, as `contracts.described` does."""
        return self._tried(self._transport.signatures)

    def _tried(self, ask):
        for number in range(self.retries + 1):
            try:
                return ask()
            except _Busy as error:
                message = first_line(error)
            if number < self.retries:
                time.sleep(self.pause * 2**number)
        raise ServerError(
            f"{self.url}: no answer after {self.retries + 1} tries ({message}); is the server "
            "running?"
        )

    def late(self, error: Exception) -> NoReturn:
        raise ServerError(
            f"{self.url}: no answer in {self.timeout:g} s; give a longer time-out or shorter texts"
        ) from error


class _Rest:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._dtypes: dict = {}

    def predict(self, inputs, signature):
        values = {name: _plain(value.tolist()) for name, value in inputs.items()}
        answer = self._json(":predict", {"signature_name": signature, "inputs": values})
        if "outputs" not in answer:
            raise ServerError(f"{self._client.url}: not an answer of TF Serving")
        outputs = answer["outputs"]
        if not self._dtypes:
            self._dtypes = self.signatures()
        wanted = self._dtypes[signature]["outputs"]
        # A signature with one output is answered without its name.
        outputs = {next(iter(wanted)): outputs} if len(wanted) == 1 else outputs
        return {name: _array(outputs[name], tensor) for name, tensor in wanted.items()}

    def signatures(self):
        signatures = self._json("/metadata")["metadata"]["signature_def"]["signature_def"]
        return {
            name: {
                side: {key: _tensor(info) for key, info in sorted(signature[side].items())}
                for side in ("inputs", "outputs")
            }
            for name, signature in sorted(signatures.items())
            if not name.startswith("__")
        }

    def _json(self, what, body=None):
        client = self._client
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(client.url + what, data)
        try:
            with urllib.request.urlopen(request, timeout=client.timeout) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            message = _message_of(error)
            if error.code in _AGAIN:
                raise _Busy(message) from error
            raise ServerError(f"{client.url}: {message} (status {error.code})") from error
        except ValueError as error:
            raise ServerError(f"{client.url}: its answer is no JSON; is it TF Serving?") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                client.late(error)
            raise _Busy(first_line(reason)) from error


class _Grpc:
    def __init__(self, client: Client, address: str) -> None:
        import grpc

        service = _import_api("prediction_service_pb2_grpc")
        self._client = client
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(address, unlimited)
        self._stub = service.PredictionServiceStub(self._channel)

    def predict(self, inputs, signature):

        import tensorflow as tf

        request = _import_api("predict_pb2").PredictRequest()
        self._name(request.model_spec)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value, shape=value.shape))
        outputs = self._ask(self._stub.Predict, request).outputs
        return {name: tf.make_ndarray(value) for name, value in outputs.items()}

    def signatures(self):
        from tfmodels.serving.contracts import described

        api = _import_api("get_model_metadata_pb2")
        request = api.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._name(request.model_spec)
        answer = self._ask(self._stub.GetModelMetadata, request)
        signatures = api.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        return described(signatures)

    def _name(self, spec):
        which = self._client._which
        spec.name = self._client.name
        if "versions" in which:
            spec.version.value = int(which["versions"])
        elif "labels" in which:
            spec.version_label = which["labels"]

    def _ask(self, method, request):
        import grpc

        try:
            return method(request, timeout=self._client.timeout)
        except grpc.RpcError as error:
            code, message = error.code(), (error.details() or "no details").splitlines()[0]
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                self._client.late(error)
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
                raise _Busy(message) from error
            raise ServerError(f"{self._client.url}: {message} ({code.name})") from error


def _import_api(name):
    return import_api(name, "asking by gRPC")


def _rows(value):
    """Return an input as an array, of numbers in Python those of 32 bits that TensorFlow takes.

    Texts are objects: a NUL at their end is part of them.
    """
    array = np.asarray(value)
    if array.dtype.kind in "US":
        return np.asarray(value, object)
    narrow = {"i": np.int32, "f": np.float32}.get(array.dtype.kind)
    return array if isinstance(value, np.ndarray) or narrow is None else array.astype(narrow)


def _tensor(info):
    """Return a tensor of REST's metadata: a dict of `dtype` and `shape`."""
    shape = info["tensor_shape"]
    sizes = [int(dimension["size"]) for dimension in shape.get("dim", [])]
    return {
        "dtype": _DTYPES.get(info["dtype"], info["dtype"].removeprefix("DT_").lower()),
        "shape": None if shape.get("unknown_rank") else sizes,
    }


def _plain(value):
    """Return an array's list as JSON; bytes that are no text as the server wants them."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _encoded(value):
    """Return the strings of JSON as bytes."""
    if isinstance(value, list):
        return [_encoded(part) for part in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()


def _array(value, tensor):
    """Return JSON as an array of the type in the server's metadata."""
    shape = tensor["shape"]
    text = tensor["dtype"] == "string"
    array = np.array(_encoded(value) if text else value, object if text else tensor["dtype"])
    if not array.size and shape is not None:  # an empty JSON list has no width
        return array.reshape([*array.shape, *[max(n, 0) for n in shape[array.ndim :]]])
    return array


def _message_of(error):
    """Return the message of a refusal, in one line."""
    body = error.read()
    try:
        return str(json.loads(body)["error"]).splitlines()[0]
    except (ValueError, KeyError, TypeError, IndexError):
        return first_line(error)
