"""Refuses settings that would only fail after minutes of work.

In: the dataclass of a verb. Out: nothing, or one `InputError` that names the flag.
"""

from tfmodels.errors import InputError

# The same wherever a flag of the name exists.
LEAST = {
    "epochs": 1, "evaluations": 1, "steps": 1, "save_steps": 1, "batch_size": 1, "max_length": 3,
    "patience": 0, "freeze_layers": 0, "vocabulary_size": 10, "seed": 0, "weight_decay": 0,
    "shards": 1, "processes": 1, "held_out_examples": 1, "top_k": 1,
}  # fmt: skip
ABOVE_ZERO = ("learning_rate", "clip_norm")
MOST = {
    "warmup": 0.99, "held_out": 0.5, "dropout": 0.99, "ema": 0.9999, "mask_rate": 0.5,
    "short_share": 1.0, "word_dropout": 0.9, "label_smoothing": 0.9,
}  # fmt: skip


def check_numbers(settings):
    """Refuses numbers out of range.

    Raises:
        InputError: with the flag, its value and what is allowed.
    """
    given = {name: value for name, value in vars(settings).items() if value is not None}
    for name, least in LEAST.items():
        if given.get(name, least) < least:
            raise InputError(f"--{name} {given[name]}: give {least} or more")
    for name in ABOVE_ZERO:
        if not given.get(name, 1.0) > 0:
            raise InputError(f"--{name} {given[name]}: give a number above 0")
    for name, most in MOST.items():
        if not 0 <= given.get(name, 0) <= most:
            raise InputError(f"--{name} {given[name]}: give a number from 0 to {most}")
