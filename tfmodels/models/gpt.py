"""GPT-2, a decoder-only language model (Radford et al. 2019).

In: the batch dict (`token_ids` int32 `[B, S]`, optionally `padding_mask` bool `[B, S]` or
`sequence_ids` int32 `[B, S]`).
Out: float32 `[B, S, V]`, at every position the logits of the next token. To generate,
`prompt` processes the prompts and `step` one more token of each row; both return a state.
Pre-norm blocks, learned positions that skip padding, which may thus be left or right, and
output weights tied to the token embeddings.

P prompt positions, K positions of the cache, R rows (B, or more if a beam search repeats them).
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
from tfmodels.layers.masks import (
    causal_attention_mask,
    combine_masks,
    padding_attention_mask,
    sequence_attention_mask,
    sequence_positions,
)
from tfmodels.models.model import Config, ConfigModel, inspect_blocks, read_batch, run_blocks

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
    """The config of a `Gpt`; the defaults are GPT-2, small.

    Args:
        num_layers: L, number of decoder blocks.

    Further fields are those of `Config`.
    """

    vocabulary_size: int = 50257
    num_layers: int = 12
    activation: str = "gelu_tanh"

    sizes = SIZES


@keras.saving.register_keras_serializable("tfmodels")
class Gpt(ConfigModel):
    """Embeddings, a stack of pre-norm decoder blocks, a normalization and the tied output.

    Args:
        config: a `GptConfig`.

    Call arguments:
        batch: dict with `token_ids` int `[B, S]` and optionally `padding_mask` bool `[B, S]`
            (defaults to all `True`), with the padding left or right; or `sequence_ids` int
            `[B, S]`, see `Bert`.
        training: bool.

    Returns:
        float32 `[B, S, V]`: at every position the logits of the next token; undefined at
        padding positions.

    Raises:
        ValueError: if S is known and exceeds `max_length`.

    Example:
        >>> model = Gpt(GptConfig.of_size("tiny"))
        >>> logits = model({"token_ids": np.array([[464, 3290, 318]])})
        >>> tuple(logits.shape)
        (1, 3, 50257)
    """

    config_type = GptConfig
    inputs_of_export = ("token_ids", "padding_mask")
    packed = True

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
        # The last layers of the 2 L residual branches start smaller, so that their sum does not
        # grow with the number of layers (section 2.3).
        deviation = config.initializer_range / math.sqrt(2 * config.num_layers)
        for block in self.blocks:
            for last in (block.attention.output_projection, block.feedforward.outer):
                last.kernel_initializer = keras.initializers.TruncatedNormal(stddev=deviation)
        self.build()

    def call(self, batch: dict, training: bool = False) -> KerasTensor:
        x, mask = self._embed(batch, training)
        x = run_blocks(self.blocks, x, remat=self.remat, attention_mask=mask, training=training)
        return self._logits(x, training)

    def inspect(self, batch: dict) -> dict:
        """Return the states and attention scores of all layers, see `inspect_blocks`.

        The last states are normalized: the logits are computed from them.
        """
        result = inspect_blocks(self.blocks, *self._embed(read_batch(batch, packed=True)))
        result["hidden_states"][-1] = self.norm(result["hidden_states"][-1])
        return result

    def prompt(self, batch: dict, length: int | KerasTensor) -> tuple[KerasTensor, dict]:
        """Process the prompts in one pass.

        Args:
            batch: as in `call`, with the padding left.
            length: K, int or scalar int tensor: maximum length of prompt and new tokens.

        Returns:
            pair of float32 `[B, V]`, the logits of the first new token, and the state for
            `step`: a dict of tensors and tuples of tensors. Their first axis is rows, which may
            be repeated and reordered.

        Raises:
            ValueError: if P or `length` is known and exceeds `max_length`, or `length` is
                smaller than P.
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
            "usable": ops.concatenate([padding_mask, free], 1),  # bool [R, K]: not padding
            "num_tokens": ops.sum(ops.cast(padding_mask, "int32"), 1),  # int32 [R]
            "num_slots": ops.full((num_rows,), prompt_length, "int32"),  # P in every row
        }
        return self._logits(x[:, -1]), state

    def step(
        self, token_ids: KerasTensor, index: int | KerasTensor, state: dict
    ) -> tuple[KerasTensor, dict]:
        """Process one more token of each row.

        Args:
            token_ids: int `[R]`.
            index: scalar int, number of previous calls of `step`.
            state: the state from `prompt` or the previous `step`.

        Returns:
            pair of float32 `[R, V]`, the logits of the next token, and the new state.
        """
        with kernels.one_token():
            return self._step(token_ids, index, state)

    def _step(self, token_ids, index, state):
        positions = ops.expand_dims(state["num_tokens"] + index, 1)  # [R, 1]
        slot = state["num_slots"][0] + index
        filled = ops.arange(ops.shape(state["usable"])[1], dtype="int32") <= slot  # [K]
        mask = ops.expand_dims(ops.logical_and(state["usable"], filled), 1)  # [R, 1, K]
        x = self.embeddings(ops.expand_dims(token_ids, 1), position_ids=positions)
        x, caches = ops.reshape(x, (-1, self.config.hidden_dim)), []  # [R, H]
        places = kernels.cache_places(state["caches"][0][0], slot, 1)
        for block, cache in zip(self.blocks, state["caches"], strict=True):
            x, cache = block(x, attention_mask=mask, cache=cache, cache_index=places, length=1)
            caches.append(cache)
        return self._logits(x), {**state, "caches": tuple(caches)}

    def _embed(self, batch, training=False):
        """Return the embeddings and the attention mask: causal, and `False` at padding."""
        token_ids, padding_mask = batch["token_ids"], batch.get("padding_mask")
        sequence_ids, positions = batch.get("sequence_ids"), None
        mask = causal_attention_mask(ops.shape(token_ids)[1])
        if sequence_ids is not None:
            same = sequence_attention_mask(sequence_ids)
            mask, positions = combine_masks(mask, same), sequence_positions(same)
        elif padding_mask is not None:  # count real tokens; 0 at padding on the left
            mask = combine_masks(mask, padding_attention_mask(padding_mask))  # [B, S, S]
            counted = ops.cumsum(ops.cast(padding_mask, "int32"), axis=1)
            positions = ops.maximum(counted - 1, 0)
        return self.embeddings(token_ids, position_ids=positions, training=training), mask

    def _logits(self, x, training=False):
        x = self.norm(x, training=training)
        return kernels.product_with_rows(x, self.embeddings.token)

    def compute_output_shape(self, batch_shape: dict) -> tuple:
        return (*batch_shape["token_ids"], self.config.vocabulary_size)
