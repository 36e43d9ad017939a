"""Whether a server answers as the SavedModel on disk does.

In: a `Client` and the directory of a version. Out: for each signature, how many requests agree;
an `InputError` for the first that does not. The requests are those of the warm-up. Padding does not
count: a server may have answered others in the same batch.
"""

from pathlib import Path

import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers its operations

from tfmodels.errors import InputError
from tfmodels.serving import warmup
from tfmodels.serving.client import Client
from tfmodels.serving.compatibility import check
from tfmodels.serving.rows import difference


def smoke(client: Client, directory: str | Path, tolerance: float = 1e-3) -> dict[str, dict]:
    """Asks every signature and compares.

    Args:
        client: `Client` of the model.
        directory: of the version that it should serve, with warm-up requests.
        tolerance: largest difference of numbers; another processor rounds otherwise.

    Returns:
        dict from signature to `requests`, how many, and `difference`, the largest.

    Raises:
        InputError: an answer differs, or the server or the directory gives none.
    """
    signatures = check(directory).signatures
    served = client.signatures()
    if missing := sorted(signatures.keys() - served.keys()):
        raise InputError(f"{client.url}: has no signature {missing[0]}, which {directory} has")
    loaded = tf.saved_model.load(str(directory))
    results: dict[str, dict] = {}
    for name, inputs in warmup.read(directory):
        dtypes = {key: tensor["dtype"] for key, tensor in signatures[name]["inputs"].items()}
        tensors = {key: tf.constant(value, dtypes[key]) for key, value in inputs.items()}
        expected = loaded.signatures[name](**tensors)
        answers = client.predict(inputs, name)
        row = results.setdefault(name, {"requests": 0, "difference": 0.0})
        row["requests"] += 1
        for key, value in expected.items():
            compared = difference(key, answers.get(key), value.numpy())
            if compared is None or not compared <= tolerance:
                raise InputError(
                    f"{client.url}: signature {name} gives another {key} than {directory}; does it "
                    "serve this version?"
                )
            row["difference"] = max(row["difference"], compared)
    return results
