"""Which number format a model computes in.

In: the `--precision` setting. Out: the name of a Keras dtype policy. Variables, losses
and optimizer states are float32 under all.
"""

import tensorflow as tf

from tfmodels.errors import InputError

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def dtype_policy(precision: str = "auto") -> str:
    """Return the Keras dtype policy of a precision.

    Args:
        precision: `"float32"`, `"bfloat16"`, `"float16"` (for training, where Keras then scales the
            loss), or `"auto"`: bfloat16 where the processor
            (x86 with `amx_bf16` or `avx512_bf16`) or the GPU (NVIDIA from Ampere,
            compute capability 8) multiplies it faster than float32, else float32.

    Returns:
        `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`.

    Raises:
        InputError: if there is no such precision.
    """
    if precision == "auto":
        return "mixed_bfloat16" if _has_fast_bfloat16() else "float32"
    if precision not in POLICIES:
        raise InputError(f"--precision {precision}: give auto, {', '.join(POLICIES)}")
    return POLICIES[precision]


def _has_fast_bfloat16():
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return all(detail.get("compute_capability", (0, 0))[0] >= 8 for detail in details)
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError:  # not Linux
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags
