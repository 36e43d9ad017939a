"""KerasHub's encoders behind the batch dict of this package.

In: the batch dict, as of `Bert`. Out: float `[B, S, H]`, one state for each token, for a
`Classifier` or a `Tagger`. The encoder itself is a backbone of KerasHub: RoBERTa, XLM-RoBERTa,
DeBERTa-v3, ALBERT, DistilBERT, ELECTRA or FNet. keras-hub is imported when the first one is made.
"""

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import KerasTensor, ops

from tfmodels.errors import InputError, first_line
from tfmodels.models.model import ConfigModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class HubConfig:
    """The config of a `HubEncoder`.

    Args:
        backbone: name of its class in `keras_hub.models`.
        arguments: dict of the arguments of that class, without the dropout.
        dropout: fraction of each sublayer's output to drop in training, 0 to 1.
        pad_id: token of the padding, for an encoder that takes no mask.
        initializer_range: standard deviation of the initializer of a head.
    """

    backbone: str
    arguments: dict[str, Any]
    dropout: float = 0.1
    pad_id: int = 0
    initializer_range: float = 0.02

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return self.arguments.get("vocabulary_size") or self.arguments["vocab_size"]

    @property
    def hidden_dim(self) -> int:
        """H, the width of a state."""
        return self.arguments["hidden_dim"]

    @property
    def max_length(self) -> int:
        """Maximum number of tokens of a text."""
        return self.arguments["max_sequence_length"]


@keras.saving.register_keras_serializable("tfmodels")
class HubEncoder(ConfigModel):
    """A backbone of KerasHub that maps the batch dict to states.

    FNet mixes all positions and takes no mask, so padding changes its states. Its rows are padded
    to `max_length`, as in its pretraining, so that a text has the same states in every batch.

    Args:
        config: a `HubConfig`.

    Call arguments:
        batch: dict with `token_ids` int `[B, S]`, and optionally `segment_ids` int `[B, S]`
            (defaults to all 0) and `padding_mask` bool `[B, S]` (defaults to all `True`).
        training: bool.

    Call returns:
        float `[B, S, H]`, of the compute dtype. States at padding positions are undefined.

    Attributes:
        backbone: the `keras_hub.models.Backbone`.

    Raises:
        InputError: keras-hub is not installed, or does not take the arguments.
    """

    config_type: Any = HubConfig
    default_name = "encoder"
    own_blocks = False

    def __init__(self, config: HubConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)  # type: ignore[arg-type]
        arguments = {**config.arguments, "dropout": config.dropout}
        self.backbone = make_backbone(config.backbone, arguments, self.dtype_policy)
        self._inputs = tuple(self.backbone.input)
        # BERT's pooler, whose place the `Pooler` of a head takes.
        if getattr(self.backbone, "pooled_dense", None) is not None:
            self.backbone.pooled_dense.trainable = False
        self.build()

    @property
    def num_segments(self) -> int:
        """The number of segments that the encoder tells apart."""
        return 2 if "segment_ids" in self._inputs else 1

    @property
    def blocks(self) -> list[keras.Layer]:
        """The blocks from below; those that ALBERT repeats are there once."""
        return keras.tree.flatten(self.backbone.transformer_layers)

    @property
    def embeddings(self) -> "Layers":
        """All layers with weights below the blocks."""
        above = {
            id(layer) for layer in (*self.blocks, getattr(self.backbone, "pooled_dense", None))
        }
        return Layers([layer for layer in self.backbone.layers if id(layer) not in above])

    def call(self, batch: dict, training: bool = False) -> KerasTensor:
        if batch.get("token_embeddings") is not None:
            raise InputError(f"token_embeddings: {self.config.backbone} takes token_ids only")
        ids, mask, segments = (
            batch.get(name) for name in ("token_ids", "padding_mask", "segment_ids")
        )
        mask = ops.ones_like(ids) if mask is None else ops.cast(mask, "int32")  # [B, S]
        segments = ops.zeros_like(ids) if segments is None else segments
        length = ops.shape(ids)[1]
        if "padding_mask" not in self._inputs:
            ids = self._filled(ids, mask, self.config.pad_id)  # [B, max_length]
            segments = self._filled(segments, mask, 0)
        given = {"token_ids": ids, "padding_mask": mask, "segment_ids": segments}
        states = self.backbone({name: given[name] for name in self._inputs}, training=training)
        return (states["sequence_output"] if isinstance(states, dict) else states)[:, :length]

    def _filled(self, values, mask, filler):
        """Return int `[B, max_length]`, with `filler` at padding."""
        values = ops.where(mask > 0, values, filler)
        behind = ops.repeat(ops.full_like(values[:, :1], filler), self.config.max_length, axis=1)
        return ops.concatenate([values, behind], axis=1)[:, : self.config.max_length]

    def compute_output_shape(self, batch_shape: dict) -> tuple:
        return (*batch_shape["token_ids"], self.config.hidden_dim)

    # The output has the compute dtype, as in Keras, not float32 as in `Model`.
    compute_output_spec = keras.Model.compute_output_spec


class Layers:
    """Several layers where one is expected.

    Args:
        layers: Keras layers.

    Attributes:
        trainable: whether they are trained.
        trainable_variables: list of the variables that are.
    """

    def __init__(self, layers: Sequence[keras.Layer]) -> None:
        self._layers = layers

    @property
    def trainable(self) -> bool:
        return any(layer.trainable for layer in self._layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self._layers:
            layer.trainable = value

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        return [variable for layer in self._layers for variable in layer.trainable_variables]


def keras_hub() -> Any:
    """Return the package keras-hub, which is an extra.

    Raises:
        InputError: it is not installed, or not with what it needs.
    """
    try:
        return importlib.import_module("keras_hub")
    except ImportError as error:
        raise InputError(
            f"a preset or an encoder of KerasHub needs keras-hub ({first_line(error)}); run: "
            "pip install 'keras-hub>=0.32,<0.33'"
        ) from error


def make_backbone(name: str, arguments: Mapping[str, Any], dtype: Any = None) -> keras.Model:
    """Return a new backbone of KerasHub.

    Args:
        name: of its class in `keras_hub.models`; of those that this package knows.
        arguments: of the class.
        dtype: dtype policy; Keras' global one if not given.

    Raises:
        InputError: keras-hub is not installed, has no such class, or refuses the arguments.
    """
    hub = keras_hub()
    try:
        return getattr(hub.models, name)(**arguments, dtype=dtype)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{name}: keras-hub {hub.__version__} cannot make it from {dict(arguments)} "
            f"({first_line(error)}); give the config.json that belongs to the weights"
        ) from error
