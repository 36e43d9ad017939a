"""What a server asks a model before anybody else may: warm-up requests.

In: the functions that are exported. Out: `assets.extra/tf_serving_warmup_requests`, a TFRecord
file of `PredictionLog`s, each a request of one signature. A server replays them as it loads a
version; one that fails keeps the version from being served, so each is run here first.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfmodels.errors import InputError, first_line
from tfmodels.serving.protocol import import_api

PATH = Path("assets.extra", "tf_serving_warmup_requests")
BATCH_SIZES = (1, 8)
WORDS = (1, 16, 96)  # of the texts; the widths of the ids
_TEXT = "the old captain looked at a quiet river, and nobody said a word about the letter of "
# Values of a row in an ordinary request; other numbers are 0.
_ROW = {"max_new_tokens": 2, "temperature": 1.0, "top_p": 1.0}


def requests(
    specs: dict, max_length: int | None = None, max_words: int | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the warm-up requests of a signature: dicts from input to array.

    They have every length of `WORDS` in batches of every size of `BATCH_SIZES`.

    Args:
        specs: dict from input to `tf.TensorSpec`.
        max_length: largest width of ids; longer ones become as wide.
        max_words: maximum number of words in a text; with 0 there is no request with a text.
    """
    strings = any(spec.dtype == tf.string for spec in specs.values())
    if strings and max_words == 0:
        return
    longest = max_words if strings else max_length
    lengths = dict.fromkeys(n if longest is None else min(n, longest) for n in WORDS)
    for length, size in itertools.product(lengths, BATCH_SIZES):
        text = " ".join(itertools.islice(itertools.cycle(_TEXT.split()), length))
        inputs = {}
        for name, spec in specs.items():
            if spec.dtype == tf.string:
                inputs[name] = np.array([text.encode()] * size, object)
            elif strings or len(spec.shape) == 1:
                # Ids beside a text are those that have been written for it so far: none.
                value, shape = _ROW.get(name, 0), [size] + [0] * (len(spec.shape) - 1)
                inputs[name] = np.full(shape, value, spec.dtype.as_numpy_dtype)
            else:
                # Token 0, which every vocabulary has, and nothing masked.
                shape = [size] + [length] * (len(spec.shape) - 1)
                inputs[name] = np.full(shape, spec.dtype == tf.bool, spec.dtype.as_numpy_dtype)
        yield inputs


def write(
    directory: str | Path, model_name: str, functions: dict, max_length: int | None = None,
    max_words: int | None = None,
) -> None:  # fmt: skip
    """Run and write the warm-up requests of a version.

    Args:
        directory: of the version.
        model_name: which the requests name; a server does not look at it.
        functions: dict from signature to `(concrete function, specs)`.
        max_length: see `requests`.
        max_words: see `requests`.

    Raises:
        InputError: the model does not answer one of them.
    """
    prediction_log = import_api("prediction_log_pb2", "writing warm-up requests").PredictionLog
    path = Path(directory) / PATH
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, (function, specs) in functions.items():
            for inputs in requests(specs, max_length, max_words):
                log = prediction_log()
                request = log.predict_log.request
                request.model_spec.name, request.model_spec.signature_name = model_name, name
                for key, value in inputs.items():
                    request.inputs[key].CopyFrom(
                        tf.make_tensor_proto(value, specs[key].dtype, value.shape)
                    )
                try:
                    function(**{k: tf.constant(v, specs[k].dtype) for k, v in inputs.items()})
                except tf.errors.OpError as error:
                    raise InputError(
                        f"signature {name} does not answer the warm-up request "
                        f"{_described(inputs)}: {reason(error)}; a server would not load it"
                    ) from error
                writer.write(log.SerializeToString())


def _described(inputs):
    """A request in a few words: `token_ids [8, 96], text [1] of 16 words`."""
    return ", ".join(
        f"{name} {list(value.shape)}"
        + (f" of {len(value[0].split())} words" if value.dtype == object else "")
        for name, value in inputs.items()
    )


def reason(error: tf.errors.OpError) -> str:
    """Return the informative line of TensorFlow's message: the one before `[[{{node`."""
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    nodes = [number for number, line in enumerate(lines) if line.startswith("[[{{node")]
    return lines[nodes[0] - 1] if nodes and nodes[0] else first_line(error)


def read(directory: str | Path) -> list[tuple[str, dict[str, np.ndarray]]]:
    """The warm-up requests of a version: list of `(signature, dict from input to array)`.

    Raises:
        InputError: the version has none.
    """
    prediction_log = import_api("prediction_log_pb2", "reading warm-up requests").PredictionLog
    path = Path(directory) / PATH
    if not path.is_file():
        raise InputError(f"{path}: no warm-up requests; export the model with this package")
    requests = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log.FromString(record).predict_log.request
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        requests.append((request.model_spec.signature_name, inputs))
    return requests
