"""Encoders that are no Transformers: what a Transformer has to beat on the same tokens.

In: the batch dict, as of `Bert`. Out: float `[B, S, H]`, one state for each token, for a
`Classifier`: a bag of embeddings (`"bag"`, with the mean over the tokens), the convolutions of
TextCNN (`"cnn"`, Kim 2014, arXiv:1408.5882, with the maximum), or Keras' recurrent layers in both
directions (`"lstm"`, `"gru"`, with the mean). No position is known to a bag; padding changes no
state of a real token.

E = width of an embedding, U = units of a layer.
"""

import dataclasses
from typing import Any

import keras
from keras import KerasTensor, ops

from tfmodels.errors import InputError
from tfmodels.layers.embeddings import Embeddings
from tfmodels.models.bert import SIZES
from tfmodels.models.model import ConfigModel

ARCHITECTURES = ("bag", "cnn", "lstm", "gru")
WIDTHS = (3, 4, 5)  # tokens that a convolution sees


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaselineConfig:
    """The config of a `BaselineEncoder`.

    Args:
        architecture: "bag", "cnn", "lstm" or "gru".
        vocabulary_size: V.
        embedding_dim: E; a convolution of each width, and a recurrent layer in each direction, has
            half as many units.
        max_length: maximum number of tokens of a text.
        dropout: fraction of the embeddings to drop in training, 0 to 1.
        initializer_range: standard deviation of the initializer of the embeddings and the head.

    Raises:
        InputError: there is no such architecture.
    """

    architecture: str
    vocabulary_size: int = 30522
    embedding_dim: int = 256
    max_length: int = 512
    dropout: float = 0.3
    initializer_range: float = 0.05

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise InputError(
                f"architecture {self.architecture}: give one of {', '.join(ARCHITECTURES)}"
            )

    @classmethod
    def of_size(cls, size: str, **fields: Any) -> "BaselineConfig":
        """Return the config with the width of a size of `Bert`; there is always one layer."""
        return cls(embedding_dim=SIZES[size][1], **fields)

    @property
    def units(self) -> int:
        """U."""
        return self.embedding_dim // 2

    @property
    def hidden_dim(self) -> int:
        """H, the width of a state."""
        return len(WIDTHS) * self.units if self.architecture == "cnn" else self.embedding_dim

    @property
    def pooling(self) -> str:
        """How a classifier pools the states, see `Pooler`."""
        return "max" if self.architecture == "cnn" else "mean"


@keras.saving.register_keras_serializable("tfmodels")
class BaselineEncoder(ConfigModel):
    """Embeddings and, unless it is a bag, one layer of convolutions or recurrent ones.

    Args:
        config: a `BaselineConfig`.

    Call arguments:
        batch: dict with `token_ids` int `[B, S]`, and optionally `padding_mask` bool `[B, S]`
            (defaults to all `True`) and `token_embeddings`, see `Embeddings`.
        training: bool.

    Call returns:
        float `[B, S, H]`, of the compute dtype. States at padding positions are undefined.
    """

    config_type: Any = BaselineConfig
    default_name = "encoder"

    def __init__(self, config: BaselineConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)  # type: ignore[arg-type]
        same = {"dtype": self.dtype_policy}
        self.embeddings = Embeddings(
            config.vocabulary_size, config.embedding_dim, config.max_length, num_segments=0,
            epsilon=None, dropout=config.dropout, initializer_range=config.initializer_range,
            positions="none", name="embeddings", **same,
        )  # fmt: skip
        self.blocks: list = []
        if config.architecture == "cnn":
            for width in WIDTHS:
                layer = keras.layers.Conv1D(
                    config.units, width, padding="same", activation="relu",
                    name=f"convolution_{width}", **same,
                )  # fmt: skip
                setattr(self, layer.name, layer)
                self.blocks.append(layer)
        elif config.architecture in ("lstm", "gru"):
            kind = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[config.architecture]
            # Not cuDNN's: an export must run on a server without a GPU.
            one = kind(config.units, return_sequences=True, use_cudnn=False, **same)
            self.recurrent = keras.layers.Bidirectional(one, name="recurrent", **same)
            self.blocks.append(self.recurrent)
        self.build()

    def build(self, batch_shape: dict | None = None) -> None:
        self.embeddings.build()
        for layer in self.blocks:
            if not layer.built:
                layer.build((None, None, self.config.embedding_dim))

    def call(self, batch: dict, training: bool = False) -> KerasTensor:
        x = self.embeddings(
            batch["token_ids"], token_embeddings=batch.get("token_embeddings"), training=training
        )  # [B, S, E]
        mask = batch.get("padding_mask")
        if mask is None:
            mask = ops.ones(ops.shape(x)[:2], "bool")
        real = ops.cast(ops.expand_dims(mask, -1), x.dtype)  # [B, S, 1]
        if self.config.architecture == "cnn":
            x = x * real  # zeros, as beyond the end of the text
            x = ops.concatenate([layer(x) for layer in self.blocks], -1)  # [B, S, 3 U]
        elif self.blocks:
            # The product is without the mask that Keras attaches, of which other layers warn.
            x = self.recurrent(x, mask=mask, training=training) * real  # [B, S, 2 U]
        return x

    def compute_output_shape(self, batch_shape: dict) -> tuple:
        return (*batch_shape["token_ids"], self.config.hidden_dim)

    # The output has the compute dtype, as in Keras, not float32 as in `Model`.
    compute_output_spec = keras.Model.compute_output_spec
