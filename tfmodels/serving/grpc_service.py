"""TF Serving's gRPC services over the versions of a `Server`.

In: a `Server`. Out: `PredictionService` (`Predict`, `GetModelMetadata`) and `ModelService`
(`GetModelStatus`). What our signatures do not have (`Classify`, `Regress`, `MultiInference`) and
what a running server reads from its file (`HandleReloadConfigRequest`) is UNIMPLEMENTED.
"""

import time
from concurrent import futures
from typing import TYPE_CHECKING, Any

from tfmodels.errors import InputError
from tfmodels.serving.protocol import import_api
from tfmodels.serving.refusals import Refused
from tfmodels.serving.versions import DEFAULT

if TYPE_CHECKING:
    from tfmodels.serving.server import Server

THREADS = 64  # each waits for the answer of one request


def start(server: "Server", host: str, port: int) -> tuple[Any, int]:
    """Return the gRPC server, which still has to be started, and its port.

    Raises:
        InputError: the port is taken, or tensorflow-serving-api is missing.
    """
    prediction = import_api("prediction_service_pb2_grpc", "a server")
    model_service = import_api("model_service_pb2_grpc", "a server")
    import grpc

    limit = server.limits.max_body
    service = grpc.server(
        futures.ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"),
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=server.limits.max_requests,
    )
    prediction.add_PredictionServiceServicer_to_server(
        _prediction_service(prediction.PredictionServiceServicer)(server), service
    )
    model_service.add_ModelServiceServicer_to_server(
        _model_service(model_service.ModelServiceServicer)(server), service
    )
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = service.add_insecure_port(address)
    except RuntimeError as error:
        raise InputError(
            f"grpc_port {port}: cannot be used at {host}; give another, or 0 for any free one"
        ) from error
    return service, bound


def _prediction_service(base):
    class PredictionService(base):
        def __init__(self, server: "Server") -> None:
            self._server = server

        def Predict(self, request, context):
            import numpy as np
            import tensorflow as tf

            start, model, code = time.monotonic(), "", "OK"
            server, spec = self._server, request.model_spec
            try:
                loaded = _found(server, spec)
                model, signature = loaded.name, spec.signature_name or DEFAULT
                try:
                    inputs = {
                        key: tf.make_ndarray(_reasonable(value, server.limits.max_body))
                        for key, value in request.inputs.items()
                    }
                except (ValueError, TypeError) as error:
                    raise Refused("INVALID_ARGUMENT", str(error)) from None
                future, _ = server.ask(loaded, signature, inputs)
                left = context.time_remaining()
                limit = server.limits.timeout if left is None else min(left, server.limits.timeout)
                try:
                    answers = future.result(limit)
                except futures.TimeoutError:
                    future.cancel()
                    raise Refused("DEADLINE_EXCEEDED", f"no answer in {limit:g} s") from None
                wanted = request.output_filter or answers
                if unknown := [name for name in wanted if name not in answers]:
                    message = f"output tensor alias not found in signature: {unknown[0]}"
                    raise Refused("INVALID_ARGUMENT", message)
                found = import_api("predict_pb2", "a server").PredictResponse()
                _name(found.model_spec, loaded, signature)
                for key in wanted:
                    value = answers[key]
                    found.outputs[key].CopyFrom(tf.make_tensor_proto(value, shape=np.shape(value)))
                return found
            except Refused as error:
                code = error.code
                _abort(context, error)
            except Exception:
                code = "INTERNAL"
                raise
            finally:
                self._server.monitoring.request(model, code, "GRPC", time.monotonic() - start)

        def GetModelMetadata(self, request, context):
            api = import_api("get_model_metadata_pb2", "a server")
            try:
                loaded = _found(self._server, request.model_spec)
                unknown = [name for name in request.metadata_field if name != "signature_def"]
                if unknown or not request.metadata_field:
                    raise Refused(
                        "INVALID_ARGUMENT",
                        f"Metadata field {unknown[0]} is not supported"
                        if unknown
                        else "GetModelMetadataRequest must specify at least one metadata_field",
                    )
            except Refused as error:
                _abort(context, error)
            found = api.GetModelMetadataResponse()
            _name(found.model_spec, loaded, "")
            found.metadata["signature_def"].Pack(
                api.SignatureDefMap(signature_def=loaded.definitions)
            )
            return found

    return PredictionService


def _model_service(base):
    class ModelService(base):
        def __init__(self, server: "Server") -> None:
            self._server = server

        def GetModelStatus(self, request, context):
            api = import_api("get_model_status_pb2", "a server")
            spec, found = request.model_spec, api.GetModelStatusResponse()
            try:
                states = self._server.models.states(spec.name, *_version(spec))
            except Refused as error:
                _abort(context, error)
            for number, (state, message) in sorted(states.items(), reverse=True):
                status = found.model_version_status.add(
                    version=number, state=api.ModelVersionStatus.State.Value(state)
                )
                status.status.error_code = 2 if message else 0  # UNKNOWN, OK
                status.status.error_message = message
            return found

    return ModelService


def _reasonable(tensor, most):
    """Return a tensor that has no more values than a request has bytes: one value may stand for
    all of a shape."""
    number = 1
    for dimension in tensor.tensor_shape.dim:
        number *= max(dimension.size, 0)
    if number > most:
        raise ValueError(f"a tensor of {number} values is too large")
    return tensor


def _found(server, spec):
    return server.models.find(spec.name, *_version(spec))


def _version(spec):
    version = spec.version.value if spec.HasField("version") else None
    return version, spec.version_label or None


def _name(spec, loaded, signature):
    spec.name, spec.signature_name = loaded.name, signature
    spec.version.value = loaded.number


def _abort(context, error):
    import grpc

    context.abort(grpc.StatusCode[error.code], error.message)
