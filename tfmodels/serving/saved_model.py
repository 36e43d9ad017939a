"""Writes SavedModels in the layout that TF Serving watches: `<root>/<integer version>/`.

In: named functions on tensors, with the specs of their inputs, and the variables they
use. Out: a directory that a stock TF Serving (2.20) loads. It is written under a name
that the server does not look at and renamed when it is whole.
"""

import errno
import re
from pathlib import Path

import tensorflow as tf

from tfmodels.errors import first_line
from tfmodels.files import whole_directory

NUMBER = re.compile("[0-9]+")


def save(root, signatures, variables):
    """Writes the next version of a SavedModel.

    Args:
        root: directory that holds the versions; made if it is not there.
        signatures: dict from signature name to `(function, specs)`: a function of
            tensors that returns a dict of tensors, and its `tf.TensorSpec`s by argument
            name. `"serving_default"` is what the server calls if not told otherwise.
        variables: the `tf.Variable`s that the functions read.

    Returns:
        `Path` of the new version, `<root>/<number>`.

    Raises:
        InputError: if the directory cannot be written.
    """
    root = Path(root)
    module = tf.Module()
    # The variables alone: saving a Keras model would save its training functions too.
    module.model_variables = list(variables)
    functions = {}
    for name, (function, specs) in signatures.items():
        functions[name] = tf.function(function).get_concrete_function(
            **{key: tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in specs.items()}
        )
    version = root / str(next_version(root))
    with whole_directory(version, "another directory for the versions") as partial:
        try:
            tf.saved_model.save(module, str(partial), signatures=functions)
        except tf.errors.OpError as error:  # of the file system: nothing else runs here
            raise OSError(errno.EIO, first_line(error)) from error
    return version


def next_version(root):
    """1 more than the largest version in `root`, which need not exist."""
    versions = [int(path.name) for path in Path(root).glob("*") if NUMBER.fullmatch(path.name)]
    return max(versions, default=0) + 1
