"""What the JSON files of a KerasHub preset say, in the fields of Hugging Face's `config.json`.

In: a directory that `save_to_preset` of KerasHub wrote: `config.json` with the class and the
arguments of a backbone, `task.json` with those of a task. Out: the fields that the readers of
checkpoints know, so that they read a preset as well. The files are read as data: nothing that they
name is imported.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tfmodels.errors import InputError, brief
from tfmodels.files import read_json

TASK, METADATA, TOKENIZER = "task.json", "metadata.json", "tokenizer.json"
GENERAL = ("name", "trainable", "dtype")  # arguments that change no output
SERIALIZED = ("module", "class_name", "config", "registered_name", "build_config", "compile_config")


class Translation(NamedTuple):
    """A backbone of KerasHub that is one of our models.

    Attributes:
        model_type: of its family here.
        fields: dict of an argument of the backbone to the fields of `config.json`, which all have
            its value; of two dropouts the first is written.
        constants: what the backbone computes with whatever its arguments are.
        architecture: class of `transformers`.
        tasks: dict of the tasks of KerasHub with a head of ours to their class in `transformers`.
    """

    model_type: str
    fields: dict[str, tuple[str, ...]]
    constants: dict[str, Any]
    architecture: str
    tasks: dict[str, str]


# Its BERT and GPT-2 have the GELU's tanh approximation, its BART the exact one.
FAMILIES = {
    "BertBackbone": Translation(
        "bert",
        {
            "vocabulary_size": ("vocab_size",),
            "num_layers": ("num_hidden_layers",),
            "num_heads": ("num_attention_heads",),
            "hidden_dim": ("hidden_size",),
            "intermediate_dim": ("intermediate_size",),
            "dropout": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
            "max_sequence_length": ("max_position_embeddings",),
            "num_segments": ("type_vocab_size",),
        },
        {"hidden_act": "gelu_new", "layer_norm_eps": 1e-12},
        "BertModel",
        {"BertTextClassifier": "BertForSequenceClassification"},
    ),
    "GPT2Backbone": Translation(
        "gpt2",
        {
            "vocabulary_size": ("vocab_size",),
            "num_layers": ("n_layer",),
            "num_heads": ("n_head",),
            "hidden_dim": ("n_embd",),
            "intermediate_dim": ("n_inner",),
            "dropout": ("resid_pdrop", "attn_pdrop", "embd_pdrop"),
            "max_sequence_length": ("n_positions",),
        },
        {"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5},
        "GPT2LMHeadModel",
        {},
    ),
    "BartBackbone": Translation(
        "bart",
        {
            "vocabulary_size": ("vocab_size",),
            "num_layers": ("encoder_layers", "decoder_layers"),
            "num_heads": ("encoder_attention_heads", "decoder_attention_heads"),
            "hidden_dim": ("d_model",),
            "intermediate_dim": ("encoder_ffn_dim", "decoder_ffn_dim"),
            "dropout": ("dropout", "attention_dropout"),
            "max_sequence_length": ("max_position_embeddings",),
        },
        {"activation_function": "gelu", "scale_embedding": False},
        "BartForConditionalGeneration",
        {},
    ),
}
# Encoders that stay KerasHub's own, see `models.hub`, with their arguments.
_SHAPE: tuple = ("num_layers", "hidden_dim", "intermediate_dim", "dropout", "max_sequence_length")
_PLAIN: tuple = ("vocabulary_size", "num_heads", *_SHAPE)
ENCODERS = {
    "RobertaBackbone": _PLAIN,
    "XLMRobertaBackbone": _PLAIN,
    "DistilBertBackbone": _PLAIN,
    "DebertaV3Backbone": (*_PLAIN, "bucket_size"),
    "AlbertBackbone": (*_PLAIN, "embedding_dim", "num_groups", "num_inner_repetitions",
                       "num_segments"),
    "ElectraBackbone": ("vocab_size", "num_heads", *_SHAPE, "embedding_dim", "num_segments"),
    "FNetBackbone": ("vocabulary_size", *_SHAPE, "num_segments"),
}  # fmt: skip
# Positions of RoBERTa start behind the id of the padding.
_ROBERTA = {"hidden_act": "gelu", "layer_norm_eps": 1e-5, "pad_token_id": 1}
# Types of Hugging Face that KerasHub converts to one of these, with what these compute with.
CONVERTED: dict[str, tuple[str, dict]] = {
    "roberta": ("RobertaBackbone", _ROBERTA),
    "xlm-roberta": ("XLMRobertaBackbone", _ROBERTA),
    "distilbert": ("DistilBertBackbone", {"activation": "gelu"}),
    "albert": ("AlbertBackbone", {"hidden_act": "gelu_new", "layer_norm_eps": 1e-12}),
}
# Activation of a text classifier: `problem_type`.
PROBLEMS = {"softmax": "single_label_classification", "linear": "single_label_classification",
            "sigmoid": "multi_label_classification"}  # fmt: skip


def is_preset(content: Mapping) -> bool:
    """Return whether this is the content of a `config.json` of KerasHub."""
    return isinstance(content.get("class_name"), str) and isinstance(content.get("config"), dict)


def as_entries(path: Path, content: Mapping) -> dict:
    """Return the `config.json` of a preset as that of a Hugging Face checkpoint.

    Args:
        path: of the file.
        content: of the file.

    Returns:
        dict of fields; for one of `ENCODERS` `model_type`, the name of its class, and `backbone`,
        a dict of its arguments. Further fields of the file stay.

    Raises:
        InputError: an unknown backbone, or one with an argument that is unknown, missing or no
            number.
    """
    name, arguments = content["class_name"], content["config"]
    known = FAMILIES[name].fields if name in FAMILIES else ENCODERS.get(name)
    if known is None:
        raise InputError(
            f"{path}: a preset of {brief.repr(name)}{_version(path)}; give one of "
            f"{', '.join((*FAMILIES, *ENCODERS))}"
        )
    unknown = [argument for argument in arguments if argument not in (*known, *GENERAL)]
    if unknown:
        raise InputError(
            f"{path}: {name} has {unknown[0]!r}, which is not known here{_version(path)}; give a "
            "preset that keras-hub 0.32 can read, or upgrade tfmodels"
        )
    for argument in known:
        value = arguments.get(argument)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(
                f"{path}: {argument} is {brief.repr(value)} and must be a number; copy or download "
                "the file again"
            )
    further = {field: value for field, value in content.items() if field not in SERIALIZED}
    if name in ENCODERS:
        backbone = {argument: arguments[argument] for argument in known}
        return {"model_type": name, "architectures": [name], "backbone": backbone, **further}
    family = FAMILIES[name]
    entries = {"model_type": family.model_type, "architectures": [family.architecture]}
    entries |= family.constants
    for argument, fields in family.fields.items():
        entries |= dict.fromkeys(fields, arguments[argument])
    return {**entries, **_of_task(path.with_name(TASK), family), **further}


def _of_task(path, family):
    """Return the fields about the head of a task; none if no model here has that head."""
    task = read_json(path) if path.is_file() else {}
    if not is_preset(task) or task["class_name"] not in family.tasks:
        return {}
    arguments = task["config"]
    number, activation = arguments.get("num_classes"), arguments.get("activation") or "linear"
    if isinstance(number, bool) or not isinstance(number, int) or activation not in PROBLEMS:
        raise InputError(
            f"{path}: num_classes is {brief.repr(number)} and activation {brief.repr(activation)}; "
            f"give a preset with a number and one of {', '.join(PROBLEMS)}"
        )
    problem = "regression" if number == 1 and activation == "linear" else PROBLEMS[activation]
    return {
        "architectures": [family.tasks[task["class_name"]]],
        "num_labels": number,
        "classifier_dropout": arguments.get("dropout"),
        "problem_type": problem,
    }


def _version(path):
    """Return by which keras-hub a preset was written, for a message."""
    metadata = path.with_name(METADATA)
    version = read_json(metadata).get("keras_hub_version") if metadata.is_file() else None
    return f" (written by keras-hub {brief.repr(version)})" if version else ""
