"""Google's BERT checkpoints: names and shapes of their tensors.

In: a directory with `bert_config.json`, `vocab.txt` and a TensorFlow checkpoint
(`bert_model.ckpt.index` and its data; names differ, and of several it has or `checkpoint` names
one). Out: its tensors by plain names (see `family`). The layout
is that of https://github.com/google-research/bert: `bert/encoder/layer_0/...`, with the pretraining
heads, or the head of its classifier. A key without a plain name is named in an error, never
guessed.
"""

import re
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfmodels.checkpoints.family import Weight
from tfmodels.checkpoints.files import config_path
from tfmodels.errors import InputError, first_line

# Plain name: name in google-research/bert, where no rule of `google_name` gives it.
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
TRANSPOSED = ("cls.seq_relationship.weight", "classifier.weight")  # [O, I]; kernels are [I, O]

# The state of training, and heads of other tasks.
SLOTS = re.compile(
    r"cls/(?!predictions/|seq_relationship/)|.*/adam_[mv]$|.*/Adam(_1)?$|beta[12]_power$"
    r"|global_step"
)


def google_name(plain: str) -> str:
    """Return the name in google-research/bert of a tensor with a plain name."""
    layer, _, kind = plain.rpartition(".")
    norm = layer.endswith("LayerNorm")
    leaf = {"weight": "gamma" if norm else "kernel", "bias": "beta" if norm else "bias"}.get(kind)
    path = re.sub(r"layer\.(\d+)", r"layer_\1", layer).replace(".", "/")
    return NAMES.get(plain, f"{path if path.startswith('cls/') else f'bert/{path}'}/{leaf}")


def plain_name(key: str) -> str:
    """Return the plain name of a tensor of google-research/bert; `key` itself if it has none."""
    name = re.sub(r"layer_(\d+)", r"layer.\1", key.removeprefix("bert/")).replace("/", ".")
    name = re.sub("(gamma|kernel)$", "weight", name)
    name = {there: plain for plain, there in NAMES.items()}.get(key, re.sub("beta$", "bias", name))
    return name if google_name(name) == key else key


class GoogleTensors:
    """The tensors of a checkpoint of Google by plain names, as `family.Tensors`.

    A tensor without a plain name keeps its own; `slots` are the state of training and heads that no
    model here has.

    Args:
        directory: of the checkpoint.

    Raises:
        InputError: no checkpoint, several, files missing, cut off or damaged.
    """

    def __init__(self, directory: str | Path):
        self._path = _checkpoint(Path(directory))
        self._reader = self._try(tf.train.load_checkpoint, str(self._path))
        shapes = self._reader.get_variable_to_shape_map()
        self.slots = tuple(key for key in sorted(shapes) if SLOTS.match(key))
        self.names = {plain_name(key): key for key in sorted(set(shapes) - set(self.slots))}
        self.shapes = {name: tuple(shapes[key]) for name, key in self.names.items()}

    def display_name(self, name: str) -> str:
        """Return the name to show in a message."""
        return self.names.get(name) or google_name(name)

    def shape_in_file(self, name: str, weight: Weight) -> tuple[int, ...]:
        """Return as `Family.shape_in_file`."""
        return weight.shape[::-1] if name in TRANSPOSED else weight.shape

    def read(self, name: str, weight: Weight) -> np.ndarray:
        """Return the tensor of a plain name as float32 array."""
        key = self.names[name]
        kind = self._reader.get_variable_to_dtype_map()[key]
        if not kind.is_floating:
            raise InputError(f"{self._path}: {key} is of type {kind.name}; give one of floats")
        tensor = self._try(self._reader.get_tensor, key).astype(np.float32)
        return tensor.T if name in TRANSPOSED else tensor

    def check_tied(self) -> None:
        """Return: there is one embedding, under one name."""

    def _try(self, call, *arguments):
        try:
            return call(*arguments)
        # The index is not a table, a checksum differs, or the data ends early.
        except (tf.errors.OpError, LookupError, RuntimeError, ValueError) as error:
            raise InputError(
                f"{self._path}: damaged or cut off ({first_line(error)}); "
                "copy or download its files again"
            ) from error


def _checkpoint(directory):
    """Return the checkpoint of a directory: the path of its files without their endings."""
    if not directory.is_dir():
        return _complete(directory)  # the path of one
    paths = sorted(path.with_suffix("") for path in directory.glob("*.ckpt*.index"))
    if not paths:
        raise InputError(
            f"{directory}: has {config_path(directory).name} but no bert_model.ckpt.index and no "
            "model.safetensors; give a directory that has one of them"
        )
    if len(paths) > 1:
        # The file `checkpoint`, which TensorFlow writes beside them, names the newest.
        state = tf.train.get_checkpoint_state(str(directory))
        newest = Path(state.model_checkpoint_path).name if state else None
        paths = [path for path in paths if path.name == newest] or paths
    if len(paths) > 1:
        raise InputError(
            f"{directory}: has {len(paths)} checkpoints ({', '.join(p.name for p in paths[:5])}); "
            f"give the path of one, such as {paths[-1]}"
        )
    return _complete(paths[0])


def _complete(path):
    """Return the path of a checkpoint whose data files are all there."""
    parts = [p.name for p in path.parent.iterdir() if p.name.startswith(f"{path.name}.data-")]
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
