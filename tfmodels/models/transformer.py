"""The encoder-decoder Transformer (Vaswani et al. 2017), BART (Lewis et al. 2019) and MarianMT.

In: the batch dict (`token_ids` int32 `[B, S]`, the source, optionally its `padding_mask` bool
`[B, S]`; `decoder_token_ids` int32 `[B, T]`, the target from its start token on). Out: float32
`[B, T, V]`, at every position of the target the logits of the next token. To generate, `prompt`
processes the sources and the starts of the targets, and `step` one more token of each row; both
return a state. The config selects the architecture: `TransformerConfig()` is BART-base,
`TransformerConfig.of_size("small", **PAPER)` the base model of Vaswani et al.

K positions of the cache, R rows (B, or more if a beam search repeats them).
"""

import dataclasses
import math
from typing import Any

import keras
from keras import KerasTensor, ops

from tfmodels.layers import kernels
from tfmodels.layers.blocks import DecoderBlock, EncoderBlock
from tfmodels.layers.dense import LayerNorm
from tfmodels.layers.embeddings import Embeddings
from tfmodels.layers.masks import causal_attention_mask, padding_attention_mask
from tfmodels.models.model import Config, ConfigModel, read_batch, run_blocks

# size: (layers of each stack, hidden_dim); "small" is the base model of Vaswani et al. 2017,
# "base" and "large" are those of Lewis et al. 2019.
SIZES = {"tiny": (2, 128), "mini": (4, 256), "small": (6, 512), "base": (6, 768)}
SIZES |= {"large": (12, 1024)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerConfig(Config):
    """The config of a `Transformer`; the defaults are BART-base.

    Args:
        num_encoder_layers: number of encoder blocks.
        num_decoder_layers: number of decoder blocks.
        norm_first: whether to normalize the input of each sublayer and the output of each
            stack (pre-norm) instead of the sum after each sublayer (post-norm).
        positions: `"learned"`, `"sinusoidal"` or `"sinusoidal_halves"`, see `Embeddings`.
        embedding_norm: whether to normalize the embeddings.
        scale_embeddings: whether to multiply the token embeddings by sqrt(H).

    Further fields are those of `Config`.
    """

    vocabulary_size: int = 50265
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    norm_first: bool = False
    positions: str = "learned"
    embedding_norm: bool = True
    scale_embeddings: bool = False
    attention_dropout: float = 0.0

    sizes = SIZES
    stacks = ("num_encoder_layers", "num_decoder_layers")


# The fields in which Vaswani et al. 2017 differ from BART.
PAPER = {
    "positions": "sinusoidal",
    "embedding_norm": False,
    "scale_embeddings": True,
    "activation": "relu",
}


@keras.saving.register_keras_serializable("tfmodels")
class Transformer(ConfigModel):
    """An encoder, a decoder with cross-attention, and an output tied to the embeddings.

    Args:
        config: a `TransformerConfig`.

    Call arguments:
        batch: dict with `token_ids` int `[B, S]`, `decoder_token_ids` int `[B, T]`, and
            optionally `padding_mask` bool `[B, S]` (defaults to all `True`). The padding is on
            the right. The target needs no mask, as its attention is causal. Other keys are
            ignored.
        training: bool.

    Returns:
        float32 `[B, T, V]`: at every position of the target the logits of the next token;
        undefined at padding positions.

    Raises:
        ValueError: if S or T is known and exceeds `max_length`.

    Example:
        >>> model = Transformer(TransformerConfig.of_size("tiny"))
        >>> batch = {"token_ids": np.array([[0, 713, 2]]), "decoder_token_ids": np.array([[2, 0]])}
        >>> tuple(model(batch).shape)
        (1, 2, 50265)
    """

    config_type = TransformerConfig
    inputs_of_export = ("token_ids", "padding_mask", "decoder_token_ids")
    required = ("token_ids", "decoder_token_ids")

    def __init__(self, config: TransformerConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.embeddings = self._embeddings(config.vocabulary_size, "embeddings")
        self.decoder_embeddings = self._embeddings(0, "decoder_embeddings")
        self.encoder_blocks = self._blocks(EncoderBlock, config.num_encoder_layers, "encoder")
        self.decoder_blocks = self._blocks(DecoderBlock, config.num_decoder_layers, "decoder")
        self.encoder_norm, self.decoder_norm = (
            LayerNorm(config.epsilon, dtype=self.dtype_policy, name=f"{stack}_norm")
            if config.norm_first
            else None
            for stack in ("encoder", "decoder")
        )
        self.build()

    def _embeddings(self, vocabulary_size, name):
        config = self.config
        return Embeddings(
            vocabulary_size,
            **config.embeddings(),
            num_segments=0,
            epsilon=config.epsilon if config.embedding_norm else None,
            positions=config.positions,
            scale=math.sqrt(config.hidden_dim) if config.scale_embeddings else 1.0,
            dtype=self.dtype_policy,
            name=name,
        )

    def _blocks(self, kind, number, stack):
        config = self.config
        return [
            kind(
                **config.block(),
                norm_first=config.norm_first,
                dtype=self.dtype_policy,
                name=f"{stack}_block_{place}",
            )
            for place in range(number)
        ]

    def build(self, batch_shape: dict | None = None) -> None:
        if self.built:
            return
        super().build()
        # BART's `final_logits_bias`; float32 like the logits.
        self.output_bias = self.add_weight(
            (self.config.vocabulary_size,),
            initializer="zeros",
            name="output_bias",
            dtype="float32",
            autocast=False,
        )

    def call(self, batch: dict, training: bool = False) -> KerasTensor:
        encoded = self.encode(batch, training)
        encoded_mask = padding_attention_mask(batch.get("padding_mask"))
        token_ids = batch["decoder_token_ids"]
        mask = causal_attention_mask(ops.shape(token_ids)[1])
        x = self._embed_target(token_ids, training=training)
        x = run_blocks(
            self.decoder_blocks, x, remat=self.remat, attention_mask=mask, encoded=encoded,
            encoded_mask=encoded_mask, training=training,
        )  # fmt: skip
        return self._logits(x, training)

    def encode(self, batch: dict, training: bool = False) -> KerasTensor:
        """Return the states of the encoder.

        Args:
            batch: as in `call`; the target is ignored.
            training: bool.

        Returns:
            float `[B, S, H]`, of the compute dtype. States at padding positions are undefined.
        """
        batch = read_batch(batch)
        padding_mask = batch.get("padding_mask")
        mask = padding_attention_mask(padding_mask)
        x = self.embeddings(batch["token_ids"], training=training)
        x = run_blocks(
            self.encoder_blocks, x, padding_mask, self.remat, attention_mask=mask, training=training
        )
        return x if self.encoder_norm is None else self.encoder_norm(x, training=training)

    def alignment(self, batch: dict) -> KerasTensor:
        """Return how much each token of the target attends to each of the source.

        Of the last decoder block but one, where the attention is nearest to an alignment of words
        (Garg et al. 2019, arXiv:1909.02074), the mean over its heads.

        Args:
            batch: as in `call`.

        Returns:
            float `[B, T, S]`; at position t the weights for predicting the token after it.
        """
        encoded, mask = self.encode(batch), padding_attention_mask(batch.get("padding_mask"))
        token_ids = batch["decoder_token_ids"]
        x = self._embed_target(token_ids)
        arguments = {
            "attention_mask": causal_attention_mask(ops.shape(token_ids)[1]),
            "encoded": encoded, "encoded_mask": mask,
        }  # fmt: skip
        *before, block = self.decoder_blocks[: max(len(self.decoder_blocks) - 1, 1)]
        x = run_blocks(before, x, **arguments)
        *_, scores = block(x, **arguments, return_cross_attention_scores=True)
        return ops.mean(ops.cast(scores, "float32"), 1)

    def prompt(self, batch: dict, length: int | KerasTensor) -> tuple[KerasTensor, dict]:
        """Process the sources and the starts of the targets in one pass.

        Args:
            batch: as in `call`; the target is T start tokens in every row, without padding.
            length: K, int or scalar int tensor: maximum length of start and new tokens.

        Returns:
            pair of float32 `[B, V]`, the logits of the first new token, and the state for
            `step`: nested dicts and tuples of tensors. Their first axis is rows, which may be
            repeated and reordered. Tensors that depend on the source only are under `"fixed"`,
            so that rows with the same source can share them.

        Raises:
            ValueError: if T or `length` is known and exceeds `max_length`, or `length` is
                smaller than T.
        """
        batch = read_batch(batch, self.required)
        token_ids = batch["decoder_token_ids"]
        self._check_room(token_ids, length)
        num_rows, prompt_length = ops.shape(token_ids)
        encoded = self.encode(batch)
        encoded_mask = padding_attention_mask(batch.get("padding_mask"))
        if encoded_mask is None:
            encoded_mask = ops.ones((num_rows, 1, ops.shape(encoded)[1]), "bool")
        blocks = self.decoder_blocks
        state = {
            # Pairs for each block: float [R, N, K, D]; for the source below, [R, N, S, D].
            "caches": tuple(block.attention.new_cache(num_rows, length) for block in blocks),
            "num_slots": ops.full((num_rows,), prompt_length, "int32"),  # T in every row
            "fixed": {
                "encoded": tuple(block.cross_attention.project(encoded) for block in blocks),
                "encoded_mask": encoded_mask,  # bool [R, 1, S]
            },
        }
        return self._read(token_ids, 0, state)

    def step(
        self, token_ids: KerasTensor, index: int | KerasTensor, state: dict
    ) -> tuple[KerasTensor, dict]:
        """Process one more token of each row.

        Args:
            token_ids: int `[R]`; or `[B, n]`, R = B * n, if n rows share what is `"fixed"`.
            index: scalar int, number of previous calls of `step`.
            state: the state from `prompt` or the previous `step`.

        Returns:
            pair of float32 `[R, V]`, the logits of the next token, and the new state.
        """
        sharing = token_ids.shape[1] if len(token_ids.shape) == 2 else 1
        token_ids = ops.reshape(token_ids, (-1, 1))
        with kernels.one_token():
            return self._read(token_ids, state["num_slots"][0] + index, state, sharing)

    def _read(self, token_ids, slot, state, sharing=1):
        """Process tokens int `[R, T]`, written to the cache from position `slot` on."""
        length, num_slots = ops.shape(token_ids)[1], ops.shape(state["caches"][0][0])[2]
        fixed = state["fixed"]
        mask = causal_attention_mask(length, num_slots, slot)  # [1, T, K]
        positions = ops.expand_dims(ops.arange(length, dtype="int32") + slot, 0)  # [1, T]
        x = self._embed_target(token_ids, positions)
        x, caches = ops.reshape(x, (-1, self.config.hidden_dim)), []  # [R * T, H]
        places = kernels.cache_places(state["caches"][0][0], slot, length)
        for block, cache, encoded in zip(
            self.decoder_blocks, state["caches"], fixed["encoded"], strict=True
        ):
            x, cache = block(
                x,
                attention_mask=mask,
                encoded_mask=fixed["encoded_mask"],
                cache=cache,
                cache_index=places,
                encoded_cache=encoded,
                sharing=sharing,
                length=length,
            )
            caches.append(cache)
        x = ops.reshape(x, (-1, length, self.config.hidden_dim))
        return self._logits(x[:, -1]), {**state, "caches": tuple(caches)}

    def _embed_target(self, token_ids, position_ids=None, training=False):
        return self.decoder_embeddings(
            token_ids,
            position_ids=position_ids,
            token_table=self.embeddings.token,
            training=training,
        )

    def _logits(self, x, training=False):
        if self.decoder_norm is not None:
            x = self.decoder_norm(x, training=training)
        return kernels.product_with_rows(x, self.embeddings.token, self.output_bias)

    def compute_output_shape(self, batch_shape: dict) -> tuple:
        return (*batch_shape["decoder_token_ids"], self.config.vocabulary_size)
