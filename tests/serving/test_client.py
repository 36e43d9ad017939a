"""The client and the verbs `query` and `smoke`, against a server of TF Serving's contracts."""

import concurrent.futures
import socket
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.applications.verbs import printed, refused
from tfmodels.errors import InputError
from tfmodels.serving.client import Client, ServerError
from tfmodels.serving.refusals import Refused
from tfmodels.serving.saved_model import save
from tfmodels.serving.server import Server

TEXTS = ["a joy", "", "很难看的电影 😀", "nul \0 byte"]
KINDS = ["rest", "grpc"]


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    """A version that 0.1 wrote."""
    root = tmp_path_factory.mktemp("client") / "served"
    golden = Path(__file__).parents[1] / "golden" / "written_0_1" / "sentiment_mean"
    with tarfile.open(golden / "1.tar.xz") as archive:
        archive.extractall(root, filter="data")
    return root / "1"


class Faulty(Server):
    """A server whose queue is full for the next `busy` requests, and which waits `slow` seconds."""

    busy, slow = 0, 0.0

    def ask(self, *request):
        self.busy -= 1
        if self.busy >= 0:
            raise Refused("UNAVAILABLE", "the queue is full")
        future, rows = super().ask(*request)
        if not self.slow:
            return future, rows
        late = concurrent.futures.Future()
        timer = threading.Timer(
            self.slow, lambda: late.cancelled() or late.set_result(future.result())
        )
        timer.start()
        return late, rows


@pytest.fixture(scope="module")
def stub(version):
    with Faulty([version.parent], port=0, grpc_port=0) as stub:
        yield stub


@pytest.fixture(params=KINDS)
def url(request, stub):
    stub.busy, stub.slow = 0, 0.0
    return stub.url("served", request.param == "grpc")


def test_answers(url, version):
    expected = tf.saved_model.load(str(version)).signatures["serving_default"](tf.constant(TEXTS))
    answers = Client(url).predict({"text": TEXTS})
    assert answers["label"].tolist() == expected["label"].numpy().tolist()
    np.testing.assert_allclose(answers["probabilities"], expected["probabilities"], atol=1e-6)
    assert answers["probabilities"].dtype == np.float32


def test_bytes_that_are_no_text(url):
    answers = Client(url).predict({"text": [b"\xff\xfe", b"a\x80"]})
    assert len(answers["label"]) == 2


def test_signatures(url, version):
    from tfmodels.serving.compatibility import check

    assert Client(url).signatures() == check(version).signatures


def test_grpc_without_the_serving_api(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis.prediction_service_pb2_grpc", None)
    with pytest.raises(InputError, match=r"run: pip install 'tensorflow-serving-api==2\.21\.\*'$"):
        Client("grpc://localhost:8500/sentiment")


def test_a_server_that_is_busy_is_asked_again(url, stub):
    stub.busy = 2
    assert len(Client(url, pause=0.01).predict({"text": ["x"]})["label"]) == 1
    stub.busy = 2
    with pytest.raises(ServerError, match=r"no answer after 2 tries \(.*the queue is full"):
        Client(url, retries=1, pause=0.01).predict({"text": ["x"]})


def test_time_out(url, stub):
    stub.slow = 0.5
    with pytest.raises(ServerError, match="no answer in 0.1 s; give a longer time-out"):
        Client(url, timeout=0.1).predict({"text": ["x"]})


def test_what_the_server_refuses(url):
    client = Client(url)
    with pytest.raises(ServerError, match="Missing named input: text|Missing but required: {text}"):
        client.predict({"txt": ["x"]})
    with pytest.raises(ServerError, match='"other" not found'):
        client.predict({"text": ["x"]}, "other")


@pytest.mark.parametrize("scheme", ["http://127.0.0.1:{}/v1/models/x", "grpc://127.0.0.1:{}/x"])
def test_nobody_there(scheme):
    with socket.socket() as free:  # bound and not listening: refuses
        free.bind(("127.0.0.1", 0))
        url = scheme.format(free.getsockname()[1])
        with pytest.raises(ServerError, match="after 2 tries .* is the server running"):
            Client(url, timeout=5, retries=1, pause=0.01).predict({"text": ["x"]})


@pytest.mark.parametrize(
    "url",
    ["localhost:8501", "http://localhost:8501", "grpc://localhost:8500", "ftp://a/v1/models/x",
     "http://a/v1/models/x/versions/new", "http://a/v1/models/x:predict"],
)  # fmt: skip
def test_urls_that_name_no_model(url):
    with pytest.raises(InputError, match="give http://HOST|is no number"):
        Client(url)


class TestVerbs:
    def test_query(self, url, capsys):
        found = printed(capsys, "query", url, "a joy", "a bore")
        assert [(row["sent"], row["label"]) for row in found] == [
            ("a joy", "pos"), ("a bore", "neg"),
        ]  # fmt: skip
        assert len(found[0]["probabilities"]) == 2

    def test_query_refused(self, stub, capsys):
        rest = stub.url("served")
        line = refused(capsys, "query", rest, "x", "--signature", "other")
        assert "--signature other: unknown; give one of serving_default, token_ids" in line
        assert "takes padding_mask" in refused(
            capsys, "query", rest, "x", "--signature", "token_ids"
        )

    def test_smoke(self, url, version, capsys):
        (found,) = printed(capsys, "smoke", url, version)
        assert {name: row["requests"] for name, row in found.items()} == {
            "serving_default": 6, "token_ids": 6,
        }  # fmt: skip
        assert max(row["difference"] for row in found.values()) < 1e-5

    def test_smoke_of_another_version(self, version, tmp_path, capsys):
        def other(text):
            share = tf.zeros([tf.size(text), 2])
            return {"label": tf.identity(text), "probabilities": share}

        def on_ids(**batch):
            return other(tf.as_string(batch["token_ids"][:, 0]))

        kinds = {"token_ids": tf.int32, "segment_ids": tf.int32, "padding_mask": tf.bool}
        ids = {name: tf.TensorSpec([None, None], dtype) for name, dtype in kinds.items()}
        signatures = {"serving_default": (other, {"text": tf.TensorSpec([None], tf.string)}),
                      "token_ids": (on_ids, ids)}  # fmt: skip
        save(tmp_path / "x", signatures)
        with Server([tmp_path / "x"], port=0, grpc_port=None) as other:
            line = refused(capsys, "smoke", other.url("x"), version)
        assert "gives another" in line and "does it serve this version?" in line


class TestExport:
    def test_no_model(self, tmp_path, capsys):
        assert "no such directory" in refused(capsys, "export", "--model_dir", tmp_path / "none")
        (tmp_path / "config.json").write_text("{}")
        line = refused(capsys, "export", "--model_dir", tmp_path)
        assert "has no model_type" in line
