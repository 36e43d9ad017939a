"""Random numbers from a hash: the same on every Keras backend, device and batch.

In: a seed for each row, and the number of the token to draw. Out: noise for each entry of the
vocabulary. There is no state, so the draws of a row do not depend on other rows. The hash is
that of `text/masking.py`: C. Wellons' 32-bit mixer.

R rows, V vocabulary.
"""

import numpy as np
from keras import KerasTensor, ops

_GOLDEN = np.uint32(0x9E3779B9)
_BITS = 23  # of a random number; plus a half, it fills the 24 bits of a float32


def gumbel(seeds: KerasTensor, number: int | KerasTensor, size: int) -> KerasTensor:
    """Return Gumbel noise: `argmax(logits + noise)` is a draw from `softmax(logits)`.

    Args:
        seeds: int `[R]`.
        number: scalar int, the number of the token in its row.
        size: V, int.

    Returns:
        float32 `[R, V]`, finite, from the standard Gumbel distribution.
    """
    return -ops.log(-ops.log(uniform(seeds, number, size)))


def uniform(seeds: KerasTensor, number: int | KerasTensor, size: int) -> KerasTensor:
    """Return random numbers float32 `[R, V]` in the open interval (0, 1); see `gumbel`."""
    seeds = ops.expand_dims(ops.cast(seeds, "uint32"), 1)  # [R, 1]
    number = ops.cast(number, "uint32")
    entry = ops.expand_dims(ops.cast(ops.arange(size, dtype="int32"), "uint32"), 0)  # [1, V]
    # Two hashes of (seed, number), so that draws differ in 64 bits.
    first = _mixed(_mixed(seeds) + number)
    second = _mixed(ops.bitwise_xor(_mixed(ops.bitwise_xor(seeds, _GOLDEN)), number * _GOLDEN))
    bits = _mixed(ops.bitwise_xor(_mixed(entry + first), second))
    bits = ops.right_shift(bits, np.uint32(32 - _BITS))
    return (ops.cast(bits, "float32") + 0.5) * 2.0**-_BITS


def _mixed(x):
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        x = ops.bitwise_xor(x, ops.right_shift(x, np.uint32(shift))) * np.uint32(factor)
    return x
