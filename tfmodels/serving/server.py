"""A server of exported versions on TF Serving's own API, for development and small loads.

In: directories of versions. Out: REST and gRPC as TF Serving has them, a page at `/` to try the
models in, counters at `/metrics`. Clients need not know which of the two they ask:

    with Server(["saved_models"], port=0) as server:
        print(Client(server.url("sentiment")).predict({"text": ["a joy"]}))

Python reads every request here, on one core; where that is not enough, TF Serving takes over.
"""

import asyncio
import contextlib
import dataclasses
import json
import re
import socket
import threading
import time
import urllib.parse
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tfmodels.errors import InputError
from tfmodels.serving.batching import Batcher, Batching
from tfmodels.serving.json_tensors import parsed, response, signature_of, tensors_of
from tfmodels.serving.monitoring import Monitoring
from tfmodels.serving.protocol import import_api
from tfmodels.serving.refusals import Refused
from tfmodels.serving.versions import DEFAULT, Loaded, Models

PAGE = Path(__file__).with_name("page")
_NAME = r"(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(rf"(?i:/v1/models)/{_NAME}:(?P<verb>predict|classify|regress|stream)")
_GET = re.compile(rf"(?i:/v1/models)(?:/{_NAME}(?P<metadata>/metadata)?)?")
# What a page of another server may do here, as TF Serving's --enable_cors_support allows.
_CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, GET",
    "access-control-allow-headers": "Content-Type",
}
# The page runs its own script and nothing else, and asks the server that `?server=` names.
_POLICY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src *; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a server takes.

    Attributes:
        max_body: bytes of a request.
        max_rows: of a request.
        timeout: seconds that a request may take, waiting included.
        max_requests: that are read or wait at a time, over gRPC and REST each.
    """

    max_body: int = 16 << 20
    max_rows: int = 1024
    timeout: float = 60.0
    max_requests: int = 512


class Server:
    """Serves versions until `close`.

    Args:
        directories: see `Models`.
        host: address to listen at.
        port, grpc_port: of REST and of gRPC; 0 is any free one, None of gRPC none.
        config_file, poll_seconds, log: see `Models`.
        batching: `Batching`.
        limits: `Limits`.
        cors: whether pages of other servers may ask this one, as TF Serving's
            `--enable_cors_support` lets them.

    Attributes:
        models: `Models`.
        port, grpc_port: as they are.

    Raises:
        InputError: a port is taken, nothing can be served, or a package is missing.
    """

    def __init__(
        self, directories: Iterable[str | Path], *, host: str = "127.0.0.1", port: int = 8501,
        grpc_port: int | None = 8500, config_file: str | Path | None = None,
        poll_seconds: float = 2.0, batching: Batching | None = None, limits: Limits | None = None,
        cors: bool = False, log: Any = None,
    ) -> None:  # fmt: skip
        self.host, self.limits, self.monitoring = host, limits or Limits(), Monitoring()
        self._headers = _CORS if cors else {}
        uvicorn = _import_uvicorn()
        self.models = Models(directories, config_file, poll_seconds, log)
        # Ports first: models take long, and a port that is taken is known at once.
        self._socket = _bound(host, port)
        self.port = self._socket.getsockname()[1]
        self._batcher = Batcher(batching or Batching(), self.monitoring.batch)
        self._grpc = None
        try:
            if grpc_port is not None:
                from tfmodels.serving.grpc_service import start

                self._grpc, self.grpc_port = start(self, host, grpc_port)
            self.models.start()
        except BaseException:
            self._socket.close()
            self._batcher.close()
            raise
        config = uvicorn.Config(
            self._app(), log_level="warning", access_log=False, lifespan="off", server_header=False,
            limit_concurrency=self.limits.max_requests, timeout_graceful_shutdown=30,
            timeout_keep_alive=75, ws="none", date_header=False,
        )  # fmt: skip
        self._rest = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._rest.run, args=([self._socket],), daemon=True, name="rest"
        )
        self._thread.start()
        if self._grpc is not None:
            self._grpc.start()
        while not self._rest.started and self._thread.is_alive():
            time.sleep(0.005)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """URL of the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    def url(self, name: str, grpc: bool = False) -> str:
        """Return the URL of a model, for `Client`."""
        if grpc:
            return f"grpc://{self.host}:{self.grpc_port}/{name}"
        return f"{self.address}v1/models/{name}"

    def close(self) -> None:
        """Answer the requests that have begun, take no others, and end."""
        grpc_ended = None if self._grpc is None else self._grpc.stop(10)
        self._rest.should_exit = True
        self._thread.join()
        if grpc_ended is not None:
            grpc_ended.wait()
        self.models.close()
        self._batcher.close()

    def ask(self, loaded: Loaded, signature: str, inputs: dict[str, np.ndarray]) -> tuple:
        """Return `(future of the answers, number of rows)`; raises `Refused`."""
        rows = loaded.checked(signature, inputs, self.limits.max_rows)
        key = (loaded, signature)
        return self._batcher.ask(key, lambda given: loaded.ask(signature, given), inputs), rows

    # REST.

    def _app(self):
        from starlette.applications import Starlette
        from starlette.responses import FileResponse, PlainTextResponse
        from starlette.routing import Mount, Route
        from starlette.staticfiles import StaticFiles

        async def page(_):
            return FileResponse(PAGE / "index.html", headers=_POLICY)

        async def metrics(_):
            return PlainTextResponse(self.monitoring.text())

        async def failed(request, error):
            return _refusal(Refused("INTERNAL", type(error).__name__), self._headers)

        async def unknown(request, error):
            return _refusal(_malformed(request), self._headers)

        every = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        return Starlette(
            routes=[
                Route("/", page),
                Mount("/page", StaticFiles(directory=PAGE)),
                Route("/metrics", metrics),
                Route("/monitoring/prometheus/metrics", metrics),
                Route("/{rest:path}", self._answer, methods=every),
            ],
            exception_handlers={404: unknown, 405: unknown, 500: failed},
        )

    async def _answer(self, request):
        """Answer what TF Serving answers below `/v1`, and `:stream`."""
        from starlette.responses import Response

        start, model, code = time.monotonic(), "", "OK"
        try:
            path = request.scope["raw_path"].decode("ascii", "replace")
            if request.method == "OPTIONS" and self._headers:
                return Response(headers=self._headers)
            if request.method == "GET" and (match := _GET.fullmatch(path)):
                body = self._described(**_which(match), metadata=match["metadata"])
                return Response(body, media_type="application/json", headers=self._headers)
            if request.method != "POST" or not (match := _POST.fullmatch(path)):
                raise _malformed(request)
            loaded = self.models.find(**_which(match))
            model, verb = loaded.name, match["verb"].lower()
            body = parsed(await self._body(request))
            if verb == "stream":
                return await self._stream(request, loaded, body)
            if verb != "predict":
                name = signature_of(body, DEFAULT)
                loaded.inputs(name)
                raise Refused(
                    "INVALID_ARGUMENT",
                    f"Expected {verb} signature method_name to be tensorflow/serving/{verb}. Was: "
                    f"{loaded.definitions[name].method_name}",
                )
            signature = signature_of(body, DEFAULT)
            inputs, in_rows = tensors_of(body, loaded.inputs(signature))
            future, rows = self.ask(loaded, signature, inputs)
            answers = await self._waited(future)
            answer = response(answers, in_rows, rows)
            return Response(answer, media_type="application/json", headers=self._headers)
        except Refused as error:
            code = error.code
            return _refusal(error, self._headers)
        except Exception:
            code = "INTERNAL"
            raise
        finally:
            if request.method == "POST":
                self.monitoring.request(model, code, "REST", time.monotonic() - start)

    async def _body(self, request):
        """Return the body of a request; refuse one that is too large.

        One of up to twice the size is read to its end first: a client that is still sending would
        see a broken connection, not the answer.
        """
        most = self.limits.max_body
        message = f"the body has more than {most} bytes; send fewer rows in a request"
        refused = Refused("INVALID_ARGUMENT", message, 413)
        given = request.headers.get("content-length", "0")
        if given.isdecimal() and int(given) > 2 * most:
            raise refused

        async def read():
            parts, size = [], 0
            async for part in request.stream():
                size += len(part)
                if size > 2 * most:
                    break
                if size <= most:
                    parts.append(part)
            if size > most:
                raise refused
            return b"".join(parts)

        try:
            return await asyncio.wait_for(read(), self.limits.timeout)
        except asyncio.TimeoutError:
            raise Refused("DEADLINE_EXCEEDED", "the body did not come in time", 408) from None

    async def _waited(self, future):
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self.limits.timeout)
        except asyncio.TimeoutError:
            message = f"no answer in {self.limits.timeout:g} s"
            raise Refused("DEADLINE_EXCEEDED", message) from None

    async def _stream(self, request, loaded, body):
        """Answer `:stream`: the text that `generate` gives, as it comes, as server-sent events."""
        from starlette.responses import StreamingResponse

        wanted = loaded.inputs("stream")
        row = {name: value for name, value in body.items() if name != "signature_name"}
        row = {**STREAM_DEFAULTS, **row, "token_ids": [], "mask": []}
        inputs, _ = tensors_of({"instances": [row]}, wanted)
        future, _ = self.ask(loaded, "stream", inputs)  # refuses before the stream begins
        first = await self._waited(future)

        async def events() -> AsyncIterator[str]:
            answers, shown = first, ""
            while True:
                text = answers["text"][0].decode("utf-8", "replace")
                ended = bool(answers["finished"][0])
                # The beginning of a character or of a stop string may go again.
                if text != shown or ended:
                    shown = text
                    tokens = int(answers["mask"][0].sum())
                    event = {"text": text, "tokens": tokens, "finished": ended}
                    yield f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
                if ended or await request.is_disconnected():
                    return
                given = {**inputs, "token_ids": answers["token_ids"], "mask": answers["mask"]}
                try:
                    future, _ = self.ask(loaded, "stream", given)
                    answers = await self._waited(future)
                except Refused as error:
                    yield f"event: error\ndata: {json.dumps({'error': error.message})}\n\n"
                    return

        headers = {**self._headers, "cache-control": "no-store"}
        return StreamingResponse(events(), media_type="text/event-stream", headers=headers)

    def _described(self, name=None, version=None, label=None, metadata=None):
        """Return JSON: the models, the states of a model, or its signatures."""
        if name is None:  # ours: TF Serving has no list of its models
            return json.dumps({"models": self.models.names()})
        if metadata:
            return metadata_json(self.models.find(name, version, label))
        return json.dumps(
            {
                "model_version_status": [
                    {
                        "version": str(number),
                        "state": state,
                        "status": {
                            "error_code": "UNKNOWN" if message else "OK",
                            "error_message": message,
                        },
                    }
                    for number, (state, message) in sorted(
                        self.models.states(name, version, label).items(), reverse=True
                    )
                ]
            }
        )


# Settings of a streamed text that a request does not give.
STREAM_DEFAULTS = {"max_new_tokens": 64, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 0}


def metadata_json(loaded: Loaded) -> str:
    """Return the answer to `/metadata`."""
    from google.protobuf import json_format

    definitions = import_api("get_model_metadata_pb2", "a server").SignatureDefMap(
        signature_def=loaded.definitions
    )
    found = json_format.MessageToDict(
        definitions, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    spec = {"name": loaded.name, "signature_name": "", "version": str(loaded.number)}
    return json.dumps({"model_spec": spec, "metadata": {"signature_def": found}})


def _which(match):
    """Return the name, version and label of a path; raise `Refused` for a version too large."""
    if match["name"] is None:
        return {"name": None, "version": None, "label": None}
    version = None if match["version"] is None else int(match["version"][:20])
    if version is not None and version >= 2**63:
        raise Refused(
            "INVALID_ARGUMENT", f"Failed to convert version: {match['version']} to numeric."
        )
    label = match["label"] and urllib.parse.unquote(match["label"])
    return {"name": urllib.parse.unquote(match["name"]), "version": version, "label": label}


def _malformed(request):
    path = request.scope.get("raw_path", b"").decode("ascii", "replace")
    return Refused("INVALID_ARGUMENT", f"Malformed request: {request.method} {path}")


def _refusal(error, headers):
    from starlette.responses import JSONResponse

    # A body that is not read to its end would be taken for the next request.
    if error.status in (408, 413):
        headers = {**headers, "connection": "close"}
    return JSONResponse({"error": error.message}, error.status, headers)


def _bound(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise InputError(
            f"port {port}: cannot be used at {host} ({error.strerror or error}); give another, or "
            "0 for any free one"
        ) from error
    return listening


def _import_uvicorn():
    with contextlib.suppress(ImportError):
        import starlette  # noqa: F401
        import uvicorn

        return uvicorn
    raise InputError("a server needs starlette and uvicorn; run: pip install 'tfmodels[server]'")
