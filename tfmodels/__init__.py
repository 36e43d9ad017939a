"""Transformers in Keras, from raw text to a served model.

    import tfmodels

    task = tfmodels.TextClassifier.from_preset("google-bert/bert-base-uncased")
    task.fit(["a joy", "a bore"], ["good", "bad"])
    task.predict(["what a joy"])
    task.export("saved_models/reviews")

Names are imported when they are first used, TensorFlow with them.
"""

import importlib
import os
import sys

__version__ = "0.2.0"

_TASKS = {
    "TextClassifier": "text_classifier",
    "TokenClassifier": "token_classifier",
    "Seq2SeqLM": "seq2seq_lm",
    "CausalLM": "causal_lm",
    "MaskedLM": "masked_lm",
    "load": "loading",
}
_ROOMS = ("data", "metrics", "models", "tasks")

__all__ = [*_TASKS, *_ROOMS, "InputError", "__version__"]


def __getattr__(name):
    if name in _TASKS:
        _import_tensorflow()
        return getattr(importlib.import_module(f"tfmodels.tasks.{_TASKS[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"tfmodels.{name}")
    if name == "InputError":
        return importlib.import_module("tfmodels.errors").InputError
    raise AttributeError(f"tfmodels has no {name!r}; it has {', '.join(__all__)}")


def __dir__():
    return sorted({*globals(), *__all__})


def _import_tensorflow():
    """Import TensorFlow without what its libraries write to standard error as they load.

    It says nothing that the caller can act on and comes before any log level is read. Python's
    own messages and exceptions are not touched.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow as tf
        import tensorflow_text  # noqa: F401

        tf.config.list_physical_devices()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
