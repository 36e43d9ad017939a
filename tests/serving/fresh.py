"""Asks a SavedModel in a process where none of our code, nor Keras, can be imported.

As in a server there are TF-Text's ops and not its Python, which imports Keras.
"""

import json
import os
import subprocess
import sys

PROGRAM = """
import json, sys
for name in ("tfmodels", "applications", "keras"):
    sys.modules[name] = None
import importlib.util, pathlib
import tensorflow as tf
text = pathlib.Path(importlib.util.find_spec("tensorflow_text").submodule_search_locations[0])
for library in sorted(text.glob("python/ops/_*.so")):
    tf.load_op_library(str(library))
loaded = tf.saved_model.load(sys.argv[1])
def plain(value):
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value.decode() if isinstance(value, bytes) else value
answers = []
for name, inputs in json.loads(sys.stdin.read()):
    inputs = {key: tf.constant(value, dtype) for key, (dtype, value) in inputs.items()}
    answer = loaded.signatures[name](**inputs)
    answers.append({key: plain(value.numpy().tolist()) for key, value in answer.items()})
signatures = {name: sorted(function.structured_input_signature[1])
              for name, function in loaded.signatures.items()}
print(json.dumps({"signatures": signatures, "answers": answers}))
"""


def ask(directory, *calls, timeout=180):
    """The answers of a SavedModel.

    Args:
        directory: of a version.
        *calls: `(signature name, {input: (dtype name, value)})`, values as JSON.
        timeout: seconds.

    Returns:
        `(signatures, answers)`: dict from signature name to its inputs, and for each call a
        dict of lists.
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(directory)], input=json.dumps(calls).encode(),
        capture_output=True, cwd=directory, timeout=timeout, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return found["signatures"], found["answers"]
