"""The files of `deploy/`: what a server reads of them parses, and they fit each other."""

import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from applications.__main__ import parse
from tfmodels.serving.contracts import CONTRACTS

DEPLOY = Path(__file__).parents[1] / "deploy"
IMAGE = "tensorflow/serving:2.20.0"


def text(name):
    return (DEPLOY / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def kinds():
    return {part["kind"]: part for part in yaml.safe_load_all(text("kubernetes.yaml"))}


def settings(name):
    """The fields of a protobuf text whose type `tensorflow-serving-api` does not have."""
    lines = (line.partition("#")[0].strip() for line in text(name).splitlines())
    return [line for line in lines if line]


def test_models():
    config = text_format.Parse(text("models.config"), model_server_config_pb2.ModelServerConfig())
    models = {model.name: model for model in config.model_config_list.config}
    assert models.keys() <= CONTRACTS.keys()
    assert all(model.base_path == f"/models/{name}" for name, model in models.items())
    sentiment = models["sentiment"]
    assert set(sentiment.version_labels) == {"stable", "canary"}
    served = set(sentiment.model_version_policy.specific.versions)
    assert set(sentiment.version_labels.values()) <= served


def test_batching():
    # Fields of BatchingParameters (session_bundle_config.proto), each on its line.
    fields = dict(line.split(" ", 1) for line in settings("batching.config"))
    assert fields.pop("pad_variable_length_inputs:") == "false"
    known = {"max_batch_size", "batch_timeout_micros", "num_batch_threads", "max_enqueued_batches"}
    assert fields.keys() == known
    for value in fields.values():
        assert value.startswith("{ value: ") and int(value[9:-2]) > 0


def test_monitoring():
    assert settings("monitoring.config") == [
        "prometheus_config {", "enable: true", 'path: "/metrics"', "}",
    ]  # fmt: skip


def test_compose_mounts_what_the_server_reads():
    service = yaml.safe_load(text("compose.yaml"))["services"]["serving"]
    assert service["image"] == IMAGE
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in service["volumes"]}
    flags = dict(flag.removeprefix("--").split("=") for flag in service["command"])
    for name, value in flags.items():
        if name.endswith("_file"):
            assert (DEPLOY / mounted[value]).is_file()
    assert mounted["/models"] == "../saved_models"


def test_kubernetes_serves_as_compose_does(kinds):
    service = yaml.safe_load(text("compose.yaml"))["services"]["serving"]
    (container,) = kinds["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE and container["args"] == service["command"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] == "/v1/models/sentiment"
        assert container[probe]["httpGet"]["port"] in ports
    assert container["livenessProbe"]["tcpSocket"]["port"] in ports
    # What the autoscaler measures is a share of what is requested.
    assert container["resources"]["requests"]["cpu"]


def test_kubernetes_finds_itself(kinds):
    labels = kinds["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert kinds["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert kinds["Service"]["spec"]["selector"] == labels
    scaled = kinds["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert scaled["name"] == kinds["Deployment"]["metadata"]["name"]


def command_of(name):
    """The words of the one `tfmodels` command that a file has."""
    if name.endswith(".yaml"):
        worker = yaml.safe_load(text(name))["spec"]["tfReplicaSpecs"]["Worker"]
        return worker["template"]["spec"]["containers"][0]["command"]
    command = text(name).partition("exec ")[2].partition("\n'")[0]
    return shlex.split(command.replace("\\\n", " "))


@pytest.mark.parametrize("name", ["tfjob.yaml", "slurm.sh"])
def test_trainings_on_a_cluster(name):
    """The command line takes the flags, and the training is one of several workers."""
    program, *arguments = command_of(name)
    assert program == "tfmodels"
    settings, _ = parse(arguments)
    assert settings.strategy == "multi_worker" and settings.output_dir == "/data/runs/gpt"


def test_slurm_script():
    subprocess.run(["bash", "-n", DEPLOY / "slurm.sh"], check=True)
