"""The server: TF Serving's API over small SavedModels, with its versions, limits and batches."""

import http.client
import json
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfmodels.errors import InputError
from tfmodels.serving.batching import Batcher, Batching, read_batching
from tfmodels.serving.client import Client, ServerError
from tfmodels.serving.compatibility import check_all
from tfmodels.serving.refusals import Refused
from tfmodels.serving.saved_model import save
from tfmodels.serving.server import Limits, Server


def words(text):
    """Text as its words in upper case: rows of different lengths, padded with ""."""
    return {"word": tf.strings.split(tf.strings.upper(text)).to_tensor("")}


def export(root, factor=1):
    """A version of small signatures; `number` multiplies by a factor, and refuses below 0."""

    def number(value, ids):
        check = tf.debugging.Assert(tf.reduce_all(value >= 0), ["value: give 0 or more", value])
        with tf.control_dependencies([check]):
            total = tf.reduce_sum(ids, 1) * factor
        return {"product": value * tf.cast(total, tf.float32), "total": total}

    def switched(flag, text):
        return {"text_bytes": tf.where(flag, text, b"\xff")}

    def both(text):
        pair = tf.stack([text, tf.strings.upper(text)], 1)
        return {"label": text, "probabilities": tf.ones([tf.size(text), 2]) / 2, "classes": pair}

    text, several = tf.TensorSpec([None], tf.string), tf.TensorSpec([None, None], tf.int32)
    return save(root, {
        "serving_default": (both, {"text": text}),
        "words": (words, {"text": text}),
        "number": (number, {"value": tf.TensorSpec([None], tf.float32), "ids": several}),
        "switched": (switched, {"flag": tf.TensorSpec([None], tf.bool), "text": text}),
    })  # fmt: skip


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return export(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def server(version):
    limits = Limits(max_body=200_000, max_rows=100)
    with Server([version.parent.parent], port=0, grpc_port=0, limits=limits, cors=True) as server:
        yield server


def asked(server, path, body=None, method=None):
    """Status and JSON of an answer by REST; a body is sent as it is, or as JSON."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    request = urllib.request.Request(server.address + path, body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


PREDICT = "v1/models/small:predict"


def test_rows_and_columns(server):
    rows = {"signature_name": "number",
            "instances": [{"value": 2, "ids": [1, 2]}, {"value": 0.5, "ids": [3, 4]}]}  # fmt: skip
    columns = {"signature_name": "number", "inputs": {"value": [2, 0.5], "ids": [[1, 2], [3, 4]]}}
    assert asked(server, PREDICT, rows) == (
        200, {"predictions": [{"product": 6.0, "total": 3}, {"product": 3.5, "total": 7}]},
    )  # fmt: skip
    assert asked(server, PREDICT, columns) == (
        200, {"outputs": {"product": [6.0, 3.5], "total": [3, 7]}},
    )  # fmt: skip


def test_a_single_input_needs_no_name_and_a_single_output_has_none(server):
    ask = {"signature_name": "words"}
    plain = {"predictions": [["A", "JOY"], ["很好", ""]]}
    assert asked(server, PREDICT, {**ask, "instances": ["a joy", "很好"]}) == (200, plain)
    named = [{"text": "a joy"}, {"text": "很好"}]
    assert asked(server, PREDICT, {**ask, "instances": named}) == (200, plain)
    outputs = {"outputs": plain["predictions"]}
    assert asked(server, PREDICT, {**ask, "inputs": ["a joy", "很好"]}) == (200, outputs)
    assert asked(server, PREDICT, {**ask, "inputs": {"text": ["a joy", "很好"]}}) == (200, outputs)
    assert asked(server, PREDICT, {**ask, "inputs": []}) == (200, {"outputs": []})


def test_bytes(server):
    rows = [{"flag": True, "text": {"b64": "/wA="}}, {"flag": False, "text": "x"}]
    body = {"signature_name": "switched", "instances": rows}
    found = {"predictions": [{"b64": "/wA="}, {"b64": "/w=="}]}
    assert asked(server, PREDICT, body) == (200, found)


@pytest.mark.parametrize(
    "body, words",
    [
        (b"", "JSON Parse error"),
        (b"{", "JSON Parse error"),
        (b"\xff\xfe{}", "JSON Parse error"),
        (b"[" * 100_000, "JSON Parse error"),
        (b'{"instances": ["\\ud800"]}', "surrogate pair"),
        ([1], "Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": ["a"], "inputs": ["a"]}, "only one of"),
        ({"instances": "a"}, "must be a list"),
        ({"instances": []}, "one value or more"),
        ({"instances": [1]}, "Value: 1 Type: Number is not of expected type: string"),
        ({"instances": [None]}, "Type: Null"),
        ({"instances": [["a"]]}, "2 dimensions, not 1"),
        ({"instances": ["a", ["b"]]}, "Type: Array"),
        ({"instances": ["a", {"text": "b"}]}, "but got object at item 1"),
        ({"instances": [{"text": "a"}, "b"]}, "but got value/list at item 1"),
        ({"instances": [{"texts": "a"}]}, "keys must be equal to: text"),
        ({"instances": [{"b64": "%"}]}, "Unable to base64 decode"),
        ({"inputs": "a"}, "0 dimensions, not 1"),
        ({"inputs": {"texts": ["a"]}}, "Missing named input: text"),
        ({"inputs": {"text": ["a"], "more": []}}, "Unknown input: more"),
        ({"signature_name": 1, "instances": ["a"]}, "must be a string"),
        ({"signature_name": "no", "instances": ["a"]}, '"no" not found in signature def'),
        ({"signature_name": "number", "instances": [1]}, "expecting list of objects"),
        ({"signature_name": "number", "inputs": [1]}, "expecting an object"),
        ({"signature_name": "number", "inputs": {"value": [1], "ids": [[1], [2, 3]]}},
         "different lengths"),
        ({"signature_name": "number", "inputs": {"value": [1, 2], "ids": [[1]]}},
         "equal 0th-dimension size"),
        ({"signature_name": "number", "inputs": {"value": [True], "ids": [[1]]}}, "Type: Bool"),
        ({"signature_name": "number", "inputs": {"value": [1], "ids": [[1.5]]}}, "type: int32"),
        ({"signature_name": "number", "inputs": {"value": [1], "ids": [[1 << 31]]}}, "type: int32"),
        ({"signature_name": "number", "inputs": {"value": [-1], "ids": [[1]]}},
         "value: give 0 or more"),
        ({"instances": ["a"] * 101}, "101 rows in a request, and the server takes 100"),
    ],
)  # fmt: skip
def test_what_is_refused(server, body, words):
    status, answer = asked(server, PREDICT, body)
    assert status == 400 and answer.keys() == {"error"} and words in answer["error"]


@pytest.mark.parametrize(
    "path, body, status, words",
    [
        ("v1/models/other:predict", {}, 404, "Servable not found for request: Latest(other)"),
        ("v1/models/small/versions/7:predict", {}, 404, "Specific(small, 7)"),
        ("v1/models/small/versions/99999999999999999999:predict", {}, 400, "to numeric"),
        ("v1/models/small/labels/no:predict", {}, 400, "Unrecognized servable version label: no"),
        ("v1/models/small:regress", {}, 400, "Was: tensorflow/serving/predict"),
        ("v1/models/small:other", {}, 400, "Malformed request: POST /v1/models/small:other"),
        ("v1/models/small:predict", None, 400, "Malformed request: GET"),
        ("v1/models/small:stream", {"prompt": "a"}, 400, '"stream" not found'),
        ("v1/models/other", None, 404, "Could not find any versions of model other"),
        ("v1/models/other/metadata", None, 404, "Servable not found"),
        ("v1/models/small/versions/7", None, 404, "Could not find version 7 of model small"),
        ("no/such/page", None, 400, "Malformed request: GET /no/such/page"),
        ("page/none.js", None, 400, "Malformed request"),
        ("page/..%2fserver.py", None, 400, "Malformed request"),
    ],
)
def test_paths_that_are_refused(server, path, body, status, words):
    found, answer = asked(server, path, body)
    assert found == status and words in answer["error"]


def test_a_body_that_is_too_large(server):
    """It is read before it is refused if it is not much too large; the server still answers."""
    status, answer = asked(server, PREDICT, b" " * 200_001)
    assert status == 413 and "more than 200000 bytes" in answer["error"]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", f"/{PREDICT}", iter([b" " * 150_000] * 2), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})  # fmt: skip
    assert connection.getresponse().status == 413
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", f"/{PREDICT}")
    connection.putheader("Content-Length", "400001")
    connection.endheaders()  # and nothing behind them
    assert connection.getresponse().status == 413
    assert asked(server, PREDICT, {"instances": ["a"]})[0] == 200


def test_metadata_and_status(server, version):
    status, found = asked(server, "v1/models/small/metadata")
    assert status == 200
    assert found["model_spec"] == {"name": "small", "signature_name": "", "version": "1"}
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert signatures["number"]["inputs"]["ids"]["dtype"] == "DT_INT32"
    assert signatures["words"]["method_name"] == "tensorflow/serving/predict"
    fine = {"error_code": "OK", "error_message": ""}
    expected = {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": fine}]}
    assert asked(server, "v1/models/small") == (200, expected)
    assert asked(server, "V1/MODELS/small/versions/1") == (200, expected)
    assert asked(server, "v1/models") == (200, {"models": ["small"]})


def test_pages_of_others_may_ask(server):
    request = urllib.request.Request(server.address + PREDICT, method="OPTIONS")
    with urllib.request.urlopen(request) as answer:
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "POST" in answer.headers["access-control-allow-methods"]


def test_the_page_runs_nothing_of_others(server):
    with urllib.request.urlopen(server.address) as answer:
        policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy


@pytest.fixture(scope="module")
def stubs(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield (
            prediction_service_pb2_grpc.PredictionServiceStub(channel),
            model_service_pb2_grpc.ModelServiceStub(channel),
        )


def request_of(signature="serving_default", name="small", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


def test_predict_by_grpc(stubs):
    request = request_of("number", value=[2.0], ids=[[1, 2]])
    answer = stubs[0].Predict(request)
    assert tf.make_ndarray(answer.outputs["product"]).tolist() == [6.0]
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("small", 1)
    request.output_filter.append("total")
    assert list(stubs[0].Predict(request).outputs) == ["total"]


def test_status_by_grpc(stubs):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "small"
    (found,) = stubs[1].GetModelStatus(request).model_version_status
    assert (found.version, found.state, found.status.error_code) == (1, 30, 0)  # AVAILABLE


def huge():
    """A tensor of a single value that stands for 10^12."""
    request = request_of("number", value=[1.0])
    request.inputs["value"].tensor_shape.dim[0].size = 10**12
    return request


@pytest.mark.parametrize(
    "request_, code, words",
    [
        (request_of(text=["a"], name="other"), "NOT_FOUND", "Servable not found"),
        (request_of("no", text=["a"]), "INVALID_ARGUMENT", "not found in signature def"),
        (request_of(txt=["a"]), "INVALID_ARGUMENT", "Sent extra: {txt}. Missing but required"),
        (request_of(text=[1]), "INVALID_ARGUMENT", "has dtype int32, not string"),
        (request_of(text="a"), "INVALID_ARGUMENT", "0 dimensions"),
        (request_of(text=["a"] * 101), "INVALID_ARGUMENT", "the server takes 100"),
        (huge(), "INVALID_ARGUMENT", "too large"),
        (request_of(text=["x" * 300_000]), "RESOURCE_EXHAUSTED", "larger than max"),
    ],
)
def test_what_is_refused_by_grpc(stubs, request_, code, words):
    with pytest.raises(grpc.RpcError) as error:
        stubs[0].Predict(request_)
    assert error.value.code().name == code and words in error.value.details()


def test_metadata_by_grpc(stubs):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["other"])
    request.model_spec.name = "small"
    with pytest.raises(grpc.RpcError, match="other is not supported"):
        stubs[0].GetModelMetadata(request)


@pytest.mark.parametrize("by_grpc", [False, True])
def test_a_client_splits_what_is_large(server, by_grpc):
    texts = [" ".join("ab"[: 1 + row % 2]) for row in range(70)]
    client = Client(server.url("small", by_grpc), max_rows=32)
    found = client.predict({"text": texts}, "words")["word"]
    assert found.tolist() == [[b"A", b"B" if row % 2 else b""] for row in range(70)]
    whole = Client(server.url("small", by_grpc), max_rows=100).predict({"text": texts}, "words")
    assert whole["word"].tolist() == found.tolist()


def test_requests_of_many_clients_get_their_own_rows(server):
    wrong = []

    def work(number):
        client = Client(server.url("small", number % 2 == 0))
        for step in range(15):
            row, rows = [number, step], 1 + step % 3
            found = client.predict({"value": [1.0] * rows, "ids": [row] * rows}, "number")
            if found["total"].tolist() != [number + step] * rows:
                wrong.append(number)

    before = counted(server, "batching_batches")
    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert counted(server, "batching_batches") - before < 16 * 15  # some were put together


def counted(server, name):
    with urllib.request.urlopen(server.address + "metrics") as answer:
        lines = answer.read().decode().splitlines()
    found = [line for line in lines if line.startswith(f":tensorflow:serving:{name}")]
    return sum(float(line.split()[-1]) for line in found)


def test_check_walks_down(version):
    folder = version.parent.parent
    assert [found.directory for found in check_all(folder)] == [version]
    assert [found.directory for found in check_all(version.parent)] == [version]


def test_metrics(server):
    name = 'request_count{model_name="small",status="INVALID_ARGUMENT"}'
    before = counted(server, name)
    asked(server, PREDICT, {"instances": [1]})
    assert counted(server, name) == before + 1
    assert counted(server, 'request_latency_count{model_name="small",API="Predict"') > 0


def test_time_out(version):
    limits = Limits(timeout=0.05)
    batching = Batching(batch_timeout_micros=500_000)
    with Server([version.parent], port=0, grpc_port=0, limits=limits, batching=batching) as slow:
        # Without `cors`, pages of others may not ask.
        assert asked(slow, PREDICT, method="OPTIONS")[0] == 400
        with urllib.request.urlopen(slow.url("small")) as answer:
            assert "access-control-allow-origin" not in answer.headers
        status, answer = asked(slow, PREDICT, {"instances": ["a"]})
        assert status == 504 and "no answer in 0.05 s" in answer["error"]
        with pytest.raises(ServerError, match="no answer in 0.05 s|give a longer time-out"):
            Client(slow.url("small", True)).predict({"text": ["a"]})


class TestVersions:
    def test_a_new_version_takes_over_and_nothing_is_lost(self, tmp_path):
        root = tmp_path / "small"
        export(root, factor=1)
        lines, found, ended = [], [], threading.Event()
        with Server([root], port=0, grpc_port=0, poll_seconds=0.05, log=lines.append) as server:

            def work():
                client = Client(server.url("small"), retries=0)
                while not ended.is_set():
                    answer = client.predict({"value": [1.0], "ids": [[2]]}, "number")
                    found.append(int(answer["total"][0]))

            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            broken = tmp_path / "broken"
            shutil.copytree(root / "1", broken)
            (broken / "saved_model.pb").write_bytes(b"no protocol buffer")
            broken.rename(root / "2")
            wait(lambda: any("version 2 cannot be served" in line for line in lines))
            export(root, factor=3)
            wait(lambda: any("version 1 is served no more" in line for line in lines))
            wait(lambda: found and found[-1] == 6)
            ended.set()
            for thread in threads:
                thread.join()
            states = {number: state for number, (state, _) in server.models.states("small").items()}
        assert set(found) == {2, 6}
        assert states == {1: "END", 2: "END", 3: "AVAILABLE"}
        # A request that comes before the change is answered by the old version, and none after it.
        assert found.index(6) > found.count(2) - 8

    def test_a_version_that_is_copied_slowly(self, tmp_path):
        """Such as by rsync, which writes `saved_model.pb` before the folder of the weights."""
        root, lines = tmp_path / "small", []
        version = export(root)
        whole = shutil.copytree(version, tmp_path / "whole")
        with Server([root], port=0, grpc_port=None, poll_seconds=0.05, log=lines.append) as server:
            (root / "2").mkdir()
            shutil.copy(whole / "saved_model.pb", root / "2")
            wait(lambda: any("version 2 cannot be served" in line for line in lines))
            shutil.copytree(whole, root / "2", dirs_exist_ok=True)
            wait(lambda: server.models.states("small")[2][0] == "AVAILABLE")

    def test_labels(self, tmp_path):
        root, config = tmp_path / "models" / "small", tmp_path / "models.config"
        version = export(root)
        shutil.copytree(version, root / "2")
        shutil.copytree(version, root / "3")

        def write(stable):
            config.write_text(
                'model_config_list { config { name: "small" base_path: "/models/small" '
                "model_version_policy { specific { versions: 1 versions: 2 } } "
                f'version_labels {{ key: "stable" value: {stable} }} }} }}'
            )

        write(1)
        lines = []
        with Server([root.parent], port=0, grpc_port=None, config_file=config, poll_seconds=0.05,
                    log=lines.append) as server:  # fmt: skip
            metadata = "v1/models/small/labels/stable/metadata"
            assert asked(server, metadata)[1]["model_spec"]["version"] == "1"
            assert sorted(server.models.states("small")) == [1, 2]
            assert server.models.find("small").number == 2
            write(2)
            wait(lambda: asked(server, metadata)[1]["model_spec"]["version"] == "2")
            config.write_text("model_config_list {")
            wait(lambda: any("what was read before stays" in line for line in lines))
            assert asked(server, metadata)[1]["model_spec"]["version"] == "2"

    def test_what_cannot_be_served(self, version, tmp_path):
        def refused(words, *directories):
            with pytest.raises(InputError, match=words):
                Server(directories, port=0, grpc_port=0, log=print)

        refused("no exported version; give a model's folder", tmp_path)
        refused("is one version; give the folder that holds it", version)
        (tmp_path / "small" / "1").mkdir(parents=True)
        (tmp_path / "small" / "1" / "saved_model.pb").write_bytes(b"no protocol buffer")
        refused("another model is named small", version.parent, tmp_path)
        refused("small cannot be loaded .*; export it again", tmp_path)

    def test_a_port_that_is_taken(self, server, version):
        for ports in ({"port": server.port}, {"port": 0, "grpc_port": server.grpc_port}):
            with pytest.raises(InputError, match="port .*cannot be used .* 0 for any free one"):
                Server([version.parent], **ports)


def wait(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "too late"
        time.sleep(0.02)


class TestBatching:
    def test_requests_that_wait_are_one_call(self):
        calls, gate = [], threading.Event()

        def call(inputs):
            gate.wait()
            calls.append(inputs["x"].tolist())
            return {"y": inputs["x"] * 2}

        batcher = Batcher(Batching(4, 1000, 1, 8))
        asked = [batcher.ask("a", call, {"x": np.array([number])}) for number in range(9)]
        other = batcher.ask("b", call, {"x": np.array([7])})
        wide = batcher.ask("a", call, {"x": np.array([[1, 2]])})  # another shape
        gate.set()
        assert [future.result(10)["y"].tolist() for future in asked] == [[2 * n] for n in range(9)]
        assert other.result(10)["y"].tolist() == [14]
        assert wide.result(10)["y"].tolist() == [[2, 4]]
        assert sorted(map(len, calls)) == [1, 1, 1, 4, 4]
        batcher.close()

    def test_a_request_that_is_larger_than_a_batch(self):
        batcher = Batcher(Batching(4, 0, 2, 8))
        found = batcher.ask("a", lambda inputs: {"end": inputs["x"][:, : len(inputs["x"])]},
                            {"x": np.arange(50).reshape(10, 5)})  # fmt: skip
        rows = found.result(10)["end"]
        assert rows[:8].tolist() == np.arange(50).reshape(10, 5)[:8, :4].tolist()
        assert rows[8].tolist() == [40, 41, -1, -1]  # of a smaller call, and so padded
        batcher.close()

    def test_an_output_without_rows_is_refused(self):
        """Other models may have one; a thread that ended of it would answer nothing more."""
        batcher = Batcher(Batching(4, 0, 1, 8))
        for value in (np.float32(1), np.zeros(3)):
            asked = batcher.ask("a", lambda _, value=value: {"y": value}, {"x": np.zeros(2)})
            with pytest.raises(Refused, match="no row for each of 2"):
                asked.result(10)
        assert len(batcher.ask("b", dict, {"x": np.zeros(2)}).result(10)["x"]) == 2
        batcher.close()

    def test_one_that_fails_fails_alone(self):
        def call(inputs):
            if (inputs["x"] < 0).any():
                raise Refused("INVALID_ARGUMENT", "below 0")
            return inputs

        batcher = Batcher(Batching(8, 20_000, 1, 8))
        asked = [batcher.ask("a", call, {"x": np.array([n])}) for n in (1, -1, 2)]
        assert asked[0].result(10)["x"] == 1 and asked[2].result(10)["x"] == 2
        with pytest.raises(Refused, match="below 0"):
            asked[1].result(10)
        batcher.close()

    def test_a_full_queue_and_the_end(self):
        gate, started = threading.Event(), threading.Event()

        def call(inputs):
            started.set()
            gate.wait()
            return inputs

        batcher = Batcher(Batching(1, 0, 1, 2))
        first = batcher.ask("a", call, {"x": np.zeros(1)})
        started.wait(10)
        waiting = [batcher.ask("a", call, {"x": np.zeros(1)}) for _ in range(2)]
        with pytest.raises(Refused, match="is full") as error:
            batcher.ask("a", call, {"x": np.zeros(1)})
        assert error.value.code == "UNAVAILABLE"
        waiting[0].cancel()  # its client has gone
        gate.set()
        batcher.close()  # answers what waits
        assert first.done() and waiting[1].result(0)["x"].tolist() == [0]
        with pytest.raises(Refused, match="stopping"):
            batcher.ask("a", call, {"x": np.zeros(1)})

    def test_the_file(self, tmp_path):
        path = tmp_path / "batching.config"
        batching = Batching(8, 0, 3, 5)
        path.write_text(f"# a comment\n{batching.text()}")
        assert read_batching(path) == batching
        path.write_text("max_batch_size: 16")
        assert read_batching(path).max_batch_size == 16
        for text, words in (
            ("max_batch_size { value: 0 }", "max_batch_size 0: give numbers above 0"),
            ("allowed_batch_sizes: 8", "allowed_batch_sizes 8: give"),
            ("pad_variable_length_inputs: true", "pad_variable_length_inputs true: give"),
            ("max_batch_size = 8", "is no setting; write"),
        ):
            path.write_text(text)
            with pytest.raises(InputError, match=words):
                read_batching(path)
        with pytest.raises(InputError, match="cannot be read"):
            read_batching(tmp_path / "none")


def test_requests_that_have_begun_are_answered_at_the_end(version):
    server = Server([version.parent], port=0, grpc_port=0,
                    batching=Batching(batch_timeout_micros=1_500_000))  # fmt: skip
    by_grpc = Client(server.url("small", True), retries=0)
    by_grpc.signatures()  # is connected
    found = {}

    def rest():
        found["rest"] = asked(server, PREDICT, {"instances": ["a"]})

    def ask_grpc():
        found["grpc"] = by_grpc.predict({"text": ["a"]})["label"].tolist()

    threads = [threading.Thread(target=work) for work in (rest, ask_grpc)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    server.close()
    for thread in threads:
        thread.join(10)
    assert found["grpc"] == [b"a"] and found["rest"][0] == 200
    with socket.socket() as free:
        assert free.connect_ex(("127.0.0.1", server.port)) != 0
