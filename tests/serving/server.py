"""A stand-in for TF Serving on 127.0.0.1: its REST and gRPC contracts over a loaded SavedModel.

It answers `:predict` in columns (`inputs`) and in rows (`instances`, of texts), `/metadata`, and
the `PredictionService`; refusals have the status that the server gives them.
"""

import base64
import contextlib
import json
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the operations of what is served
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfmodels.serving.compatibility import read


class Stub:
    """A model that is served.

    Attributes:
        rest, grpc: URLs of the model.
        busy: so many of the next requests are refused as by a full queue.
        slow: seconds before each answer.
    """

    def __init__(self, directory):
        self.signatures = tf.saved_model.load(str(directory)).signatures
        self.definitions = read(directory).meta_graphs[0].signature_def
        self.busy, self.slow = 0, 0.0

    def wait(self):
        """Whether the request is to be refused."""
        threading.Event().wait(self.slow)
        self.busy -= 1
        return self.busy >= 0

    def predict(self, name, inputs):
        """Answers as dict of arrays; `ValueError` for what the server refuses."""
        if name not in self.signatures:
            raise ValueError(f'Serving signature name: "{name}" not found in signature def')
        wanted = self.definitions[name].inputs
        if set(inputs) != set(wanted):
            raise ValueError("input size does not match signature")
        tensors = {k: tf.constant(v, tf.as_dtype(wanted[k].dtype)) for k, v in inputs.items()}
        try:
            answers = self.signatures[name](**tensors)
        except tf.errors.OpError as error:
            raise ValueError(error.message) from error
        return {key: value.numpy() for key, value in answers.items()}


def _of_json(value):
    if isinstance(value, list):
        return [_of_json(part) for part in value]
    if isinstance(value, dict) and value.keys() != {"b64"}:
        return {key: _of_json(part) for key, part in value.items()}
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def _to_json(value):
    if isinstance(value, list):
        return [_to_json(part) for part in value]
    return value.decode() if isinstance(value, bytes) else value


def _handler(stub, name):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def answer(self, status, value):
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            if not self.path.endswith("/metadata") or f"/models/{name}" not in self.path:
                return self.answer(404, {"error": f"Could not find any versions: {self.path}"})
            found = get_model_metadata_pb2.SignatureDefMap(signature_def=stub.definitions)
            found = json_format.MessageToDict(
                found, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            self.answer(200, {"metadata": {"signature_def": found}})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if stub.wait():
                return self.answer(503, {"error": "the queue is full"})
            if f"/models/{name}" not in self.path:
                return self.answer(404, {"error": f"Servable not found for request: {self.path}"})
            signature = body.get("signature_name", "serving_default")
            rows = body.get("instances")  # of the one input
            try:
                inputs = body["inputs"] if rows is None else {"text": rows}
                answers = stub.predict(signature, _of_json(inputs))
            except ValueError as error:
                return self.answer(400, {"error": str(error)})
            lists = {key: _to_json(value.tolist()) for key, value in answers.items()}
            if rows is not None:
                columns = zip(*lists.values(), strict=True)
                found = [dict(zip(lists, values, strict=True)) for values in columns]
                return self.answer(200, {"predictions": found})
            (only, *more) = lists.values()
            self.answer(200, {"outputs": lists if more else only})

    return Handler


class _Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, stub, name):
        self.stub, self.name = stub, name

    def Predict(self, request, context):
        if self.stub.wait():
            context.abort(grpc.StatusCode.UNAVAILABLE, "the queue is full")
        if request.model_spec.name != self.name:
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request")
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        try:
            answers = self.stub.predict(request.model_spec.signature_name, inputs)
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = predict_pb2.PredictResponse()
        for key, value in answers.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value, shape=np.shape(value)))
        return response

    def GetModelMetadata(self, request, context):
        found = get_model_metadata_pb2.SignatureDefMap(signature_def=self.stub.definitions)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(found)
        return response


@contextlib.contextmanager
def serving(directory, name="model"):
    """Serves a version while the block runs; gives its `Stub`."""
    stub = Stub(directory)
    rest = ThreadingHTTPServer(("127.0.0.1", 0), _handler(stub, name))
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    service = grpc.server(futures.ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _Service(stub, name), service
    )
    port = service.add_insecure_port("127.0.0.1:0")
    service.start()
    stub.rest = f"http://127.0.0.1:{rest.server_address[1]}/v1/models/{name}"
    stub.grpc = f"grpc://127.0.0.1:{port}/{name}"
    try:
        yield stub
    finally:
        service.stop(0)
        rest.shutdown()
        rest.server_close()
