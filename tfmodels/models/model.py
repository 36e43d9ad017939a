"""Base classes of the models: `keras.Model`s that are built in their constructors.

`ConfigModel` is the base of backbones, which a `Config` describes; `EncoderModel` is the base of
encoders with a head. In: the batch dict, see `BATCH`. Out: the outputs of the model.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import keras
import numpy as np
from keras import KerasTensor, ops, tree

from tfmodels.errors import InputError
from tfmodels.layers import kernels
from tfmodels.models import workers

_C = TypeVar("_C", bound="Config")

# The entries of a batch that models read, and their types; all but `padding_mask` are ids or
# positions. Other entries are passed through.
BATCH = {
    "token_ids": "int32",
    "segment_ids": "int32",
    "padding_mask": "bool",
    "decoder_token_ids": "int32",
    "masked_positions": "int32",
    "word_positions": "int32",
    "sequence_ids": "int32",
    "sequence_starts": "int32",
}
_RIGHT = 'give a dict, model({"token_ids": ids, "padding_mask": mask}), of arrays [batch, length]'
_OTHER_NAMES = {
    "input_ids": "token_ids",
    "attention_mask": "padding_mask",
    "token_type_ids": "segment_ids",
    "decoder_input_ids": "decoder_token_ids",
}


def read_batch(batch: Any, required: Sequence[str] = ("token_ids",), packed: bool = False) -> dict:
    """Return a batch with the entries of `BATCH` as tensors of their types.

    Args:
        batch: dict of tensors, arrays or lists `[B, S]`. Ids may be floats, as Keras' own export
            casts them; nonzero values of a mask are `True`.
        required: names of the required entries.
        packed: whether the model takes several sequences in a row, `sequence_ids`.

    Raises:
        InputError: if the batch is not valid.
    """
    if not isinstance(batch, dict):
        raise InputError(f"a model was called with a {type(batch).__name__}: {_RIGHT}")
    for name in required:
        if name not in batch:
            aliases = [alias for alias, known in _OTHER_NAMES.items() if known == name]
            hint = [f"{alias} is called {name} here" for alias in aliases if alias in batch]
            raise InputError(f"the batch has no {name}: {', '.join(hint) or _RIGHT}")
    for alias, name in _OTHER_NAMES.items():
        if alias in batch and name not in batch:
            raise InputError(f"the batch has {alias}: it is called {name} here")
    known = {name: _typed(batch[name], name) for name in BATCH if batch.get(name) is not None}
    if "sequence_ids" in known:
        shape, expected = known["sequence_ids"].shape, known["token_ids"].shape
        if not packed:
            raise InputError(
                "the batch has sequence_ids, and this call takes one sequence a row: leave them "
                "out, and give each sequence a row"
            )
        pairs = zip(shape, expected, strict=True)
        if any(None not in pair and pair[0] != pair[1] for pair in pairs):
            raise InputError(
                f"sequence_ids: shape {tuple(shape)}; give one for each of token_ids, "
                f"{tuple(expected)}"
            )
    return {**batch, **known}


def _typed(x, name):
    if not hasattr(x, "dtype"):
        try:
            x = np.asarray(x)
        except ValueError as error:
            raise InputError(
                f"{name}: rows of unequal length; pad them, and give a padding_mask"
            ) from error
    if hasattr(x, "row_splits"):
        raise InputError(f"{name}: a ragged tensor; give {name}.to_tensor() and a padding_mask")
    text = isinstance(x, np.ndarray) and x.dtype.kind in "OSU"
    kind = "string" if text else keras.backend.standardize_dtype(x.dtype)
    if kind == "string":
        raise InputError(
            f"{name}: strings; a model takes token ids, and a task such as TextClassifier texts"
        )
    if len(x.shape) != 2:
        remedy = "batch the dataset: dataset.batch(32)" if len(x.shape) == 1 else _RIGHT
        raise InputError(f"{name}: shape {tuple(x.shape)}, not [batch, length]; {remedy}")
    if BATCH[name] == "bool" and kind != "bool":
        return ops.cast(x, "bool")
    if BATCH[name] == "int32" and not kind.startswith(("int", "uint")):
        return ops.cast(x, "int32")
    return ops.convert_to_tensor(x) if isinstance(x, np.ndarray) else x


def run_blocks(
    blocks: Iterable, x: KerasTensor, padding_mask: KerasTensor | None = None, remat: bool = False,
    **arguments: Any,
) -> KerasTensor:  # fmt: skip
    """Return the states of the last of some blocks, float `[B, S, H]` as `x`.

    Between the blocks the states are flat, so that the shapes are computed once; where it pays,
    encoder blocks compute those of real tokens only.

    Args:
        blocks: encoder or decoder blocks.
        x: float `[B, S, H]`.
        padding_mask: bool `[B, S]`, of encoder blocks; states at padding have no meaning.
        remat: in training, whether to keep the inputs of the blocks only, and to compute what is
            inside again for the gradients.
        **arguments: of each block.
    """
    length, width = ops.shape(x)[1], x.shape[-1]
    x, real = ops.reshape(x, (-1, width)), kernels.real_positions(padding_mask)
    if real is not None:
        x, arguments = real.only(x), {**arguments, "real": real}
    remat = remat and arguments.get("training", False) and not isinstance(x, KerasTensor)
    for block in blocks:
        apply = functools.partial(_rematerialized, block) if remat else block
        x = apply(x, length=length, **arguments)  # [B * S, H] or [T, H]
    x = x if real is None else real.spread(x)
    return ops.reshape(x, (-1, length, width))


@contextlib.contextmanager
def cast_once(model: keras.Model) -> Iterator[None]:
    """Cast the matrices of a model to its compute dtype here, not wherever they are used.

    Under a policy such as `"mixed_bfloat16"`, each step of a generation would read all weights in
    float32 and write them in the other type; the products read the same values.

    Args:
        model: all of its matrices are used in its compute dtype. While graphs are traced with
            constant weights, nothing changes.
    """
    scope, stored, used = keras.StatelessScope(), model.variable_dtype, model.compute_dtype
    for weight in model.weights if stored != used and not kernels.is_frozen() else ():
        if len(weight.shape) > 1 and weight.dtype == stored:
            scope.add_update((weight, ops.cast(weight.value, used)))
    with scope:
        yield


def _rematerialized(block, x, **arguments):
    """Apply a block with `keras.remat`.

    Its dropout must drop the same elements both times, and `keras.remat` draws seeds each time: so
    both start from the states that the seed generators have now, and only the first moves them.
    """
    layers = block._flatten_layers()
    states = [layer.seed_generator.state for layer in layers if hasattr(layer, "seed_generator")]
    # The product is a copy; `convert_to_tensor` would return the variable, which then moves on.
    now, after = [state.value * 1 for state in states], []
    # Only what is an argument gets a gradient, and Keras computes with all arguments.
    floats = [
        name
        for name, value in arguments.items()
        if hasattr(value, "dtype") and keras.backend.is_float_dtype(value.dtype)
    ]

    def call(x, *values):
        given = {**arguments, **dict(zip(floats, values, strict=True))}
        with keras.StatelessScope(list(zip(states, now, strict=True))) as scope:
            x = block(x, **given)
        after.extend(scope.get_current_value(state) for state in states)
        return x

    x = keras.remat(call)(x, *(arguments[name] for name in floats))
    for state, value in zip(states, after, strict=False):
        state.assign(value)
    return x


def inspect_blocks(blocks: Iterable, x: KerasTensor, mask: KerasTensor | None) -> dict[str, list]:
    """Return the states and attention scores of L blocks applied to `x` at inference.

    Returns:
        dict of `hidden_states`, a list of L + 1 float `[B, S, H]` that starts with `x`, and
        `attention_scores`, a list of L float `[B, N, S, S]`, queries before keys.
    """
    states, scores = [x], []
    for block in blocks:
        x, weights = block(x, attention_mask=mask, return_attention_scores=True)
        states.append(x)
        scores.append(weights)
    return {"hidden_states": states, "attention_scores": scores}


class Model(keras.Model):
    """A `keras.Model` of a batch dict that trains under every `tf.distribute` strategy.

    To get the shapes of a batch, Keras 3.15 takes the first batch of the dataset and sums it
    over the replicas, which fails for bool and with several workers. This class reads the
    shapes from the dataset's spec, and consumes no batch. The module `workers` corrects Keras'
    other errors with several workers.

    Args:
        name: defaults to a name of the class, without the number that Keras appends.
        **kwargs: as in `keras.Model`.
    """

    # The inputs of an exported model, and the entries that every batch must have.
    inputs_of_export: tuple[str, ...] = ("token_ids", "segment_ids", "padding_mask")
    required: tuple[str, ...] = ("token_ids",)
    packed = False  # whether a row may hold several sequences, `sequence_ids`
    default_name: str | None = None

    def __init__(self, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name=name or self.default_name or type(self).__name__.lower(), **kwargs)

    def build(self, batch_shape: dict | None = None) -> None:
        """Build the layers that are not built yet; constructors call this."""
        for layer in self.layers:
            if not layer.built:
                layer.build((None, None, self.config.hidden_dim))

    def __call__(self, batch: dict, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(read_batch(batch, self.required, self.packed), *args, **kwargs)

    def stateless_call(
        self, trainable: list, others: list, batch: dict, *args: Any, **kwargs: Any
    ) -> tuple:
        batch = read_batch(batch, self.required, self.packed)
        return super().stateless_call(trainable, others, batch, *args, **kwargs)

    def compute_output_spec(
        self, batch: dict, training: bool = False
    ) -> KerasTensor | dict[str, KerasTensor]:
        shapes = self.compute_output_shape({name: x.shape for name, x in batch.items()})
        if isinstance(shapes, dict):
            return {name: keras.KerasTensor(shape, "float32") for name, shape in shapes.items()}
        return keras.KerasTensor(shapes, "float32")

    def rematerialize(self, on: bool = True) -> None:
        """Trade time for memory: keep the inputs of each block in training, see `keras.remat`.

        Args:
            on: whether to; call it before the first step.

        Raises:
            InputError: the model has no blocks of this package, or the backend is not TensorFlow.
        """
        stacks = [layer for layer in self._flatten_layers() if isinstance(layer, ConfigModel)]
        stacks = [layer for layer in stacks if layer.own_blocks]
        if on and (not stacks or keras.backend.backend() != "tensorflow"):
            raise InputError(
                "remat: works for blocks of tfmodels.layers on the TensorFlow backend; leave it out"
            )
        for stack in stacks:
            stack.remat = on

    def export(
        self, filepath: str | Path, format: str = "tf_saved_model",
        input_signature: list | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Export the model as `keras.Model.export` does, for batches of any size and length."""
        if input_signature is None:
            input_signature = [
                {
                    name: keras.InputSpec(shape=(None, None), dtype=BATCH[name], name=name)
                    for name in self.inputs_of_export
                }
            ]
        super().export(filepath, format=format, input_signature=input_signature, **kwargs)

    def save(self, filepath: str | Path, *args: Any, **kwargs: Any) -> None:
        """Save the model as `keras.Model.save` does, except as HDF5, which loses its class."""
        if str(filepath).endswith((".h5", ".hdf5")):
            raise InputError(f"{filepath}: a model is saved as .keras, its weights as .weights.h5")
        super().save(filepath, *args, **kwargs)

    def quantize(self, mode: Any = None, config: Any = None, **kwargs: Any) -> None:
        """Raise: Keras quantizes only its own layers, so it would change nothing here."""
        raise InputError(
            f"quantize({mode!r}): not supported; for a smaller or faster model give "
            'dtype="bfloat16", or convert an exported model'
        )

    @property
    def distribute_strategy(self) -> Any:
        return workers.for_trainer(super().distribute_strategy)

    # TensorFlow traces a step twice, and runs a graph with both, if the first trace creates
    # variables. So the optimizer, loss and metrics are built before.

    def make_train_function(self, force: bool = False) -> Any:
        built = all(layer.built for layer in self._flatten_layers())
        if built and self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if self._distribute_strategy is None:
            dataset = getattr(iterator, "_distributed_dataset", None)
            self._build_measures(getattr(dataset, "element_spec", data_batch))
            return
        if iterator is not None:
            spec = iterator.data_adapter.get_tf_dataset().element_spec
            if not all(hasattr(leaf, "shape") for leaf in tree.flatten(spec)):
                raise InputError("distributed data: give the dataset itself, fit distributes it")
            iterator, data_batch = None, spec
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    def _build_measures(self, batch):
        """Build loss and metrics for batches of these specs or arrays, if they say enough."""
        measures = [self._compile_loss, self._compile_metrics]
        measures = [measure for measure in measures if measure is not None and not measure.built]
        leaves = [leaf for leaf in tree.flatten(batch) if leaf is not None]
        shapes = [getattr(leaf, "shape", None) for leaf in leaves]
        if not measures or any(getattr(shape, "rank", shape) is None for shape in shapes):
            return
        symbolic = iter([keras.KerasTensor(leaf.shape, leaf.dtype) for leaf in leaves])
        batch = tree.map_structure(lambda leaf: leaf if leaf is None else next(symbolic), batch)
        x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        if y is None:
            return
        try:
            outputs = self.compute_output_spec(read_batch(x, self.required, self.packed))
        except NotImplementedError:  # a model of a user that does not say
            return
        for measure in measures:
            measure.build(y, outputs)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The hyperparameters of a model.

    Args:
        vocabulary_size: V, size of the vocabulary.
        hidden_dim: H, width of a state.
        num_heads: N, number of attention heads; must divide `hidden_dim`.
        feedforward_dim: F, inner width of the feed-forward sublayers.
        max_length: maximum number of tokens of a text; for `Gpt`, of prompt and continuation.
        activation: `"gelu"` (exact), `"gelu_tanh"` (its tanh approximation) or the name of a Keras
            activation.
        dropout: fraction of the embeddings and of each sublayer's output to drop in training,
            0 to 1.
        attention_dropout: fraction of the attention weights to drop in training, 0 to 1.
        epsilon: added to the variance in the layer normalizations.
        initializer_range: standard deviation of the initializers. The published 0.02 suits wide
            models; narrow ones learn to copy much sooner with 1 / sqrt(H), with which a
            projection keeps the scale of its input.
    """

    vocabulary_size: int
    hidden_dim: int = 768
    num_heads: int = 12
    feedforward_dim: int = 3072
    max_length: int = 1024
    activation: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    epsilon: float = 1e-5
    initializer_range: float = 0.02

    # size: (layers of each stack, hidden_dim); the fields for the number of layers.
    sizes: ClassVar[dict[str, tuple[int, int]]] = {}
    stacks: ClassVar[tuple[str, ...]] = ("num_layers",)

    @classmethod
    def of_size(cls: type[_C], size: str, **fields: Any) -> _C:
        """Return the config of a size in `sizes`, with the given `fields` replaced.

        Raises:
            InputError: if there is no such size.
        """
        if size not in cls.sizes:
            raise InputError(f"size must be one of {', '.join(cls.sizes)}, got {size!r}")
        layers, width = cls.sizes[size]
        shape = {"hidden_dim": width, "num_heads": width // 64, "feedforward_dim": 4 * width}
        return cls(**{**shape, **dict.fromkeys(cls.stacks, layers), **fields})

    def embeddings(self) -> dict:
        """Return the arguments of the embeddings that all models share."""
        names = ("hidden_dim", "max_length", "dropout", "initializer_range")
        return {name: getattr(self, name) for name in names}

    def block(self) -> dict:
        """Return the arguments of each block of a model."""
        others = ("vocabulary_size", "max_length")
        names = [field.name for field in dataclasses.fields(Config) if field.name not in others]
        return {name: getattr(self, name) for name in names}


class ConfigModel(Model):
    """A model that is completely described by a `Config`, its serialized form.

    Args:
        config: an instance of the class attribute `config_type`.

    Attributes:
        remat: see `Model.rematerialize`.
        own_blocks: whether its blocks are of `tfmodels.layers`.
    """

    remat, own_blocks = False, True

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config: Any = config

    def get_config(self) -> dict:
        config = {"config": dataclasses.asdict(self.config), "name": self.name}
        return {**config, "dtype": keras.dtype_policies.serialize(self.dtype_policy)}

    @classmethod
    def from_config(cls, config: dict) -> "ConfigModel":
        return cls(**{**config, "config": cls.config_type(**config["config"])})

    def _check_room(self, tokens, length):
        """Raise if `length` is below the prompt's length or above the model's maximum."""
        minimum, maximum = tokens.shape[1] or 1, self.config.max_length
        if isinstance(length, int) and not minimum <= length <= maximum:
            raise InputError(
                f"length is {length}; it must be from {minimum}, the length of the prompt, "
                f"to max_length={maximum}"
            )


class EncoderModel(Model):
    """A model with an encoder, with the encoder's dtype policy by default and saved with it.

    Args:
        encoder: a model with a `config`, for example `Bert`.
    """

    arguments: tuple[str, ...] = ()  # constructor arguments that go to the config

    def __init__(self, encoder: keras.Model, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", encoder.dtype_policy)
        super().__init__(**kwargs)
        self.encoder = encoder

    @property
    def config(self) -> Config:
        """The config of the encoder."""
        return self.encoder.config

    def get_config(self) -> dict:
        return {
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            **{name: getattr(self, name) for name in self.arguments},
        }

    @classmethod
    def from_config(cls, config: dict) -> "EncoderModel":
        encoder = keras.saving.deserialize_keras_object(config["encoder"])
        return cls(**{**config, "encoder": encoder})
