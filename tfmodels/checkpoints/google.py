"""Google's BERT checkpoints: names and shapes of their tensors, and the files they write.

In: a directory with `bert_config.json`, `vocab.txt` and one TensorFlow checkpoint
(`bert_model.ckpt.index` and its data). Out: its tensors by plain names (see
`HuggingFaceTensors`); or such files written. Two layouts are read:

- that of https://github.com/google-research/bert: `bert/encoder/layer_0/...`, with the
  pretraining heads, or the head of its classifier. It is also the one that is written.
- object checkpoints of the TensorFlow Model Garden (`official/nlp`): the encoder, saved as
  `encoder` or `model`, its pooler and both pretraining heads; of encoders made with Keras'
  functional interface (`layer_with_weights-4/...`) and of those that are layers
  (`_transformer_layers/0/...`). Names as the Model Garden's sources and their readers in
  `transformers` and KerasNLP have them.

A key that neither has a place for is named in an error, never guessed.
"""

import errno
import re
from pathlib import Path

import numpy as np
import tensorflow as tf
from keras import ops

from tfmodels.checkpoints.files import GOOGLE_CONFIG
from tfmodels.checkpoints.hugging_face import FIELDS, read_bert_config
from tfmodels.errors import InputError, first_line
from tfmodels.files import write_json
from tfmodels.models.bert import BertConfig

CHECKPOINT = "bert_model.ckpt"  # file name to write, without its endings
ACTIVATIONS = ("gelu", "relu", "tanh")  # that their code knows, of ours

# Layers of a block by plain name: name in an object checkpoint, in newer and in older ones.
BLOCK = {
    "attention.self.query": ["_attention_layer/_query_dense"],
    "attention.self.key": ["_attention_layer/_key_dense"],
    "attention.self.value": ["_attention_layer/_value_dense"],
    "attention.output.dense": ["_attention_layer/_output_dense", "_attention_output_dense"],
    "attention.output.LayerNorm": ["_attention_layer_norm"],
    "intermediate.dense": ["_intermediate_dense"],
    "output.dense": ["_output_dense"],
    "output.LayerNorm": ["_output_layer_norm"],
}
LAYERS = (
    "embeddings.LayerNorm",
    "pooler.dense",
    "cls.predictions.transform.dense",
    "cls.predictions.transform.LayerNorm",
)
# Of google-research/bert, where no rule makes them of the plain names.
NAMES = {
    "embeddings.word_embeddings.weight": "bert/embeddings/word_embeddings",
    "embeddings.position_embeddings.weight": "bert/embeddings/position_embeddings",
    "embeddings.token_type_embeddings.weight": "bert/embeddings/token_type_embeddings",
    "cls.predictions.bias": "cls/predictions/output_bias",
    "cls.seq_relationship.weight": "cls/seq_relationship/output_weights",
    "cls.seq_relationship.bias": "cls/seq_relationship/output_bias",
    "classifier.weight": "output_weights",
    "classifier.bias": "output_bias",
}
TURNED = ("cls.seq_relationship.weight", "classifier.weight")  # [O, I]; kernels are [I, O]

# Where the Model Garden's pretraining keeps what stands before and in its next-sentence head. The
# pooler of its encoder is another one, which that pretraining does not train.
NEXT_SENTENCE_POOLER = "next_sentence..pooler_dense"
NEXT_SENTENCE_LOGITS = "model/classification_heads/0/out_proj"

OBJECT = "/.ATTRIBUTES/VARIABLE_VALUE"  # how the keys of object checkpoints end
ROOTS = ("encoder", "model")  # what the encoder is saved as
# What belongs to training, and heads of other tasks.
SLOTS = re.compile(
    r"cls/|.*/adam_[mv]$|.*/Adam(_1)?$|beta[12]_power$|global_step|save_counter/|optimizer/"
    r"|.*/\.OPTIMIZER_SLOT/|_CHECKPOINTABLE_OBJECT_GRAPH$"
)


def google_names(num_layers):
    """The names of google-research/bert.

    Args:
        num_layers: L.

    Returns:
        dict of plain name to name there.
    """
    names = dict(NAMES)
    blocks = [f"encoder.layer.{number}.{layer}" for number in range(num_layers) for layer in BLOCK]
    for layer in (*LAYERS, *blocks):
        path = re.sub(r"layer\.(\d+)", r"layer_\1", layer).replace(".", "/")
        path = path if path.startswith("cls/") else f"bert/{path}"
        names |= {f"{layer}.{ours}": f"{path}/{theirs}" for ours, theirs in _parameters(layer)}
    return names


def _object_names(num_layers, root, numbered):
    """The names of the Model Garden: dict of plain name to keys, any of which it may be.

    Args:
        num_layers: L.
        root: what the encoder is saved as.
        numbered: whether its layers have numbers or names.
    """
    if numbered:
        parts = [f"layer_with_weights-{number}" for number in range(num_layers + 5)]
    else:
        parts = ["_embedding_layer", "_position_embedding_layer", "_type_embedding_layer"]
        parts += ["_embedding_norm_layer"]
        parts += [f"_transformer_layers/{number}" for number in range(num_layers)]
        parts += ["_pooler_layer"]
    token, position, segment, norm, *blocks, pooler = [f"{root}/{part}" for part in parts]
    head = ["masked_lm/dense"], ["masked_lm/layer_norm"]
    poolers = [pooler, NEXT_SENTENCE_POOLER]
    layers = dict(zip(LAYERS, ([norm], poolers, *head), strict=True))
    layers["cls.seq_relationship"] = [NEXT_SENTENCE_LOGITS]
    for number, block in enumerate(blocks):
        for layer, paths in BLOCK.items():
            layers[f"encoder.layer.{number}.{layer}"] = [f"{block}/{path}" for path in paths]
    names = {
        # One table that a checkpoint with the head has under the shorter of its two keys.
        "embeddings.word_embeddings.weight": [f"{token}/embeddings", "masked_lm/embedding_table"],
        "embeddings.position_embeddings.weight": [f"{position}/embeddings"],
        "embeddings.token_type_embeddings.weight": [f"{segment}/embeddings"],
        "cls.predictions.bias": ["masked_lm/output_bias.Sbias", "masked_lm/bias"],
    }
    for layer, paths in layers.items():
        for ours, theirs in _parameters(layer):
            names[f"{layer}.{ours}"] = [f"{path}/{theirs}" for path in paths]
    return {name: [key + OBJECT for key in keys] for name, keys in names.items()}


def _parameters(layer):
    """Pairs of the plain and of Google's name of a layer's weights."""
    if layer.endswith("LayerNorm"):
        return (("weight", "gamma"), ("bias", "beta"))
    return (("weight", "kernel"), ("bias", "bias"))


class GoogleTensors:
    """The tensors of a checkpoint of Google by plain names, as `HuggingFaceTensors`.

    Args:
        directory: of the checkpoint.

    Attributes:
        names: dict of plain name to name in the files; a tensor that has no plain name has
            its own.
        shapes: dict of plain name to shape in the files.
        slots: names in the files of the tensors that belong to training, to heads of tasks
            that no model here has, or to a pooler that was not trained.

    Raises:
        InputError: no checkpoint, several, files missing, cut off or damaged.
    """

    def __init__(self, directory):
        directory = Path(directory)
        config = read_bert_config(directory)
        self._path = _checkpoint(directory)
        self._reader = self._try(tf.train.load_checkpoint, str(self._path))
        shapes = self._reader.get_variable_to_shape_map()
        self._num_heads, unused, self._turned = None, set(), TURNED
        if any(key.endswith(OBJECT) for key in shapes):
            self._num_heads = config.num_heads
            found = [root for root in ROOTS if any(key.startswith(f"{root}/") for key in shapes)]
            root = found[0] if found else ROOTS[0]
            numbered = any(key.startswith(f"{root}/layer_with_weights-") for key in shapes)
            self._known = _object_names(config.num_layers, root, numbered)
            self._turned = ()
            for name in ("pooler.dense.weight", "pooler.dense.bias"):
                if self._known[name][-1] in shapes:
                    unused |= set(self._known[name][:-1])
        else:
            self._known = {name: [key] for name, key in google_names(config.num_layers).items()}
        plain = {key: name for name, keys in self._known.items() for key in keys}
        self.slots = tuple(
            key
            for key in sorted(shapes)
            if key in unused or (key not in plain and SLOTS.match(key))
        )
        self.names = {}
        for key in sorted(set(shapes) - set(self.slots)):
            name = plain.get(key, key)
            if name in self.names:
                raise InputError(
                    f"{directory}: {key} and {self.names[name]} are the same weight; give a "
                    "checkpoint that has it once"
                )
            self.names[name] = key
        self.shapes = {name: tuple(shapes[key]) for name, key in self.names.items()}

    def name_there(self, name):
        """The name to call a plain one in a message."""
        return self._known.get(name, [name])[0]

    def shape_there(self, name, variable):
        """The shape that a tensor for `variable` must have in the files."""
        shape = tuple(variable.shape)
        heads = self._num_heads
        if heads and ".attention.self." in name:
            return (*shape[:-1], heads, shape[-1] // heads)  # ([H], N, D)
        if heads and name.endswith("attention.output.dense.weight"):
            return (heads, shape[0] // heads, shape[1])  # (N, D, H)
        return shape[::-1] if name in self._turned else shape

    def read(self, name, variable):
        """The tensor of a plain name as float32 array of the shape of `variable`.

        Raises:
            InputError: it is damaged, or not of floats.
        """
        key = self.names[name]
        kind = self._reader.get_variable_to_dtype_map()[key]
        if not kind.is_floating:
            raise InputError(f"{self._path}: {key} is of type {kind.name}; give one of floats")
        tensor = self._try(self._reader.get_tensor, key).astype(np.float32)
        return tensor.T if name in self._turned else tensor.reshape(tuple(variable.shape))

    def check_tied(self):
        """Nothing to do: there is one embedding, under one name."""

    def _try(self, call, *arguments):
        try:
            return call(*arguments)
        # What TensorFlow raises: the index is no table, a checksum differs, the data ends early.
        except (tf.errors.OpError, LookupError, RuntimeError, ValueError) as error:
            raise InputError(
                f"{self._path}: damaged or cut off ({first_line(error)}); "
                "copy or download its files again"
            ) from error


def _checkpoint(directory):
    """The one checkpoint in a directory: the path of its files without their endings."""
    found = sorted(path.with_suffix("") for path in directory.glob("*.ckpt*.index"))
    if not found:
        raise InputError(
            f"{directory}: has {GOOGLE_CONFIG} but no {CHECKPOINT}.index and no "
            "model.safetensors; give a directory that has one of them"
        )
    if len(found) > 1:
        raise InputError(
            f"{directory}: has {len(found)} checkpoints ({', '.join(p.name for p in found[:5])}); "
            "leave one there"
        )
    path = found[0]
    parts = [p.name for p in directory.iterdir() if p.name.startswith(f"{path.name}.data-")]
    if not parts:
        raise InputError(
            f"{path}: has an index but no data file ({path.name}.data-00000-of-00001); "
            "copy or download it as well"
        )
    number = parts[0].rpartition("-")[2]
    if number.isdigit() and len(parts) != int(number):
        raise InputError(
            f"{path}: {len(parts)} of its {int(number)} data files are there; copy or download "
            "all of them"
        )
    return path


def write_google_config(directory, config):
    """Writes `bert_config.json`.

    Args:
        directory: to write into.
        config: `BertConfig`.

    Raises:
        InputError: an activation or epsilon that the code of google-research/bert has not.
    """
    if config.activation not in ACTIVATIONS:
        raise InputError(
            f"activation {config.activation!r} has no name in Google's {GOOGLE_CONFIG}; save a "
            f"model with one of {', '.join(ACTIVATIONS)}"
        )
    if config.epsilon != BertConfig.epsilon:
        raise InputError(
            f"epsilon {config.epsilon} has no place in Google's {GOOGLE_CONFIG}, which means "
            f"{BertConfig.epsilon}; save the model for transformers"
        )
    theirs = {name: getattr(config, ours) for ours, name in FIELDS.items() if ours != "epsilon"}
    write_json(Path(directory) / GOOGLE_CONFIG, {**theirs, "hidden_act": config.activation})


def write_google_tensors(directory, weights, num_layers):
    """Writes a checkpoint as google-research/bert does.

    Args:
        directory: to write into.
        weights: dict of plain name to variable; written as float32.
        num_layers: L.

    Raises:
        OSError: a file cannot be written.
    """
    names, tensors = google_names(num_layers), {}
    for name, variable in weights.items():
        tensor = ops.convert_to_numpy(ops.cast(variable, "float32"))
        tensors[names[name]] = tensor.T if name in TURNED else tensor
    try:
        tf.raw_ops.SaveV2(
            prefix=str(Path(directory) / CHECKPOINT),
            tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors),
            tensors=[tf.constant(tensor) for tensor in tensors.values()],
        )
    except tf.errors.OpError as error:
        raise OSError(errno.EIO, first_line(error)) from error
