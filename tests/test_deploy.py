"""The files of `deploy/`: what a server reads of them parses, and they fit each other."""

import json
import runpy
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import tensorflow as tf
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from applications.__main__ import parse
from tests.applications.verbs import printed, refused
from tfmodels.serving.batching import Batching, read_batching
from tfmodels.serving.configuration import BATCHING, MODELS, MONITORING, write_config
from tfmodels.serving.saved_model import save
from tfmodels.serving.server import Server

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


def models_config(text):
    """The models of a models.config, by name."""
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    return {model.name: model for model in config.model_config_list.config}


def versions(root, **models):
    """Folders that look like versions, by model."""
    for name, numbers in models.items():
        for number in numbers:
            (root / name / str(number)).mkdir(parents=True, exist_ok=True)
            (root / name / str(number) / "saved_model.pb").write_bytes(b"")


def labels_after(capsys, root, config, *flags):
    """What `serving_config` prints, after a check that the file says the same."""
    command = ["serving_config", root, "--config_dir", config, "--num_batch_threads", 2, *flags]
    (found,) = printed(capsys, *command)
    models = models_config((config / "models.config").read_text())
    assert {name: dict(model.version_labels) for name, model in models.items()} == found["labels"]
    for name, model in models.items():
        # TF Serving refuses a label of a version that it is not told to load.
        loaded = set(model.model_version_policy.specific.versions)
        assert loaded == set(model.version_labels.values())
        assert model.base_path == f"/models/{name}"
    return found["labels"]


def test_models_and_their_roll_out(tmp_path, capsys):
    root, config = tmp_path / "saved_models", tmp_path / "config"
    versions(root, sentiment=[1], ner=[4])
    first = labels_after(capsys, root, config)
    assert first == {"ner": {"stable": 4, "canary": 4}, "sentiment": {"stable": 1, "canary": 1}}
    versions(root, sentiment=[2])
    assert labels_after(capsys, root, config)["sentiment"] == {"stable": 1, "canary": 2}
    line = refused(capsys, "serving_config", root, "--config_dir", config, "--num_batch_threads", 3)
    assert f"{config / 'batching.config'}: stays as it is, with num_batch_threads 2" in line
    forward, back = '{"sentiment": 2}', '{"sentiment": 1}'
    moved = labels_after(capsys, root, config, "--stable", forward)["sentiment"]
    assert moved == {"stable": 2, "canary": 2, "previous": 1}
    assert labels_after(capsys, root, config)["sentiment"] == moved
    returned = labels_after(capsys, root, config, "--stable", back)["sentiment"]
    assert returned == {"stable": 1, "canary": 2}


def test_what_serving_config_refuses(tmp_path, capsys):
    root, config = tmp_path / "saved_models", tmp_path / "config"
    versions(root, sentiment=[1, 3])
    flags = ["serving_config", root, "--config_dir", config]
    line = refused(capsys, *flags, "--stable", '{"sentiment": 2}')
    assert "--stable sentiment 2: no such version; it has 1, 3" in line
    line = refused(capsys, *flags, "--stable", '{"ner": 2}')
    assert "--stable ner 2: no such version; give sentiment" in line
    line = refused(capsys, *flags, "--stable", '{"sentiment": "new"}')
    assert "--stable sentiment new: give the number" in line
    assert not config.exists()
    line = refused(capsys, "serving_config", config.parent, "--config_dir", config)
    assert "no exported version" in line
    config.write_text("a file")
    assert "cannot be written" in refused(capsys, *flags)


def test_files_that_are_there_stay(tmp_path, capsys):
    versions(tmp_path / "saved_models", gpt=[1])
    config = tmp_path / "config"
    labels_after(capsys, tmp_path / "saved_models", config)
    # What is shipped is what is written.
    for name in ("batching.config", "monitoring.config"):
        assert (config / name).read_text() == text(f"config/{name}")
    (config / "batching.config").write_text("max_batch_size { value: 8 }")
    labels_after(capsys, tmp_path / "saved_models", config)
    assert read_batching(config / "batching.config").max_batch_size == 8


def test_batching():
    assert read_batching(DEPLOY / "config" / "batching.config") == Batching(32, 2000, 2, 64)
    assert "pad_variable_length_inputs: false" in settings("config/batching.config")


def test_monitoring():
    assert settings("config/monitoring.config") == [
        "prometheus_config {", "enable: true", 'path: "/metrics"', "}",
    ]  # fmt: skip


def test_compose_mounts_what_the_server_reads():
    service = yaml.safe_load(text("compose.yaml"))["services"]["serving"]
    assert service["image"] == IMAGE
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in service["volumes"]}
    flags = dict(flag.removeprefix("--").split("=") for flag in service["command"])
    for name, value in flags.items():
        if name.endswith("_file"):
            folder, _, file = value.rpartition("/")
            # Docker keeps a file that is mounted by itself, whatever is renamed to it.
            assert (DEPLOY / mounted[folder]).is_dir()
            assert file in (MODELS, BATCHING, MONITORING)
    assert mounted["/models"] == "../saved_models"


def test_kubernetes_serves_as_compose_does(kinds):
    service = yaml.safe_load(text("compose.yaml"))["services"]["serving"]
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == IMAGE and container["args"] == service["command"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    assert container["livenessProbe"]["tcpSocket"]["port"] in ports
    # What the autoscaler measures is a share of what is requested.
    assert container["resources"]["requests"]["cpu"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        assert "subPath" not in mount and mount["name"] in volumes  # a subPath never changes
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert claim == kinds["PersistentVolumeClaim"]["metadata"]["name"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_a_pod_is_ready_when_every_model_is(kinds, tmp_path):
    """The probe, run against a server that has one of two models, then both."""
    (container,) = kinds["Deployment"]["spec"]["template"]["spec"]["containers"]
    shell, flag, script = container["readinessProbe"]["exec"]["command"]
    assert container["startupProbe"]["exec"]["command"] == [shell, flag, script]
    root = tmp_path / "saved_models"
    give = {
        "serving_default": (lambda text: {"text": text}, {"text": tf.TensorSpec([None], tf.string)})
    }
    save(root / "first", give)
    versions(root, second=[1])
    write_config([root], tmp_path / "config")

    def ready(port):
        ours = script.replace("/8501", f"/{port}").replace("/config/", f"{tmp_path}/config/")
        return subprocess.run([shell, flag, ours], timeout=30).returncode == 0

    with Server([root], port=0, grpc_port=None, poll_seconds=0.05) as server:
        assert not ready(server.port)
        shutil.copytree(root / "first" / "1", root / "second" / "2")
        end = time.monotonic() + 30
        while not ready(server.port) and time.monotonic() < end:
            time.sleep(0.1)
        assert ready(server.port)
    assert not ready(server.port)


def test_kubernetes_finds_itself(kinds):
    labels = kinds["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert kinds["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert kinds["Service"]["spec"]["selector"] == labels
    assert kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
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


def test_ask_prints_texts_and_numbers_of_any_shape(tmp_path, capsys):
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def answer(text):
        number = tf.shape(text)[0]
        return {
            "label": text,
            "classes": tf.tile([["no", "好"]], [number, 1]),
            "probabilities": tf.tile([[0.25, 0.75]], [number, 1]),
            "start": tf.range(number),
        }

    module.answer = answer
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": answer})
    runpy.run_path(str(DEPLOY / "ask.py"))["main"](str(tmp_path), ["a", "你"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    same = {"classes": ["no", "好"], "probabilities": [0.25, 0.75]}
    assert rows == [
        {"text": text, "label": text, "start": number, **same}
        for number, text in enumerate(["a", "你"])
    ]
