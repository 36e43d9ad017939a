"""What every model is exported, checked and asked with, whichever application it is of.

`tfmodels export`, `check DIR`, `query URL` and `smoke URL DIR`. In: a model directory, a version
or a server. Out: a version, or JSON lines; one line about a mistake. TensorFlow is imported when
a verb runs, not before.
"""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

from applications import bert, gpt, ner, sentiment, summarization
from applications.flags import Exporting
from tfmodels.errors import InputError

ROOMS = {"sentiment": sentiment, "ner": ner, "summarization": summarization, "bert": bert,
         "gpt": gpt}  # fmt: skip


@dataclass(kw_only=True)
class Export(Exporting):
    """Writes the SavedModel of any model directory, as the next version in export_dir.

    Args:
        export_dir: directory of the versions; saved_models/APPLICATION if not given.
        options: further settings of `tfmodels APPLICATION export`, as a JSON object.
    """

    export_dir: str | None = None
    options: dict = field(default_factory=dict)


@dataclass(kw_only=True)
class Check:
    """Checks that TF Serving 2.20 can run a SavedModel, ours or not; loads nothing.

    Args:
        directory: of a version, or of several, which are all checked.
    """

    directory: str


@dataclass(kw_only=True)
class Asking:
    """How a server is asked.

    Args:
        url: http://HOST:8501/v1/models/NAME or grpc://HOST:8500/NAME; behind it may stand
            /versions/NUMBER or /labels/LABEL.
        timeout: seconds that one try may take.
        retries: further tries, where the server is away or busy.
    """

    url: str
    timeout: float = 10.0
    retries: int = 3


@dataclass(kw_only=True)
class Query(Asking):
    """Asks a running server; prints one JSON object a text.

    Args:
        text: the texts; from standard input, one a line, if there are none.
        signature: of the model; it must take one input of text.
    """

    text: list[str] = field(default_factory=list)
    signature: str = "serving_default"


@dataclass(kw_only=True)
class Smoke(Asking):
    """Asks a running server every signature and compares with a SavedModel on disk.

    Args:
        directory: of the version that is served.
        tolerance: largest difference of numbers.
    """

    directory: str
    tolerance: float = 1e-3


def export(settings: Export):
    """Runs `Export`; returns the path of the new version."""
    from tfmodels.tasks.loading import application_of

    directory = Path(settings.model_dir)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; give one that `train` wrote")
    name = application_of(directory)
    if name is None:
        raise InputError(
            f"{directory}: does not say which application it is of; use `tfmodels APPLICATION "
            "export`"
        )
    kind, start = ROOMS[name].VERBS["export"]
    values = {name: getattr(settings, name) for name in ("model_dir", "precision", "weights")}
    if settings.export_dir is not None:
        values["export_dir"] = settings.export_dir
    known = kind.__dataclass_fields__.keys() - values.keys() - {"export_dir"}
    for key in settings.options:
        if key not in known:
            raise InputError(
                f"--options: {name} has no {key!r}; it has {', '.join(sorted(known)) or 'none'}"
            )
    return start(_checked(kind, {**values, **settings.options}))


def _checked(kind, values):
    """The settings of a verb, of the types that its flags have."""
    import jsonargparse

    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind)
    try:
        return kind(**parser.parse_object(values).as_dict())
    except argparse.ArgumentError as error:
        raise InputError(f"--options: {' '.join(str(error).split())}") from error


def check(settings: Check):
    """Runs `Check`: a JSON line for each version; returns what `check_all` does."""
    from tfmodels.serving.compatibility import SERVER, check_all

    found = check_all(settings.directory)
    for version in found:
        answer = {"saved_model": str(version.directory), "runs_on": SERVER}
        answer |= {"operations": version.operations, "signatures": version.signatures}
        print(json.dumps(answer))
    return found


def query(settings: Query):
    """Runs `Query`: JSON lines with the text and what the server answers."""
    from tfmodels.data.datasets import text_chunks

    client = _client(settings)
    signatures = client.signatures()
    if settings.signature not in signatures:
        raise InputError(f"--signature {settings.signature}: there are {', '.join(signatures)}")
    inputs = signatures[settings.signature]["inputs"]
    if [tensor["dtype"] for tensor in inputs.values()] != ["string"]:
        raise InputError(f"--signature {settings.signature}: takes {', '.join(inputs)}, not a text")
    texts = [text for part in text_chunks(settings.text, None, "text") for text in part]
    if not texts:
        raise InputError("no text; give some, or lines on standard input")
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


def smoke(settings: Smoke):
    """Runs `Smoke`: one JSON object of all signatures; returns it."""
    from tfmodels.serving.smoke import smoke

    found = smoke(_client(settings), settings.directory, settings.tolerance)
    print(json.dumps(found))
    return found


def _client(settings):
    from tfmodels.serving.client import Client

    return Client(settings.url, settings.timeout, settings.retries)


VERBS = {"export": (Export, export), "check": (Check, check), "query": (Query, query),
         "smoke": (Smoke, smoke)}  # fmt: skip
