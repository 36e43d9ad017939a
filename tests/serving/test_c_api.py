"""Every signature in a C program, against Python: what is exported needs no Python."""

import importlib.util
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfmodels.serving import warmup
from tfmodels.serving.compatibility import read

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc, to build C")

TEXTS = [b"a joy", b"", "很 Ada 😀".encode(), b"the [MASK] \xff"]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The C program, built against the TensorFlow that is installed."""
    path = tmp_path_factory.mktemp("c") / "run_saved_model"
    libraries = Path(tf.sysconfig.get_lib())
    link = [f"-L{libraries}", "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    command = ["gcc", "-O1", "-Wall", "-Werror", "-o", str(path),
               str(Path(__file__).with_name("run_saved_model.c")),
               f"-I{tf.sysconfig.get_include()}", *link, f"-Wl,-rpath,{libraries}"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path


def text_libraries():
    spec = importlib.util.find_spec("tensorflow_text")
    return sorted(Path(spec.submodule_search_locations[0]).glob("python/ops/_*.so"))


def written(array, dtype):
    """A tensor as the program reads it."""
    values = np.asarray(array).ravel().tolist()
    if dtype == tf.string:
        values = [f"x{value.hex()}" for value in values]
    elif dtype == tf.bool:
        values = [int(value) for value in values]
    shape = np.shape(array)
    return " ".join(map(str, [dtype.as_datatype_enum, len(shape), *shape, *values]))


def parsed(line):
    """What the program wrote, as an array."""
    dtype, rank, *rest = line.split()
    shape, values = [*map(int, rest[: int(rank)])], rest[int(rank) :]
    dtype = tf.as_dtype(int(dtype))
    if dtype == tf.string:
        flat = np.empty(math.prod(shape), object)
        flat[:] = [bytes.fromhex(value[1:]) for value in values]
        return flat.reshape(shape)
    return np.array([*map(float, values)]).astype(dtype.as_numpy_dtype).reshape(shape)


def asked(program, version, calls):
    """The answers of the program: a dict of arrays for each `(signature, inputs)`."""
    definitions = read(version).meta_graphs[0].signature_def
    lines, outputs = [], []
    for name, inputs in calls:
        wanted = definitions[name]
        lines.append(f"{len(inputs)} {len(wanted.outputs)}")
        for key, value in inputs.items():
            info = wanted.inputs[key]
            lines.append(f"{info.name.replace(':', ' ')} {written(value, tf.as_dtype(info.dtype))}")
        lines += [info.name.replace(":", " ") for info in wanted.outputs.values()]
        outputs.append(list(wanted.outputs))
    command = [str(program), str(version), *map(str, text_libraries())]
    done = subprocess.run(
        command, input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = iter(done.stdout.splitlines())
    return [{key: parsed(next(rows)) for key in keys} for keys in outputs]


SLOW = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("bert_dir", "gpt_dir", "writer_dir")
]


@pytest.mark.parametrize("fixture", ["model_dir", "ner_dir", "qa_dir", *SLOW])
def test_the_same_answers(fixture, version_of, program):
    version = version_of(fixture)
    loaded = tf.saved_model.load(str(version))
    # The first requests of each signature, and texts that are no ASCII.
    calls = []
    for name, inputs in warmup.read(version):
        if len(next(iter(inputs.values()))) == 1:
            calls.append((name, inputs))
    keys = loaded.signatures["serving_default"].structured_input_signature[1]
    calls.append(("serving_default", {key: np.array(TEXTS, object) for key in keys}))
    for (name, inputs), answer in zip(calls, asked(program, version, calls), strict=True):
        specs = loaded.signatures[name].structured_input_signature[1]
        tensors = {k: tf.constant(v, specs[k].dtype) for k, v in inputs.items()}
        expected = loaded.signatures[name](**tensors)
        assert answer.keys() == expected.keys()
        for output, value in expected.items():
            value = value.numpy()
            assert answer[output].shape == value.shape
            if value.dtype.kind == "f":
                np.testing.assert_allclose(answer[output], value, atol=1e-5)
            else:
                assert answer[output].tolist() == value.tolist()
