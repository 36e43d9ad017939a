"""Whether TF Serving 2.20 can run a SavedModel: read off its graph, nothing is loaded.

In: a directory with `saved_model.pb`, of this package or another. Out: what is in it, or an
`InputError` that names what the server does not have. What it has stands in `op_list.txt`, which
`make_op_list.py` wrote.
"""

import dataclasses
import functools
import re
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from tfmodels.errors import InputError
from tfmodels.files import hash_of, read_json
from tfmodels.serving.contracts import CONTRACTS, broken_promises, described

SERVER = "TF Serving 2.20"
# Files beside the graph: a description, and checksums that detect an incomplete copy.
SIGNATURES, CHECKSUMS = "signatures.json", "checksums.json"
# They call the Python process that made the graph.
PYTHON = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
# A file of some machine: two names or more, of Unix or behind a drive's letter.
ABSOLUTE = re.compile(
    rb"(?:file://)?/[\w.+-]+(?:/[\w.+ -]+)+|file:///\S+|[A-Za-z]:\\[^\\/:*?\"<>|]+\S*"
)


@dataclasses.dataclass(frozen=True)
class Version:
    """A SavedModel that the server can run.

    Attributes:
        directory: `Path` of it.
        operations: how many kinds of them are in the graph.
        signatures: see `contracts.described`.
        task: of `CONTRACTS`, as `signatures.json` has it.
    """

    directory: Path
    operations: int
    signatures: dict
    task: str | None


@functools.cache
def server() -> tuple[int, dict[str, set[str]]]:
    """Return what the server has: its version of graphs, and a dict from operation to attributes.

    The attributes are a set of names.
    """
    text = Path(__file__).with_name("op_list.txt").read_text(encoding="ascii")
    first, *lines = text.splitlines()
    rows = (line.split() for line in lines)
    return int(first.split()[-1]), {name: set(names) for name, *names in rows}


def read(directory: str | Path) -> saved_model_pb2.SavedModel:
    """Return the `SavedModel` protocol buffer of a version.

    Raises:
        InputError: there is none that can be read.
    """
    path = Path(directory) / "saved_model.pb"
    try:
        return saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give the directory of a version, or of "
            "several"
        ) from error
    except DecodeError as error:
        raise InputError(f"{path}: no SavedModel, or damaged; export it again") from error


def check_all(directory: str | Path) -> list[Version]:
    """Check a version, all versions of a model, or those of all models in a directory.

    Returns:
        list of `Version`, by model and number.

    Raises:
        InputError: as `check`.
    """
    directory = Path(directory)
    if not any(directory.glob("saved_model.*")):
        folders = [directory] if _numbered(directory) else sorted(directory.glob("*/"))
        if versions := [path for folder in folders for path in _numbered(folder)]:
            return [check(path) for path in versions]
    return [check(directory)]


def _numbered(folder):
    """Return the versions in a folder, by number, whole or not."""
    found = [path for path in folder.glob("*/") if path.name.isdecimal()]
    return sorted(found, key=lambda path: int(path.name))


def check(directory: str | Path) -> Version:
    """Check a SavedModel against the server, its own description and its checksums.

    Args:
        directory: of the version.

    Returns:
        `Version`.

    Raises:
        InputError: it cannot be read, the server could not run it, it has not the signatures of
            its task, or its files have changed.
    """
    directory = Path(directory)
    model = read(directory)
    graphs = [graph for graph in model.meta_graphs if "serve" in graph.meta_info_def.tags]
    if not graphs:
        raise InputError(f"{directory}: no graph with the tag 'serve', which {SERVER} loads")
    graph, kinds = graphs[0], set[str]()
    if missing := list(_missing(directory, graph, kinds)):
        more = f" (and {len(missing) - 1} more)" if missing[1:] else ""
        raise InputError(f"{directory}: {SERVER} cannot run it: {missing[0]}{more}")
    signatures, task = described(graph), _task(directory)
    broken = [] if task is None else list(broken_promises(task, signatures))
    if broken:
        raise InputError(f"{directory}: not what {task} promises: {broken[0]}")
    if changed := list(_changed_files(directory)):
        raise InputError(f"{directory}: {changed[0]}; export it again")
    return Version(directory, len(kinds), signatures, task)


def _changed_files(directory):
    """Yield the files that differ from their checksums; none without checksums."""
    path = directory / CHECKSUMS
    for name, wanted in (read_json(path, "export it again") if path.exists() else {}).items():
        if not (directory / name).is_file():
            yield f"{name} is missing"
        elif hash_of(directory / name) != wanted:
            yield f"{name} has changed since it was written"


def _missing(directory, graph, kinds):
    """Yield what the server does not have, one line each; add the graph's operations to `kinds`."""
    definition, (version, operations) = graph.graph_def, server()
    own = {function.signature.name for function in definition.library.function}
    for function, node in _nodes(definition):
        where = f"(node {node.name!r}{f' of function {function}' if function else ''})"
        kinds.add(node.op)
        if node.op in PYTHON:
            yield f"operation {node.op} {where} calls Python"
        elif node.op in operations:
            names = {name for name in node.attr if not name.startswith("_")}
            for name in sorted(names - operations[node.op]):
                yield f"operation {node.op} {where} has the attribute {name}, which is newer"
        elif node.op not in own:
            yield f"operation {node.op} {where} is not in it"
        # A constant of many strings is a vocabulary, in which anything may look like a path.
        values = node.attr["value"].tensor.string_val if "value" in node.attr else ()
        if len(values) == 1 and ABSOLUTE.fullmatch(values[0]):
            yield f"the absolute path {values[0].decode(errors='replace')} {where}"
    for asset in graph.asset_file_def:
        if asset.filename.startswith("/"):
            yield f"the asset {asset.filename} has an absolute path"
        elif not (directory / "assets" / asset.filename).is_file():
            yield f"the asset {asset.filename} is missing"
    versions = definition.versions
    if versions.min_consumer > version:
        yield f"it needs graph version {versions.min_consumer} or more, the server's is {version}"
    if version in versions.bad_consumers:
        yield f"it refuses the graph version of its reader, the server's is {version}"
    if not described(graph):
        yield "it has no signature; give `signatures=` when it is saved"


def _nodes(definition):
    """Yield `(name of the function or None, node)` of the graph and of its library."""
    yield from ((None, node) for node in definition.node)
    for function in definition.library.function:
        yield from ((function.signature.name, node) for node in function.node_def)


def _task(directory):
    """Return the task that `signatures.json` names; `None` without the file."""
    path = directory / SIGNATURES
    if not path.exists():
        return None
    description = read_json(path, "export it again")
    if not description.keys() >= {"task", "signatures"} or description["task"] not in (
        None,
        *CONTRACTS,
    ):
        raise InputError(f"{path}: does not describe a model of tfmodels; export it again")
    return description["task"]
