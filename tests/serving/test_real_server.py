"""The real `tensorflow_model_server`, where it is installed: docs/serving.md says how."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from applications.__main__ import main
from tests.applications.conftest import (  # noqa: F401 - fixtures
    documents,
    gpt_dir,
    model_dir,
    ner_dir,
    reviews,
    tagged,
)
from tfmodels.errors import InputError
from tfmodels.serving.client import Client
from tfmodels.serving.server import Server
from tfmodels.serving.smoke import smoke

SERVER = shutil.which("tensorflow_model_server")
pytestmark = pytest.mark.skipif(
    SERVER is None, reason="no tensorflow_model_server on the PATH; see docs/serving.md"
)
BATCHING = Path(__file__).parents[2] / "deploy" / "config" / "batching.config"


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def roots(model_dir, ner_dir, gpt_dir, tmp_path_factory):  # noqa: F811
    """Directory of the versions of each model."""
    folder = tmp_path_factory.mktemp("real")
    found = {}
    for name, model in (("sentiment", model_dir), ("ner", ner_dir), ("gpt", gpt_dir)):
        options = '{"max_new_tokens": 8}' if name == "gpt" else "{}"
        arguments = ["--model_dir", str(model), "--export_dir", str(folder / name)]
        assert main(["export", *arguments, "--options", options]) == 0
        found[name] = folder / name
    return found


@contextlib.contextmanager
def server(config, *flags):
    """Runs the server until the block ends; gives its two addresses."""
    grpc, rest = free_port(), free_port()
    command = [SERVER, f"--port={grpc}", f"--rest_api_port={rest}", f"--model_config_file={config}"]
    process = subprocess.Popen(
        [*command, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{rest}/v1/models/", f"grpc://127.0.0.1:{grpc}/"
    finally:
        process.terminate()
        process.wait(30)


def write_config(path, roots):
    models = [
        f'config {{ name: "{name}" base_path: "{root}" model_platform: "tensorflow" }}'
        for name, root in roots.items()
    ]
    path.write_text(f"model_config_list {{ {' '.join(models)} }}")
    return path


def loaded(url, seconds=120):
    """A client, when the model answers."""
    end = time.monotonic() + seconds
    while True:
        try:
            client = Client(url, timeout=30)
            client.signatures()
            return client
        except InputError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def answer_of(address, path, body):
    """Status, and the values or that there is an error."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(address + path, data, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, list(json.loads(error.read()))


ASKED = [
    ("sentiment:predict", {"instances": ["a joy", "很难看"]}),
    ("sentiment:predict", {"instances": [{"text": "a joy"}, {"text": {"b64": "YQ=="}}]}),
    ("sentiment:predict", {"inputs": ["a joy"]}),
    ("sentiment:predict", {"inputs": {"text": ["a joy"]}}),
    ("gpt:predict", {"instances": ["the old"]}),
    ("ner/versions/1:predict", {"instances": ["Ada flew to Paris ."]}),
    ("sentiment", None),
    ("sentiment/metadata", None),
    ("sentiment:predict", {"instances": []}),
    ("sentiment:predict", {"instances": [1]}),
    ("sentiment:predict", {"inputs": {"txt": ["a"]}}),
    ("sentiment:predict", {"signature_name": "no", "instances": ["a"]}),
    ("sentiment:predict", [1]),
    ("sentiment:classify", {"examples": [{"text": "a"}]}),
    ("sentiment/versions/7:predict", {"instances": ["a"]}),
    ("sentiment/labels/no:predict", {"instances": ["a"]}),
    ("no:predict", {"instances": ["a"]}),
    ("no", None),
]


def test_our_server_answers_as_the_real_one(roots, tmp_path):
    with (
        server(write_config(tmp_path / "models.config", roots)) as (rest, _),
        Server(roots.values(), port=0, grpc_port=None) as ours,
    ):
        for name in roots:
            loaded(rest + name)
        for path, body in ASKED:
            wanted = answer_of(rest, path, body)
            found = answer_of(ours.url(""), path, body)
            assert found[0] == wanted[0], (path, body)
            assert alike(found[1], wanted[1]), (path, body)


def alike(found, wanted):
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(alike(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(alike, found, wanted))
    return found == (pytest.approx(wanted, abs=1e-3) if isinstance(wanted, float) else wanted)


FLAGS = [(), ("--enable_batching=true", f"--batching_parameters_file={BATCHING}")]


@pytest.mark.parametrize("flags", FLAGS)
def test_every_signature(roots, flags, tmp_path):
    with server(write_config(tmp_path / "models.config", roots), *flags) as addresses:
        for address in addresses:
            for name, root in roots.items():
                found = smoke(loaded(address + name), root / "1")
                assert found and all(row["requests"] for row in found.values())
