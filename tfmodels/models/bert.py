"""BERT's encoder (Devlin et al. 2018, arXiv:1810.04805).

In: the batch dict (`token_ids` int32 `[B, S]`, optionally `segment_ids` int32 `[B, S]`
and `padding_mask` bool `[B, S]`). Out: float `[B, S, H]`, one state a token. Heads
(`Classifier`, ...) take the encoder and the batch; see `models/classifier.py`.
"""

import dataclasses

import keras

from tfmodels.layers.blocks import EncoderBlock
from tfmodels.layers.embeddings import Embeddings
from tfmodels.layers.masks import padding_attention_mask
from tfmodels.models.model import ConfigModel, shape_of_size


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """The shape of a `Bert`; the defaults are BERT-base, uncased.

    Args:
        vocabulary_size: V, entries of the WordPiece vocabulary.
        num_layers: L, encoder blocks.
        hidden_dim: H, width of a state.
        num_heads: N, attention heads; divides `hidden_dim`.
        feedforward_dim: F, width inside the feed-forward parts.
        max_length: longest sequence, in tokens.
        num_segments: how many segment ids there are.
        activation: `"gelu"` (the exact one), `"gelu_tanh"` or the name of a Keras activation.
        dropout: share of each part's output that is dropped in training, 0 to 1.
        attention_dropout: share of the attention weights dropped in training, 0 to 1.
        epsilon: of the layer normalizations.
        initializer_range: standard deviation that new weights start from.
    """

    vocabulary_size: int = 30522
    num_layers: int = 12
    hidden_dim: int = 768
    num_heads: int = 12
    feedforward_dim: int = 3072
    max_length: int = 512
    num_segments: int = 2
    activation: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    epsilon: float = 1e-12
    initializer_range: float = 0.02

    @classmethod
    def of_size(cls, size, **fields):
        """The config of a size of `SIZES`, with other `fields` as given.

        Raises:
            ValueError: if there is no such size.
        """
        layers, shape = shape_of_size(size, SIZES)
        return cls(**{"num_layers": layers, **shape, **fields})


# size: (num_layers, hidden_dim); Turc et al. 2019 (arXiv:1908.08962) and Devlin et al. 2018.
SIZES = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
    "large": (24, 1024),
}


@keras.saving.register_keras_serializable("tfmodels")
class Bert(ConfigModel):
    """Embeddings and a stack of post-norm encoder blocks.

    Args:
        config: a `BertConfig`.

    Call arguments:
        batch: dict with `token_ids` int `[B, S]`, and optionally `segment_ids` int
            `[B, S]` (all 0 if not given) and `padding_mask` bool `[B, S]` (all `True`
            if not given).
        training: bool.

    Returns:
        float `[B, S, H]`, of the compute dtype. States at padding positions mean nothing.

    Example:
        >>> encoder = Bert(BertConfig.of_size("tiny"))
        >>> states = encoder({"token_ids": np.array([[101, 7592, 102]])})
        >>> tuple(states.shape)
        (1, 3, 128)
    """

    config_type = BertConfig

    def __init__(self, config, **kwargs):
        super().__init__(config, **kwargs)
        self.embeddings = Embeddings(
            config.vocabulary_size,
            config.hidden_dim,
            config.max_length,
            config.num_segments,
            config.epsilon,
            config.dropout,
            config.initializer_range,
            dtype=self.dtype_policy,
            name="embeddings",
        )
        self.blocks = [
            EncoderBlock(
                config.hidden_dim,
                config.num_heads,
                config.feedforward_dim,
                config.activation,
                config.dropout,
                config.attention_dropout,
                config.epsilon,
                initializer_range=config.initializer_range,
                dtype=self.dtype_policy,
                name=f"block_{number}",
            )
            for number in range(config.num_layers)
        ]

    def build(self, batch_shape=None):
        self.embeddings.build((None, None))
        for block in self.blocks:
            block.build((None, None, self.config.hidden_dim))

    def call(self, batch, training=False):
        padding_mask = batch.get("padding_mask")
        mask = None if padding_mask is None else padding_attention_mask(padding_mask)
        x = self.embeddings(batch["token_ids"], batch.get("segment_ids"), training=training)
        for block in self.blocks:
            x = block(x, attention_mask=mask, training=training)  # [B, S, H]
        return x

    def compute_output_shape(self, batch_shape):
        return (*batch_shape["token_ids"], self.config.hidden_dim)
