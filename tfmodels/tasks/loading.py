"""`load`: the task of any model directory, whichever application wrote it."""

import importlib
from pathlib import Path
from typing import Any

from tfmodels.checkpoints.files import find_checkpoint, kind_of, read_entries, saved_settings
from tfmodels.errors import InputError
from tfmodels.tasks.task import Task

# By the application that wrote the directory, or the class of `transformers`.
TASKS = {
    "classification": ("text_classifier", "TextClassifier"),
    "sentiment": ("text_classifier", "TextClassifier"),
    "ner": ("token_classifier", "TokenClassifier"),
    "roles": ("role_labeler", "RoleLabeler"),
    "qa": ("question_answerer", "QuestionAnswerer"),
    "summarization": ("seq2seq_lm", "Seq2SeqLM"),
    "translation": ("translator", "Translator"),
    "gpt": ("causal_lm", "CausalLM"),
    "bert": ("masked_lm", "MaskedLM"),
}
PUBLISHED = {
    "BertForSequenceClassification": "sentiment", "BertForTokenClassification": "ner",
    "BertForQuestionAnswering": "qa",
    "BartForConditionalGeneration": "summarization", "GPT2LMHeadModel": "gpt",
    "MarianMTModel": "translation",
    "BertForMaskedLM": "bert", "BertForPreTraining": "bert",
}  # fmt: skip


def load(directory: str | Path, *, dtype: Any = None) -> Task:
    """Load the task of a directory.

    Args:
        directory: what `save` or `tfmodels ... train` wrote, or a published model with a head.
        dtype: dtype policy of the model; Keras' global one if not given.

    Returns:
        The task: a `TextClassifier`, `TokenClassifier`, `RoleLabeler`, `QuestionAnswerer`,
        `Seq2SeqLM`, `Translator`, `CausalLM` or `MaskedLM`.

    Raises:
        InputError: the directory cannot be read, or is of no task.
    """
    name = application_of(find_checkpoint(directory))
    if name is None:
        raise InputError(
            f"{directory}: does not name its task; use the load or from_preset of a "
            "class, such as tfmodels.TextClassifier.from_preset(...)"
        )
    module, kind = TASKS[name]
    return getattr(importlib.import_module(f"tfmodels.tasks.{module}"), kind).load(
        directory, dtype=dtype
    )


def application_of(directory: Path) -> str | None:
    """Return the name of the application whose model a directory holds, or None."""
    settings = saved_settings(directory)
    name = settings.get("application", "sentiment" if settings.get("pooling") == "mean" else None)
    if name is None:
        classes = read_entries(directory).get("architectures") or ()
        # Old files name no class; of these families there is one kind of model here.
        only = {"gpt2": "gpt", "bart": "summarization", "marian": "translation"}
        old = None if classes else only.get(kind_of(directory))
        name = next((PUBLISHED[kind] for kind in classes if kind in PUBLISHED), old)
    return name if name in TASKS else None
