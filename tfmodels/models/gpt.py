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
from typing import Any

import keras
from keras import KerasTensor, ops

from tfmodels.layers import kernels
from tfmodels.layers.blocks import DecoderBlock
from tfmodels.layers.dense import LayerNorm
from tfmodels.layers.embeddings import Embeddings
from tfmodels.layers.masks import causal_attention_mask, combine_masks, padding_attention_mask
from tfmodels.models.model import Config, ConfigModel, inspect_blocks, read_batch

# size: (num_layers, hidden_dim); the last four are those of Radford et al. 2019.
SIZES = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (12, 768),
    "medium": (24, 1024),
    "large": (36, 1280),
    "xl": (48, 1600),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GptConfig(Config):
    """The shape of a `Gpt`; the defaults are GPT-2, small.

    Args:
        num_layers: L, decoder blocks.

    All other fields are those of `Config`.
    """

    vocabulary_size: int = 50257
    num_layers: int = 12
    activation: str = "gelu_tanh"

    sizes = SIZES


@keras.saving.register_keras_serializable("tfmodels")
class Gpt(ConfigModel):
    """Embeddings, a stack of pre-norm decoder blocks, a normalization, the output.

    Args:
        config: a `GptConfig`.

    Call arguments:
        batch: dict with `token_ids` int `[B, S]` and optionally `padding_mask` bool `[B, S]`
            (all `True` if not given), with the padding left or right.
        training: bool.

    Call returns:
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
    inputs_of_export = ("token_ids", "padding_mask")

    def __init__(self, config: GptConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.embeddings = Embeddings(
            config.vocabulary_size,
            **config.embeddings(),
            num_segments=0,
            epsilon=None,
            dtype=self.dtype_policy,
            name="embeddings",
        )
        self.blocks = [
            DecoderBlock(
                **config.block(),
                norm_first=True,
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
        self.build()

    def call(self, batch: dict, training: bool = False) -> KerasTensor:
        x, mask = self._embed(batch, training)
        for block in self.blocks:
            x = block(x, attention_mask=mask, training=training)  # [B, S, H]
        return self._logits(x, training)

    def inspect(self, batch: dict) -> dict:
        """Return the states of all layers of a batch and their attention, see `inspect_blocks`.

        The last states are normalized: what the logits are made of.
        """
        found = inspect_blocks(self.blocks, *self._embed(read_batch(batch)))
        found["hidden_states"][-1] = self.norm(found["hidden_states"][-1])
        return found

    def prompt(self, batch: dict, length: int | KerasTensor) -> tuple[KerasTensor, dict]:
        """Reads the prompts, all at once.

        Args:
            batch: as for a call; the padding stands left.
            length: K, int or scalar int tensor: room for P and what will be generated.

        Returns:
            pair of float32 `[B, V]`, the logits of the first token to generate, and the state
            for `step`: a dict of tensors, and of tuples of them, whose first axis is rows, so
            that they can be repeated and put into another order.

        Raises:
            ValueError: if P, or `length`, is known and more than `max_length`, or `length`
                less than P.
        """
        batch = read_batch(batch)
        self._check_room(batch["token_ids"], length)
        num_rows, prompt_length = ops.shape(batch["token_ids"])
        padding_mask = batch.get("padding_mask")
        if padding_mask is None:
            padding_mask = ops.ones((num_rows, prompt_length), "bool")
        x, mask = self._embed({**batch, "padding_mask": padding_mask})
        room = length - prompt_length
        caches = []
        for block in self.blocks:
            x, cache = block(x, attention_mask=mask, cache_index=0)
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
        return self._logits(x[:, -1]), state

    def step(
        self, token_ids: KerasTensor, index: int | KerasTensor, state: dict
    ) -> tuple[KerasTensor, dict]:
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

    def _embed(self, batch, training=False):
        """Return the embeddings, and who may look at whom: the real ones up to itself."""
        token_ids, padding_mask = batch["token_ids"], batch.get("padding_mask")
        mask = causal_attention_mask(ops.shape(token_ids)[1])
        mask = combine_masks(mask, padding_attention_mask(padding_mask))  # [1 or B, S, S]
        positions = None
        if padding_mask is not None:  # of real tokens; 0 at padding on the left
            counted = ops.cumsum(ops.cast(padding_mask, "int32"), axis=1)
            positions = ops.maximum(counted - 1, 0)
        return self.embeddings(token_ids, position_ids=positions, training=training), mask

    def _logits(self, x, training=False):
        x = self.norm(x, training=training)
        table = ops.cast(self.embeddings.token, x.dtype)
        return ops.cast(kernels.product_with_rows(x, table), "float32")

    def compute_output_shape(self, batch_shape: dict) -> tuple:
        return (*batch_shape["token_ids"], self.config.vocabulary_size)
