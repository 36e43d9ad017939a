"""The verbs that know no application: `tfmodels export`, `preset`, `check`, `query` and `smoke`.

In: a model directory, a version or a server. Out: a version, a preset of KerasHub, or JSON lines;
one line about a mistake. TensorFlow is imported when a verb runs, not before.
"""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path

from applications.flags import Encoded, Exporting, UsingAModel
from applications.parsing import settings_of
from applications.settings import Settings, data, output, server
from tfmodels.errors import InputError
from tfmodels.files import refuse_existing


@dataclass(kw_only=True)
class Export(Exporting):
    """Write the SavedModel of any model directory, as the next version in export_dir."""

    export_dir: str | None = output("of the versions, if not saved_models/APPLICATION", None)  # type: ignore[assignment]
    options: dict = output("""other flags of the application's export, as '{"top_k": 3}'""", {})


@dataclass(kw_only=True)
class Preset(UsingAModel):
    """Write any model directory as a preset that KerasHub's from_preset loads."""

    EXAMPLE = "{} --model_dir runs/model --preset_dir presets/model"

    preset_dir: str = output("new directory of the preset")
    approximate_gelu: bool = output("also a BERT of exact GELU, which KerasHub lacks", False)

    def check_files(self) -> None:
        super().check_files()
        refuse_existing(self.preset_dir, "another --preset_dir")


@dataclass(kw_only=True)
class Check(Settings):
    """Check that TF Serving 2.20 can run a SavedModel, without loading it."""

    EXAMPLE = "{} saved_models"

    directory: str = data("version, or folder of versions, or of models, to check")


@dataclass(kw_only=True)
class Asking(Settings):
    """How a server is asked."""

    url: str = server("http://HOST:8501/v1/models/NAME or grpc://HOST:8500/NAME")
    timeout: float = server("seconds that a request may take", 10.0)
    retries: int = server("number of further requests to a server that is away or busy", 3)


@dataclass(kw_only=True)
class Query(Encoded, Asking):
    """Send texts to a server; print one JSON object a text."""

    EXAMPLE = '{} http://localhost:8501/v1/models/sentiment "A warm, funny film."'

    text: list[str] = data("texts; without any, the lines of standard input", [])
    signature: str = server("signature that takes one text", "serving_default")


@dataclass(kw_only=True)
class Smoke(Asking):
    """Compare the answers of a server, of every signature, with a version on disk."""

    EXAMPLE = "{} grpc://localhost:8500/sentiment saved_models/sentiment/1"

    directory: str = data("version that the server has")
    tolerance: float = data("maximum difference of two numbers", 1e-3)


def export(settings: Export) -> Path:
    """Run `Export`; return the path of the new version."""
    from tfmodels.checkpoints.files import find_checkpoint
    from tfmodels.tasks.loading import application_of

    directory = find_checkpoint(settings.model_dir)
    name = application_of(directory)
    if name is None:
        raise InputError(f"{directory}: names no application; use `tfmodels APPLICATION export`")
    kind, start = importlib.import_module(f"applications.{name}").VERBS["export"]
    values = {name: value for name, value in vars(settings).items() if name != "options" and value}
    try:
        further = settings_of(kind, {**values, **settings.options}, f"tfmodels {name} export")
    except InputError as error:
        raise InputError(f"--options: {error}") from error
    return start(further)


def preset(settings: Preset) -> Path:
    """Run `Preset`; return the path of the preset."""
    from tfmodels.tasks.loading import load

    task = load(settings.model_dir)
    task.save_to_preset(settings.preset_dir, approximate_gelu=settings.approximate_gelu)
    print(json.dumps({"preset_dir": settings.preset_dir}))
    return Path(settings.preset_dir)


def check(settings: Check) -> list:
    """Run `Check`: print a JSON line for each version; return what `check_all` does."""
    from tfmodels.serving.compatibility import SERVER, check_all

    versions = check_all(settings.directory)
    for version in versions:
        answer: dict = {"saved_model": str(version.directory), "runs_on": SERVER}
        answer |= {"operations": version.operations, "signatures": version.signatures}
        print(json.dumps(answer))
    return versions


def query(settings: Query) -> None:
    """Run `Query`: print JSON lines with the text and the answer of the server."""
    from tfmodels.data.datasets import text_chunks

    client = _client(settings)
    signatures = client.signatures()
    if settings.signature not in signatures:
        raise InputError(
            f"--signature {settings.signature}: unknown; give one of {', '.join(signatures)}"
        )
    inputs = signatures[settings.signature]["inputs"]
    if [tensor["dtype"] for tensor in inputs.values()] != ["string"]:
        raise InputError(f"--signature {settings.signature}: takes {', '.join(inputs)}, not a text")
    texts = [
        text
        for part in text_chunks(settings.text, None, "text", settings.encoding)
        for text in part
    ]
    if not texts:
        raise InputError("no text; give texts, or lines on standard input")
    (name,) = inputs
    answers = client.predict({name: texts}, settings.signature)
    for row, text in enumerate(texts):
        values = {key: _plain(value[row]) for key, value in answers.items()}
        print(json.dumps({"sent": text, **values}, ensure_ascii=False))


def _plain(value):
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def smoke(settings: Smoke) -> dict:
    """Run `Smoke`: print one JSON object of all signatures, and return it."""
    from tfmodels.serving.smoke import smoke

    compared = smoke(_client(settings), settings.directory, settings.tolerance)
    print(json.dumps(compared))
    return compared


def _client(settings):
    from tfmodels.serving.client import Client

    return Client(settings.url, settings.timeout, settings.retries)


VERBS = {"export": (Export, export), "preset": (Preset, preset), "check": (Check, check),
         "query": (Query, query), "smoke": (Smoke, smoke)}  # fmt: skip
