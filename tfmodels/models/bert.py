"""BERT's encoder (Devlin et al. 2018, arXiv:1810.04805).

In: the batch dict (`token_ids` int32 `[B, S]`, optionally `segment_ids` int32 `[B, S]`
and `padding_mask` bool `[B, S]`). Out: float `[B, S, H]`, one state for each token.
Models with a head (such as `Classifier`) contain an encoder.
"""

import dataclasses
from typing import Any

import keras
from keras import KerasTensor

from tfmodels.layers.blocks import EncoderBlock
from tfmodels.layers.embeddings import Embeddings
from tfmodels.layers.masks import padding_attention_mask
from tfmodels.models.model import Config, ConfigModel, inspect_blocks, read_batch, run_blocks

# size: (num_layers, hidden_dim); Turc et al. 2019 (arXiv:1908.08962) and Devlin et al. 2018.
SIZES = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
    "large": (24, 1024),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertConfig(Config):
    """The config of a `Bert`; the defaults are BERT-base, uncased.

    Args:
        num_layers: L, number of encoder blocks.
        num_segments: number of segment ids.

    Further fields are those of `Config`.
    """

    vocabulary_size: int = 30522
    num_layers: int = 12
    max_length: int = 512
    num_segments: int = 2
    epsilon: float = 1e-12

    sizes = SIZES


@keras.saving.register_keras_serializable("tfmodels")
class Bert(ConfigModel):
    """Embeddings and a stack of post-norm encoder blocks.

    Args:
        config: a `BertConfig`.

    Call arguments:
        batch: dict with `token_ids` int `[B, S]`, and optionally `segment_ids` int
            `[B, S]` (defaults to all 0), `padding_mask` bool `[B, S]` (defaults to all
            `True`) and `token_embeddings`, see `Embeddings`.
        training: bool.

    Call returns:
        float `[B, S, H]`, of the compute dtype. States at padding positions are undefined.

    Example:
        >>> encoder = Bert(BertConfig.of_size("tiny"))
        >>> states = encoder({"token_ids": np.array([[101, 7592, 102]])})
        >>> tuple(states.shape)
        (1, 3, 128)
    """

    config_type = BertConfig
    default_name = "encoder"

    def __init__(self, config: BertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.embeddings = Embeddings(
            config.vocabulary_size,
            **config.embeddings(),
            num_segments=config.num_segments,
            epsilon=config.epsilon,
            dtype=self.dtype_policy,
            name="embeddings",
        )
        self.blocks = [
            EncoderBlock(**config.block(), dtype=self.dtype_policy, name=f"block_{number}")
            for number in range(config.num_layers)
        ]
        self.build()

    def call(self, batch: dict, training: bool = False) -> KerasTensor:
        padding_mask = batch.get("padding_mask")
        mask = padding_attention_mask(padding_mask)
        x = self.embeddings(
            batch["token_ids"], batch.get("segment_ids"),
            token_embeddings=batch.get("token_embeddings"), training=training,
        )  # fmt: skip
        return run_blocks(self.blocks, x, padding_mask, attention_mask=mask, training=training)

    def inspect(self, batch: dict) -> dict:
        """Return the states and attention scores of all layers, see `inspect_blocks`."""
        batch = read_batch(batch)
        x = self.embeddings(batch["token_ids"], batch.get("segment_ids"))
        return inspect_blocks(self.blocks, x, padding_attention_mask(batch.get("padding_mask")))

    def compute_output_shape(self, batch_shape: dict) -> tuple:
        return (*batch_shape["token_ids"], self.config.hidden_dim)

    # The output has the compute dtype, as in Keras, not float32 as in `Model`.
    compute_output_spec = keras.Model.compute_output_spec
