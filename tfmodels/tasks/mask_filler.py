"""A pretrained BERT as signatures: strings in, words for `[MASK]` or a vector of the text out.

In: a `BertPretrainer` and its tokenizer. Out: what `saved_model.save` writes.
"""

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.layers.heads import Pooler
from tfmodels.models.pretrainer import BertPretrainer
from tfmodels.tasks.signatures import BATCH, TEXT, longest_text
from tfmodels.text.batching import encode
from tfmodels.text.wordpiece import WordPieceTokenizer


def fill_mask_signatures(
    model: BertPretrainer,
    tokenizer: WordPieceTokenizer,
    top_k: int = 5,
    max_length: int | None = None,
) -> dict:
    """The signatures of a pretrained BERT.

    Args:
        model: a `BertPretrainer`.
        tokenizer: a `WordPieceTokenizer` with `[MASK]`.
        top_k: K, answers for each `[MASK]`.
        max_length: maximum number of tokens of a text; the rest is cut. As many as the model has
            positions for if not given.

    Returns:
        dict from signature name to `(function, specs)`, see `saved_model.save`:
        `fill_mask` (also `serving_default`) on `text` string `[B]` gives `token` string
        `[B, M, K]` and `score` float32 `[B, M, K]`, the most likely first; M is the largest
        number of `[MASK]` in a text, and a text with fewer has `""` and 0 there. `embed` on
        `text` gives `embedding` float32 `[B, H]`, the mean of the states of all tokens.
        `token_ids` on `token_ids`, `segment_ids` int32 `[B, S]` and `padding_mask` bool
        `[B, S]` gives both.

    Raises:
        InputError: the model has fewer positions than `max_length`, or the vocabulary no
            `[MASK]` or fewer than `top_k` tokens.
    """
    max_length = longest_text(model.encoder.config, max_length)
    if tokenizer.mask_id is None:
        raise InputError("the vocabulary has no [MASK]; use the one the model was pretrained with")
    if not 1 <= top_k <= tokenizer.vocabulary_size:
        raise InputError(f"top_k {top_k}: give 1 to {tokenizer.vocabulary_size}")
    tokens = tf.constant(tokenizer.vocabulary)
    mean = Pooler(model.encoder.config.hidden_dim, "mean", dtype="float32")

    def fill(batch, states):
        masked = batch["token_ids"] == tokenizer.mask_id  # [B, S]
        masked &= batch["padding_mask"]
        places = tf.ragged.boolean_mask(
            tf.broadcast_to(tf.range(tf.shape(masked)[1])[None], tf.shape(masked)), masked
        )  # [B, (M)]
        positions = places.to_tensor()  # [B, M]
        there = tf.sequence_mask(places.row_lengths(), tf.shape(positions)[1])[..., None]
        logits = model.masked_lm_logits(states, positions)
        # The model may have more rows than the vocabulary has tokens.
        scores = tf.nn.softmax(logits[..., : tokenizer.vocabulary_size])
        score, best = tf.math.top_k(scores, top_k)  # [B, M, K]
        return {
            "token": tf.where(there, tf.gather(tokens, best), ""),
            "score": tf.where(there, score, 0.0),
        }

    def embed(batch, states):
        return {"embedding": mean(states, batch["padding_mask"])}

    def with_states(*outputs):
        def run(**batch):
            states = model.encoder(batch, training=False)  # [B, S, H]
            return {k: v for output in outputs for k, v in output(batch, states).items()}

        return run

    def on_text(run):
        return lambda text: run(**encode(tokenizer, text, max_length)), TEXT

    return {
        "serving_default": on_text(with_states(fill)),
        "fill_mask": on_text(with_states(fill)),
        "embed": on_text(with_states(embed)),
        "token_ids": (with_states(fill, embed), BATCH),
    }
