"""Transformers in Keras, from raw text to a served model.

    import tfmodels

    task = tfmodels.TextClassifier.from_preset("google-bert/bert-base-uncased")
    task.fit(["a joy", "a bore"], ["good", "bad"])
    task.predict(["what a joy"])
    task.export("saved_models/reviews")

The names are imported, and TensorFlow with them, when they are first used.
"""

import importlib
import importlib.machinery
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `__getattr__` gives
    from tfmodels import data as data
    from tfmodels import metrics as metrics
    from tfmodels import models as models
    from tfmodels import tasks as tasks
    from tfmodels.errors import InputError as InputError
    from tfmodels.tasks.causal_lm import CausalLM as CausalLM
    from tfmodels.tasks.loading import load as load
    from tfmodels.tasks.masked_lm import MaskedLM as MaskedLM
    from tfmodels.tasks.question_answerer import QuestionAnswerer as QuestionAnswerer
    from tfmodels.tasks.role_labeler import RoleLabeler as RoleLabeler
    from tfmodels.tasks.seq2seq_lm import Seq2SeqLM as Seq2SeqLM
    from tfmodels.tasks.text_classifier import TextClassifier as TextClassifier
    from tfmodels.tasks.token_classifier import TokenClassifier as TokenClassifier
    from tfmodels.tasks.translator import Translator as Translator

__version__ = "0.2.0"

_TASKS = {
    "TextClassifier": "text_classifier",
    "TokenClassifier": "token_classifier",
    "RoleLabeler": "role_labeler",
    "QuestionAnswerer": "question_answerer",
    "Seq2SeqLM": "seq2seq_lm",
    "Translator": "translator",
    "CausalLM": "causal_lm",
    "MaskedLM": "masked_lm",
    "load": "loading",
}
_MODULES = ("data", "metrics", "models", "tasks")

# TensorFlow's own pool on the CPU: memory of a tensor is used again, where the C library gives it
# back to the system and has it cleared anew, which can double the time of a training step. Its
# first operation reads this. The limit, 64 GB by default, is set past any machine's memory.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
os.environ.setdefault("TF_CPU_BFC_MEM_LIMIT_IN_MB", str(2**24))

__all__ = [*_TASKS, *_MODULES, "InputError", "__version__"]


def __getattr__(name: str) -> Any:
    if name in _TASKS:
        _import_tensorflow()
        return getattr(importlib.import_module(f"tfmodels.tasks.{_TASKS[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"tfmodels.{name}")
    if name == "InputError":
        return importlib.import_module("tfmodels.errors").InputError
    raise AttributeError(f"tfmodels has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _import_tensorflow():
    """Import TensorFlow and discard what its libraries write to standard error while they load.

    They write it before any log level applies, and the caller cannot act on it. Python warnings
    and exceptions are not affected.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        import tensorflow as tf
        import tensorflow_text  # noqa: F401

        tf.config.list_physical_devices()
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


# Classes whose names Keras writes into saved files, by module.
_SERIALIZABLE = {
    "layers.attention": "Attention",
    "layers.blocks": "FeedForward EncoderBlock DecoderBlock",
    "layers.crf": "CRF",
    "layers.dense": "Dense LayerNorm",
    "layers.embeddings": "Embeddings",
    "layers.heads": "Pooler ClassificationHead MaskedLMHead",
    "models.baselines": "BaselineEncoder",
    "models.bert": "Bert",
    "models.classifier": "Classifier",
    "models.gpt": "Gpt",
    "models.hub": "HubEncoder",
    "models.pretrainer": "BertPretrainer",
    "models.sentence_encoder": "SentenceEncoder",
    "models.span_finder": "SpanFinder",
    "models.tagger": "Tagger",
    "models.transformer": "Transformer",
    "training.losses": "Crossentropy BinaryCrossentropy SquaredError Accuracy MeanCrossentropy",
    "training.contrastive": "SimilarityLoss",
    "training.optimizer": "WarmupLinear WarmupInverseSqrt AdamW LossScale",
    "training.sequence": "SequenceLoss",
}


class _LazyClass:
    """A class that is imported when Keras reads its name in a saved file."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def from_config(self, config):
        module = importlib.import_module(f"tfmodels.{self.module}")
        return getattr(module, self.name).from_config(config)


def _register():
    """Register the classes with Keras, so that saved files load after `import tfmodels` alone."""
    registered = sys.modules["keras"].saving.get_custom_objects()
    for module, names in _SERIALIZABLE.items():
        for name in names.split():
            registered.setdefault(f"tfmodels>{name}", _LazyClass(module, name))


class _KerasFinder:
    """A module finder that calls `_register` when Keras is imported."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        spec: Any = importlib.machinery.PathFinder.find_spec(name) if name == "keras" else None
        if spec is not None:
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: (execute(module), _register())
        return spec


if "keras" in sys.modules:
    _register()
else:
    sys.meta_path.insert(0, _KerasFinder)
