"""Write SavedModels in the layout that TF Serving watches: `<root>/<integer version>/`.

In: named functions on tensors, with the specs of their inputs, and the variables they
use. Out: a directory that a stock TF Serving (2.20) loads. It is written under a name
that the server does not look at and renamed when it is whole.
"""

import errno
import re
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from tfmodels.errors import InputError, first_line
from tfmodels.files import hash_of, whole_directory, write_json
from tfmodels.serving import compatibility, warmup
from tfmodels.serving.cards import exported_card
from tfmodels.serving.contracts import described

LARGEST_GRAPH = 1.9e9  # bytes of constants; a protocol buffer ends at 2 GiB
NUMBER = re.compile("[0-9]+")
# What loads a version, beside TF Serving: the operations are those of these releases.
NEEDS = {"tensorflow": ">=2.20", "tensorflow-text": ">=2.20", "tensorflow/serving": "2.20.0"}


def save(
    root: str | Path, signatures: dict, *, tokenizer: tf.Module | None = None,
    task: str | None = None, card: str | Path | None = None, max_length: int | None = None,
    max_words: int | None = None, frozen: bool = False, labels: Sequence[str] | None = None,
) -> Path:  # fmt: skip
    """Write the next version of a SavedModel, warmed up and checked to run on TF Serving 2.20.

    Args:
        root: directory that holds the versions; made if it is not there.
        signatures: dict from signature name to `(function, specs)`: a function of
            tensors that returns a dict of tensors, and its `tf.TensorSpec`s by argument
            name. `"serving_default"` is what the server calls by default.
            The variables that they read are saved.
        tokenizer: `tf.Module` whose tables they read, if it has any.
        task: name in `contracts.CONTRACTS` of what the signatures promise; `None` for others.
        card: path of the model's card, if there is one; see `cards.exported_card`.
        max_length: maximum number of tokens of a row that signatures on ids take; the warm-up
            has no longer ones.
        max_words: maximum number of words in the texts of the warm-up, where the signature does
            not cut texts to what the model takes; with 0 there are no texts.
        frozen: weights are constants of the graph, once for each signature, and not variables in
            files of their own.
        labels: the classes or tags of the answers, for `signatures.json`.

    Returns:
        `Path` of the new version, `<root>/<number>`. Beside the graph it has the warm-up requests,
        `signatures.json`, `checksums.json` and a card, `README.md`.

    Raises:
        InputError: if the directory cannot be written, the server could not run the model, or its
            weights are too large to be frozen.
    """
    root = Path(root)
    module = tf.Module()
    module.tokenizer = tokenizer
    functions = {}
    for name, (function, specs) in signatures.items():
        functions[name] = tf.function(function, autograph=False).get_concrete_function(
            **{key: tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in specs.items()}
        )
    # The variables that answers need, alone: saving a Keras model would save its training functions
    # and the states of dropout and metrics too.
    used = {id(v): v for function in functions.values() for v in function.graph.variables}
    weights = 4 * sum(int(tf.size(v)) for v in used.values() if v.dtype.is_floating)
    if frozen:
        functions = _frozen(functions)
    else:
        module.model_variables = list(used.values())
    version = root / str(next_version(root))
    with whole_directory(version, "another directory for the versions") as partial:
        try:
            tf.saved_model.save(module, str(partial), signatures=functions)
        except tf.errors.OpError as error:  # of the file system: nothing else runs here
            raise OSError(errno.EIO, first_line(error)) from error
        (graph,) = compatibility.read(partial).meta_graphs
        files = [path for path in partial.rglob("*") if path.is_file()]
        sizes = {"float32_weights": weights, "exported": sum(p.stat().st_size for p in files)}
        warmed = {name: (function, signatures[name][1]) for name, function in functions.items()}
        warmup.write(partial, root.name, warmed, max_length, max_words)
        shapes = described(graph)
        content: dict = {"task": task, "signatures": shapes, "bytes": sizes, "needs": NEEDS}
        if labels is not None:
            content["labels"] = list(labels)
        write_json(partial / compatibility.SIGNATURES, content)
        text = exported_card(card, version, shapes)
        (partial / "README.md").write_text(text, encoding="utf-8")
        files = [path for path in sorted(partial.rglob("*")) if path.is_file()]
        sums = {str(path.relative_to(partial)): hash_of(path) for path in files}
        write_json(partial / compatibility.CHECKSUMS, sums)
        compatibility.check(partial)
    return version


def _frozen(functions):
    """Return functions with constants in place of their variables; dict as given.

    Raises:
        InputError: the graph would have more bytes than a protocol buffer can.
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    size = sum(tf.size(v).numpy() * v.dtype.size for f in functions.values() for v in f.variables)
    check_room(size, len(functions))

    def named(function):
        constant = convert_variables_to_constants_v2(function, lower_control_flow=False)
        captured = {inside.op.name: outside for outside, inside in function.graph.captures}
        inputs = {
            tensor.op.name: tf.TensorSpec(tensor.shape, tensor.dtype)
            for tensor in function.inputs
            if tensor.op.name not in captured
        }
        needed = [tensor.op.name for tensor in constant.inputs]  # the tables of a tokenizer, too
        outputs = sorted(function.structured_outputs)  # as TensorFlow flattens a dict

        def call(**given):
            values = constant(*((captured | given)[name] for name in needed))
            return dict(zip(outputs, values, strict=True))

        return tf.function(call, autograph=False).get_concrete_function(**inputs)

    return {name: named(function) for name, function in functions.items()}


def check_room(size: int, signatures: int) -> None:
    """Raise `InputError` if a graph has no room for so many bytes of constants."""
    if size > LARGEST_GRAPH:
        raise InputError(
            f"weights frozen: {size / 1e9:.1f} GB in {signatures} signatures, and a graph "
            f"holds {LARGEST_GRAPH / 1e9:.1f} GB; keep them as variables"
        )


def next_version(root: str | Path) -> int:
    """Return 1 more than the largest version in `root`, which need not exist."""
    versions = [int(path.name) for path in Path(root).glob("*") if NUMBER.fullmatch(path.name)]
    return max(versions, default=0) + 1
