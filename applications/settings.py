"""What is refused of the flags of a verb before any work is done.

In: the dataclass of a verb. Out: nothing, or one `InputError` that names the flag.
"""

import dataclasses

from applications.flags import FineTuning
from tfmodels.errors import InputError

# The same wherever a flag of the name exists.
LEAST = {
    "epochs": 1, "evaluations": 1, "steps": 1, "save_steps": 1, "batch_size": 1, "max_length": 3,
    "patience": 0, "freeze_layers": 0, "vocabulary_size": 10, "seed": 0, "weight_decay": 0,
    "shards": 1, "processes": 1, "held_out_examples": 1, "stride": 1, "sample_tokens": 0,
    "num_layers": 1, "num_heads": 1, "hidden_dim": 1, "num_decoder_layers": 1, "lead_k": 1,
    "max_target_length": 3, "rouge_examples": 1, "emission_loss": 0, "peer_wait": 1,
    "accumulate_steps": 1, "save_every": 1,
}  # fmt: skip
ABOVE_ZERO = ("learning_rate", "clip_norm")
MOST = {
    "warmup": 0.99, "held_out": 0.5, "dropout": 0.99, "ema": 0.9999, "mask_rate": 0.5,
    "short_share": 1.0, "word_dropout": 0.9, "label_smoothing": 0.9, "layer_decay": 1.0,
    "seed": 2**32 - 1,  # NumPy has no other
}  # fmt: skip


# Of a model that starts from a checkpoint, what is the checkpoint's: the flags of a new one.
OF_A_NEW_MODEL = ("size", "vocabulary_size", "lowercase", "architecture", "norm_first",
                  "num_layers", "num_heads", "hidden_dim", "tokenizer", "vocabulary",
                  "initial_embeddings")  # fmt: skip
# Of records, what they were made with.
OF_RECORDS = ("text_column", "vocabulary", "vocabulary_size", "lowercase",
              "short_share", "segmented", "held_out")  # fmt: skip
OF_SAMPLING = ("temperature", "top_k", "top_p")


def without_effect(settings):
    """Yield `(flags, reason)`: flags that change nothing beside the others of this call."""
    given = vars(settings)
    if given.get("checkpoint") not in (None, "none"):
        yield OF_A_NEW_MODEL, "the checkpoint has its own"
    elif "checkpoint" in given:
        yield ("revision",), "there is no checkpoint"
    if given.get("records_dir") is not None:
        yield OF_RECORDS, "the records in --records_dir have their own"
    if given.get("text"):
        yield ("input_file",), "texts are given, which are answered alone"
    if given.get("held_out") and (given.get("eval_file") or given.get("eval_files")):
        yield ("held_out",), "what to measure on is given"
    if given.get("train_file") is not None and "text_files" in given:
        yield ("text_files", "text_column", "eval_files"), "the rows of --train_file are read"
    elif given.get("text_files") is not None and "train_file" in given:
        flags = ("eval_file", "prompt_column", "response_column", "separator")
        yield flags, "the text of --text_files is read"
    if given.get("steps") is not None:
        yield ("epochs",), "--steps says how long the training is"
    if given.get("sample") is False:
        yield OF_SAMPLING, "the likeliest tokens are taken; give --sample true"
    if given.get("num_beams") == 1:
        yield ("length_penalty",), "there is no beam search; give --num_beams"
    if given.get("crf") is False:
        yield ("emission_loss",), "there is no CRF"


def check(settings):
    """Refuse settings that are out of range, or that have no effect in this call.

    Raises:
        InputError: with the flag, its value and what is allowed.
    """
    check_numbers(settings)
    defaults = {field.name: field for field in dataclasses.fields(settings)}
    for flags, reason in without_effect(settings):
        for flag in flags:
            if flag not in defaults:
                continue
            field = defaults[flag]
            value, default = getattr(settings, flag), field.default
            if default is dataclasses.MISSING:
                default = None if field.default_factory is dataclasses.MISSING else []
            if value != default:
                raise InputError(f"--{flag} {value}: has no effect here: {reason}; leave it out")


def check_numbers(settings):
    """Refuse numbers out of range.

    Raises:
        InputError: with the flag, its value and what is allowed; or nothing is held out and
            there is no file to measure on.
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
    if isinstance(settings, FineTuning) and not settings.held_out and settings.eval_file is None:
        raise InputError("--held_out 0: give an --eval_file or a share to hold out")
