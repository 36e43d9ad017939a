"""GPT-2, the decoder that continues a text (Radford et al. 2019).

In: the batch dict (`token_ids` int32 `[B, S]`, optionally `padding_mask` bool `[B, S]`).
Out: float32 `[B, S, V]`, at every position the logits of the next token. To generate,
`prompt` reads the prompts and `step` one token a row more, with a state between them.
Pre-norm blocks, learned positions that count real tokens only, so that padding may stand
left or right, and an output that is the token table once more.

P prompt positions, K slots of the cache, R rows (B, or more where a search repeats them).
"""

import dataclasses
import math

import keras
from keras import ops

from tfmodels.layers import kernels
from tfmodels.layers.blocks import DecoderBlock
from tfmodels.layers.dense import LayerNorm
from tfmodels.layers.embeddings import Embeddings
from tfmodels.layers.masks import causal_attention_mask, combine_masks, padding_attention_mask
from tfmodels.models.model import ConfigModel, shape_of_size


@dataclasses.dataclass(frozen=True)
class GptConfig:
    """The shape of a `Gpt`; the defaults are GPT-2, small.

    Args:
        vocabulary_size: V, entries of the vocabulary.
        num_layers: L, decoder blocks.
        hidden_dim: H, width of a state.
        num_heads: N, attention heads; divides `hidden_dim`.
        feedforward_dim: F, width inside the feed-forward parts.
        max_length: longest text, in tokens: prompt and what is generated.
        activation: `"gelu_tanh"` (the approximation by tanh), `"gelu"` or the name of a Keras
            activation.
        dropout: share of the embeddings and of each part's output that is dropped in
            training, 0 to 1.
        attention_dropout: share of the attention weights dropped in training, 0 to 1.
        epsilon: of the layer normalizations.
        initializer_range: standard deviation that new weights start from.
    """

    vocabulary_size: int = 50257
    num_layers: int = 12
    hidden_dim: int = 768
    num_heads: int = 12
    feedforward_dim: int = 3072
    max_length: int = 1024
    activation: str = "gelu_tanh"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    epsilon: float = 1e-5
    initializer_range: float = 0.02

    @classmethod
    def of_size(cls, size, **fields):
        """The config of a size of `SIZES`, with other `fields` as given.

        Raises:
            ValueError: if there is no such size.
        """
        layers, shape = shape_of_size(size, SIZES)
        return cls(**{"num_layers": layers, **shape, **fields})


# size: (num_layers, hidden_dim); the last four are those of Radford et al. 2019.
SIZES = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (12, 768),
    "medium": (24, 1024),
    "large": (36, 1280),
    "xl": (48, 1600),
}


@keras.saving.register_keras_serializable("tfmodels")
class Gpt(ConfigModel):
    """Embeddings, a stack of pre-norm decoder blocks, a normalization, the output.

    Args:
        config: a `GptConfig`.

    Call arguments:
        batch: dict with `token_ids` int `[B, S]` and optionally `padding_mask` bool `[B, S]`
            (all `True` if not given), with the padding left or right.
        training: bool.

    Returns:
        float32 `[B, S, V]`, logits of the token after each. Those at padding positions mean
        nothing.

    Raises:
        ValueError: if S is known and more than `max_length`.

    Example:
        >>> model = Gpt(GptConfig.of_size("tiny"))
        >>> logits = model({"token_ids": np.array([[464, 3290, 318]])})
        >>> tuple(logits.shape)
        (1, 3, 50257)
    """

    config_type = GptConfig

    def __init__(self, config, **kwargs):
        super().__init__(config, **kwargs)
        self.embeddings = Embeddings(
            config.vocabulary_size,
            config.hidden_dim,
            config.max_length,
            num_segments=0,
            epsilon=None,
            dropout=config.dropout,
            initializer_range=config.initializer_range,
            dtype=self.dtype_policy,
            name="embeddings",
        )
        self.blocks = [
            DecoderBlock(
                config.hidden_dim,
                config.num_heads,
                config.feedforward_dim,
                config.activation,
                config.dropout,
                config.attention_dropout,
                config.epsilon,
                norm_first=True,
                initializer_range=config.initializer_range,
                cross_attention=False,
                dtype=self.dtype_policy,
                name=f"block_{number}",
            )
            for number in range(config.num_layers)
        ]
        self.norm = LayerNorm(config.epsilon, dtype=self.dtype_policy, name="norm")
        # The 2 L parts that are added up start smaller, so that their sum is no larger for
        # more layers (section 2.3).
        deviation = config.initializer_range / math.sqrt(2 * config.num_layers)
        for block in self.blocks:
            for last in (block.attention.output_projection, block.feedforward.outer):
                last.kernel_initializer = keras.initializers.TruncatedNormal(stddev=deviation)

    def build(self, batch_shape=None):
        states_shape = (None, None, self.config.hidden_dim)
        self.embeddings.build((None, None))
        for block in self.blocks:
            block.build(states_shape)
        self.norm.build(states_shape)

    def call(self, batch, training=False):
        padding_mask = batch.get("padding_mask")
        x = self._embed(batch["token_ids"], padding_mask, training)
        mask = _prompt_mask(batch["token_ids"], padding_mask)
        for block in self.blocks:
            x = block(x, attention_mask=mask, training=training)  # [B, S, H]
        return self._logits(x, training)

    def prompt(self, batch, length, training=False):
        """Reads the prompts, all at once.

        Args:
            batch: as for a call; the padding stands left.
            length: K, int or scalar int tensor: room for P and what will be generated.
            training: bool.

        Returns:
            pair of float32 `[B, V]`, the logits of the first token to generate, and the state
            for `step`: a dict of tensors, and of tuples of them, whose first axis is rows, so
            that they can be repeated and put into another order.

        Raises:
            ValueError: if P, or `length`, is known and more than `max_length`, or `length`
                less than P.
        """
        token_ids = ops.convert_to_tensor(batch["token_ids"])
        num_rows, prompt_length = ops.shape(token_ids)
        if isinstance(length, int):
            least = token_ids.shape[1] or 1
            if not least <= length <= self.config.max_length:
                raise ValueError(
                    f"length is {length}; it must be from {least}, the prompt's, to "
                    f"max_length={self.config.max_length}"
                )
        padding_mask = batch.get("padding_mask")
        if padding_mask is None:
            padding_mask = ops.ones((num_rows, prompt_length), "bool")
        padding_mask = ops.convert_to_tensor(padding_mask)
        x = self._embed(token_ids, padding_mask, training)
        mask = _prompt_mask(token_ids, padding_mask)
        room = length - prompt_length
        caches = []
        for block in self.blocks:
            x, cache = block(x, attention_mask=mask, cache_index=0, training=training)
            empty = block.attention.new_cache(num_rows, room)
            caches.append(
                tuple(ops.concatenate(pair, 2) for pair in zip(cache, empty, strict=True))
            )
        free = ops.ones((num_rows, room), "bool")
        state = {
            "caches": tuple(caches),  # L times two float [R, N, K, D]
            "usable": ops.concatenate([padding_mask, free], 1),  # bool [R, K]: no padding
            "num_tokens": ops.sum(ops.cast(padding_mask, "int32"), 1),  # int32 [R]
            "num_slots": ops.full((num_rows,), prompt_length, "int32"),  # P in every row
        }
        return self._logits(x[:, -1], training), state

    def step(self, token_ids, index, state):
        """Reads one token a row more.

        Args:
            token_ids: int `[R]`.
            index: scalar int, how many `step`s were before.
            state: what `prompt`, or the `step` before, gave.

        Returns:
            pair of float32 `[R, V]`, the logits of the next token, and the new state.
        """
        positions = ops.expand_dims(state["num_tokens"] + index, 1)  # [R, 1]
        slot = state["num_slots"][0] + index
        filled = ops.arange(ops.shape(state["usable"])[1], dtype="int32") <= slot  # [K]
        mask = ops.expand_dims(ops.logical_and(state["usable"], filled), 1)  # [R, 1, K]
        x = self.embeddings(ops.expand_dims(token_ids, 1), position_ids=positions)  # [R, 1, H]
        caches = []
        for block, cache in zip(self.blocks, state["caches"], strict=True):
            x, cache = block(x, attention_mask=mask, cache=cache, cache_index=slot)
            caches.append(cache)
        return self._logits(x[:, 0]), {**state, "caches": tuple(caches)}

    def _embed(self, token_ids, padding_mask, training):
        positions = None
        if padding_mask is not None:  # of real tokens; 0 at padding on the left
            counted = ops.cumsum(ops.cast(padding_mask, "int32"), axis=1)
            positions = ops.maximum(counted - 1, 0)
        return self.embeddings(token_ids, position_ids=positions, training=training)

    def _logits(self, x, training=False):
        x = self.norm(x, training=training)
        table = ops.cast(self.embeddings.token, x.dtype)
        return ops.cast(kernels.product_with_rows(x, table), "float32")

    def compute_output_shape(self, batch_shape):
        return (*batch_shape["token_ids"], self.config.vocabulary_size)

    def compute_output_spec(self, batch, training=False):
        shape = self.compute_output_shape({name: x.shape for name, x in batch.items()})
        return keras.KerasTensor(shape, "float32")


def _prompt_mask(token_ids, padding_mask):
    """Every token may look at the real ones up to itself: bool `[1 or B, S, S]`."""
    real = None if padding_mask is None else padding_attention_mask(padding_mask)
    return combine_masks(causal_attention_mask(ops.shape(token_ids)[1]), real)
