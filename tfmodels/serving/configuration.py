"""The files that configure a server: its models, their versions, and the labels of these.

In: folders of exported versions. Out: `models.config`, `batching.config` and `monitoring.config`,
protobuf texts that TF Serving reads, and the policies that such a `models.config` holds.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from tfmodels.errors import InputError, first_line
from tfmodels.files import write_text
from tfmodels.serving.batching import Batching, read_batching
from tfmodels.serving.protocol import import_api

MODELS, BATCHING, MONITORING = "models.config", "batching.config", "monitoring.config"

_MODELS_HEAD = """\
# Which models TF Serving serves, protobuf text of ModelServerConfig, by `tfmodels serving_config`:
#   --model_config_file=models.config --model_config_file_poll_wait_seconds=10
# The versions that labels name are loaded. Clients ask for stable, and some of them for canary.
"""
_BATCHING_HEAD = """\
# How requests are put together, protobuf text of BatchingParameters:
#   --enable_batching=true --batching_parameters_file=batching.config
# max_batch_size: also the maximum number of rows of a request; clients split larger ones. 8 or
#   more, as the warm-up requests of a version have so many: with less it is never loaded.
# batch_timeout_micros: no batch waits longer, a fifth of what one text takes.
# num_batch_threads: as many as the server has cores.
# max_enqueued_batches: a full queue refuses at once (UNAVAILABLE), which the client tries again.
# pad_variable_length_inputs: true would pad ids with the first token of a text.
"""
_MONITORING = """\
# Prometheus reads http://HOST:8501/metrics, protobuf text of MonitoringConfig:
#   --monitoring_config_file=monitoring.config
prometheus_config {
  enable: true
  path: "/metrics"
}
"""
_MODEL = """\
  config {{
    name: "{name}"
    base_path: "{base_path}/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ specific {{ {versions} }} }}
{labels}
  }}
"""


@dataclasses.dataclass(frozen=True)
class Policy:
    """Which versions of a model are served.

    Attributes:
        newest: so many of the newest; None for those of `numbers`, or for all.
        numbers: of versions, or None.
        labels: `{label: number}`.
    """

    newest: int | None = 1
    numbers: frozenset[int] | None = None
    labels: dict[str, int] = dataclasses.field(default_factory=dict)

    def wanted(self, there: set[int]) -> set[int]:
        """Return which of the versions on disk are to be served."""
        if self.numbers is not None:
            return there & self.numbers
        return there if self.newest is None else set(sorted(there)[-self.newest :])


def read_policies(path: str | Path) -> dict[str, Policy]:
    """Return the policies of a models.config, by model.

    Raises:
        InputError: the file cannot be read.
    """
    from google.protobuf import text_format

    config = import_api("model_server_config_pb2", "reading models.config", "config")
    try:
        text = Path(path).read_text(encoding="utf-8")
        models = text_format.Parse(text, config.ModelServerConfig()).model_config_list.config
    except (OSError, ValueError, text_format.ParseError) as error:
        raise InputError(
            f"{path}: cannot be read ({first_line(error)}); tfmodels serving_config writes one"
        ) from error
    policies = {}
    for model in models:
        policy, labels = model.model_version_policy, dict(model.version_labels)
        kind = policy.WhichOneof("policy_choice")
        if kind == "specific":
            numbers = frozenset(policy.specific.versions)
            policies[model.name] = Policy(None, numbers, labels)
        elif kind == "all":
            policies[model.name] = Policy(None, None, labels)
        else:
            policies[model.name] = Policy(max(policy.latest.num_versions, 1), None, labels)
    return policies


def numbers_in(folder: Path) -> set[int]:
    """Return the numbers of the versions in a folder."""
    return {
        int(path.name)
        for path in folder.glob("*")
        if path.name.isdecimal() and (path / "saved_model.pb").is_file()
    }


def models_in(directories: Iterable[str | Path]) -> dict[str, Path]:
    """Return `{name: folder}` of the models in folders.

    Args:
        directories: each a model's folder, with versions in it, or a folder of such folders.

    Raises:
        InputError: one is a version, or two models have the same name.
    """
    found: dict[str, Path] = {}
    for directory in map(Path, directories):
        folders = [directory]
        if not numbers_in(directory):
            if (directory / "saved_model.pb").is_file():
                raise InputError(
                    f"{directory}: is one version; give the folder that holds it, "
                    f"{directory.parent}"
                )
            folders = [path for path in sorted(directory.glob("*")) if numbers_in(path)]
        for folder in folders:
            name = folder.resolve().name
            if found.setdefault(name, folder).resolve() != folder.resolve():
                raise InputError(
                    f"{folder}: another model is named {name}, in {found[name]}; rename one"
                )
    return found


def some_models_in(directories: Iterable[str | Path]) -> dict[str, Path]:
    """Return what `models_in` does; raise `InputError` if there is no model."""
    directories = list(directories)
    if found := models_in(directories):
        return found
    raise InputError(
        f"{', '.join(map(str, directories)) or 'no directory'}: no exported version; give a "
        "model's folder, or the folder of several, such as saved_models"
    )


def write_config(
    directories: Iterable[str | Path], config_dir: str | Path, *, base_path: str = "/models",
    stable: Mapping[str, int] | None = None, num_batch_threads: int | None = None,
) -> dict[str, dict[str, int]]:  # fmt: skip
    """Write the files that a server of the models in folders reads.

    Label `canary` is the newest version of each model, `stable` the one that it was before, or the
    newest of a new model, `previous` the one that was stable before `stable` moved. Files on
    batching and monitoring that are there already stay.

    Args:
        directories: see `models_in`.
        config_dir: folder to write in; made if it is not there.
        base_path: folder of the models where the server runs.
        stable: `{name: version}` to move `stable` to.
        num_batch_threads: number of cores of the server; of this machine if not given.

    Returns:
        `{name: {label: version}}`.

    Raises:
        InputError: there is no version, `stable` names one that is not there, or a file cannot be
            read or written.
    """
    config_dir, stable, found = Path(config_dir), dict(stable or {}), some_models_in(directories)
    for name, number in stable.items():
        numbers = sorted(numbers_in(found[name])) if name in found else []
        if number not in numbers:
            have = (
                f"it has {', '.join(map(str, numbers))}"
                if numbers
                else (f"give {', '.join(found)}")
            )
            raise InputError(f"stable {name} {number}: no such version; {have}")
    path = config_dir / MODELS
    before = read_policies(path) if path.exists() else {}
    labels = {}
    for name, folder in found.items():
        there = numbers_in(folder)
        was = before[name].labels if name in before else {}
        kept = was["stable"] if was.get("stable") in there else max(there)
        labels[name] = {"stable": stable.get(name, kept), "canary": max(there)}
        # What was stable stays loaded, so that the way back takes no time.
        previous = kept if stable.get(name, kept) != kept else was.get("previous")
        if previous is not None and previous in there - {*labels[name].values()}:
            labels[name]["previous"] = previous
    models = "".join(
        _MODEL.format(
            name=name, base_path=base_path.rstrip("/"),
            versions=" ".join(f"versions: {number}" for number in sorted(set(of.values()))),
            labels="\n".join(
                f'    version_labels {{ key: "{label}" value: {n} }}' for label, n in of.items()
            ),
        )
        for name, of in labels.items()
    )  # fmt: skip
    threads = num_batch_threads or os.cpu_count() or 1
    file = config_dir / BATCHING
    if num_batch_threads and file.exists():
        given = read_batching(file).num_batch_threads
        if given != num_batch_threads:
            raise InputError(
                f"{file}: stays as it is, with num_batch_threads {given} and not "
                f"{num_batch_threads}; correct it there, or remove the file and run this again"
            )
    texts = {
        MODELS: f"{_MODELS_HEAD}model_config_list {{\n{models}}}\n",
        BATCHING: _BATCHING_HEAD + Batching(num_batch_threads=threads).text(),
        MONITORING: _MONITORING,
    }
    try:
        config_dir.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            if name == MODELS or not (config_dir / name).exists():
                write_text(config_dir / name, text)
    except OSError as error:
        raise InputError(
            f"{config_dir}: cannot be written ({first_line(error)}); give another config_dir"
        ) from error
    return labels
