"""What the signatures of several tasks have in common: the specs of their inputs.

B rows, S tokens of the longest, W words of the longest.
"""

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.models.model import Config

_IDS, _MASK = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None], tf.bool)
TEXT = {"text": tf.TensorSpec([None], tf.string)}  # [B]
PAIR = {**TEXT, "pair": tf.TensorSpec([None], tf.string)}  # [B]
QUESTION = dict.fromkeys(("question", "context"), TEXT["text"])  # [B]
TOKENS = {"token_ids": _IDS, "padding_mask": _MASK}  # [B, S]
BATCH = {"token_ids": _IDS, "segment_ids": _IDS, "padding_mask": _MASK}  # [B, S]
WORDS = {"word_positions": _IDS, "word_mask": _MASK}  # [B, W]


def longest_text(config: Config, max_length: int | None = None) -> int:
    """Return the maximum number of tokens that a signature gives to a model.

    Args:
        config: of the encoder; its `max_length` is the number of positions.
        max_length: as given by the caller; all positions if `None`.

    Raises:
        InputError: the model has fewer positions.
    """
    positions = config.max_length
    if max_length is not None and max_length > positions:
        raise InputError(f"max_length {max_length}: the model has positions for {positions} tokens")
    return positions if max_length is None else max_length
