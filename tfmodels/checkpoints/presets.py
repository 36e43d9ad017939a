"""The weights of KerasHub presets, in and out.

In: a directory that `save_to_preset` of KerasHub wrote, or one of Hugging Face's that KerasHub
converts. Out: its tensors by plain names (see `family`); or, the other way, a preset that KerasHub
loads. KerasHub itself reads and writes its files. Only numbers are taken from the JSON, and the
classes are those of `preset_config`, whatever a file names.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors.numpy

from tfmodels.checkpoints.bart import BART, BIAS
from tfmodels.checkpoints.bert import BERT, NO_POOLER, POOLER, label_entries
from tfmodels.checkpoints.family import Family, Weight, named
from tfmodels.checkpoints.files import (
    CONFIG,
    INDEX,
    PRESET_WEIGHTS,
    WEIGHTS,
    TensorFiles,
    check_vocabulary_size,
    is_preset,
    model_type,
    read_entries,
)
from tfmodels.checkpoints.gpt2 import GPT2
from tfmodels.checkpoints.preset_config import FAMILIES
from tfmodels.checkpoints.preset_tokenizers import hub_tokenizer
from tfmodels.errors import InputError, first_line
from tfmodels.files import read_json, write_json
from tfmodels.models.classifier import Classifier
from tfmodels.models.hub import HubEncoder, keras_hub, make_backbone

TASK_WEIGHTS = "task.weights.h5"
HEAD_FILE = "head.safetensors"  # a head of ours beside an encoder of KerasHub
AGAIN = "copy or download the directory again"
SEGMENT = "embeddings.token_type_embeddings.weight"

# Plain name: path in KerasHub's layer; several are the parts of one tensor.
FEEDFORWARD = ("_feedforward_intermediate_dense", "_feedforward_output_dense")


def _attention(names: str, kind: str) -> dict[str, str]:
    """Return the table of an attention; `names`: of its four projections."""
    places = (
        f"_{kind}_attention_layer.{part}_dense" for part in ("query", "key", "value", "output")
    )
    return dict(zip(names.split(), places, strict=True))


_QUERY_KEY_VALUE = tuple(_attention("q k v o", "self").values())[:3]
_BART_BLOCK = {
    **_attention("self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.out_proj", "self"),
    "self_attn_layer_norm": "_self_attention_layer_norm",
    "fc1": FEEDFORWARD[0],
    "fc2": FEEDFORWARD[1],
    "final_layer_norm": "_feedforward_layer_norm",
}
_CROSS = {
    **_attention(
        "encoder_attn.q_proj encoder_attn.k_proj encoder_attn.v_proj encoder_attn.out_proj", "cross"
    ),
    "encoder_attn_layer_norm": "_cross_attention_layer_norm",
}
# Type of the family: its parts, and its blocks as in `Family.blocks`.
PLACES: dict[str, tuple[dict, dict]] = {
    "bert": (
        {
            "embeddings.word_embeddings.weight": "token_embedding.embeddings",
            "embeddings.position_embeddings.weight": "position_embedding.position_embeddings",
            SEGMENT: "segment_embedding.embeddings",
            "embeddings.LayerNorm": "embeddings_layer_norm",
            POOLER: "pooled_dense",
        },
        {
            ("encoder.layer.{}.", "transformer_layers"): {
                **_attention(
                    "attention.self.query attention.self.key attention.self.value "
                    "attention.output.dense",
                    "self",
                ),
                "attention.output.LayerNorm": "_self_attention_layer_norm",
                "intermediate.dense": FEEDFORWARD[0],
                "output.dense": FEEDFORWARD[1],
                "output.LayerNorm": "_feedforward_layer_norm",
            }
        },
    ),
    "gpt2": (
        {
            "wte.weight": "token_embedding.embeddings",
            "wpe.weight": "position_embedding.position_embeddings",
            "ln_f": "layer_norm",
        },
        {
            ("h.{}.", "transformer_layers"): {
                "ln_1": "_self_attention_layer_norm",
                "attn.c_attn": _QUERY_KEY_VALUE,
                "attn.c_proj": "_self_attention_layer.output_dense",
                "ln_2": "_feedforward_layer_norm",
                "mlp.c_fc": FEEDFORWARD[0],
                "mlp.c_proj": FEEDFORWARD[1],
            }
        },
    ),
    "bart": (
        {
            "shared.weight": "token_embedding.embeddings",
            "encoder.embed_positions.weight": "encoder_position_embedding.position_embeddings",
            "decoder.embed_positions.weight": "decoder_position_embedding.position_embeddings",
            "encoder.layernorm_embedding": "encoder_embeddings_layer_norm",
            "decoder.layernorm_embedding": "decoder_embeddings_layer_norm",
        },
        {
            ("encoder.layers.{}.", "encoder_transformer_layers"): _BART_BLOCK,
            ("decoder.layers.{}.", "decoder_transformer_layers"): _BART_BLOCK | _CROSS,
        },
    ),
}


class PresetTensors:
    """The tensors of a preset by plain names, as `family.Tensors`; all are read at once.

    Args:
        directory: of the preset.
        family: whose plain names to use. Without an entry in `PLACES` the tensors have the paths
            that KerasHub's variables have.

    Raises:
        InputError: keras-hub is not installed, or weights are missing, damaged or of another model.
    """

    slots = ()

    def __init__(self, directory: Path, family: Family):
        entries = read_entries(directory)
        backbone = load_backbone(directory)
        found = places(backbone, family)
        if "num_labels" in entries and (directory / TASK_WEIGHTS).is_file():
            head = keras_hub().models.BertTextClassifier(
                backbone, entries["num_labels"], compile=False
            )
            _loaded(directory / TASK_WEIGHTS, head.load_task_weights)
            found |= places_of(head, {"classifier": "output_dense"})
        self._arrays = {name: [part.read() for part in parts] for name, parts in found.items()}
        if (directory / HEAD_FILE).is_file():
            head = _loaded(directory / HEAD_FILE, safetensors.numpy.load_file)
            self._arrays |= {name: [array] for name, array in head.items()}
        self.names = {name: name for name in self._arrays}
        # Numbers of values: heads have an axis of their own there, and none here.
        self.shapes = {
            name: (sum(part.size for part in parts),) for name, parts in self._arrays.items()
        }

    def display_name(self, name: str) -> str:
        """Return the name to show in a message."""
        return name

    def shape_in_file(self, name: str, weight: Weight) -> tuple[int, ...]:
        """Return the number of values of a weight."""
        return (int(np.prod(weight.shape)),)

    def read(self, name: str, weight: Weight) -> np.ndarray:
        """Return the float32 array for a weight."""
        parts = self._arrays[name]
        *rows, width = weight.shape
        parts = [part.reshape(*rows, width // len(parts)) for part in parts]
        return np.concatenate(parts, axis=-1).astype("float32")

    def check_tied(self) -> None:
        """Return: there is one embedding, under one name."""


def places_of(root: keras.Layer, table: dict, prefix: str = "") -> dict[str, list[Weight]]:
    """Return dict of plain name to the parts of its tensor in layers of KerasHub."""
    found: dict[str, list[Weight]] = {}
    for name, paths in table.items():
        for path in (paths,) if isinstance(paths, str) else paths:
            for plain, weight in named(root, {name: path}, prefix).items():
                found.setdefault(plain, []).append(weight)
    return found


def places(backbone: keras.Model, family: Family) -> dict[str, list[Weight]]:
    """Return as `places_of` of a whole backbone."""
    if family.model_type not in PLACES:
        found = {weight.path: [Weight(weight)] for weight in backbone.weights}
        return found | places_of(backbone, {POOLER: "pooled_dense"})
    parts, blocks = PLACES[family.model_type]
    found = places_of(backbone, parts)
    for (start, attribute), table in blocks.items():
        for number, block in enumerate(getattr(backbone, attribute)):
            found |= places_of(block, table, start.format(number))
    return found


def load_backbone(directory: Path, weights: bool = True) -> keras.Model:
    """Return the backbone of KerasHub in a directory, in float32.

    Args:
        directory: a preset, or one of Hugging Face's of a type in `CONVERTED`.
        weights: whether one that is converted gets its weights.

    Raises:
        InputError: as of `PresetTensors`.
    """
    if not is_preset(directory):
        models, options = keras_hub().models, {"load_weights": weights, "dtype": "float32"}
        with _as_hub_reads(directory) if weights else contextlib.nullcontext(directory) as files:
            backbone = _loaded(files, lambda path: models.Backbone.from_preset(path, **options))
        if weights and model_type(directory) == "roberta":
            _add_segment(backbone, directory)
        return backbone
    read_entries(directory)  # refuses what is unknown
    content = read_json(directory / CONFIG)
    file = next((file for file in PRESET_WEIGHTS if (directory / file).is_file()), None)
    if file is None:
        raise InputError(
            f"{directory}: has no {PRESET_WEIGHTS[0]}; give a preset with weights, or {AGAIN}"
        )
    arguments = {
        name: value for name, value in content["config"].items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }  # fmt: skip
    backbone = make_backbone(content["class_name"], arguments, "float32")
    _loaded(directory / file, backbone.load_weights)
    return backbone


@contextlib.contextmanager
def _as_hub_reads(directory: Path) -> Iterator[Path]:
    """Yield a directory with the weights in the file, and under the names, that KerasHub reads.

    It reads safetensors alone, and the names of a model with a head: those of an encoder alone, as
    sentence-transformers publish them, lack the first part.
    """
    files, kind = TensorFiles(directory), model_type(directory)
    prefix = f"{kind}." if kind in ("roberta", "distilbert", "albert") else ""
    bare = not any(name.startswith(prefix) for name in files.shapes)
    if not bare and any((directory / name).is_file() for name in (WEIGHTS, INDEX)):
        yield directory
        return
    with tempfile.TemporaryDirectory() as copy:
        shutil.copy(directory / CONFIG, copy)
        tensors = {prefix * bare + name: files.read(name) for name in files.shapes}
        safetensors.numpy.save_file(tensors, Path(copy) / WEIGHTS)
        yield Path(copy)


def _add_segment(backbone, directory):
    """Add the embedding of the one segment of a RoBERTa, which KerasHub drops, to the positions.

    It is 0 in the published ones, and need not be in others.
    """
    files = TensorFiles(directory)
    name = next((name for name in files.shapes if name.endswith(SEGMENT)), None)
    if name is not None:
        table = backbone.embeddings.position_embedding.position_embeddings
        table.assign(table + files.read(name)[0])


def _loaded(path: Path, load: Callable[[str], Any]) -> Any:
    """Return what `load` returns for the path of a file, as text."""
    try:
        return load(str(path))
    # Of h5py, Keras, safetensors or KerasHub's converters.
    except Exception as error:
        raise InputError(
            f"{path}: KerasHub cannot load its weights ({first_line(error)}); {AGAIN}"
        ) from error


def write_preset(
    model: keras.Model, directory: str | Path, tokenizer: Any, *, approximate_gelu: bool = False,
    labels: Any = None,
) -> None:  # fmt: skip
    """Write a preset that KerasHub loads, into an existing directory.

    Of a `Classifier` on a `Bert` with `pooling="first"` it is a `BertTextClassifier`, of others the
    backbone; KerasHub has no such heads.

    Args:
        model: `Bert`, `Gpt`, a BART or a `HubEncoder`, or a model on one. Weights are written as
            float32.
        directory: to write into.
        tokenizer: of at most V tokens.
        approximate_gelu: whether a `Bert` with the exact GELU may be written: KerasHub computes
            its tanh approximation, whose states differ by some 2e-3.
        labels: names of the classes, which the preset keeps for this package.

    Raises:
        InputError: KerasHub has no such model or tokenizer, or computes something else.
    """
    directory, encoder = Path(directory), getattr(model, "encoder", model)
    check_vocabulary_size(tokenizer, encoder.config)
    hub, further = keras_hub().models, {}
    if isinstance(encoder, HubEncoder):
        name, backbone = encoder.config.backbone, encoder.backbone
    else:
        name, backbone, further = _converted(model, encoder, approximate_gelu)
    of_hub = hub_tokenizer(name, tokenizer)
    if _is_text_classifier(model, name):
        preprocessor = hub.BertTextClassifierPreprocessor(
            of_hub, sequence_length=encoder.config.max_length
        )
        activation = "sigmoid" if model.activation == "sigmoid" else None
        task = hub.BertTextClassifier(
            backbone, model.num_classes, preprocessor, activation, model.dropout, compile=False
        )
        task.output_dense.set_weights(model.head.logits.get_weights())
        task.save_to_preset(str(directory))
        further |= {"id2label": label_entries(model, labels)["id2label"]} if labels else {}
    else:
        backbone.save_to_preset(str(directory))
        of_hub.save_to_preset(str(directory))
    add_fields(directory, further)


def add_fields(directory: Path, fields: dict) -> None:
    """Add fields to the `config.json` of a preset, which KerasHub does not read."""
    if fields:
        write_json(directory / CONFIG, read_json(directory / CONFIG) | fields)


def _is_text_classifier(model, name):
    """Return whether KerasHub has the head of a model."""
    if name != "BertBackbone" or not isinstance(model, Classifier) or model.pooling != "first":
        return False
    return model.activation != "linear" or model.num_classes == 1


def _converted(model, encoder, approximate_gelu):
    """Return class, backbone with the weights of a model, and fields to add to `config.json`."""
    family: Any = next((f for f in (BERT, GPT2, BART) if isinstance(encoder, f.model_class)), None)
    entries = {} if family is None else family.write_config(encoder.config)
    name = next((n for n, f in FAMILIES.items() if f.model_type == entries.get("model_type")), None)
    if name is None:
        raise InputError(
            f"a {type(encoder).__name__} such as this is in no backbone of KerasHub; give a BERT, "
            "a GPT-2, a BART or one of KerasHub's encoders"
        )
    _check_same(name, entries, approximate_gelu)
    arguments = {argument: entries[fields[0]] for argument, fields in FAMILIES[name].fields.items()}
    backbone = make_backbone(name, arguments, "float32")
    weights, further = family.weights(model), {}
    if BIAS in weights and np.any(weights[BIAS].read()):
        raise InputError(
            f"{name}: KerasHub has no bias of the output ({BIAS}), and this model has one that is "
            "not 0; save it with task.save(...)"
        )
    for plain, parts in places(backbone, family).items():
        if plain in weights:
            arrays = np.split(weights[plain].read(), len(parts), axis=-1)
        else:  # no pooler: the identity, as in the directories that `write_bert` writes
            shape = parts[0].variable.shape
            arrays = [np.eye(*shape) if len(shape) == 2 else np.zeros(shape)]
            further[NO_POOLER] = True
        for part, array in zip(parts, arrays, strict=True):
            part.variable.assign(array.reshape(part.variable.shape))
    return name, backbone, further


def _check_same(name, entries, approximate_gelu):
    """Refuse a config with which KerasHub computes something else."""
    family = FAMILIES[name]
    for field, value in family.constants.items():
        if entries.get(field, value) == value:
            continue
        remedy = "save it with task.save(...)"
        if entries[field] == "gelu":
            if approximate_gelu:
                continue
            remedy = (
                "states would differ by some 2e-3. Give approximate_gelu=True (--approximate_gelu "
                "true) if that is near enough, else save it with task.save(...)"
            )
        raise InputError(
            f"{field} is {entries[field]!r}, and KerasHub's {name} computes with {value!r}; "
            f"{remedy}"
        )
    for argument, fields in family.fields.items():
        values = {field: entries[field] for field in fields if field in entries}
        if argument != "dropout" and len(set(values.values())) > 1:
            raise InputError(
                f"KerasHub's {name} has one {argument}, and this model has "
                f"{', '.join(f'{field} {value}' for field, value in values.items())}; save it with "
                "task.save(...)"
            )
