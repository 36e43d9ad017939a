"""`Family`: how published models are read, and written back.

In: the tables of a family of models (`bert`, `gpt2`, `bart`): the field of `config.json` for each
field of the config, and the variable for each tensor. Out: a config, loaded weights with a
`LoadReport` or an error that names every tensor that does not fit, a written directory.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from tfmodels.checkpoints.files import (
    CONFIG,
    SETTINGS,
    WEIGHTS,
    LoadReport,
    TensorFiles,
    check_vocabulary_size,
    config_path,
    is_preset,
    listed,
    model_type,
    read_entries,
    write_tensors,
    wrong_type,
)
from tfmodels.errors import InputError
from tfmodels.files import write_json
from tfmodels.models.model import Config, ConfigModel

if TYPE_CHECKING:  # tokenizers need TensorFlow, the tables of the families do not
    from tfmodels.checkpoints.tokenizers import Tokenizer

# Name of a variable in Keras: in PyTorch.
PARAMETERS = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
# Activation in config.json: here. Of several names for one, the last is written.
ACTIVATIONS = {"gelu_python": "gelu", "gelu": "gelu", "swish": "silu", "silu": "silu"}
ACTIVATIONS |= {"gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}
ACTIVATIONS |= {"relu": "relu", "tanh": "tanh"}

# The projections of an attention, each a part of one variable: the path, number and count of parts.
QUERY, KEY, VALUE = (("attention.query_key_value", part, 3) for part in range(3))
CROSS_KEY, CROSS_VALUE = (("cross_attention.key_value", part, 2) for part in range(2))


class Weight:
    """The variable of a tensor, or one of `count` equal parts of its last axis."""

    def __init__(self, variable: keras.Variable, part: int = 0, count: int = 1):
        self.variable, self.name = variable, variable.name
        *rows, width = variable.shape
        self.shape = (*rows, width // count)
        self._columns = slice(part * width // count, (part + 1) * width // count)

    def read(self) -> np.ndarray:
        """Return its values as float32."""
        return self._variable()[..., self._columns]

    def assign(self, array: np.ndarray) -> None:
        """Set its values."""
        whole = self._variable() if self.shape != tuple(self.variable.shape) else array.copy()
        whole[..., self._columns] = array
        self.variable.assign(whole)

    def _variable(self):
        return np.array(ops.convert_to_numpy(ops.cast(self.variable, "float32")))


class Family:
    """The tables of a family; a subclass overrides what they cannot express.

    A plain name is that of `transformers` without the prefix of models with heads, such as
    `encoder.layer.0.output.LayerNorm.weight`.

    Attributes:
        name: for messages.
        model_type: in `config.json`.
        model_class: the Keras model that its config describes.
        fields: dict of field of the config to field of `config.json`.
        required: fields of the config that `config.json` must have; the others have defaults.
        only: dict of field of `config.json` to its one supported value, which is its default.
        activation: pair of the field of `config.json` and its default.
        unseen: fields of the config that do not show in shapes, compared before weights are loaded.
        parts: dict of plain name to the path of a layer or variable, or to a path with number and
            count, see `Weight`. What a model does not have is left out.
        blocks: dict of a pair, the beginning of plain names (`{}` for the number of the block) and
            the attribute of the model, to a dict as `parts`.
        heads: as `parts`, of the whole model where `parts` are of its encoder.
        optional: beginnings of plain names: loaded whole if any of it is there, else new.
        prefix: of names in the files.
        old_names: dict of a part of a name in old files to that of today.
        tied: dict of a name that is in some files for a second time to the weight it must equal.
        tied_to: beginning of the plain names of a model that needs them to be equal.
        if_not_tied: what to do where they differ.
        transposed: whether kernels are stored as `[O, I]`.
    """

    name = model_type = ""
    model_class: type[ConfigModel]
    fields: dict[str, str] = {}
    required: tuple[str, ...] = ()
    only: dict[str, Any] = {}
    activation = ("hidden_act", "gelu")
    unseen: tuple[str, ...] = ("num_heads", "activation", "epsilon")
    parts: dict[str, Any] = {}
    blocks: dict[tuple[str, str], dict] = {}
    heads: dict[str, Any] = {}
    optional: tuple[str, ...] = ()
    prefix = tied_to = ""
    old_names: dict[str, str] = {}
    tied: dict[str, str] = {}
    if_not_tied = "give a checkpoint with tied embeddings"
    transposed = True

    def is_ignored(self, name: str) -> bool:
        """Return whether a file may have a tensor of this plain name that no model uses."""
        return False

    def backbone(self, model: keras.Model) -> ConfigModel:
        """Return the part of a model that is of `model_class`."""
        return model

    def further_fields(self, path: Path, entries: dict, fields: dict) -> dict:
        """Return fields of the config that are in no table, given `config.json` and the others."""
        return {}

    def open(self, directory: Path) -> Any:
        """Return the tensors of a directory by plain names."""
        if is_preset(directory):
            from tfmodels.checkpoints.presets import PresetTensors

            return PresetTensors(directory, self)
        return Tensors(directory, self)

    def takes(self, part: str, directory: Path, model: keras.Model, fits: bool) -> bool:
        """Return whether to load an optional part of a file; `fits`: whether all shapes do."""
        return True

    def name_in_file(self, name: str, model: keras.Model) -> str:
        """Return the name to write a tensor under."""
        return self.prefix + name

    def shape_in_file(self, name: str, weight: Weight) -> tuple[int, ...]:
        """Return the shape of the tensor of a weight."""
        return weight.shape[::-1] if self._is_transposed(weight) else weight.shape

    def from_file(self, name: str, tensor: np.ndarray, weight: Weight) -> np.ndarray:
        """Return the array for a weight in a tensor of a file."""
        return tensor.T if self._is_transposed(weight) else tensor

    def to_file(self, name: str, weight: Weight) -> np.ndarray:
        """Return a weight as the float32 tensor of a file."""
        return weight.read().T if self._is_transposed(weight) else weight.read()

    def _is_transposed(self, weight):
        return self.transposed and weight.name == "kernel"

    def read_config(self, directory: str | Path) -> Any:
        """Return the config in `config.json`.

        Args:
            directory: of the checkpoint.

        Raises:
            InputError: no readable `config.json`, another kind of model, or one that computes
                something else.
        """
        path, entries = config_path(directory), read_entries(directory)
        if (kind := model_type(directory)) != self.model_type:
            raise InputError(wrong_type(directory, kind, (self.model_type,)))
        check_only(path, entries, self.only)
        config_type = self.model_class.config_type
        fields = read_fields(path, entries, self.fields, self.required, config_type)
        field, default = self.activation
        activation = entries.get(field, default)
        if not isinstance(activation, str) or activation not in ACTIVATIONS:
            raise InputError(
                f"{path}: {field} is {activation!r}; give a checkpoint with one of "
                f"{', '.join(ACTIVATIONS)}"
            )
        fields["activation"] = ACTIVATIONS[activation]
        return config_type(**fields | self.further_fields(path, entries, fields))

    def write_config(self, config: Any) -> dict:
        """Return the fields of `config.json` for a config."""
        names = {activation: name for name, activation in ACTIVATIONS.items()}
        if config.activation not in names:
            raise InputError(
                f"activation {config.activation!r} has no name in Hugging Face's config.json; "
                f"train with one of {', '.join(names)}"
            )
        entries = {name: getattr(config, field) for field, name in self.fields.items()}
        entries = {"model_type": self.model_type, **entries, **self.only}
        return entries | {self.activation[0]: names[config.activation]}

    def weights(self, model: keras.Model) -> dict[str, Weight]:
        """Return the weight of every tensor of a model, its heads included.

        Args:
            model: one of the family; it is built if it is not yet.

        Returns:
            dict of plain name to `Weight`.
        """
        if not model.built:
            model.build()
        backbone = self.backbone(model)
        weights = named(backbone, self.parts)
        for (start, attribute), table in self.blocks.items():
            for number, block in enumerate(getattr(backbone, attribute)):
                weights |= named(block, table, start.format(number))
        return weights | named(model, self.heads)

    def load(self, directory: str | Path, dtype: Any = None) -> tuple[ConfigModel, LoadReport]:
        """Return the model of a checkpoint, without heads.

        Args:
            directory: of the checkpoint; see `find_checkpoint`.
            dtype: dtype policy of the model; Keras' global one if not given.

        Returns:
            pair of a built model and a `LoadReport`.

        Raises:
            InputError: as `read_config` and `load_weights`.
        """
        model = self.model_class(self.read_config(directory), dtype=dtype)
        return model, self.load_weights(model, directory)

    def load_weights(self, model: keras.Model, directory: str | Path) -> LoadReport:
        """Load a checkpoint into a model: all tensors, or none.

        Args:
            model: one of the family, made before, for example under a strategy. It is built if
                it is not yet; weights of any dtype.
            directory: of the checkpoint; see `find_checkpoint`.

        Returns:
            `LoadReport`; what is `optional` and not in the checkpoint is new.

        Raises:
            InputError: tensors missing, unexpected or of another shape (all named on one line), a
                part that is not whole, an output that is not tied to the embeddings, or
                settings that do not show in shapes and differ from the model's.
        """
        directory, config = Path(directory), self.backbone(model).config
        check_settings(config_path(directory), self.read_config(directory), config, self.unseen)
        tensors, weights = self.open(directory), self.weights(model)
        for part in self.optional:
            names = [name for name in weights if name.startswith(part)]
            shapes = {name: tensors.shape_in_file(name, weights[name]) for name in names}
            fits = all(tensors.shapes.get(name) == shapes[name] for name in names)
            there = any(name in tensors.shapes for name in names)
            if not (there and self.takes(part, directory, model, fits)):
                for name in names:
                    del weights[name]
        unused = self._check_shapes(directory, tensors, weights)
        if any(name.startswith(self.tied_to) for name in weights):
            tensors.check_tied()
        # All are read before one is assigned: only reading detects damaged data.
        arrays = {name: tensors.read(name, weight) for name, weight in weights.items()}
        for name, weight in weights.items():
            weight.assign(arrays.pop(name))
        assigned = {id(weight.variable) for weight in weights.values()}
        return LoadReport(
            directory,
            loaded=tuple(tensors.names[name] for name in weights),
            new=tuple(weight.path for weight in model.weights if id(weight) not in assigned),
            ignored=(*(tensors.names[name] for name in unused), *tensors.slots),
        )

    def _check_shapes(self, directory, tensors, weights):
        """Return the plain names of tensors without a weight; refuse what does not fit."""
        unused = [name for name in tensors.shapes if name not in weights]
        unexpected = [tensors.display_name(name) for name in unused if not self.is_ignored(name)]
        missing = [tensors.display_name(name) for name in weights if name not in tensors.shapes]
        shapes = {name: tensors.shape_in_file(name, weight) for name, weight in weights.items()}
        mismatched = [
            f"{tensors.display_name(name)} {_times(tensors.shapes[name])} for {_times(shape)}"
            for name, shape in shapes.items()
            if tensors.shapes.get(name, shape) != shape
        ]
        problems = {"missing": missing, "unexpected": unexpected, "of another shape": mismatched}
        if any(problems.values()):
            text = "; ".join(
                f"{len(names)} {problem}: {listed(names)}"
                for problem, names in problems.items()
                if names
            )
            raise InputError(
                f"{directory}: the weights do not fit the model: {text}; give the checkpoint of a "
                f"{self.name} whose {config_path(directory).name} describes its weights"
            )
        return unused

    def write(
        self, model: keras.Model, directory: str | Path, tokenizer: Tokenizer, entries: dict,
        settings: dict | None = None, tensors: dict[str, np.ndarray] | None = None,
    ) -> None:  # fmt: skip
        """Write a model and its tokenizer into an existing directory.

        Args:
            model: one of the family. Weights are written as float32.
            directory: to write into.
            tokenizer: of at most V tokens.
            entries: further fields of `config.json`.
            settings: what a task needs to load the model: a JSON object in `config.json`.
            tensors: dict of further tensors by plain names.

        Raises:
            InputError: the format cannot express the model, or there are more tokens than
                embeddings.
            OSError: a file cannot be written.
        """
        from tfmodels.checkpoints.tokenizers import write_tokenizer

        directory, config = Path(directory), self.backbone(model).config
        check_vocabulary_size(tokenizer, config)
        weights = self.weights(model)
        named_weights = {id(weight.variable) for weight in weights.values()}
        unnamed = [weight.path for weight in model.weights if id(weight) not in named_weights]
        if unnamed:
            raise InputError(
                f"{type(model).__name__} has weights with no name in a published {self.name} "
                f"({listed(unnamed)}); save its encoder"
            )
        tensors = {name: self.to_file(name, weights[name]) for name in weights} | (tensors or {})
        entries = self.write_config(config) | entries
        write_json(directory / CONFIG, entries | ({SETTINGS: settings} if settings else {}))
        write_tokenizer(directory, tokenizer, config.max_length)
        tensors = {self.name_in_file(name, model): tensor for name, tensor in tensors.items()}
        write_tensors(directory / WEIGHTS, tensors)


class Tensors:
    """The tensors of `model.safetensors` by plain names.

    Args:
        directory: of the checkpoint.
        family: `Family`.

    Attributes:
        names: dict of plain name to name in the files.
        shapes: dict of plain name to shape in the files.
        slots: names in the files of the state of training; none here.

    Raises:
        InputError: as `TensorFiles`; or two tensors have the same plain name.
    """

    slots = ()

    def __init__(self, directory: Path, family: Family):
        self._files, self._family = TensorFiles(directory), family
        self.names: dict[str, str] = {}
        for original in self._files.shapes:
            name = original.removeprefix(family.prefix)
            for old, new in family.old_names.items():
                name = name.replace(old, new)
            if name in self.names:
                raise InputError(
                    f"{directory}: {original} and {self.names[name]} are the same weight; "
                    "remove one"
                )
            self.names[name] = original
        for copy, name in family.tied.items():
            if copy in self.names and name not in self.names:
                self.names[name] = self.names.pop(copy)
        self.shapes = {name: self._files.shapes[stored] for name, stored in self.names.items()}

    def display_name(self, name: str) -> str:
        """Return the name to show in a message."""
        return name

    def shape_in_file(self, name: str, weight: Weight) -> tuple[int, ...]:
        """Return as `Family.shape_in_file`."""
        return self._family.shape_in_file(name, weight)

    def read(self, name: str, weight: Weight) -> np.ndarray:
        """Return the float32 array for a weight; raises as `TensorFiles.read`."""
        return self._family.from_file(name, self._files.read(self.names[name]), weight)

    def check_tied(self) -> None:
        """Refuse a checkpoint whose output embedding differs from its input embedding."""
        for copy, name in self._family.tied.items():
            if copy in self.names:
                one, other = self.names[copy], self.names[name]
                if not np.array_equal(self._files.read(one), self._files.read(other)):
                    raise InputError(
                        f"{self._files.directory}: {one} differs from {other}: its output "
                        f"embedding is not tied and this model's is; {self._family.if_not_tied}"
                    )


def named(root: keras.Layer, table: dict, prefix: str = "") -> dict[str, Weight]:
    """Return dict of plain name to `Weight`; `table` as `Family.parts`."""
    weights = {}
    for name, path in table.items():
        path, *part = (path,) if isinstance(path, str) else path
        place = functools.reduce(lambda at, step: getattr(at, step, None), path.split("."), root)
        if isinstance(place, keras.Variable):
            weights[prefix + name] = Weight(place, *part)
        elif isinstance(place, keras.Layer):
            for variable in place.weights:
                parameter = PARAMETERS.get(variable.name, variable.name)
                weights[f"{prefix}{name}.{parameter}"] = Weight(variable, *part)
    return weights


def check_only(path: Path, entries: dict, only: dict) -> None:
    """Refuse a config file in which a field of `only` has another value than there."""
    for field, value in only.items():
        if entries.get(field, value) != value:
            raise InputError(
                f"{path}: {field} is {entries[field]!r}; give a checkpoint where it is {value!r}"
            )


def read_fields(
    path: Path, entries: dict, names: dict, required: Iterable[str], config_type: Any
) -> dict:
    """Return the numbers among the fields of a config, checked; tables as of `Family`."""
    fields = {}
    for field, name in names.items():
        default, value = getattr(config_type, field), entries.get(name)
        if value is None and field in required:
            raise InputError(f"{path}: {name} is missing; copy or download the file again")
        value = default if value is None else value
        kinds = int if isinstance(default, int) else (int, float)
        minimum = 1 if isinstance(default, int) else 0
        if isinstance(value, bool) or not isinstance(value, kinds) or value < minimum:
            raise InputError(f"{path}: {name} is {value!r}; it must be a number from {minimum} up")
        fields[field] = value
    if "num_heads" in fields and fields["hidden_dim"] % fields["num_heads"]:
        raise InputError(
            f"{path}: {names['num_heads']} {fields['num_heads']} does not divide "
            f"{names['hidden_dim']} {fields['hidden_dim']}; copy or download the file again"
        )
    return fields


def check_settings(path: Path, expected: Config, config: Config, fields: Iterable[str]) -> None:
    """Refuse a checkpoint whose config differs from that of the model in one of `fields`."""
    for field in fields:
        stored, actual = getattr(expected, field), getattr(config, field)
        if stored != actual:
            raise InputError(
                f"{path}: means {field}={stored!r}, the model has {actual!r}; make the model from "
                "the config of this directory"
            )


def _times(shape):
    return "x".join(map(str, shape)) or "scalar"
