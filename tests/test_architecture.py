"""Who may import whom, and what nobody may do: read off the syntax trees of the package.

`MAY_IMPORT` is the whole architecture: a room not named in the entry of another may not be
imported by it. See `docs/architecture.md`.
"""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# Room: what it may import of the project, next to itself and `FOR_ALL`.
MAY_IMPORT = {
    "tfmodels": (),
    "tfmodels.errors": (),
    "tfmodels.files": (),
    "tfmodels.text": (),
    "tfmodels.layers": (),
    "tfmodels.models": ("tfmodels.layers",),
    "tfmodels.generation": ("tfmodels.layers",),
    "tfmodels.training": ("tfmodels.layers",),
    "tfmodels.checkpoints": ("tfmodels.models", "tfmodels.layers", "tfmodels.text"),
    "tfmodels.serving": (),
    "tfmodels.data": ("tfmodels.text",),
    "tfmodels.metrics": ("tfmodels.text",),
    "tfmodels.tasks": (
        "tfmodels.data",
        "tfmodels.metrics",
        "tfmodels.text",
        "tfmodels.layers",
        "tfmodels.models",
        "tfmodels.generation",
        "tfmodels.checkpoints",
        "tfmodels.training",
        "tfmodels.serving",
    ),
    "applications": ("tfmodels",),
}
FOR_ALL = ("tfmodels.errors", "tfmodels.files")
# Keras alone computes there, so that the models run on its other backends too.
WITHOUT_TENSORFLOW = ("tfmodels.layers", "tfmodels.models", "tfmodels.generation")
NAMED = ("tfmodels.layers.kernels", "tfmodels.models.workers")
# What `import tfmodels` must do without: imported where it is needed, inside of functions.
OPTIONAL = {
    "safetensors",
    "huggingface_hub",
    "tokenizers",
    "matplotlib",
    "tensorflow_datasets",
    "jsonargparse",
    "rouge_score",
}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec"}


def is_in(module, room):
    return module == room or module.startswith(f"{room}.")


def room_of(module):
    """The room of `MAY_IMPORT` that a module belongs to: the longest name that fits."""
    fits = [room for room in MAY_IMPORT if is_in(module, room)]
    return max(fits, key=len, default=None)


def imports(tree, module, is_package=False):
    """All `(imported module, whether at module level)`; of `from a import b`, `a.b`."""
    inside = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node not in inside
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            above = parts[: len(parts) - node.level + is_package] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                yield f"{base}.{alias.name}", node not in inside


def broken_rules(source, module, is_package=False):
    """What the source of a module does against the rules, one line each."""
    tree = ast.parse(source)
    room = room_of(module)
    if room == "tfmodels" and module != "tfmodels":
        yield f"{module} is in no room"
    if module.split(".")[-1] == "utils":
        yield f"{module}: no utils"
    for name, at_module_level in imports(tree, module, is_package):
        top = name.split(".")[0]
        if top in ("tfmodels", "applications", "tests", "tools"):
            allowed = (room, *FOR_ALL, *MAY_IMPORT[room])
            # The room `tfmodels` is its `__init__` only: being in it allows nothing below it.
            within = [r for r in allowed if r != "tfmodels" or room == "applications"]
            if not any(is_in(name, r) for r in within):
                yield f"{module} imports {name}"
        if (
            top == "tensorflow"
            and module not in NAMED
            and any(is_in(module, r) for r in WITHOUT_TENSORFLOW)
        ):
            yield f"{module} imports {name}"
        core = is_in(module, "tfmodels")
        if core and top in OPTIONAL and at_module_level:
            yield f"{module} imports {name} at module level"
        if top in FORBIDDEN_MODULES:
            yield f"{module} imports {name}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            yield f"{module} calls {node.func.id}"
        for keyword in node.keywords:
            value = getattr(keyword.value, "value", "not a constant")
            if keyword.arg == "allow_pickle" and value is not False:
                yield f"{module} sets allow_pickle"


def modules():
    """`(module name, path)` of every file of the two packages."""
    for package in ("tfmodels", "applications"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


@pytest.mark.parametrize(("module", "path"), [pytest.param(*m, id=m[0]) for m in modules()])
def test_module_keeps_the_rules(module, path):
    source = path.read_text(encoding="utf-8")
    assert list(broken_rules(source, module, path.name == "__init__.py")) == []


def test_rules_are_about_something():
    found = {room_of(module) for module, _ in modules()}
    assert {"tfmodels.layers", "tfmodels.models", "tfmodels.text", "applications"} <= found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tfmodels.layers.dense", "from tfmodels.models import bert"),
        ("tfmodels.layers.dense", "import tfmodels.models.bert"),
        ("tfmodels.layers.dense", "from ..models import bert"),
        ("tfmodels.layers.dense", "def f():\n    from tfmodels.models.bert import Bert"),
        ("tfmodels.layers.dense", "from tfmodels import models"),
        ("tfmodels.layers.dense", "import tensorflow as tf"),
        ("tfmodels.models.bert", "def f():\n    from tensorflow import function"),
        ("tfmodels.models.bert", "from tfmodels.serving import export"),
        ("tfmodels.text.packing", "from tfmodels.layers import masks"),
        ("tfmodels.generation.beam", "from tfmodels.models import gpt"),
        ("tfmodels.generation.beam", "import tensorflow as tf"),
        ("tfmodels.training.optimizer", "from tfmodels.models import bert"),
        ("tfmodels.serving.export", "from applications import run"),
        ("tfmodels.serving.export", "from tfmodels.checkpoints import huggingface"),
        ("tfmodels", "from tfmodels.models.bert import Bert"),
        ("tfmodels.errors", "from tfmodels.layers import masks"),
        ("tfmodels.checkpoints.files", "import safetensors.numpy"),
        ("tfmodels.checkpoints.files", "import pickle"),
        ("tfmodels.checkpoints.files", "def f():\n    from pickle import loads"),
        ("tfmodels.checkpoints.files", "numpy.load(path, allow_pickle=True)"),
        ("tfmodels.checkpoints.files", "numpy.load(path, allow_pickle=trust)"),
        ("tfmodels.text.characters", "from tools import make_unicode_table"),
        ("applications.run", "eval('1')"),
        ("applications.run", "exec('1')"),
        ("applications.run", "from tests import conftest"),
        ("tfmodels.layers.utils", ""),
        ("tfmodels.helpers", ""),
    ],
)
def test_a_broken_rule_is_found(module, source):
    assert list(broken_rules(source, module))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tfmodels.layers.kernels", "import tensorflow as tf"),
        ("tfmodels.layers.blocks", "from . import masks"),
        ("tfmodels.models.bert", "from tfmodels.layers.blocks import EncoderBlock"),
        ("tfmodels.models.bert", "from tfmodels.errors import InputError"),
        ("tfmodels.tasks.task", "import tensorflow\nfrom tfmodels.text import packing"),
        ("tfmodels.checkpoints.files", "def f():\n    import safetensors.numpy"),
        ("tfmodels.checkpoints.files", "numpy.load(path, allow_pickle=False)"),
        ("applications.run", "import matplotlib\nfrom tfmodels.serving import export"),
    ],
)
def test_what_is_allowed_passes(module, source):
    assert list(broken_rules(source, module)) == []


def test_relative_imports_of_a_package_start_at_itself():
    assert list(broken_rules("from . import masks", "tfmodels.layers", is_package=True)) == []
    assert list(broken_rules("from .. import models", "tfmodels.layers", is_package=True))
