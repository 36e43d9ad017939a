"""`Family`: the one walk from a published model to ours, and back.

In: the tables of a family of models (`bert`, `gpt2`, `bart`), that is which field of `config.json`
is which of ours, and which tensor is which variable. Out: a config, loaded weights with a
`LoadReport` or an error that names every tensor out of place, a written directory.
"""

import functools
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tfmodels.checkpoints.files import (
    CONFIG,
    OURS,
    WEIGHTS,
    LoadReport,
    TensorFiles,
    check_vocabulary_size,
    config_path,
    listed,
    model_type,
    write_tensors,
)
from tfmodels.checkpoints.tokenizers import write_tokenizer
from tfmodels.errors import InputError
from tfmodels.files import read_json, write_json

# our name of a layer's variable: PyTorch's
PARAMETERS = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
# their activation: ours; of several names for one, the last is the one written
ACTIVATIONS = {"gelu_python": "gelu", "gelu": "gelu", "swish": "silu", "silu": "silu"}
ACTIVATIONS |= {"gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}
ACTIVATIONS |= {"relu": "relu", "tanh": "tanh"}


class Family:
    """The tables of a family; a subclass overrides what really differs.

    A plain name is that of `transformers` without the prefix of models with heads, such as
    `encoder.layer.0.output.LayerNorm.weight`.

    Attributes:
        name: for messages.
        model_type: in `config.json`.
        config_type: our dataclass.
        fields: dict of our field to theirs.
        required: our fields that `config.json` must have; the others have our defaults.
        only: dict of their fields to the one value that works here, which is their default.
        activation: pair of their field and its default.
        unseen: our fields that no shape tells, compared before weights are loaded.
        parts: dict of plain name to the path of our layer or variable, or to the paths of several
            that lie side by side in one tensor. What a model does not have is left out.
        blocks: dict of a pair, the beginning of plain names (`{}` for the number of the block) and
            our attribute, to a dict as `parts`.
        heads: as `parts`, of the whole model where `parts` are of its encoder.
        optional: beginnings of plain names: loaded whole if a part is there, and new otherwise.
        prefix: of names in the files.
        old_names: dict of a part of a name in old files to that of today.
        tied: dict of a name that is in some files for a second time to the weight it must equal.
        tied_to: beginning of the plain names that a model must have for that to matter.
        if_not_tied: what to do where they differ.
        transposed: whether kernels lie there as `[O, I]`.
    """

    name = model_type = ""
    config_type = None
    fields, required, only = {}, (), {}
    activation = ("hidden_act", "gelu")
    unseen = ("num_heads", "activation", "epsilon")
    parts, blocks, heads = {}, {}, {}
    optional = ()
    prefix, old_names, tied, tied_to = "", {}, {}, ""
    if_not_tied = "give a checkpoint with tied embeddings"
    transposed = True

    def is_ignored(self, name):
        """Return whether a tensor of this plain name may be there and be of no use."""
        return False

    def backbone(self, model):
        """Return the part of a model that `config_type` describes."""
        return model

    def further_fields(self, path, theirs, fields):
        """Return our fields that no table tells, given the others."""
        return {}

    def open(self, directory):
        """Return the tensors of a directory by plain names."""
        return Tensors(directory, self)

    def takes(self, part, directory, model, fits):
        """Return whether an optional part that is there is loaded; `fits`: all its shapes do."""
        return True

    def name_in_file(self, name, model):
        """Return the name to write a tensor under."""
        return self.prefix + name

    def shape_in_file(self, name, variables):
        """Return the shape of the tensor that holds `variables` side by side."""
        shape = (*variables[0].shape[:-1], sum(variable.shape[-1] for variable in variables))
        return shape[::-1] if self._turns(variables) else shape

    def from_file(self, name, tensor, variables):
        """Return the arrays for `variables` in a tensor of a file."""
        tensor = tensor.T if self._turns(variables) else tensor
        return np.split(tensor, len(variables), axis=-1)

    def to_file(self, name, variables):
        """Return the float32 tensor of `variables`, as it lies in a file."""
        tensor = np.concatenate([as_float32(variable) for variable in variables], axis=-1)
        return tensor.T if self._turns(variables) else tensor

    def _turns(self, variables):
        return self.transposed and variables[0].name == "kernel"

    def read_config(self, directory):
        """Return the config that `config.json` describes.

        Args:
            directory: of the checkpoint.

        Raises:
            InputError: no readable `config.json`, another kind of model, or one whose
                computation is another.
        """
        path = config_path(directory)
        theirs = read_json(path)
        if model_type(directory) != self.model_type:
            raise InputError(
                f"{path}: model_type is {theirs.get('model_type')!r}; give a checkpoint of type "
                f"{self.model_type!r}"
            )
        check_only(path, theirs, self.only)
        fields = read_fields(path, theirs, self.fields, self.required, self.config_type)
        field, default = self.activation
        activation = theirs.get(field, default)
        if activation not in ACTIVATIONS:
            raise InputError(
                f"{path}: {field} is {activation!r}; give a checkpoint with one of "
                f"{', '.join(ACTIVATIONS)}"
            )
        fields["activation"] = ACTIVATIONS[activation]
        return self.config_type(**fields | self.further_fields(path, theirs, fields))

    def write_config(self, config):
        """Return what `config.json` says of a config."""
        names = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
        if config.activation not in names:
            raise InputError(
                f"activation {config.activation!r} has no name in Hugging Face's config.json; "
                f"train with one of {', '.join(names)}"
            )
        theirs = {name: getattr(config, ours) for ours, name in self.fields.items()}
        theirs = {"model_type": self.model_type, **theirs, **self.only}
        return theirs | {self.activation[0]: names[config.activation]}

    def weights(self, model):
        """Return the variables of every tensor of a model, its heads included.

        Args:
            model: one of the family; it is built if it is not yet.

        Returns:
            dict of plain name to a tuple of Keras variables, with each weight of `model` once.
        """
        if not model.built:
            model.build()
        backbone = self.backbone(model)
        found = named(backbone, self.parts)
        for (start, attribute), table in self.blocks.items():
            for number, block in enumerate(getattr(backbone, attribute)):
                found |= named(block, table, start.format(number))
        return found | named(model, self.heads)

    def load_weights(self, model, directory):
        """Load a checkpoint into a model: all tensors, or none.

        Args:
            model: one of the family, made before, for example under a strategy. It is built if
                it is not yet; weights of any dtype.
            directory: of the checkpoint; see `find_checkpoint`.

        Returns:
            `LoadReport`; what is `optional` and not there is new.

        Raises:
            InputError: tensors missing, unexpected or of another shape (all named on one line), a
                part that is not whole, an output that is not tied to the embeddings, or
                settings that the shapes do not tell and the model differs in.
        """
        directory, config = Path(directory), self.backbone(model).config
        check_settings(config_path(directory), self.read_config(directory), config, self.unseen)
        tensors, wanted = self.open(directory), self.weights(model)
        for part in self.optional:
            names = [name for name in wanted if name.startswith(part)]
            shapes = {name: tensors.shape_in_file(name, wanted[name]) for name in names}
            fits = all(tensors.shapes.get(name) == shapes[name] for name in names)
            there = any(name in tensors.shapes for name in names)
            if not (there and self.takes(part, directory, model, fits)):
                for name in names:
                    del wanted[name]
        others = self._check_shapes(directory, tensors, wanted)
        if any(name.startswith(self.tied_to) for name in wanted):
            tensors.check_tied()
        # All are read before one is assigned: what is damaged shows only there.
        read = {name: tensors.read(name, variables) for name, variables in wanted.items()}
        assigned = set()
        for name, variables in wanted.items():
            for variable, value in zip(variables, read.pop(name), strict=True):
                variable.assign(value)
                assigned.add(id(variable))
        return LoadReport(
            directory,
            loaded=tuple(tensors.names[name] for name in wanted),
            new=tuple(weight.path for weight in model.weights if id(weight) not in assigned),
            ignored=(*(tensors.names[name] for name in others), *tensors.slots),
        )

    def _check_shapes(self, directory, tensors, wanted):
        """Return the plain names that are not wanted, after refusing what does not fit."""
        others = [name for name in tensors.shapes if name not in wanted]
        unexpected = [tensors.name_there(name) for name in others if not self.is_ignored(name)]
        missing = [tensors.name_there(name) for name in wanted if name not in tensors.shapes]
        shapes = {name: tensors.shape_in_file(name, places) for name, places in wanted.items()}
        mismatched = [
            f"{tensors.name_there(name)} {_times(tensors.shapes[name])} for {_times(shape)}"
            for name, shape in shapes.items()
            if tensors.shapes.get(name, shape) != shape
        ]
        problems = {"missing": missing, "unexpected": unexpected, "of another shape": mismatched}
        if any(problems.values()):
            found = "; ".join(
                f"{len(names)} {problem}: {listed(names)}"
                for problem, names in problems.items()
                if names
            )
            raise InputError(
                f"{directory}: the weights do not fit the model: {found}; give the checkpoint of a "
                f"{self.name} whose {config_path(directory).name} describes its weights"
            )
        return others

    def write(self, model, directory, tokenizer, more, ours=None, tensors=None):
        """Write a model and its tokenizer into an existing directory.

        Args:
            model: one of the family. Weights are written as float32.
            directory: to write into.
            tokenizer: of at most V tokens.
            more: dict of further fields of `config.json`.
            ours: JSON object for `config.json`, under the key `OURS`.
            tensors: dict of further tensors by plain names.

        Raises:
            InputError: the model has no form there, or there are more tokens than embeddings.
            OSError: a file cannot be written.
        """
        directory, config = Path(directory), self.backbone(model).config
        check_vocabulary_size(tokenizer, config)
        weights = self.weights_to_write(model)
        tensors = {name: self.to_file(name, weights[name]) for name in weights} | (tensors or {})
        ours = {} if ours is None else {OURS: ours}
        write_json(directory / CONFIG, self.write_config(config) | more | ours)
        write_tokenizer(directory, tokenizer, config.max_length)
        tensors = {self.name_in_file(name, model): tensor for name, tensor in tensors.items()}
        write_tensors(directory / WEIGHTS, tensors)

    def weights_to_write(self, model):
        """Return `weights`, after refusing a model of which some have no name."""
        weights = self.weights(model)
        written = {id(variable) for variables in weights.values() for variable in variables}
        left = [weight.path for weight in model.weights if id(weight) not in written]
        if left:
            raise InputError(
                f"{type(model).__name__} has weights with no name in a published {self.name} "
                f"({listed(left)}); save its encoder"
            )
        return weights


class Tensors:
    """The tensors of `model.safetensors` by plain names.

    Args:
        directory: of the checkpoint.
        family: `Family`.

    Attributes:
        names: dict of plain name to name in the files.
        shapes: dict of plain name to shape in the files.
        slots: names in the files of what belongs to training and to no model; none here.

    Raises:
        InputError: as `TensorFiles`; or two tensors have the same plain name.
    """

    slots = ()

    def __init__(self, directory, family):
        self._files, self._family = TensorFiles(directory), family
        self.names = {}
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
        self.shapes = {name: self._files.shapes[there] for name, there in self.names.items()}

    def name_there(self, name):
        """Return the name to call a plain one in a message."""
        return name

    def shape_in_file(self, name, variables):
        """Return as `Family.shape_in_file`."""
        return self._family.shape_in_file(name, variables)

    def read(self, name, variables):
        """Return the float32 arrays for `variables`; raises as `TensorFiles.read`."""
        return self._family.from_file(name, self._files.read(self.names[name]), variables)

    def check_tied(self):
        """Refuse a checkpoint whose output embedding is another than its input embedding."""
        for copy, name in self._family.tied.items():
            if copy in self.names:
                one, other = self.names[copy], self.names[name]
                if not np.array_equal(self._files.read(one), self._files.read(other)):
                    raise InputError(
                        f"{self._files.directory}: {one} differs from {other}: its output "
                        f"embedding is not tied and this model's is; {self._family.if_not_tied}"
                    )


def named(root, table, prefix=""):
    """Return dict of plain name to a tuple of variables; `table` as `Family.parts`."""
    found = {}
    for theirs, ours in table.items():
        paths = (ours,) if isinstance(ours, str) else ours
        places = [
            functools.reduce(lambda at, name: getattr(at, name, None), path.split("."), root)
            for path in paths
        ]
        if isinstance(places[0], keras.Variable):
            found[prefix + theirs] = tuple(places)
        elif isinstance(places[0], keras.Layer):
            for same in zip(*(layer.weights for layer in places), strict=True):
                name = PARAMETERS.get(same[0].name, same[0].name)
                found[f"{prefix}{theirs}.{name}"] = same
    return found


def as_float32(variable):
    """Return a variable as float32 array."""
    return np.asarray(ops.convert_to_numpy(ops.cast(variable, "float32")))


def check_only(path, theirs, only):
    """Refuse a config file with another value than the one, which is the default, in `only`."""
    for field, value in only.items():
        if theirs.get(field, value) != value:
            raise InputError(
                f"{path}: {field} is {theirs[field]!r}; give a checkpoint where it is {value!r}"
            )


def read_fields(path, theirs, names, required, config_type):
    """Return the fields of one of our configs that are numbers, checked; tables as of `Family`."""
    fields = {}
    for ours, name in names.items():
        default, value = getattr(config_type, ours), theirs.get(name)
        if value is None and ours in required:
            raise InputError(f"{path}: {name} is missing; copy or download the file again")
        value = default if value is None else value
        kinds = int if isinstance(default, int) else (int, float)
        least = 1 if isinstance(default, int) else 0
        if isinstance(value, bool) or not isinstance(value, kinds) or value < least:
            raise InputError(f"{path}: {name} is {value!r}; it must be a number from {least} up")
        fields[ours] = value
    if fields["hidden_dim"] % fields["num_heads"]:
        raise InputError(
            f"{path}: {names['num_heads']} {fields['num_heads']} does not divide "
            f"{names['hidden_dim']} {fields['hidden_dim']}; copy or download the file again"
        )
    return fields


def check_settings(path, theirs, ours, fields):
    """Refuse a checkpoint whose config differs from that of the model in one of `fields`."""
    for field in fields:
        there, here = getattr(theirs, field), getattr(ours, field)
        if there != here:
            raise InputError(
                f"{path}: means {field}={there!r}, the model has {here!r}; make the model from "
                "the config of this directory"
            )


def _times(shape):
    return "x".join(map(str, shape)) or "scalar"
